//! How long a server usually takes to answer: the time within which 95 of 100 answers come.
//!
//! A mean and its deviation would follow the few names that take a server seconds. A histogram does
//! not, and costs two additions an answer: its buckets are quarters of octaves (each is at most 25
//! % wide), and all are halved now and then, so that old samples count less and less. There is no
//! lock: a sample that is lost or counted twice while the buckets are halved does not matter.

use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

/// Quarters of octaves from 64 µs to 4.2 s.
const BUCKETS: usize = 64;

/// The first octave is that of 2^6 = 64 µs; whatever is quicker counts as that.
const FIRST: u32 = 6;

/// Answers before a first word is given.
const FEW: u32 = 4;

/// Answers from one look to the next, later on.
const LOOK: u32 = 32;

/// Answers in all buckets with which they are halved.
const MANY: u32 = 512;

/// Of 100 answers, how many are to come in the usual time.
const MOST: u32 = 95;

/// The times of one server.
pub(super) struct Rtt {
    buckets: [AtomicU32; BUCKETS],
    seen: AtomicU32,
    /// In microseconds; 0 while too few answers are known.
    usual: AtomicU64,
}

impl Default for Rtt {
    fn default() -> Self {
        Self { buckets: [const { AtomicU32::new(0) }; BUCKETS], seen: AtomicU32::new(0), usual: AtomicU64::new(0) }
    }
}

impl Rtt {
    /// Notes how long an answer took.
    pub(super) fn record(&self, took: Duration) {
        self.buckets[bucket(took)].fetch_add(1, Ordering::Relaxed);
        let seen = self.seen.fetch_add(1, Ordering::Relaxed).wrapping_add(1);
        if seen.is_multiple_of(LOOK) || (FEW..LOOK).contains(&seen) && seen.is_power_of_two() {
            self.look();
        }
    }

    /// The time within which 95 of 100 answers come, rounded up by at most 25 %. Returns `None`
    /// while too few are known.
    pub(super) fn usual(&self) -> Option<Duration> {
        Some(self.usual.load(Ordering::Relaxed)).filter(|&usual| usual > 0).map(Duration::from_micros)
    }

    fn look(&self) {
        let counts = self.buckets.each_ref().map(|count| count.load(Ordering::Relaxed));
        let total: u32 = counts.iter().sum();
        let (mut left, mut at) = ((total * MOST).div_ceil(100), 0);
        while left > counts[at] && at + 1 < BUCKETS {
            left -= counts[at];
            at += 1;
        }
        self.usual.store(upper_bound(at), Ordering::Relaxed);
        if total >= MANY {
            for (bucket, count) in self.buckets.iter().zip(counts) {
                bucket.fetch_sub(count.div_ceil(2), Ordering::Relaxed);
            }
        }
    }
}

fn bucket(took: Duration) -> usize {
    let micros = u32::try_from(took.as_micros()).unwrap_or(u32::MAX).max(1 << FIRST);
    let octave = micros.ilog2();
    let quarter = micros >> (octave - 2) & 3;
    ((octave - FIRST) * 4 + quarter).min(BUCKETS as u32 - 1) as usize
}

/// In microseconds.
fn upper_bound(bucket: usize) -> u64 {
    (5 + bucket as u64 % 4) << (bucket / 4 + FIRST as usize - 2)
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn ms(ms: u64) -> Duration {
        Duration::from_millis(ms)
    }

    #[test]
    fn every_time_has_a_bucket_that_holds_it() {
        for micros in [0, 1, 63, 64, 79, 80, 100, 127, 128, 1_000, 12_345, 250_000, 2_000_000, 4_000_000] {
            let upper = upper_bound(bucket(Duration::from_micros(micros)));
            assert!(micros < upper, "{micros} {upper}");
            assert!(micros <= 80 || upper <= micros * 5 / 4 + 1, "{micros} {upper}");
        }
        assert_eq!(bucket(Duration::from_secs(100)), BUCKETS - 1);
    }

    #[test]
    fn the_usual_time_is_that_of_most_answers() {
        let rtt = Rtt::default();
        (0..3).for_each(|_| rtt.record(ms(200)));
        assert_eq!(rtt.usual(), None, "too few");
        rtt.record(ms(200));
        assert!(rtt.usual().is_some_and(|usual| usual > ms(200) && usual <= ms(250)));
        // 3 of 100 take seconds: a few slow names do not make a server slow.
        (0..2000).for_each(|n| rtt.record(if n % 33 == 0 { ms(3000) } else { ms(1) }));
        assert!(rtt.usual().is_some_and(|usual| usual <= ms(2)), "{:?}", rtt.usual());
        (0..2000).for_each(|n| rtt.record(if n % 10 == 0 { ms(300) } else { ms(1) }));
        assert!(rtt.usual().is_some_and(|usual| usual >= ms(300)), "{:?}", rtt.usual());
    }

    #[test]
    fn it_follows_a_change() {
        let rtt = Rtt::default();
        (0..10_000).for_each(|_| rtt.record(ms(1)));
        (0..600).for_each(|_| rtt.record(ms(200)));
        assert!(rtt.usual().is_some_and(|usual| usual >= ms(200)));
        (0..5_000).for_each(|_| rtt.record(ms(1)));
        assert!(rtt.usual().is_some_and(|usual| usual <= ms(2)));
    }
}
