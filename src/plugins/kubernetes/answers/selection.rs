//! Which ports and endpoints of a service a name selects.

use std::sync::Arc;

use super::name::Part;
use crate::plugins::kubernetes::known::endpoints::EndpointRef;
use crate::plugins::kubernetes::known::index::{Entry, Leads};
use crate::plugins::kubernetes::known::label::LabelRoom;
use crate::plugins::kubernetes::known::model::{Port, Slice};
use crate::wire::name::labels;

/// The endpoints that a part of a service selects.
#[derive(Clone, Copy)]
pub(super) struct Selection<'a> {
    pub(super) slices: &'a [Arc<Slice>],
    pub(super) part: Part<'a>,
}

impl<'a> Selection<'a> {
    /// The endpoints, each with its slice.
    pub(super) fn pairs(self) -> impl Iterator<Item = (&'a Slice, EndpointRef<'a>)> {
        self.slices
            .iter()
            .filter(move |slice| slice.ports.iter().any(|port| takes_port(self.part, port)))
            .flat_map(|slice| slice.endpoints.iter().map(move |endpoint| (&**slice, endpoint)))
            .filter(move |(slice, endpoint)| self.takes(slice, *endpoint))
    }

    fn takes(self, slice: &Slice, endpoint: EndpointRef<'_>) -> bool {
        let is = |label: &[u8]| endpoint.label(&mut LabelRoom::default()).as_bytes().eq_ignore_ascii_case(label);
        match self.part {
            Part::Whole | Part::Port { .. } => true,
            // In a multicluster zone an endpoint's name needs its cluster's.
            Part::Endpoint(label) => slice.cluster.is_empty() && is(label),
            Part::ClusterEndpoint { endpoint: label, cluster } => {
                slice.cluster.as_bytes().eq_ignore_ascii_case(cluster) && is(label)
            }
            Part::Zone { zone, .. } => endpoint.zone.is_some_and(|name| is_zone(name, zone)),
            Part::ZoneParent => false,
        }
    }
}

/// Whether the labels (wire form) spell a zone's name, with dots between them.
fn is_zone(name: &str, zone: &[u8]) -> bool {
    let mut rest = name.as_bytes();
    for (at, label) in labels(zone).enumerate() {
        let dot: &[u8] = if at == 0 { b"" } else { b"." };
        match rest.strip_prefix(dot).and_then(|rest| rest.strip_prefix(label)) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}

/// Whether a label such as `_tcp` stands above the ports of a service (RFC 8020: such a name
/// exists).
pub(super) fn is_above_ports(entry: &Entry, label: &[u8]) -> bool {
    let Some(protocol) = label.strip_prefix(b"_") else { return false };
    let named = |port: &Port| !port.name.is_empty() && port.protocol.as_bytes() == protocol;
    match entry.leads() {
        Leads::Endpoints => {
            entry.slices().iter().any(|slice| !slice.endpoints.is_empty() && slice.ports.iter().any(named))
        }
        _ => entry.service().is_some_and(|service| service.ports.iter().any(named)),
    }
}

/// Whether a part of a service takes a port: parts that name none take all.
pub(super) fn takes_port(part: Part<'_>, candidate: &Port) -> bool {
    match part {
        Part::Port { port, protocol } => {
            let is = |label: &[u8], wanted: &[u8]| wanted.is_empty() || label == wanted;
            is(candidate.name.as_bytes(), port) && is(candidate.protocol.as_bytes(), protocol)
        }
        _ => true,
    }
}
