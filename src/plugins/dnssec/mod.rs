//! # dnssec — sign answers on the fly
//!
//! Signs what the plugins below answer, for clients that want signatures (the DO bit), and answers
//! DNSKEY for its zones. Use it for zones that have no signatures of their own, such as those of
//! *kubernetes*.
//!
//! That a name or type does not exist is said by an NSEC record about this name alone ("black
//! lies"): NXDOMAIN becomes NOERROR, and the record lists the types that a name may have, without
//! the one in the question. NSEC3 is not made.
//!
//! Signatures are good for 8 days, from 3 hours ago. They are kept, and made again 2 days before
//! they expire. Other threads than those that answer make them: a query waits until its signatures
//! are there. At most 512 queries wait at a time, and a client cannot have more than are still
//! free; others get SERVFAIL.
//!
//! ## Syntax
//!
//! ```text
//! dnssec [ZONES...] {
//! }
//! ```
//!
//! - **ZONES** are the zones to sign; by default those of the server block.
//!
//! If there are keys with the SEP flag (KSK) and keys without it (ZSK), the former sign the DNSKEY
//! records, the latter all others. Otherwise each key signs everything. A key signs zones of its
//! own name and those below it.
//!
//! The algorithms are ECDSAP256SHA256 (prefer it), ECDSAP384SHA384, ED25519, RSASHA256 and
//! RSASHA512; RSA keys have 2048 to 4096 bits.
//!
//! ## Examples
//!
//! Make a key with `dnssec-keygen -a ECDSAP256SHA256 -f KSK cluster.local`, mount both files from a
//! Secret, and sign the zone of the cluster:
//!
//! ```text
//! cluster.local {
//!     dnssec {
//!         key file /keys/Kcluster.local.+013+45129
//!     }
//!     kubernetes
//! }
//! ```
//!
//! ## Metrics
//!
//! - `coredns_dnssec_cache_entries{server,type}`: sets of records whose signatures are kept;
//!   `type` is `signature`
//! - `coredns_dnssec_cache_hits_total{server}`, `coredns_dnssec_cache_misses_total{server}`: sets
//!   whose signatures were found, or had to be made
//! - `signpost_dnssec_refused_total{server}`: replies that became SERVFAIL because too many
//!   signatures were being made, or because a key failed

mod plan;
mod setup;
mod signer;
#[cfg(test)]
mod tests;

use std::net::IpAddr;
use std::sync::Arc;

use tokio::sync::Semaphore;

use self::plan::{Plan, Wanted};
use self::setup::{OPTIONS, Options};
use self::signer::{Signatures, Signer};
use crate::chain::control::Control;
use crate::chain::doc::doc_of;
use crate::chain::per_listener::PerListener;
use crate::chain::places::Places;
use crate::chain::setup::{Registration, Setup};
use crate::chain::zones::Zones;
use crate::chain::{Here, Later, Plugin, Query, Reply, Step, Turn};
use crate::host::Host;
use crate::host::metrics::{Counter, Family, Gauge};
use crate::wire::answer::{Answer, Section};
use crate::wire::encode::{Encoder, Owner};
use crate::wire::name::Name;
use crate::wire::question::Question;
use crate::wire::request::flag;
use crate::wire::types::{class, rcode, rtype};

/// The registration of this plugin.
pub const PLUGIN: Registration =
    Registration { name: "dnssec", setup: set_up, doc: doc_of!("mod.rs"), options: &[&OPTIONS] };

static ENTRIES: Family = Family {
    name: "coredns_dnssec_cache_entries",
    help: "The number of elements in the dnssec cache.",
    labels: &["server", "type"],
};
static HITS: Family =
    Family { name: "coredns_dnssec_cache_hits_total", help: "The count of cache hits.", labels: &["server"] };
static MISSES: Family =
    Family { name: "coredns_dnssec_cache_misses_total", help: "The count of cache misses.", labels: &["server"] };
static REFUSED: Family = Family {
    name: "signpost_dnssec_refused_total",
    help: "Replies that became SERVFAIL because too many signatures were being made, or because a key failed.",
    labels: &["server"],
};

/// Queries of the process that wait for signatures at a time.
const PLACES: usize = 512;

fn set_up(s: &mut Setup<'_>) -> crate::error::Result<()> {
    let Options { zones, keys, capacity } = Options::read(s)?;
    if keys.is_empty() {
        // Without a key there is nothing to add.
        return Ok(());
    }
    // Half of the processors, so that those that answer have the others.
    let threads = || Semaphore::new(std::thread::available_parallelism().map_or(1, |all| all.get().div_ceil(2)));
    let signer = Signer::new(keys, capacity);
    let places = s.host.shared.get_or_make("dnssec places", || Places::new(PLACES));
    let threads = s.host.shared.get_or_make("dnssec threads", threads);
    let work = Arc::new(Work { zones, signer, places, threads, control: s.control(), host: s.host.clone() });
    s.chain(Dnssec { work, metrics: s.per_listener() });
    Ok(())
}

/// The plugin of one server block.
struct Dnssec {
    work: Arc<Work>,
    metrics: PerListener<Metrics>,
}

/// What signing needs.
struct Work {
    zones: Zones,
    signer: Signer,
    places: Arc<Places>,
    /// How many threads make signatures at a time.
    threads: Arc<Semaphore>,
    control: Control,
    host: Arc<Host>,
}

#[derive(Clone)]
struct Metrics {
    entries: Gauge,
    hits: Counter,
    misses: Counter,
    refused: Counter,
}

/// A reply that is signed, or will be.
enum Signed {
    Now(Reply),
    Later(Later),
}

impl Plugin for Dnssec {
    fn ask(&self, query: &mut Query<'_>, here: &Here<'_>) -> Step {
        let (name, qtype) = (query.question.name, query.question.qtype);
        if qtype != rtype::DNSKEY || query.question.qclass != class::IN || !self.work.zones.contains(&name) {
            return Step::Next;
        }
        let reply = self.work.keys(&name);
        if !query.dnssec_ok() {
            return Step::Answer(reply);
        }
        match self.sign(query, reply, here) {
            Signed::Now(reply) => Step::Answer(reply),
            Signed::Later(reply) => Step::Wait(reply),
        }
    }

    fn reply(&self, query: &mut Query<'_>, reply: &mut Reply, here: &Here<'_>) -> Turn {
        let question = &query.question;
        let is_transfer = matches!(question.qtype, rtype::AXFR | rtype::IXFR);
        if !query.dnssec_ok() || is_transfer || question.qclass != class::IN || !self.work.zones.holds(&question.name) {
            return Turn::Up;
        }
        match self.sign(query, reply.clone(), here) {
            Signed::Now(signed) => {
                *reply = signed;
                Turn::Up
            }
            Signed::Later(signed) => Turn::Wait(signed),
        }
    }
}

impl Dnssec {
    /// Signs a reply for a query whose name is in one of the zones.
    fn sign(&self, query: &Query<'_>, reply: Reply, here: &Here<'_>) -> Signed {
        let (question, client) = (query.question, query.client.peer.ip());
        let metrics = self.metrics.get(here, |server| self.work.metrics(server));
        if question.qtype != rtype::DS || !plan::denies(&reply.answer) {
            return self.work.sign(&question, reply, client, false, metrics);
        }
        // There is no DS record. An NSEC record that names NS says that the zone below is not
        // signed, so it may only say so of a delegation.
        let below = here.below(query.inner(&Question::new(question.name, rtype::NS)));
        let (work, metrics) = (self.work.clone(), metrics.clone());
        Signed::Later(Box::pin(async move {
            let below = below.await;
            if below.has_failed() {
                return Reply::failure(rcode::SERVFAIL, "it is not known whether the name is a delegation");
            }
            let is_cut = plan::delegates(&below.answer);
            match work.sign(&question, reply, client, is_cut, &metrics) {
                Signed::Now(reply) => reply,
                Signed::Later(reply) => reply.await,
            }
        }))
    }
}

impl Work {
    /// Answers with the public keys, as records of the zone.
    fn keys(&self, zone: &Name) -> Reply {
        Reply::memory(Arc::new(Encoder::build(zone.len(), |e| {
            e.flags(flag::AA);
            for key in self.signer.keys() {
                e.record(Section::Answer, Owner::ASKED, rtype::DNSKEY, key.ttl, |e| e.put(key.data()));
            }
        })))
    }

    /// Signs the reply to a question of a client. `is_cut` says whether its name is a delegation.
    fn sign(
        self: &Arc<Self>,
        question: &Question,
        reply: Reply,
        client: IpAddr,
        is_cut: bool,
        metrics: &Metrics,
    ) -> Signed {
        let Some(plan) = Plan::of(&reply.answer, question, &self.zones, is_cut) else { return Signed::Now(reply) };
        let now = self.host.clock.seconds_since_1970();
        let sets = plan.sets.iter();
        let known: Vec<_> = sets.map(|wanted| self.signer.known(&wanted.set, &wanted.zone, now)).collect();
        let hits = known.iter().flatten().count();
        metrics.hits.add(hits as u64);
        metrics.misses.add((known.len() - hits) as u64);
        if hits == known.len() {
            let known: Vec<Arc<Signatures>> = known.into_iter().flatten().collect();
            return Signed::Now(Reply { answer: plan.signed(&known), ..reply });
        }
        let Some(place) = self.places.take(client) else {
            metrics.refused.inc();
            // Without a cause: *cache* would give it to other clients.
            return Signed::Now(Reply::server(rcode::SERVFAIL));
        };
        let (work, metrics) = (self.clone(), metrics.clone());
        Signed::Later(Box::pin(async move {
            let (_place, _thread) = (place, work.threads.acquire().await);
            let making = work.clone();
            let make = move || making.make(&plan, known, now);
            match work.control.wait().await.spawn_blocking(make).await {
                Ok(Ok(answer)) => {
                    metrics.entries.set(work.signer.entries() as f64);
                    Reply { answer, ..reply }
                }
                failed => {
                    metrics.refused.inc();
                    let why = failed.map_or_else(|error| error.to_string(), |made| made.err().unwrap_or_default());
                    Reply::failure(rcode::SERVFAIL, why)
                }
            }
        }))
    }

    /// Makes the signatures that are not known yet. Returns the answer with all of them.
    fn make(&self, plan: &Plan, known: Vec<Option<Arc<Signatures>>>, now: u64) -> Result<Arc<Answer>, String> {
        let make = |wanted: &Wanted| self.signer.make(&wanted.set, &wanted.zone, now);
        let made = known.into_iter().zip(&plan.sets).map(|(known, wanted)| known.map_or_else(|| make(wanted), Ok));
        Ok(plan.signed(&made.collect::<Result<Vec<_>, _>>()?))
    }

    fn metrics(&self, server: &str) -> Metrics {
        let metrics = &self.host.metrics;
        Metrics {
            entries: metrics.gauge(&ENTRIES, &[server, "signature"]),
            hits: metrics.counter(&HITS, &[server]),
            misses: metrics.counter(&MISSES, &[server]),
            refused: metrics.counter(&REFUSED, &[server]),
        }
    }
}
