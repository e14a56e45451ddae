//! What a zone says of itself: its NS records, the server's own addresses, and the version of the
//! schema.

use std::net::IpAddr;
use std::sync::Arc;

use super::view::View;
use crate::plugins::kubernetes::known::addresses::Holders;
use crate::plugins::kubernetes::known::index::{Entry, Index};
use crate::plugins::kubernetes::known::label::LabelRoom;
use crate::plugins::kubernetes::known::model::Target;
use crate::wire::answer::{Answer, Section, scratch};
use crate::wire::encode::{Encoder, Owner, Tail};
use crate::wire::request::flag;
use crate::wire::types::rtype;

/// The version of the DNS schema (Kubernetes's DNS specification, section 2.2), and its TTL in
/// seconds.
const SCHEMA: (&[u8], u32) = (b"\x051.1.0", 28800);

/// A name of this server below the zone, and an address of it.
pub(super) type OwnName = (Vec<u8>, IpAddr);

/// The addresses under which the cluster reaches this server: those of the services whose endpoints
/// have one of `local`, or `local` itself where no service has.
#[must_use]
pub(super) fn servers(index: &Index, local: &[IpAddr]) -> Vec<OwnName> {
    let mut found = Vec::new();
    for address in local {
        let keys = index.owners.holders.with(address, Clone::clone);
        for key in keys.iter().flat_map(Holders::names) {
            index.services.with(key, |entry| add_service(&mut found, entry, *address));
        }
    }
    if found.is_empty() {
        return local.iter().map(|address| (b"\x02ns\x03dns".to_vec(), *address)).collect();
    }
    found.sort();
    found.dedup();
    found
}

fn add_service(found: &mut Vec<OwnName>, entry: &Entry, local: IpAddr) {
    if !entry.endpoints().any(|endpoint| endpoint.ip() == Some(local)) {
        return;
    }
    let Some(service) = entry.service() else { return };
    let below = |front: &[u8]| [front, entry.key(), b"\x03svc"].concat();
    match &service.target {
        Target::Addresses(addresses) => found.extend(addresses.iter().map(|address| (below(&[]), *address))),
        Target::Endpoints => {
            for endpoint in entry.endpoints() {
                let mut room = LabelRoom::default();
                let label = endpoint.label(&mut room).as_bytes();
                let front = [&[label.len() as u8], label].concat();
                found.extend(endpoint.ip().map(|address| (below(&front), address)));
            }
        }
        Target::Alias(_) => {}
    }
}

/// NS records of the zone with their addresses. Returns `None` if no address is known.
#[must_use]
pub(super) fn name_servers(view: &View<'_>) -> Option<Arc<Answer>> {
    let servers = servers(view.index, view.local);
    let zone = Tail::AskedEnd(view.zone.name.len() as u8);
    let ttl = view.options.ttl;
    (!servers.is_empty()).then(|| {
        Arc::new(Encoder::build(view.asked.len(), |e| {
            e.flags(flag::AA);
            let mut last: &[u8] = &[];
            for (name, _) in &servers {
                if *name != *last {
                    e.pointer(Section::Answer, Owner::ASKED, rtype::NS, ttl, Owner::new(name, zone));
                }
                last = name;
            }
            for (name, address) in &servers {
                e.address(Section::Additional, Owner::new(name, zone), ttl, *address);
            }
        }))
    })
}

/// The TXT record with the version of the schema.
pub(super) fn version(asked: &[u8]) -> Arc<Answer> {
    let (text, ttl) = SCHEMA;
    scratch(asked.len(), |answer| {
        let mut e = Encoder::new(answer);
        e.flags(flag::AA);
        e.record(Section::Answer, Owner::ASKED, rtype::TXT, ttl, |e| e.put(text));
    })
}

/// The addresses of this machine that others can reach.
#[must_use]
pub(crate) fn local_addresses() -> Vec<IpAddr> {
    let interfaces = if_addrs::get_if_addrs().unwrap_or_default();
    let addresses = interfaces.iter().map(if_addrs::Interface::ip);
    addresses.filter(|address| !address.is_loopback() && !is_link_local(*address)).collect()
}

fn is_link_local(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(v4) => v4.is_link_local(),
        IpAddr::V6(v6) => v6.is_unicast_link_local(),
    }
}
