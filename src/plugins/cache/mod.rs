//! # cache — keep what had to be fetched
//!
//! Keeps the replies that come from upstreams, and answers from them for as long as their TTL
//! allows. What other plugins have in memory (`kubernetes`, `hosts`, `template`) is not kept,
//! because it is always current: only its TTLs are limited. When the cache is full, names that are
//! asked for often stay.
//!
//! ## Syntax
//!
//! ```text
//! cache [TTL] [ZONE...] {
//! }
//! ```
//!
//! - **TTL** is the highest TTL in seconds, for answers (3600) and for denials (1800).
//! - **ZONE** is a zone to keep answers for; by default the zones of the server block.
//!
//! Every reply that passes has one TTL, the lowest of its records within the limits.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     cache 30 {
//!         disable success cluster.local
//!         disable denial cluster.local
//!     }
//!     forward . /etc/resolv.conf
//! }
//! ```
//!
//! ```corefile
//! example.org {
//!     cache 3600 {
//!         success 5000
//!         denial 2500 60
//!         prefetch 10 1m 20%
//!         serve_stale 24h verify 500ms 30s 10s
//!     }
//!     forward . 192.0.2.1
//! }
//! ```
//!
//! ## Metrics
//!
//! Each with the labels `server`, `zones` and `view`; those with * with `type` (`success`,
//! `denial`) as well. All of them are there from the start, and after each reload.
//!
//! What plugins answer from memory counts in none of them. So the ratio of hits to requests tells
//! how many of the other questions were answered without an upstream.
//!
//! - `coredns_cache_entries`*: replies that are kept
//! - `coredns_cache_evictions_total`*: replies that went to make room for others
//! - `coredns_cache_requests_total`: questions, each of which is a hit or a miss
//! - `coredns_cache_hits_total`*: questions that were answered from the cache
//! - `coredns_cache_misses_total`: questions that were not in the cache
//! - `coredns_cache_prefetch_total`: questions asked in the background
//! - `coredns_cache_served_stale_total`: answers beyond their TTL
//! - `coredns_cache_drops_total`: always 0; `forward` ignores replies to another question

mod asked;
mod belongs;
mod class;
mod entry;
mod front;
mod keep;
mod metrics;
#[cfg(test)]
mod metrics_tests;
mod names;
#[cfg(test)]
mod pressure_tests;
mod refresh;
#[cfg(test)]
mod refresh_tests;
mod ruling;
mod setup;
#[cfg(test)]
mod stale_tests;
mod store;
#[cfg(test)]
mod tests;
#[cfg(test)]
mod trust_tests;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::sync::Semaphore;

use self::asked::Asked;
use self::entry::Entry;
use self::keep::Inner;
use self::store::Store;
use crate::chain::address::SiteAddress;
use crate::chain::doc::doc_of;
use crate::chain::setup::{Registration, Setup};
use crate::chain::{Here, Plugin, Query, Reply, Step, Turn};
use crate::corefile::Word;
use crate::error::Result;
use crate::host::pressure::Pressure;
use crate::wire::name::Name;
use crate::wire::reply::Origin;
use crate::wire::request::flag;
use crate::wire::types::{opcode, rtype};

/// The plugin.
pub const PLUGIN: Registration =
    Registration { name: "cache", setup, doc: doc_of!("mod.rs"), options: &[&setup::OPTIONS] };

/// Marks a query that was looked up and not found.
const MISSED: u32 = 1;

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let options = setup::read(s)?;
    let make = || Store::new(options.success.capacity, options.denial.capacity);
    let servers: Vec<String> = s.addresses()?.iter().map(SiteAddress::server).collect();
    let inner = Arc::new(Inner {
        store: s.host.shared.get_or_make(&identity(s), make),
        host: s.host.clone(),
        runtime: s.control(),
        behind: Arc::new(Semaphore::new(refresh::BEHIND)),
        counts: s.per_listener(),
        options,
    });
    s.chain(Cache { inner: inner.clone(), memory: s.memory_zones() });
    s.task("cache: entries", move || {
        // Shown while the configuration is live, from before the first query on.
        let shown = inner.show(&servers);
        async move {
            std::future::pending::<()>().await;
            drop(shown);
        }
    });
    Ok(())
}

/// Identifies the whole server block, on which the answers depend. Another block never sees them,
/// and neither does this one after a change to it.
fn identity(s: &Setup<'_>) -> String {
    let texts = |words: &[Word]| words.iter().map(|word| word.text.clone()).collect::<Vec<_>>();
    let directives: Vec<_> = s.block.directives.iter().map(|directive| texts(&directive.words)).collect();
    // In Rust's list syntax, so that different lists of words never look the same.
    format!("cache {:?} {directives:?}", texts(&s.block.keys))
}

struct Cache {
    inner: Arc<Inner>,
    /// Zones whose answers are always in memory: no look-up is needed.
    memory: Arc<OnceLock<Vec<Name>>>,
}

impl Cache {
    fn is_from_memory(&self, query: &Query<'_>) -> bool {
        self.memory.get().is_some_and(|zones| zones.iter().any(|zone| query.question.name.is_under(zone)))
    }

    /// Returns what an entry makes of a query.
    fn hit(&self, entry: &Entry, asked: &Asked<'_>, now: Duration, query: &Query<'_>, here: &Here<'_>) -> Step {
        let (inner, left) = (&self.inner, entry.left(now));
        if left > 0 {
            // Clients come first while queries have to be dropped.
            if inner.wants_prefetch(entry, now) && !Pressure::is_high() {
                inner.refresh_behind(entry, asked, query, here);
            }
        } else {
            if let Some(later) = inner.verify(entry, asked, query, here) {
                return Step::Wait(later);
            }
            if inner.options.stale.verify.is_none() {
                inner.refresh_behind(entry, asked, query, here);
            }
            inner.counts(here).stale.inc();
        }
        Step::Answer(inner.serve(entry, asked, left))
    }
}

impl Plugin for Cache {
    fn ask(&self, query: &mut Query<'_>, here: &Here<'_>) -> Step {
        let inner = &self.inner;
        let is_ours = inner.options.zones.iter().any(|zone| query.question.name.is_under(zone));
        // The TTLs of a transfer are those of the zone, and its failures concern one client.
        let is_transfer = matches!(query.question.qtype, rtype::AXFR | rtype::IXFR);
        if !is_ours || is_transfer || query.request.opcode() != opcode::QUERY {
            query.set_mark(here.seat, 0);
            return Step::Next;
        }
        if self.is_from_memory(query) {
            query.set_mark(here.seat, MISSED);
            return Step::Next;
        }
        let asked = Asked::new(query);
        // Most queries have just been received: the clock was read then.
        let now = if query.is_fresh() { inner.host.clock.at(query.received) } else { inner.now() };
        let hit = inner.with(asked.key().as_slice(), now, |entry| {
            inner.counts(here).hit(entry.kind.is_denial());
            self.hit(entry, &asked, now, query, here)
        });
        if let Some(step) = hit {
            return step;
        }
        query.request.flags |= flag::AD;
        query.set_mark(here.seat, MISSED);
        Step::Next
    }

    fn reply(&self, query: &mut Query<'_>, reply: &mut Reply, here: &Here<'_>) -> Turn {
        if query.mark(here.seat) == MISSED {
            let counts = self.inner.counts(here);
            // Answers from memory are never looked up here: their plugin is as fast as this one.
            if reply.origin != Origin::Memory {
                counts.miss();
            }
            self.inner.pass(&Asked::new(query), reply, counts);
        }
        Turn::Up
    }
}
