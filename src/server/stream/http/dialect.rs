//! How messages travel in requests: as DNS over HTTPS, or in calls of gRPC.

use hyper::body::Incoming;

use crate::corefile::address::Transport;
use crate::wire::grpc;

/// Octets of the largest message.
pub(super) const LARGEST: usize = 65_535;

/// How messages travel in requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::server) enum Dialect {
    /// DNS over HTTPS (RFC 8484).
    Doh,
    /// Calls of CoreDNS's gRPC service, over HTTP/2 alone.
    Grpc,
}

/// The message of a request.
pub(super) enum Asked {
    /// The whole message.
    Message(Vec<u8>),
    /// The body that the message comes in.
    Body(Incoming),
}

/// A reply as a response carries it.
pub(super) struct Written {
    pub(super) message: Vec<u8>,
    /// For how many seconds it may be kept.
    pub(super) fresh: u32,
}

/// Why a response has no reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lack {
    /// There is nothing at the path of the request.
    Nowhere,
    /// The request has no query.
    Invalid,
    /// The query has no reply.
    NoReply,
    /// The request is not a call of gRPC.
    NoCall,
    /// The body of a call is malformed: the status that gRPC has for that.
    Malformed(u8),
}

impl Dialect {
    /// Returns how messages travel on a transport, if they do in requests.
    pub(in crate::server) fn of(transport: Transport) -> Option<Self> {
        match transport {
            Transport::Https => Some(Self::Doh),
            Transport::Grpc => Some(Self::Grpc),
            _ => None,
        }
    }

    /// Returns the connections of a listener over all workers, and the requests of one connection,
    /// if the Corefile does not say. Both are those of CoreDNS.
    pub(in crate::server) fn caps(self) -> (usize, usize) {
        match self {
            Self::Doh => (200, 250),
            Self::Grpc => (200, 256),
        }
    }

    /// Returns the octets of the largest body.
    pub(super) fn largest(self) -> usize {
        match self {
            Self::Doh => LARGEST,
            Self::Grpc => grpc::LARGEST,
        }
    }

    /// Returns the message in a whole body.
    ///
    /// # Errors
    /// The body is malformed.
    pub(super) fn message(self, body: &[u8]) -> Result<&[u8], Lack> {
        match self {
            Self::Doh => Ok(body),
            Self::Grpc => grpc::message(body).map_err(Lack::Malformed),
        }
    }
}
