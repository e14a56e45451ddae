//! A small table for each thread in front of the store, which finds popular entries without the
//! store.
//!
//! moka records each look-up and shares counters with all other threads, which costs more than the
//! rest of a hit. Here a hit costs a hash and a comparison. The table has a fixed size, serves all
//! caches of the process, and holds no large answers, so its memory is limited: [`SETS`] × [`WAYS`]
//! entries of at most [`MOST`] octets a thread.
//!
//! An entry knows when it is no longer in the store ([`Entry::is_superseded`]), so entries that
//! were replaced, contradicted or evicted there are not served from here. The store is still asked
//! now and then ([`HITS`], [`PAUSE`]), so that it knows which entries are popular and keeps them.

use std::cell::RefCell;
use std::sync::Arc;
use std::time::Duration;

use super::entry::Entry;

/// Sets of the table; the hash of an entry selects its set.
const SETS: usize = 2048;

/// Entries of a set.
const WAYS: usize = 2;

/// Maximum size of an entry in octets.
const MOST: usize = 1024;

/// Number of newcomers that an entry outlives after a few hits. If every newcomer were accepted, a
/// cycle of more names than places would evict all of them, and none would be found.
const CREDIT: u8 = 3;

/// The store is asked after this many hits ...
const HITS: u8 = 64;

/// ... and after this time, so that it also knows names with a few queries a second.
const PAUSE: Duration = Duration::from_millis(250);

thread_local! {
    static TABLE: RefCell<Table> = const { RefCell::new(Table { slots: Vec::new() }) };
}

struct Table {
    /// The sets in order, each with its last used entry first; empty until first used.
    slots: Vec<Option<Slot>>,
}

struct Slot {
    hash: u64,
    entry: Arc<Entry>,
    hits: u8,
    credit: u8,
    /// When the store was last asked.
    asked: Duration,
}

/// Calls `look` with the entry that the store with the number `store` would find, if the entry is
/// in the table and it is not time to ask the store.
///
/// The entry is not cloned for this, because all threads would write its reference count. `look`
/// must not call this again. Anything that it starts, a look-up below or a refresh, runs after it.
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

/// Remembers the store's result. The store must give the same result again until the entry is stale
/// or superseded.
pub(super) fn keep(entry: &Arc<Entry>, hash: u64, now: Duration) {
    if entry.octets() > MOST {
        return;
    }
    TABLE.with_borrow_mut(|table| {
        if table.slots.is_empty() {
            table.slots.resize_with(SETS * WAYS, || None);
        }
        let Some(set) = table.set(hash) else { return };
        // Replaces its own older entry, or the least recently used one if that has no credit left.
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
