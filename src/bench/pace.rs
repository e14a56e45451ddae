//! When the next query is due.

use std::time::Duration;

/// How queries follow each other. Times run from the start of the lane.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Pace {
    /// Open loop: one query every so many nanoseconds, whatever the server does.
    Every(f64),
    /// Closed loop: this many queries are always in flight.
    Outstanding(usize),
}

impl Pace {
    /// Returns how many more queries may be sent now.
    #[must_use]
    pub fn due(&self, now: Duration, sent: u64, outstanding: usize) -> usize {
        match *self {
            Self::Every(nanos) => {
                let due = (now.as_nanos() as f64 / nanos) as u64 + 1;
                usize::try_from(due.saturating_sub(sent)).unwrap_or(usize::MAX)
            }
            Self::Outstanding(most) => most.saturating_sub(outstanding),
        }
    }

    /// Returns whether at most half of a closed loop's queries are in flight. A loop that did not
    /// run for a while may find all of them answered, and then has no reply to wait for.
    #[must_use]
    pub fn is_low(&self, outstanding: usize) -> bool {
        matches!(*self, Self::Outstanding(most) if outstanding * 2 <= most)
    }

    /// Returns when query number `index` was due, if it is sent now.
    #[must_use]
    pub fn due_at(&self, index: u64, now: Duration) -> Duration {
        match *self {
            Self::Every(nanos) => Duration::from_nanos((index as f64 * nanos) as u64),
            Self::Outstanding(_) => now,
        }
    }

    /// Returns how long no query will be due.
    #[must_use]
    pub fn pause(&self, now: Duration, sent: u64) -> Duration {
        match self {
            Self::Every(_) => self.due_at(sent, now).saturating_sub(now),
            Self::Outstanding(_) => Duration::MAX,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn an_open_loop_does_not_wait_for_replies() {
        let pace = Pace::Every(1e6);
        assert_eq!(pace.due(Duration::ZERO, 0, 0), 1);
        assert_eq!(pace.due(MS * 10, 1, 1_000), 10, "late queries are still due");
        assert_eq!(pace.due_at(3, MS * 10), MS * 3, "and count from when they were");
        assert_eq!(pace.pause(MS * 10, 11), MS);
    }

    #[test]
    fn a_closed_loop_fills_what_is_free() {
        let pace = Pace::Outstanding(8);
        assert_eq!(pace.due(MS, 100, 5), 3);
        assert_eq!(pace.due_at(100, MS), MS);
        assert_eq!([0, 4, 5, 8].map(|outstanding| pace.is_low(outstanding)), [true, true, false, false]);
        assert!(!Pace::Every(1e6).is_low(0), "its next query has its time");
    }
}
