//! What the log says while the first lists have not been read.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::prefix::FROM;
use crate::host::log;
use crate::plugins::kubernetes::known::index::Index;

/// How long the data may take before the first line.
const FIRST_WORD: Duration = Duration::from_millis(500);
/// Between lines that say the same: at first and in the end.
const AGAIN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));

/// Logs that the server waits for the data, less and less often, and when they have come. Data that
/// come at once are not mentioned.
///
/// Why they do not come is logged where it is noticed. Questions wait for `patience`; that its end
/// has come is logged too.
pub async fn tell_until_synced(index: Arc<Index>, patience: Duration) {
    let (began, mut pause, mut told) = (Instant::now(), FIRST_WORD, false);
    let mut next = began + FIRST_WORD;
    let mut end = Some(began + patience);
    loop {
        let wake = end.map_or(next, |end| end.min(next));
        if tokio::time::timeout_at(wake, index.wait_synced()).await.is_ok() {
            if told {
                log::info(FROM, format_args!("Kubernetes API is synced after {:.1?}", began.elapsed()));
            }
            return;
        }
        told = true;
        if end.is_some_and(|end| wake == end) {
            end = None;
            log::warning(
                FROM,
                format_args!(
                    "serving with unsynced Kubernetes API: cluster names that are not known yet are SERVFAIL until it answers"
                ),
            );
        } else if index.is_from_snapshot() {
            log::info(FROM, format_args!("waiting for Kubernetes API; what a snapshot has is answered meanwhile"));
        } else {
            log::info(FROM, format_args!("waiting for Kubernetes API before answering cluster names"));
        }
        if wake == next {
            pause = (pause * 2).clamp(AGAIN.0, AGAIN.1);
            next += pause;
        }
    }
}
