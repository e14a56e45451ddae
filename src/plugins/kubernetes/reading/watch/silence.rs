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

    fn ago(&self) -> Duration {
        Duration::from_millis(Self::clock().saturating_sub(self.0.load(Ordering::Relaxed)))
    }

    /// Milliseconds since the first call.
    fn clock() -> u64 {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_millis() as u64
    }
}

/// The streams of a source.
#[derive(Default)]
pub(in super::super) struct Silence(pub(super) Vec<Arc<Heard>>);

impl Silence {
    /// The time since the stream that has been silent for longest heard anything.
    pub(in super::super) fn longest(&self) -> Duration {
        self.0.iter().map(|heard| heard.ago()).max().unwrap_or_default()
    }
}

/// Keeps the gauge at the longest silence, in seconds.
pub(super) async fn watch_staleness(silence: Arc<Silence>, gauge: Gauge) {
    loop {
        gauge.set(silence.longest().as_secs_f64());
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
