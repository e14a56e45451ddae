//! When the primaries of a zone are asked, and when a copy is too old to be served. Pure: time is
//! an argument.

use std::time::Duration;

use tokio::time::Instant;

use crate::zone::data::Soa;

/// The first pause and the longest one between attempts to get a first copy.
const FIRST: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(10));

/// How much later than the SOA record says a check may come, so that secondaries do not ask all at
/// once: the first check, and one after a failure. As in CoreDNS.
const JITTER: (Duration, Duration) = (Duration::from_secs(5), Duration::from_secs(2));

/// The least pause between two checks that NOTIFY causes.
pub(super) const NOTIFIED: Duration = Duration::from_secs(1);

/// The times of one copy.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Schedule {
    /// When the primaries are asked next.
    pub(super) check: Instant,
    /// When the copy is too old; `None` without a copy.
    pub(super) expire: Option<Instant>,
    /// When the primaries were last asked.
    asked: Option<Instant>,
    failures: u32,
}

impl Schedule {
    /// Returns the times of a zone without a copy: the primaries are asked at once.
    pub(super) fn new(now: Instant) -> Self {
        Self { check: now, expire: None, asked: None, failures: 0 }
    }

    /// Notes that a primary has confirmed or renewed the copy. `jitter` is between 0 and 1.
    pub(super) fn succeeded(&mut self, now: Instant, soa: &Soa, jitter: f64) {
        self.failures = 0;
        self.asked = Some(now);
        self.check = now + seconds(soa.refresh) + JITTER.0.mul_f64(jitter);
        self.expire = Some(now + seconds(soa.expire));
    }

    /// Notes that all primaries have failed. `soa` is that of the copy, if there is one.
    pub(super) fn failed(&mut self, now: Instant, soa: Option<&Soa>, jitter: f64) {
        let pause = match soa {
            Some(soa) => seconds(soa.retry) + JITTER.1.mul_f64(jitter),
            None => FIRST.0.saturating_mul(1 << self.failures.min(16)).min(FIRST.1),
        };
        self.failures += 1;
        self.asked = Some(now);
        self.check = now + pause;
    }

    /// Notes that the copy is too old, and returns whether it is.
    pub(super) fn expires(&mut self, now: Instant) -> bool {
        self.expire.take_if(|expire| *expire <= now).is_some()
    }

    /// Notes that a primary has sent NOTIFY: the check comes sooner.
    pub(super) fn hurry(&mut self, now: Instant) {
        let earliest = self.asked.map_or(now, |asked| now.max(asked + NOTIFIED));
        self.check = self.check.min(earliest);
    }
}

/// A time of a SOA record; at least a second, as in CoreDNS.
fn seconds(seconds: u32) -> Duration {
    Duration::from_secs(u64::from(seconds.max(1)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SOA: Soa = Soa { serial: 1, refresh: 60, retry: 10, expire: 600, minimum: 5 };

    #[test]
    fn a_first_copy_is_tried_ever_more_seldom() {
        let start = Instant::now();
        let mut times = Schedule::new(start);
        assert_eq!(times.check, start);
        let mut pauses = Vec::new();
        for _ in 0..40 {
            let now = times.check;
            times.failed(now, None, 0.5);
            pauses.push((times.check - now).as_millis());
        }
        assert_eq!((&pauses[..7], pauses[39]), (&[250, 500, 1000, 2000, 4000, 8000, 10000][..], 10000));
    }

    #[test]
    fn a_copy_is_checked_as_its_soa_says_and_expires() {
        let start = Instant::now();
        let mut times = Schedule::new(start);
        times.succeeded(start, &SOA, 1.0);
        assert_eq!(times.check - start, Duration::from_secs(65));
        let mut now = times.check;
        let mut checks = 0;
        while times.check < start + Duration::from_secs(600) {
            times.failed(now, Some(&SOA), 0.0);
            (checks, now) = (checks + 1, times.check);
            assert!(times.expire.is_some());
        }
        assert_eq!(checks, 54);
        assert!(!times.expires(start + Duration::from_secs(599)));
        assert!(times.expires(start + Duration::from_secs(600)) && !times.expires(start + Duration::from_secs(601)));
        times.succeeded(now, &SOA, 0.0);
        assert_eq!(times.expire, Some(now + Duration::from_secs(600)));
    }

    #[test]
    fn news_make_a_check_come_sooner_and_no_more_than_one_each_second() {
        let start = Instant::now();
        let mut times = Schedule::new(start);
        times.succeeded(start, &SOA, 0.0);
        times.hurry(start + Duration::from_millis(300));
        assert_eq!(times.check, start + NOTIFIED);
        times.hurry(start + Duration::from_millis(900));
        assert_eq!(times.check, start + NOTIFIED, "no later");
        times.succeeded(start + NOTIFIED, &SOA, 0.0);
        times.hurry(start + Duration::from_secs(30));
        assert_eq!(times.check, start + Duration::from_secs(30));
    }
}
