//! Makes signatures, and keeps them.

use std::sync::Arc;

use moka::sync::Cache;
use sha2::{Digest, Sha256};

use crate::dnssec::key::Key;
use crate::dnssec::rrset::{CanonicalSet, Validity};
use crate::wire::name::Name;
use crate::wire::types::rtype;

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;

/// Seconds before now that signatures begin, for clocks that are late.
const BEFORE: u64 = 3 * HOUR;

/// Seconds that signatures are good for.
const GOOD: u64 = 8 * DAY;

/// Signatures that expire in less than this many seconds are made again.
const RENEWED: u64 = 2 * DAY;

/// The keys of one server block, and the signatures that they have made.
pub(super) struct Signer {
    keys: Vec<Key>,
    /// Some keys sign the keys, the others all else.
    is_split: bool,
    made: Cache<[u8; 32], Arc<Signatures>>,
}

/// The signatures of one set of records.
pub(super) struct Signatures {
    /// The data of the RRSIG records, one for each key.
    pub(super) data: Vec<Vec<u8>>,
    /// The last second of all of them, since 1970.
    expiration: u64,
}

impl Signer {
    /// Returns a signer that keeps the signatures of this many sets.
    pub(super) fn new(keys: Vec<Key>, capacity: u64) -> Self {
        let is_split = keys.iter().any(Key::is_ksk) && keys.iter().any(Key::is_zsk);
        Self { keys, is_split, made: Cache::new(capacity) }
    }

    /// Returns the keys.
    pub(super) fn keys(&self) -> &[Key] {
        &self.keys
    }

    /// Returns the signatures of a set of a zone, if they are kept and will be good for long
    /// enough. `now` is in seconds since 1970.
    pub(super) fn known(&self, set: &CanonicalSet, zone: &Name, now: u64) -> Option<Arc<Signatures>> {
        // One that ends later than a new one was made by a clock that has been set back since.
        let good = now + RENEWED + 1..=now + GOOD;
        self.made.get(&digest(set, zone)).filter(|made| good.contains(&made.expiration))
    }

    /// Makes the signatures of a set of a zone, and keeps them. It takes from 20 µs (ECDSA with
    /// P-256, Ed25519) to some milliseconds (RSA).
    ///
    /// # Errors
    /// A key cannot sign; says why.
    pub(super) fn make(&self, set: &CanonicalSet, zone: &Name, now: u64) -> Result<Arc<Signatures>, String> {
        let expiration = now + GOOD;
        // Times in signatures go round in 2106 (RFC 4034 section 3.1.5).
        let validity = Validity { inception: now.saturating_sub(BEFORE) as u32, expiration: expiration as u32 };
        let signs = |key: &&Key| match set.rtype() {
            _ if !self.is_split => true,
            rtype::DNSKEY => key.is_ksk(),
            _ => key.is_zsk(),
        };
        let data = self.keys.iter().filter(signs).map(|key| set.sign(key, zone, validity)).collect::<Result<_, _>>()?;
        let made = Arc::new(Signatures { data, expiration });
        self.made.insert(digest(set, zone), made.clone());
        Ok(made)
    }

    /// Returns how many sets have their signatures kept.
    pub(super) fn entries(&self) -> u64 {
        self.made.run_pending_tasks();
        self.made.entry_count()
    }
}

/// Returns the key of a set in the cache. No client can make two sets with the same one.
fn digest(set: &CanonicalSet, zone: &Name) -> [u8; 32] {
    Sha256::new().chain_update(zone.wire()).chain_update(set.octets()).finalize().into()
}
