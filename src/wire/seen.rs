//! Tracks what an answer contains, so that no record is repeated and known names are pointed to.

use std::cell::RefCell;
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

use foldhash::fast::RandomState;

use super::encode::Written;

/// What an answer contains. Names are stored as 64-bit hashes with a random seed: a record is lost
/// only if two names of one answer collide.
#[derive(Default)]
pub struct Seen {
    /// Hashes names.
    pub hasher: RandomState,
    /// Addresses, by the hash of the name that has them.
    pub addresses: HashSet<(u64, IpAddr), RandomState>,
    /// Targets of SRV records with their ports.
    pub targets: HashSet<(u64, u16), RandomState>,
    /// Where names were written.
    pub written: HashMap<u64, Written, RandomState>,
}

thread_local! {
    static SEEN: RefCell<Seen> = RefCell::default();
}

/// Calls `f` with empty sets, which keep their memory from one query to the next.
pub fn with_scratch<R>(f: impl FnOnce(&mut Seen) -> R) -> R {
    SEEN.with_borrow_mut(|seen| {
        seen.addresses.clear();
        seen.targets.clear();
        seen.written.clear();
        f(seen)
    })
}
