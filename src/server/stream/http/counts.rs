//! What is counted of requests over HTTPS.

use std::sync::Arc;

use crate::host::Host;
use crate::host::metrics::{Counter, Family};

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
    host: Arc<Host>,
    /// Requests that ended before their response.
    pub(super) abandoned: Counter,
}

impl HttpCounts {
    pub(in crate::server) fn new(host: &Arc<Host>) -> Self {
        Self { host: host.clone(), abandoned: host.metrics.counter(&ABANDONED, &[]) }
    }

    /// Returns the number of responses with a status at a listener, such as `https://:443`.
    pub(super) fn responses(&self, server: &str, status: u16) -> Counter {
        self.host.metrics.counter(&RESPONSES, &[server, &status.to_string()])
    }
}
