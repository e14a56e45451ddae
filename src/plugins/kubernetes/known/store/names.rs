//! Services by name while they change: each with its slices, until its entry is built and
//! published.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::super::index::Entry;
use super::super::model::{Service, Slice, Target};
use super::super::shards::{Draft, Shards};

/// The services or the imports that are being changed.
#[derive(Default)]
pub(super) struct Names {
    draft: Draft<Arc<Entry>>,
    touched: HashMap<Box<[u8]>, Parts>,
}

/// A service, or what is left of one, while it changes.
#[derive(Default, Clone)]
pub(super) struct Parts {
    pub(super) service: Option<Arc<Service>>,
    pub(super) slices: Vec<Arc<Slice>>,
}

impl Names {
    /// The parts of a name, to be changed.
    pub(super) fn parts(&mut self, table: &Shards<Arc<Entry>>, key: &[u8]) -> &mut Parts {
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
    pub(super) fn look(
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
    /// The addresses that reverse questions find. As in CoreDNS, slices whose service is gone still
    /// count.
    pub(super) fn owned(&self) -> Vec<IpAddr> {
        let endpoints = self.slices.iter().flat_map(|slice| slice.endpoints.ips());
        self.service.as_deref().map(cluster_ips).unwrap_or_default().iter().copied().chain(endpoints).collect()
    }

    /// Whether the service or one of its endpoints has the address.
    pub(super) fn has(&self, address: IpAddr) -> bool {
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
