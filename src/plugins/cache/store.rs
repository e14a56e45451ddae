//! Where answers are kept: one shared store for answers, one for denials and failures.
//!
//! The deadline stands in the entry: moka's own expiry would cost each look-up more, and stale entries must
//! stay. moka keeps what is asked for often, so that a flood of names that are asked once does not drive
//! out the others. In front of it, each thread has a small table of its own ([`front`]).

use std::hash::BuildHasher;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::notification::RemovalCause;
use moka::sync::Cache;

use super::entry::Entry;
use super::front;

/// Octets that an entry of weight 1 may take, all that belongs to it counted. A bigger one takes the place of
/// several, so that a store never holds more than its capacity in KiB.
const WEIGHT: usize = 1024;

/// Stores are told apart by number, where entries of several lie side by side.
static STORES: AtomicU64 = AtomicU64::new(0);

type Half = Cache<Arc<[u8]>, Arc<Entry>, foldhash::fast::RandomState>;

/// The answers of one `cache`.
pub(super) struct Store {
    /// No other store of the process has it.
    pub(super) number: u64,
    hasher: foldhash::fast::RandomState,
    success: Half,
    denial: Half,
    evicted: [Arc<AtomicU64>; 2],
}

impl Store {
    /// A store for so many answers and so many denials.
    pub(super) fn new(success: u64, denial: u64) -> Self {
        let evicted: [Arc<AtomicU64>; 2] = Default::default();
        Self {
            number: STORES.fetch_add(1, Ordering::Relaxed),
            hasher: foldhash::fast::RandomState::default(),
            success: half(success, &evicted[0]),
            denial: half(denial, &evicted[1]),
            evicted,
        }
    }

    /// The entry to answer with, if there is one that may be served, stale for at most `stale` seconds.
    ///
    /// A true answer wins over everything, and over a failure even a stale one does. With `prefer_positive` it wins
    /// over a denial too, and has to be one that answers the question, be it an earlier one.
    pub(super) fn find(&self, key: &[u8], now: Duration, stale: u64, prefer_positive: bool) -> Option<Arc<Entry>> {
        let hash = self.hasher.hash_one(key);
        if let Some(entry) = front::find(self.number, key, hash, now) {
            return Some(entry);
        }
        let entry = self.find_shared(key, now, stale, prefer_positive)?;
        // Nothing that is kept later comes before these, unless it supersedes them.
        let is_final = !prefer_positive || entry.answers && stale > 0;
        if is_final && entry.left(now) > 0 {
            front::keep(&entry, hash, now);
        }
        Some(entry)
    }

    fn find_shared(&self, key: &[u8], now: Duration, stale: u64, prefer_positive: bool) -> Option<Arc<Entry>> {
        let success = self.success.get(key);
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
        let denial = self.denial.get(key).filter(|entry| entry.is_usable(now, stale));
        let is_failure = denial.as_ref().is_some_and(|entry| !entry.kind.is_lasting());
        // A denial that stands beside an answer is the newer of the two.
        if is_failure { success.or(denial) } else { denial.or(success) }
    }

    /// The entry that an answer of this question has in the store, whatever its age.
    pub(super) fn success(&self, key: &[u8]) -> Option<Arc<Entry>> {
        self.success.get(key)
    }

    /// Keeps an answer, in place of what it contradicts: a denial of the same question, or an answer that is denied
    /// now and not true any more. A failure contradicts nothing.
    pub(super) fn keep(&self, entry: &Arc<Entry>, now: Duration, prefer_positive: bool) {
        let key = &entry.key;
        if entry.kind.is_denial() {
            self.denial.insert(key.clone(), entry.clone());
            let holds = |old: Arc<Entry>| old.answers && old.left(now) > 0;
            if entry.kind.is_lasting() && !prefer_positive && !self.success.get(key).is_some_and(holds) {
                self.success.invalidate(key);
            }
        } else {
            self.success.insert(key.clone(), entry.clone());
            if !prefer_positive || entry.answers {
                self.denial.invalidate(key);
            }
        }
    }

    /// Forgets what is known about a question.
    pub(super) fn forget(&self, key: &[u8]) {
        self.success.invalidate(key);
        self.denial.invalidate(key);
    }

    /// How many answers and denials were driven out since the last call.
    pub(super) fn take_evicted(&self) -> [u64; 2] {
        [0, 1].map(|half| self.evicted[half].swap(0, Ordering::Relaxed))
    }

    /// How many answers and denials there are.
    pub(super) fn len(&self) -> [u64; 2] {
        [&self.success, &self.denial].map(|half| {
            half.run_pending_tasks();
            half.entry_count()
        })
    }
}

fn half(capacity: u64, evicted: &Arc<AtomicU64>) -> Half {
    let evicted = evicted.clone();
    Cache::<Arc<[u8]>, Arc<Entry>>::builder()
        .max_capacity(capacity)
        .weigher(|_, entry| entry.octets().div_ceil(WEIGHT) as u32)
        .eviction_listener(move |_, entry: Arc<Entry>, cause| {
            entry.supersede();
            if cause == RemovalCause::Size {
                evicted.fetch_add(1, Ordering::Relaxed);
            }
        })
        .build_with_hasher(foldhash::fast::RandomState::default())
}
