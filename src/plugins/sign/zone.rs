//! Makes the signed zone.

use std::collections::BTreeMap;

use sha2::{Digest, Sha256};

use crate::dnssec::key::Key;
use crate::dnssec::nsec;
use crate::dnssec::rrset::{CanonicalSet, Validity};
use crate::wire::name::Name;
use crate::wire::types::rtype;
use crate::zone::data::{Zone, ZoneRecord};

/// Types that are made anew.
const MADE: [u16; 5] = [rtype::RRSIG, rtype::NSEC, rtype::DNSKEY, rtype::CDS, rtype::CDNSKEY];

/// The digest type SHA-256 of DS and CDS records (RFC 4509).
const SHA256: u8 = 2;

/// A record of the signed zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct SignedRecord {
    pub(super) owner: Name,
    pub(super) rtype: u16,
    pub(super) ttl: u32,
    pub(super) data: Vec<u8>,
}

impl SignedRecord {
    /// Returns the record as it is written.
    pub(super) fn line(&self) -> ZoneRecord<'_> {
        ZoneRecord { owner: self.owner.wire(), rtype: self.rtype, ttl: self.ttl, data: &self.data }
    }
}

/// The records of one name by type: their TTL and data.
type Sets = BTreeMap<u16, (u32, Vec<Vec<u8>>)>;

/// Whose a name is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Place {
    /// The zone's.
    Own,
    /// A delegation: the zone says that it is one, and whether the child is signed.
    Cut,
    /// Below a delegation: glue, which has neither signatures nor NSEC.
    Below,
}

/// Signs a zone. Returns its records: the SOA is the first one, and names are in canonical order.
///
/// # Errors
/// A key cannot sign; says why.
pub(super) fn signed(zone: &Zone, keys: &[Key], serial: u32, validity: Validity) -> Result<Vec<SignedRecord>, String> {
    // RFC 9077 section 3.2.
    let (origin, minimum) = (*zone.origin(), zone.soa().minimum.min(zone.soa_record().ttl));
    let mut names = names(zone);
    if let Some((_, apex)) = names.first_mut() {
        renew(apex, &origin, keys, serial);
    }
    let places = places(&names, &origin);
    let own: Vec<Name> =
        names.iter().zip(&places).filter(|(_, place)| **place != Place::Below).map(|((owner, _), _)| *owner).collect();
    let (mut next, mut records) = (own.iter().skip(1).chain(own.first()), Vec::new());
    for ((owner, mut sets), place) in names.into_iter().zip(places) {
        if place != Place::Below {
            let is_listed = |rtype: &u16| place == Place::Own || matches!(*rtype, rtype::NS | rtype::DS);
            let types = sets.keys().copied().filter(is_listed).chain([rtype::RRSIG, rtype::NSEC]);
            let data = nsec::data(next.next().unwrap_or(&origin), &types.collect::<Vec<_>>());
            sets.insert(rtype::NSEC, (minimum, vec![data]));
        }
        let is_signed = |rtype: u16| match place {
            Place::Own => true,
            Place::Cut => matches!(rtype, rtype::DS | rtype::NSEC),
            Place::Below => false,
        };
        let mut sets: Vec<_> = sets.into_iter().collect();
        sets.sort_by_key(|(rtype, _)| *rtype != rtype::SOA);
        for (rtype, (ttl, data)) in sets {
            if is_signed(rtype) {
                let set = CanonicalSet::new(&owner, rtype, ttl, data.clone());
                for key in keys {
                    let data = set.sign(key, &origin, validity)?;
                    records.push(SignedRecord { owner, rtype: rtype::RRSIG, ttl, data });
                }
            }
            records.extend(data.into_iter().map(|data| SignedRecord { owner, rtype, ttl, data }));
        }
    }
    Ok(records)
}

/// Returns the names of a zone with their records, without those that are made anew. Records of one
/// name and type get the TTL of the first of them (RFC 2181 section 5.2).
fn names(zone: &Zone) -> Vec<(Name, Sets)> {
    let mut names: Vec<(Name, Sets)> = Vec::new();
    for ZoneRecord { owner, rtype, ttl, data } in zone.records().filter(|record| !MADE.contains(&record.rtype)) {
        if names.last().is_none_or(|(last, _)| last.wire() != owner) {
            names.push((Name::from_wire(owner).unwrap_or(Name::ROOT), Sets::new()));
        }
        if let Some((_, sets)) = names.last_mut() {
            sets.entry(rtype).or_insert_with(|| (ttl, Vec::new())).1.push(data.to_vec());
        }
    }
    names
}

/// Gives the zone's own name a new serial, the keys, and what the parent learns of them (RFC 7344).
fn renew(apex: &mut Sets, origin: &Name, keys: &[Key], serial: u32) {
    let Some((ttl, soa)) = apex.get_mut(&rtype::SOA) else { return };
    let ttl = *ttl;
    for data in soa {
        let at = data.len() - 20;
        data[at..at + 4].copy_from_slice(&serial.to_be_bytes());
    }
    let mut put = |rtype, data| apex.entry(rtype).or_insert_with(|| (ttl, Vec::new())).1.push(data);
    for key in keys {
        let digest = Sha256::new().chain_update(origin.wire()).chain_update(key.data()).finalize();
        let tag = key.tag().to_be_bytes();
        put(rtype::DNSKEY, key.data().to_vec());
        put(rtype::CDNSKEY, key.data().to_vec());
        put(rtype::CDS, [&tag[..], &[key.algorithm(), SHA256], &digest].concat());
    }
}

/// Returns whose each name is; they are in canonical order.
fn places(names: &[(Name, Sets)], origin: &Name) -> Vec<Place> {
    let mut cut: Option<Name> = None;
    let place = |(owner, sets): &(Name, Sets)| {
        if cut.is_some_and(|cut| owner.is_under(&cut)) {
            return Place::Below;
        }
        let is_cut = owner != origin && sets.contains_key(&rtype::NS);
        cut = is_cut.then_some(*owner);
        if is_cut { Place::Cut } else { Place::Own }
    };
    names.iter().map(place).collect()
}
