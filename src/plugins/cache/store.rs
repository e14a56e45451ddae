//! Where answers are kept: one shared store for answers, one for denials and failures.
//!
//! The deadline stands in the entry: moka's own expiry would cost each look-up more, and stale entries must
//! stay. moka keeps what is asked for often, so that a flood of names that are asked once does not drive
//! out the others.
//!
//! A small table for each worker in front of this has its place in [`Store::find`].

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use moka::notification::RemovalCause;
use moka::sync::Cache;

use super::entry::Entry;

/// Octets that an entry of weight 1 may have. A bigger answer takes the place of several, so that a store
/// never holds much more than its capacity in KiB.
const WEIGHT: usize = 1024;

type Half = Cache<Box<[u8]>, Arc<Entry>, foldhash::fast::RandomState>;

/// The answers of one `cache`.
pub(super) struct Store {
    success: Half,
    denial: Half,
    evicted: [Arc<AtomicU64>; 2],
}

impl Store {
    /// A store for so many answers and so many denials.
    pub(super) fn new(success: u64, denial: u64) -> Self {
        let evicted: [Arc<AtomicU64>; 2] = Default::default();
        Self { success: half(success, &evicted[0]), denial: half(denial, &evicted[1]), evicted }
    }

    /// The entry to answer with, if there is one that may be served, stale for at most `stale` seconds.
    ///
    /// An answer wins over a failure. It also wins over a denial, of which only one is kept beside it with
    /// `prefer_positive`; there it has to be one that answers the question, be it an earlier one.
    pub(super) fn find(&self, key: &[u8], now: Duration, stale: u64, prefer_positive: bool) -> Option<Arc<Entry>> {
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
        if success.is_some() && !prefer_positive {
            return success;
        }
        let denial = self.denial.get(key).filter(|entry| entry.is_usable(now, stale));
        let is_failure = denial.as_ref().is_some_and(|entry| !entry.kind.is_lasting());
        if is_failure { success.or(denial) } else { denial.or(success) }
    }

    /// The entry that an answer of this question has in the store, whatever its age.
    pub(super) fn success(&self, key: &[u8]) -> Option<Arc<Entry>> {
        self.success.get(key)
    }

    /// Keeps an answer, in place of what it contradicts: a denial of the same question, or an answer that is denied
    /// now. A failure contradicts nothing.
    pub(super) fn keep(&self, key: &[u8], entry: &Arc<Entry>, prefer_positive: bool) {
        if entry.kind.is_denial() {
            self.denial.insert(key.into(), entry.clone());
            if entry.kind.is_lasting() && !prefer_positive {
                self.success.invalidate(key);
            }
        } else {
            self.success.insert(key.into(), entry.clone());
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
    Cache::<Box<[u8]>, Arc<Entry>>::builder()
        .max_capacity(capacity)
        .weigher(|key, entry| ((key.len() + entry.answer.wire_len()) / WEIGHT) as u32 + 1)
        .eviction_listener(move |_, _, cause| {
            if cause == RemovalCause::Size {
                evicted.fetch_add(1, Ordering::Relaxed);
            }
        })
        .build_with_hasher(foldhash::fast::RandomState::default())
}
