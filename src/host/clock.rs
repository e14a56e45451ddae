//! The clock for TTLs and time windows.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A monotonic clock that tests can move forward.
#[derive(Debug)]
pub struct Clock {
    start: Instant,
    ahead_ms: AtomicU64,
}

impl Default for Clock {
    fn default() -> Self {
        Self { start: Instant::now(), ahead_ms: AtomicU64::new(0) }
    }
}

impl Clock {
    /// A clock that stands still until a test moves it, so that a busy machine cannot make a test
    /// late.
    #[cfg(test)]
    pub(crate) fn stopped() -> Self {
        // With a start in the future, no time passes.
        Self { start: Instant::now() + Duration::from_secs(1 << 30), ahead_ms: AtomicU64::new(0) }
    }

    /// Returns the time since the process started.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.at(Instant::now())
    }

    /// Returns the time from the start of the process to `instant`, which must not be long ago: the
    /// clock may have been moved since.
    #[must_use]
    pub fn at(&self, instant: Instant) -> Duration {
        instant.saturating_duration_since(self.start) + Duration::from_millis(self.ahead_ms.load(Ordering::Relaxed))
    }

    /// Returns the seconds since 1970, for dates in signatures.
    #[must_use]
    pub fn seconds_since_1970(&self) -> u64 {
        let ahead = Duration::from_millis(self.ahead_ms.load(Ordering::Relaxed));
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| (since + ahead).as_secs())
    }

    /// Moves the clock forward, for tests of what happens after hours.
    pub fn advance(&self, by: Duration) {
        self.ahead_ms.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
    }
}
