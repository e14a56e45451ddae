//! Stores the answers: one shared store for answers, one for denials and failures.
//!
//! The deadline is in the entry: moka's own expiry would make each look-up slower, and stale
//! entries must stay. moka keeps popular entries, so a flood of names that are asked for once does
//! not evict the others. In front of it, each thread has a small table of its own ([`front`]).
//!
//! moka does its housekeeping on the inserting thread, and other inserting threads wait for it: for
//! milliseconds if that thread loses its processor. So one thread inserts at a time, and the others
//! leave their entries to it in a queue ([`Store::keep`]).

use std::hash::BuildHasher;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::mpsc::{self, Receiver, SyncSender};
use std::sync::{Arc, Mutex, TryLockError};
use std::time::Duration;

use moka::notification::RemovalCause;
use moka::sync::Cache;

use super::class::Kind;
use super::entry::{Entry, Keyed};
use super::front;

/// Octets for an entry of weight 1, with all that belongs to it. A larger entry takes the place of
/// several, so that a store never holds more than its capacity in KiB.
const WEIGHT: usize = 1024;

/// Maximum number of entries that wait for insertion.
const QUEUE: usize = 1024;

/// Entries that one thread inserts before it resumes its own work; the next thread does the rest.
const AT_ONCE: usize = 64;

/// An entry, its time, and whether answers are preferred to it.
type Queued = (Entry, Duration, bool);

/// Source of store numbers, which tell stores apart where entries of several are mixed.
static STORES: AtomicU64 = AtomicU64::new(0);

type Half = Cache<Keyed, Entry, foldhash::fast::RandomState>;

/// The answers of one `cache`.
pub(super) struct Store {
    /// A number that is unique in the process.
    pub(super) number: u64,
    hasher: foldhash::fast::RandomState,
    /// Entries that wait for the inserting thread, which holds the lock.
    queue: SyncSender<Queued>,
    inserting: Mutex<Receiver<Queued>>,
    queued: AtomicUsize,
    success: Half,
    denial: Half,
    evicted: [Arc<AtomicU64>; 2],
}

impl Store {
    /// Returns a store for `success` answers and `denial` denials.
    pub(super) fn new(success: u64, denial: u64) -> Self {
        let evicted: [Arc<AtomicU64>; 2] = Default::default();
        let (queue, receiver) = mpsc::sync_channel(QUEUE);
        Self {
            queue,
            inserting: Mutex::new(receiver),
            queued: AtomicUsize::new(0),
            number: STORES.fetch_add(1, Ordering::Relaxed),
            hasher: foldhash::fast::RandomState::default(),
            success: half(success, &evicted[0]),
            denial: half(denial, &evicted[1]),
            evicted,
        }
    }

    /// Calls `look` with the entry to answer with, if one may be served, stale for at most `stale`
    /// seconds.
    ///
    /// A valid answer is preferred to all others, and a stale one to a failure. With
    /// `prefer_positive` an answer is also preferred to a denial; it must then be one that answers
    /// the question, even an earlier one.
    pub(super) fn with<R>(
        &self,
        key: &[u8],
        now: Duration,
        stale: u64,
        prefer_positive: bool,
        look: impl Fn(&Entry) -> R,
    ) -> Option<R> {
        let hash = self.hasher.hash_one(key);
        if let Some(found) = front::with(self.number, key, hash, now, &look) {
            return Some(found);
        }
        let mut entry = self.find_shared(key, now, stale, prefer_positive);
        if entry.is_none() && self.queued.load(Ordering::Acquire) > 0 {
            self.insert_queued();
            entry = self.find_shared(key, now, stale, prefer_positive);
        }
        let entry = entry?;
        // No entry that is kept later is preferred to these, unless it supersedes them.
        let is_final = !prefer_positive || entry.answers && stale > 0;
        if is_final && entry.left(now) > 0 {
            front::keep(&entry, hash, now);
        }
        Some(look(&entry))
    }

    fn find_shared(&self, key: &[u8], now: Duration, stale: u64, prefer_positive: bool) -> Option<Entry> {
        let success = get(&self.success, key);
        if prefer_positive && stale > 0 {
            let candidates = [success.as_ref(), success.as_ref().and_then(|entry| entry.good.as_ref())];
            let mut good =
                candidates.into_iter().flatten().filter(|entry| entry.answers && entry.is_usable(now, stale));
            if let Some(entry) = good.next() {
                return Some(entry.clone());
            }
        }
        let success = success.filter(|entry| entry.is_usable(now, stale));
        if !prefer_positive && success.as_ref().is_some_and(|entry| entry.left(now) > 0) {
            return success;
        }
        let denial = get(&self.denial, key).filter(|entry| entry.is_usable(now, stale));
        let is_failure = denial.as_ref().is_some_and(|entry| !entry.kind.is_lasting());
        // A denial beside an answer is the newer of the two.
        if is_failure { success.or(denial) } else { denial.or(success) }
    }

    /// Returns the entry in the answer half of the store for this question, whatever its age.
    pub(super) fn success(&self, key: &[u8]) -> Option<Entry> {
        self.success.get(key)
    }

    /// Keeps an answer and drops the entry that it contradicts: a denial of the same question, or
    /// an expired answer that is now denied. A failure contradicts no valid entry, and neither does
    /// an answer without records and without a reason (RFC 2308 section 5).
    ///
    /// If another thread is inserting, that thread inserts this entry too. Returns false if so many
    /// entries wait that this one is not kept.
    pub(super) fn keep(&self, entry: &Entry, now: Duration, prefer_positive: bool) -> bool {
        self.queued.fetch_add(1, Ordering::AcqRel);
        let is_queued = self.queue.try_send((entry.clone(), now, prefer_positive)).is_ok();
        if !is_queued {
            // The queue is so long that one more entry is no loss.
            self.queued.fetch_sub(1, Ordering::AcqRel);
            entry.supersede();
        }
        self.insert_queued();
        is_queued
    }

    /// Inserts the queued entries, unless another thread is inserting.
    fn insert_queued(&self) {
        let mut left = AT_ONCE;
        // Threads leave their entries to the holder of the lock, so the holder looks again.
        while left > 0 && self.queued.load(Ordering::Acquire) > 0 {
            let receiver = match self.inserting.try_lock() {
                Ok(receiver) => receiver,
                Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
                Err(TryLockError::WouldBlock) => return,
            };
            while left > 0
                && let Ok((entry, now, prefer_positive)) = receiver.try_recv()
            {
                self.queued.fetch_sub(1, Ordering::AcqRel);
                self.insert(&entry, now, prefer_positive);
                left -= 1;
            }
            left = left.saturating_sub(1);
        }
    }

    fn insert(&self, entry: &Entry, now: Duration, prefer_positive: bool) {
        let key = entry.key();
        let holds = |old: Entry| old.answers && old.left(now) > 0;
        let is_denied = |old: Entry| old.kind.is_lasting() && old.left(now) > 0;
        let says_less = match entry.kind {
            Kind::Failure => get(&self.denial, key).is_some_and(is_denied),
            Kind::NoData | Kind::NoName => false,
            _ => !entry.answers && get(&self.success, key).is_some_and(holds),
        };
        if says_less {
            entry.supersede();
        } else if entry.kind.is_denial() {
            self.denial.insert(entry.keyed(), entry.clone());
            if entry.kind.is_lasting() && !prefer_positive && !get(&self.success, key).is_some_and(holds) {
                self.success.invalidate(key);
            }
        } else {
            self.success.insert(entry.keyed(), entry.clone());
            entry.hold_on();
            if !prefer_positive || entry.answers {
                self.denial.invalidate(key);
            }
        }
    }

    /// Removes all entries of a question.
    pub(super) fn forget(&self, key: &[u8]) {
        self.success.invalidate(key);
        self.denial.invalidate(key);
    }

    /// Returns how many answers and denials were evicted since the last call.
    pub(super) fn take_evicted(&self) -> [u64; 2] {
        [0, 1].map(|half| self.evicted[half].swap(0, Ordering::Relaxed))
    }

    /// Returns the number of answers and denials.
    pub(super) fn len(&self) -> [u64; 2] {
        [&self.success, &self.denial].map(|half| {
            half.run_pending_tasks();
            half.entry_count()
        })
    }
}

/// Looks up an entry; moka records the look-up only if it finds one. Names that are asked for once
/// are many, and each record is work for its housekeeping.
///
/// An entry that is superseded during the look-up, or whose successor is still queued, is served
/// once more. That is better than a miss, and it is never refreshed again.
fn get(half: &Half, key: &[u8]) -> Option<Entry> {
    if half.contains_key(key) { half.get(key) } else { None }
}

fn half(capacity: u64, evicted: &Arc<AtomicU64>) -> Half {
    let evicted = evicted.clone();
    Cache::<Keyed, Entry>::builder()
        .max_capacity(capacity)
        .weigher(|_, entry| entry.octets().div_ceil(WEIGHT) as u32)
        .eviction_listener(move |_, entry: Entry, cause| {
            entry.supersede();
            if cause == RemovalCause::Size {
                evicted.fetch_add(1, Ordering::Relaxed);
            }
        })
        .build_with_hasher(foldhash::fast::RandomState::default())
}

#[cfg(test)]
mod tests {
    use super::super::class::Class;
    use super::super::entry::Kept;
    use super::*;
    use crate::chain::Reply;
    use crate::wire::answer::Answer;

    fn entry(store: &Store, key: &[u8], kind: Kind, ttl: u32) -> Entry {
        let reply = Reply::fetched(Arc::new(Answer::empty(0)));
        let class = Class { kind, keeps: true, answers: kind == Kind::Answer, is_expired: false, selected: None };
        let (store, reply, class, answer) = (store.number, &reply, &class, &*reply.answer);
        Entry::new(Kept { store, key, reply, class, answer, good: None, ttl }, Duration::ZERO)
    }

    fn found(store: &Store, key: &[u8], seconds: u64) -> Option<Kind> {
        store.with(key, Duration::from_secs(seconds), 0, false, |entry| entry.kind)
    }

    #[test]
    fn what_many_threads_keep_at_a_time_is_all_there() {
        let store = Store::new(20_000, 20_000);
        std::thread::scope(|scope| {
            for thread in 0..4_u32 {
                let store = &store;
                scope.spawn(move || {
                    for number in 0..2000_u32 {
                        let key = [thread.to_be_bytes(), number.to_be_bytes()].concat();
                        store.keep(&entry(store, &key, Kind::Answer, 60), Duration::ZERO, false);
                        // A full queue would drop entries; real load never fills it this fast.
                        while store.queued.load(Ordering::Acquire) > QUEUE / 2 {
                            store.insert_queued();
                        }
                    }
                });
            }
        });
        // A thread leaves the entries beyond its share to the next call of `keep`.
        while store.queued.load(Ordering::Acquire) > 0 {
            store.insert_queued();
        }
        let keys =
            (0..4_u32).flat_map(|thread| (0..2000_u32).map(move |n| [thread.to_be_bytes(), n.to_be_bytes()].concat()));
        assert_eq!(keys.filter(|key| found(&store, key, 1).is_none()).count(), 0);
        assert_eq!(store.len(), [8000, 0]);
    }

    /// The table of the thread never hides newer entries of the store.
    #[test]
    fn what_is_replaced_or_forgotten_is_not_found_in_front() {
        let store = Store::new(1024, 1024);
        let keep = |kind, ttl| store.keep(&entry(&store, b"key", kind, ttl), Duration::ZERO, false);
        keep(Kind::NoName, 60);
        assert_eq!([1, 1, 1].map(|at| found(&store, b"key", at)), [Some(Kind::NoName); 3]);
        keep(Kind::Answer, 30);
        assert_eq!([1, 1].map(|at| found(&store, b"key", at)), [Some(Kind::Answer); 2]);
        keep(Kind::Failure, 5);
        keep(Kind::NoName, 60);
        assert_eq!([29, 30].map(|at| found(&store, b"key", at)), [Some(Kind::Answer), Some(Kind::NoName)]);
        store.forget(b"key");
        assert_eq!(found(&store, b"key", 1), None);
        let other = Store::new(1024, 1024);
        keep(Kind::Answer, 60);
        assert_eq!((found(&store, b"key", 1), found(&other, b"key", 1)), (Some(Kind::Answer), None));
    }

    /// Neither a failure nor an answer without records removes a valid answer.
    #[test]
    fn what_says_less_takes_no_place() {
        let store = Store::new(1024, 1024);
        let keep = |kind, ttl| store.keep(&entry(&store, b"key", kind, ttl), Duration::ZERO, false);
        keep(Kind::NoName, 60);
        keep(Kind::Failure, 5);
        assert_eq!(found(&store, b"key", 1), Some(Kind::NoName));
        keep(Kind::Answer, 30);
        keep(Kind::Delegation, 60);
        assert_eq!([1, 29, 30].map(|at| found(&store, b"key", at)), [Some(Kind::Answer), Some(Kind::Answer), None]);
    }

    #[test]
    fn what_the_store_drives_out_is_not_found_in_front() {
        let store = Store::new(1, 1);
        let keys: Vec<_> = (0..50_u32).map(u32::to_be_bytes).collect();
        for key in &keys {
            store.keep(&entry(&store, key, Kind::Answer, 60), Duration::ZERO, false);
            let _ = found(&store, key, 1);
        }
        let [kept, _] = store.len();
        assert_eq!(keys.iter().filter(|key| found(&store, *key, 1).is_some()).count() as u64, kept);
        assert!(kept <= 1);
    }

    /// While another thread inserts, a full queue takes no more, and says so.
    #[test]
    fn what_finds_no_room_in_the_queue_is_not_kept() {
        let store = Store::new(8192, 8192);
        let inserting = store.inserting.lock().expect("no panic");
        let keep =
            |number: usize| store.keep(&entry(&store, &number.to_be_bytes(), Kind::Answer, 60), Duration::ZERO, false);
        assert!((0..QUEUE).all(keep) && !keep(QUEUE));
        drop(inserting);
        store.insert_queued();
        assert!(keep(QUEUE + 1), "there is room again");
    }
}
