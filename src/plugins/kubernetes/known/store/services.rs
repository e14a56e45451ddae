//! Services with their slices, and who owns which address.

use std::collections::{HashMap, HashSet};
use std::net::IpAddr;
use std::sync::Arc;

use super::super::addresses::Holders;
use super::super::index::{Entry, service_key};
use super::super::model::{Kind, Service, Slice, Target};
use super::super::shards::{Draft, Shards};
use super::Store;
use super::known::{Id, Link};

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
        let endpoints = self.slices.iter().flat_map(|slice| slice.endpoints.ips());
        self.service.as_deref().map(cluster_ips).unwrap_or_default().iter().copied().chain(endpoints).collect()
    }

    fn has(&self, address: IpAddr) -> bool {
        let in_slice = |slice: &Arc<Slice>| slice.endpoints.ips().any(|ip| ip == address);
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

    pub(super) fn apply_service(&mut self, kind: Kind, mut service: Service) -> Link {
        let Some(key) = service_key(&service.namespace, &service.name) else { return Link::Nothing };
        service.ports = self.ports.shared(service.ports);
        let (names, table) = self.names(kind);
        // A list says again what is known; that must not build every answer anew.
        if names.look(table, &key, |known, _| known.is_some_and(|known| **known == service)) {
            return Link::Service(key);
        }
        self.changes += 1;
        self.replace_service(kind, &key, Some(service));
        Link::Service(key)
    }

    pub(super) fn remove_service(&mut self, kind: Kind, key: &[u8]) {
        self.replace_service(kind, key, None);
    }

    fn replace_service(&mut self, kind: Kind, key: &[u8], service: Option<Service>) {
        let (names, table) = self.names(kind);
        let parts = names.parts(table, key);
        let before = parts.owned();
        let old = std::mem::replace(&mut parts.service, service.map(Arc::new));
        let (after, new) = (parts.owned(), parts.service.clone());
        self.change_owners(kind, key, &before, &after);
        for address in old.iter().flat_map(|old| old.external_ips()) {
            self.external.disown(&self.index.external, address, key);
        }
        if let Some(new) = new.filter(|new| new.external.is_some()) {
            let shared_key = Holders::one(key);
            new.external_ips().for_each(|address| self.external.own(&self.index.external, address, &shared_key));
        }
    }

    pub(super) fn apply_slice(&mut self, kind: Kind, id: Id, mut slice: Slice) -> Link {
        // A slice may be moved to another service by changing its label.
        let Some(key) = service_key(&slice.namespace, &slice.service) else {
            if let Some(Link::Slice(_)) = self.known(kind).get(id) {
                self.remove(kind, id);
            }
            return Link::Nothing;
        };
        slice.ports = self.ports.shared(slice.ports);
        let (names, table) = self.names(kind);
        if names.look(table, &key, |_, slices| slices.iter().any(|known| **known == slice)) {
            return Link::Slice(key);
        }
        self.changes += 1;
        let moved_from = match self.known(kind).get(id) {
            Some(Link::Slice(old)) if *old != key => Some(old.clone()),
            _ => None,
        };
        if let Some(old) = moved_from {
            self.remove_slice(kind, &old, id);
        }
        if self.latency.is_some() && self.index.is_synced() {
            self.waiting.extend(slice.triggered.map(|triggered| (key.clone(), triggered)));
        }
        self.replace_slice(kind, &key, id, Some(slice));
        Link::Slice(key)
    }

    pub(super) fn remove_slice(&mut self, kind: Kind, service: &[u8], id: Id) {
        self.replace_slice(kind, service, id, None);
    }

    fn replace_slice(&mut self, kind: Kind, key: &[u8], id: Id, slice: Option<Slice>) {
        let ids = self.ids.clone();
        let (names, table) = self.names(kind);
        let parts = names.parts(table, key);
        let at = parts.slices.iter().position(|known| ids.of(&known.namespace, &known.name) == id);
        let old = at.map(|at| parts.slices.remove(at));
        let addresses = |slice: &Slice| slice.endpoints.ips().collect::<Vec<_>>();
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
        let shared_key = Holders::one(key);
        for address in lost {
            self.owners.disown(&self.index.owners, address, key);
        }
        for address in is.difference(&was) {
            self.owners.own(&self.index.owners, **address, &shared_key);
        }
    }
}
