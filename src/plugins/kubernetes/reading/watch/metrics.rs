//! What the watches count.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::host::Host;
use crate::host::metrics::{Counter, Family, Gauge, Histogram};

/// CoreDNS's buckets for requests, in seconds.
const SECONDS: &[f64] = &[0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0];

static DURATION: Family = Family {
    name: "coredns_kubernetes_rest_client_request_duration_seconds",
    help: "Request latency in seconds. Broken down by verb and host.",
    labels: &["verb", "host"],
};
static LIMITER: Family = Family {
    name: "coredns_kubernetes_rest_client_rate_limiter_duration_seconds",
    help: "Client side rate limiter latency in seconds. Broken down by verb and host.",
    labels: &["verb", "host"],
};
static REQUESTS: Family = Family {
    name: "coredns_kubernetes_rest_client_requests_total",
    help: "Number of HTTP requests, partitioned by status code, method, and host.",
    labels: &["code", "method", "host"],
};
static REPAIRED: Family = Family {
    name: "signpost_kubernetes_watch_gap_repaired_total",
    help: "Objects that a watch had silently missed and a repeated list set right.",
    labels: &["resource"],
};
static HELD: Family = Family {
    name: "signpost_kubernetes_list_held_total",
    help: "Lists that lacked most of what was known and were read again before they were believed.",
    labels: &["resource"],
};
static BAD: Family = Family {
    name: "signpost_kubernetes_bad_objects_total",
    help: "Objects that could not be used, or not in full.",
    labels: &["resource"],
};
static STALENESS: Family = Family {
    name: "signpost_kubernetes_watch_staleness_seconds",
    help: "Seconds since the watch that has been silent for longest heard anything of the API server.",
    labels: &[],
};

/// Requests, as client-go counts them for CoreDNS. All of ours are GET.
pub(super) struct Requests {
    host: Arc<Host>,
    server: String,
    took: Histogram,
    by_code: Mutex<HashMap<String, Counter>>,
}

impl Requests {
    pub(super) fn new(host: &Arc<Host>, server: &str) -> Self {
        let took = host.metrics.histogram(&DURATION, SECONDS, &["GET", server]);
        // There is no limiter, so each request has waited for 0 s. The family exists for
        // dashboards.
        host.metrics.histogram(&LIMITER, SECONDS, &["GET", server]).observe(Duration::ZERO);
        Self { host: host.clone(), server: server.to_owned(), took, by_code: Mutex::default() }
    }

    /// Counts the time that a list or page took.
    pub(super) fn took(&self, time: Duration) {
        self.took.observe(time);
    }

    /// A request was answered with this status, or `<error>`.
    pub(super) fn count(&self, code: &str) {
        let mut by_code = self.by_code.lock().unwrap_or_else(PoisonError::into_inner);
        let fresh = || self.host.metrics.counter(&REQUESTS, &[code, "GET", &self.server]);
        by_code.entry(code.to_owned()).or_insert_with(fresh).inc();
    }
}

/// What is counted for each stream.
pub(super) struct Counts {
    /// Objects that a repeated list set right.
    pub(super) repaired: Counter,
    /// Lists that were not believed at once.
    pub(super) held: Counter,
    /// Objects that could not be used in full.
    pub(super) bad: Counter,
}

impl Counts {
    pub(super) fn new(host: &Host, resource: &str) -> Self {
        let counter = |family| host.metrics.counter(family, &[resource]);
        Self { repaired: counter(&REPAIRED), held: counter(&HELD), bad: counter(&BAD) }
    }
}

/// Shows how old the data may be; see [`STALENESS`].
///
/// An API server sends each watch a bookmark a minute, so up to 75 s are nothing special.
pub(super) fn staleness(host: &Host) -> Gauge {
    host.metrics.gauge(&STALENESS, &[])
}
