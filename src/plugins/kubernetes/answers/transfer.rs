//! A whole zone as records, for a transfer. They are CoreDNS's, in its order: the services by name,
//! without the names of Pods, without PTR.

use std::collections::HashSet;
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::apex;
use super::options::Options;
use super::srv::weight;
use super::zone::Zone;
use crate::chain::transfer::{Offer, Records, TransferRecord, Version};
use crate::plugins::kubernetes::known::endpoints::EndpointRef;
use crate::plugins::kubernetes::known::index::{Entry, Index};
use crate::plugins::kubernetes::known::label::LabelRoom;
use crate::plugins::kubernetes::known::model::{Port, Slice, Target};
use crate::wire::name::{MAX_LABEL, Name, labels};
use crate::wire::types::rtype;

/// The weight of SRV records that lead to a service itself: also for a service with addresses of
/// both families, whose answers say 50 (suite `axfr-weights`).
const WEIGHT: u16 = 100;

/// Returns the current version of a zone. `local` are addresses of this machine that others can
/// reach.
#[must_use]
pub(crate) fn version(index: &Arc<Index>, options: &Options, zone: &Zone, local: &[IpAddr]) -> Offer {
    if !index.is_synced() {
        return Offer::NotReady;
    }
    let writer = Writer { zone: zone.name, ttl: options.ttl };
    let (serial, apex) = (index.serial(), writer.apex(apex::servers(index, local)));
    let (index, options, schema) = (index.clone(), options.clone(), zone.schema);
    // Data that have come since the serial was read have a newer one: the secondary asks again.
    let records = move || -> Records {
        let table = if schema.multicluster { &index.imports } else { &index.services };
        let mut entries: Vec<_> = table.all().filter(|entry| is_served(entry, &index, &options)).collect();
        entries.sort_unstable_by(|one, other| labels(one.key()).cmp(labels(other.key())));
        Box::new(apex.into_iter().chain(entries.into_iter().flat_map(move |entry| writer.service(entry))))
    };
    Offer::Version(Box::new(Version { serial, soa: zone.soa_record(serial), records: Box::new(records) }))
}

/// Whether questions for a service have answers too.
fn is_served(entry: &Entry, index: &Index, options: &Options) -> bool {
    let Some(service) = entry.service() else { return false };
    let namespace = labels(entry.key()).nth(1).unwrap_or_default();
    let is_empty = matches!(service.target, Target::Addresses(_)) && !entry.has_endpoints();
    options.serves(index, namespace) && !(options.ignore_empty_service && is_empty)
}

/// Makes the records of a zone.
#[derive(Clone, Copy)]
struct Writer {
    zone: Name,
    ttl: u32,
}

impl Writer {
    /// The name servers, and their addresses.
    fn apex(&self, mut servers: Vec<apex::OwnName>) -> Vec<TransferRecord> {
        let addresses: Vec<_> =
            servers.iter().filter_map(|(name, address)| Some(self.address(self.name(&[name])?, *address))).collect();
        servers.dedup_by(|one, other| one.0 == other.0);
        let names = servers.iter().filter_map(|(name, _)| self.name(&[name]));
        let record = |name: Name| self.record(self.zone, rtype::NS, name.wire().into());
        names.map(record).chain(addresses).collect()
    }

    /// The records of one service.
    fn service(self, entry: Entry) -> Records {
        let (Some(owner), Some(service)) = (self.name(&[entry.key(), b"\x03svc"]), entry.service().cloned()) else {
            return Box::new(std::iter::empty());
        };
        match &service.target {
            Target::Alias(target) => {
                let target = target.parse::<IpAddr>().is_err().then(|| Name::from_text(target).ok()).flatten();
                let record = move |target: Name| self.record(owner, rtype::CNAME, target.wire().into());
                Box::new(target.map(record).into_iter())
            }
            Target::Addresses(addresses) => {
                let mut records: Vec<_> = addresses.iter().map(|address| self.address(owner, *address)).collect();
                for port in service.ports.iter().filter(|_| !addresses.is_empty()) {
                    records.extend(self.srv(owner, owner, WEIGHT, port));
                    records.extend(self.port_owner(&entry, port).and_then(|at| self.srv(at, owner, WEIGHT, port)));
                }
                Box::new(records.into_iter())
            }
            Target::Endpoints => {
                let mut slices = entry.slices().to_vec();
                slices.sort_unstable_by(|one, other| one.name.cmp(&other.name));
                let (seen, hasher, at) = (HashSet::new(), RandomState::default(), (0, 0));
                Box::new(ServiceEndpoints { writer: self, entry, owner, slices, at, seen, hasher }.flatten())
            }
        }
    }

    /// The name of a port below its service; `None` if the port has no name.
    fn port_owner(&self, entry: &Entry, port: &Port) -> Option<Name> {
        let underscored = |text: &str| label(format!("_{text}").as_bytes());
        let fronts = [underscored(&port.name), underscored(&port.protocol)].concat();
        if port.name.is_empty() { None } else { self.name(&[&fronts, entry.key(), b"\x03svc"]) }
    }

    /// The name below the zone that begins with these labels. `None` if it is too long.
    fn name(&self, fronts: &[&[u8]]) -> Option<Name> {
        Name::from_wire(&[&fronts.concat(), self.zone.wire()].concat())
    }

    fn address(&self, owner: Name, address: IpAddr) -> TransferRecord {
        match address {
            IpAddr::V4(v4) => self.record(owner, rtype::A, v4.octets().into()),
            IpAddr::V6(v6) => self.record(owner, rtype::AAAA, v6.octets().into()),
        }
    }

    fn srv(&self, owner: Name, target: Name, weight: u16, port: &Port) -> Option<TransferRecord> {
        let numbers = [0, weight, port.number?].map(u16::to_be_bytes).concat();
        Some(self.record(owner, rtype::SRV, [&numbers, target.wire()].concat().into()))
    }

    fn record(&self, owner: Name, rtype: u16, data: Box<[u8]>) -> TransferRecord {
        TransferRecord { owner, rtype, ttl: self.ttl, data }
    }
}

/// The endpoints of a headless service, in the order of their slices: the records of one at a time,
/// since a slice may have a thousand.
struct ServiceEndpoints {
    writer: Writer,
    entry: Entry,
    /// The name of the service.
    owner: Name,
    slices: Vec<Arc<Slice>>,
    /// The next slice, and the next endpoint in it.
    at: (usize, usize),
    /// Addresses that are in the zone, with their label, hashed (0 for the service itself). Only
    /// kept if there are several slices, which may have the same address.
    seen: HashSet<(IpAddr, u64)>,
    hasher: RandomState,
}

impl Iterator for ServiceEndpoints {
    type Item = Vec<TransferRecord>;

    fn next(&mut self) -> Option<Vec<TransferRecord>> {
        loop {
            let slice = self.slices.get(self.at.0)?.clone();
            if let Some(endpoint) = slice.endpoints.iter().nth(self.at.1) {
                self.at.1 += 1;
                return Some(self.endpoint(&slice, endpoint));
            }
            self.at = (self.at.0 + 1, 0);
        }
    }
}

impl ServiceEndpoints {
    /// An endpoint: an address of the service and of its own name, and the slice's named ports.
    fn endpoint(&mut self, slice: &Slice, endpoint: EndpointRef<'_>) -> Vec<TransferRecord> {
        let (Some(address), mut room) = (endpoint.ip(), LabelRoom::default()) else { return Vec::new() };
        let (writer, entry) = (self.writer, self.entry.clone());
        let cluster = &slice.cluster[..slice.cluster.floor_char_boundary(MAX_LABEL)];
        let fronts = [endpoint.label(&mut room), cluster].map(|text| label(text.as_bytes())).concat();
        let Some(name) = writer.name(&[&fronts, entry.key(), b"\x03svc"]) else { return Vec::new() };
        let mut records = Vec::new();
        for (at, id) in [(self.owner, 0), (name, self.hasher.hash_one(&fronts))] {
            if self.slices.len() == 1 || self.seen.insert((address, id)) {
                records.push(writer.address(at, address));
            }
        }
        let weight = weight(slice.endpoints.len());
        for port in slice.ports.iter() {
            records.extend(writer.port_owner(&entry, port).and_then(|at| writer.srv(at, name, weight, port)));
        }
        records
    }
}

/// A label in wire form; empty for an empty text.
fn label(text: &[u8]) -> Vec<u8> {
    if text.is_empty() { Vec::new() } else { [&[text.len() as u8], text].concat() }
}
