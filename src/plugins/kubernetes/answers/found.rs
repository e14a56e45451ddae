//! What a question wants, and what there is for it.

use std::net::IpAddr;
use std::sync::Arc;

use crate::wire::answer::Answer;
use crate::wire::types::rtype;

/// What there is for a question.
#[derive(Debug, Clone)]
pub enum Found {
    /// Records.
    Answer(Arc<Answer>),
    /// The name exists, the type does not.
    NoData,
    /// The name does not exist.
    NameError,
    /// The name is an alias of this one, as it stands in the object.
    Alias(Box<str>),
}

/// What is wanted of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// A records.
    V4,
    /// AAAA records.
    V6,
    /// SRV records.
    Srv,
    /// Only whether it exists.
    Existence,
}

impl Want {
    /// What a type wants.
    #[must_use]
    pub fn of(qtype: u16) -> Self {
        match qtype {
            rtype::A => Self::V4,
            rtype::AAAA => Self::V6,
            rtype::SRV => Self::Srv,
            _ => Self::Existence,
        }
    }

    /// Whether records of this type hold such an address.
    pub(super) fn takes(self, address: IpAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
            Self::Srv => true,
            Self::Existence => false,
        }
    }
}
