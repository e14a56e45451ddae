//! The options of a `kubernetes` block that answers depend on.

use crate::plugins::kubernetes::known::index::Index;
use std::collections::HashSet;
use std::time::Duration;

use crate::chain::zones::Fallthrough;
use crate::wire::name::Name;

/// What answers depend on beside the data.
#[derive(Debug, Clone)]
pub struct Options {
    /// The TTL of all records in seconds.
    pub ttl: u32,
    /// How pod names are answered.
    pub pods: Pods,
    /// The only namespaces that are exposed (labels in lower case), if they are listed.
    pub namespaces: Option<HashSet<Box<[u8]>>>,
    /// ClusterIP services without a ready endpoint do not exist.
    pub ignore_empty_service: bool,
    /// Zones whose missing names are asked of the next plugin.
    pub fallthrough: Fallthrough,
    /// How long a question may wait for the data at start.
    pub startup_timeout: Duration,
}

/// How pod names are answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pods {
    /// They do not exist.
    Disabled,
    /// Any address has a name, in any namespace that exists.
    Insecure,
    /// Addresses that a pod of the namespace has.
    Verified,
}

/// The longest TTL of an answer from a snapshot, in seconds: the lists may come at any moment.
const OLD_TTL: u32 = 5;

impl Options {
    /// The TTL of all records now, in seconds.
    pub fn ttl_now(&self, index: &Index) -> u32 {
        if index.is_from_snapshot() { self.ttl.min(OLD_TTL) } else { self.ttl }
    }

    /// Whether names in a namespace may be seen; `label` in lower case.
    #[must_use]
    pub fn exposes(&self, label: &[u8]) -> bool {
        self.namespaces.as_ref().is_none_or(|namespaces| namespaces.contains(label))
    }

    /// Whether the names of a namespace are served: it exists and may be seen. `label` in lower
    /// case.
    #[must_use]
    pub(super) fn serves(&self, index: &Index, label: &[u8]) -> bool {
        self.exposes(label) && index.has_namespace(label)
    }

    /// Whether a missing name is asked of the next plugin.
    #[must_use]
    pub fn falls_through(&self, name: &Name) -> bool {
        self.fallthrough.holds(name)
    }
}
