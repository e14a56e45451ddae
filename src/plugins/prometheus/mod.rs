//! # prometheus — count queries and show all metrics
//!
//! Counts the queries of the server block, and shows the metrics of the whole process under
//! /metrics in the text format of Prometheus. Counting allocates nothing, takes no lock and looks
//! up no label.
//!
//! ## Syntax
//!
//! ```text
//! prometheus [ADDRESS] [{
//! }]
//! ```
//!
//! ADDRESS is `localhost:9153` if it is not given. Without a port, as in `localhost:`, any free one
//! is taken, and the log says which.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     prometheus :9153
//!     whoami
//! }
//! ```
//!
//! ## Metrics
//!
//! Labels: `server` is the listener (`dns://:53`), `zone` the zone of the server block that the
//! name was routed by (`dropped` for queries that no server block took), `view` is empty.
//!
//! - `coredns_dns_requests_total{server, zone, view, proto, family, type}`: queries. `proto` is udp
//!   or tcp, `family` 1 (IPv4) or 2 (IPv6), `type` a well-known type or `other`.
//! - `coredns_dns_do_requests_total{server, zone, view}`: queries with the DO bit.
//! - `coredns_dns_request_size_bytes{server, zone, view, proto}`: sizes of queries as they were
//!   received.
//! - `coredns_dns_response_size_bytes{server, zone, view, proto}`: sizes of replies without OPT,
//!   neither compressed nor truncated; 0 where the server had to answer with an error by itself.
//! - `coredns_dns_request_duration_seconds{server, zone, view}`: time from the query's arrival.
//! - `coredns_dns_responses_total{server, zone, view, rcode, plugin}`: replies. `plugin` is the one
//!   that answered, and empty where the server had to answer with an error by itself. RCODEs above
//!   23 are counted as `other`. As in CoreDNS, a query that `acl` drops counts as a NOERROR of no
//!   plugin, with a size of 0.
//! - `coredns_plugin_enabled{server, zone, view, name}`: 1 for every plugin with a seat in the
//!   chain.
//! - `coredns_build_info{version, revision, goversion, signpost}`: 1; `version` is the version of
//!   CoreDNS whose behaviour this is, which inventories and alerts compare, `signpost` our own;
//!   `goversion` names the Rust version.
//! - `coredns_panics_total`: panics in plugins; each cost one query.
//! - `signpost_http_ended_connections_total{reason}`: connections to `/health`, `/ready` and
//!   `/metrics` that the server ended: `evicted` (to make room), `request not complete` (5 s),
//!   `reply not read` (30 s), `idle` (180 s), `bad request`.

mod grid;

use std::sync::{Arc, OnceLock};

use crate::chain::doc::doc_of;
use crate::chain::listener::Listener;
use crate::chain::options::{OptionOf, OptionsOf};
use crate::chain::setup::{Registration, Setup};
use crate::chain::{Here, Plugin, Query, Reply, Turn, walk};
use crate::corefile::Word;
use crate::error::Result;
use crate::host::http::Handler;
use crate::host::metrics::{Collect, Family, Gauge, Scrape};
use crate::host::{COREDNS, Host};
use crate::wire::reply::Origin;
use crate::wire::request::HEADER;
use crate::wire::types::rcode;
use grid::{Event, Grid};

/// The registration of this plugin.
pub const PLUGIN: Registration =
    Registration { name: "prometheus", setup, doc: doc_of!("mod.rs"), options: &[&OPTIONS] };

/// The content type of the page (text exposition format 0.0.4).
const CONTENT_TYPE: &str = "text/plain; version=0.0.4; charset=utf-8";

/// Names that CoreDNS dropped, and that `forward` still uses as well.
const LEGACY: [&str; 4] = [
    "coredns_forward_requests_total",
    "coredns_forward_responses_total",
    "coredns_forward_request_duration_seconds",
    "coredns_forward_healthcheck_failures_total",
];

/// Plugins that only set something up, without a seat: not shown as enabled, as in CoreDNS.
const SEATLESS: &[&str] = &[
    "root",
    "proxyproto",
    "quic",
    "grpc_server",
    "https",
    "https3",
    "timeouts",
    "multisocket",
    "reload",
    "bind",
    "debug",
    "ready",
    "health",
    "pprof",
    "tls",
    "on",
    "sign",
];

static ENABLED: Family = Family {
    name: "coredns_plugin_enabled",
    help: "Plugins that have a seat in the chain of a server block.",
    labels: &["server", "zone", "view", "name"],
};
static BUILD: Family = Family {
    name: "coredns_build_info",
    help: "Always 1; the labels say what is running.",
    labels: &["version", "revision", "goversion", "signpost"],
};
static PANICS: Family =
    Family { name: "coredns_panics_total", help: "Panics in plugins; each cost one query.", labels: &[] };

//----------- Setup ----------------------------------------------------------

struct Prometheus {
    /// The counters of each listener, by the site's ordinal. Not a `PerListener`, which makes its
    /// values on first use from the query's site: `refused` counts queries that have no site, and
    /// the zones that a listener has counters for are known during setup only.
    addresses: Vec<Counted>,
    /// The column of each seat's plugin.
    columns: OnceLock<Box<[u8]>>,
    _enabled: Vec<Gauge>,
    _process: Arc<Process>,
}

/// The counters of one listener.
struct Counted {
    server: String,
    /// By the query's zone.
    zones: Vec<Arc<Grid>>,
    /// Those of queries that no block took.
    dropped: Arc<Grid>,
}

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let Options { address, written, legacy_names } = read(s)?;
    let host = Arc::downgrade(s.host);
    let is_wanted = move |name: &str| legacy_names || !LEGACY.contains(&name);
    let text = move || host.upgrade().map(|host| host.metrics.text_of(is_wanted)).unwrap_or_default();
    s.http(&address, written, "/metrics", Handler::heavy(move || (200, CONTENT_TYPE, text())));
    let addresses = s.addresses()?;
    let addresses = addresses.iter().map(|address| {
        let server = address.server();
        let zones = address.zones.iter().map(|zone| Grid::find(s.host, &server, &zone.to_string(), "")).collect();
        Counted { zones, dropped: Grid::find(s.host, &server, "dropped", ""), server }
    });
    let plugin = Prometheus {
        addresses: addresses.collect(),
        columns: OnceLock::new(),
        _enabled: enabled(s)?,
        _process: Process::find(s.host),
    };
    s.chain(plugin);
    Ok(())
}

/// The options of the block.
struct Options<'a> {
    address: String,
    /// The word that sets the address.
    written: &'a Word,
    legacy_names: bool,
}

fn read<'a>(s: &Setup<'a>) -> Result<Options<'a>> {
    let cursor = &mut s.cursor();
    let (mut address, mut written, mut legacy_names) = ("localhost:9153".to_owned(), cursor.word(), true);
    while cursor.only_occurrence()? {
        match cursor.args()[..] {
            [] => {}
            [word] => (address, written) = (cursor.page_address(word)?, word),
            _ => return Err(cursor.arg_err()),
        }
        OPTIONS.read(cursor, &mut legacy_names, s)?;
    }
    Ok(Options { address, written, legacy_names })
}

/// Reads whether metrics are shown under the names of [`LEGACY`].
static OPTIONS: OptionsOf<bool> = OptionsOf {
    all: &[
        OptionOf {
            name: "runtime_metrics",
            form: "",
            about: "Accepted without effect: there is no Go runtime to measure.",
            read: |cursor, _, _| cursor.args_of(0..1).map(drop),
        },
        OptionOf {
            name: "legacy_names",
            form: "on|off",
            about: "Not in CoreDNS. `off` leaves out what `forward` counts under names that CoreDNS had until 1.11, \
                    and that dashboards and alerts still ask for: `coredns_forward_requests_total`, \
                    `coredns_forward_responses_total`, `coredns_forward_request_duration_seconds` and \
                    `coredns_forward_healthcheck_failures_total` (on).",
            read: |cursor, legacy_names, _| {
                *legacy_names = match cursor.args()[..] {
                    [word] if word.as_str() == "on" => true,
                    [word] if word.as_str() == "off" => false,
                    _ => return Err(cursor.error("legacy_names is `on` or `off`")),
                };
                Ok(())
            },
        },
        OptionOf {
            name: "tls",
            form: "",
            about: "",
            read: |cursor, _, _| Err(cursor.error("tls is not supported yet: metrics are served over plain HTTP alone")),
        },
    ],
    unknown: |word| format!("Error during parsing: unknown option: {word}"),
};

/// Creates a gauge for every plugin with a seat, for the block's first key on each address.
fn enabled(s: &Setup<'_>) -> Result<Vec<Gauge>> {
    let Some(first) = s.keys.first() else { return Ok(Vec::new()) };
    let names =
        || s.block.directives.iter().map(|directive| directive.name.as_str()).filter(|name| !SEATLESS.contains(name));
    let addresses = s.addresses()?;
    let first_places = addresses
        .iter()
        .filter(|address| address.transport == first.transport && address.port.to_string() == first.port);
    Ok(first_places
        .flat_map(|address| names().map(|name| (address.server(), name)))
        .map(|(server, name)| {
            let gauge = s.host.metrics.gauge(&ENABLED, &[&server, &first.zone, "", name]);
            gauge.set(1.0);
            gauge
        })
        .collect())
}

//----------- Counting -------------------------------------------------------

impl Plugin for Prometheus {
    fn reply(&self, query: &mut Query<'_>, reply: &mut Reply, here: &Here<'_>) -> Turn {
        if let Some(grid) = self.grid(query, here) {
            let own = reply.origin == Origin::Server;
            let size = if own { 0 } else { full_size(query, reply) };
            let column = if own { 0 } else { self.column(query.answered_by, here) };
            grid.count(query, &Event { size, took: query.elapsed(), rcode: reply.rcode(), column });
        }
        Turn::Up
    }

    fn dropped(&self, query: &mut Query<'_>, here: &Here<'_>) -> Turn {
        if let Some(grid) = self.grid(query, here) {
            grid.count(query, &Event { size: 0, took: query.elapsed(), rcode: rcode::NOERROR, column: 0 });
        }
        Turn::Up
    }

    fn refused(&self, query: &Query<'_>, reply: &Reply, listener: &Listener) -> bool {
        let Some(address) = self.addresses.iter().find(|address| address.server == listener.server) else {
            return false;
        };
        let event = Event { size: full_size(query, reply), took: query.elapsed(), rcode: reply.rcode(), column: 0 };
        address.dropped.count(query, &event);
        true
    }
}

impl Prometheus {
    /// Returns the counters of the zone that routed the query.
    fn grid(&self, query: &Query<'_>, here: &Here<'_>) -> Option<&Grid> {
        let address = self.addresses.get(here.site.ordinal)?;
        address.zones.get(usize::from(query.zone)).map(Arc::as_ref)
    }

    /// Returns the column of the plugin at a seat; 0 after the last one.
    fn column(&self, seat: u8, here: &Here<'_>) -> usize {
        let column = |name: &&str| grid::column_of(name) as u8;
        let columns = self.columns.get_or_init(|| here.site.chain.names().iter().map(column).collect());
        columns.get(usize::from(seat)).copied().map_or(0, usize::from)
    }
}

/// Returns the size of the reply in octets, neither compressed nor truncated, without OPT.
fn full_size(query: &Query<'_>, reply: &Reply) -> u64 {
    (HEADER + query.asked().len() + 4 + reply.answer.plain_len(query.asked().len())) as u64
}

//----------- Process --------------------------------------------------------

/// Metrics that are shown once for the whole process.
struct Process {
    _build: Gauge,
}

impl Process {
    /// Returns the instance of this process; the first caller creates and shows it.
    fn find(host: &Arc<Host>) -> Arc<Self> {
        let fresh = || {
            let rust = concat!("rust", env!("CARGO_PKG_RUST_VERSION"));
            let revision = option_env!("SIGNPOST_REVISION").unwrap_or_default();
            let build = host.metrics.gauge(&BUILD, &[COREDNS, revision, rust, env!("CARGO_PKG_VERSION")]);
            build.set(1.0);
            Self { _build: build }
        };
        shown(host, "prometheus: process", fresh)
    }
}

impl Collect for Process {
    fn collect(&self, scrape: &mut Scrape) {
        scrape.counter(&PANICS, &[], walk::panics());
    }
}

/// Returns a collector that outlives a reload; a new one is registered.
fn shown<T: Collect + 'static>(host: &Arc<Host>, key: &str, make: impl FnOnce() -> T) -> Arc<T> {
    let mut made = false;
    let collector = host.shared.get_or_make(key, || {
        made = true;
        make()
    });
    if made {
        host.metrics.register(&collector);
    }
    collector
}

#[cfg(test)]
mod tests;
