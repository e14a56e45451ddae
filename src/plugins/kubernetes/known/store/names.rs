//! Services by name while they change: each with its slices, until its entry is built and
//! published.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::super::index::Entry;
use super::super::model::{Service, Slice};
use super::super::shards::{Draft, Shards};

/// The services or the imports that are being changed.
#[derive(Default)]
pub(super) struct Names {
    draft: Draft<Entry>,
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
    pub(super) fn parts(&mut self, table: &Shards<Entry>, key: &[u8]) -> &mut Parts {
        if !self.touched.contains_key(key) {
            let parts = self
                .draft
                .get(table, key)
                .map(|entry| Parts { service: entry.service().cloned(), slices: entry.slices().to_vec() });
            self.touched.insert(key.into(), parts.unwrap_or_default());
        }
        self.touched.entry(key.into()).or_default()
    }

    /// Looks at a name as it will be, without touching it.
    pub(super) fn look(
        &self,
        table: &Shards<Entry>,
        key: &[u8],
        look: impl FnOnce(Option<&Arc<Service>>, &[Arc<Slice>]) -> bool,
    ) -> bool {
        match self.touched.get(key) {
            Some(parts) => look(parts.service.as_ref(), &parts.slices),
            None => self.draft.get(table, key).is_some_and(|entry| look(entry.service(), entry.slices())),
        }
    }

    /// Builds and shows what was touched; returns whether anything was.
    pub(super) fn publish(&mut self, table: &Shards<Entry>, ttl: u32) -> bool {
        let any = !self.touched.is_empty();
        for (key, parts) in self.touched.drain() {
            if parts.service.is_none() && parts.slices.is_empty() {
                self.draft.remove(table, &key);
            } else {
                self.draft.put(table, Entry::new(&key, parts.service, parts.slices, ttl));
            }
        }
        self.draft.publish(table);
        any
    }
}

impl Parts {
    /// Whether one of the endpoints has the address. As in CoreDNS, slices whose service is gone
    /// still count.
    pub(super) fn has_endpoint(&self, address: IpAddr) -> bool {
        self.slices.iter().any(|slice| slice.endpoints.ips().any(|ip| ip == address))
    }
}
