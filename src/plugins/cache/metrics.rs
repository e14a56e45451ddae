//! Metrics of the cache, for each listener of its server block.

use std::sync::Arc;

use super::store::Store;
use crate::host::Host;
use crate::host::metrics::{Collect, Counter, Family, Scrape};

const LABELS: &[&str] = &["server", "zones", "view"];
const TYPED: &[&str] = &["server", "type", "zones", "view"];
const TYPES: [&str; 2] = ["success", "denial"];

static ENTRIES: Family =
    Family { name: "coredns_cache_entries", help: "The number of elements in the cache.", labels: TYPED };
static REQUESTS: Family = family("coredns_cache_requests_total", "The count of cache requests.", LABELS);
static HITS: Family = family("coredns_cache_hits_total", "The count of cache hits.", TYPED);
static MISSES: Family = family(
    "coredns_cache_misses_total",
    "The count of cache misses. Deprecated, derive misses from cache hits/requests counters.",
    LABELS,
);
static PREFETCHES: Family =
    family("coredns_cache_prefetch_total", "The number of times the cache has prefetched a cached item.", LABELS);
static DROPS: Family = family(
    "coredns_cache_drops_total",
    "The number responses that are not cached, because the reply is malformed.",
    LABELS,
);
static STALE: Family =
    family("coredns_cache_served_stale_total", "The number of requests served from stale cache entries.", LABELS);
static EVICTIONS: Family = family("coredns_cache_evictions_total", "The count of cache evictions.", TYPED);

const fn family(name: &'static str, help: &'static str, labels: &'static [&'static str]) -> Family {
    Family { name, help, labels }
}

/// The counters of one listener.
pub(super) struct Counts {
    /// Background queries.
    pub(super) prefetches: Counter,
    /// Stale answers served.
    pub(super) stale: Counter,
    requests: Counter,
    misses: Counter,
    hits: [Counter; 2],
    evictions: [Counter; 2],
    store: Arc<Store>,
}

impl Counts {
    /// Returns counters for the listener `server` (`dns://:53`) and the zones of the cache.
    pub(super) fn new(host: &Host, server: &str, zones: &str, store: &Arc<Store>) -> Self {
        let plain = |family| host.metrics.counter(family, &[server, zones, ""]);
        let typed = |family| TYPES.map(|kind| host.metrics.counter(family, &[server, kind, zones, ""]));
        // All replies that arrive here match the question: `forward` drops others.
        plain(&DROPS);
        Self {
            requests: plain(&REQUESTS),
            misses: plain(&MISSES),
            prefetches: plain(&PREFETCHES),
            stale: plain(&STALE),
            hits: typed(&HITS),
            evictions: typed(&EVICTIONS),
            store: store.clone(),
        }
    }

    /// Counts a look-up that found an answer, or a denial.
    pub(super) fn hit(&self, is_denial: bool) {
        self.requests.inc();
        self.hits[usize::from(is_denial)].inc();
    }

    /// Counts a look-up that found nothing.
    pub(super) fn miss(&self) {
        self.requests.inc();
        self.misses.inc();
    }

    /// Counts evictions after an entry was stored.
    pub(super) fn stored(&self) {
        for (counter, evicted) in self.evictions.iter().zip(self.store.take_evicted()) {
            if evicted > 0 {
                counter.add(evicted);
            }
        }
    }
}

/// The number of entries, for one listener.
pub(super) struct Entries {
    server: String,
    zones: String,
    store: Arc<Store>,
}

impl Entries {
    /// Shows the number of entries until the returned value is dropped.
    pub(super) fn shown(host: &Host, server: &str, zones: &str, store: &Arc<Store>) -> Arc<Self> {
        let entries = Arc::new(Self { server: server.to_owned(), zones: zones.to_owned(), store: store.clone() });
        host.metrics.register(&entries);
        entries
    }
}

impl Collect for Entries {
    fn collect(&self, scrape: &mut Scrape) {
        for (kind, entries) in TYPES.into_iter().zip(self.store.len()) {
            scrape.gauge(&ENTRIES, &[&self.server, kind, &self.zones, ""], entries as f64);
        }
    }
}
