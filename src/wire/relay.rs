//! Reads an upstream's reply as an [`Answer`]. Records are relayed unchanged, unknown types
//! included.

use super::answer::{Answer, Mark};
use super::encode::{Encoder, Owner, Tail};
use super::name::Name;
use super::question::Question;
use super::request::{HEADER, flag, skip_name};
use super::types::{class, rtype};

//----------- Reading --------------------------------------------------------

/// Why an upstream's message cannot be relayed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unusable {
    /// It is not a reply to the question: header, name, type or class differ.
    OtherQuestion,
    /// The message is malformed.
    Malformed,
}

/// Reads the reply of an upstream to a question, whose name is in lower case.
///
/// Records stay as they are, byte for byte and in their order, unless a pointer leads into a record
/// that could be moved: such an answer is rewritten. AA, TC, RA and AD are the upstream's.
pub fn read(message: &[u8], question: &Question) -> Result<Answer, Unusable> {
    let header = message.get(..HEADER).ok_or(Unusable::Malformed)?;
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let (asked, at) = match word(4) {
        1 => Name::from_message(message, HEADER).ok_or(Unusable::Malformed)?,
        _ => return Err(Unusable::OtherQuestion),
    };
    let fixed = message.get(at..at + 4).ok_or(Unusable::Malformed)?;
    // The question must be written out: pointers after it count from its end.
    if at != HEADER + asked.len() {
        return Err(Unusable::Malformed);
    }
    let Question { name, qtype, qclass } = question;
    let same = asked.lowered() == *name && fixed[..2] == qtype.to_be_bytes() && fixed[2..] == qclass.to_be_bytes();
    if word(2) & flag::QR == 0 || !same {
        return Err(Unusable::OtherQuestion);
    }
    let mut answer = Answer { asked: name.len() as u8, movable: true, ..Answer::default() };
    answer.flags = word(2) & (flag::AA | flag::TC | flag::RA | flag::AD);
    answer.rcode = word(2) & 0xF;
    let mut walk = Walk { message, body: at + 4, adrift: false, answer: &mut answer };
    walk.records([word(6), word(8), word(10)]).ok_or(Unusable::Malformed)?;
    let adrift = walk.adrift;
    answer.movable &= !adrift;
    if !answer.movable && !rewrite(&mut answer, message, at + 4, &asked) && adrift {
        return Err(Unusable::Malformed);
    }
    Ok(answer)
}

struct Walk<'a> {
    message: &'a [u8],
    /// The offset after the question.
    body: usize,
    /// Whether some pointer is wrong, or would not be moved with the others: the answer must be
    /// rewritten.
    adrift: bool,
    answer: &'a mut Answer,
}

impl Walk<'_> {
    fn records(&mut self, counts: [u16; 3]) -> Option<()> {
        let mut at = self.body;
        let mut mobile = Vec::new();
        for (section, count) in counts.into_iter().enumerate() {
            for _ in 0..count {
                at = self.record(at, section, &mut mobile)?;
            }
        }
        self.find_unsafe_pointers(&mobile);
        Some(())
    }

    /// Copies the record at `at`; returns where it ends.
    fn record(&mut self, at: usize, section: usize, mobile: &mut Vec<(usize, usize)>) -> Option<usize> {
        let (_, fixed) = Name::from_message(self.message, at)?;
        let head = self.message.get(fixed..fixed + 10)?;
        let kind = u16::from_be_bytes([head[0], head[1]]);
        let rdata = fixed + 10;
        let end = rdata + usize::from(u16::from_be_bytes([head[8], head[9]]));
        self.message.get(rdata..end)?;
        if kind == rtype::OPT {
            self.answer.rcode |= u16::from(head[4]) << 4;
            self.answer.options = self.message[rdata..end].to_vec();
            return Some(end);
        }
        let start = self.answer.bytes.len();
        let moved = self.body + start;
        self.answer.records.push(Mark { at: start as u16, ttl_at: (start + fixed + 4 - at) as u16 });
        self.answer.bytes.extend_from_slice(&self.message[at..end]);
        self.answer.counts[section] += 1;
        self.clamp_ttl(start + fixed + 4 - at);
        self.answer.plain += (end - at) as u32;
        // A record moves only after an OPT. Later pointers are wrong then, and the answer is
        // rewritten.
        self.adrift |= moved != at;
        self.pointer_at(at, at)?;
        for (name, skip) in names_in(kind) {
            let mut here = rdata + skip;
            for _ in 0..*name {
                let next = skip_name(self.message, here).filter(|&end_of_name| end_of_name <= end)?;
                self.pointer_at(at, here)?;
                here = next;
            }
        }
        if matches!(kind, rtype::A | rtype::AAAA | rtype::MX) {
            mobile.push((at, end));
        }
        Some(end)
    }

    /// A TTL with its first bit set counts as 0 (RFC 2181 section 8).
    fn clamp_ttl(&mut self, at: usize) {
        if self.answer.bytes[at] & 0x80 != 0 {
            self.answer.bytes[at..at + 4].fill(0);
        }
    }

    /// Records the pointer that ends the name at `here`, if there is one.
    fn pointer_at(&mut self, record: usize, here: usize) -> Option<()> {
        let (name, end) = Name::from_message(self.message, here)?;
        // A pointer to the root is longer than the root, and its octets are counted already.
        self.answer.plain = self.answer.plain + name.len() as u32 - (end - here) as u32;
        let Some((at, target)) = next_pointer(self.message, here)? else { return Some(()) };
        if target != HEADER {
            let start = usize::from(self.answer.records.last().map_or(0, |mark| mark.at));
            self.answer.pointers.push((start + at - record) as u16);
        }
        let mut from = target;
        while let Some((at, target)) = next_pointer(self.message, from)? {
            // Earlier names have recorded their own pointers. A pointer elsewhere, in a TXT for
            // example, would not be moved.
            let is_noted = |at: usize| self.answer.pointers.binary_search(&((at - self.body) as u16)).is_ok();
            // The search costs most, and one answer is enough.
            self.adrift = self.adrift || target != HEADER && !(at >= self.body && is_noted(at));
            from = target;
        }
        Some(())
    }

    /// Clears `movable` if pointers lead into addresses or MX records.
    fn find_unsafe_pointers(&mut self, mobile: &[(usize, usize)]) {
        let body = self.body;
        let leads_into_mobile = self.answer.pointers.iter().any(|&pointer| {
            let at = usize::from(pointer);
            let target = usize::from(self.answer.bytes[at] & 0x3F) << 8 | usize::from(self.answer.bytes[at + 1]);
            // They stand in the order of the message.
            let next = mobile.partition_point(|&(_, to)| to <= target);
            target >= body && mobile.get(next).is_some_and(|&(from, _)| from <= target)
        });
        let sorted = self.sections_are_sorted();
        self.answer.movable &= !leads_into_mobile && (sorted || self.answer.pointers.is_empty());
    }

    /// Returns whether aliases come first in each section, and addresses and MX last.
    fn sections_are_sorted(&self) -> bool {
        let answer = &*self.answer;
        let rank = |index: usize| match answer.rtype_at(index) {
            rtype::CNAME => 0,
            rtype::A | rtype::AAAA => 2,
            rtype::MX => 3,
            _ => 1,
        };
        let mut from = 0;
        answer.counts.iter().all(|&count| {
            let section = from..from + usize::from(count);
            from = section.end;
            section.map(rank).is_sorted()
        })
    }
}

/// Returns the pointer that ends the labels at `at`, and its target; `Some(None)` if the root label
/// ends them.
///
/// Nothing may point into the header, which differs in every reply.
fn next_pointer(message: &[u8], mut at: usize) -> Option<Option<(usize, usize)>> {
    loop {
        match *message.get(at)? {
            0 => return Some(None),
            len if len < 0xC0 => at += 1 + usize::from(len),
            high => {
                let target = usize::from(high & 0x3F) << 8 | usize::from(*message.get(at + 1)?);
                return (target >= HEADER).then_some(Some((at, target)));
            }
        }
    }
}

/// Returns the names in the data of types that may be compressed (RFC 3597 section 4), as (how
/// many, octets before). SRV targets should not be compressed (RFC 2782), but some servers do it.
pub(super) fn names_in(kind: u16) -> &'static [(u8, usize)] {
    match kind {
        2..=5 | 7..=9 | 12 | rtype::DNAME => &[(1, 0)],
        rtype::SOA | 14 | 17 => &[(2, 0)],
        rtype::MX | 18 | 21 | 36 => &[(1, 2)],
        rtype::SRV => &[(1, 6)],
        26 => &[(2, 2)], // PX (RFC 2163)
        _ => &[],
    }
}

//----------- Writing anew ---------------------------------------------------

/// Rewrites an answer with pointers to the question only, so that its records may be moved.
///
/// Names are read from the upstream's `message`, whose question ends at `body`. Returns whether
/// this succeeded.
fn rewrite(answer: &mut Answer, message: &[u8], body: usize, asked: &Name) -> bool {
    // Rewritten records have class IN; an answer with another class keeps its bytes and its order.
    if answer.records().any(|record| record.class != class::IN) {
        return false;
    }
    let mut at = body;
    let fresh = Encoder::build(asked.len(), |e| {
        let mut records = answer.records();
        let mut next = records.next();
        while let Some(record) = next {
            let Some((owner, fixed)) = Name::from_message(message, at) else { return };
            let kind = u16::from_be_bytes([message[fixed], message[fixed + 1]]);
            let len = usize::from(u16::from_be_bytes([message[fixed + 8], message[fixed + 9]]));
            let data = Data { message, rtype: kind, at: fixed + 10, len };
            if kind != rtype::OPT {
                e.record(record.section, shortened(&owner, asked), kind, record.ttl, |e| {
                    data.rewrite(e, |e, name| {
                        e.put_name(shortened(name, asked));
                    });
                });
                next = records.next();
            }
            at = data.at + len;
        }
    });
    let complete = fresh.counts == answer.counts;
    if complete {
        let (rcode, flags, options) = (answer.rcode, answer.flags, std::mem::take(&mut answer.options));
        *answer = Answer { rcode, flags, options, ..fresh };
    }
    complete
}

/// The data of one record in a message.
pub(super) struct Data<'a> {
    pub(super) message: &'a [u8],
    pub(super) rtype: u16,
    /// The offset of the data in the message.
    pub(super) at: usize,
    pub(super) len: usize,
}

impl Data<'_> {
    /// Rewrites the data; `put` writes the names in it that may be compressed.
    pub(super) fn rewrite(&self, e: &mut Encoder<'_>, mut put: impl FnMut(&mut Encoder<'_>, &Name)) {
        let mut here = self.at;
        for &(count, before) in names_in(self.rtype) {
            e.put(&self.message[here..here + before]);
            here += before;
            for _ in 0..count {
                let Some((name, end)) = Name::from_message(self.message, here) else { return };
                match self.rtype {
                    // SRV (RFC 2782) and DNAME targets (RFC 6672 section 2.5) are not compressed.
                    rtype::SRV | rtype::DNAME => {
                        e.put_name(Owner::name(&name));
                    }
                    _ => put(e, &name),
                }
                here = end;
            }
        }
        e.put(&self.message[here..self.at + self.len]);
    }
}

/// Returns `name`, with a pointer to the question if it is the same name.
pub(super) fn shortened<'a>(name: &'a Name, asked: &Name) -> Owner<'a> {
    if name == asked && !name.is_root() { Owner::new(&[], Tail::Asked) } else { Owner::name(name) }
}

#[cfg(test)]
mod tests {
    use super::super::{reply, request, write};
    use super::*;
    use hickory_proto::op::{Message, MessageType, OpCode, Query};
    use hickory_proto::rr::rdata::{A, CNAME, MX};
    use hickory_proto::rr::{Name as HName, RData, Record, RecordType};
    use std::sync::Arc;

    fn h(text: &str) -> HName {
        text.parse().expect("a name")
    }

    fn upstream(question: &str, qtype: RecordType, answers: Vec<Record>, additionals: Vec<Record>) -> Vec<u8> {
        let mut message = Message::new(7, MessageType::Response, OpCode::Query);
        message.add_query(Query::query(h(question), qtype));
        message.add_answers(answers);
        message.add_additionals(additionals);
        message.to_vec().expect("encodes")
    }

    fn asking(name: &str, qtype: u16) -> Question {
        Question::new(Name::from_text(name).expect("a name"), qtype)
    }

    /// Returns the reply to `question` as a client gets it, decoded by hickory.
    fn relayed(answer: Answer, question: &str, qtype: u16, order: reply::Order) -> Message {
        let packet = asking(question, qtype).query(9, flag::RD, None);
        let request::Gate::Pass(request) = request::gate(&packet) else { panic!("refused") };
        let reply = reply::Reply { order, ..reply::Reply::fetched(Arc::new(answer)) };
        let mut out = Vec::new();
        write::Writer::default().reply(&packet, &request, &reply, 65_535, &mut out);
        Message::from_vec(&out).expect("decodes")
    }

    #[test]
    fn an_alias_chain_survives_any_order_and_any_case() {
        let records = vec![
            Record::from_rdata(h("a.example."), 60, RData::CNAME(CNAME(h("b.example.")))),
            Record::from_rdata(h("b.example."), 50, RData::A(A::new(192, 0, 2, 1))),
            Record::from_rdata(h("b.example."), 50, RData::A(A::new(192, 0, 2, 2))),
        ];
        let wire = upstream("a.example.", RecordType::A, records.clone(), vec![]);
        for seed in 0..20 {
            let answer = read(&wire, &asking("a.example.", 1)).expect("usable");
            assert!(answer.is_movable());
            let got = relayed(answer, "A.eXample.", 1, reply::Order::Shuffled(seed));
            assert_eq!(got.answers[0].data, records[0].data);
            assert_eq!(got.answers.len(), 3);
            assert!(got.answers[1..].iter().all(|r| r.name == h("b.example.") && records[1..].contains(r)));
        }
    }

    #[test]
    fn pointers_into_records_that_move_are_written_anew() {
        // Additional points to MX targets, and MX records are shuffled.
        let mx = |n: u16, host: &str| Record::from_rdata(h("example."), 60, RData::MX(MX::new(n, h(host))));
        let a = |host: &str, n| Record::from_rdata(h(host), 60, RData::A(A::new(192, 0, 2, n)));
        let (answers, glue) =
            (vec![mx(1, "m1.example."), mx(2, "m2.example.")], vec![a("m1.example.", 1), a("m2.example.", 2)]);
        let wire = upstream("example.", RecordType::MX, answers.clone(), glue.clone());
        for seed in 0..20 {
            let answer = read(&wire, &asking("example.", 15)).expect("usable");
            assert!(answer.is_movable());
            let got = relayed(answer, "example.", 15, reply::Order::Shuffled(seed));
            assert!(
                answers.iter().all(|r| got.answers.contains(r)) && glue.iter().all(|r| got.additionals.contains(r))
            );
        }
    }

    #[test]
    fn a_pointer_may_be_longer_than_the_name_it_stands_for() {
        let mut wire = upstream(".", RecordType::A, vec![], vec![]);
        wire[7] = 1;
        wire.extend_from_slice(&[0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
        let answer = read(&wire, &asking(".", 1)).expect("usable");
        assert_eq!((answer.wire_len(), answer.plain_len(0)), (16, 15));
    }

    #[test]
    fn what_is_no_reply_to_the_question() {
        let wire = upstream("a.example.", RecordType::A, vec![], vec![]);
        assert_eq!(read(&wire, &asking("b.example.", 1)), Err(Unusable::OtherQuestion));
        assert_eq!(read(&wire, &asking("a.example.", 28)), Err(Unusable::OtherQuestion));
        assert_eq!(read(&wire[..20], &asking("a.example.", 1)), Err(Unusable::Malformed));
        let mut query = wire.clone();
        query[2] &= 0x7F;
        assert_eq!(read(&query, &asking("a.example.", 1)), Err(Unusable::OtherQuestion));
    }

    #[test]
    fn pointers_that_lead_astray() {
        let reply = |question: &[u8], owner: &[u8]| {
            let header: &[u8] = b"\0\x07\x84\0\0\x01\0\x01\0\0\0\0";
            [header, question, b"\0\x01\0\x01", owner, b"\0\x01\0\x01\0\0\0\x3C\0\x04\xC0\0\x02\x01"].concat()
        };
        let plain = |message: &[u8]| read(message, &asking("a.", 1)).map(|answer| answer.plain_len(0));
        assert_eq!(plain(&reply(b"\x01a\0", b"\xC0\x0C")), Ok(17));
        assert_eq!(plain(&reply(b"\x01a\0", b"\xC0\x0E")), Ok(15), "the root, in two octets");
        assert_eq!(plain(&reply(b"\x01a\0", b"\xC0\x04")), Err(Unusable::Malformed), "into the header");
        assert_eq!(read(&reply(b"\xC0\0", b"\0"), &asking(".", 1)), Err(Unusable::Malformed), "from the question");
    }
}
