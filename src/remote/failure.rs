//! Why a server gave no answer.

use std::fmt::Display;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use super::complaint::Complaint;
use crate::wire::reply::ede;

/// A try that failed, in the words of CoreDNS, which people look for in their logs.
#[derive(Debug, Clone)]
pub(crate) struct Failure {
    /// What kind of failure it is.
    pub(crate) kind: Kind,
    /// `read udp 10.1.2.3:51353->192.0.2.53:53: i/o timeout`
    pub(crate) text: Arc<str>,
}

/// What went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing came in time.
    Timeout,
    /// The peer closed the connection.
    Closed,
    /// The network or the system refused.
    Network,
    /// The other side of a TLS connection is not trusted; why, in words for the client.
    Untrusted(&'static str),
    /// Replies are forged, or may be.
    Forged,
}

impl Failure {
    /// Nothing came in time.
    pub(super) fn timeout(proto: &str, local: Option<SocketAddr>, peer: SocketAddr) -> Self {
        Self::new(Kind::Timeout, format!("read {proto} {}: i/o timeout", ends(local, peer)))
    }

    /// Nothing came in time from the server `to`.
    pub(crate) fn late(proto: &str, to: &str) -> Self {
        Self::new(Kind::Timeout, format!("read {proto} {to}: i/o timeout"))
    }

    /// A call on an open socket failed.
    pub(super) fn io(call: &str, proto: &str, local: Option<SocketAddr>, peer: SocketAddr, error: &io::Error) -> Self {
        Self::new(Kind::Network, format!("{call} {proto} {}: {call}: {}", ends(local, peer), words(error)))
    }

    /// No connection was established.
    pub(super) fn dial(proto: &str, peer: impl Display, error: &io::Error) -> Self {
        Self::new(Kind::Network, format!("dial {proto} {peer}: connect: {}", words(error)))
    }

    /// The peer closed the connection before it answered.
    pub(super) fn closed(peer: SocketAddr) -> Self {
        Self::ended("tcp", peer, "EOF")
    }

    /// A connection ended before the answer came; why, in the words of its protocol.
    pub(super) fn ended(proto: &str, peer: impl Display, why: &str) -> Self {
        Self::new(Kind::Closed, format!("read {proto} {peer}: {why}"))
    }

    /// The TLS handshake failed.
    pub(super) fn tls(peer: SocketAddr, error: &io::Error) -> Self {
        match Complaint::of(error) {
            Some(complaint) => Self::untrusted(&complaint),
            None => Self::io("read", "tcp", None, peer, error),
        }
    }

    /// The other side is not trusted.
    pub(super) fn untrusted(complaint: &Complaint) -> Self {
        Self::new(Kind::Untrusted(complaint.short), complaint.long.clone())
    }

    /// The code and the words of an extended error for the client.
    pub(crate) fn extended(&self) -> (u16, &'static str) {
        match self.kind {
            Kind::Timeout => (ede::NO_REACHABLE_AUTHORITY, "no upstream answered in time"),
            Kind::Closed | Kind::Network | Kind::Forged => (ede::NETWORK_ERROR, "no upstream can be reached"),
            Kind::Untrusted(why) => (ede::NETWORK_ERROR, why),
        }
    }

    /// Many replies on one socket belong to no question.
    pub(super) fn forged(local: Option<SocketAddr>, peer: SocketAddr) -> Self {
        Self::new(Kind::Forged, format!("read udp {}: too many forged replies", ends(local, peer)))
    }

    /// A reply repeats the question in another case.
    pub(super) fn case() -> Self {
        Self::new(Kind::Forged, "the question of a reply is in another case".to_owned())
    }

    /// A failure that one sentence describes.
    pub(crate) fn other(text: &str) -> Self {
        Self::new(Kind::Network, text.to_owned())
    }

    fn new(kind: Kind, text: String) -> Self {
        Self { kind, text: text.into() }
    }
}

fn ends(local: Option<SocketAddr>, peer: SocketAddr) -> String {
    local.map_or_else(|| peer.to_string(), |local| format!("{local}->{peer}"))
}

/// The system's words as Go writes them.
fn words(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => "connection refused".to_owned(),
        io::ErrorKind::ConnectionReset => "connection reset by peer".to_owned(),
        io::ErrorKind::HostUnreachable => "no route to host".to_owned(),
        io::ErrorKind::NotFound => "no such file or directory".to_owned(),
        io::ErrorKind::NetworkUnreachable => "network is unreachable".to_owned(),
        _ => error.to_string(),
    }
}
