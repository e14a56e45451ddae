//! The query as it goes upstream, and whether a message is the reply to it.

use crate::chain::Query;
use crate::wire::answer::Answer;
use crate::wire::name::Name;
use crate::wire::relay;
use crate::wire::request::{HEADER, flag};
use crate::wire::types::{class, rcode};

/// Octets of an OPT from its type to its options.
const OPT_HEAD: usize = 10;

//----------- Sent -----------------------------------------------------------

/// A query on its way upstream. The id is not part of it: each try has another one.
#[derive(Debug)]
pub(super) struct Sent {
    /// The whole message, with 0 for an id.
    bytes: Vec<u8>,
    name: Name,
    qtype: u16,
    qclass: u16,
}

impl Sent {
    /// The query as it was received, with what the chain has changed: the question, the flags, and the payload
    /// size that the client is said to take.
    pub(super) fn new(query: &Query<'_>) -> Self {
        let bytes = if query.is_as_asked() { as_received(query) } else { asked_anew(query) };
        Self { bytes, name: query.name, qtype: query.qtype, qclass: query.qclass }
    }

    /// The question that tells whether an upstream lives: `name` NS.
    pub(super) fn probe(name: &Name, recursion: bool) -> Self {
        const NS: u16 = 2;
        Self::question(name, (NS, class::IN), recursion)
    }

    /// A question of our own.
    pub(super) fn question(name: &Name, (qtype, qclass): (u16, u16), recursion: bool) -> Self {
        let flags = if recursion { flag::RD } else { 0 };
        let mut bytes = header(flags, [0, 0, 0]);
        push_question(&mut bytes, name, qtype, qclass);
        Self { bytes, name: name.lowered(), qtype, qclass }
    }

    /// Everything behind the id.
    pub(super) fn behind_id(&self) -> &[u8] {
        &self.bytes[2..]
    }

    /// What makes two queries one: the whole message, the name in lower case.
    pub(super) fn key(&self, tcp: bool) -> Box<[u8]> {
        let mut key = self.bytes[1..].to_vec();
        key[0] = u8::from(tcp);
        key[HEADER - 1..HEADER - 1 + self.name.len()].copy_from_slice(self.name.wire());
        key.into_boxed_slice()
    }

    /// The answer in `message`, or nothing if it is not the reply to this query, whoever sent it: then the right
    /// one may still come.
    pub(super) fn answer(&self, message: &[u8]) -> Option<Answer> {
        if let Some(rcode) = bare_error(message) {
            return Some(Answer::empty(rcode));
        }
        relay::read(message, &self.name, self.qtype, self.qclass).ok()
    }
}

/// Servers that could not read a query may leave the question out of their reply.
fn bare_error(message: &[u8]) -> Option<u16> {
    let header = message.get(..HEADER)?;
    let rcode = u16::from(header[3] & 0xF);
    let is_error = matches!(rcode, rcode::FORMERR | rcode::SERVFAIL | rcode::NOTIMP | rcode::REFUSED);
    (header[2] & 0x80 != 0 && header[4..10] == [0; 6] && is_error).then_some(rcode)
}

//----------- Writing --------------------------------------------------------

fn as_received(query: &Query<'_>) -> Vec<u8> {
    let mut bytes = query.packet().to_vec();
    bytes[..2].fill(0);
    bytes[2..4].copy_from_slice(&query.request.flags.to_be_bytes());
    if let Some(edns) = &query.request.edns {
        let size = usize::from(edns.options.start) - OPT_HEAD + 2;
        bytes[size..size + 2].copy_from_slice(&edns.size.to_be_bytes());
    }
    bytes
}

/// Another question: only OPT is kept, since other records may point into the name that is gone.
fn asked_anew(query: &Query<'_>) -> Vec<u8> {
    let edns = query.request.edns.as_ref();
    let mut bytes = header(query.request.flags, [0, 0, u16::from(edns.is_some())]);
    push_question(&mut bytes, &query.name, query.qtype, query.qclass);
    if let Some(edns) = edns {
        let options = usize::from(edns.options.start)..usize::from(edns.options.end);
        let [high, low] = edns.size.to_be_bytes();
        let dnssec_ok = if edns.dnssec_ok { 0x80 } else { 0 };
        bytes.extend_from_slice(&[0, 0, 41, high, low, 0, 0, dnssec_ok, 0]);
        bytes.extend_from_slice(&(options.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&query.packet()[options]);
    }
    bytes
}

fn header(flags: u16, counts: [u16; 3]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(64);
    for word in [0, flags, 1, counts[0], counts[1], counts[2]] {
        bytes.extend_from_slice(&word.to_be_bytes());
    }
    bytes
}

fn push_question(bytes: &mut Vec<u8>, name: &Name, qtype: u16, qclass: u16) {
    bytes.extend_from_slice(name.wire());
    bytes.extend_from_slice(&qtype.to_be_bytes());
    bytes.extend_from_slice(&qclass.to_be_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::{Client, Proto};
    use crate::wire::request::{Gate, gate};
    use std::time::Instant;

    fn query(packet: &[u8]) -> Query<'_> {
        let Gate::Pass(request) = gate(packet) else { panic!("not a query") };
        let address = "127.0.0.1:53".parse().expect("an address");
        Query::new(packet, request, Client { peer: address, local: address, proto: Proto::Udp }, Instant::now())
    }

    #[test]
    fn a_query_goes_upstream_as_it_came() {
        let mut packet = crate::testing::packet("wWw.Example.org.", "A");
        let at = packet.len();
        packet[at - 1] = 4;
        packet.extend_from_slice(&[0, 3, 0, 0]);
        let mut query = query(&packet);
        let sent = Sent::new(&query);
        assert_eq!(sent.behind_id(), &packet[2..]);
        query.request.flags |= flag::AD;
        query.request.edns.as_mut().expect("OPT").size = 512;
        let sent = Sent::new(&query);
        let Gate::Pass(request) = gate(&sent.bytes) else { panic!("refused") };
        assert_eq!((request.flags & flag::AD, request.edns.map(|edns| edns.size)), (flag::AD, Some(512)));
    }

    #[test]
    fn a_changed_question_is_written_anew_with_the_clients_options() {
        let mut packet = crate::testing::packet("www.example.org.", "A");
        let at = packet.len();
        packet[at - 1] = 4;
        packet.extend_from_slice(&[0, 3, 0, 0]);
        let mut query = query(&packet);
        query.name = Name::from_text("other.example.").expect("a name");
        query.qtype = 28;
        let sent = Sent::new(&query);
        let Gate::Pass(request) = gate(&sent.bytes) else { panic!("refused") };
        assert_eq!((request.qtype, usize::from(request.name_len)), (28, query.name.len()));
        assert_eq!(request.edns.map(|edns| edns.options.len()), Some(4));
    }

    #[test]
    fn case_does_not_make_two_questions_and_flags_do() {
        let key = |text: &str, tcp, cd: bool| {
            let mut packet = crate::testing::packet(text, "A");
            packet[3] |= if cd { 0x10 } else { 0 };
            Sent::new(&query(&packet)).key(tcp)
        };
        assert_eq!(key("a.example.", false, false), key("A.eXample.", false, false));
        assert_ne!(key("a.example.", false, false), key("a.example.", true, false));
        assert_ne!(key("a.example.", false, false), key("a.example.", false, true));
    }

    #[test]
    fn an_error_without_a_question_is_a_reply() {
        let packet = crate::testing::packet("a.example.", "A");
        let sent = Sent::new(&query(&packet));
        let bare = |flags: [u8; 2]| sent.answer(&[&[0, 0][..], &flags, &[0; 8]].concat()).map(|answer| answer.rcode);
        assert_eq!(bare([0x80, 1]), Some(rcode::FORMERR));
        assert_eq!(bare([0x80, 0]), None);
        assert_eq!(bare([0x00, 1]), None);
    }
}
