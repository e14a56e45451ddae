//! What one answer holds already, so that nothing stands in it twice and names that are there are pointed to.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use foldhash::fast::RandomState;

use super::encode::Written;

/// What one answer holds already. Names stand in it as 64-bit hashes with a random seed: two of them would
/// have to collide within one answer for a record to be lost.
#[derive(Default)]
pub struct Seen {
    /// Makes the hashes of names.
    pub hasher: RandomState,
    /// Addresses, by the hash of the name that has them.
    pub addresses: HashSet<(u64, IpAddr), RandomState>,
    /// Targets of SRV records with their ports.
    pub targets: HashSet<(u64, u16), RandomState>,
    /// Where names stand.
    pub written: HashMap<u64, Written, RandomState>,
}

thread_local! {
    static SEEN: RefCell<Seen> = RefCell::default();
}

/// Sets that are empty, and keep their room from one query to the next.
pub fn with_scratch<R>(f: impl FnOnce(&mut Seen) -> R) -> R {
    SEEN.with_borrow_mut(|seen| {
        seen.addresses.clear();
        seen.targets.clear();
        seen.written.clear();
        f(seen)
    })
}
