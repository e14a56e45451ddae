//! When to try again, when to list again, and when a missing collection counts as empty: pure, time
//! is an argument.

use std::time::Duration;

use tokio::time::Instant;

use super::failure::Failure;
use super::timing::Timing;

//----------- Pace -----------------------------------------------------------

/// How long to wait after a failure.
#[derive(Default)]
pub(super) struct Pace {
    unreachable: Option<Instant>,
    failures: u32,
}

impl Pace {
    /// Something worked.
    pub(super) fn succeeded(&mut self) {
        self.failures = 0;
    }

    /// Whether the server could not be reached and has not been seen to work since.
    pub(super) fn is_outage(&self) -> bool {
        self.unreachable.is_some() && self.failures > 0
    }

    /// How long to wait after this failure; `random` is between 0 and 1.
    ///
    /// A server that is not there is tried all the time, so that we are back at once when it is.
    /// One that refuses in the moments after it came up is still starting. Else we wait longer each
    /// time, but at least as long as it asks for.
    pub(super) fn failed(&mut self, failure: &Failure, now: Instant, timing: &Timing, random: f64) -> Duration {
        let (least, most) = (*timing.retry.start(), *timing.retry.end());
        let soon = least + (most - least).mul_f64(random);
        self.failures = self.failures.saturating_add(1);
        match failure {
            Failure::Unreachable(_) => {
                self.unreachable = Some(now);
                soon
            }
            Failure::Refused { retry_after: Some(after), .. } => after.mul_f64(1.0 + 0.15 * random),
            _ if self.unreachable.is_some_and(|then| now < then + timing.starting) => soon,
            _ => {
                let wait = most.saturating_mul(1 << (self.failures - 1).min(10)).min(timing.backoff_max);
                wait.mul_f64(0.75 + 0.25 * random)
            }
        }
    }
}

//----------- Relists --------------------------------------------------------

/// Lets lists through that are read again because the old place in the stream has expired.
///
/// A few at once, then one in a while: servers that have lost their memory get all clients at the
/// same time.
pub(super) struct Relists {
    tokens: f64,
    at: Instant,
}

/// How many lists may be read at once.
const RELISTS: f64 = 3.0;

impl Relists {
    pub(super) fn new(now: Instant) -> Self {
        Self { tokens: RELISTS, at: now }
    }

    /// A server that comes back has forgotten old places in the stream: the list that follows is no
    /// storm.
    pub(super) fn server_was_away(&mut self, now: Instant) {
        *self = Self::new(now);
    }

    /// How long to wait before the next list.
    pub(super) fn wait(&mut self, now: Instant, timing: &Timing) -> Duration {
        let every = timing.relist_every.as_secs_f64();
        self.tokens = RELISTS.min(self.tokens + now.saturating_duration_since(self.at).as_secs_f64() / every);
        self.at = now;
        self.tokens -= 1.0;
        Duration::from_secs_f64((-self.tokens).max(0.0) * every)
    }
}

//----------- Absence --------------------------------------------------------

/// How long a collection that clusters may lack has been missing.
#[derive(Default)]
pub(super) struct Absence {
    since: Option<Instant>,
    known: bool,
}

/// What a missing collection means.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Absent {
    /// Nothing yet: the server may only be starting.
    Briefly,
    /// The cluster lacks it. This is said once in the life of a stream.
    First,
    /// The same, said before.
    Still,
}

impl Absence {
    /// The server has the collection.
    pub(super) fn over(&mut self) {
        self.since = None;
    }

    /// The server does not have the collection.
    pub(super) fn lasts(&mut self, now: Instant, timing: &Timing) -> Absent {
        if now < *self.since.get_or_insert(now) + timing.missing {
            return Absent::Briefly;
        }
        if std::mem::replace(&mut self.known, true) { Absent::Still } else { Absent::First }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(status: u16, retry_after: Option<u64>) -> Failure {
        let retry_after = retry_after.map(Duration::from_secs);
        Failure::Refused { status, message: String::new(), retry_after }
    }

    #[test]
    fn a_lost_server_is_tried_soon_and_a_refusing_one_ever_later() {
        let (now, timing, mut pace) = (Instant::now(), Timing::default(), Pace::default());
        let lost = Failure::Unreachable(String::new());
        for _ in 0..100 {
            let wait = pace.failed(&lost, now, &timing, 0.5);
            assert!(wait >= Duration::from_millis(300) && wait <= Duration::from_secs(1), "{wait:?}");
        }
        assert!(pace.failed(&refused(403, None), now + Duration::from_secs(5), &timing, 1.0) <= Duration::from_secs(1));
        let later = now + Duration::from_secs(60);
        pace.succeeded();
        let waits: Vec<_> = (0..8).map(|_| pace.failed(&refused(403, None), later, &timing, 1.0).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 30, 30, 30]);
    }

    #[test]
    fn retry_after_is_honoured() {
        let (now, timing, mut pace) = (Instant::now(), Timing::default(), Pace::default());
        for random in [0.0, 1.0] {
            let wait = pace.failed(&refused(429, Some(10)), now, &timing, random).as_secs_f64();
            assert!((10.0..=12.0).contains(&wait), "{wait}");
        }
    }

    #[test]
    fn three_lists_at_once_then_two_a_minute() {
        let (timing, start) = (Timing::default(), Instant::now());
        let (mut relists, mut now, mut times) = (Relists::new(start), start, Vec::new());
        for _ in 0..6 {
            now += relists.wait(now, &timing);
            times.push((now - start).as_secs());
        }
        assert_eq!(times, [0, 0, 0, 30, 60, 90]);
        assert!(relists.wait(now + Duration::from_secs(600), &timing).is_zero());
    }

    #[test]
    fn a_server_that_was_away_is_listed_at_once_each_time() {
        let (timing, now) = (Timing::default(), Instant::now());
        let mut relists = Relists::new(now);
        for _ in 0..10 {
            relists.server_was_away(now);
            assert!(relists.wait(now, &timing).is_zero());
        }
    }

    #[test]
    fn a_collection_is_missing_after_a_while() {
        let (mut absence, timing, start) = (Absence::default(), Timing::default(), Instant::now());
        let after = |seconds| start + Duration::from_secs(seconds);
        assert_eq!(absence.lasts(start, &timing), Absent::Briefly);
        assert_eq!(absence.lasts(after(9), &timing), Absent::Briefly);
        assert_eq!(absence.lasts(after(10), &timing), Absent::First);
        assert_eq!(absence.lasts(after(40), &timing), Absent::Still);
        absence.over();
        assert_eq!(absence.lasts(after(70), &timing), Absent::Briefly, "it was there in between");
        assert_eq!(absence.lasts(after(80), &timing), Absent::Still);
    }
}
