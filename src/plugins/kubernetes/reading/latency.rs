//! DNS programming latency: the time from a change in the cluster until answers show it.

use std::time::Duration;

use crate::host::metrics::{Family, Histogram, Metrics};
use crate::plugins::kubernetes::known::model::{Service, Target};
use crate::plugins::kubernetes::known::store::Observe;

static PROGRAMMING: Family = Family {
    name: "coredns_kubernetes_dns_programming_duration_seconds",
    help: "Histogram of the time (in seconds) it took to program a dns instance.",
    labels: &["service_kind"],
};

/// 1 ms to 524 s.
const LATENCIES: &[f64] = &[
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384, 32.768,
    65.536, 131.072, 262.144, 524.288,
];

/// The latencies, by what sort of Service has changed.
pub(super) struct Latency {
    cluster_ip: Histogram,
    headless_with_selector: Histogram,
    headless_without_selector: Histogram,
}

impl Latency {
    pub(super) fn new(metrics: &Metrics) -> Self {
        let histogram = |kind| metrics.histogram(&PROGRAMMING, LATENCIES, &[kind]);
        Self {
            cluster_ip: histogram("cluster_ip"),
            headless_with_selector: histogram("headless_with_selector"),
            headless_without_selector: histogram("headless_without_selector"),
        }
    }
}

impl Observe for Latency {
    fn observe(&self, service: &Service, since: Duration) {
        let histogram = match (&service.target, service.has_selector) {
            (Target::Endpoints, true) => &self.headless_with_selector,
            (Target::Endpoints, false) => &self.headless_without_selector,
            (Target::Addresses(_) | Target::Alias(_), _) => &self.cluster_ip,
        };
        histogram.observe(since);
    }
}
