//! A question, and the message that asks it.

use super::name::Name;
use super::request::{HEADER, Request};
use super::types::{class, rtype};

/// Octets of an OPT in front of its options (RFC 6891 section 6.1.2).
const OPT: usize = 11;

/// A question (RFC 1035 section 4.1.2).
///
/// Owns its name, inline and without allocation, because its holders keep it: a query, an upstream
/// exchange, a cache key. Code that only reads a question borrows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Question {
    /// The name.
    pub name: Name,
    /// The type.
    pub qtype: u16,
    /// The class.
    pub qclass: u16,
}

/// The OPT pseudo-record of a query (RFC 6891).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Opt<'a> {
    /// The largest UDP payload that the client takes, in octets.
    pub size: u16,
    /// The DO bit (RFC 3225).
    pub dnssec_ok: bool,
    /// The options in wire form, at most 65,535 octets.
    pub options: &'a [u8],
}

impl Question {
    /// Returns a question in the class IN.
    #[must_use]
    pub fn new(name: Name, qtype: u16) -> Self {
        Self { name, qtype, qclass: class::IN }
    }

    /// Returns the question of `packet`, which `request` was read from, with its name in lower
    /// case.
    #[must_use]
    pub fn received(packet: &[u8], request: &Request) -> Self {
        Self { name: request.name(packet), qtype: request.qtype, qclass: request.qclass }
    }

    /// Returns the length of the question in a message, in octets.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        self.name.len() + 4
    }

    /// Appends the question in wire form.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(self.name.wire());
        out.extend_from_slice(&self.qtype.to_be_bytes());
        out.extend_from_slice(&self.qclass.to_be_bytes());
    }

    /// Returns a query with this question; `flags` is the second word of the header, opcode
    /// included.
    #[must_use]
    pub fn query(&self, id: u16, flags: u16, opt: Option<Opt<'_>>) -> Vec<u8> {
        let opt_len = opt.map_or(0, |opt| OPT + opt.options.len());
        let mut query = Vec::with_capacity(HEADER + self.wire_len() + opt_len);
        for word in [id, flags, 1, 0, 0, u16::from(opt.is_some())] {
            query.extend_from_slice(&word.to_be_bytes());
        }
        self.put(&mut query);
        if let Some(opt) = opt {
            opt.put(&mut query);
        }
        query
    }
}

impl Opt<'_> {
    /// Returns an OPT without options and with DO clear.
    #[must_use]
    pub fn of_size(size: u16) -> Self {
        Self { size, dnssec_ok: false, options: &[] }
    }

    /// Appends the record: its owner is the root, extended RCODE and version are 0.
    fn put(&self, out: &mut Vec<u8>) {
        out.push(0);
        out.extend_from_slice(&rtype::OPT.to_be_bytes());
        out.extend_from_slice(&self.size.to_be_bytes());
        out.extend_from_slice(&[0, 0, u8::from(self.dnssec_ok) << 7, 0]);
        out.extend_from_slice(&(self.options.len() as u16).to_be_bytes());
        out.extend_from_slice(self.options);
    }
}

#[cfg(test)]
mod tests {
    use super::super::request::flag;
    use super::*;

    #[test]
    fn a_query_octet_by_octet() {
        let name = Name::from_text("Web.a.").expect("a name");
        let plain = Question::new(name, rtype::SRV).query(0x1234, flag::RD, None);
        assert_eq!(plain, b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x03Web\x01a\0\0\x21\0\x01");
        let opt = Opt { size: 1232, dnssec_ok: true, options: b"\0\x03\0\0" };
        let chaos = Question { qclass: class::CH, ..Question::new(Name::ROOT, rtype::TXT) }.query(1, 0, Some(opt));
        let wanted = b"\0\x01\0\0\0\x01\0\0\0\0\0\x01\0\0\x10\0\x03\0\0\x29\x04\xD0\0\0\x80\0\0\x04\0\x03\0\0";
        assert_eq!(chaos, wanted);
        assert_eq!((chaos.len(), chaos.capacity()), (wanted.len(), wanted.len()));
    }
}
