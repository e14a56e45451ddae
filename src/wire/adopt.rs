//! Copies records of one answer into another: names are read and rewritten for another question.

use std::sync::Arc;

use super::answer::{Answer, Record, Section};
use super::encode::{Encoder, Names};
use super::name::Name;
use super::question::Question;
use super::records::{MessageRecord, data};
use super::relay::Data;
use super::request::HEADER;
use super::types::rtype;
use super::write::copy_all;

/// Adds the answer section of the answer to `question` to another answer. `ttl` (seconds) replaces
/// the records' own TTLs.
pub fn append(e: &mut Encoder<'_>, names: &mut Names, answer: &Answer, question: &Question, ttl: Option<u32>) {
    let records = Records::new(answer, question, ttl);
    let mut aliases = true;
    for index in 0..usize::from(answer.counts[0]) {
        let section = answer.record(index).section;
        records.put(e, names, section, index, &mut aliases);
    }
}

/// Adds all sections of the answer to `question` to another answer.
pub fn append_all(e: &mut Encoder<'_>, names: &mut Names, answer: &Answer, question: &Question) {
    let records = Records::new(answer, question, None);
    for index in 0..answer.records.len() {
        let section = answer.record(index).section;
        records.put(e, names, section, index, &mut false);
    }
}

/// Returns the answer to `question` as the answer to a question for `asked`, which is an alias of
/// its name.
///
/// The alias precedes the records of the name and has the TTL of the first of them, unless they
/// already have another owner: a denial stays one. `ttl` (seconds) replaces the records' own TTLs.
/// Names keep the case that they have in `question` and `asked`, which may be the client's.
#[must_use]
pub fn as_alias(answer: &Answer, question: &Question, asked: &Name, ttl: Option<u32>) -> Arc<Answer> {
    let records = Records::new(answer, question, ttl);
    let mut names = Names::new(*asked);
    let mut adopted = Encoder::build(asked.len(), |e| {
        e.rcode(answer.rcode);
        e.flags(answer.flags);
        if let Some((target, alias_ttl)) = records.first_other(asked) {
            names.record(e, asked, rtype::CNAME, alias_ttl, |e, names| names.put(e, &target));
        }
        let mut aliases = true;
        for index in 0..answer.records.len() {
            let section = answer.record(index).section;
            records.put(e, &mut names, section, index, &mut aliases);
        }
    });
    adopted.options.clone_from(&answer.options);
    Arc::new(adopted)
}

/// Returns all records of the answer to `question`, with their sections. A record that cannot be
/// read is left out.
#[must_use]
pub fn records_of(answer: &Answer, question: &Question) -> Vec<(Section, MessageRecord)> {
    let records = Records::new(answer, question, None);
    let read = |index| {
        let (owner, fixed) = records.owner(index)?;
        let Record { section, rtype, class, ttl, rdata } = answer.record(index);
        let data = data(&records.message[..fixed + 10 + rdata.len()], rtype, fixed + 10)?;
        Some((section, MessageRecord { owner, rtype, class, ttl, data }))
    };
    (0..answer.records.len()).filter_map(read).collect()
}

/// Returns the answer to `question` with more records, each at the end of its section.
#[must_use]
pub fn with_records(answer: &Answer, question: &Question, more: &[(Section, MessageRecord)]) -> Arc<Answer> {
    let records = Records::new(answer, question, None);
    let mut names = Names::new(question.name);
    let mut whole = Encoder::build(question.name.len(), |e| {
        e.rcode(answer.rcode);
        e.flags(answer.flags);
        for section in [Section::Answer, Section::Authority, Section::Additional] {
            for index in (0..answer.records.len()).filter(|&index| answer.record(index).section == section) {
                records.put(e, &mut names, section, index, &mut false);
            }
            for (_, record) in more.iter().filter(|(its, _)| *its == section) {
                names.record_in(section, e, &record.owner, record.rtype, record.ttl, |e, _| e.put(&record.data));
            }
        }
    });
    whole.options.clone_from(&answer.options);
    Arc::new(whole)
}

/// The answer to another question.
pub struct Other<'a> {
    /// The question.
    pub question: &'a Question,
    /// Its answer.
    pub answer: &'a Answer,
    /// A TTL in seconds that replaces the records' own.
    pub ttl: Option<u32>,
}

/// Returns the answer to `question`, with the answer sections of others as additional records.
#[must_use]
pub fn with_additional(answer: &Answer, question: &Question, others: &[Other<'_>]) -> Arc<Answer> {
    let asked = &question.name;
    let mut names = Names::new(*asked);
    Arc::new(Encoder::build(asked.len(), |e| {
        e.rcode(answer.rcode);
        e.flags(answer.flags);
        append_all(e, &mut names, answer, question);
        for other in others {
            let records = Records::new(other.answer, other.question, other.ttl);
            for index in 0..usize::from(other.answer.counts[0]) {
                records.put(e, &mut names, Section::Additional, index, &mut false);
            }
        }
    }))
}

/// The records of an answer in a form in which all names can be read.
pub(super) struct Records<'a> {
    answer: &'a Answer,
    message: Vec<u8>,
    /// The offset of the first record.
    body: usize,
    pub(super) ttl: Option<u32>,
}

impl<'a> Records<'a> {
    pub(super) fn new(answer: &'a Answer, question: &Question, ttl: Option<u32>) -> Self {
        let mut message = vec![0; HEADER];
        question.put(&mut message);
        let body = message.len();
        copy_all(answer, question.name.len() as i32 - i32::from(answer.asked), None, &mut message);
        Self { answer, message, body, ttl }
    }

    /// Returns the owner of a record, and the offset of its type.
    pub(super) fn owner(&self, index: usize) -> Option<(Name, usize)> {
        Name::from_message(&self.message, self.body + usize::from(self.answer.records[index].at))
    }

    /// Returns the data of a record whose type is at `fixed`.
    pub(super) fn data(&self, index: usize, fixed: usize) -> Data<'_> {
        let record = self.answer.record(index);
        Data { message: &self.message, rtype: record.rtype, at: fixed + 10, len: record.rdata.len() }
    }

    /// Returns the name that the data of a record begin with.
    pub(super) fn target(&self, index: usize) -> Option<Name> {
        let (_, fixed) = self.owner(index)?;
        Name::from_message(&self.message, fixed + 10).map(|(name, _)| name)
    }

    /// Returns owner and TTL of the first record in Answer with another owner than `asked`.
    fn first_other(&self, asked: &Name) -> Option<(Name, u32)> {
        (0..usize::from(self.answer.counts[0])).find_map(|index| {
            let (owner, _) = self.owner(index)?;
            let ttl = self.ttl.unwrap_or(self.answer.record(index).ttl);
            (owner.lowered() != asked.lowered()).then_some((owner, ttl))
        })
    }

    /// Rewrites a record. `aliases` says whether all records before it are aliases: these keep
    /// their place in every order, so later names may point to them.
    pub(super) fn put(
        &self,
        e: &mut Encoder<'_>,
        names: &mut Names,
        section: Section,
        index: usize,
        aliases: &mut bool,
    ) {
        let Some((owner, fixed)) = self.owner(index) else { return };
        let record = self.answer.record(index);
        *aliases &= record.rtype == rtype::CNAME;
        let (noted, data, ttl) = (*aliases, self.data(index, fixed), self.ttl.unwrap_or(record.ttl));
        names.record_in(section, e, &owner, record.rtype, ttl, |e, names| {
            data.rewrite(e, |e, name| {
                let _ = if noted { names.put(e, name) } else { names.put_unnoted(e, name) };
            });
        });
    }
}

#[cfg(test)]
mod tests {
    use hickory_proto::op::Message;

    use super::super::encode::{Owner, Tail};
    use super::super::reply::{Order, Reply};
    use super::super::request::{self, flag};
    use super::super::types::rcode;
    use super::super::write::Writer;
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_text(text).expect("a name")
    }

    fn question(text: &str, qtype: u16) -> Question {
        Question::new(name(text), qtype)
    }

    /// Returns what a client that asks for `asked` reads.
    fn read(answer: Arc<Answer>, asked: &str, qtype: u16, order: Order) -> Message {
        let packet = question(asked, qtype).query(9, flag::RD, None);
        let request::Gate::Pass(request) = request::gate(&packet) else { panic!("refused") };
        let mut out = Vec::new();
        let reply = Reply { order, ..Reply::memory(answer) };
        Writer::default().reply(&packet, &request, &reply, 65_535, &mut out);
        Message::from_vec(&out).expect("a message")
    }

    fn texts(records: &[hickory_proto::rr::Record]) -> Vec<String> {
        records.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn an_answer_made_once_gets_an_alias_in_front() {
        // As the index stores it: encoded for no name, two addresses.
        let stored = Encoder::build(0, |e| {
            e.flags(flag::AA);
            e.address(Section::Answer, Owner::ASKED, 5, [10, 0, 0, 1].into());
            e.address(Section::Answer, Owner::ASKED, 5, [10, 0, 0, 2].into());
        });
        let adopted = as_alias(&stored, &question("Web.a.svc.", 1), &name("Web.a.b.svc."), None);
        for seed in 0..8 {
            let got = read(adopted.clone(), "Web.a.b.svc.", 1, Order::Shuffled(seed));
            assert_eq!(got.answers[0].to_string(), "Web.a.b.svc. 5 IN CNAME Web.a.svc.");
            let mut addresses = texts(&got.answers[1..]);
            addresses.sort();
            assert_eq!(addresses, ["Web.a.svc. 5 IN A 10.0.0.1", "Web.a.svc. 5 IN A 10.0.0.2"]);
        }
    }

    #[test]
    fn every_section_comes_along_and_a_denial_has_no_alias() {
        // The SOA of a zone that ends the question, encoded for the zone's own name.
        let zone = name("cluster.local.");
        let denial = Encoder::build(zone.len(), |e| {
            e.rcode(rcode::NOERROR);
            e.record(Section::Authority, Owner::zone(zone.len()), rtype::SOA, 5, |e| {
                e.put_name(Owner::new(b"\x02ns", Tail::AskedEnd(zone.len() as u8)));
                e.put_name(Owner::new(b"\x01h", Tail::AskedEnd(zone.len() as u8)));
                e.put(&[0; 20]);
            });
        });
        let (found, asked) = ("x.svc.cluster.local.", "x.a.svc.cluster.local.");
        let got = read(as_alias(&denial, &question(found, 1), &name(asked), Some(7)), asked, 1, Order::Stored);
        assert_eq!((got.answers.len(), got.additionals.len()), (0, 0));
        assert_eq!(texts(&got.authorities), ["cluster.local. 7 IN SOA ns.cluster.local. h.cluster.local. 0 0 0 0 0"]);
    }

    #[test]
    fn no_name_points_into_a_record_that_may_be_moved() {
        let asked = question("example.", rtype::MX);
        let stored = Encoder::build(asked.name.len(), |e| {
            for host in [b"\x02m1", b"\x02m2", b"\x02m3"] {
                e.record(Section::Answer, Owner::ASKED, rtype::MX, 60, |e| {
                    e.put(&[0, 1]);
                    e.put(host);
                    e.put_name(Owner::new(b"\x04mail\x05other", Tail::Root));
                });
            }
        });
        for seed in 0..20 {
            let adopted = as_alias(&stored, &asked, &name("example.a."), None);
            let got = read(adopted, "example.a.", rtype::MX, Order::Shuffled(seed));
            let mut hosts = texts(&got.answers[1..]);
            hosts.sort();
            let wanted = ["m1", "m2", "m3"].map(|host| format!("example. 60 IN MX 1 {host}.mail.other."));
            assert_eq!(hosts, wanted);
        }
    }
}
