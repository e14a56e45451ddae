//! A small table for each thread in front of the store, which finds popular entries without the
//! store.
//!
//! moka records each look-up and shares counters with all other threads, which costs more than the
//! rest of a hit. Here a hit costs a hash and a comparison. The table serves all caches of the
//! process. It grows with the names that are asked for again and again, and holds no large answers,
//! so its memory is limited: [`SETS`] × [`WAYS`] entries of at most [`MOST`] octets a thread.
//!
//! An entry knows when it is no longer in the store ([`Entry::is_superseded`]), so entries that
//! were replaced, contradicted or evicted there are not served from here. The store is still asked
//! now and then ([`HITS`], [`PAUSE`]), so that it knows which entries are popular and keeps them.

use std::cell::RefCell;
use std::time::Duration;

use super::entry::Entry;

/// Sets of the largest table, and of the first one; the hash of an entry selects its set. The
/// largest has room for most of what a store of the default capacity holds.
const SETS: usize = 4096;
const FIRST: usize = 256;

/// Entries of a set, which lie in two cache lines.
const WAYS: usize = 4;

/// Maximum size of an entry in octets.
const MOST: usize = 1024;

/// Number of newcomers that an entry outlives after a few hits. If every newcomer were accepted, a
/// cycle of more names than places would evict all of them, and none would be found.
const CREDIT: u8 = 3;

/// The store is asked after this many hits ...
const HITS: u8 = 64;

/// ... and after this many milliseconds, so that it also knows names with a query in a few seconds.
/// With much less, a cache of thousands of names would ask the store for nearly every query.
const PAUSE: u32 = 2_000;

thread_local! {
    static TABLE: RefCell<Table> = const { RefCell::new(Table { slots: Vec::new() }) };
}

struct Table {
    /// The sets in order, each with its last used entry first; empty until first used.
    slots: Vec<Option<Slot>>,
}

struct Slot {
    hash: u64,
    entry: Entry,
    /// When the store was last asked, in milliseconds; wraps around.
    asked: u32,
    hits: u8,
    credit: u8,
}

/// Calls `look` with the entry that the store with the number `store` would find, if the entry is
/// in the table and it is not time to ask the store.
///
/// The entry is not cloned for this, because all threads would write its reference count. `look`
/// must not call this again. Anything that it starts, a look-up below or a refresh, runs after it.
pub(super) fn with<R>(store: u64, key: &[u8], hash: u64, now: Duration, look: impl Fn(&Entry) -> R) -> Option<R> {
    TABLE.with_borrow_mut(|table| {
        let set = table.set(hash)?;
        let is_it = |slot: &Option<Slot>| {
            slot.as_ref().is_some_and(|slot| slot.hash == hash && slot.entry.store == store && slot.entry.key() == key)
        };
        let at = set.iter().position(is_it)?;
        set[..=at].rotate_right(1);
        let slot = set[0].as_mut()?;
        if slot.entry.is_superseded() || slot.entry.left(now) <= 0 {
            set[0] = None;
            return None;
        }
        slot.hits += 1;
        slot.credit = (slot.credit + 1).min(CREDIT);
        let is_due = slot.hits >= HITS || millis(now).wrapping_sub(slot.asked) >= PAUSE;
        (!is_due).then(|| look(&slot.entry))
    })
}

/// Remembers the store's result. The store must give the same result again until the entry is stale
/// or superseded.
pub(super) fn keep(entry: &Entry, hash: u64, now: Duration) {
    if entry.octets() > MOST {
        return;
    }
    let slot = Slot { hash, entry: entry.clone(), asked: millis(now), hits: 0, credit: 0 };
    TABLE.with_borrow_mut(|table| table.keep(slot));
}

fn millis(now: Duration) -> u32 {
    now.as_millis() as u32
}

impl Table {
    /// Puts a slot into its set: in the place of its own older entry, or of the least recently used
    /// one if that has no credit left. A set that is full makes the table larger.
    fn keep(&mut self, mut slot: Slot) {
        let is_free = |known: &Option<Slot>| {
            known.as_ref().is_none_or(|known| known.hash == slot.hash || known.entry.is_superseded())
        };
        let free = |table: &mut Self| table.set(slot.hash).and_then(|set| set.iter().position(is_free));
        let mut at = free(self);
        while at.is_none() && self.grow() {
            at = free(self);
        }
        let Some(set) = self.set(slot.hash) else { return };
        let at = at.unwrap_or(WAYS - 1);
        match &mut set[at] {
            Some(own) if own.hash == slot.hash => slot.credit = own.credit,
            Some(other) if other.credit > 0 && !other.entry.is_superseded() => {
                other.credit -= 1;
                return;
            }
            _ => {}
        }
        set[at] = Some(slot);
        set[..=at].rotate_right(1);
    }

    /// Doubles the table. Returns false if it has its full size.
    fn grow(&mut self) -> bool {
        let places = (2 * self.slots.len()).max(FIRST * WAYS);
        if places > SETS * WAYS {
            return false;
        }
        let old = std::mem::take(&mut self.slots);
        self.slots.resize_with(places, || None);
        for slot in old.into_iter().flatten() {
            let free = self.set(slot.hash).and_then(|set| set.iter_mut().find(|place| place.is_none()));
            if let Some(place) = free {
                *place = Some(slot);
            }
        }
        true
    }

    /// Returns the set of a hash; `None` before the table is first used.
    fn set(&mut self, hash: u64) -> Option<&mut [Option<Slot>]> {
        let sets = (self.slots.len() / WAYS).checked_sub(1)?;
        let first = (hash as usize & sets) * WAYS;
        self.slots.get_mut(first..first + WAYS)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::class::{Class, Kind};
    use super::super::entry::Kept;
    use super::*;
    use crate::chain::Reply;
    use crate::wire::answer::Answer;

    const NOW: Duration = Duration::from_secs(1);

    fn entry(name: u8) -> Entry {
        let reply = Reply::fetched(Arc::new(Answer::empty(0)));
        let class = Class { kind: Kind::Answer, keeps: true, answers: true, is_expired: false, selected: None };
        let answer = &*reply.answer;
        Entry::new(Kept { store: 7, key: &[name], reply: &reply, class: &class, answer, good: None, ttl: 60 }, NOW)
    }

    /// Names in one set of the largest table: their hashes differ above its bits.
    fn hash(name: u8) -> u64 {
        u64::from(name) << 32
    }

    fn is_found(name: u8) -> bool {
        with(7, &[name], hash(name), NOW, |_| ()).is_some()
    }

    /// Fills a set, so that the table is at its largest.
    fn fill() -> [Entry; WAYS] {
        TABLE.with_borrow_mut(|table| table.slots.clear());
        let entries = std::array::from_fn(|name| entry(name as u8));
        (0..WAYS as u8).zip(&entries).for_each(|(name, entry)| keep(entry, hash(name), NOW));
        while TABLE.with_borrow_mut(Table::grow) {}
        entries
    }

    #[test]
    fn the_least_recently_used_of_a_set_goes() {
        let _entries = fill();
        for _ in 0..3 {
            assert!([2, 0, 3].map(is_found).iter().all(|found| *found));
        }
        keep(&entry(9), hash(9), NOW);
        assert_eq!([0, 1, 2, 3, 9].map(is_found), [true, false, true, true, true]);
        // Those that were hit outlive some newcomers, not all.
        for name in 10..30 {
            keep(&entry(name), hash(name), NOW);
        }
        assert_eq!([0, 2, 3].map(is_found), [false; 3]);
    }

    #[test]
    fn what_is_superseded_goes_first() {
        let entries = fill();
        assert!([0, 1, 2, 3].map(is_found).iter().all(|found| *found));
        entries[2].supersede();
        keep(&entry(9), hash(9), NOW);
        assert_eq!([0, 1, 2, 3, 9].map(is_found), [true, true, false, true, true]);
    }

    #[test]
    fn a_set_lies_in_two_cache_lines() {
        assert!(WAYS * size_of::<Option<Slot>>() <= 128);
        assert!(SETS.is_power_of_two() && FIRST.is_power_of_two());
    }
}
