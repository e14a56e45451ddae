//! The sockets of a listener: one for each worker.

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, UdpSocket};
use std::os::fd::AsFd;

use socket2::Socket;

use super::sys;
use crate::chain::address::{protocols, socket_host};
use crate::chain::listener::Listener;
use crate::corefile::address::Transport;
use crate::error::{Complaint, Error, Result, words};
use crate::host::listen::{self, Protocol, Wish};

/// Octets that the kernel is asked to buffer for us between two turns of a worker.
const BUFFER: usize = 4 << 20;

/// Connections that may wait to be accepted.
const BACKLOG: i32 = 1024;

/// A socket of one worker.
pub(super) enum Ear {
    /// Datagrams.
    Udp {
        /// The socket.
        socket: UdpSocket,
        /// Whether datagrams come with the address they were sent to.
        wildcard: bool,
    },
    /// Streams.
    Tcp(TcpListener),
    /// Connections over UDP.
    Quic(UdpSocket),
}

/// How a socket is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Each datagram is a message.
    Datagrams,
    /// TCP connections.
    Streams,
    /// QUIC connections.
    Quic,
}

impl Kind {
    /// Returns how sockets of a protocol are served for a transport.
    pub(super) fn of(protocol: Protocol, transport: Transport) -> Self {
        match (protocol, transport) {
            (Protocol::Tcp, _) => Self::Streams,
            (Protocol::Udp, Transport::Dns) => Self::Datagrams,
            (Protocol::Udp, _) => Self::Quic,
        }
    }

    /// Returns whether such a socket can serve a transport.
    pub(super) fn serves(self, transport: Transport) -> bool {
        protocols(transport).iter().any(|&protocol| Self::of(protocol, transport) == self)
    }
}

/// Opens the sockets of a listener for one protocol, one for each worker, and returns their
/// address.
///
/// `beside` is the address of the listener's other sockets. `again` says whether we had a socket at
/// an address before.
///
/// # Errors
/// Names the address and what is wrong with it.
pub(super) fn open(
    listener: &Listener,
    protocol: Protocol,
    beside: Option<SocketAddr>,
    workers: usize,
    again: impl Fn(SocketAddr) -> bool,
) -> Result<(SocketAddr, Vec<Ear>)> {
    let failed = |error| failed(protocol, listener, error);
    let candidates = match beside {
        Some(address) => vec![address],
        None => addresses(&listener.host, listener.port).map_err(failed)?,
    };
    let mut last = None;
    for address in candidates {
        let wish = Wish { protocol, address, count: workers, backlog: BACKLOG, again: again(address) };
        match listen::open(wish, |socket| prepare(socket, &wish)) {
            Ok(sockets) => {
                let bound = sockets[0].local_addr().ok().and_then(|address| address.as_socket()).unwrap_or(address);
                let wildcard = address.ip().is_unspecified();
                let ear = |socket: Socket| match Kind::of(protocol, listener.transport) {
                    Kind::Datagrams => Ear::Udp { socket: socket.into(), wildcard },
                    Kind::Streams => Ear::Tcp(socket.into()),
                    Kind::Quic => Ear::Quic(socket.into()),
                };
                return Ok((bound, sockets.into_iter().map(ear).collect()));
            }
            // A machine without IPv6 still has IPv4.
            Err(error)
                if address.ip().is_unspecified() && error.kind() != io::ErrorKind::AddrInUse && address.is_ipv6() =>
            {
                last = Some(error);
            }
            Err(error) => return Err(failed(error)),
        }
    }
    Err(failed(last.unwrap_or_else(|| io::Error::other("no address"))))
}

/// Returns the addresses to bind, in order of preference.
fn addresses(host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
    if socket_host(host).is_empty() {
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

fn prepare(socket: &Socket, wish: &Wish) -> io::Result<()> {
    if wish.protocol == Protocol::Tcp {
        return Ok(());
    }
    // The kernel reduces a size that is above its limit.
    let _ = socket.set_recv_buffer_size(BUFFER);
    let _ = socket.set_send_buffer_size(BUFFER);
    if wish.address.ip().is_unspecified() {
        sys::want_local_address(socket.as_fd(), wish.address.is_ipv6())?;
    }
    Ok(())
}

fn failed(protocol: Protocol, listener: &Listener, error: io::Error) -> Error {
    let address = listener.server.split_once("://").map_or("", |(_, address)| address);
    let is_stream = protocol == Protocol::Tcp;
    let what = if is_stream { "Listen: listen tcp" } else { "ListenPacket: listen udp" };
    let advice = advice(&error, listener.port, is_stream, "`bind` in the Corefile, or another port (`-dns.port 1053`)");
    let message = format!("{what} {address}: bind: {}{advice}", words(&error));
    listener.written.as_ref().map_or_else(|| Complaint::new(&message), |written| written.about(&message)).into()
}

/// Returns what to do about a port that cannot be bound. `change` says where the port is set. The
/// text starts on a line of its own.
pub(super) fn advice(error: &io::Error, port: u16, is_stream: bool, change: &str) -> String {
    match error.kind() {
        io::ErrorKind::AddrInUse if listen::is_own(error) => {
            format!("\nhelp: Signpost itself has it already, for questions or another page; change {change}")
        }
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

/// Returns the addresses of this machine, as many as fit in a message.
fn own_addresses() -> Vec<String> {
    let all = if_addrs::get_if_addrs().unwrap_or_default();
    let mut shown: Vec<_> = all.iter().take(SHOWN).map(|interface| interface.ip().to_string()).collect();
    if all.len() > SHOWN {
        shown.push(format!("and {} more", all.len() - SHOWN));
    }
    shown
}

/// Addresses that a message names at most.
const SHOWN: usize = 8;
