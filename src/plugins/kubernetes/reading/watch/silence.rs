//! How long each watch has been silent.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::host::metrics::Gauge;

/// When a stream last heard something of the API server.
pub(super) struct Heard(AtomicU64);

impl Heard {
    pub(super) fn new() -> Self {
        let heard = Self(AtomicU64::new(0));
        heard.now();
        heard
    }

    /// Something was heard just now.
    pub(super) fn now(&self) {
        self.0.store(Self::clock(), Ordering::Relaxed);
    }

    /// Seconds since then.
    pub(super) fn ago(&self) -> f64 {
        Self::clock().saturating_sub(self.0.load(Ordering::Relaxed)) as f64 / 1e3
    }

    /// Milliseconds since the first call.
    fn clock() -> u64 {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_millis() as u64
    }
}

/// Keeps the gauge at the longest silence, in seconds.
pub(super) async fn watch_staleness(heard: Vec<Arc<Heard>>, gauge: Gauge) {
    loop {
        gauge.set(heard.iter().map(|heard| heard.ago()).fold(0.0, f64::max));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
