//! Where a stream stands: what it has to read next, and why it stopped.

use tokio::time::Instant;

use super::super::feed::Closed;
use super::failure::Failure;
use crate::plugins::kubernetes::known::store::Implausible;

/// What a stream does.
#[derive(Debug)]
pub(super) enum Phase {
    /// It reads the whole collection: at first, when its version has expired, or to close a gap.
    Listing {
        /// What an audit found, if this list is to repair it.
        gap: Option<Gap>,
        /// The list before this one, if that was not believed.
        held: Option<Held>,
    },
    /// It has read a list, and follows changes.
    Watching {
        /// The version that it has come to.
        version: Box<str>,
    },
}

/// The request that a stream makes for its phase.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Attempt {
    /// A watch from a known version.
    Watch,
    /// A watch that begins with a list.
    StreamingList,
    /// A list, page by page.
    Pages,
}

/// What an audit found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    /// The watch did not come to the version of the collection.
    Late,
    /// The collection has so many more objects than are known (or fewer, if negative).
    Count(i64),
    /// The collection is at an older version than the watch: the server's data were restored.
    Rewound,
}

/// A list that was not believed, and when the first one was not.
#[derive(Debug, Clone, Copy)]
pub(super) struct Held {
    pub(super) since: Instant,
    pub(super) list: Implausible,
}

/// Why a request has ended.
pub(super) enum Stop {
    /// The store has ended, and with it the reason to read.
    Closed,
    /// The server did not answer as it should.
    Failed(Failure),
    /// A watch came to its end in good order.
    Ended,
    /// A streaming list did not report that it is complete.
    NoBookmark,
    /// A list was not believed.
    Held(Implausible),
    /// The watch does not tell everything.
    Missed(Gap),
}

impl Phase {
    /// The first list, which repairs nothing.
    pub(super) const FIRST: Self = Self::Listing { gap: None, held: None };

    /// Whether a list is being read, or has to be.
    pub(super) fn is_listing(&self) -> bool {
        matches!(self, Self::Listing { .. })
    }

    /// The version as a number (Kubernetes promises that since 1.35; it always was one). Returns
    /// `None` in a list.
    pub(super) fn number(&self) -> Option<u64> {
        match self {
            Self::Watching { version } => version.parse().ok(),
            Self::Listing { .. } => None,
        }
    }

    /// The version has expired, so a list is needed. A list that is being read already keeps its
    /// reason.
    pub(super) fn expire(&mut self) {
        if let Self::Watching { .. } = self {
            *self = Self::FIRST;
        }
    }
}

impl Attempt {
    /// What is made next. `pages_only`: the server takes no streaming lists.
    pub(super) fn of(phase: &Phase, pages_only: bool) -> Self {
        match phase {
            Phase::Watching { .. } => Self::Watch,
            // Pages are read from etcd, so a list that was not believed is read in pages.
            Phase::Listing { held: Some(_), .. } => Self::Pages,
            Phase::Listing { .. } if pages_only => Self::Pages,
            Phase::Listing { .. } => Self::StreamingList,
        }
    }

    /// The verb of RBAC that it needs.
    pub(super) fn verb(self) -> &'static str {
        match self {
            Self::Watch | Self::StreamingList => "watch",
            Self::Pages => "list",
        }
    }
}

impl From<Closed> for Stop {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_that_was_not_believed_is_read_in_pages() {
        let held = Some(Held { since: Instant::now(), list: Implausible { known: 60, missing: 40 } });
        for (phase, pages_only, attempt) in [
            (Phase::FIRST, false, Attempt::StreamingList),
            (Phase::FIRST, true, Attempt::Pages),
            (Phase::Listing { gap: Some(Gap::Late), held: None }, false, Attempt::StreamingList),
            (Phase::Listing { gap: None, held }, false, Attempt::Pages),
            (Phase::Watching { version: "7".into() }, true, Attempt::Watch),
        ] {
            assert_eq!(Attempt::of(&phase, pages_only), attempt, "{phase:?}");
        }
    }

    #[test]
    fn a_list_goes_on_when_its_version_expires() {
        let mut phase = Phase::Watching { version: "7".into() };
        assert_eq!(phase.number(), Some(7));
        phase.expire();
        assert!(matches!(phase, Phase::Listing { gap: None, held: None }));
        phase = Phase::Listing { gap: Some(Gap::Late), held: None };
        phase.expire();
        assert!(matches!(phase, Phase::Listing { gap: Some(Gap::Late), .. }) && phase.number().is_none());
    }
}
