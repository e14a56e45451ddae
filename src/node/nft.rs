//! Messages to nf_tables and their socket: the part of the protocol that `rules` needs.
//!
//! The numbers are those of linux/netfilter/nf_tables.h and nfnetlink.h. Lengths and types of
//! netlink are in host byte order, values of nf_tables in network byte order.

use std::io;

use netlink_sys::protocols::NETLINK_NETFILTER;
use netlink_sys::{Socket, SocketAddr};

/// The family of a table for IPv4 and IPv6.
pub(super) const INET: u8 = 1;

/// Types of messages: the low octet; the high one is the number of nf_tables in netfilter.
pub(super) const NEW_TABLE: u16 = 0;
pub(super) const DELETE_TABLE: u16 = 2;
pub(super) const NEW_CHAIN: u16 = 3;
pub(super) const NEW_RULE: u16 = 6;
pub(super) const GET_CHAIN: u16 = 4;
pub(super) const GET_RULE: u16 = 7;
const NF_TABLES: u16 = 10;

const BATCH_BEGIN: u16 = 0x10;
const BATCH_END: u16 = 0x11;

const ERROR: u16 = 2;
const DONE: u16 = 3;

const REQUEST: u16 = 1;
const ACK: u16 = 4;
const DUMP: u16 = 0x300;
const CREATE: u16 = 0x400;
const APPEND: u16 = 0x800;

/// Marks an attribute that holds attributes.
const NESTED: u16 = 0x8000;

/// Octets before the attributes: the headers of netlink and netfilter.
const HEADER: usize = 20;

//----------- Attributes -----------------------------------------------------

/// A list of attributes.
#[derive(Debug, Default, Clone)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    pub(super) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let len = value.len() as u16 + 4;
        self.0.extend(len.to_ne_bytes());
        self.0.extend(kind.to_ne_bytes());
        self.0.extend(value);
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }

    pub(super) fn text(self, kind: u16, value: &str) -> Self {
        self.bytes(kind, &[value.as_bytes(), b"\0"].concat())
    }

    pub(super) fn number(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    pub(super) fn nested(self, kind: u16, value: &Attributes) -> Self {
        self.bytes(kind | NESTED, &value.0)
    }

    /// Returns the value of an attribute.
    fn get(&self, wanted: u16) -> Option<&[u8]> {
        let mut octets = self.0.as_slice();
        loop {
            let len = usize::from(u16::from_ne_bytes(*octets.first_chunk()?));
            let kind = u16::from_ne_bytes([*octets.get(2)?, *octets.get(3)?]);
            let value = octets.get(4..len)?;
            if kind & !NESTED == wanted {
                return Some(value);
            }
            octets = octets.get(len.next_multiple_of(4)..)?;
        }
    }

    pub(super) fn get_text(&self, kind: u16) -> Option<&str> {
        self.get(kind).and_then(|value| std::str::from_utf8(value).ok()).map(|text| text.trim_end_matches('\0'))
    }

    pub(super) fn get_number(&self, kind: u16) -> Option<u32> {
        self.get(kind)?.first_chunk().map(|octets| u32::from_be_bytes(*octets))
    }

    pub(super) fn get_nested(&self, kind: u16) -> Option<Attributes> {
        self.get(kind).map(|value| Attributes(value.to_vec()))
    }
}

//----------- Batch ----------------------------------------------------------

/// Messages that all take effect at once, or not at all.
pub(super) struct Batch {
    octets: Vec<u8>,
    sequence: u32,
}

impl Batch {
    pub(super) fn new() -> Self {
        let mut batch = Self { octets: Vec::new(), sequence: 0 };
        batch.push(BATCH_BEGIN, REQUEST, 0, NF_TABLES, &Attributes::default());
        batch
    }

    pub(super) fn add(&mut self, kind: u16, attributes: &Attributes) {
        let flags = match kind {
            DELETE_TABLE => REQUEST | ACK,
            _ => REQUEST | ACK | CREATE | APPEND,
        };
        self.push(NF_TABLES << 8 | kind, flags, INET, 0, attributes);
    }

    fn push(&mut self, kind: u16, flags: u16, family: u8, resource: u16, attributes: &Attributes) {
        self.sequence += 1;
        self.octets.extend(message(kind, flags, self.sequence, family, resource, attributes));
    }
}

fn message(kind: u16, flags: u16, sequence: u32, family: u8, resource: u16, attributes: &Attributes) -> Vec<u8> {
    let mut octets = Vec::with_capacity(HEADER + attributes.0.len());
    octets.extend(((HEADER + attributes.0.len()) as u32).to_ne_bytes());
    octets.extend(kind.to_ne_bytes());
    octets.extend(flags.to_ne_bytes());
    octets.extend(sequence.to_ne_bytes());
    octets.extend(0_u32.to_ne_bytes());
    octets.extend([family, 0]);
    octets.extend(resource.to_be_bytes());
    octets.extend(&attributes.0);
    octets
}

//----------- Connection -----------------------------------------------------

/// A socket to nf_tables. Tables that belong to it are removed when it is closed, however the
/// process ends.
pub(super) struct Connection(Socket);

impl Connection {
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_NETFILTER)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self(socket))
    }

    /// Sends a batch. When this returns, the kernel has applied all of it or nothing.
    pub(super) fn run(&self, mut batch: Batch) -> io::Result<()> {
        batch.push(BATCH_END, REQUEST, 0, NF_TABLES, &Attributes::default());
        self.forget_replies()?;
        self.0.send(&batch.octets, 0)?;
        // The replies have arrived: the kernel works within the call.
        self.0.set_non_blocking(true)?;
        let mut replies = Vec::new();
        while let Ok((datagram, _)) = self.0.recv_from_full() {
            replies.extend(datagram);
        }
        self.0.set_non_blocking(false)?;
        let mut results = messages(&replies).filter(|(kind, _)| *kind == ERROR).map(|(_, body)| result(body));
        let Some(first) = results.next() else {
            return Err(io::Error::other("nf_tables does not reply"));
        };
        std::iter::once(first).chain(results).collect()
    }

    /// Returns all objects of one kind, each as its family and its attributes. `wanted` narrows the
    /// request; older kernels ignore it.
    pub(super) fn list(&self, kind: u16, family: u8, wanted: &Attributes) -> io::Result<Vec<(u8, Attributes)>> {
        self.forget_replies()?;
        self.0.send(&message(NF_TABLES << 8 | kind, REQUEST | DUMP, 1, family, 0, wanted), 0)?;
        let mut found = Vec::new();
        loop {
            let (datagram, _) = self.0.recv_from_full()?;
            for (kind, body) in messages(&datagram) {
                match (kind, body) {
                    (DONE, _) => return Ok(found),
                    (ERROR, _) => result(body)?,
                    (_, [family, _, _, _, attributes @ ..]) => found.push((*family, Attributes(attributes.to_vec()))),
                    _ => {}
                }
            }
        }
    }

    fn forget_replies(&self) -> io::Result<()> {
        self.0.set_non_blocking(true)?;
        while self.0.recv_from_full().is_ok() {}
        self.0.set_non_blocking(false)
    }
}

/// Returns type and body of each message.
fn messages(mut octets: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    std::iter::from_fn(move || {
        let len = u32::from_ne_bytes(*octets.first_chunk()?) as usize;
        let kind = u16::from_ne_bytes([*octets.get(4)?, *octets.get(5)?]);
        let body = octets.get(16..len)?;
        octets = octets.get(len.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, body))
    })
}

fn result(body: &[u8]) -> io::Result<()> {
    match body.first_chunk().map_or(0, |code| i32::from_ne_bytes(*code)) {
        0 => Ok(()),
        code => Err(io::Error::from_raw_os_error(-code)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    proptest::proptest! {
        #[test]
        fn any_octets_are_read_or_passed_over(octets: Vec<u8>, wanted in 0_u16..8) {
            let list = Attributes(octets.clone());
            let _ = (list.get_text(wanted), list.get_number(wanted), list.get_nested(wanted));
            proptest::prop_assert!(messages(&octets).count() <= octets.len());
        }
    }

    #[test]
    fn attributes_and_messages_have_their_shape() {
        let list = Attributes::default().text(1, "ab").nested(4, &Attributes::default().number(2, 7));
        let len = |n: u16| n.to_ne_bytes();
        let wanted =
            [&len(7)[..], &len(1), b"ab\0\0", &len(12), &len(0x8004), &len(8), &len(2), &[0, 0, 0, 7]].concat();
        assert_eq!(list.0, wanted);
        let two = [message(5, 0, 1, 1, 0, &list), message(6, 0, 2, 1, 0, &Attributes::default())].concat();
        let kinds: Vec<_> = messages(&two).map(|(kind, body)| (kind, body.len())).collect();
        assert_eq!(kinds, [(5, 24), (6, 4)]);
        assert_eq!((list.get_text(1), list.get_number(9)), (Some("ab"), None));
        assert_eq!(list.get_nested(4).and_then(|inner| inner.get_number(2)), Some(7));
        assert_eq!(messages(&two[..30]).count(), 0);
        assert_eq!(result(&(-1_i32).to_ne_bytes()).unwrap_err().kind(), io::ErrorKind::PermissionDenied);
    }
}
