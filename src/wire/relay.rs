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
    let Question { name, qtype, qclass } = question;
    let at = HEADER + name.len();
    let (asked, fixed) = (message.get(HEADER..at), message.get(at..at + 4));
    let same = asked.is_some_and(|asked| asked.eq_ignore_ascii_case(name.wire()))
        && fixed.is_some_and(|fixed| fixed[..2] == qtype.to_be_bytes() && fixed[2..] == qclass.to_be_bytes());
    if word(4) != 1 || !same {
        // The question must be written out: pointers after it count from its end.
        let whole = |(name, at): (Name, usize)| at == HEADER + name.len() && message.len() >= at + 4;
        let is_question = word(4) != 1 || Name::from_message(message, HEADER).is_some_and(whole);
        return Err(if is_question { Unusable::OtherQuestion } else { Unusable::Malformed });
    }
    if word(2) & flag::QR == 0 {
        return Err(Unusable::OtherQuestion);
    }
    let mut answer = Answer { asked: name.len() as u8, movable: true, ..Answer::default() };
    answer.flags = word(2) & (flag::AA | flag::TC | flag::RA | flag::AD);
    answer.rcode = word(2) & 0xF;
    let mut walk = Walk { message, body: at + 4, adrift: false, answer: &mut answer };
    walk.records([word(6), word(8), word(10)]).ok_or(Unusable::Malformed)?;
    let adrift = walk.adrift;
    answer.movable &= !adrift;
    if !answer.movable {
        // In the upstream's case, as owners that point to it have it.
        let (asked, _) = Name::from_message(message, HEADER).ok_or(Unusable::Malformed)?;
        if !rewrite(&mut answer, message, at + 4, &asked) && adrift {
            return Err(Unusable::Malformed);
        }
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
        for (section, count) in counts.into_iter().enumerate() {
            for _ in 0..count {
                at = self.record(at, section)?;
            }
        }
        self.find_unsafe_pointers();
        Some(())
    }

    /// Copies the record at `at`; returns where it ends.
    fn record(&mut self, at: usize, section: usize) -> Option<usize> {
        let (_, fixed) = self.name_at(at)?;
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
        Some(end)
    }

    /// Returns the length in octets of the name at `at`, and where it ends.
    fn name_at(&self, at: usize) -> Option<(usize, usize)> {
        // Most often it is that of the question, which is known.
        if self.message.get(at..at + 2) == Some(&[0xC0, HEADER as u8]) {
            return Some((usize::from(self.answer.asked), at + 2));
        }
        Name::from_message(self.message, at).map(|(name, end)| (name.len(), end))
    }

    /// A TTL with its first bit set counts as 0 (RFC 2181 section 8).
    fn clamp_ttl(&mut self, at: usize) {
        if self.answer.bytes[at] & 0x80 != 0 {
            self.answer.bytes[at..at + 4].fill(0);
        }
    }

    /// Records the pointer that ends the name at `here`, if there is one.
    fn pointer_at(&mut self, record: usize, here: usize) -> Option<()> {
        let (len, end) = self.name_at(here)?;
        // A pointer to the root is longer than the root, and its octets are counted already.
        self.answer.plain = self.answer.plain + len as u32 - (end - here) as u32;
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
            self.adrift |= target != HEADER && !(at >= self.body && is_noted(at));
            from = target;
        }
        Some(())
    }

    /// Clears `movable` if pointers lead into addresses or MX records.
    fn find_unsafe_pointers(&mut self) {
        if self.answer.pointers.is_empty() {
            return;
        }
        let leads_into_mobile = self.answer.pointers.iter().any(|&pointer| {
            let at = usize::from(pointer);
            let target = usize::from(self.answer.bytes[at] & 0x3F) << 8 | usize::from(self.answer.bytes[at + 1]);
            target.checked_sub(self.body).is_some_and(|target| self.is_mobile(target))
        });
        self.answer.movable &= !leads_into_mobile && self.sections_are_sorted();
    }

    /// Returns whether what stands at an offset of the answer is part of an address or MX record.
    fn is_mobile(&self, offset: usize) -> bool {
        let before = self.answer.records.partition_point(|mark| usize::from(mark.at) <= offset);
        let holds = before.checked_sub(1).map(|index| self.answer.rtype_at(index));
        matches!(holds, Some(rtype::A | rtype::AAAA | rtype::MX))
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
fn names_in(kind: u16) -> &'static [(u8, usize)] {
    match kind {
        2..=5 | 7..=9 | 12 | rtype::DNAME => &[(1, 0)],
        rtype::SOA | 14 | 17 => &[(2, 0)],
        rtype::MX | 18 | 21 | 36 => &[(1, 2)],
        rtype::SRV => &[(1, 6)],
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
#[path = "relay_tests.rs"]
mod tests;
