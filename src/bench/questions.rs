//! A file of questions, each as a packet that is ready to send.

use std::fmt::{self, Write};
use std::ops::Range;
use std::path::Path;

use crate::wire::name::Name;
use crate::wire::question::{self, Opt};
use crate::wire::request::{HEADER, flag};
use crate::wire::text::write_text;
use crate::wire::types::{rcode_number, type_name, type_number};

/// Number of digits in place of `{n}`.
const DIGITS: usize = 10;

/// What a query contains besides its question.
#[derive(Debug, Clone, Copy)]
pub struct Edns {
    /// The announced UDP size in octets; 0 for no OPT.
    pub size: u16,
    /// The DO bit.
    pub dnssec_ok: bool,
}

/// One question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Question {
    /// The whole query, with id 0.
    packet: Box<[u8]>,
    /// The number of octets up to the end of the question.
    asked: usize,
    /// The position of the digits of `{n}`.
    number: Option<Range<usize>>,
    /// The RCODE of a right reply.
    pub rcode: Option<u16>,
    /// The records in the answer section of a right reply.
    pub answers: Option<u16>,
}

impl Question {
    /// Reads a line: `NAME TYPE [RCODE [ANSWERS]]`.
    ///
    /// # Errors
    /// The invalid word, and what would be right.
    pub fn read(line: &str, edns: Edns) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        let (name, kind) = (words.next().unwrap_or_default(), words.next().ok_or("NAME TYPE is wanted")?);
        let qtype = type_number(&kind.to_ascii_uppercase()).ok_or_else(|| format!("{kind:?} is no record type"))?;
        let number = |word: &str| rcode_number(&word.to_ascii_uppercase()).ok_or(format!("{word:?} is no RCODE"));
        let rcode = words.next().map(number).transpose()?;
        let number = |word: &str| word.parse().map_err(|_| format!("{word:?} is no number of answers"));
        let answers = words.next().map(number).transpose()?;
        if let Some(word) = words.next() {
            return Err(format!("{word:?} is one word too many"));
        }
        let question = asked(name, qtype)?;
        let opt = Opt { dnssec_ok: edns.dnssec_ok, ..Opt::of_size(edns.size) };
        let packet = question.query(0, flag::RD, (edns.size > 0).then_some(opt));
        let number = name.contains("{n}").then(|| place_of_number(&question.name)).flatten();
        Ok(Self { packet: packet.into(), asked: HEADER + question.wire_len(), number, rcode, answers })
    }

    /// Appends the query with this id, and with `number` in place of `{n}`.
    pub fn write(&self, id: u16, number: u32, out: &mut Vec<u8>) {
        let start = out.len();
        out.extend_from_slice(&self.packet);
        out[start..start + 2].copy_from_slice(&id.to_be_bytes());
        if let Some(place) = &self.number {
            digits(number, &mut out[start + place.start..start + place.end]);
        }
    }

    /// Returns whether a message repeats the question as it was asked, octet for octet.
    #[must_use]
    pub fn is_repeated_in(&self, message: &[u8], number: u32) -> bool {
        let Some(question) = message.get(HEADER..self.asked) else { return false };
        match &self.number {
            None => *question == self.packet[HEADER..self.asked],
            Some(place) => {
                let (before, after) = (HEADER..place.start, place.end..self.asked);
                let mut text = [0; DIGITS];
                digits(number, &mut text);
                message[before.clone()] == self.packet[before]
                    && message[place.clone()] == text
                    && message[after.clone()] == self.packet[after]
            }
        }
    }
}

fn digits(mut number: u32, out: &mut [u8]) {
    for digit in out.iter_mut().rev() {
        *digit = b'0' + (number % 10) as u8;
        number /= 10;
    }
}

/// The question of a line, with zeros for `{n}`.
fn asked(name: &str, qtype: u16) -> Result<question::Question, String> {
    let text = name.replacen("{n}", &"0".repeat(DIGITS), 1);
    let parsed = Name::from_text(&text).map_err(|error| format!("{name:?} is no name: {error:?}"))?;
    Ok(question::Question::new(parsed, qtype))
}

/// Returns the position of the label with the number in the packet: the first that is long enough
/// and has as many zeros.
fn place_of_number(name: &Name) -> Option<Range<usize>> {
    let zeros = [b'0'; DIGITS];
    let at = name.wire().windows(DIGITS).position(|window| *window == zeros);
    at.map(|at| HEADER + at..HEADER + at + DIGITS)
}

impl fmt::Display for Question {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.asked - 4;
        write_text(&self.packet[HEADER..name], f)?;
        let qtype = u16::from_be_bytes([self.packet[name], self.packet[name + 1]]);
        match type_name(qtype) {
            Some(text) => write!(f, " {text}"),
            None => write!(f, " TYPE{qtype}"),
        }
    }
}

/// Reads a file of questions; empty lines and lines that begin with `#` or `;` are skipped.
///
/// # Errors
/// The file, the line, and what is wrong with it.
pub fn read(path: &Path, edns: Edns) -> Result<Vec<Question>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut questions = Vec::new();
    let mut wrong = String::new();
    for (at, line) in text.lines().enumerate() {
        if line.trim().is_empty() || line.starts_with(['#', ';']) {
            continue;
        }
        match Question::read(line, edns) {
            Ok(question) => questions.push(question),
            Err(why) => _ = writeln!(wrong, "{}:{}: {why}", path.display(), at + 1),
        }
    }
    match questions.is_empty() {
        _ if !wrong.is_empty() => Err(wrong.trim_end().to_owned()),
        true => Err(format!("{}: no question in it", path.display())),
        false => Ok(questions),
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Message;
    use hickory_proto::rr::RecordType;

    use super::*;

    const PLAIN: Edns = Edns { size: 0, dnssec_ok: false };
    const LARGE: Edns = Edns { size: 4096, dnssec_ok: true };

    fn sent(question: &Question, id: u16, number: u32) -> Vec<u8> {
        let mut out = Vec::new();
        question.write(id, number, &mut out);
        out
    }

    #[test]
    fn a_question_is_a_query_that_others_can_read() {
        let question = Question::read("Web.default.svc.cluster.local. srv nxdomain 0", LARGE).expect("a question");
        let message = Message::from_vec(&sent(&question, 0x1234, 0)).expect("a query");
        assert_eq!(message.metadata.id, 0x1234);
        assert!(message.metadata.recursion_desired);
        assert_eq!(message.queries[0].query_type(), RecordType::SRV);
        assert_eq!(message.queries[0].name().to_string(), "Web.default.svc.cluster.local.");
        let edns = message.edns.expect("an OPT");
        assert_eq!((edns.max_payload(), edns.flags().dnssec_ok), (4096, true));
        assert_eq!((question.rcode, question.answers), (Some(3), Some(0)));
    }

    #[test]
    fn a_number_makes_names_that_are_new_each_time() {
        let question = Question::read("x{n}.example.org A", PLAIN).expect("a question");
        let packet = sent(&question, 1, 4_000_000_001);
        let message = Message::from_vec(&packet).expect("a query");
        assert_eq!(message.queries[0].name().to_string(), "x4000000001.example.org.");
        assert!(question.is_repeated_in(&packet, 4_000_000_001));
        assert!(!question.is_repeated_in(&packet, 4_000_000_002));
    }

    #[test]
    fn a_reply_must_repeat_the_question() {
        let question = Question::read("example.org A", PLAIN).expect("a question");
        let mut packet = sent(&question, 1, 0);
        assert!(question.is_repeated_in(&packet, 0));
        assert!(!question.is_repeated_in(&packet[..packet.len() - 1], 0));
        packet[HEADER + 1] ^= 0x20;
        assert!(!question.is_repeated_in(&packet, 0), "the case is part of it");
    }

    #[test]
    fn errors_say_where_and_what() {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), "# names\nexample.org A\n\nexample.org AAAAA\nexample.org\n").expect("written");
        let error = read(file.path(), PLAIN).expect_err("two bad lines");
        let path = file.path().display();
        assert_eq!(error, format!("{path}:4: \"AAAAA\" is no record type\n{path}:5: NAME TYPE is wanted"));
    }
}
