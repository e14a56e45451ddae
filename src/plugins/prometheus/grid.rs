//! All counters of one server, zone and view: one block of cells, located by arithmetic.

use std::sync::Arc;
use std::time::Duration;

use super::shown;
use crate::chain::{Proto, Query};
use crate::host::Host;
use crate::host::metrics::{Block, Buckets, Collect, Family, Scrape};
use crate::plugins;
use crate::wire::types::{rcode_name, type_name};

static REQUESTS: Family = Family {
    name: "coredns_dns_requests_total",
    help: "Queries by protocol, address family and type.",
    labels: &["server", "zone", "view", "proto", "family", "type"],
};
static DO_REQUESTS: Family = Family {
    name: "coredns_dns_do_requests_total",
    help: "Queries with the DO bit.",
    labels: &["server", "zone", "view"],
};
static REQUEST_SIZE: Family = Family {
    name: "coredns_dns_request_size_bytes",
    help: "Sizes of queries as they were received, in octets.",
    labels: &["server", "zone", "view", "proto"],
};
static RESPONSE_SIZE: Family = Family {
    name: "coredns_dns_response_size_bytes",
    help: "Sizes of replies in octets, neither compressed nor truncated.",
    labels: &["server", "zone", "view", "proto"],
};
static DURATION: Family = Family {
    name: "coredns_dns_request_duration_seconds",
    help: "Seconds from the arrival of a query to its reply.",
    labels: &["server", "zone", "view"],
};
static RESPONSES: Family = Family {
    name: "coredns_dns_responses_total",
    help: "Replies by RCODE and by the plugin that answered.",
    labels: &["server", "zone", "view", "rcode", "plugin"],
};

const SIZES: &[f64] = &[0.0, 100.0, 200.0, 300.0, 400.0, 511.0, 1023.0, 2047.0, 4095.0, 8291.0, 16e3, 32e3, 48e3, 64e3];
const SECONDS: &[f64] = &[
    0.00025, 0.0005, 0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192,
];

/// Types with their own label; all others are `other`.
const TYPES: &[u16] = &[1, 28, 5, 48, 43, 15, 47, 50, 2, 12, 46, 6, 33, 16, 65, 64, 251, 252, 255];
const KINDS: usize = TYPES.len() + 1;
const PROTOS: [&str; 2] = ["udp", "tcp"];
const FAMILIES: [&str; 2] = ["1", "2"];

/// RCODEs 0 to 23 have a cell each, the others share one.
const RCODES: usize = 25;

const DO_CELL: usize = PROTOS.len() * FAMILIES.len() * KINDS;
const REQUEST_SIZES: usize = DO_CELL + 1;
const RESPONSE_SIZES: usize = REQUEST_SIZES + PROTOS.len() * Buckets::cells(SIZES);
const DURATIONS: usize = RESPONSE_SIZES + PROTOS.len() * Buckets::cells(SIZES);
const REPLIES: usize = DURATIONS + Buckets::cells(SECONDS);

/// Returns the column of a plugin in the counters of replies; column 0 is the server itself.
pub(super) fn column_of(plugin: &str) -> usize {
    plugins::ALL.iter().position(|known| known.name == plugin).map_or(0, |at| at + 1)
}

//----------- Grid -----------------------------------------------------------

/// The counters of one server, zone and view.
pub(super) struct Grid {
    labels: [String; 3],
    block: Arc<Block>,
    request_sizes: [Buckets; 2],
    response_sizes: [Buckets; 2],
    durations: Buckets,
}

/// The facts of a reply that are counted.
pub(super) struct Event {
    /// Size of the reply in octets.
    pub(super) size: u64,
    /// Time since the query arrived.
    pub(super) took: Duration,
    /// RCODE of the reply.
    pub(super) rcode: u16,
    /// The plugin that answered, see [`column_of`].
    pub(super) column: usize,
}

impl Grid {
    /// Returns the counters of these labels; they continue after a reload.
    pub(super) fn find(host: &Arc<Host>, server: &str, zone: &str, view: &str) -> Arc<Self> {
        shown(host, &format!("prometheus: {server} {zone} {view}"), || {
            Self::new([server, zone, view].map(str::to_owned))
        })
    }

    fn new(labels: [String; 3]) -> Self {
        let block = Arc::new(Block::new(REPLIES + RCODES * (plugins::ALL.len() + 1)));
        let sizes = |first: usize| {
            [0, 1].map(|proto| Buckets::within(&block, first + proto * Buckets::cells(SIZES), SIZES, 1.0))
        };
        Self {
            labels,
            request_sizes: sizes(REQUEST_SIZES),
            response_sizes: sizes(RESPONSE_SIZES),
            durations: Buckets::within(&block, DURATIONS, SECONDS, 1e-9),
            block,
        }
    }

    /// Counts a query and its reply.
    pub(super) fn count(&self, query: &Query<'_>, event: &Event) {
        let proto = usize::from(query.client.proto == Proto::Tcp);
        let family = usize::from(query.client.peer.ip().to_canonical().is_ipv6());
        let kind = TYPES.iter().position(|&known| known == query.request.qtype).unwrap_or(TYPES.len());
        let own = self.block.own();
        own.add((proto * FAMILIES.len() + family) * KINDS + kind, 1);
        if query.dnssec_ok() {
            own.add(DO_CELL, 1);
        }
        self.request_sizes[proto].observe_in(&own, query.packet().len() as u64);
        self.response_sizes[proto].observe_in(&own, event.size);
        self.durations.observe_in(&own, event.took.as_nanos() as u64);
        let rcode = usize::from(event.rcode).min(RCODES - 1);
        own.add(REPLIES + event.column * RCODES + rcode, 1);
    }
}

impl Collect for Grid {
    fn collect(&self, scrape: &mut Scrape) {
        let [server, zone, view] = self.labels.each_ref().map(String::as_str);
        for (at, cell) in (0..DO_CELL).filter_map(|cell| Some((cell, non_zero(self.block.sum(cell))?))) {
            let (kind, family, proto) = (at % KINDS, at / KINDS % FAMILIES.len(), at / KINDS / FAMILIES.len());
            let kind = TYPES.get(kind).and_then(|&known| type_name(known)).unwrap_or("other");
            scrape.counter(&REQUESTS, &[server, zone, view, PROTOS[proto], FAMILIES[family], kind], cell);
        }
        if let Some(count) = non_zero(self.block.sum(DO_CELL)) {
            scrape.counter(&DO_REQUESTS, &[server, zone, view], count);
        }
        for (proto, name) in PROTOS.iter().enumerate() {
            scrape.histogram(&REQUEST_SIZE, &[server, zone, view, name], &self.request_sizes[proto]);
            scrape.histogram(&RESPONSE_SIZE, &[server, zone, view, name], &self.response_sizes[proto]);
        }
        scrape.histogram(&DURATION, &[server, zone, view], &self.durations);
        for cell in 0..RCODES * (plugins::ALL.len() + 1) {
            let Some(count) = non_zero(self.block.sum(REPLIES + cell)) else { continue };
            let (rcode, column) = (cell % RCODES, cell / RCODES);
            let plugin = column.checked_sub(1).map_or("", |at| plugins::ALL[at].name);
            let number = format!("RCODE{rcode}");
            let name = rcode_name(rcode as u16).unwrap_or(if rcode == RCODES - 1 { "other" } else { &number });
            scrape.counter(&RESPONSES, &[server, zone, view, name, plugin], count);
        }
    }
}

fn non_zero(count: u64) -> Option<u64> {
    (count > 0).then_some(count)
}
