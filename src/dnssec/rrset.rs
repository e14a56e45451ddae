//! The records of a name and type in canonical form, and their signature (RFC 4034 sections 3 and
//! 6).

use super::key::Key;
use crate::wire::name::Name;
use crate::wire::records::lower_names;
use crate::wire::types::class;

/// The records of one name and type, in class IN and in canonical form.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CanonicalSet {
    owner: Name,
    rtype: u16,
    /// The TTL that is signed, in seconds.
    ttl: u32,
    data: Vec<Vec<u8>>,
}

/// When a signature is good, in seconds since 1970 (RFC 4034 section 3.1.5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Validity {
    /// The first second.
    pub inception: u32,
    /// The last second.
    pub expiration: u32,
}

impl CanonicalSet {
    /// Puts records into canonical form. Their data are in wire form, without compression.
    #[must_use]
    pub fn new(owner: &Name, rtype: u16, ttl: u32, mut data: Vec<Vec<u8>>) -> Self {
        data.iter_mut().for_each(|data| lower_names(rtype, data));
        data.sort_unstable();
        data.dedup();
        Self { owner: owner.lowered(), rtype, ttl, data }
    }

    /// Returns the type.
    #[must_use]
    pub fn rtype(&self) -> u16 {
        self.rtype
    }

    /// Returns the owner, in lower case.
    #[must_use]
    pub fn owner(&self) -> &Name {
        &self.owner
    }

    /// Returns what is signed of the records.
    #[must_use]
    pub fn octets(&self) -> Vec<u8> {
        let mut octets = Vec::new();
        for data in &self.data {
            octets.extend_from_slice(self.owner.wire());
            octets.extend_from_slice(&self.rtype.to_be_bytes());
            octets.extend_from_slice(&class::IN.to_be_bytes());
            octets.extend_from_slice(&self.ttl.to_be_bytes());
            octets.extend_from_slice(&(data.len() as u16).to_be_bytes());
            octets.extend_from_slice(data);
        }
        octets
    }

    /// Signs the records for a zone. Returns the data of the RRSIG record.
    ///
    /// # Errors
    /// The key cannot sign; says why.
    pub fn sign(&self, key: &Key, zone: &Name, validity: Validity) -> Result<Vec<u8>, String> {
        let is_wildcard = self.owner.labels().next() == Some(b"*");
        let labels = self.owner.label_count() - usize::from(is_wildcard);
        let mut data = self.rtype.to_be_bytes().to_vec();
        data.extend([key.algorithm(), labels as u8]);
        for number in [self.ttl, validity.expiration, validity.inception] {
            data.extend_from_slice(&number.to_be_bytes());
        }
        data.extend_from_slice(&key.tag().to_be_bytes());
        data.extend_from_slice(zone.lowered().wire());
        let signature = key.sign(&[data.as_slice(), &self.octets()].concat())?;
        data.extend(signature);
        Ok(data)
    }
}
