//! Pods by address, and the prefixes of owned addresses.

use std::collections::HashMap;
use std::net::IpAddr;

use super::super::addresses::Holders;
use super::super::index::Labels;
use super::super::model::{Kind, Pod};
use super::Store;
use super::known::{Few, Id, Link};

impl Store {
    pub(super) fn apply_pod(&mut self, id: Id, pod: Pod) -> Link {
        let (namespace, addresses) = (self.namespace(&pod.namespace), Few::from(pod.addresses));
        match self.kinds.get(&Kind::Pod).and_then(|known| known.get(id)) {
            Some(Link::Pod(_, old)) if *old == addresses => return Link::Pod(namespace, addresses),
            Some(Link::Pod(_, old)) => {
                let old: Vec<_> = old.iter().collect();
                self.remove_pod(&namespace, old.into_iter());
            }
            _ => {}
        }
        self.changes += 1;
        for address in addresses.iter() {
            let holders = match self.pods.get(&self.index.pods, &address) {
                Some(known) => known.with(&namespace),
                None => namespace.clone(),
            };
            self.pods.set(&self.index.pods, address, Some(holders));
        }
        self.changed = true;
        Link::Pod(namespace, addresses)
    }

    pub(super) fn remove_pod(&mut self, namespace: &Holders, addresses: impl Iterator<Item = IpAddr>) {
        self.changed = true;
        let name = namespace.names().next().unwrap_or_default();
        for address in addresses {
            let Some(known) = self.pods.get(&self.index.pods, &address) else { continue };
            self.pods.set(&self.index.pods, address, known.without(name));
        }
    }

    /// The label of a namespace, which all of its pods share.
    fn namespace(&mut self, name: &str) -> Holders {
        if let Some(known) = self.pod_namespaces.get(name) {
            return known.clone();
        }
        // Those without pods make room for it.
        self.pod_namespaces.retain(|_, known| !known.is_unshared());
        let holder = Holders::one(name.to_ascii_lowercase().as_bytes());
        self.pod_namespaces.insert(name.into(), holder.clone());
        holder
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
