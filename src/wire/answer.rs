//! An answer, encoded once: everything after the question.

use std::cell::RefCell;
use std::sync::Arc;

use super::name::{MAX_NAME, Name};
use super::question::Question;
use super::request::HEADER;
use super::types::{rcode, rtype};

//----------- Answer ---------------------------------------------------------

/// Everything after the question, encoded. Shared between queries and never changed.
///
/// Offsets count from the first octet after the question. A compression pointer either leads to the
/// question's name, which is at offset 12 of every message, or counts from the question's end.
/// Pointers of the second kind are listed in `pointers`, so that they can be moved if the question
/// has another length than the one they were written for.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub struct Answer {
    /// The RCODE, up to 12 bits (RFC 6891 section 6.1.3).
    pub rcode: u16,
    /// The header bits that the answer decides: AA, TC, RA, AD (see
    /// [`flag`](super::request::flag)).
    pub flags: u16,
    /// The number of records in Answer, Authority and Additional, without the OPT.
    pub counts: [u16; 3],
    pub(super) bytes: Vec<u8>,
    pub(super) records: Vec<Mark>,
    pub(super) pointers: Vec<u16>,
    /// Length in octets of the name that `pointers` were written for.
    pub(super) asked: u8,
    /// Length in octets of the uncompressed records, without the name in the question.
    pub(super) plain: u32,
    /// How often the records contain the name in the question.
    pub(super) asked_for: u16,
    /// Whether records may be reordered without breaking a pointer.
    pub(super) movable: bool,
    /// EDNS options of an upstream's reply, in OPT wire form.
    pub options: Vec<u8>,
}

/// The offsets of one record and its TTL.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) at: u16,
    pub(super) ttl_at: u16,
}

/// The sections of a message that hold records (RFC 1035 section 4.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Section {
    /// What was asked for.
    Answer,
    /// The responsible name servers.
    Authority,
    /// Records that the client is likely to need next.
    Additional,
}

/// One record of an answer.
#[derive(Debug, Clone, Copy)]
pub struct Record<'a> {
    /// Its section.
    pub section: Section,
    /// Its type.
    pub rtype: u16,
    /// Its class.
    pub class: u16,
    /// Its TTL in seconds.
    pub ttl: u32,
    /// Its data in wire form; names in it may be compressed.
    pub rdata: &'a [u8],
}

impl Answer {
    /// Returns an answer without records.
    #[must_use]
    pub fn empty(rcode: u16) -> Self {
        Self { rcode, movable: true, ..Self::default() }
    }

    /// Returns NODATA without a SOA record: the name exists, and has no records of the type
    /// (RFC 2308 section 2.2). Resolvers do not cache it. `flags` are those that the answer
    /// decides. [`Soa::deny`](super::soa::Soa::deny) makes the one that they may cache.
    #[must_use]
    pub fn no_data(flags: u16) -> Self {
        Self { flags, ..Self::empty(rcode::NOERROR) }
    }

    /// Returns the records in order.
    pub fn records(&self) -> impl Iterator<Item = Record<'_>> {
        (0..self.records.len()).map(|index| self.record(index))
    }

    /// Returns the records of a section.
    pub fn section(&self, section: Section) -> impl Iterator<Item = Record<'_>> {
        let before: usize = self.counts[..section as usize].iter().map(|&n| usize::from(n)).sum();
        (before..before + usize::from(self.counts[section as usize])).map(|index| self.record(index))
    }

    /// Returns the types of the records in a section.
    pub fn rtypes(&self, section: Section) -> impl Iterator<Item = u16> {
        let before: usize = self.counts[..section as usize].iter().map(|&n| usize::from(n)).sum();
        (before..before + usize::from(self.counts[section as usize])).map(|index| self.rtype_at(index))
    }

    /// Returns the smallest TTL of all records in seconds, or `None` without records.
    #[must_use]
    pub fn min_ttl(&self) -> Option<u32> {
        self.records().map(|record| record.ttl).min()
    }

    /// Returns the length of the uncompressed records in octets, which metrics and log lines count.
    /// `asked` is the length of the name in the question.
    #[must_use]
    pub fn plain_len(&self, asked: usize) -> usize {
        self.plain as usize + usize::from(self.asked_for) * asked
    }

    /// Returns whether all records are of this type, in Answer, and owned by the name in the
    /// question through a pointer. Most answers are like this.
    #[must_use]
    pub fn is_all_of_asked(&self, rtype: u16) -> bool {
        let is_asked = |mark: &Mark| {
            let at = usize::from(mark.at);
            self.bytes
                .get(at..at + 4)
                .is_some_and(|head| head[..2] == [0xC0, HEADER as u8] && head[2..] == rtype.to_be_bytes())
        };
        self.counts[1] == 0 && self.counts[2] == 0 && self.records.iter().all(is_asked)
    }

    /// Returns the octets on the wire after the question.
    #[must_use]
    pub fn wire_len(&self) -> usize {
        self.bytes.len()
    }

    /// Returns the memory that the answer takes, in octets.
    #[must_use]
    pub fn memory_len(&self) -> usize {
        let marks = self.records.capacity() * size_of::<Mark>() + self.pointers.capacity() * size_of::<u16>();
        size_of::<Self>() + self.bytes.capacity() + self.options.capacity() + marks
    }

    /// Frees unused memory, for answers that are kept.
    pub fn shrink(&mut self) {
        self.bytes.shrink_to_fit();
        self.records.shrink_to_fit();
        self.pointers.shrink_to_fit();
        self.options.shrink_to_fit();
    }

    /// Returns whether records may be reordered.
    #[must_use]
    pub fn is_movable(&self) -> bool {
        self.movable
    }

    /// Returns the owner of the record at `index`, in message order, for the question's name
    /// `asked`.
    #[must_use]
    pub fn owner(&self, index: usize, asked: &[u8]) -> Option<Name> {
        let (mut from, mut at) = (&*self.bytes, usize::from(self.records.get(index)?.at));
        let mut wire = Vec::with_capacity(MAX_NAME);
        // Labels and pointers together never exceed the octets of a name.
        for _ in 0..MAX_NAME {
            let len = usize::from(*from.get(at)?);
            if len & 0xC0 == 0xC0 {
                let target = ((len & 0x3F) << 8 | usize::from(*from.get(at + 1)?)).checked_sub(HEADER)?;
                let old = usize::from(self.asked);
                (from, at) = match target {
                    0 => (asked, 0),
                    _ if target < old => (asked, (target + asked.len()).checked_sub(old)?),
                    _ => (&*self.bytes, target.checked_sub(old + 4)?),
                };
                continue;
            }
            wire.extend_from_slice(from.get(at..=at + len)?);
            if len == 0 {
                return Name::from_wire(&wire);
            }
            at += 1 + len;
        }
        None
    }

    /// Returns the whole message with `question`, for decoding.
    ///
    /// Its name must be as long as the one that the answer was made for; the id is 0.
    #[must_use]
    pub fn message(&self, question: &Question) -> Vec<u8> {
        let mut message = vec![0; 12];
        message[2..4].copy_from_slice(&(super::request::flag::QR | self.flags | self.rcode & 0xF).to_be_bytes());
        message[5] = 1;
        for (section, count) in self.counts.iter().enumerate() {
            message[6 + 2 * section..8 + 2 * section].copy_from_slice(&count.to_be_bytes());
        }
        question.put(&mut message);
        message.extend_from_slice(&self.bytes);
        message
    }

    /// Returns the record at `index`, in message order.
    #[must_use]
    pub(super) fn record(&self, index: usize) -> Record<'_> {
        let mark = self.records[index];
        let at = usize::from(mark.ttl_at);
        let word = |at: usize| u16::from_be_bytes([self.bytes[at], self.bytes[at + 1]]);
        let first = usize::from(self.counts[0]);
        let section = match index {
            _ if index < first => Section::Answer,
            _ if index < first + usize::from(self.counts[1]) => Section::Authority,
            _ => Section::Additional,
        };
        Record {
            section,
            rtype: word(at - 4),
            class: word(at - 2),
            ttl: u32::from(word(at)) << 16 | u32::from(word(at + 2)),
            rdata: &self.bytes[at + 6..at + 6 + usize::from(word(at + 4))],
        }
    }

    /// Returns where the record at `index` ends.
    pub(super) fn record_end(&self, index: usize) -> usize {
        self.records.get(index + 1).map_or(self.bytes.len(), |next| usize::from(next.at))
    }

    /// Returns the type of the record at `index`.
    pub(super) fn rtype_at(&self, index: usize) -> u16 {
        let at = usize::from(self.records[index].ttl_at);
        u16::from_be_bytes([self.bytes[at - 4], self.bytes[at - 3]])
    }

    pub(super) fn clear(&mut self, asked: usize) {
        (self.rcode, self.flags, self.counts, self.plain, self.asked_for, self.movable) = (0, 0, [0; 3], 0, 0, true);
        self.asked = asked as u8;
        self.bytes.clear();
        self.records.clear();
        self.pointers.clear();
        self.options.clear();
    }
}

impl Record<'_> {
    /// Returns whether the data is an address that clients may be given in any order.
    #[must_use]
    pub fn is_address(&self) -> bool {
        matches!(self.rtype, rtype::A | rtype::AAAA)
    }
}

//----------- The pool -------------------------------------------------------

/// Number of answers that each thread keeps for reuse; more would only hold memory.
const POOL: usize = 64;

/// Maximum capacity of an answer in the pool, in octets.
const MAX_KEPT: usize = 16 << 10;

thread_local! {
    static ANSWERS: RefCell<Vec<Arc<Answer>>> = const { RefCell::new(Vec::new()) };
}

/// Returns an [`Answer`] for one query from this thread's pool. Allocates nothing once the pool is
/// warm.
///
/// `asked` is the length in octets of the name in the question.
pub fn scratch(asked: usize, fill: impl FnOnce(&mut Answer)) -> Arc<Answer> {
    let mut answer = ANSWERS.with_borrow_mut(Vec::pop).unwrap_or_default();
    if let Some(inner) = Arc::get_mut(&mut answer) {
        inner.clear(asked);
        fill(inner);
        return answer;
    }
    // Answers in the pool have no other owner; if one ever had, a new answer is right as well.
    let mut inner = Answer::default();
    inner.clear(asked);
    fill(&mut inner);
    Arc::new(inner)
}

/// Returns an answer to the pool if it has no other owner.
pub fn recycle(mut answer: Arc<Answer>) {
    if Arc::get_mut(&mut answer).is_some_and(|inner| inner.bytes.capacity() <= MAX_KEPT) {
        ANSWERS.with_borrow_mut(|pool| {
            if pool.len() < POOL {
                // Reserves all places at once: one allocation in the life of a thread.
                pool.reserve_exact(POOL - pool.len());
                pool.push(answer);
            }
        });
    }
}
