//! SRV: ports of a service or of its endpoints, each target with its addresses.

use std::hash::BuildHasher;
use std::net::IpAddr;

use foldhash::fast::RandomState;

use super::found::Found;
use super::selection::{Selection, takes_port};
use super::view::View;
use crate::plugins::kubernetes::known::endpoints::EndpointRef;
use crate::plugins::kubernetes::known::index::Entry;
use crate::plugins::kubernetes::known::label::LabelRoom;
use crate::plugins::kubernetes::known::model::{Port, Slice};
use crate::wire::answer::{Section, scratch};
use crate::wire::encode::{Encoder, Owner, Tail, Written};
use crate::wire::name::MAX_LABEL;
use crate::wire::request::flag;
use crate::wire::seen::{Seen, with_scratch};
use crate::wire::types::rtype;

impl View<'_> {
    /// SRV of a ClusterIP service: its ports, with the service itself as target.
    pub(super) fn cluster_srv<'p, P: Iterator<Item = &'p Port>>(
        &self,
        entry: &Entry,
        all: &[IpAddr],
        ports: impl Fn() -> P,
    ) -> Found {
        let weight = weight(ports().count() * all.len());
        let answer = with_scratch(|seen| {
            scratch(self.asked.len(), |answer| {
                let mut e = Encoder::new(answer);
                e.flags(flag::AA);
                let mut target = None;
                for number in ports().filter_map(|port| port.number).filter(|_| !all.is_empty()) {
                    if seen.targets.insert((0, number)) {
                        target = target.or(self.srv(&mut e, entry, weight, number, &[]));
                    }
                }
                for &address in all.iter().filter(|_| target.is_some()) {
                    if seen.addresses.insert((0, address)) {
                        self.glue(&mut e, entry, &[], target, address);
                    }
                }
            })
        });
        if answer.counts[0] == 0 { Found::NoData } else { Found::Answer(answer) }
    }

    /// SRV of endpoints: every endpoint with every port of its slice.
    pub(super) fn endpoint_srv(&self, entry: &Entry, selection: Selection<'_>) -> Found {
        let ports = |slice: &Slice| slice.ports.iter().filter(|port| takes_port(selection.part, port)).count();
        let weight = weight(selection.pairs().map(|(slice, _)| ports(slice)).sum());
        let answer = with_scratch(|seen| {
            scratch(self.asked.len(), |answer| {
                let mut e = Encoder::new(answer);
                e.flags(flag::AA);
                self.endpoint_targets(&mut e, entry, selection, weight, seen);
                self.endpoint_glue(&mut e, entry, selection, seen);
            })
        });
        if answer.counts[0] == 0 { Found::NoData } else { Found::Answer(answer) }
    }

    fn endpoint_targets(
        &self,
        e: &mut Encoder<'_>,
        entry: &Entry,
        selection: Selection<'_>,
        weight: u16,
        seen: &mut Seen,
    ) {
        for (slice, endpoint) in selection.pairs() {
            let mut front = Front::default();
            let id = front.fill(slice, endpoint, &seen.hasher);
            for port in slice.ports.iter().filter(|port| takes_port(selection.part, port)) {
                let Some(number) = port.number else { continue };
                if seen.targets.insert((id, number)) {
                    match self.srv(e, entry, weight, number, front.wire()) {
                        Some(written) => _ = seen.written.entry(id).or_insert(written),
                        None if e.is_full() => return,
                        // A target that is too long to be a name.
                        None => {}
                    }
                }
            }
        }
    }

    fn endpoint_glue(&self, e: &mut Encoder<'_>, entry: &Entry, selection: Selection<'_>, seen: &mut Seen) {
        for (slice, endpoint) in selection.pairs() {
            let mut front = Front::default();
            let id = front.fill(slice, endpoint, &seen.hasher);
            let (Some(address), Some(&target)) = (endpoint.ip(), seen.written.get(&id)) else { continue };
            if seen.addresses.insert((id, address)) {
                self.glue(e, entry, front.wire(), Some(target), address);
            }
        }
    }

    /// One SRV record; returns where its target stands. `front` are the labels before the service.
    fn srv(&self, e: &mut Encoder<'_>, entry: &Entry, weight: u16, port: u16, front: &[u8]) -> Option<Written> {
        e.record(Section::Answer, Owner::ASKED, rtype::SRV, self.options.ttl, |e| {
            for number in [0, weight, port] {
                e.put(&number.to_be_bytes());
            }
            // A target is not compressed (RFC 2782).
            self.with_target(entry, front, |name| e.put_name(Owner::new(name, Tail::Root)))
        })
    }

    /// Adds an address of a target. `front` are the labels before the service, `target` says where
    /// the name stands already.
    fn glue(&self, e: &mut Encoder<'_>, entry: &Entry, front: &[u8], target: Option<Written>, address: IpAddr) {
        let ttl = self.options.ttl;
        match target.filter(|target| e.can_point(*target)) {
            Some(target) => e.address(Section::Additional, Owner::written(target), ttl, address),
            None => self.with_target(entry, front, |name| {
                e.address(Section::Additional, Owner::new(name, Tail::Root), ttl, address);
            }),
        }
    }

    /// The name of `front` below a service, root label left out: the cluster's data in their own
    /// case, the zone in the client's.
    fn with_target<R>(&self, entry: &Entry, front: &[u8], take: impl FnOnce(&[u8]) -> R) -> R {
        let zone = &self.asked[self.asked.len() - self.zone.name.len()..self.asked.len() - 1];
        let (mut room, mut at) = ([0; 512], 0);
        for part in [front, entry.key(), b"\x03svc", zone] {
            room[at..at + part.len()].copy_from_slice(part);
            at += part.len();
        }
        take(&room[..at])
    }
}

/// Every record has the same share of 100, but at least 1.
pub(super) fn weight(items: usize) -> u16 {
    (100 / items.max(1)).max(1) as u16
}

/// The labels of an endpoint in front of its service: its own, and its cluster's in a multicluster
/// zone.
struct Front {
    len: usize,
    octets: [u8; 128],
}

impl Default for Front {
    fn default() -> Self {
        Self { len: 0, octets: [0; 128] }
    }
}

impl Front {
    /// Fills in the labels of an endpoint and returns a number that stands for them.
    fn fill(&mut self, slice: &Slice, endpoint: EndpointRef<'_>, hasher: &RandomState) -> u64 {
        let mut room = LabelRoom::default();
        self.push(endpoint.label(&mut room));
        if !slice.cluster.is_empty() {
            self.push(&slice.cluster[..slice.cluster.floor_char_boundary(MAX_LABEL)]);
        }
        hasher.hash_one(self.wire())
    }

    fn push(&mut self, label: &str) {
        let label = label.as_bytes();
        self.octets[self.len] = label.len() as u8;
        self.octets[self.len + 1..self.len + 1 + label.len()].copy_from_slice(label);
        self.len += 1 + label.len();
    }

    fn wire(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}
