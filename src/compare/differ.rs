//! The differences between two replies.

use std::net::SocketAddr;

use hickory_proto::op::Message;
use hickory_proto::rr::{Record, RecordType};

use super::options::Options;
use crate::wire::types::rcode_name;

/// The parts of a reply that are compared.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    rcode: String,
    authoritative: bool,
    /// The records of each section, sorted; aliases come first, in their own order.
    sections: [Vec<String>; 3],
}

const SECTIONS: [&str; 3] = ["answer", "authority", "additional"];

impl Seen {
    /// Reads a reply. TTLs are kept only if `with_ttl`.
    #[must_use]
    pub fn new(message: &Message, with_ttl: bool) -> Self {
        let code = u16::from(message.metadata.response_code);
        let sections = [&message.answers, &message.authorities, &message.additionals];
        Self {
            rcode: rcode_name(code).map_or_else(|| format!("RCODE{code}"), str::to_owned),
            authoritative: message.metadata.authoritative,
            sections: sections.map(|records| {
                let (aliases, mut others): (Vec<_>, Vec<_>) =
                    records.iter().partition(|record| record.record_type() == RecordType::CNAME);
                others.sort_by_key(|record| text(record, with_ttl));
                aliases.into_iter().chain(others).map(|record| text(record, with_ttl)).collect()
            }),
        }
    }
}

fn text(record: &Record, with_ttl: bool) -> String {
    let data = record.data.to_string();
    let data = match record.record_type() {
        // MNAME RNAME SERIAL REFRESH RETRY EXPIRE MINIMUM: the serial depends on the time only.
        RecordType::SOA => {
            data.split_whitespace().enumerate().filter(|(at, _)| *at != 2).fold(String::new(), |text, (_, word)| {
                if text.is_empty() { word.to_owned() } else { text + " " + word }
            })
        }
        _ => data,
    };
    let ttl = if with_ttl { format!("{} ", record.ttl) } else { String::new() };
    format!("{} {ttl}{} {data}", record.name.to_lowercase(), record.record_type())
}

/// Returns one line for each difference.
#[must_use]
pub fn differences(options: &Options, ours: &Result<Seen, String>, theirs: &Result<Seen, String>) -> Vec<String> {
    let nothing = |server: SocketAddr, why: &str| format!("{server} does not answer: {why}");
    let (ours, theirs) = match (ours, theirs) {
        (Ok(ours), Ok(theirs)) => (ours, theirs),
        (Err(why), Ok(_)) => return vec![nothing(options.server, why)],
        (Ok(_), Err(why)) => return vec![nothing(options.against, why)],
        (Err(ours), Err(theirs)) => return vec![nothing(options.server, ours), nothing(options.against, theirs)],
    };
    let mut lines = Vec::new();
    if ours.rcode != theirs.rcode {
        lines.push(format!("{}, not {}", ours.rcode, theirs.rcode));
    }
    if ours.authoritative != theirs.authoritative {
        let not = if ours.authoritative { "" } else { "not " };
        lines.push(format!("{not}authoritative"));
    }
    for ((section, ours), theirs) in SECTIONS.iter().zip(&ours.sections).zip(&theirs.sections) {
        lines.extend(without(theirs, ours).map(|record| format!("{section} lacks {record}")));
        lines.extend(without(ours, theirs).map(|record| format!("{section} has   {record}")));
        let is_permuted = ours != theirs && without(theirs, ours).chain(without(ours, theirs)).next().is_none();
        if is_permuted {
            lines.push(format!("{section} has another order of aliases, or a record twice"));
        }
    }
    lines
}

/// Returns what is in the first list but not in the second.
fn without<'a>(all: &'a [String], these: &'a [String]) -> impl Iterator<Item = &'a String> {
    all.iter().filter(|record| !these.contains(record))
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::{MessageType, OpCode, ResponseCode};
    use hickory_proto::rr::rdata::{A, CNAME, SOA};
    use hickory_proto::rr::{Name, RData};

    use super::*;
    use crate::compare::options::parse;

    fn record(name: &str, ttl: u32, data: RData) -> Record {
        Record::from_rdata(Name::from_ascii(name).expect("a name"), ttl, data)
    }

    fn alias(name: &str, to: &str) -> Record {
        record(name, 5, RData::CNAME(CNAME(Name::from_ascii(to).expect("a name"))))
    }

    fn seen(answers: Vec<Record>, rcode: ResponseCode) -> Result<Seen, String> {
        let mut message = Message::new(1, MessageType::Response, OpCode::Query);
        message.metadata.response_code = rcode;
        message.answers = answers;
        Ok(Seen::new(&message, false))
    }

    fn lines(ours: &Result<Seen, String>, theirs: &Result<Seen, String>) -> Vec<String> {
        let options = parse("-against 192.0.2.2 -questions - -server 192.0.2.1".split(' ').map(str::to_owned));
        differences(&options.expect("options"), ours, theirs)
    }

    #[test]
    fn order_ttl_case_and_serial_are_no_difference() {
        let soa = |serial| {
            let name = Name::from_ascii("ns.example.").expect("a name");
            record("example.", 5, RData::SOA(SOA::new(name.clone(), name, serial, 1, 2, 3, 4)))
        };
        let (one, two) = (RData::A(A::new(192, 0, 2, 1)), RData::A(A::new(192, 0, 2, 2)));
        let ours = vec![record("a.example.", 5, one.clone()), record("a.example.", 5, two.clone()), soa(1)];
        let theirs = vec![record("a.example.", 3, two), soa(2), record("A.example.", 3, one)];
        assert_eq!(lines(&seen(ours, ResponseCode::NoError), &seen(theirs, ResponseCode::NoError)), [""; 0]);
    }

    #[test]
    fn what_differs_is_named() {
        let ours = seen(vec![record("a.example.", 5, RData::A(A::new(192, 0, 2, 1)))], ResponseCode::NoError);
        let theirs = seen(Vec::new(), ResponseCode::NXDomain);
        assert_eq!(lines(&ours, &theirs), ["NOERROR, not NXDOMAIN", "answer has   a.example. A 192.0.2.1"]);
        assert_eq!(lines(&theirs, &ours)[1], "answer lacks a.example. A 192.0.2.1");
        let silent = Err("no reply".to_owned());
        assert_eq!(lines(&ours, &silent), ["192.0.2.2:53 does not answer: no reply"]);
    }

    #[test]
    fn aliases_must_stand_in_their_order() {
        let (first, second) = (alias("a.example.", "b.example."), alias("b.example.", "c.example."));
        let right = seen(vec![first.clone(), second.clone()], ResponseCode::NoError);
        let wrong = seen(vec![second, first], ResponseCode::NoError);
        assert_eq!(lines(&wrong, &right), ["answer has another order of aliases, or a record twice"]);
    }
}
