//! Proxies in front of a listener, which say where their clients are.

use std::net::SocketAddr;

/// Finds the clients behind proxies.
pub trait Proxies: Send + Sync + 'static {
    /// Takes the header off a datagram from `peer`. Returns what is behind it and the client, or
    /// `None` if the datagram is dropped.
    fn datagram<'d>(&self, datagram: &'d [u8], peer: SocketAddr) -> Option<(&'d [u8], SocketAddr)>;

    /// Reads the first octets of a connection from `peer`.
    fn connection(&self, octets: &[u8], peer: SocketAddr) -> Entry;
}

/// What a connection begins with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A header of so many octets, 0 if there is none, and the client that it names.
    Client(SocketAddr, usize),
    /// A part of a header: more octets are needed.
    Part,
    /// Something that the connection is closed for.
    Refused,
}
