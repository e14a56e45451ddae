//! A message of dnstap in protobuf (dnstap.proto of dnstap.info), and the frames it travels in
//! (Frame Streams, fstrm).

use std::net::IpAddr;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use crate::chain::{Client, Proto};
use crate::wire::protobuf::{put_number, put_octets};

/// The kind of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    ClientQuery = 5,
    ClientResponse = 6,
}

/// One event.
pub(super) struct Event<'a> {
    pub(super) kind: Kind,
    pub(super) client: Client,
    pub(super) asked: SystemTime,
    /// When the response was ready, if it is one.
    pub(super) answered: Option<SystemTime>,
    /// The whole message of this kind, if it is wanted.
    pub(super) message: Option<&'a [u8]>,
}

/// The part of all messages of one directive that describes the server.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Server {
    pub(super) identity: Vec<u8>,
    pub(super) version: Vec<u8>,
    pub(super) extra: Vec<u8>,
}

impl Event<'_> {
    /// Returns the event as a data frame: its length, and protobuf.
    pub(super) fn frame(&self, server: &Server) -> Vec<u8> {
        let message = self.message();
        let mut out = vec![0; 4];
        for (field, bytes) in [(1, &server.identity), (2, &server.version), (3, &server.extra)] {
            if field < 3 || !bytes.is_empty() {
                put_octets(&mut out, field, bytes);
            }
        }
        put_octets(&mut out, 14, &message);
        put_number(&mut out, 15, 1);
        let len = (out.len() - 4) as u32;
        out[..4].copy_from_slice(&len.to_be_bytes());
        out
    }

    fn message(&self) -> Vec<u8> {
        let peer = self.client.peer;
        let mut out = Vec::with_capacity(64 + self.message.map_or(0, <[u8]>::len));
        put_number(&mut out, 1, self.kind as u64);
        let address = match peer.ip().to_canonical() {
            IpAddr::V4(v4) => v4.octets().to_vec(),
            IpAddr::V6(v6) => v6.octets().to_vec(),
        };
        put_number(&mut out, 2, if address.len() == 4 { 1 } else { 2 });
        put_number(&mut out, 3, if self.client.proto == Proto::Tcp { 2 } else { 1 });
        put_octets(&mut out, 4, &address);
        put_number(&mut out, 6, peer.port().into());
        put_time(&mut out, [8, 9], self.asked);
        match (self.kind, self.answered) {
            (Kind::ClientResponse, Some(answered)) => {
                put_time(&mut out, [12, 13], answered);
                self.message.iter().for_each(|message| put_octets(&mut out, 14, message));
            }
            _ => self.message.iter().for_each(|message| put_octets(&mut out, 10, message)),
        }
        out
    }
}

/// Adds the seconds and nanoseconds of a time, the latter in four octets.
fn put_time(out: &mut Vec<u8>, fields: [u8; 2], time: SystemTime) {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    put_number(out, fields[0], since.as_secs());
    out.push(fields[1] << 3 | 5);
    out.extend_from_slice(&since.subsec_nanos().to_le_bytes());
}

//----------- Frames ---------------------------------------------------------

/// What the frames hold.
const CONTENT: &[u8] = b"protobuf:dnstap.Dnstap";

/// A control frame.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Control {
    Accept = 1,
    Start = 2,
    Ready = 4,
}

impl Control {
    /// Returns the frame: an empty frame, its length, its kind, and what data frames hold.
    pub(super) fn frame(self) -> Vec<u8> {
        let mut out = vec![0; 4];
        out.extend_from_slice(&(12 + CONTENT.len() as u32).to_be_bytes());
        for word in [self as u32, 1, CONTENT.len() as u32] {
            out.extend_from_slice(&word.to_be_bytes());
        }
        out.extend_from_slice(CONTENT);
        out
    }
}

/// Returns whether the body of a control frame accepts what our frames hold.
pub(super) fn is_accept(body: &[u8]) -> bool {
    body.starts_with(&(Control::Accept as u32).to_be_bytes())
        && (body.len() == 4 || body.windows(CONTENT.len()).any(|part| part == CONTENT))
}
