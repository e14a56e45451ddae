//! What answers are read from: services with their records encoded, the holders of addresses, and
//! the namespaces.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use tokio::sync::watch;
use triomphe::ThinArc;

use super::addresses::ByAddress;
use super::endpoints::EndpointRef;
use super::model::{Service, Slice, Target};
use super::shards::{Keyed, Shards};
use super::troubles::Troubles;
use crate::wire::answer::{Answer, Section};
use crate::wire::encode::{Encoder, Owner};
use crate::wire::packed::{pack, unpack};
use crate::wire::request::flag;
use crate::wire::reverse::Octets;

//----------- Index ----------------------------------------------------------

/// The data of one `kubernetes` block; blocks with equal options share it.
#[derive(Default)]
pub struct Index {
    /// Services by name, with their slices.
    pub services: Shards<Entry>,
    /// ServiceImports likewise.
    pub imports: Shards<Entry>,
    /// The services that have an address, as ClusterIP or as that of a ready endpoint.
    pub owners: Owners,
    /// The services that are reached under an address from outside of the cluster.
    pub external: Owners,
    /// The namespaces of the pods that have an address (host-network pods share one), one for each
    /// pod; in lower case.
    pub pods: ByAddress,
    /// Why the data do not come.
    pub troubles: Arc<Troubles>,
    /// Existing namespaces.
    namespaces: ArcSwap<Labels>,
    /// See [`Index::serial`].
    serial: AtomicU32,
    synced: AtomicBool,
    /// When what came from a snapshot was last known to be right, in seconds since 1970; 0 if
    /// nothing did, or the lists have come.
    as_of: AtomicU64,
    sync: watch::Sender<bool>,
}

/// The services that have an address.
#[derive(Default)]
pub struct Owners {
    /// Keys of services, once for all ClusterIPs and once for all endpoints.
    pub holders: ByAddress,
    /// The first one, two and three octets of each IPv4 address that a service has.
    pub prefixes: Shards<Octets>,
}

/// A set of octet strings. Seeded at random: names come from outside, and must not be made to
/// collide.
pub(super) type Labels = HashSet<Box<[u8]>, foldhash::fast::RandomState>;

impl Index {
    /// Whether every list has been read once.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.synced.load(Ordering::Acquire)
    }

    /// Waits until every list has been read.
    pub async fn wait_synced(&self) {
        // The sender lives as long as this index, so waiting cannot fail.
        let _ = self.sync.subscribe().wait_for(|synced| *synced).await;
    }

    /// How old the snapshot is that answers come from. Returns `None` if they do not come from one:
    /// every list has been read once, or there was no snapshot.
    #[must_use]
    pub fn snapshot_age(&self) -> Option<Duration> {
        let now = || SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
        let as_of = self.as_of.load(Ordering::Relaxed);
        (as_of > 0).then(|| Duration::from_secs(now().saturating_sub(as_of)))
    }

    /// Whether answers come from a snapshot.
    #[must_use]
    pub fn is_from_snapshot(&self) -> bool {
        self.as_of.load(Ordering::Relaxed) > 0
    }

    /// Whether names can be answered: every list has been read once, or there is a snapshot.
    /// Returns the age of the snapshot, and why the lists do not come, a line for each.
    ///
    /// # Errors
    /// The reasons why not, a line for each.
    pub fn readiness(&self) -> Result<Vec<String>, Vec<String>> {
        if self.is_synced() {
            return Ok(Vec::new());
        }
        let mut lines = self.troubles.lines();
        if let Some(age) = self.snapshot_age() {
            lines.insert(0, format!("answers come from a snapshot that is {age:?} old"));
            return Ok(lines);
        }
        Err(if lines.is_empty() { vec!["the first lists have not come yet".to_owned()] } else { lines })
    }

    /// Whether a namespace exists; `label` in lower case.
    #[must_use]
    pub fn has_namespace(&self, label: &[u8]) -> bool {
        self.namespaces.load().contains(label)
    }

    /// The namespaces that exist; labels in lower case.
    #[must_use]
    pub fn namespaces(&self) -> Vec<Box<[u8]>> {
        self.namespaces.load().iter().cloned().collect()
    }

    /// When something last changed, in seconds since 1970: the serial of the SOA.
    #[must_use]
    pub fn serial(&self) -> u32 {
        self.serial.load(Ordering::Relaxed)
    }
}

/// What the store alone changes, besides the tables.
impl Index {
    /// Marks every list as read once, and wakes the tasks that wait for that.
    pub(super) fn set_synced(&self) {
        self.synced.store(true, Ordering::Release);
        self.as_of.store(0, Ordering::Relaxed);
        self.sync.send_replace(true);
    }

    /// What is known comes from a snapshot that was right at this time, in seconds since 1970.
    pub(super) fn set_as_of(&self, as_of: u64) {
        self.as_of.store(as_of, Ordering::Relaxed);
    }

    /// Replaces the namespaces that exist; labels in lower case.
    pub(super) fn set_namespaces(&self, labels: Labels) {
        self.namespaces.store(Arc::new(labels));
    }

    /// Sets the time of the last change, in seconds since 1970.
    pub(super) fn set_serial(&self, serial: u32) {
        self.serial.store(serial, Ordering::Relaxed);
    }
}

//----------- Entry ----------------------------------------------------------

/// A service name with everything that is answered for it, shared.
///
/// In one piece of memory: a head, and behind it the octets that most questions need, side by side.
/// Those are the key and the packed answers to A and AAAA of the service's own name.
#[derive(Debug, Clone)]
pub struct Entry(ThinArc<Head, u8>);

#[derive(Debug)]
struct Head {
    /// `None` while only slices are known.
    service: Option<Arc<Service>>,
    slices: Box<[Arc<Slice>]>,
    /// Octets of the packed answer to A, which stands behind the key; that to AAAA is the rest.
    a: u32,
    /// Octets of the key: two labels, 128 at most.
    key: u8,
    leads: Leads,
}

/// What the name of an entry leads to: [`Target`] without looking at the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Leads {
    /// Nowhere: there is no service.
    Nowhere,
    /// To addresses of the service's own.
    Addresses,
    /// To the endpoints.
    Endpoints,
    /// To another name.
    Alias,
}

impl Keyed for Entry {
    /// 32 entries each with 8,200 services.
    const SHARDS: usize = 256;

    type Key = [u8];

    fn key(&self) -> &[u8] {
        self.key()
    }
}

impl Keyed for Octets {
    /// 23 entries each with the networks of 5,000 nodes.
    const SHARDS: usize = 256;

    type Key = Self;

    fn key(&self) -> &Self {
        self
    }
}

impl Entry {
    /// An entry with its answers encoded; `ttl` in seconds.
    #[must_use]
    pub fn new(key: &[u8], service: Option<Arc<Service>>, slices: Vec<Arc<Slice>>, ttl: u32) -> Self {
        let addresses = own_addresses(service.as_deref(), &slices);
        let of_family =
            |v6: bool| addresses.iter().copied().filter(|address| address.is_ipv6() == v6).collect::<Vec<_>>();
        let mut octets = key.to_vec();
        pack_addresses(&of_family(false), ttl, &mut octets);
        let a = (octets.len() - key.len()) as u32;
        pack_addresses(&of_family(true), ttl, &mut octets);
        let leads = match service.as_deref().map(|service| &service.target) {
            None => Leads::Nowhere,
            Some(Target::Addresses(_)) => Leads::Addresses,
            Some(Target::Endpoints) => Leads::Endpoints,
            Some(Target::Alias(_)) => Leads::Alias,
        };
        let head = Head { service, slices: slices.into(), a, key: key.len() as u8, leads };
        Self(ThinArc::from_header_and_slice(head, &octets))
    }

    /// The labels of service and namespace as they stand in a name in wire form.
    #[must_use]
    pub fn key(&self) -> &[u8] {
        &self.0.slice[..usize::from(self.head().key)]
    }

    /// The service. Returns `None` while only slices are known.
    #[must_use]
    pub fn service(&self) -> Option<&Arc<Service>> {
        self.head().service.as_ref()
    }

    /// Its slices, ready endpoints only.
    #[must_use]
    pub fn slices(&self) -> &[Arc<Slice>] {
        &self.head().slices
    }

    /// What the name leads to.
    #[must_use]
    pub fn leads(&self) -> Leads {
        self.head().leads
    }

    /// The answer to A of the service's own name. Returns `None` without an address.
    #[must_use]
    pub fn a(&self) -> Option<Arc<Answer>> {
        let (from, a) = (usize::from(self.head().key), self.head().a as usize);
        (a > 0).then(|| unpack(&self.0.slice[from..from + a]))
    }

    /// The answer to AAAA likewise.
    #[must_use]
    pub fn aaaa(&self) -> Option<Arc<Answer>> {
        let aaaa = &self.0.slice[usize::from(self.head().key) + self.head().a as usize..];
        (!aaaa.is_empty()).then(|| unpack(aaaa))
    }

    /// Whether this is the very same entry, not one that was made later for the same name.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        std::ptr::eq(self.head(), other.head())
    }

    /// All ready endpoints.
    pub fn endpoints(&self) -> impl Iterator<Item = EndpointRef<'_>> {
        self.slices().iter().flat_map(|slice| slice.endpoints.iter())
    }

    /// Whether any endpoint is ready.
    #[must_use]
    pub fn has_endpoints(&self) -> bool {
        self.slices().iter().any(|slice| !slice.endpoints.is_empty())
    }

    fn head(&self) -> &Head {
        &self.0.header.header
    }
}

/// The addresses that a service's own name leads to, each once.
fn own_addresses(service: Option<&Service>, slices: &[Arc<Slice>]) -> Vec<IpAddr> {
    let mut seen = HashSet::new();
    let endpoints = || slices.iter().flat_map(|slice| slice.endpoints.ips());
    match service.map(|service| &service.target) {
        Some(Target::Addresses(addresses)) => addresses.iter().copied().filter(|a| seen.insert(*a)).collect(),
        Some(Target::Endpoints) => endpoints().filter(|a| seen.insert(*a)).collect(),
        Some(Target::Alias(_)) | None => Vec::new(),
    }
}

/// Appends the packed answer with all addresses as records of the name that was asked; nothing
/// without addresses.
fn pack_addresses(addresses: &[IpAddr], ttl: u32, out: &mut Vec<u8>) {
    if addresses.is_empty() {
        return;
    }
    let answer = Encoder::build(0, |e| {
        e.flags(flag::AA);
        for &address in addresses {
            e.address(Section::Answer, Owner::ASKED, ttl, address);
        }
    });
    pack(&answer, out);
}

/// The key of a service: its label and its namespace's, as they stand in a name in wire form.
///
/// Returns `None` if one of them cannot be a label.
#[must_use]
pub fn service_key(namespace: &str, name: &str) -> Option<Box<[u8]>> {
    let mut key = Vec::with_capacity(2 + name.len() + namespace.len());
    for label in [name, namespace] {
        if label.is_empty() || label.len() > crate::wire::name::MAX_LABEL {
            return None;
        }
        key.push(label.len() as u8);
        key.extend(label.bytes().map(|octet| octet.to_ascii_lowercase()));
    }
    Some(key.into_boxed_slice())
}

#[cfg(test)]
mod tests {
    use super::super::model::Port;
    use super::*;

    #[test]
    fn an_answer_counts_the_name_that_will_be_asked() {
        let key = service_key("default", "web").expect("labels");
        let service = Service {
            namespace: "default".into(),
            name: "web".into(),
            target: Target::Addresses(Box::new(["10.0.0.1".parse().expect("an address")])),
            ports: Port::none(),
            has_selector: true,
            external: None,
        };
        let entry = Entry::new(&key, Some(Arc::new(service)), Vec::new(), 5);
        // Owner, type, class, TTL, length and four octets.
        assert_eq!(entry.a().map(|answer| answer.plain_len(31)), Some(31 + 10 + 4));
        assert_eq!((entry.key(), entry.aaaa()), (&*key, None));
    }

    #[test]
    fn what_a_question_needs_lies_in_two_cache_lines() {
        // Count, head and length, then key and answer.
        assert_eq!(size_of::<Head>(), 32);
        let key = service_key("kube-system", "frontend").expect("labels");
        let mut answer = Vec::new();
        pack_addresses(&["10.0.0.1".parse().expect("an address")], 5, &mut answer);
        assert_eq!((key.len(), answer.len()), (21, 42));
    }
}
