//! Signatures of zone data (DNSSEC, RFC 4034). Knows no plugin, no Corefile and no clock.
//!
//! - [`key`]: the key pair of a zone
//! - [`files`]: key pairs in the files of BIND
//! - [`rrset`]: the records of a name and type in canonical form, and their signature
//! - [`nsec`]: which types a name has

pub mod files;
pub mod key;
pub mod nsec;
pub mod rrset;
