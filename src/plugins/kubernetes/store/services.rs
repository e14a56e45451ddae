//! Services with their slices, and who owns which address.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::super::index::{Entry, Owned, Owners, service_key};
use super::super::model::{Endpoint, Kind, ObjectKey, Service, Slice, Target};
use super::super::shards::{Draft, Shards};
use super::{Held, Link, Store};

/// The services or the imports that are being changed.
#[derive(Default)]
pub(super) struct Names {
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
    pub(super) fn publish(&mut self, table: &Shards<Arc<Entry>>, ttl: u32) -> bool {
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
    /// The addresses that reverse questions find. As in CoreDNS, slices whose service is gone still count.
    fn owned(&self) -> Vec<IpAddr> {
        let endpoints = self.slices.iter().flat_map(|slice| &slice.endpoints).filter_map(Endpoint::ip);
        self.service.as_deref().map(cluster_ips).unwrap_or_default().iter().copied().chain(endpoints).collect()
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

    pub(super) fn apply_service(&mut self, kind: Kind, service: Service) -> Link {
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

    pub(super) fn remove_service(&mut self, kind: Kind, object: &ObjectKey) {
        let Some(key) = service_key(&object.namespace, &object.name) else { return };
        let (names, table) = self.names(kind);
        let parts = names.parts(table, &key);
        let before = parts.owned();
        parts.service = None;
        let after = parts.owned();
        self.change_owners(kind, &key, &before, &after);
    }

    pub(super) fn apply_slice(&mut self, kind: Kind, object: &ObjectKey, slice: Slice) -> Link {
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

    pub(super) fn remove_slice(&mut self, kind: Kind, service: &[u8], object: &ObjectKey) {
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
        self.change_owners(kind, key, &before, &after);
    }

    /// A service had the addresses `before` and has those of `after`; in between it may have others as well.
    fn change_owners(&mut self, kind: Kind, key: &[u8], before: &[IpAddr], after: &[IpAddr]) {
        // Addresses of other clusters have no reverse names here.
        if matches!(kind, Kind::Import | Kind::ImportSlice) {
            return;
        }
        let (was, is): (HashSet<&IpAddr>, HashSet<&IpAddr>) = (before.iter().collect(), after.iter().collect());
        let parts = self.services.parts(&self.index.services, key);
        let lost: Vec<IpAddr> =
            was.difference(&is).map(|address| **address).filter(|&address| !parts.has(address)).collect();
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
