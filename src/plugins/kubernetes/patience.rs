//! How long questions wait for the first lists.

use std::sync::OnceLock;
use std::time::{Duration, Instant};

/// Ends a while after the first question that had to wait.
pub(super) struct Patience {
    lasts: Duration,
    end: OnceLock<Instant>,
}

impl Patience {
    /// Patience for so long: `startup_timeout`.
    pub(super) fn new(lasts: Duration) -> Self {
        Self { lasts, end: OnceLock::new() }
    }

    /// How long a question may still wait for the data.
    pub(super) fn left(&self) -> Duration {
        let now = Instant::now();
        self.end.get_or_init(|| now + self.lasts).saturating_duration_since(now)
    }
}
