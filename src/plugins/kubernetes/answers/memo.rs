//! Answers that are encoded when they are asked for, such as SRV. Each thread keeps them as long as
//! the service stays as it is.
//!
//! The index holds what most clients ask for. All that could be asked of a service (each port, each
//! endpoint, each zone, in each case of letters) would be many times as much, and most of it is
//! never asked. A change makes a new [`Entry`], so an answer that was made from the very entry that
//! is found now is as good as a new one.

use std::cell::RefCell;
use std::hash::BuildHasher;
use std::sync::Arc;

use foldhash::fast::FixedState;

use super::found::{Found, Want};
use crate::plugins::kubernetes::known::index::Entry;
use crate::wire::answer::Answer;
use crate::wire::packed::Packed;

/// Sets of slots that a thread has; the hash of a question selects one.
const SETS: usize = 512;

/// Slots of a set, each for one answer. Of 750 names asked in turn nearly all keep theirs.
const WAYS: usize = 4;

/// Octets that all answers of a thread may take: 750 with twenty targets each.
const HELD: usize = 2 << 20;

/// Octets that an answer may take.
const MOST: usize = 4096;

/// What an answer depends on beside the entry: the name as the client wrote it, and what the block
/// wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Key<'a> {
    pub(super) name: &'a [u8],
    pub(super) want: Want,
    /// Seconds.
    pub(super) ttl: u32,
    pub(super) ignore_empty_service: bool,
}

/// A question that was asked, and its answer if it was asked again. A set has the last one first.
#[derive(Default)]
struct Slot {
    hash: u64,
    kept: Option<Kept>,
}

struct Kept {
    name: Box<[u8]>,
    rest: (Want, u32, bool),
    entry: Entry,
    answer: Packed,
}

#[derive(Default)]
struct Table {
    /// Not random: a collision costs no more than another spelling of the name.
    hasher: FixedState,
    slots: Vec<Slot>,
    /// Octets that the kept answers take.
    held: usize,
}

thread_local! {
    static TABLE: RefCell<Table> = RefCell::default();
}

/// The answer that was made from this entry before, or what `make` finds.
///
/// Only what is asked again while its set remembers it is kept: many names in turn would otherwise
/// drive each other out, and each would be copied for nothing.
pub(super) fn kept(entry: &Entry, key: Key<'_>, make: impl FnOnce() -> Found) -> Found {
    let (hash, known) = TABLE.with_borrow_mut(|table| table.find(entry, key));
    if let Some(answer) = known {
        return Found::Answer(answer);
    }
    let found = make();
    if let Found::Answer(answer) = &found {
        TABLE.with_borrow_mut(|table| table.keep(hash, entry, key, answer));
    }
    found
}

impl Table {
    fn find(&mut self, entry: &Entry, key: Key<'_>) -> (u64, Option<Arc<Answer>>) {
        let hash = self.hasher.hash_one((key.name, key.want as u8));
        let known = self.set(hash).iter().position(|slot| slot.hash == hash);
        let slot = known.map(|at| self.set_first(hash, at));
        let kept = slot.and_then(|slot| slot.kept.as_ref()).filter(|kept| kept.is_of(entry, key));
        (hash, kept.map(|kept| kept.answer.answer()))
    }

    fn keep(&mut self, hash: u64, entry: &Entry, key: Key<'_>, answer: &Answer) {
        if self.slots.is_empty() {
            self.slots.resize_with(SETS * WAYS, Slot::default);
        }
        let known = self.set(hash).iter().position(|slot| slot.hash == hash);
        let slot = self.set_first(hash, known.unwrap_or(WAYS - 1));
        slot.hash = hash;
        let freed = slot.kept.take().map_or(0, |kept| kept.answer.len());
        self.held -= freed;
        // What it says counts, not the room of its buffers: they come from the pool.
        if known.is_none() || answer.wire_len() + answer.options.len() > MOST {
            return;
        }
        let answer = Packed::new(answer);
        if self.held + answer.len() <= HELD {
            self.held += answer.len();
            let kept = Kept { name: key.name.into(), rest: key.rest(), entry: entry.clone(), answer };
            self.set_first(hash, 0).kept = Some(kept);
        }
    }

    /// Returns the slots of a hash; none before the table is first used.
    fn set(&mut self, hash: u64) -> &mut [Slot] {
        let first = hash as usize % SETS * WAYS;
        self.slots.get_mut(first..first + WAYS).unwrap_or_default()
    }

    /// Moves a slot of a set to its front and returns it.
    fn set_first(&mut self, hash: u64, at: usize) -> &mut Slot {
        let set = self.set(hash);
        set[..=at].rotate_right(1);
        &mut set[0]
    }
}

impl Key<'_> {
    fn rest(self) -> (Want, u32, bool) {
        (self.want, self.ttl, self.ignore_empty_service)
    }
}

impl Kept {
    fn is_of(&self, entry: &Entry, key: Key<'_>) -> bool {
        self.entry.is(entry) && self.rest == key.rest() && *self.name == *key.name
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: Key<'static> = Key { name: b"\x03web\x00", want: Want::Srv, ttl: 30, ignore_empty_service: false };

    fn entry() -> Entry {
        Entry::new(&[], None, Vec::new(), 30)
    }

    /// How often out of four times an answer has to be made.
    fn made(entry: &Entry, key: impl Fn(usize) -> Key<'static>) -> usize {
        let mut made = 0;
        for turn in 0..4 {
            let make = || {
                made += 1;
                Found::Answer(Arc::new(Answer::empty(0)))
            };
            assert!(matches!(kept(entry, key(turn), make), Found::Answer(_)));
        }
        made
    }

    #[test]
    fn what_is_asked_again_is_made_twice() {
        assert_eq!(made(&entry(), |_| KEY), 2);
    }

    #[test]
    fn another_entry_is_another_answer() {
        let first = entry();
        assert_eq!(made(&first, |_| KEY), 2);
        // The slot knows the question, so that the new answer is kept at once.
        assert_eq!(made(&entry(), |_| KEY), 1);
        assert_eq!(made(&first, |_| KEY), 1);
    }

    #[test]
    fn another_question_is_another_answer() {
        let (first, other) = (entry(), Key { ttl: 5, ..KEY });
        assert_eq!(made(&first, |turn| if turn % 2 == 0 { KEY } else { other }), 4);
        assert_eq!(made(&first, |_| Key { name: b"\x03Web\x00", ..KEY }), 2);
    }

    #[test]
    fn what_does_not_exist_is_not_kept() {
        let entry = entry();
        let mut made = 0;
        for _ in 0..4 {
            kept(&entry, KEY, || {
                made += 1;
                Found::NameError
            });
        }
        assert_eq!(made, 4);
    }

    #[test]
    fn room_that_an_answer_does_not_use_does_not_count() {
        let (entry, mut made) = (entry(), 0);
        for _ in 0..4 {
            let _ = kept(&entry, KEY, || {
                made += 1;
                let mut roomy = Answer::empty(0);
                roomy.options.reserve(2 * MOST);
                Found::Answer(Arc::new(roomy))
            });
        }
        assert_eq!(made, 2);
    }

    #[test]
    fn all_answers_of_a_thread_have_a_bound() {
        let (entry, mut large) = (entry(), Answer::empty(0));
        large.options = vec![0; 3_000];
        let large = Arc::new(large);
        for number in 0..20_000_u32 {
            let name = number.to_be_bytes();
            for _ in 0..2 {
                let _ = kept(&entry, Key { name: &name, ..KEY }, || Found::Answer(large.clone()));
            }
        }
        let (held, kept) = TABLE.with_borrow(|table| {
            let kept = table.slots.iter().filter_map(|slot| slot.kept.as_ref()).map(|kept| kept.answer.len());
            (table.held, kept.sum::<usize>())
        });
        assert_eq!(held, kept);
        assert!((HELD - 4_096..=HELD).contains(&held), "{held}");
    }
}
