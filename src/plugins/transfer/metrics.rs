//! The counters of transfers and of NOTIFY messages.

use crate::host::metrics::{self, Counter, Family};

static REQUESTS: Family = Family {
    name: "signpost_transfer_requests_total",
    help: "Requests for a zone transfer: answered with the whole zone (full), or with its SOA record alone (current); refused; \
           or answered SERVFAIL because of too many transfers (busy), or without data (failed).",
    labels: &["result"],
};
static NOTIFIES: Family = Family {
    name: "signpost_transfer_notifies_total",
    help: "NOTIFY messages to secondaries, counted once for all attempts: accepted, or failed.",
    labels: &["result"],
};

/// What is counted.
#[derive(Clone)]
pub(super) struct Metrics {
    pub(super) full: Counter,
    pub(super) current: Counter,
    pub(super) refused: Counter,
    pub(super) busy: Counter,
    pub(super) failed: Counter,
    pub(super) accepted: Counter,
    pub(super) not_accepted: Counter,
}

impl Metrics {
    pub(super) fn new(metrics: &metrics::Metrics) -> Self {
        let requests = |result| metrics.counter(&REQUESTS, &[result]);
        let notifies = |result| metrics.counter(&NOTIFIES, &[result]);
        Self {
            full: requests("full"),
            current: requests("current"),
            refused: requests("refused"),
            busy: requests("busy"),
            failed: requests("failed"),
            accepted: notifies("accepted"),
            not_accepted: notifies("failed"),
        }
    }
}
