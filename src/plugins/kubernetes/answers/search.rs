//! The search list of a Pod, found by its address and by the name that it asks for.

use std::net::IpAddr;
use std::sync::Arc;

use crate::chain::Query;
use crate::chain::search::SearchPath;
use crate::plugins::kubernetes::known::index::Index;
use crate::wire::name::Name;

/// The label below which Services have their names.
const SERVICES: &[u8] = b"svc";

/// The search lists of all Pods with a cluster's DNS policy: NAMESPACE.svc.ZONE, svc.ZONE, ZONE,
/// those of the node.
pub(crate) struct PodPath {
    pub(crate) index: Arc<Index>,
    pub(crate) zones: Vec<Name>,
    /// The node's own search list, which the kubelet puts behind those of the cluster.
    pub(crate) node: Vec<Name>,
}

impl PodPath {
    /// Whether a Pod with this address lives in the namespace. Pods on the node's network share its
    /// address.
    fn lives_in(&self, address: IpAddr, namespace: &[u8]) -> bool {
        self.index.pods.with(&address, |pods| pods.names().any(|label| label == namespace)).unwrap_or(false)
    }
}

impl SearchPath for PodPath {
    fn given(&self, query: &Query<'_>) -> Option<usize> {
        let front = self.zones.iter().filter_map(|zone| query.question.name.prefix_len(zone)).min()?;
        // The last two labels in front of the zone, and where the first of them begins.
        let (mut at, mut begin, mut namespace, mut last): (usize, usize, &[u8], &[u8]) = (0, 0, &[], &[]);
        let mut before = 0;
        while at < front {
            let end = at + 1 + usize::from(query.question.name.wire()[at]);
            (begin, before) = (before, at);
            (namespace, last) = (last, &query.question.name.wire()[at + 1..end]);
            at = end;
        }
        let is_made = begin > 0 && last == SERVICES;
        (is_made && self.lives_in(query.client.peer.ip().to_canonical(), namespace)).then_some(begin)
    }

    fn domain(&self, first: &Name, place: usize) -> Option<Name> {
        match place {
            0 => Some(*first),
            1 => Some(first.parent()),
            2 => Some(first.parent().parent()),
            _ if place == 3 + self.node.len() => Some(Name::ROOT),
            _ => self.node.get(place - 3).copied(),
        }
    }
}
