//! What forwarding counts.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use crate::host::Host;
use crate::host::metrics::{Counter, Family, Histogram};
use crate::remote::Reuse;
use crate::wire::types::rcode_name;

/// Upper bounds in seconds: 0.25 ms, doubled fifteen times.
const BOUNDS: &[f64] = &[
    0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192,
];

static PROXY_DURATION: Family = Family {
    name: "coredns_proxy_request_duration_seconds",
    help: "Histogram of the time each request took.",
    labels: &["proxy_name", "to", "rcode"],
};
static PROXY_HEALTH: Family = Family {
    name: "coredns_proxy_healthcheck_failures_total",
    help: "Counter of the number of failed healthchecks.",
    labels: &["proxy_name", "to"],
};
static HITS: Family = Family {
    name: "coredns_proxy_conn_cache_hits_total",
    help: "Counter of connection cache hits per upstream and protocol.",
    labels: &["proxy_name", "to", "proto"],
};
static MISSES: Family = Family {
    name: "coredns_proxy_conn_cache_misses_total",
    help: "Counter of connection cache misses per upstream and protocol.",
    labels: &["proxy_name", "to", "proto"],
};
static BROKEN: Family = Family {
    name: "coredns_forward_healthcheck_broken_total",
    help: "Counter of the number of complete failures of the healthchecks.",
    labels: &[],
};
static REJECTS: Family = Family {
    name: "coredns_forward_max_concurrent_rejects_total",
    help: "Counter of the number of queries rejected because the concurrent queries were at maximum.",
    labels: &[],
};
// The names below are CoreDNS's until 1.11; dashboards and alerts still ask for them.
static REQUESTS: Family =
    Family { name: "coredns_forward_requests_total", help: "Counter of requests made per upstream.", labels: &["to"] };
static RESPONSES: Family = Family {
    name: "coredns_forward_responses_total",
    help: "Counter of responses received per upstream.",
    labels: &["to", "rcode"],
};
static DURATION: Family = Family {
    name: "coredns_forward_request_duration_seconds",
    help: "Histogram of the time each request took.",
    labels: &["to", "rcode"],
};
static HEALTH: Family = Family {
    name: "coredns_forward_healthcheck_failures_total",
    help: "Counter of the number of failed healthchecks.",
    labels: &["to"],
};
static FILE_FAILURES: Family = Family {
    name: "coredns_forward_file_failures_total",
    help: "Counter of the times that a file of upstreams had none or could not be read, so that the last good list was kept.",
    labels: &["file"],
};

static GRPC_REQUESTS: Family =
    Family { name: "coredns_grpc_requests_total", help: "Counter of requests made per upstream.", labels: &["to"] };
static GRPC_RESPONSES: Family = Family {
    name: "coredns_grpc_responses_total",
    help: "Counter of responses received per upstream.",
    labels: &["rcode", "to"],
};
static GRPC_DURATION: Family = Family {
    name: "coredns_grpc_request_duration_seconds",
    help: "Histogram of the time each request took.",
    labels: &["to"],
};

/// What is counted of each upstream. The same event may count in several families.
pub(super) struct Families {
    requests: &'static Family,
    responses: &'static Family,
    durations: &'static [&'static Family],
    failed_probes: &'static [&'static Family],
}

/// The families of `forward`.
pub(super) static FORWARD: Families = Families {
    requests: &REQUESTS,
    responses: &RESPONSES,
    durations: &[&PROXY_DURATION, &DURATION],
    failed_probes: &[&PROXY_HEALTH, &HEALTH],
};

/// The families of `grpc`.
pub(super) static GRPC: Families =
    Families { requests: &GRPC_REQUESTS, responses: &GRPC_RESPONSES, durations: &[&GRPC_DURATION], failed_probes: &[] };

/// Returns the labels of a family for one upstream, in the family's order.
fn labels<'a>(family: &Family, to: &'a str, rcode: &'a str) -> Vec<&'a str> {
    let value = |label: &&str| match *label {
        "to" => to,
        "rcode" => rcode,
        // CoreDNS's label for the user of its proxies.
        _ => "forward",
    };
    family.labels.iter().map(value).collect()
}

//----------- Counts ---------------------------------------------------------

/// What is counted for all upstreams together.
pub(super) struct Total {
    /// All upstreams were down.
    pub(super) broken: Counter,
    /// A query was refused because of `max_concurrent`.
    pub(super) rejects: Counter,
}

impl Total {
    pub(super) fn new(host: &Host) -> Self {
        Self { broken: host.metrics.counter(&BROKEN, &[]), rejects: host.metrics.counter(&REJECTS, &[]) }
    }
}

/// Counts the failures of one file, or one host name, of upstreams.
pub(super) fn list_failures(host: &Host, file: &str) -> Counter {
    host.metrics.counter(&FILE_FAILURES, &[file])
}

/// What is counted for one upstream.
pub(super) struct Counts {
    host: Arc<Host>,
    to: String,
    families: &'static Families,
    requests: Counter,
    failed_probes: Vec<Counter>,
    by_rcode: [OnceLock<ByRcode>; 24],
}

struct ByRcode {
    responses: Counter,
    durations: Vec<Histogram>,
}

impl ByRcode {
    fn count(&self, took: Duration) {
        self.responses.inc();
        self.durations.iter().for_each(|histogram| histogram.observe(took));
    }
}

impl Counts {
    pub(super) fn new(host: &Arc<Host>, families: &'static Families, to: &str) -> Self {
        let counter = |family: &'static Family| host.metrics.counter(family, &labels(family, to, ""));
        Self {
            requests: counter(families.requests),
            failed_probes: families.failed_probes.iter().map(|family| counter(family)).collect(),
            by_rcode: [const { OnceLock::new() }; 24],
            to: to.to_owned(),
            families,
            host: host.clone(),
        }
    }

    /// Counts for the sockets of one protocol.
    pub(super) fn reuse(&self, proto: &str) -> Reuse {
        let labels = ["forward", &self.to, proto];
        Reuse { hits: self.host.metrics.counter(&HITS, &labels), misses: self.host.metrics.counter(&MISSES, &labels) }
    }

    /// A query is sent.
    pub(super) fn request(&self) {
        self.requests.inc();
    }

    /// A query was answered.
    pub(super) fn response(&self, rcode: u16, took: Duration) {
        match self.by_rcode.get(usize::from(rcode)) {
            Some(slot) => slot.get_or_init(|| self.by_rcode(rcode)).count(took),
            None => self.by_rcode(rcode).count(took),
        }
    }

    /// A probe got no answer.
    pub(super) fn failed_probe(&self) {
        self.failed_probes.iter().for_each(Counter::inc);
    }

    fn by_rcode(&self, rcode: u16) -> ByRcode {
        let number = rcode.to_string();
        let rcode = rcode_name(rcode).unwrap_or(&number);
        let (metrics, Families { responses, durations, .. }) = (&self.host.metrics, self.families);
        let histogram = |family: &&'static Family| metrics.histogram(family, BOUNDS, &labels(family, &self.to, rcode));
        ByRcode {
            responses: metrics.counter(responses, &labels(responses, &self.to, rcode)),
            durations: durations.iter().map(histogram).collect(),
        }
    }
}
