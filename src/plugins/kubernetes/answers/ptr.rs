//! PTR: the names that an address has.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;

use super::view::View;
use crate::plugins::kubernetes::known::addresses::As;
use crate::plugins::kubernetes::known::index::Entry;
use crate::plugins::kubernetes::known::label::LabelRoom;
use crate::wire::answer::{Answer, Section, scratch};
use crate::wire::encode::{Encoder, Owner, Tail, Written};
use crate::wire::name::{MAX_LABEL, Name, labels};
use crate::wire::request::flag;
use crate::wire::seen::with_scratch;
use crate::wire::types::rtype;

/// The PTR records of an address. Returns `None` if no exposed service has it.
///
/// A ClusterIP has one name, its service's. Any other address has the names that it has as an
/// endpoint.
#[must_use]
pub(super) fn answer(view: &View<'_>, address: IpAddr) -> Option<Arc<Answer>> {
    let zone = view.primary;
    let answer = view.index.owners.holders.with(&address, |owned| {
        let exposed = |key: &[u8]| view.exposes(labels(key).nth(1).unwrap_or_default());
        scratch(view.asked.len(), |answer| {
            let mut e = Encoder::new(answer);
            e.flags(flag::AA);
            if let Some(key) = owned.names_as(As::Own).find(|key| exposed(key)) {
                add(&mut e, view.options.ttl, key, &[], zone, None);
                return;
            }
            for key in owned.names_as(As::Endpoint).filter(|key| exposed(key)) {
                let add = |entry: &Entry| add_endpoints(&mut e, view.options.ttl, entry, address, zone);
                view.index.services.with(key, add);
            }
        })
    })?;
    (answer.counts[0] > 0).then_some(answer)
}

fn add_endpoints(e: &mut Encoder<'_>, ttl: u32, entry: &Entry, address: IpAddr, zone: &Name) {
    let mut suffix = None;
    with_scratch(|seen| {
        for endpoint in entry.endpoints().filter(|endpoint| endpoint.ip() == Some(address)) {
            let mut room = LabelRoom::default();
            let label = endpoint.label(&mut room).as_bytes();
            // Several endpoints of a service may have one address and one name: a pod that is in
            // two slices.
            if !seen.targets.insert((seen.hasher.hash_one(label), 0)) {
                continue;
            }
            let (mut front, len) = ([0; MAX_LABEL + 1], label.len() + 1);
            front[0] = label.len() as u8;
            front[1..len].copy_from_slice(label);
            let written = add(e, ttl, entry.key(), &front[..len], zone, suffix);
            suffix = suffix.or(written.map(|written| written.after(len)));
        }
    });
}

/// One PTR record to `front`, the service, and the zone.
fn add(
    e: &mut Encoder<'_>,
    ttl: u32,
    key: &[u8],
    front: &[u8],
    zone: &Name,
    suffix: Option<Written>,
) -> Option<Written> {
    if let Some(suffix) = suffix.filter(|suffix| e.can_point(*suffix)) {
        return e.pointer(Section::Answer, Owner::ASKED, rtype::PTR, ttl, Owner::new(front, Tail::Written(suffix)));
    }
    let mut room = [0; 512];
    let mut at = 0;
    for part in [front, key, b"\x03svc", &zone.wire()[..zone.len() - 1]] {
        room[at..at + part.len()].copy_from_slice(part);
        at += part.len();
    }
    e.pointer(Section::Answer, Owner::ASKED, rtype::PTR, ttl, Owner::new(&room[..at], Tail::Root))
}
