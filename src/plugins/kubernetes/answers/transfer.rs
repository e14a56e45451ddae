//! A whole zone as records, for a transfer. They are CoreDNS's, in its order: the services by name,
//! without the names of Pods, without PTR.

use std::collections::HashSet;
use std::net::IpAddr;
use std::sync::Arc;

use super::apex;
use super::view::View;
use crate::chain::transfer::{Offer, Records, TransferRecord, Version};
use crate::plugins::kubernetes::known::index::Entry;
use crate::plugins::kubernetes::known::label::LabelRoom;
use crate::plugins::kubernetes::known::model::{Port, Service, Slice, Target};
use crate::wire::name::{MAX_LABEL, Name, labels};
use crate::wire::types::rtype;

/// The weight of SRV records that lead to a service itself: also for a service with addresses of
/// both families, whose answers say 50 (suite `axfr-weights`).
const WEIGHT: u16 = 100;

/// Returns the current version of the view's zone.
#[must_use]
pub(crate) fn version(view: &View<'_>) -> Offer {
    if !view.index.is_synced() {
        return Offer::NotReady;
    }
    let (zone, index) = (view.zone, view.index);
    let table = if zone.schema.multicluster { &index.imports } else { &index.services };
    let exposed = |entry: &Arc<Entry>| {
        let namespace = labels(&entry.key).nth(1).unwrap_or_default();
        entry.service.is_some() && view.exposes(namespace) && !view.hides(entry)
    };
    let mut entries: Vec<Arc<Entry>> = table.all().filter(exposed).collect();
    let writer = Writer { zone: zone.name, ttl: view.options.ttl };
    let (serial, apex) = (index.serial(), writer.apex(view));
    let records = move || -> Records {
        entries.sort_unstable_by(|one, other| labels(&one.key).cmp(labels(&other.key)));
        Box::new(apex.into_iter().chain(entries.into_iter().flat_map(move |entry| writer.service(entry))))
    };
    Offer::Version(Version { serial, soa: zone.soa_record(serial), records: Box::new(records) })
}

impl View<'_> {
    /// Returns whether the options hide a service from answers too.
    fn hides(&self, entry: &Entry) -> bool {
        let has_addresses = |service: &Service| matches!(service.target, Target::Addresses(_));
        self.options.ignore_empty_service
            && entry.service.as_deref().is_some_and(has_addresses)
            && !entry.has_endpoints()
    }
}

/// Makes the records of a zone.
#[derive(Clone, Copy)]
struct Writer {
    zone: Name,
    ttl: u32,
}

impl Writer {
    /// The name servers, and their addresses.
    fn apex(&self, view: &View<'_>) -> Vec<TransferRecord> {
        let mut servers = apex::servers(view.index, view.local);
        let addresses: Vec<_> =
            servers.iter().filter_map(|(name, address)| Some(self.address(self.name(&[name])?, *address))).collect();
        servers.dedup_by(|one, other| one.0 == other.0);
        let names = servers.iter().filter_map(|(name, _)| self.name(&[name]));
        let record = |name: Name| self.record(self.zone, rtype::NS, name.wire().into());
        names.map(record).chain(addresses).collect()
    }

    /// The records of one service.
    fn service(self, entry: Arc<Entry>) -> Records {
        let (Some(owner), Some(service)) = (self.name(&[&entry.key, b"\x03svc"]), entry.service.clone()) else {
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
                let (mut seen, mut slices) = (HashSet::new(), entry.slices.to_vec());
                slices.sort_unstable_by(|one, other| one.name.cmp(&other.name));
                let records = move |slice: Arc<Slice>| self.slice(&entry, owner, &slice, &mut seen);
                Box::new(slices.into_iter().flat_map(records))
            }
        }
    }

    /// The endpoints of one slice: each an address of the service and of its own name, and its named
    /// ports. An address in two slices is there once.
    fn slice(
        &self,
        entry: &Entry,
        owner: Name,
        slice: &Slice,
        seen: &mut HashSet<(Name, IpAddr)>,
    ) -> Vec<TransferRecord> {
        let weight = (100 / slice.endpoints.ips().count().max(1)).max(1) as u16;
        let owners: Vec<_> =
            slice.ports.iter().filter_map(|port| Some((port, self.port_owner(entry, port)?))).collect();
        let mut records = Vec::new();
        for endpoint in slice.endpoints.iter() {
            let (Some(address), mut room) = (endpoint.ip(), LabelRoom::default()) else { continue };
            let cluster = &slice.cluster[..slice.cluster.floor_char_boundary(MAX_LABEL)];
            let fronts = [endpoint.label(&mut room), cluster].map(|text| label(text.as_bytes()));
            let Some(name) = self.name(&[&fronts[0], &fronts[1], &entry.key, b"\x03svc"]) else { continue };
            for at in [owner, name] {
                if seen.insert((at, address)) {
                    records.push(self.address(at, address));
                }
            }
            records.extend(owners.iter().filter_map(|(port, at)| self.srv(*at, name, weight, port)));
        }
        records
    }

    /// The name of a port below its service; `None` if the port has no name.
    fn port_owner(&self, entry: &Entry, port: &Port) -> Option<Name> {
        let underscored = |text: &str| label(format!("_{text}").as_bytes());
        let fronts = [underscored(&port.name), underscored(&port.protocol)].concat();
        if port.name.is_empty() { None } else { self.name(&[&fronts, &entry.key, b"\x03svc"]) }
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

/// A label in wire form; empty for an empty text.
fn label(text: &[u8]) -> Vec<u8> {
    if text.is_empty() { Vec::new() } else { [&[text.len() as u8], text].concat() }
}
