//! Services with their slices, and the addresses that they own.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::super::addresses::{As, Holders};
use super::super::index::{Entry, service_key};
use super::super::model::{Kind, Service, Slice};
use super::super::shards::Shards;
use super::Store;
use super::names::Names;
use super::objects::{Id, Link};

impl Store {
    fn names(&mut self, kind: Kind) -> (&mut Names, &Shards<Entry>) {
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
        let new = service.map(Arc::new);
        let old = std::mem::replace(&mut parts.service, new.clone());
        let addresses = |service: &Option<Arc<Service>>| match service {
            Some(service) => service.cluster_ips().to_vec(),
            None => Vec::new(),
        };
        self.change_owners(kind, As::Own, key, &addresses(&old), &addresses(&new));
        for address in old.iter().flat_map(|old| old.external_ips()) {
            self.external.disown(&self.index.external, address, As::Own, key);
        }
        if let Some(new) = new.filter(|new| new.external.is_some()) {
            let shared_key = Holders::one(As::Own, key);
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
        self.change_owners(kind, As::Endpoint, key, &before, &after);
    }

    /// A service, or one of its slices, had the addresses `before` and has those of `after`.
    /// Another slice may have them too.
    fn change_owners(&mut self, kind: Kind, held_as: As, key: &[u8], before: &[IpAddr], after: &[IpAddr]) {
        // Addresses of other clusters have no reverse names here.
        if matches!(kind, Kind::Import | Kind::ImportSlice) {
            return;
        }
        let (was, is): (HashSet<&IpAddr>, HashSet<&IpAddr>) = (before.iter().collect(), after.iter().collect());
        let parts = self.services.parts(&self.index.services, key);
        let is_left = |address: &IpAddr| held_as == As::Endpoint && parts.has_endpoint(*address);
        let lost: Vec<IpAddr> = was.difference(&is).map(|address| **address).filter(|a| !is_left(a)).collect();
        let shared_key = Holders::one(held_as, key);
        for address in lost {
            self.owners.disown(&self.index.owners, address, held_as, key);
        }
        for address in is.difference(&was) {
            self.owners.own(&self.index.owners, **address, &shared_key);
        }
    }
}
