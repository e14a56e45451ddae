//! The query as another server gets it, and whether a message is the reply to it.

use std::hash::{Hash, Hasher};

use rand::RngExt;

use crate::wire::answer::Answer;
use crate::wire::name::Name;
use crate::wire::option::{EdnsOption, EdnsOptions};
use crate::wire::question::{Opt, Question};
use crate::wire::relay;
use crate::wire::request::{Edns, HEADER, Request, flag};
use crate::wire::types::{rcode, rtype};

/// Octets of an OPT from its type to its options.
const OPT_HEAD: usize = 10;

/// The largest UDP reply that a server may send: what fits every path in one piece (RFC 9715).
const LARGEST: u16 = 1232;

//----------- Sent -----------------------------------------------------------

/// A query to another server. The id is not part of it: each try has another one.
///
/// Two are equal if they ask the same: the case of the name does not count.
#[derive(Debug, Clone)]
pub(crate) struct Sent {
    /// The whole message, with 0 as its id.
    bytes: Vec<u8>,
    /// What it asks, with the name in lower case.
    question: Question,
    /// Whether a reply must repeat the case of the question.
    strict: bool,
}

/// What a message is to a query.
pub(super) enum Read {
    /// The reply.
    Answer(Answer),
    /// The reply, but for the case of its question: forged, or from a server that does not keep it.
    OtherCase,
    /// Not a reply to this query. The right one may still come.
    NoReply,
}

impl Sent {
    /// Passes on a query as it was received, with the flags and the payload size that `request` has
    /// now, and without the options that are between the client and us. `question` is that of
    /// `packet`, with its name in lower case.
    pub(crate) fn as_received(packet: &[u8], request: &Request, question: Question) -> Self {
        Self::new(as_received(packet, request), question)
    }

    /// Passes on a query with another question, with its name in lower case. Only OPT is kept:
    /// other records may point into the name that is gone.
    pub(crate) fn asked_anew(packet: &[u8], request: &Request, question: Question) -> Self {
        Self::anew(request, question, &without_neighbours(options(packet, request)))
    }

    /// The question that tells whether a server is alive: `name` NS.
    pub(crate) fn probe(name: &Name, recursion: bool) -> Self {
        Self::plain(Question::new(*name, rtype::NS), recursion)
    }

    /// Passes on a query whose options plugins have chosen: all of them are kept. Its question is
    /// the current one, with its name in lower case.
    pub(crate) fn with_options(packet: &[u8], request: &Request, question: Question) -> Self {
        Self::anew(request, question, options(packet, request))
    }

    fn anew(request: &Request, question: Question, options: &[u8]) -> Self {
        let opt = |edns: &Edns| Opt { size: edns.size.min(LARGEST), dnssec_ok: edns.dnssec_ok, options };
        Self::new(question.query(0, request.flags, request.edns.as_ref().map(opt)), question)
    }

    /// A question of our own, without OPT.
    pub(super) fn plain(question: Question, recursion: bool) -> Self {
        let flags = if recursion { flag::RD } else { 0 };
        let bytes = question.query(0, flags, None);
        Self::new(bytes, Question { name: question.name.lowered(), ..question })
    }

    fn new(bytes: Vec<u8>, question: Question) -> Self {
        Self { bytes, question, strict: false }
    }

    /// The same with each letter of the name in a case drawn at random, which the reply must
    /// repeat: for each letter a forger has one more bit to guess (draft-vixie-dnsext-dns0x20).
    pub(super) fn in_random_case(&self) -> Self {
        let mut drawn = Self { strict: true, ..self.clone() };
        let mut random = rand::rng();
        for octet in &mut drawn.bytes[HEADER..HEADER + self.question.name.len()] {
            // Length octets are at most 63, so they are not letters.
            if octet.is_ascii_alphabetic() && random.random() {
                *octet ^= 0x20;
            }
        }
        drawn
    }

    /// Whether a reply in the same case shows that the server keeps it. A name without letters does
    /// not, nor does one in a single case.
    pub(super) fn tells_of_case(&self) -> bool {
        let name = &self.bytes[HEADER..HEADER + self.question.name.len()];
        self.strict && name.iter().any(u8::is_ascii_uppercase) && name.iter().any(u8::is_ascii_lowercase)
    }

    /// Returns the octets of a message with this answer, its question and OPT included.
    pub(crate) fn reply_len(&self, answer: &Answer) -> usize {
        let opt = 1 + OPT_HEAD + answer.options.len();
        HEADER + self.question.wire_len() + answer.wire_len() + opt
    }

    /// What it asks, with the name in lower case.
    pub(crate) fn question(&self) -> &Question {
        &self.question
    }

    /// Whether it asks for a whole zone, or what has changed in it.
    pub(super) fn is_transfer(&self) -> bool {
        matches!(self.question.qtype, rtype::AXFR | rtype::IXFR)
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

    /// The message without its id, and with the name in lower case: two queries with equal parts
    /// ask the same.
    fn parts(&self) -> [&[u8]; 3] {
        [&self.bytes[2..HEADER], self.question.name.wire(), &self.bytes[HEADER + self.question.name.len()..]]
    }

    /// Reads the answer in `message`, for transports on which replies cannot be forged.
    pub(super) fn answer(&self, message: &[u8]) -> Option<Answer> {
        if let Read::Answer(answer) = self.read(message) { Some(answer) } else { None }
    }

    /// Reads what `message` is to this query.
    pub(super) fn read(&self, message: &[u8]) -> Read {
        if let Some(rcode) = bare_error(message) {
            return Read::Answer(Answer::empty(rcode));
        }
        let Ok(mut answer) = relay::read(message, &self.question) else { return Read::NoReply };
        let name = HEADER..HEADER + self.question.name.len();
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
        self.parts() == other.parts()
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

fn as_received(packet: &[u8], request: &Request) -> Vec<u8> {
    let mut bytes = packet.to_vec();
    bytes[..2].fill(0);
    bytes[2..4].copy_from_slice(&request.flags.to_be_bytes());
    if let Some(edns) = &request.edns {
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

/// The EDNS options that `request` has now, as they stand in its packet.
fn options<'p>(packet: &'p [u8], request: &Request) -> &'p [u8] {
    let options = request.edns.as_ref().map_or(0..0, |edns| edns.options.clone());
    &packet[usize::from(options.start)..usize::from(options.end)]
}

/// Options without those that are between two neighbours. What cannot be read is left out.
fn without_neighbours(options: &[u8]) -> Vec<u8> {
    let mut kept = Vec::with_capacity(options.len());
    let between = |option: &EdnsOption<'_>| option.is_of_neighbours();
    EdnsOptions::new(options).filter(|option| !between(option)).for_each(|option| option.put(&mut kept));
    kept
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::request::{Gate, gate};

    fn request(packet: &[u8]) -> Request {
        let Gate::Pass(request) = gate(packet) else { panic!("not a query") };
        request
    }

    fn as_it_came(packet: &[u8]) -> Sent {
        let request = request(packet);
        Sent::as_received(packet, &request, Question::received(packet, &request))
    }

    fn renamed(packet: &[u8]) -> Sent {
        let name = Name::from_text("other.example.").expect("a name");
        Sent::asked_anew(packet, &request(packet), Question::new(name, rtype::AAAA))
    }

    #[test]
    fn a_query_is_passed_on_as_it_came() {
        let packet = with_options(&[0, 3, 0, 0]);
        let mut changed = request(&packet);
        assert_eq!(as_it_came(&packet).behind_id(), &packet[2..]);
        changed.flags |= flag::AD;
        changed.edns.as_mut().expect("OPT").size = 512;
        let sent = Sent::as_received(&packet, &changed, Question::received(&packet, &changed));
        let sent = request(&sent.bytes);
        assert_eq!((sent.flags & flag::AD, sent.edns.map(|edns| edns.size)), (flag::AD, Some(512)));
    }

    #[test]
    fn a_changed_question_is_written_anew_with_the_clients_options() {
        let sent = renamed(&with_options(&[0, 3, 0, 0]));
        let request = request(&sent.bytes);
        assert_eq!((request.qtype, usize::from(request.name_len)), (rtype::AAAA, sent.question.name.len()));
        assert_eq!(request.edns.map(|edns| edns.options.len()), Some(4));
    }

    #[test]
    fn case_does_not_make_two_questions_and_flags_do() {
        let sent = |text: &str, cd: bool| {
            let mut packet = crate::testing::packet(text, "A");
            packet[3] |= if cd { 0x10 } else { 0 };
            as_it_came(&packet)
        };
        assert_eq!(sent("a.example.", false), sent("A.eXample.", false));
        assert_ne!(sent("a.example.", false), sent("b.example.", false));
        assert_ne!(sent("a.example.", false), sent("a.example.", true));
    }

    #[test]
    fn an_error_without_a_question_is_a_reply() {
        let packet = crate::testing::packet("a.example.", "A");
        let sent = as_it_came(&packet);
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
        for sent in [as_it_came(&packet), renamed(&packet)] {
            let edns = request(&sent.bytes).edns.expect("OPT");
            assert_eq!(edns.size, 1232);
            assert_eq!(&sent.bytes[usize::from(edns.options.start)..], NSID);
        }
        assert_eq!(as_it_came(&with_options(SUBNET)), as_it_came(&with_options(COOKIE)), "one question");
    }

    #[test]
    fn d4_a_reply_in_another_case_is_known() {
        let packet = crate::testing::packet("abcdefghijklmnopqrstuvwxyz.example.", "A");
        let sent = as_it_came(&packet);
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
