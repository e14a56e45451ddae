//! How long questions wait for the first lists.

use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use crate::plugins::kubernetes::known::index::Index;

/// Ends a while after the first question that had to wait.
pub(crate) struct Patience {
    lasts: Duration,
    end: OnceLock<Instant>,
}

impl Patience {
    /// Patience that lasts for `startup_timeout`.
    pub(crate) fn new(lasts: Duration) -> Self {
        Self { lasts, end: OnceLock::new() }
    }

    /// What a question for an unknown name waits for: the first lists, or the end of patience.
    /// Returns `None` if it need not wait.
    pub(crate) fn wait(&self, index: &Arc<Index>) -> Option<impl Future<Output = ()> + Send + 'static> {
        if index.is_synced() {
            return None;
        }
        let now = Instant::now();
        let left = self.end.get_or_init(|| now + self.lasts).saturating_duration_since(now);
        let index = index.clone();
        (!left.is_zero()).then_some(async move {
            // Synced or not, the next question is answered: by then patience has run out.
            let _ = tokio::time::timeout(left + Duration::from_millis(1), index.wait_synced()).await;
        })
    }
}
