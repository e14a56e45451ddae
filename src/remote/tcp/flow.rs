//! What a connection reports about itself: whether it is open, and whether a message has stalled.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// A message that stays incomplete for this long holds up all messages behind it: their queries are
/// asked elsewhere.
const STALLED: Duration = Duration::from_millis(100);

/// What a connection reports about itself.
pub(super) struct Flow {
    pub(super) opened: Instant,
    /// Its handshakes are done.
    pub(super) is_open: AtomicBool,
    /// When the message that is incomplete now began: milliseconds from `opened`, 0 between
    /// messages.
    partial: AtomicU64,
}

impl Flow {
    pub(super) fn new() -> Self {
        Self { opened: Instant::now(), is_open: AtomicBool::new(false), partial: AtomicU64::new(0) }
    }

    /// Whether a message has begun to arrive a while ago, and has not ended.
    pub(super) fn is_stalled(&self) -> bool {
        let now = self.opened.elapsed().as_millis() as u64;
        let since = self.partial.load(Ordering::Relaxed);
        since > 0 && now.saturating_sub(since) >= STALLED.as_millis() as u64
    }

    pub(super) async fn stalls(&self) {
        while !self.is_stalled() {
            tokio::time::sleep(STALLED).await;
        }
    }

    /// Notes that octets have come; `whole` if they ended a message, `rest` if they began another
    /// one.
    pub(super) fn note(&self, whole: bool, rest: bool) {
        if whole || !rest {
            self.partial.store(0, Ordering::Relaxed);
        }
        if rest && self.partial.load(Ordering::Relaxed) == 0 {
            self.partial.store(self.opened.elapsed().as_millis().max(1) as u64, Ordering::Relaxed);
        }
    }
}
