//! The one writer of an [`Index`]: objects come in, changed answers go out.
//!
//! Lists are taken in place. Each list is an epoch: objects are stamped as they are seen, and what was not
//! seen is dropped when the list is complete, so old and new never stand side by side in memory and a list
//! that breaks off changes nothing that it did not reach. A list that would drop most of what is known is
//! not believed at once ([`Implausible`]).

use std::collections::{BTreeMap, HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use super::index::{Entry, Index, Owned, Owners, PodAddress, service_key};
use super::model::{Endpoint, Kind, Object, ObjectKey, Pod, Service, Slice, Target};
use super::shards::{Draft, Keyed, Shards};

/// A list may silently drop so many objects of a kind …
const FEW: usize = 20;

//----------- Store ----------------------------------------------------------

/// Everything that is known, and what of it has not been published yet.
pub struct Store {
    index: Arc<Index>,
    /// Seconds.
    ttl: u32,
    kinds: BTreeMap<Kind, Known>,
    services: Names,
    imports: Names,
    owners: Draft<Owned>,
    pods: Draft<PodAddress>,
    prefixes: Prefixes,
    namespaces_changed: bool,
    changed: bool,
    changes: u64,
    latency: Option<Box<dyn Observe>>,
    waiting: Vec<(Box<[u8]>, i64)>,
}

/// Takes the time from a change in the cluster to its publication (DNS programming latency).
pub trait Observe: Send {
    /// `service` shows a change that happened `since` ago.
    fn observe(&self, service: &Service, since: Duration);
}

/// A list lacks so much of what is known that it is not believed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Implausible {
    /// Objects that were known.
    pub known: usize,
    /// Objects of these that the list lacks.
    pub missing: usize,
}

/// The objects of one kind.
#[derive(Default)]
struct Known {
    epoch: u32,
    complete: bool,
    objects: HashMap<ObjectKey, Held, foldhash::fast::RandomState>,
}

struct Held {
    epoch: u32,
    link: Link,
}

/// What has to be found again when an object goes.
enum Link {
    Nothing,
    Service(Box<[u8]>),
    Addresses(Box<[IpAddr]>),
}

impl Store {
    /// A store that fills `index` from lists and watches of these kinds; `ttl` in seconds.
    #[must_use]
    pub fn new(index: Arc<Index>, ttl: u32, kinds: &[Kind], latency: Option<Box<dyn Observe>>) -> Self {
        Self {
            index,
            ttl,
            kinds: kinds.iter().map(|kind| (*kind, Known::default())).collect(),
            services: Names::default(),
            imports: Names::default(),
            owners: Draft::default(),
            pods: Draft::default(),
            prefixes: Prefixes::default(),
            namespaces_changed: false,
            changed: false,
            changes: 0,
            latency,
            waiting: Vec::new(),
        }
    }

    /// A list of `kind` begins, the first one or a repeated one.
    pub fn begin(&mut self, kind: Kind) {
        let known = self.kinds.entry(kind).or_default();
        known.epoch = known.epoch.wrapping_add(1);
    }

    /// An object is there, in a list or by an event.
    pub fn apply(&mut self, kind: Kind, object: Object) {
        let key = object.key();
        let link = match object {
            Object::Namespace(_) => {
                if !self.is_known(kind, &key) {
                    self.namespaces_changed = true;
                    self.changes += 1;
                }
                Link::Nothing
            }
            Object::Service(service) => self.apply_service(kind, service),
            Object::Slice(slice) => self.apply_slice(kind, &key, slice),
            Object::Pod(pod) => self.apply_pod(&key, pod),
        };
        let known = self.kinds.entry(kind).or_default();
        known.objects.insert(key, Held { epoch: known.epoch, link });
    }

    /// An object is there, but says nothing new (or nothing that we can use): what is known of it stays.
    pub fn touch(&mut self, kind: Kind, key: &ObjectKey) {
        let known = self.kinds.entry(kind).or_default();
        let epoch = known.epoch;
        if let Some(held) = known.objects.get_mut(key) {
            held.epoch = epoch;
        }
    }

    /// An object is gone.
    pub fn delete(&mut self, kind: Kind, key: &ObjectKey) {
        let Some(held) = self.kinds.entry(kind).or_default().objects.remove(key) else { return };
        self.changes += 1;
        match (kind, held.link) {
            (Kind::Namespace, _) => self.namespaces_changed = true,
            (Kind::Service | Kind::Import, _) => self.remove_service(kind, key),
            (Kind::Slice | Kind::ImportSlice, Link::Service(service)) => self.remove_slice(kind, &service, key),
            (Kind::Pod, Link::Addresses(addresses)) => self.remove_pod(&key.namespace, &addresses),
            _ => {}
        }
    }

    /// A list of `kind` is complete: what it lacks is dropped.
    ///
    /// # Errors
    /// Without `believe`, when the list lacks more than 20 objects and more than half of what is known: then
    /// nothing is dropped. The caller reads the list again, and believes the second one.
    pub fn end(&mut self, kind: Kind, believe: bool) -> Result<(), Implausible> {
        let known = self.kinds.entry(kind).or_default();
        let epoch = known.epoch;
        let gone = known.objects.iter().filter(|(_, held)| held.epoch != epoch);
        let gone: Vec<ObjectKey> = gone.map(|(key, _)| key.clone()).collect();
        if !believe && known.complete && gone.len() > FEW && gone.len() * 2 > known.objects.len() {
            return Err(Implausible { known: known.objects.len(), missing: gone.len() });
        }
        known.complete = true;
        for key in &gone {
            self.delete(kind, key);
        }
        Ok(())
    }

    /// How many objects of a kind are known.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        self.kinds.get(&kind).map_or(0, |known| known.objects.len())
    }

    /// How many objects turned out to be new, different or gone, since the start.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Shows everything to the readers, and says so when all lists have been read once.
    pub fn publish(&mut self) {
        let (ttl, index) = (self.ttl, self.index.clone());
        self.changed |= self.services.publish(&index.services, ttl) | self.imports.publish(&index.imports, ttl);
        self.owners.publish(&index.owners);
        self.pods.publish(&index.pods);
        if self.prefixes.changed {
            index.prefixes.store(Arc::new(self.prefixes.known()));
            self.prefixes.changed = false;
        }
        if std::mem::take(&mut self.namespaces_changed) {
            let known = self.kinds.get(&Kind::Namespace).into_iter().flat_map(|known| known.objects.keys());
            let names = known.map(|key| key.name.to_ascii_lowercase().into_bytes().into_boxed_slice());
            index.namespaces.store(Arc::new(names.collect()));
        }
        if std::mem::take(&mut self.changed) {
            index.serial.store(now().as_secs() as u32, Ordering::Relaxed);
        }
        self.observe_latency();
        if !index.is_synced() && self.kinds.values().all(|known| known.complete) {
            index.set_synced();
        }
    }

    fn is_known(&self, kind: Kind, key: &ObjectKey) -> bool {
        self.kinds.get(&kind).is_some_and(|known| known.objects.contains_key(key))
    }

    fn observe_latency(&mut self) {
        for (key, triggered) in self.waiting.drain(..) {
            let since = now().saturating_sub(Duration::from_nanos(triggered.max(0) as u64));
            let service = self.index.services.with(&key, |entry| entry.service.clone()).flatten();
            if let (Some(latency), Some(service)) = (&self.latency, service) {
                latency.observe(&service, since);
            }
        }
    }
}

fn now() -> Duration {
    SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}

//----------- Services and slices --------------------------------------------

/// The services or the imports that are being changed.
#[derive(Default)]
struct Names {
    draft: Draft<Arc<Entry>>,
    touched: HashMap<Box<[u8]>, Parts>,
}

#[derive(Default, Clone)]
struct Parts {
    service: Option<Arc<Service>>,
    slices: Vec<Arc<Slice>>,
}

impl Names {
    fn parts(&mut self, table: &Shards<Arc<Entry>>, key: &[u8]) -> &mut Parts {
        if !self.touched.contains_key(key) {
            let parts = self
                .draft
                .get(table, key)
                .map(|entry| Parts { service: entry.service.clone(), slices: entry.slices.to_vec() });
            self.touched.insert(key.into(), parts.unwrap_or_default());
        }
        self.touched.entry(key.into()).or_default()
    }

    /// Looks at a name as it will be, without touching it.
    fn look(
        &self,
        table: &Shards<Arc<Entry>>,
        key: &[u8],
        look: impl FnOnce(Option<&Arc<Service>>, &[Arc<Slice>]) -> bool,
    ) -> bool {
        match self.touched.get(key) {
            Some(parts) => look(parts.service.as_ref(), &parts.slices),
            None => self.draft.get(table, key).is_some_and(|entry| look(entry.service.as_ref(), &entry.slices)),
        }
    }

    /// Builds and shows what was touched; returns whether anything was.
    fn publish(&mut self, table: &Shards<Arc<Entry>>, ttl: u32) -> bool {
        let any = !self.touched.is_empty();
        for (key, parts) in self.touched.drain() {
            if parts.service.is_none() && parts.slices.is_empty() {
                self.draft.remove(table, &key);
            } else {
                self.draft.put(table, Arc::new(Entry::new(key, parts.service, parts.slices, ttl)));
            }
        }
        self.draft.publish(table);
        any
    }
}

impl Parts {
    /// The addresses that reverse questions find: those of a service that exists.
    fn owned(&self) -> Vec<IpAddr> {
        let Some(service) = &self.service else { return Vec::new() };
        let endpoints = self.slices.iter().flat_map(|slice| &slice.endpoints).filter_map(Endpoint::ip);
        cluster_ips(service).iter().copied().chain(endpoints).collect()
    }

    fn has(&self, address: IpAddr) -> bool {
        let in_slice = |slice: &Arc<Slice>| slice.endpoints.iter().any(|endpoint| endpoint.ip() == Some(address));
        self.service.as_ref().is_some_and(|service| cluster_ips(service).contains(&address))
            || self.slices.iter().any(in_slice)
    }
}

fn cluster_ips(service: &Service) -> &[IpAddr] {
    match &service.target {
        Target::Addresses(addresses) => addresses,
        Target::Endpoints | Target::Alias(_) => &[],
    }
}

impl Store {
    fn names(&mut self, kind: Kind) -> (&mut Names, &Shards<Arc<Entry>>) {
        if matches!(kind, Kind::Import | Kind::ImportSlice) {
            (&mut self.imports, &self.index.imports)
        } else {
            (&mut self.services, &self.index.services)
        }
    }

    fn apply_service(&mut self, kind: Kind, service: Service) -> Link {
        let Some(key) = service_key(&service.namespace, &service.name) else { return Link::Nothing };
        let (names, table) = self.names(kind);
        // A list says again what is known; that must not build every answer anew.
        if names.look(table, &key, |known, _| known.is_some_and(|known| **known == service)) {
            return Link::Nothing;
        }
        let parts = names.parts(table, &key);
        let before = parts.owned();
        parts.service = Some(Arc::new(service));
        let after = parts.owned();
        self.changes += 1;
        self.change_owners(kind, &key, &before, &after);
        Link::Nothing
    }

    fn remove_service(&mut self, kind: Kind, object: &ObjectKey) {
        let Some(key) = service_key(&object.namespace, &object.name) else { return };
        let (names, table) = self.names(kind);
        let parts = names.parts(table, &key);
        let before = parts.owned();
        parts.service = None;
        self.change_owners(kind, &key, &before, &[]);
    }

    fn apply_slice(&mut self, kind: Kind, object: &ObjectKey, slice: Slice) -> Link {
        // A slice may be moved to another service by changing its label.
        let Some(key) = service_key(&slice.namespace, &slice.service) else {
            let known = self.kinds.get(&kind).and_then(|known| known.objects.get(object));
            if let Some(Held { link: Link::Service(_), .. }) = known {
                self.delete(kind, object);
            }
            return Link::Nothing;
        };
        let (names, table) = self.names(kind);
        if names.look(table, &key, |_, slices| slices.iter().any(|known| **known == slice)) {
            return Link::Service(key);
        }
        self.changes += 1;
        let moved_from = match self.kinds.get(&kind).and_then(|known| known.objects.get(object)) {
            Some(Held { link: Link::Service(old), .. }) if *old != key => Some(old.clone()),
            _ => None,
        };
        if let Some(old) = moved_from {
            self.remove_slice(kind, &old, object);
        }
        if self.latency.is_some() && self.index.is_synced() {
            self.waiting.extend(slice.triggered.map(|triggered| (key.clone(), triggered)));
        }
        self.replace_slice(kind, &key, &object.name, Some(slice));
        Link::Service(key)
    }

    fn remove_slice(&mut self, kind: Kind, service: &[u8], object: &ObjectKey) {
        self.replace_slice(kind, service, &object.name, None);
    }

    fn replace_slice(&mut self, kind: Kind, key: &[u8], name: &str, slice: Option<Slice>) {
        let (names, table) = self.names(kind);
        let parts = names.parts(table, key);
        let at = parts.slices.iter().position(|known| *known.name == *name);
        let old = at.map(|at| parts.slices.remove(at));
        let addresses = |slice: &Slice| slice.endpoints.iter().filter_map(Endpoint::ip).collect::<Vec<_>>();
        let before = old.as_deref().map(addresses).unwrap_or_default();
        let after = slice.as_ref().map(addresses).unwrap_or_default();
        parts.slices.extend(slice.map(Arc::new));
        if parts.service.is_some() {
            self.change_owners(kind, key, &before, &after);
        }
    }

    /// A service had the addresses `before` and has those of `after`; in between it may have others as well.
    fn change_owners(&mut self, kind: Kind, key: &[u8], before: &[IpAddr], after: &[IpAddr]) {
        // Addresses of other clusters have no reverse names here.
        if matches!(kind, Kind::Import | Kind::ImportSlice) {
            return;
        }
        let (was, is): (HashSet<&IpAddr>, HashSet<&IpAddr>) = (before.iter().collect(), after.iter().collect());
        let parts = self.services.parts(&self.index.services, key);
        let exists = parts.service.is_some();
        let lost = was.difference(&is).filter(|address| !exists || !parts.has(***address)).map(|a| **a);
        let lost: Vec<IpAddr> = lost.collect();
        let shared_key = Arc::new(Box::from(key));
        for address in lost {
            self.disown(address, key);
        }
        for address in is.difference(&was) {
            self.own(**address, &shared_key);
        }
    }

    fn own(&mut self, address: IpAddr, key: &Arc<Box<[u8]>>) {
        let by = match self.owners.get(&self.index.owners, &address) {
            None => {
                self.prefixes.add(address);
                Owners::One(key.clone())
            }
            Some(owned) if owned.by.keys().contains(key) => return,
            Some(owned) => {
                let mut keys = owned.by.keys().to_vec();
                keys.push(key.clone());
                Owners::Many(Arc::new(keys))
            }
        };
        self.owners.put(&self.index.owners, Owned { address, by });
    }

    fn disown(&mut self, address: IpAddr, key: &[u8]) {
        let Some(owned) = self.owners.get(&self.index.owners, &address) else { return };
        let mut keys = owned.by.keys().to_vec();
        keys.retain(|known| ***known != *key);
        let by = match keys.len() {
            0 => {
                self.prefixes.remove(address);
                self.owners.remove(&self.index.owners, &address);
                return;
            }
            1 => Owners::One(keys.remove(0)),
            _ => Owners::Many(Arc::new(keys)),
        };
        self.owners.put(&self.index.owners, Owned { address, by });
    }
}

//----------- Pods -----------------------------------------------------------

impl Store {
    fn apply_pod(&mut self, object: &ObjectKey, pod: Pod) -> Link {
        if let Some(Held { link: Link::Addresses(old), .. }) =
            self.kinds.get(&Kind::Pod).and_then(|known| known.objects.get(object))
        {
            if *old == pod.addresses {
                return Link::Addresses(pod.addresses);
            }
            let old = old.clone();
            self.remove_pod(&object.namespace, &old);
        }
        self.changes += 1;
        let namespace: Arc<str> = pod.namespace.to_ascii_lowercase().into();
        for &address in &pod.addresses {
            let known = self.pods.get(&self.index.pods, &address);
            let mut namespaces = known.map(|known| known.namespaces.to_vec()).unwrap_or_default();
            namespaces.push(namespace.clone());
            self.pods.put(&self.index.pods, PodAddress { address, namespaces: Arc::new(namespaces) });
        }
        self.changed = true;
        Link::Addresses(pod.addresses)
    }

    fn remove_pod(&mut self, namespace: &str, addresses: &[IpAddr]) {
        self.changed = true;
        for address in addresses {
            let Some(known) = self.pods.get(&self.index.pods, address) else { continue };
            let mut namespaces = known.namespaces.to_vec();
            if let Some(at) = namespaces.iter().position(|known| known.eq_ignore_ascii_case(namespace)) {
                namespaces.remove(at);
            }
            if namespaces.is_empty() {
                self.pods.remove(&self.index.pods, known.key());
            } else {
                self.pods.put(&self.index.pods, PodAddress { address: *address, namespaces: Arc::new(namespaces) });
            }
        }
    }
}

//----------- Prefixes -------------------------------------------------------

/// Counts owned IPv4 addresses below each octet boundary: such reverse names exist without data (RFC 8020).
#[derive(Default)]
struct Prefixes {
    counts: HashMap<Box<[u8]>, u32>,
    changed: bool,
}

impl Prefixes {
    fn add(&mut self, address: IpAddr) {
        self.each(address, |count| *count += 1);
    }

    fn remove(&mut self, address: IpAddr) {
        self.each(address, |count| *count -= 1);
    }

    fn each(&mut self, address: IpAddr, change: impl Fn(&mut u32)) {
        let IpAddr::V4(v4) = address else { return };
        for len in 1..4 {
            let prefix = &v4.octets()[..len];
            let count = self.counts.entry(prefix.into()).or_insert_with(|| {
                self.changed = true;
                0
            });
            change(count);
            if *count == 0 {
                self.counts.remove(prefix);
                self.changed = true;
            }
        }
    }

    fn known(&self) -> HashSet<Box<[u8]>> {
        self.counts.keys().cloned().collect()
    }
}
