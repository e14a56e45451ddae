//! The query as it goes upstream, and whether a message is the reply to it.

use std::hash::{Hash, Hasher};

use rand::RngExt;

use crate::chain::Query;
use crate::wire::answer::Answer;
use crate::wire::name::Name;
use crate::wire::option::{EdnsOption, EdnsOptions};
use crate::wire::relay;
use crate::wire::request::{HEADER, flag};
use crate::wire::types::{class, rcode, rtype};

/// Octets of an OPT from its type to its options.
const OPT_HEAD: usize = 10;

/// The largest UDP reply that an upstream may send: what fits every path in one piece (RFC 9715).
const LARGEST: u16 = 1232;

/// Options between two neighbours, which are not passed on: client subnet (it splits answers, and with them makes
/// forging easier: CVE-2025-5994), cookie, keepalive, padding (RFC 7871, 7873, 7828, 7830).
const OF_NEIGHBOURS: [u16; 4] = [8, 10, 11, 12];

//----------- Sent -----------------------------------------------------------

/// A query on its way upstream. The id is not part of it: each try has another one.
#[derive(Debug, Clone)]
pub(super) struct Sent {
    /// The whole message, with 0 for an id.
    bytes: Vec<u8>,
    name: Name,
    qtype: u16,
    qclass: u16,
    /// Whether a reply must have the question in the very case in which it was sent.
    strict: bool,
    /// Octets of the largest reply that the client takes.
    limit: usize,
    /// Whether no client waits for the answer, or has an older one: something is asked again in time.
    in_background: bool,
}

/// What a message is to a query.
pub(super) enum Read {
    /// The reply.
    Answer(Answer),
    /// The reply, but for the case of its question: forged, or from a server that does not keep it.
    OtherCase,
    /// No reply to this query, whoever sent it: the right one may still come.
    NoReply,
}

impl Sent {
    /// The query as it was received, with what the chain has changed: the question, the flags, and the payload
    /// size that the client is said to take, but for what is between the client and us.
    pub(super) fn new(query: &Query<'_>) -> Self {
        let bytes = if query.is_as_asked() { as_received(query) } else { asked_anew(query) };
        let (limit, in_background) = (query.limit(), query.client.is_nobody() || query.has_spare);
        Self { bytes, name: query.name, qtype: query.qtype, qclass: query.qclass, strict: false, limit, in_background }
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
        let limit = usize::from(u16::MAX);
        Self { bytes, name: name.lowered(), qtype, qclass, strict: false, limit, in_background: false }
    }

    /// The same for a client that takes so many octets.
    #[cfg(test)]
    pub(super) fn for_client(self, limit: usize) -> Self {
        Self { limit, ..self }
    }

    /// The same with each letter of the name in a case drawn at random, which the reply must repeat: one more bit
    /// a letter for a forger to guess (draft-vixie-dnsext-dns0x20).
    pub(super) fn in_random_case(&self) -> Self {
        let mut drawn = Self { strict: true, ..self.clone() };
        let mut random = rand::rng();
        for octet in &mut drawn.bytes[HEADER..HEADER + self.name.len()] {
            // Length octets are no letters: they are 63 at most.
            if octet.is_ascii_alphabetic() && random.random() {
                *octet ^= 0x20;
            }
        }
        drawn
    }

    /// Whether a reply in the same case tells that the upstream keeps it: a name without letters does not, nor one
    /// in a single case.
    pub(super) fn tells_of_case(&self) -> bool {
        let name = &self.bytes[HEADER..HEADER + self.name.len()];
        self.strict && name.iter().any(u8::is_ascii_uppercase) && name.iter().any(u8::is_ascii_lowercase)
    }

    /// Whether no client waits for the answer, or has an older one.
    pub(super) fn is_in_background(&self) -> bool {
        self.in_background
    }

    /// Whether the client takes the whole of this answer, with question and OPT around it.
    pub(super) fn has_room_for(&self, answer: &Answer) -> bool {
        let opt = 1 + OPT_HEAD + answer.options.len();
        HEADER + self.name.len() + 4 + answer.wire_len() + opt <= self.limit
    }

    /// Whether the client came in a datagram, so that it can take a truncated answer and ask again over TCP.
    pub(super) fn may_come_over_tcp(&self) -> bool {
        self.limit < usize::from(u16::MAX)
    }

    /// Whether it asks for a whole zone, or what has changed in it.
    pub(super) fn is_transfer(&self) -> bool {
        matches!(self.qtype, rtype::AXFR | rtype::IXFR)
    }

    /// Everything behind the id.
    pub(super) fn behind_id(&self) -> &[u8] {
        &self.bytes[2..]
    }

    /// The whole message under this id, written to the end of `out`.
    pub(super) fn write_with_id(&self, id: u16, out: &mut Vec<u8>) {
        out.extend_from_slice(&id.to_be_bytes());
        out.extend_from_slice(self.behind_id());
    }

    /// The message without id, and the name in it in lower case: what makes two queries one, if their clients take as
    /// much.
    fn parts(&self) -> [&[u8]; 3] {
        [&self.bytes[2..HEADER], self.name.wire(), &self.bytes[HEADER + self.name.len()..]]
    }

    /// The answer in `message`, for those who ask where nobody can forge.
    pub(super) fn answer(&self, message: &[u8]) -> Option<Answer> {
        if let Read::Answer(answer) = self.read(message) { Some(answer) } else { None }
    }

    /// What `message` is to this query.
    pub(super) fn read(&self, message: &[u8]) -> Read {
        if let Some(rcode) = bare_error(message) {
            return Read::Answer(Answer::empty(rcode));
        }
        let Ok(mut answer) = relay::read(message, &self.name, self.qtype, self.qclass) else { return Read::NoReply };
        let name = HEADER..HEADER + self.name.len();
        if self.strict && message.get(name.clone()) != self.bytes.get(name) {
            return Read::OtherCase;
        }
        if !answer.options.is_empty() {
            answer.options = without_neighbours(&answer.options);
        }
        Read::Answer(answer)
    }
}

impl PartialEq for Sent {
    fn eq(&self, other: &Self) -> bool {
        self.limit == other.limit && self.parts() == other.parts()
    }
}

impl Eq for Sent {}

impl Hash for Sent {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.parts().iter().for_each(|part| state.write(part));
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
        let options = usize::from(edns.options.start)..usize::from(edns.options.end);
        let size = options.start - OPT_HEAD + 2;
        bytes[size..size + 2].copy_from_slice(&edns.size.min(LARGEST).to_be_bytes());
        if !options.is_empty() {
            let kept = without_neighbours(&bytes[options.clone()]);
            bytes[options.start - 2..options.start].copy_from_slice(&(kept.len() as u16).to_be_bytes());
            bytes.splice(options, kept);
        }
    }
    bytes
}

/// Another question: only OPT is kept, since other records may point into the name that is gone.
fn asked_anew(query: &Query<'_>) -> Vec<u8> {
    let edns = query.request.edns.as_ref();
    let mut bytes = header(query.request.flags, [0, 0, u16::from(edns.is_some())]);
    push_question(&mut bytes, &query.name, query.qtype, query.qclass);
    if let Some(edns) = edns {
        let options = &query.packet()[usize::from(edns.options.start)..usize::from(edns.options.end)];
        let kept = without_neighbours(options);
        let [high, low] = edns.size.min(LARGEST).to_be_bytes();
        let dnssec_ok = if edns.dnssec_ok { 0x80 } else { 0 };
        bytes.extend_from_slice(&[0, 0, 41, high, low, 0, 0, dnssec_ok, 0]);
        bytes.extend_from_slice(&(kept.len() as u16).to_be_bytes());
        bytes.extend_from_slice(&kept);
    }
    bytes
}

/// Options without those that are between two neighbours. What cannot be read is left out.
fn without_neighbours(options: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(options.len());
    let between = |option: &EdnsOption<'_>| OF_NEIGHBOURS.contains(&option.code);
    EdnsOptions::new(options).filter(|option| !between(option)).for_each(|option| option.put(&mut kept));
    kept
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
        let sent = |text: &str, cd: bool| {
            let mut packet = crate::testing::packet(text, "A");
            packet[3] |= if cd { 0x10 } else { 0 };
            Sent::new(&query(&packet))
        };
        assert_eq!(sent("a.example.", false), sent("A.eXample.", false));
        assert_ne!(sent("a.example.", false), sent("b.example.", false));
        assert_ne!(sent("a.example.", false), sent("a.example.", true));
    }

    #[test]
    fn an_error_without_a_question_is_a_reply() {
        let packet = crate::testing::packet("a.example.", "A");
        let sent = Sent::new(&query(&packet));
        let bare = |flags: [u8; 2]| match sent.read(&[&[0, 0][..], &flags, &[0; 8]].concat()) {
            Read::Answer(answer) => Some(answer.rcode),
            Read::OtherCase | Read::NoReply => None,
        };
        assert_eq!(bare([0x80, 1]), Some(rcode::FORMERR));
        assert_eq!(bare([0x80, 0]), None);
        assert_eq!(bare([0x00, 1]), None);
    }

    /// A query with these options, in wire form.
    fn with_options(options: &[u8]) -> Vec<u8> {
        let mut packet = crate::testing::packet("www.example.org.", "A");
        let at = packet.len();
        packet[at - 2..].copy_from_slice(&(options.len() as u16).to_be_bytes());
        packet.extend_from_slice(options);
        packet
    }

    #[test]
    fn d12_d14_options_of_neighbours_stay_and_sizes_are_those_of_one_packet() {
        const COOKIE: &[u8] = &[0, 10, 0, 8, 1, 2, 3, 4, 5, 6, 7, 8];
        const SUBNET: &[u8] = &[0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2];
        const NSID: &[u8] = &[0, 3, 0, 0];
        let mut packet = with_options(&[COOKIE, SUBNET, NSID, &[0, 11, 0, 0], &[0, 12, 0, 1, 0]].concat());
        let size = packet.iter().position(|&octet| octet == 41).expect("OPT") + 1;
        packet[size..size + 2].copy_from_slice(&4096u16.to_be_bytes());
        let mut renamed = query(&packet);
        renamed.name = Name::from_text("other.example.").expect("a name");
        for sent in [Sent::new(&query(&packet)), Sent::new(&renamed)] {
            let Gate::Pass(request) = gate(&sent.bytes) else { panic!("refused") };
            let edns = request.edns.expect("OPT");
            assert_eq!(edns.size, 1232);
            assert_eq!(&sent.bytes[usize::from(edns.options.start)..], NSID);
        }
        assert_eq!(Sent::new(&query(&with_options(SUBNET))), Sent::new(&query(&with_options(COOKIE))), "one question");
    }

    #[test]
    fn d4_a_reply_in_another_case_is_known() {
        let packet = crate::testing::packet("abcdefghijklmnopqrstuvwxyz.example.", "A");
        let sent = Sent::new(&query(&packet));
        let drawn = sent.in_random_case();
        assert_ne!(sent.bytes, drawn.bytes, "once in 2^33 the same");
        assert_eq!(sent, drawn);
        let reply = |sent: &Sent| {
            let mut reply = sent.bytes[..sent.bytes.len() - 11].to_vec();
            (reply[2], reply[11]) = (0x81, 0);
            reply
        };
        assert!(matches!(drawn.read(&reply(&drawn)), Read::Answer(_)));
        assert!(matches!(drawn.read(&reply(&sent)), Read::OtherCase));
        assert!(matches!(sent.read(&reply(&drawn)), Read::Answer(_)));
    }
}
