//! The one writer of an [`Index`]: objects come in, changed answers go out.
//!
//! Lists are taken in place. Each list is an epoch: objects are stamped as they are seen, and what was not
//! seen is dropped when the list is complete, so old and new never stand side by side in memory and a list
//! that breaks off changes nothing that it did not reach. A list that would drop most of what is known is
//! not believed at once ([`Implausible`]).

mod pods;
mod services;

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use self::pods::Prefixes;
use self::services::Names;
use super::index::{Index, Owned, PodAddress};
use super::model::{Kind, Object, ObjectKey, Service};
use super::shards::Draft;

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

#[cfg(test)]
mod tests;
