//! Builds an [`Answer`] record by record.

use std::net::IpAddr;

use super::answer::{Answer, Mark, Section};
use super::name::{MAX_NAME, Name};
use super::request::{HEADER, flag};
use super::types::{class, rtype};

/// Maximum octets of an answer's records: a TCP message less header, question and OPT.
const MAX_BYTES: usize = 65_535 - HEADER - 259 - 11;

//----------- Encoder --------------------------------------------------------

/// Adds records to an answer. Sections are filled in the order of the message.
pub struct Encoder<'a> {
    answer: &'a mut Answer,
    class: u16,
    /// Whether the record that is being written has a name that is too long.
    too_long: bool,
}

/// A name to be written: some labels, and the rest by reference.
#[derive(Debug, Clone, Copy)]
pub struct Owner<'a> {
    labels: &'a [u8],
    tail: Tail,
}

/// How a name ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tail {
    /// With the root label.
    Root,
    /// With the name in the question, in the client's case.
    Asked,
    /// With a zone: the last octets of the name in the question, root label included, in the
    /// client's case.
    AskedEnd(u8),
    /// With a name that was written before.
    Written(Written),
}

/// A name that was written into an answer, so later names can point to it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Written {
    at: u16,
    plain: u16,
}

impl Written {
    /// Returns the same name without its first labels, which have `octets` octets.
    #[must_use]
    pub fn after(self, octets: usize) -> Self {
        Self { at: self.at + octets as u16, plain: self.plain - octets as u16 }
    }
}

impl<'a> Owner<'a> {
    /// The name in the question.
    pub const ASKED: Self = Self { labels: &[], tail: Tail::Asked };

    /// Returns the name with `labels` (length octets and labels, no root label), then `tail`.
    #[must_use]
    pub fn new(labels: &'a [u8], tail: Tail) -> Self {
        Self { labels, tail }
    }

    /// Returns a whole name, written out.
    #[must_use]
    pub fn name(name: &'a Name) -> Self {
        Self { labels: &name.wire()[..name.len() - 1], tail: Tail::Root }
    }

    /// Returns the zone of `len` octets that ends the name in the question.
    #[must_use]
    pub fn zone(len: usize) -> Self {
        Self { labels: &[], tail: Tail::AskedEnd(len as u8) }
    }

    /// Returns a name that was written before.
    #[must_use]
    pub fn written(written: Written) -> Self {
        Self { labels: &[], tail: Tail::Written(written) }
    }
}

impl<'a> Encoder<'a> {
    /// Returns an encoder for `answer`, which is prepared for a name of known length (see
    /// [`scratch`](super::answer::scratch)).
    pub fn new(answer: &'a mut Answer) -> Self {
        Self { answer, class: class::IN, too_long: false }
    }

    /// Builds a new answer for a name of `asked` octets, to be kept.
    #[must_use]
    pub fn build(asked: usize, fill: impl FnOnce(&mut Encoder<'_>)) -> Answer {
        let mut answer = Answer::default();
        answer.clear(asked);
        fill(&mut Encoder::new(&mut answer));
        answer.shrink();
        answer
    }

    /// Sets the RCODE.
    pub fn rcode(&mut self, rcode: u16) {
        self.answer.rcode = rcode;
    }

    /// Sets header flags that the answer decides.
    pub fn flags(&mut self, flags: u16) {
        self.answer.flags |= flags;
    }

    /// Sets the class of the records that follow (IN by default) and returns the previous one.
    pub fn class(&mut self, class: u16) -> u16 {
        std::mem::replace(&mut self.class, class)
    }

    /// Adds one record that lives for `ttl` seconds; `data` writes what follows RDLENGTH.
    ///
    /// A record that no longer fits into any message is left out, and TC is set if the client would
    /// miss it. A record with a name of more than 255 octets (RFC 1035 section 2.3.4) is left out
    /// without TC, since no message can hold it.
    pub fn record<T>(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        rtype: u16,
        ttl: u32,
        data: impl FnOnce(&mut Self) -> T,
    ) -> Option<T> {
        let (start, pointers) = (self.answer.bytes.len(), self.answer.pointers.len());
        let (plain, asked_for) = (self.answer.plain, self.answer.asked_for);
        self.put_name(owner);
        let at = self.answer.bytes.len();
        self.put(&rtype.to_be_bytes());
        let class = self.class.to_be_bytes();
        self.put(&class);
        self.put(&ttl.to_be_bytes());
        self.put(&[0, 0]);
        let result = data(self);
        let too_long = std::mem::take(&mut self.too_long);
        if too_long || self.answer.bytes.len() > MAX_BYTES {
            self.answer.bytes.truncate(start);
            self.answer.pointers.truncate(pointers);
            (self.answer.plain, self.answer.asked_for) = (plain, asked_for);
            if !too_long && section != Section::Additional {
                self.answer.flags |= flag::TC;
            }
            return None;
        }
        let rdlength = (self.answer.bytes.len() - at - 10) as u16;
        self.answer.bytes[at + 8..at + 10].copy_from_slice(&rdlength.to_be_bytes());
        self.answer.records.push(Mark { at: start as u16, ttl_at: at as u16 + 4 });
        self.answer.counts[section as usize] += 1;
        Some(result)
    }

    /// Adds an A or AAAA record.
    pub fn address(&mut self, section: Section, owner: Owner<'_>, ttl: u32, address: IpAddr) {
        match address {
            IpAddr::V4(v4) => self.record(section, owner, rtype::A, ttl, |e| e.put(&v4.octets())),
            IpAddr::V6(v6) => self.record(section, owner, rtype::AAAA, ttl, |e| e.put(&v6.octets())),
        };
    }

    /// Adds a record whose data is one name (PTR, NS), and returns where that name was written.
    pub fn pointer(
        &mut self,
        section: Section,
        owner: Owner<'_>,
        rtype: u16,
        ttl: u32,
        target: Owner<'_>,
    ) -> Option<Written> {
        self.record(section, owner, rtype, ttl, |e| e.put_name(target))
    }

    /// Writes a name into the data of a record.
    pub fn put_name(&mut self, name: Owner<'_>) -> Written {
        let at = self.answer.bytes.len() as u16;
        let before = self.answer.plain;
        self.put(name.labels);
        match name.tail {
            Tail::Root => self.put(&[0]),
            Tail::Asked => {
                self.answer.asked_for += 1;
                self.put_pointer(0, 0);
            }
            Tail::AskedEnd(len) if len <= 1 => self.put(&[0]),
            Tail::AskedEnd(len) => {
                self.answer.pointers.push(self.answer.bytes.len() as u16);
                self.put_pointer(usize::from(self.answer.asked) - usize::from(len), usize::from(len));
            }
            Tail::Written(written) => {
                self.answer.pointers.push(self.answer.bytes.len() as u16);
                let target = usize::from(self.answer.asked) + 4 + usize::from(written.at);
                self.put_pointer(target, usize::from(written.plain));
            }
        }
        let asked = if name.tail == Tail::Asked { u16::from(self.answer.asked) } else { 0 };
        let plain = (self.answer.plain - before) as u16 + asked;
        self.too_long |= usize::from(plain) > MAX_NAME;
        Written { at, plain }
    }

    /// Writes octets into the data of a record.
    pub fn put(&mut self, bytes: &[u8]) {
        self.answer.bytes.extend_from_slice(bytes);
        self.answer.plain += bytes.len() as u32;
    }

    /// Writes a pointer to `target`, counted from the start of the question, for `plain` octets.
    fn put_pointer(&mut self, target: usize, plain: usize) {
        // A pointer cannot lead beyond 16 KiB (RFC 1035 section 4.1.4); see `can_point`.
        self.answer.bytes.extend_from_slice(&(0xC000 | (HEADER + target) as u16).to_be_bytes());
        self.answer.plain += plain as u32;
    }

    /// Returns whether a record was left out because the largest message is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.answer.flags & flag::TC != 0
    }

    /// Returns the number of records in a section so far.
    #[must_use]
    pub fn count(&self, section: Section) -> u16 {
        self.answer.counts[section as usize]
    }

    /// Returns whether later names can point to this one.
    #[must_use]
    pub fn can_point(&self, written: Written) -> bool {
        // Leaves room for a longer question than the one encoded for.
        HEADER + 255 + 4 + usize::from(written.at) < 0x4000
    }
}

//----------- Names ----------------------------------------------------------

/// Maximum number of names to point to; more would cost more than they save (RUSTSEC-2026-0119).
const NAMES: usize = 16;

/// Compression for answers with names of all kinds: a name that was written before, in the same
/// case, is replaced by a pointer.
pub struct Names {
    known: Vec<(Name, Written)>,
    asked: Name,
}

impl Names {
    /// Starts with the name that was asked for, `asked`, in the client's case.
    #[must_use]
    pub fn new(asked: Name) -> Self {
        Self { known: Vec::new(), asked }
    }

    /// Writes a name into the data of a record, for later names to point to. The record must not be
    /// moved.
    pub fn put(&mut self, e: &mut Encoder<'_>, name: &Name) -> Written {
        let written = self.put_unnoted(e, name);
        if self.known.len() < NAMES {
            self.known.push((*name, written));
        }
        written
    }

    /// Writes a name into the data of a record that may be moved: no later name will point to it.
    pub fn put_unnoted(&self, e: &mut Encoder<'_>, name: &Name) -> Written {
        let (keep, tail) = self.shortest(e, name);
        e.put_name(Owner::new(&name.wire()[..keep], tail))
    }

    /// Adds a record of any name to the answer section; `data` writes what follows RDLENGTH.
    pub fn record<T>(
        &mut self,
        e: &mut Encoder<'_>,
        owner: &Name,
        rtype: u16,
        ttl: u32,
        data: impl FnOnce(&mut Encoder<'_>, &mut Self) -> T,
    ) -> Option<T> {
        self.record_in(Section::Answer, e, owner, rtype, ttl, data)
    }

    /// Adds a record of any name to a section, as [`Names::record`] does.
    pub fn record_in<T>(
        &mut self,
        section: Section,
        e: &mut Encoder<'_>,
        owner: &Name,
        rtype: u16,
        ttl: u32,
        data: impl FnOnce(&mut Encoder<'_>, &mut Self) -> T,
    ) -> Option<T> {
        let (keep, tail) = self.shortest(e, owner);
        let known = self.known.len();
        let result = e.record(section, Owner::new(&owner.wire()[..keep], tail), rtype, ttl, |e| data(e, self));
        if result.is_none() {
            // Nothing may point into a record that was left out.
            self.known.truncate(known);
        }
        result
    }

    /// Returns how many octets of the name must be written, and the tail that follows them.
    fn shortest(&self, e: &Encoder<'_>, name: &Name) -> (usize, Tail) {
        let mut at = 0;
        for label in name.labels() {
            let rest = &name.wire()[at..];
            if let Some(front) = suffix_at(&self.asked, rest) {
                return (at, if front == 0 { Tail::Asked } else { Tail::AskedEnd(rest.len() as u8) });
            }
            let found = self.known.iter().find_map(|(known, written)| {
                let target = written.after(suffix_at(known, rest)?);
                e.can_point(target).then_some(target)
            });
            if let Some(target) = found {
                return (at, Tail::Written(target));
            }
            at += 1 + label.len();
        }
        (at, Tail::Root)
    }
}

/// Returns how many octets precede `rest` in a name that ends in it at a label boundary.
fn suffix_at(name: &Name, rest: &[u8]) -> Option<usize> {
    let front = name.len().checked_sub(rest.len())?;
    let mut at = 0;
    while at < front {
        at += 1 + usize::from(name.wire()[at]);
    }
    (at == front && name.wire()[front..] == *rest).then_some(front)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::Ipv4Addr;

    #[test]
    fn an_answer_that_no_message_holds_is_cut() {
        let answer = Encoder::build(20, |e| {
            for i in 0..5000u32 {
                e.address(Section::Answer, Owner::ASKED, 5, Ipv4Addr::from(i).into());
            }
        });
        assert!(answer.counts[0] > 4000 && answer.counts[0] < 5000);
        assert_ne!(answer.flags & flag::TC, 0);
        assert_eq!(answer.records().count(), usize::from(answer.counts[0]));
        assert_eq!(answer.plain_len(20), usize::from(answer.counts[0]) * (20 + 14));
    }
}
