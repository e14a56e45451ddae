//! Opening sockets: one for each worker, and a port that somebody else has is noticed.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, UdpSocket};
use std::os::fd::AsFd;

use socket2::{Domain, Socket, Type};

use super::sys;
use crate::chain::site::Listener;
use crate::corefile::address::Transport;
use crate::error::{Complaint, Error, Result, words};

/// Octets that the kernel may hold for us between two turns of a worker, if it lets us.
const BUFFER: usize = 4 << 20;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// The sockets of one listener, one pair for each worker.
pub(super) struct Sockets {
    /// Whether datagrams come with the address they were sent to.
    pub(super) wildcard: bool,
    /// One for each worker; none where messages come in streams alone.
    pub(super) udp: Vec<UdpSocket>,
    /// One for each worker.
    pub(super) tcp: Vec<TcpListener>,
}

/// Opens the sockets of a listener for so many workers.
///
/// The first socket is bound without SO_REUSEPORT, so a port that another process has is an error: two sockets
/// that both have the option would share the port in silence. Then the first gets the option as well and the
/// others join it.
///
/// # Errors
/// Which address, and what is wrong with it.
pub(super) fn open(listener: &Listener, workers: usize) -> Result<Sockets> {
    let mut last = None;
    for mut address in
        addresses(&listener.host, listener.port).map_err(|e| failed("Listen: listen tcp", listener, e))?
    {
        let streams = match group(address, Type::STREAM, workers) {
            Ok(streams) => streams,
            // A machine without IPv6 still has IPv4.
            Err(error) if listener.host.is_empty() && error.kind() != io::ErrorKind::AddrInUse && address.is_ipv6() => {
                last = Some(error);
                continue;
            }
            Err(error) => return Err(failed("Listen: listen tcp", listener, error)),
        };
        if let Some(bound) = streams[0].local_addr().ok().and_then(|address| address.as_socket()) {
            address.set_port(bound.port());
        }
        let datagrams = match listener.transport {
            Transport::Dns => group(address, Type::DGRAM, workers),
            _ => Ok(Vec::new()),
        };
        let datagrams = datagrams.map_err(|e| failed("ListenPacket: listen udp", listener, e))?;
        return Ok(Sockets {
            wildcard: address.ip().is_unspecified(),
            udp: datagrams.into_iter().map(UdpSocket::from).collect(),
            tcp: streams.into_iter().map(TcpListener::from).collect(),
        });
    }
    Err(failed("Listen: listen tcp", listener, last.unwrap_or_else(|| io::Error::other("no address"))))
}

/// What to bind, in order of preference.
fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if host.is_empty() {
        return Ok(vec![(Ipv6Addr::UNSPECIFIED, port).into(), (Ipv4Addr::UNSPECIFIED, port).into()]);
    }
    let invalid = || io::Error::new(io::ErrorKind::InvalidInput, format!("{host} is no address"));
    let address = match host.split_once('%') {
        None => SocketAddr::new(host.parse::<IpAddr>().map_err(|_| invalid())?, port),
        Some((v6, interface)) => {
            let index = std::fs::read_to_string(format!("/sys/class/net/{interface}/ifindex"))?;
            let index = index.trim().parse().map_err(|_| invalid())?;
            SocketAddrV6::new(v6.parse().map_err(|_| invalid())?, port, 0, index).into()
        }
    };
    Ok(vec![address])
}

/// Sockets for all workers at one address.
fn group(address: SocketAddr, kind: Type, workers: usize) -> io::Result<Vec<Socket>> {
    let first = socket(address, kind)?;
    first.bind(&address.into())?;
    first.set_reuse_port(true)?;
    let bound = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..workers {
        let another = socket(address, kind)?;
        another.set_reuse_port(true)?;
        another.bind(&bound)?;
        sockets.push(another);
    }
    for socket in sockets.iter().filter(|_| kind == Type::STREAM) {
        socket.listen(BACKLOG)?;
    }
    Ok(sockets)
}

fn socket(address: SocketAddr, kind: Type) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), kind, None)?;
    let wildcard = address.ip().is_unspecified();
    if address.is_ipv6() {
        socket.set_only_v6(!wildcard)?;
    }
    socket.set_nonblocking(true)?;
    if kind == Type::STREAM {
        // Connections of a predecessor that linger must not keep its port from us.
        socket.set_reuse_address(true)?;
    } else {
        // More than the kernel allows is cut to what it allows.
        let _ = socket.set_recv_buffer_size(BUFFER);
        let _ = socket.set_send_buffer_size(BUFFER);
        if wildcard {
            sys::want_local_address(socket.as_fd(), address.is_ipv6())?;
        }
    }
    Ok(socket)
}

fn failed(what: &str, listener: &Listener, error: io::Error) -> Error {
    let address = listener.server.split_once("://").map_or("", |(_, address)| address);
    let is_stream = what.ends_with("tcp");
    let advice = advice(&error, listener.port, is_stream, "`bind` in the Corefile, or another port (`-dns.port 1053`)");
    let message = format!("{what} {address}: bind: {}{advice}", words(&error));
    listener.written.as_ref().map_or_else(|| Complaint::new(&message), |written| written.about(&message)).into()
}

/// What to do about a port that cannot be bound; `change` says where another one is named. Starts on a line of its own.
pub(super) fn advice(error: &io::Error, port: u16, is_stream: bool, change: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            let protocol = if is_stream { 't' } else { 'u' };
            format!(
                "\nhelp: something listens there already: on the host `ss -l{protocol}np 'sport = :{port}'` shows what; stop \
                 it, or change {change}"
            )
        }
        io::ErrorKind::PermissionDenied if port < 1024 => format!(
            "\nhelp: ports below 1024 need the capability NET_BIND_SERVICE: in a Pod \
             `securityContext.capabilities.add: [NET_BIND_SERVICE]`, and for a user other than root a binary with that file \
             capability, as our image has it; or sysctl net.ipv4.ip_unprivileged_port_start={port}; or change {change}"
        ),
        io::ErrorKind::AddrNotAvailable => {
            format!("\nhelp: this machine has {}; change {change}", own_addresses().join(", "))
        }
        _ => String::new(),
    }
}

/// The addresses of this machine, as far as a line has room for them.
fn own_addresses() -> Vec<String> {
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    let mut shown: Vec<_> = all.iter().take(SHOWN).map(|interface| interface.ip().to_string()).collect();
    if all.len() > SHOWN {
        shown.push(format!("and {} more", all.len() - SHOWN));
    }
    shown
}

/// Addresses that are named in a message.
const SHOWN: usize = 8;
