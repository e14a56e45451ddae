//! # kubernetes — answer for Services, Pods and endpoints of a cluster
//!
//! Serves the names of Kubernetes's DNS specification 1.1.0 from a watch of the API server, or from
//! a folder of manifests. Answers are encoded when the data change; a question only finds them.
//!
//! ## Syntax
//!
//! ```text
//! kubernetes [ZONES...] {
//! }
//! ```
//!
//! **ZONES** are the zones that are served; by default those of the server block. Targets of PTR
//! records end in the first zone that is not a reverse zone.
//!
//! ## Examples
//!
//! In a cluster: the API server is found through the service account of the Pod.
//!
//! ```corefile
//! .:53 {
//!     kubernetes cluster.local in-addr.arpa ip6.arpa {
//!         pods insecure
//!         fallthrough in-addr.arpa ip6.arpa
//!         ttl 30
//!     }
//!     forward . /etc/resolv.conf
//! }
//! ```
//!
//! Without a cluster, from a folder of manifests:
//!
//! ```corefile
//! .:53 {
//!     kubernetes cluster.local in-addr.arpa ip6.arpa {
//!         manifests ./demo
//!     }
//! }
//! ```
//!
//! ## Names without an API server
//!
//! With `snapshot PATH` the plugin keeps what it knows in a file: a second after the first lists,
//! then once a minute if something has changed, every ten minutes otherwise, and once more in the
//! `lameduck` time after SIGTERM. The file is replaced as a whole, and has Services, addresses of
//! endpoints and Pods, and the names of namespaces. Only the user of the process can read it.
//!
//! A process that starts answers from the file before the API server has answered. These answers
//! have a TTL of 5 s at most, and carry the extended error 3 (Stale Answer) for clients that speak
//! EDNS. `/ready` is 200 and says how old they are, and zones are not transferred. Names that are
//! not in the file wait for `startup_timeout` and are then SERVFAIL with the extended error 14 (Not
//! Ready). The lists of the API server replace the data kind by kind; a list that lacks most of
//! what was in the file is read again before it is believed. A reload that leaves the options of
//! this directive as they are goes through meanwhile.
//!
//! A file that is damaged, older than MAX_AGE, of another cluster (by the certificates of its CA;
//! with `http` by the URL) or written with options that choose other objects is not used, and the
//! log says why. Two directives with different options cannot share a file.
//!
//! Our manifests have an `emptyDir` at `/var/lib/signpost`: its files outlive the container, but
//! not the Pod. A `hostPath` also serves a new Pod on the same node, and two Pods may share the
//! file during a rollout. A volume claim that several Pods may write serves Pods on other nodes
//! too. Both must be writable for the user of the process, 65532 in our image.
//!
//! ```corefile
//! .:53 {
//!     kubernetes cluster.local in-addr.arpa ip6.arpa {
//!         pods insecure
//!         fallthrough in-addr.arpa ip6.arpa
//!         snapshot /var/lib/signpost/snapshot 24h
//!     }
//!     forward . /etc/resolv.conf
//! }
//! ```
//!
//! ## Metrics
//!
//! - `coredns_kubernetes_dns_programming_duration_seconds{service_kind}`: time from a change to its
//!   answers
//! - `coredns_kubernetes_rest_client_requests_total{code, method, host}`: requests to the API
//!   server
//! - `coredns_kubernetes_rest_client_request_duration_seconds{verb, host}`: how long they took
//! - `coredns_kubernetes_rest_client_rate_limiter_duration_seconds{verb, host}`: how long they were
//!   held back
//! - `signpost_kubernetes_watch_staleness_seconds`: time since the watch that has been silent for
//!   longest heard anything
//! - `signpost_kubernetes_watch_gap_repaired_total{resource}`: objects that a watch had missed and
//!   a repeated list set right
//! - `signpost_kubernetes_list_held_total{resource}`: lists that lacked most of what was known, and
//!   were read again before they were believed
//! - `signpost_kubernetes_bad_objects_total{resource}`: objects that could not be used, or not in
//!   full
//! - `signpost_kubernetes_snapshot_age_seconds`: age of the snapshot that answers come from; there
//!   only while they do
//! - `signpost_kubernetes_snapshots_written_total`: snapshots that were written
//! - `signpost_kubernetes_snapshots_failed_total{action}`: snapshots that were not used (`read`) or
//!   could not be written (`write`)

// From the watch to the answer: `reading` → `known` → `answers`. Objects come from an API server or
// from files, are trimmed, and written into the index by the one store; questions are read and
// answered from the index. `known` uses neither of the other two, and they do not use each other.

pub mod answers;
pub mod known;
pub mod old;
pub mod reading;
mod setup;

use std::cmp::Reverse;
use std::net::IpAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::OnceCell;

use self::answers::alias::{End, Hop, Walk};
use self::answers::apex::local_addresses;
use self::answers::external::Outside;
use self::answers::found::Found;
use self::answers::options::{Options, Pods};
use self::answers::patience::Patience;
use self::answers::published::Published;
use self::answers::search::PodPath;
use self::answers::transfer;
use self::answers::view::View;
use self::answers::zone::Zone;
use self::known::index::Index;
use self::reading::progress::tell_until_synced;
use crate::chain::doc::doc_of;
use crate::chain::search::{Lists, search_list};
use crate::chain::setup::{Registration, Setup};
use crate::chain::transfer::{Offer, Transferable};
use crate::chain::{Here, Plugin, Query, Reply, Step};
use crate::error::{Complaint, Result};
use crate::host::tasks::Tasks;
use crate::wire::answer::Answer;
use crate::wire::name::Name;
use crate::wire::question::Question;
use crate::wire::reply::ede;
use crate::wire::reverse;
use crate::wire::types::{class, rcode, rtype};

/// The plugin.
pub const PLUGIN: Registration =
    Registration { name: "kubernetes", setup, doc: doc_of!("mod.rs"), options: &[&setup::OPTIONS] };

//----------- Setup ----------------------------------------------------------

/// The data of blocks with equal options; they outlive a reload that does not change the options.
struct Data {
    index: Arc<Index>,
    /// Started once, though several blocks may have it.
    reading: OnceCell<Tasks>,
}

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut directive = setup::read(s)?;
    directive.source.external = s.wants_externals();
    let host = s.host.clone();
    let key = format!("kubernetes {}", directive.source.key());
    if let (Some(word), Some(snapshot)) = (&directive.snapshot, &directive.source.snapshot) {
        s.claim(word, &snapshot.path, &key)?;
    }
    let data = host.shared.get_or_make(&key, || Data { index: Arc::default(), reading: OnceCell::new() });
    let (timeout, index) = (directive.options.startup_timeout, data.index.clone());
    let patience = Arc::new(Patience::new(timeout, host.clock.now()));
    s.probe(move || index.readiness());
    // With `bind` CoreDNS does not know its own addresses; the answers are the same.
    let local = if s.bound().is_empty() { local_addresses() } else { Vec::new() };
    s.answers_from_memory(directive.own_zones());
    s.offer_search_lists(search_lists(&directive, &data.index));
    let outside = Outside::new(&directive.options, data.index.clone(), local.clone(), patience.clone());
    s.offer_externals(Arc::new(outside));
    let mut zones = directive.served();
    zones.sort_by_key(|zone| Reverse(zone.name.len()));
    let zones: Arc<[Zone]> = zones.into();
    let knows_pods = directive.options.pods == Pods::Verified;
    s.publish("kubernetes", Arc::new(Published { index: data.index.clone(), zones: zones.clone(), knows_pods }));
    let plugin = Arc::new(Kubernetes {
        zones,
        primary: directive.primary,
        options: directive.options,
        index: data.index.clone(),
        local,
        patience,
        _data: data.clone(),
    });
    s.chain_shared(plugin.clone());
    s.offer_transfer(plugin);
    let (source, written) = (directive.source, directive.written);
    let control = s.control();
    s.prepare(move |first| async move {
        let is_live = data.reading.initialized();
        let start = || async {
            let runtime = control.wait().await;
            let (index, handle) = (data.index.clone(), runtime.clone());
            // A snapshot of a large cluster and the files of credentials are read here.
            let reading = runtime.spawn_blocking(move || reading::start(&source, index, &host, &handle)).await;
            let reading = reading.unwrap_or_else(|panic| Err(panic.to_string()));
            let mut reading = reading.map_err(|why| written.about(why))?;
            if first {
                let tell = tell_until_synced(data.index.clone(), timeout);
                reading.spawn(runtime, "kubernetes start", tell);
            }
            Result::Ok(reading)
        };
        data.reading.get_or_try_init(start).await?;
        // With the same snapshot as before nothing is lost.
        let may_go_on = first || is_live && data.index.is_from_snapshot();
        if may_go_on { Ok(()) } else { synced(&data.index, timeout, &written).await }
    });
    Ok(())
}

/// A reload never answers from an empty index: without data the old configuration stays.
async fn synced(index: &Index, timeout: Duration, written: &Complaint) -> Result<()> {
    let late = |_| {
        let why = index.readiness().unwrap_or_else(|why| why).join("; ");
        written.about(format!("no data from the API server within {timeout:?} (startup_timeout): {why}")).into()
    };
    tokio::time::timeout(timeout, index.wait_synced()).await.map_err(late)
}

/// The search lists of Pods, for `autopath`.
fn search_lists(directive: &setup::Directive, index: &Arc<Index>) -> Lists {
    if directive.options.pods != Pods::Verified {
        return Err("without \"pods verified\" it knows no clients");
    }
    // Without the file nothing stands behind the domains of the cluster, as in CoreDNS.
    let node = search_list(Path::new("/etc/resolv.conf")).unwrap_or_default();
    Ok(Arc::new(PodPath { index: index.clone(), zones: directive.zones.to_vec(), node }))
}

//----------- Kubernetes -----------------------------------------------------

/// The plugin of one server block.
pub struct Kubernetes {
    index: Arc<Index>,
    /// The longest names first.
    zones: Arc<[Zone]>,
    /// The zone that PTR targets end in.
    primary: Name,
    options: Options,
    /// Addresses of this machine that others can reach.
    local: Vec<IpAddr>,
    /// How long questions wait for the data.
    patience: Arc<Patience>,
    /// Keeps reading alive as long as this plugin answers from it.
    _data: Arc<Data>,
}

impl Plugin for Kubernetes {
    fn ask(&self, query: &mut Query<'_>, here: &Here<'_>) -> Step {
        let Some(zone) = self.zone_of(&query.question.name) else { return Step::Next };
        match (query.question.qclass, query.question.qtype) {
            (class::IN, rtype::AXFR | rtype::IXFR) => Step::Answer(Reply::server(rcode::REFUSED)),
            (class::IN, _) => self.answer(zone, query, here),
            // A class has its own data, and ours are of class IN.
            _ => Step::Answer(Reply::server(rcode::REFUSED)),
        }
    }
}

impl Transferable for Kubernetes {
    /// A reverse zone has nothing but what questions find by an address.
    fn version(&self, zone: &Name) -> Offer {
        let Some(zone) = self.zones.iter().find(|known| known.name == *zone && !known.schema.reverse) else {
            return Offer::None;
        };
        transfer::version(&self.index, &self.options, zone, &self.local)
    }
}

impl Kubernetes {
    fn answer(&self, zone: &Zone, query: &Query<'_>, here: &Here<'_>) -> Step {
        match self.find(zone, &query.question.name, query.asked_now(), query.question.qtype) {
            Found::Answer(answer) => self.known(answer),
            Found::NoData => self.known(zone.no_data(&self.index)),
            Found::NameError => self.name_error(zone, query, here),
            Found::Alias(target) => self.alias(zone, query, here, &target),
        }
    }

    /// An answer from the data.
    fn known(&self, answer: Arc<Answer>) -> Step {
        let mut reply = Reply::memory(answer);
        if self.index.is_from_snapshot() {
            reply.ttl = Some(self.options.ttl_now(&self.index));
            reply = with_age(reply);
        }
        Step::Answer(reply)
    }

    /// What the data hold for a name in `zone`: `name` is in lower case, `asked` as it is written.
    fn find(&self, zone: &Zone, name: &Name, asked: &[u8], qtype: u16) -> Found {
        self.view(zone, asked).find(name, qtype)
    }

    fn view<'a>(&'a self, zone: &'a Zone, asked: &'a [u8]) -> View<'a> {
        let Self { index, options, primary, local, .. } = self;
        View { index, options, zone, primary, local, asked }
    }

    /// Asks again when the data have come. Returns `None` if the question may not wait for them.
    fn later(&self, query: &Query<'_>, here: &Here<'_>) -> Option<Step> {
        let known = self.patience.wait(&self.index)?;
        let again = here.again(query.clone().into_owned());
        Some(Step::Wait(Box::pin(async move {
            known.await;
            again.await
        })))
    }

    /// The name is unknown: the next plugin may know it, or the data may still come.
    fn name_error(&self, zone: &Zone, query: &Query<'_>, here: &Here<'_>) -> Step {
        let name = &query.question.name;
        let is_open = !self.index.is_synced() && self.view(zone, query.asked_now()).may_exist(name);
        if is_open && let Some(later) = self.later(query, here) {
            return later;
        }
        match () {
            // Addresses of private networks may be those of the cluster, and concern nobody else.
            () if is_open && reverse::parse(name).is_some_and(|asked| asked.is_private()) => self.not_ready(zone),
            () if self.options.falls_through(name) => Step::Next,
            () if is_open => self.not_ready(zone),
            () => Step::Answer(Reply::memory(zone.name_error(&self.index))),
        }
    }

    fn not_ready(&self, zone: &Zone) -> Step {
        let reply = Reply::memory(zone.not_ready(&self.index));
        Step::Answer(reply.with_error(ede::NOT_READY, "the API server has not told everything yet"))
    }

    fn alias(&self, zone: &Zone, query: &Query<'_>, here: &Here<'_>, first: &str) -> Step {
        let (qtype, ttl) = (query.question.qtype, self.options.ttl_now(&self.index));
        let asked = Name::from_wire(query.asked_now()).unwrap_or(query.question.name);
        // No name at all: there is nothing to follow.
        let Ok(first) = Name::from_text(first) else {
            return Step::Answer(Reply::memory(zone.no_data(&self.index)));
        };
        let walk =
            Walk::new(Question { name: asked, ..query.question }, ttl, first, |target| self.target(target, qtype));
        let missing = match walk.end() {
            _ if qtype == rtype::CNAME => return self.known(walk.first()),
            End::Itself => return self.known(zone.no_data(&self.index)),
            End::Inside(answer) => return self.known(walk.whole(answer)),
            End::Nowhere => return self.known(walk.whole(&Answer::empty(rcode::SERVFAIL))),
            End::Outside => None,
            // As for the name itself: it may become known, or another plugin may know it.
            End::Missing => match self.later(query, here) {
                Some(later) => return later,
                None => Some(walk.target().lowered()),
            },
        };
        if let Some(name) = missing.filter(|name| !self.options.falls_through(name)) {
            let zone = self.zone_of(&name).filter(|_| self.index.is_synced());
            let answer = zone.map(|zone| zone.name_error(&self.index));
            return self.known(walk.whole(&answer.unwrap_or_else(|| Arc::new(Answer::empty(rcode::SERVFAIL)))));
        }
        let lookup = here.target(query, walk.target());
        let is_old = self.index.is_from_snapshot();
        Step::Wait(Box::pin(async move {
            let reply = walk.reply_with(&lookup.await);
            if is_old { with_age(reply) } else { reply }
        }))
    }

    /// What the cluster has of an alias's target. The name is as it stands in the object.
    fn target(&self, name: &Name, qtype: u16) -> Hop {
        let lowered = name.lowered();
        let Some(zone) = self.zone_of(&lowered) else { return Hop::End(End::Outside) };
        match self.find(zone, &lowered, name.wire(), qtype) {
            Found::Answer(answer) => Hop::End(End::Inside(answer)),
            Found::NoData => Hop::End(End::Inside(zone.no_data(&self.index))),
            Found::NameError => Hop::End(End::Missing),
            Found::Alias(next) => match Name::from_text(&next) {
                Ok(next) => Hop::Alias(Box::new(next)),
                Err(_) => Hop::End(End::Inside(zone.no_data(&self.index))),
            },
        }
    }

    /// The zone with the longest name that holds `name`.
    fn zone_of(&self, name: &Name) -> Option<&Zone> {
        self.zones.iter().find(|zone| name.is_under(&zone.name))
    }
}

/// Adds that an answer comes from a snapshot, for clients that speak EDNS.
fn with_age(reply: Reply) -> Reply {
    if reply.rcode() == rcode::NOERROR { reply.with_error(ede::STALE_ANSWER, "from a snapshot") } else { reply }
}
