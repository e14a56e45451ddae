//! How long questions wait for the first lists.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::plugins::kubernetes::known::index::Index;

/// Ends a while after the start of the process.
pub(crate) struct Patience {
    end: Instant,
}

impl Patience {
    /// Patience that lasts for `startup_timeout`, in a process that has run for `age`.
    pub(crate) fn new(lasts: Duration, age: Duration) -> Self {
        Self { end: Instant::now() + lasts.saturating_sub(age) }
    }

    /// What a question for an unknown name waits for: the first lists, or the end of patience.
    /// Returns `None` if it need not wait.
    pub(crate) fn wait(&self, index: &Arc<Index>) -> Option<impl Future<Output = ()> + Send + 'static> {
        let left = self.end.saturating_duration_since(Instant::now());
        if index.is_synced() || left.is_zero() {
            return None;
        }
        let index = index.clone();
        Some(async move {
            // Synced or not, the next question is answered: by then patience has run out.
            let _ = tokio::time::timeout(left + Duration::from_millis(1), index.wait_synced()).await;
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_counts_from_the_start_of_the_process() {
        let (index, lasts) = (Arc::default(), Duration::from_secs(60));
        assert!(Patience::new(lasts, Duration::ZERO).wait(&index).is_some());
        assert!(Patience::new(lasts, lasts).wait(&index).is_none(), "no question of later waits");
    }
}
