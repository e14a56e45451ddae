//! The data as one question sees them.

use std::net::IpAddr;

use super::options::Options;
use super::zone::Zone;
use crate::plugins::kubernetes::known::index::Index;
use crate::wire::name::Name;

/// The data as one question sees it.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The data.
    pub index: &'a Index,
    /// The options of the block.
    pub options: &'a Options,
    /// The zone that was asked.
    pub zone: &'a Zone,
    /// The zone that PTR targets end in.
    pub primary: &'a Name,
    /// Addresses of this machine that others can reach.
    pub local: &'a [IpAddr],
    /// The name as the client wrote it, in wire form; it ends in the zone.
    pub asked: &'a [u8],
}

impl View<'_> {
    /// Whether the names of a namespace are served; `label` in lower case.
    pub(super) fn exposes(&self, label: &[u8]) -> bool {
        self.options.serves(self.index, label)
    }
}
