//! What is counted of requests, over HTTPS and by gRPC.

use std::cell::RefCell;
use std::sync::Arc;

use super::dialect::Dialect;
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
static GRPC_RESPONSES: Family = Family {
    name: "signpost_grpc_responses_total",
    help: "Responses to calls of gRPC by status: OK for a message, UNKNOWN without a reply, others for what is no question.",
    labels: &["server", "status"],
};
static GRPC_ABANDONED: Family = Family {
    name: "signpost_grpc_abandoned_calls_total",
    help: "Calls of gRPC that ended before their response: reset by the client, or with their connection.",
    labels: &[],
};

/// The counters of requests.
pub(in crate::server) struct HttpCounts {
    host: Arc<Host>,
    https_abandoned: Counter,
    grpc_abandoned: Counter,
}

impl HttpCounts {
    pub(in crate::server) fn new(host: &Arc<Host>) -> Self {
        let counter = |family| host.metrics.counter(family, &[]);
        Self { host: host.clone(), https_abandoned: counter(&ABANDONED), grpc_abandoned: counter(&GRPC_ABANDONED) }
    }

    /// Counts requests that ended before their response.
    pub(super) fn abandoned(&self, dialect: Dialect) -> &Counter {
        match dialect {
            Dialect::Doh => &self.https_abandoned,
            Dialect::Grpc => &self.grpc_abandoned,
        }
    }

    /// Counts the responses with a status at a listener, such as `https://:443`.
    pub(super) fn responses(&self, dialect: Dialect, server: &str, status: &str) -> Counter {
        let family = match dialect {
            Dialect::Doh => &RESPONSES,
            Dialect::Grpc => &GRPC_RESPONSES,
        };
        self.host.metrics.counter(family, &[server, status])
    }
}

/// The counters of responses that a connection has needed.
#[derive(Default)]
pub(super) struct Counted(RefCell<Vec<(&'static str, Counter)>>);

impl Counted {
    /// Counts a response with a status. `find` gets the counter of its first one.
    pub(super) fn count(&self, status: &'static str, find: impl FnOnce() -> Counter) {
        let mut counted = self.0.borrow_mut();
        let at = counted.iter().position(|(known, _)| *known == status).unwrap_or_else(|| {
            counted.push((status, find()));
            counted.len() - 1
        });
        counted[at].1.inc();
    }
}
