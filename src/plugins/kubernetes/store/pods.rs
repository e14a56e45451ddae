//! Pods by address, and the prefixes of owned addresses.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use super::super::index::{Labels, PodAddress};
use super::super::model::{Kind, ObjectKey, Pod};
use super::super::shards::Keyed;
use super::{Held, Link, Store};

impl Store {
    pub(super) fn apply_pod(&mut self, object: &ObjectKey, pod: Pod) -> Link {
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

    pub(super) fn remove_pod(&mut self, namespace: &str, addresses: &[IpAddr]) {
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
pub(super) struct Prefixes {
    counts: HashMap<Box<[u8]>, u32>,
    pub(super) changed: bool,
}

impl Prefixes {
    pub(super) fn add(&mut self, address: IpAddr) {
        self.each(address, |count| *count += 1);
    }

    pub(super) fn remove(&mut self, address: IpAddr) {
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

    pub(super) fn known(&self) -> Labels {
        self.counts.keys().cloned().collect()
    }
}
