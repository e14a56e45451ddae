//! An answer that is kept with the data that it is made from.

use crate::wire::packed::Packed;

/// Whether the name exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The zone has records of the name, or an alias or a delegation decides about it.
    Exists,
    /// The name exists only because longer ones do, or because a wildcard does.
    Empty,
    /// The name does not exist.
    Missing,
}

/// An answer that is kept.
pub(super) struct Ready {
    pub(super) answer: Packed,
    pub(super) kind: Kind,
}
