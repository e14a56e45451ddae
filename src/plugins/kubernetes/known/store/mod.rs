//! The one writer of an [`Index`]: it takes in objects and publishes changed answers.
//!
//! Lists are taken in place. Each list is an epoch: objects are stamped as they are seen, and what
//! was not seen is dropped when the list is complete, so old and new never stand side by side in
//! memory and a list that breaks off changes nothing that it did not reach. A list that would drop
//! most of what is known is not believed at once ([`Implausible`]).

mod names;
mod objects;
mod owners;
mod pods;
mod ports;
mod services;

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use self::names::Names;
use self::objects::{Id, Ids, Known, Link};
use self::owners::OwnersDraft;
use self::ports::Ports;
use super::addresses::{AddressDraft, Holders};
use super::index::Index;
use super::model::{Kind, Object, ObjectKey, Service};

/// How many objects of a kind a list may drop and be believed at once.
const FEW: usize = 20;

//----------- Store ----------------------------------------------------------

/// Everything that is known, and what of it has not been published yet.
pub struct Store {
    index: Arc<Index>,
    /// Seconds.
    ttl: u32,
    ids: Arc<Ids>,
    kinds: BTreeMap<Kind, Known>,
    services: Names,
    imports: Names,
    owners: OwnersDraft,
    external: OwnersDraft,
    pods: AddressDraft,
    pod_namespaces: HashMap<Box<str>, Holders>,
    ports: Ports,
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

impl Store {
    /// A store that fills `index` from lists and watches of these kinds; `ttl` in seconds.
    #[must_use]
    pub fn new(index: Arc<Index>, ttl: u32, kinds: &[Kind], latency: Option<Box<dyn Observe>>) -> Self {
        Self {
            index,
            ttl,
            ids: Arc::default(),
            kinds: kinds.iter().map(|kind| (*kind, Known::default())).collect(),
            services: Names::default(),
            imports: Names::default(),
            owners: OwnersDraft::default(),
            external: OwnersDraft::default(),
            pods: AddressDraft::default(),
            pod_namespaces: HashMap::new(),
            ports: Ports::default(),
            namespaces_changed: false,
            changed: false,
            changes: 0,
            latency,
            waiting: Vec::new(),
        }
    }

    /// A list of `kind` begins, the first one or a repeated one.
    pub fn begin(&mut self, kind: Kind) {
        self.known(kind).begin();
    }

    /// An object exists, by a list or by an event.
    pub fn apply(&mut self, kind: Kind, object: Object) {
        let (namespace, name) = object.names();
        let id = self.ids.of(namespace, name);
        let link = match object {
            Object::Namespace(name) => {
                if self.known(kind).get(id).is_none() {
                    self.namespaces_changed = true;
                    self.changes += 1;
                }
                Link::Namespace(name)
            }
            Object::Service(service) => self.apply_service(kind, service),
            Object::Slice(slice) => self.apply_slice(kind, id, slice),
            Object::Pod(pod) => self.apply_pod(id, pod),
        };
        self.known(kind).put(id, link);
    }

    /// An object exists, but what it says is not new or cannot be used: what is known of it stays.
    pub fn touch(&mut self, kind: Kind, key: &ObjectKey) {
        let id = self.ids.of(&key.namespace, &key.name);
        self.known(kind).touch(id);
    }

    /// An object was deleted.
    pub fn delete(&mut self, kind: Kind, key: &ObjectKey) {
        let id = self.ids.of(&key.namespace, &key.name);
        self.remove(kind, id);
    }

    fn remove(&mut self, kind: Kind, id: Id) {
        let Some(link) = self.known(kind).take(id) else { return };
        self.changes += 1;
        match link {
            Link::Nothing => {}
            Link::Namespace(_) => self.namespaces_changed = true,
            Link::Service(key) => self.remove_service(kind, &key),
            Link::Slice(service) => self.remove_slice(kind, &service, id),
            Link::Pod(namespace, addresses) => self.remove_pod(&namespace, addresses.iter()),
        }
    }

    /// A list of `kind` is complete: what it lacks is dropped.
    ///
    /// # Errors
    /// Without `believe`, when the list lacks more than 20 objects and more than half of what is
    /// known: then nothing is dropped. The caller reads the list again, and believes the second
    /// one.
    pub fn end(&mut self, kind: Kind, believe: bool) -> Result<(), Implausible> {
        let known = self.known(kind);
        let gone = known.unseen();
        if !believe && (known.complete || known.restored) && gone.len() > FEW && gone.len() * 2 > known.len() {
            return Err(Implausible { known: known.len(), missing: gone.len() });
        }
        known.complete = true;
        for id in gone {
            self.remove(kind, id);
        }
        Ok(())
    }

    /// What has been taken in so far came from a snapshot that was right at `as_of`, in seconds
    /// since 1970. It is shown, and lists replace it in place as they replace each other: kind by
    /// kind, so that no name is missing in between.
    pub fn restored(&mut self, as_of: u64) {
        for (kind, known) in &mut self.kinds {
            // A snapshot does not have the names of Pods, so a first list lacks all that it gave.
            // A cluster that lacks the collection of imports says so once, and not by two lists.
            known.restored = !matches!(kind, Kind::Pod | Kind::Import);
        }
        self.publish();
        self.index.set_as_of(as_of);
    }

    /// The index that it fills.
    #[must_use]
    pub fn index(&self) -> &Arc<Index> {
        &self.index
    }

    /// How many objects of a kind are known.
    #[must_use]
    pub fn count(&self, kind: Kind) -> usize {
        self.kinds.get(&kind).map_or(0, Known::len)
    }

    /// How many objects turned out to be new, different or gone, since the start.
    #[must_use]
    pub fn changes(&self) -> u64 {
        self.changes
    }

    /// Shows all changes to the readers, and marks the index as synced when all lists have been
    /// read once.
    pub fn publish(&mut self) {
        let (ttl, index) = (self.ttl, self.index.clone());
        self.changed |= self.services.publish(&index.services, ttl) | self.imports.publish(&index.imports, ttl);
        self.owners.publish(&index.owners);
        self.external.publish(&index.external);
        self.pods.publish(&index.pods);
        if std::mem::take(&mut self.namespaces_changed) {
            let names =
                self.kinds.get(&Kind::Namespace).into_iter().flat_map(Known::links).filter_map(|link| match link {
                    Link::Namespace(name) => Some(name.to_ascii_lowercase().into_bytes().into_boxed_slice()),
                    _ => None,
                });
            index.set_namespaces(names.collect());
        }
        if std::mem::take(&mut self.changed) {
            index.set_serial(now().as_secs() as u32);
        }
        self.observe_latency();
        if !index.is_synced() && self.kinds.values().all(|known| known.complete) {
            index.set_synced();
        }
    }

    /// Whether every list has been read once, and shown.
    #[must_use]
    pub fn is_synced(&self) -> bool {
        self.index.is_synced()
    }

    fn known(&mut self, kind: Kind) -> &mut Known {
        self.kinds.entry(kind).or_default()
    }

    fn observe_latency(&mut self) {
        for (key, triggered) in self.waiting.drain(..) {
            let since = now().saturating_sub(Duration::from_nanos(triggered.max(0) as u64));
            let service = self.index.services.with(&key, |entry| entry.service().cloned()).flatten();
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
