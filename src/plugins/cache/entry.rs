//! One stored answer and its age.

use std::borrow::{Borrow, Cow};
use std::hash::{Hash, Hasher};
use std::ops::Deref;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use triomphe::ThinArc;

use super::class::{Class, Kind};
use crate::chain::Reply;
use crate::wire::answer::Answer;
use crate::wire::packed::{pack, unpack};

/// Approximate memory in octets that the store needs for an entry. A test in tests/hotpath.rs
/// checks that a full store takes no more than its capacity.
const OVERHEAD: usize = 320;

/// An answer and the time at which it expires, shared. Times are those of the host's clock.
///
/// In one piece of memory: a head, behind it the question, and the packed answer last.
#[derive(Clone)]
pub(super) struct Entry(ThinArc<Head, u8>);

/// The parts of an entry that have a fixed size.
pub(super) struct Head {
    /// The number of the store that the entry was made for.
    pub(super) store: u64,
    /// The extended error of a failure.
    pub(super) error: Option<Box<(u16, Cow<'static, str>)>>,
    /// The last answer with the requested records, if this entry replaced it and has none
    /// (`prefer_positive`).
    pub(super) good: Option<Entry>,
    stored: Duration,
    last_hit_ms: AtomicU64,
    retry_at_ms: AtomicU64,
    /// Its TTL when it was stored, in seconds.
    pub(super) ttl: u32,
    hits: AtomicU32,
    /// Octets of the question.
    key: u16,
    /// What the answer says.
    pub(super) kind: Kind,
    /// Whether the answer holds what was asked for.
    pub(super) answers: bool,
    superseded: AtomicBool,
    refreshing: AtomicBool,
}

/// What an entry is made of.
pub(super) struct Kept<'a> {
    /// The number of the store.
    pub(super) store: u64,
    /// The whole question.
    pub(super) key: &'a [u8],
    /// The reply, for the error that it tells.
    pub(super) reply: &'a Reply,
    /// What the reply says.
    pub(super) class: &'a Class,
    /// The part of its answer to keep.
    pub(super) answer: &'a Answer,
    /// See [`Head::good`].
    pub(super) good: Option<Entry>,
    /// Seconds.
    pub(super) ttl: u32,
}

/// The whole question of an entry, by which the store finds it.
#[derive(Clone)]
pub(super) struct Keyed(Entry);

impl Borrow<[u8]> for Keyed {
    fn borrow(&self) -> &[u8] {
        self.0.key()
    }
}

impl PartialEq for Keyed {
    fn eq(&self, other: &Self) -> bool {
        self.0.key() == other.0.key()
    }
}

impl Eq for Keyed {}

impl Hash for Keyed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.key().hash(state);
    }
}

impl Deref for Entry {
    type Target = Head;

    fn deref(&self) -> &Head {
        &self.0.header.header
    }
}

impl Entry {
    /// Returns an entry for what is kept, valid from `now` on.
    pub(super) fn new(kept: Kept<'_>, now: Duration) -> Self {
        let Kept { store, key, reply, class, answer, good, ttl } = kept;
        let mut octets = key.to_vec();
        pack(answer, &mut octets);
        let head = Head {
            store,
            key: key.len() as u16,
            error: reply.note.as_ref().and_then(|note| note.error.clone()).map(Box::new),
            kind: class.kind,
            answers: class.answers,
            good,
            ttl,
            stored: now,
            superseded: AtomicBool::new(false),
            hits: AtomicU32::new(0),
            last_hit_ms: AtomicU64::new(0),
            refreshing: AtomicBool::new(false),
            retry_at_ms: AtomicU64::new(0),
        };
        Self(ThinArc::from_header_and_slice(head, &octets))
    }

    /// Returns the whole question.
    pub(super) fn key(&self) -> &[u8] {
        &self.0.slice[..usize::from(self.key)]
    }

    /// Returns what the store finds the entry by.
    pub(super) fn keyed(&self) -> Keyed {
        Keyed(self.clone())
    }

    /// Returns the answer with its original TTLs, from the pool of this thread.
    pub(super) fn answer(&self) -> Arc<Answer> {
        unpack(&self.0.slice[usize::from(self.key)..])
    }

    /// Returns the remaining TTL in seconds; 0 or less if the entry is stale.
    pub(super) fn left(&self, now: Duration) -> i64 {
        i64::from(self.ttl) - now.saturating_sub(self.stored).as_secs().cast_signed()
    }

    /// Returns whether the entry may be served, up to `stale` seconds beyond its TTL. Failures are
    /// never served stale.
    pub(super) fn is_usable(&self, now: Duration, stale: u64) -> bool {
        let left = self.left(now);
        left > 0 || self.kind != Kind::Failure && left.unsigned_abs() < stale
    }

    /// Counts a hit. Returns the number of hits without a gap of more than `gap`.
    pub(super) fn hit(&self, gap: Duration, now: Duration) -> u32 {
        let now = now.as_millis() as u64;
        let since = now.saturating_sub(self.last_hit_ms.swap(now, Ordering::Relaxed));
        if since > gap.as_millis() as u64 {
            self.hits.store(0, Ordering::Relaxed);
        }
        self.hits.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    /// Continues the hit count of an earlier entry for the same question.
    pub(super) fn inherit_hits(&self, from: &Self) {
        self.hits.store(from.hits.load(Ordering::Relaxed), Ordering::Relaxed);
        self.last_hit_ms.store(from.last_hit_ms.load(Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Returns the approximate memory in octets, including an older answer in it and the store's
    /// overhead.
    pub(super) fn octets(&self) -> usize {
        let good = self.good.as_ref().map_or(0, Self::octets);
        OVERHEAD + size_of::<Head>() + self.0.slice.len() + good
    }

    /// Marks the entry, and the answer that it holds, as no longer in the store: replaced,
    /// contradicted or evicted.
    pub(super) fn supersede(&self) {
        self.superseded.store(true, Ordering::Release);
        if let Some(good) = &self.good {
            good.supersede();
        }
    }

    /// Marks the answer that this entry holds as in the store, although this entry replaced it.
    pub(super) fn hold_on(&self) {
        if let Some(good) = &self.good {
            good.superseded.store(false, Ordering::Release);
        }
    }

    /// Returns whether the entry is no longer in the store.
    pub(super) fn is_superseded(&self) -> bool {
        self.superseded.load(Ordering::Acquire)
    }

    /// Returns whether the next attempt must still wait, because the last one failed.
    pub(super) fn is_paused(&self, now: Duration) -> bool {
        (now.as_millis() as u64) < self.retry_at_ms.load(Ordering::Acquire)
    }

    /// Delays the next attempt until `until`.
    pub(super) fn pause(&self, until: Duration) {
        self.retry_at_ms.store(until.as_millis() as u64, Ordering::Release);
    }

    /// Takes the only refresh place of the entry, unless it is taken or paused, or the entry was
    /// replaced.
    pub(super) fn begin_refresh(&self, now: Duration) -> Option<Refresh> {
        let is_over = || self.is_paused(now) || self.is_superseded();
        if is_over() || self.refreshing.swap(true, Ordering::AcqRel) {
            return None;
        }
        let refresh = Refresh { entry: self.clone(), is_alone: true };
        // Checked again while holding the place: the previous refresh may have ended in between,
        // and it records its result before it returns the place.
        (!is_over()).then_some(refresh)
    }

    /// Takes a place beside other refreshes of the entry, unless it is paused.
    pub(super) fn join_refresh(&self, now: Duration) -> Option<Refresh> {
        (!self.is_paused(now)).then(|| Refresh { entry: self.clone(), is_alone: false })
    }
}

/// A place for one refresh of an entry; returned on drop.
pub(super) struct Refresh {
    pub(super) entry: Entry,
    is_alone: bool,
}

impl Refresh {
    /// Ends the refresh; the next attempt waits for `pause`.
    pub(super) fn end(self, now: Duration, pause: Duration) {
        if !pause.is_zero() {
            self.entry.pause(now + pause);
        }
    }
}

impl Drop for Refresh {
    fn drop(&mut self) {
        if self.is_alone {
            self.entry.refreshing.store(false, Ordering::Release);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn entry(kind: Kind, ttl: u32) -> Entry {
        let reply = Reply::fetched(Arc::new(Answer::empty(0)));
        let class = Class { kind, keeps: true, answers: true, is_expired: false, selected: None };
        let (reply, class, answer) = (&reply, &class, &*reply.answer);
        Entry::new(Kept { store: 0, key: &[], reply, class, answer, good: None, ttl }, s(1000))
    }

    #[test]
    fn time_passes() {
        let entry = entry(Kind::Answer, 30);
        assert_eq!(entry.left(s(1000)), 30);
        assert_eq!(entry.left(Duration::from_millis(1_000_999)), 30, "whole seconds count");
        assert_eq!(entry.left(s(1029)), 1);
        assert!(entry.is_usable(s(1029), 0) && !entry.is_usable(s(1030), 0));
        assert!(entry.is_usable(s(1030 + 59), 60) && !entry.is_usable(s(1030 + 60), 60));
    }

    #[test]
    fn a_failure_is_never_stale() {
        assert!(!entry(Kind::Failure, 5).is_usable(s(1005), 3600));
        assert!(entry(Kind::NoName, 5).is_usable(s(1005), 3600));
    }

    #[test]
    fn hits_count_without_a_gap() {
        let entry = entry(Kind::Answer, 30);
        assert_eq!([1000, 1001, 1061].map(|at| entry.hit(s(60), s(at))), [1, 2, 3]);
        assert_eq!(entry.hit(s(60), s(1122)), 1);
    }

    /// A thread that arrives while a refresh ends sees that end: two refreshes of one entry would
    /// be two upstream queries.
    #[test]
    fn a_refresh_that_ends_is_not_begun_again() {
        for round in 0..2_000_u32 {
            let entry = entry(Kind::Answer, 30);
            let first = entry.begin_refresh(s(1000)).expect("nobody else does");
            let begun = std::thread::scope(|scope| {
                let others: Vec<_> =
                    (0..2).map(|_| scope.spawn(|| (0..20).any(|_| entry.begin_refresh(s(1000)).is_some()))).collect();
                match round % 2 {
                    0 => entry.supersede(),
                    _ => entry.pause(s(1010)),
                }
                drop(first);
                others.into_iter().any(|other| other.join().expect("no panic"))
            });
            assert!(!begun, "round {round}");
        }
    }

    #[test]
    fn one_refreshes_at_a_time_and_waits_after_a_failure() {
        let entry = entry(Kind::Answer, 30);
        let first = entry.begin_refresh(s(1000)).expect("nobody else does");
        assert!(entry.begin_refresh(s(1000)).is_none());
        first.end(s(1000), s(10));
        assert!(entry.begin_refresh(s(1009)).is_none());
        drop(entry.begin_refresh(s(1010)).expect("it is time"));
        let again = entry.begin_refresh(s(1010)).expect("it was given back");
        again.end(s(1010), s(0));
        let last = entry.begin_refresh(s(1010)).expect("there was no pause");
        entry.supersede();
        last.end(s(1010), s(0));
        assert!(entry.begin_refresh(s(1010)).is_none(), "what has taken its place is asked about from now on");
    }
}
