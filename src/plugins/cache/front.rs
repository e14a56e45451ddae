//! A small table for each thread in front of the store: what is asked for again and again is found without the store.
//!
//! moka writes a record of each look-up and shares counters with all other threads, which costs more than the rest of
//! a hit. Here a hit costs a hash and a comparison. The table has a fixed size, serves all caches of the process,
//! and holds big answers not at all, so its memory has an end: [`SETS`] × [`WAYS`] entries of at most [`MOST`]
//! octets a thread.
//!
//! An entry says itself when the store does not have it any more ([`Entry::is_superseded`]), so nothing is served from
//! here that was replaced, contradicted or driven out there. And the store is still asked now and then
//! ([`HITS`], [`PAUSE`]), so that it knows what is asked for often, and keeps it.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use super::entry::Entry;

/// Sets of the table; an entry has its place in one of them, by its hash.
const SETS: usize = 2048;

/// Entries of a set.
const WAYS: usize = 2;

/// Octets that an entry may take.
const MOST: usize = 1024;

/// Newcomers that an entry outlives after a few hits. Were every newcomer taken in, more names in turn than there are
/// places would drive each other out, and none would be found.
const CREDIT: u8 = 3;

/// The store is asked after so many hits ...
const HITS: u8 = 64;

/// ... and after so much time: a name that is asked for a few times a second shall be known as well.
const PAUSE: Duration = Duration::from_millis(250);

thread_local! {
    static TABLE: RefCell<Table> = const { RefCell::new(Table { slots: Vec::new() }) };
}

struct Table {
    /// Set by set, the entry that was used last in front; empty until it is needed.
    slots: Vec<Option<Slot>>,
}

struct Slot {
    hash: u64,
    entry: Arc<Entry>,
    hits: u8,
    credit: u8,
    /// When the store was asked last.
    asked: Duration,
}

/// Calls `look` with the entry that the store with the number `store` would find, if the entry is
/// known here and it is not time to ask the store.
///
/// The entry is not cloned meanwhile, because all threads would write its reference count. `look`
/// must not come here again. What it starts, a look-up below or a refresh, runs after it.
pub(super) fn with<R>(store: u64, key: &[u8], hash: u64, now: Duration, look: impl Fn(&Arc<Entry>) -> R) -> Option<R> {
    TABLE.with_borrow_mut(|table| {
        let set = table.set(hash)?;
        let is_it = |slot: &Option<Slot>| {
            slot.as_ref().is_some_and(|slot| slot.hash == hash && slot.entry.store == store && *slot.entry.key == *key)
        };
        let at = set.iter().position(is_it)?;
        set.swap(0, at);
        let slot = set[0].as_mut()?;
        if slot.entry.is_superseded() || slot.entry.left(now) <= 0 {
            set[0] = None;
            return None;
        }
        slot.hits += 1;
        slot.credit = (slot.credit + 1).min(CREDIT);
        let is_due = slot.hits >= HITS || now.saturating_sub(slot.asked) >= PAUSE;
        (!is_due).then(|| look(&slot.entry))
    })
}

/// Remembers what the store said. It must be what it will say again, as long as the entry is neither stale nor
/// superseded.
pub(super) fn keep(entry: &Arc<Entry>, hash: u64, now: Duration) {
    if entry.octets() > MOST {
        return;
    }
    TABLE.with_borrow_mut(|table| {
        if table.slots.is_empty() {
            table.slots.resize_with(SETS * WAYS, || None);
        }
        let Some(set) = table.set(hash) else { return };
        // In the place of its own older one, or of the one that was used longest ago, if that has no credit left.
        let is_free = |slot: &Option<Slot>| slot.as_ref().is_none_or(|slot| slot.hash == hash);
        let at = set.iter().position(is_free).unwrap_or(WAYS - 1);
        let mut credit = 0;
        match &mut set[at] {
            Some(own) if own.hash == hash => credit = own.credit,
            Some(other) if other.credit > 0 => {
                other.credit -= 1;
                return;
            }
            _ => {}
        }
        set[at] = Some(Slot { hash, entry: entry.clone(), hits: 0, credit, asked: now });
        set.swap(0, at);
    });
}

impl Table {
    fn set(&mut self, hash: u64) -> Option<&mut [Option<Slot>]> {
        let first = (hash as usize % SETS) * WAYS;
        self.slots.get_mut(first..first + WAYS)
    }
}
