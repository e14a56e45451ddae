//! What is counted of requests over HTTPS.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::host::metrics::{Collect, Counter, Family, Metrics, Scrape};

static RESPONSES: Family = Family {
    name: "coredns_dns_https_responses_total",
    help: "Responses over HTTPS by status: 200 for a message, 400 and 404 for what is no question, 500 without a reply.",
    labels: &["server", "status"],
};
static ABANDONED: Family = Family {
    name: "signpost_https_abandoned_requests_total",
    help: "Requests over HTTPS that ended before their response: reset by the client, or with their connection.",
    labels: &[],
};

/// The counters of requests over HTTPS.
pub(in crate::server) struct HttpCounts {
    responses: Arc<Responses>,
    /// Requests that ended before their response.
    pub(super) abandoned: Counter,
}

/// The number of responses for each listener and status.
#[derive(Default)]
struct Responses(Mutex<BTreeMap<(String, u16), Arc<AtomicU64>>>);

impl HttpCounts {
    pub(in crate::server) fn new(metrics: &Metrics) -> Self {
        let responses = Arc::default();
        metrics.register(&responses);
        Self { responses, abandoned: metrics.counter(&ABANDONED, &[]) }
    }

    /// Returns the number of responses with a status at a listener, such as `https://:443`.
    pub(super) fn responses(&self, server: &str, status: u16) -> Arc<AtomicU64> {
        let mut all = self.responses.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.entry((server.to_owned(), status)).or_default().clone()
    }
}

impl Collect for Responses {
    fn collect(&self, scrape: &mut Scrape) {
        for ((server, status), count) in &*self.0.lock().unwrap_or_else(PoisonError::into_inner) {
            scrape.counter(&RESPONSES, &[server, &status.to_string()], count.load(Ordering::Relaxed));
        }
    }
}
