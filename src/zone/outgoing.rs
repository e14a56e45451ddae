//! The records of a zone on their way to a secondary.

use std::sync::Arc;

use super::data::{Datum, Zone, ZoneRecord};
use crate::wire::types::rtype;

/// Returns all records but the SOA in canonical order, each as `make` takes it. The iterator owns
/// the zone, because a transfer may outlast it.
pub fn others<T>(zone: Arc<Zone>, make: impl Fn(ZoneRecord<'_>) -> T + Copy) -> impl Iterator<Item = T> {
    let nodes = 0..zone.nodes.len();
    nodes.flat_map(move |at| {
        let zone = zone.clone();
        let sets = 0..zone.nodes[at].sets.len();
        let not_soa = sets.filter({
            let zone = zone.clone();
            move |&set| zone.nodes[at].sets[set].rtype != rtype::SOA
        });
        not_soa.flat_map(move |set| {
            let zone = zone.clone();
            (0..zone.nodes[at].sets[set].records.len()).map(move |record| {
                let (node, set) = (&zone.nodes[at], &zone.nodes[at].sets[set]);
                let Datum { ttl, data } = &set.records[record];
                make(ZoneRecord { owner: &node.name, rtype: set.rtype, ttl: *ttl, data })
            })
        })
    })
}
