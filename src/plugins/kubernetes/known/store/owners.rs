//! The owners of addresses while they change: the table itself, and the reverse names above its
//! addresses.

use std::collections::HashMap;
use std::net::IpAddr;

use foldhash::fast::RandomState;

use super::super::addresses::{AddressDraft, As, Holders};
use super::super::index::Owners;
use super::super::shards::{Draft, Shards};
use crate::wire::reverse::Octets;

/// Changes to [`Owners`] that are not published yet.
#[derive(Default)]
pub(super) struct OwnersDraft {
    draft: AddressDraft,
    prefixes: Prefixes,
}

impl OwnersDraft {
    /// `key` has the address from now on.
    pub(super) fn own(&mut self, table: &Owners, address: IpAddr, key: &Holders) {
        let holders = match self.draft.get(&table.holders, &address) {
            None => {
                self.prefixes.add(&table.prefixes, address);
                key.clone()
            }
            Some(known) if known.have(key) => return,
            Some(known) => known.with(key),
        };
        self.draft.set(&table.holders, address, Some(holders));
    }

    /// `key` does not have the address any more, at least not for this reason.
    pub(super) fn disown(&mut self, table: &Owners, address: IpAddr, held_as: As, key: &[u8]) {
        let Some(known) = self.draft.get(&table.holders, &address) else { return };
        let left = known.without(held_as, key);
        if left.is_none() {
            self.prefixes.remove(&table.prefixes, address);
        }
        self.draft.set(&table.holders, address, left);
    }

    /// Shows all changes to the readers.
    pub(super) fn publish(&mut self, table: &Owners) {
        self.draft.publish(&table.holders);
        self.prefixes.publish(&table.prefixes);
    }
}

//----------- Prefixes -------------------------------------------------------

/// Counts owned IPv4 addresses below each octet boundary: such reverse names exist without data
/// (RFC 8020).
#[derive(Default)]
struct Prefixes {
    counts: HashMap<Octets, u32, RandomState>,
    draft: Draft<Octets>,
}

impl Prefixes {
    fn add(&mut self, table: &Shards<Octets>, address: IpAddr) {
        let IpAddr::V4(address) = address else { return };
        for prefix in Octets::prefixes(address) {
            let count = self.counts.entry(prefix).or_insert(0);
            *count += 1;
            if *count == 1 {
                self.draft.put(table, prefix);
            }
        }
    }

    fn remove(&mut self, table: &Shards<Octets>, address: IpAddr) {
        let IpAddr::V4(address) = address else { return };
        for prefix in Octets::prefixes(address) {
            let Some(count) = self.counts.get_mut(&prefix) else { continue };
            *count -= 1;
            if *count == 0 {
                self.counts.remove(&prefix);
                self.draft.remove(table, &prefix);
            }
        }
    }

    fn publish(&mut self, table: &Shards<Octets>) {
        self.draft.publish(table);
    }
}
