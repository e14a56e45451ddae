//! The records of a zone on their way to a secondary.

use std::sync::Arc;

use super::data::{Datum, Node, RrSet, Zone, ZoneRecord};
use crate::wire::types::rtype;

/// Returns all records but the SOA in canonical order, each as `make` takes it. The iterator owns
/// the zone, because a transfer may outlast it.
pub fn others<T>(zone: Arc<Zone>, make: impl Fn(ZoneRecord<'_>) -> T) -> impl Iterator<Item = T> {
    let (mut node, mut set, mut record) = (0, 0, 0);
    std::iter::from_fn(move || {
        loop {
            let Node { name, sets, .. } = zone.nodes.get(node)?;
            let Some(RrSet { rtype, records, .. }) = sets.get(set) else {
                (node, set) = (node + 1, 0);
                continue;
            };
            match records.get(record) {
                Some(Datum { ttl, data }) if *rtype != rtype::SOA => {
                    record += 1;
                    return Some(make(ZoneRecord { owner: name, rtype: *rtype, ttl: *ttl, data }));
                }
                _ => (set, record) = (set + 1, 0),
            }
        }
    })
}
