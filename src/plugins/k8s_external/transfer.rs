//! A whole zone as records, for a transfer: those that questions for its names get, without PTR.

use std::sync::Arc;

use super::answer::{Made, Making};
use super::setup::Directive;
use crate::chain::external::Externals;
use crate::chain::transfer::{Offer, Records, TransferRecord, Version};
use crate::wire::answer::{Answer, Record, Section};
use crate::wire::name::Name;
use crate::wire::types::rtype;

/// Returns the current version of `zone`, which is one of the directive's.
pub(super) fn version(directive: &Arc<Directive>, externals: &Arc<dyn Externals>, zone: &Name) -> Offer {
    // Names of addresses are found by their address only.
    if zone.wire().ends_with(b"\x04arpa\0") {
        return Offer::None;
    }
    if !externals.is_synced() {
        return Offer::NotReady;
    }
    let writer = Writer { directive: directive.clone(), externals: externals.clone(), zone: *zone };
    let (serial, making) = (externals.serial(), writer.making(zone));
    let soa = making.soa();
    let soa = TransferRecord { owner: *zone, rtype: rtype::SOA, ttl: soa.ttl, data: soa.data(zone).into() };
    Offer::Version(Box::new(Version { serial, soa, records: Box::new(move || writer.records()) }))
}

/// Makes the records of a zone.
struct Writer {
    directive: Arc<Directive>,
    externals: Arc<dyn Externals>,
    zone: Name,
}

impl Writer {
    fn records(self) -> Records {
        let (apex, services) = (self.apex(), self.externals.services(self.directive.headless));
        Box::new(apex.into_iter().chain(services.into_iter().flat_map(move |service| self.service(&service))))
    }

    /// The name server, and its addresses.
    fn apex(&self) -> Vec<TransferRecord> {
        let Some(server) = self.below(&self.directive.name_server) else { return Vec::new() };
        let (ttl, data) = (self.directive.ttl, server.wire().into());
        let mut records = vec![TransferRecord { owner: self.zone, rtype: rtype::NS, ttl, data }];
        for qtype in [rtype::A, rtype::AAAA] {
            if let Made::Answer(answer) = self.making(&server).below_apex(b"\x03ns1", qtype) {
                records.extend(records_of(server, &answer));
            }
        }
        records
    }

    /// The records of a service, of its ports and of its endpoints.
    fn service(&self, service: &[u8]) -> Vec<TransferRecord> {
        let mut records = Vec::new();
        for base in self.externals.names(service, self.directive.headless) {
            let Some(name) = self.below(&base) else { continue };
            for qtype in [rtype::A, rtype::AAAA, rtype::SRV] {
                match self.making(&name).find(&base, qtype) {
                    Made::Answer(answer) | Made::Targets(answer, _) => records.extend(records_of(name, &answer)),
                    Made::Alias(target) => {
                        let (ttl, data) = (self.externals.ttl(), target.wire().into());
                        records.push(TransferRecord { owner: name, rtype: rtype::CNAME, ttl, data });
                        // No secondary takes other data beside an alias (RFC 1034 section 3.6.2).
                        break;
                    }
                    Made::NoData | Made::Nothing | Made::Unknown => {}
                }
            }
        }
        records
    }

    /// Returns a name below the zone; `None` if it is too long.
    fn below(&self, labels: &[u8]) -> Option<Name> {
        Name::from_wire(&[labels, self.zone.wire()].concat())
    }

    fn making<'a>(&'a self, name: &'a Name) -> Making<'a> {
        Making {
            directive: &self.directive,
            externals: &*self.externals,
            asked: name.wire(),
            zone_len: self.zone.len(),
        }
    }
}

/// Returns the records that answer a question for a name. Their data are not compressed.
fn records_of(owner: Name, answer: &Answer) -> impl Iterator<Item = TransferRecord> {
    let record = move |record: Record<'_>| TransferRecord {
        owner,
        rtype: record.rtype,
        ttl: record.ttl,
        data: record.rdata.into(),
    };
    answer.section(Section::Answer).map(record)
}
