//! The time that TTLs and windows are counted in.

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
    /// A clock that stands still unless it is moved, for tests: no busy machine makes them late.
    #[cfg(test)]
    pub(crate) fn stopped() -> Self {
        // Until then no time has passed.
        Self { start: Instant::now() + Duration::from_secs(1 << 30), ahead_ms: AtomicU64::new(0) }
    }

    /// Time since the process began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.start.elapsed() + Duration::from_millis(self.ahead_ms.load(Ordering::Relaxed))
    }

    /// Seconds since 1970, for what has a date on it (signatures).
    #[must_use]
    pub fn seconds_since_1970(&self) -> u64 {
        let ahead = Duration::from_millis(self.ahead_ms.load(Ordering::Relaxed));
        SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| (since + ahead).as_secs())
    }

    /// Lets time pass at once; for tests of what happens after hours.
    pub fn advance(&self, by: Duration) {
        self.ahead_ms.fetch_add(by.as_millis() as u64, Ordering::Relaxed);
    }
}
