//! Opening sockets, for DNS and for pages. A port that another process has is an error; a socket of
//! our own is not.
//!
//! Sockets of one process may overlap: one for all addresses and one for 127.0.0.1, at the same
//! port. Over UDP and TCP the kernel gives what arrives to the most specific of them: the address
//! itself, then all IPv4 addresses, then all addresses of both families ([`rank`]). This needs
//! SO_REUSEPORT on both. But with that option two processes of one user could also share a port
//! without an error, and each would lose half of the queries. So the first attempt is made without
//! it. Only if the address is in use, the kernel's tables tell whether this process itself uses it.

use std::collections::HashSet;
use std::fs;
use std::io::{self, BufRead, BufReader, ErrorKind};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use socket2::{Domain, Socket, Type};

/// What a socket receives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Protocol {
    /// Datagrams.
    Udp,
    /// Connections.
    Tcp,
}

impl Protocol {
    /// Returns the name for messages.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Udp => "UDP",
            Self::Tcp => "TCP",
        }
    }
}

/// The sockets to open.
#[derive(Debug, Clone, Copy)]
pub struct Wish {
    /// What the sockets receive.
    pub protocol: Protocol,
    /// The address and port; the unspecified IPv6 address stands for both families.
    pub address: SocketAddr,
    /// Number of sockets that share the address.
    pub count: usize,
    /// Connections that may wait to be accepted.
    pub backlog: i32,
    /// Whether the same caller had this very address before, so that a socket of it may still be
    /// closing. Without it a second socket for exactly the same address is refused, because two
    /// users would share what arrives.
    pub again: bool,
}

/// Opens sockets; `prepare` sets further options before they are bound.
///
/// # Errors
/// What the kernel says: [`ErrorKind::AddrInUse`] if another process has the port, or another user
/// of this module has exactly this address ([`is_own`]).
pub fn open(wish: Wish, prepare: impl Fn(&Socket) -> io::Result<()>) -> io::Result<Vec<Socket>> {
    let make = || socket(&wish).and_then(|socket| prepare(&socket).map(|()| socket));
    let mut first = make()?;
    if let Err(error) = first.bind(&wish.address.into()) {
        let holder = if error.kind() == ErrorKind::AddrInUse { holder(&wish) } else { Holder::Another };
        match holder {
            Holder::Nobody | Holder::Us => {}
            Holder::Another => return Err(error),
            Holder::Same => return Err(io::Error::new(ErrorKind::AddrInUse, Own)),
        }
        first = make()?;
        first.set_reuse_port(holder == Holder::Us)?;
        first.bind(&wish.address.into())?;
    }
    first.set_reuse_port(true)?;
    let bound = first.local_addr()?;
    let mut sockets = vec![first];
    for _ in 1..wish.count {
        let another = make()?;
        another.set_reuse_port(true)?;
        another.bind(&bound)?;
        sockets.push(another);
    }
    for socket in sockets.iter().filter(|_| wish.protocol == Protocol::Tcp) {
        socket.listen(wish.backlog)?;
    }
    Ok(sockets)
}

fn socket(wish: &Wish) -> io::Result<Socket> {
    let kind = if wish.protocol == Protocol::Tcp { Type::STREAM } else { Type::DGRAM };
    let socket = Socket::new(Domain::for_address(wish.address), kind, None)?;
    if wish.address.is_ipv6() {
        socket.set_only_v6(!wish.address.ip().is_unspecified())?;
    }
    socket.set_nonblocking(true)?;
    if wish.protocol == Protocol::Tcp {
        // Lingering connections of a predecessor must not block the port.
        socket.set_reuse_address(true)?;
    }
    Ok(socket)
}

/// Returns whether packets for `inner` may reach a socket bound to `outer`, and how specific that
/// socket is: the kernel chooses the socket with the highest rank.
#[must_use]
pub fn rank(outer: SocketAddr, inner: SocketAddr) -> Option<u8> {
    match (outer.ip(), inner.ip()) {
        _ if outer.port() != inner.port() => None,
        (one, other) if one == other => Some(3),
        (IpAddr::V4(Ipv4Addr::UNSPECIFIED), IpAddr::V4(_)) => Some(2),
        (IpAddr::V6(Ipv6Addr::UNSPECIFIED), _) => Some(1),
        _ => None,
    }
}

//----------- Whose sockets they are -----------------------------------------

/// The error that this process itself uses an address, for another purpose.
#[derive(Debug)]
struct Own;

impl std::error::Error for Own {}

impl std::fmt::Display for Own {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("address already in use")
    }
}

/// Returns whether the error says that this process itself uses the address, for another purpose.
#[must_use]
pub fn is_own(error: &io::Error) -> bool {
    error.get_ref().and_then(|inner| inner.downcast_ref::<Own>()).is_some()
}

/// The holder of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Holder {
    /// Nobody: the socket has just been closed.
    Nobody,
    Us,
    /// This process, at exactly this address and for another purpose.
    Same,
    Another,
}

/// Finds out which process has the sockets that overlap with a wish. Without /proc they count as
/// our own, because otherwise some changes of a Corefile could never be loaded.
fn holder(wish: &Wish) -> Holder {
    // In this order: a socket of ours that is closed meanwhile must not look like another
    // process's.
    let ours = own_sockets();
    let Ok(sockets) = sockets(wish.protocol, wish.address.port()) else { return Holder::Us };
    let overlaps = |other: SocketAddr| rank(other, wish.address).or(rank(wish.address, other)).is_some();
    let mut holder = Holder::Nobody;
    for (address, inode) in sockets.into_iter().filter(|(address, _)| overlaps(*address)) {
        if !ours.contains(&inode) {
            return Holder::Another;
        }
        let is_same = address.ip() == wish.address.ip() && !wish.again;
        holder = if is_same || holder == Holder::Same { Holder::Same } else { Holder::Us };
    }
    holder
}

/// Returns the sockets of all processes that receive at a port, each with its inode number.
fn sockets(protocol: Protocol, port: u16) -> io::Result<Vec<(SocketAddr, u64)>> {
    let files = match protocol {
        Protocol::Udp => ["/proc/net/udp", "/proc/net/udp6"],
        Protocol::Tcp => ["/proc/net/tcp", "/proc/net/tcp6"],
    };
    let mut all = Vec::new();
    for file in files {
        let file = match fs::File::open(file) {
            Ok(file) => file,
            // The kernel has no IPv6.
            Err(error) if error.kind() == ErrorKind::NotFound && file.ends_with('6') => continue,
            Err(error) => return Err(error),
        };
        for line in BufReader::new(file).lines().skip(1) {
            // Listening sockets come first, and a node may have a hundred thousand others.
            let Some((address, inode)) = socket_of(&line?, protocol) else { break };
            all.extend(Some((address, inode)).filter(|_| address.port() == port));
        }
    }
    Ok(all)
}

/// The state of a listening TCP socket, as the kernel writes it.
const LISTENING: &str = "0A";

/// Reads a line of /proc/net/udp or tcp (proc_net_tcp.txt in the kernel's documentation): address
/// and inode number of a socket.
fn socket_of(line: &str, protocol: Protocol) -> Option<(SocketAddr, u64)> {
    let mut words = line.split_ascii_whitespace().skip(1);
    let (address, state, inode) = (words.next()?, words.nth(1)?, words.nth(5)?);
    if protocol == Protocol::Tcp && state != LISTENING {
        return None;
    }
    let (address, port) = address.split_once(':')?;
    // 32-bit words in the byte order of this machine.
    let word = |at: usize| Some(u32::from_str_radix(address.get(at * 8..at * 8 + 8)?, 16).ok()?.to_ne_bytes());
    let address: IpAddr = if address.len() == 8 {
        word(0)?.into()
    } else {
        let words = [word(0)?, word(1)?, word(2)?, word(3)?].concat();
        <[u8; 16]>::try_from(words).ok()?.into()
    };
    Some((SocketAddr::new(address, u16::from_str_radix(port, 16).ok()?), inode.parse().ok()?))
}

/// Returns the inode numbers of this process's sockets.
fn own_sockets() -> HashSet<u64> {
    let files = fs::read_dir("/proc/self/fd").into_iter().flatten().flatten();
    let targets = files.filter_map(|file| fs::read_link(file.path()).ok());
    targets.filter_map(|target| target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const EVERY: [&str; 4] = ["[::]", "0.0.0.0", "127.0.0.1", "127.0.0.2"];

    fn wish(protocol: Protocol, host: &str, port: u16) -> Wish {
        let address = format!("{host}:{port}").parse().expect("an address");
        Wish { protocol, address, count: 2, backlog: 8, again: false }
    }

    fn opens(wish: Wish) -> bool {
        open(wish, |_| Ok(())).is_ok()
    }

    #[test]
    fn sockets_of_our_own_may_overlap_but_not_be_the_same() {
        for protocol in [Protocol::Udp, Protocol::Tcp] {
            for (one, other) in EVERY.iter().flat_map(|one| EVERY.map(|other| (*one, other))) {
                // Other processes may have one of these ports, but not all.
                let mut ports = std::iter::repeat_with(|| fastrand::u16(10_000..30_000)).take(50);
                let both = ports.find_map(|port| {
                    let first = open(wish(protocol, one, port), |_| Ok(())).ok()?;
                    let second = wish(protocol, other, port);
                    assert!(one != other || !opens(second), "{protocol:?} {one} twice");
                    opens(Wish { again: one == other, ..second }).then_some(first)
                });
                assert!(both.is_some(), "{protocol:?} {one} {other}");
            }
        }
    }

    #[test]
    fn the_kernels_tables_are_read() {
        let line =
            "  12: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 4711 1 0 100 0";
        if cfg!(target_endian = "little") {
            assert_eq!(socket_of(line, Protocol::Tcp), Some((([127, 0, 0, 1], 8080).into(), 4711)));
        }
        assert_eq!(socket_of(&line.replace(" 0A ", " 01 "), Protocol::Tcp), None);
        assert_eq!(socket_of("  sl  local_address rem_address   st", Protocol::Tcp), None);
        let socket = std::net::UdpSocket::bind("[::1]:0").or_else(|_| std::net::UdpSocket::bind("127.0.0.1:0"));
        let own = socket.as_ref().expect("binds").local_addr().expect("bound");
        let all = sockets(Protocol::Udp, own.port()).expect("tables");
        let found = all.iter().find(|(address, _)| *address == own);
        assert!(found.is_some_and(|(_, inode)| own_sockets().contains(inode)), "{all:?}");
    }

    #[test]
    fn the_most_specific_socket_comes_first() {
        let rank = |outer: &str, inner: &str| rank(outer.parse().expect("one"), inner.parse().expect("one"));
        assert_eq!(rank("127.0.0.1:53", "127.0.0.1:53"), Some(3));
        assert_eq!(rank("0.0.0.0:53", "127.0.0.1:53"), Some(2));
        assert_eq!(rank("[::]:53", "127.0.0.1:53"), Some(1));
        assert_eq!(rank("[::]:53", "[::1]:53"), Some(1));
        for (outer, inner) in [
            ("0.0.0.0:53", "[::1]:53"),
            ("127.0.0.1:53", "0.0.0.0:53"),
            ("[::]:53", "[::]:54"),
            ("[::1]:53", "[::]:53"),
        ] {
            assert_eq!(rank(outer, inner), None, "{outer} {inner}");
        }
    }
}
