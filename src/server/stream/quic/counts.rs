//! What is counted of connections and streams over QUIC.

use std::sync::Arc;

use crate::host::Host;
use crate::host::metrics::{Counter, Family};

static RESPONSES: Family = Family {
    name: "coredns_dns_quic_responses_total",
    help: "Ends of streams over QUIC by DoQ error code: 0x0 for a reply, 0x1 without one, 0x2 where the connection was \
           closed because its client does not keep to the protocol.",
    labels: &["server", "status"],
};
static ABANDONED: Family = Family {
    name: "signpost_quic_abandoned_streams_total",
    help: "Streams over QUIC that ended before their reply: given up by the client, or with their connection.",
    labels: &[],
};
static RETRIES: Family = Family {
    name: "signpost_quic_retries_total",
    help: "Connections over QUIC whose client had to prove its address first, because there were many others.",
    labels: &[],
};

/// The counters of all QUIC connections.
pub(super) struct Counts {
    host: Arc<Host>,
    /// Streams that ended before their reply.
    pub(super) abandoned: Counter,
    /// Clients that had to prove their address.
    pub(super) retries: Counter,
}

/// The counters of one listener's responses.
pub(super) struct Responses {
    pub(super) replied: Counter,
    pub(super) failed: Counter,
    pub(super) broken: Counter,
}

impl Counts {
    pub(super) fn new(host: &Arc<Host>) -> Self {
        Self {
            host: host.clone(),
            abandoned: host.metrics.counter(&ABANDONED, &[]),
            retries: host.metrics.counter(&RETRIES, &[]),
        }
    }

    /// Returns the counters of a listener, such as `quic://:853`.
    pub(super) fn of_listener(&self, server: &str) -> Responses {
        let counter = |status| self.host.metrics.counter(&RESPONSES, &[server, status]);
        Responses { replied: counter("0x0"), failed: counter("0x1"), broken: counter("0x2") }
    }
}
