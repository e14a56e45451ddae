//! Pods, and the namespaces of the Pods at each address.

use std::net::IpAddr;

use super::super::addresses::{As, Holders};
use super::super::model::{Kind, Pod};
use super::Store;
use super::objects::{Few, Id, Link};

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
            self.pods.set(&self.index.pods, address, known.without(As::Own, name));
        }
    }

    /// The label of a namespace, which all of its pods share.
    fn namespace(&mut self, name: &str) -> Holders {
        if let Some(known) = self.pod_namespaces.get(name) {
            return known.clone();
        }
        // Those without pods make room for it.
        self.pod_namespaces.retain(|_, known| !known.is_unshared());
        let holder = Holders::one(As::Own, name.to_ascii_lowercase().as_bytes());
        self.pod_namespaces.insert(name.into(), holder.clone());
        holder
    }
}
