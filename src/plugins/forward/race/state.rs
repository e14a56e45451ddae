//! What a race has come to: which answer is in hand, and what a better one is expected of.

use std::time::Instant;

use crate::wire::answer::Answer;

/// What a race has come to. A later state has a better answer than an earlier one.
pub(super) enum State {
    /// There is no answer: upstreams are asked, one after the other.
    Asking,
    /// An error is in hand. Nothing more is sent: an upstream that was asked before may have a
    /// better answer.
    Error(Held),
    /// An answer that `failover` names is in hand. The other upstreams are asked as well.
    FailingOver(Held),
    /// A truncated answer is in hand. The whole one is asked for over TCP.
    Truncated(Held),
}

/// An answer that is given if no better one comes in time.
pub(super) struct Held {
    answer: Answer,
    /// The lane that it came from.
    lane: usize,
    /// When the race got its first answer.
    pub(super) since: Instant,
}

impl State {
    /// Holds an answer back in the state that `next` makes of it, unless a better one is held
    /// already. Of several errors the first counts. Of several answers that failed over the last
    /// one counts, as in CoreDNS.
    pub(super) fn hold(&mut self, next: fn(Held) -> Self, answer: Answer, lane: usize, now: Instant) {
        let since = self.held().map_or(now, |held| held.since);
        let next = next(Held { answer, lane, since });
        let is_another_error = matches!((&*self, &next), (Self::Error(_), Self::Error(_)));
        if next.rank() >= self.rank() && !is_another_error {
            *self = next;
        }
    }

    /// The answer in hand.
    pub(super) fn held(&self) -> Option<&Held> {
        match self {
            Self::Asking => None,
            Self::Error(held) | Self::FailingOver(held) | Self::Truncated(held) => Some(held),
        }
    }

    /// Takes the answer in hand, and the lane that it came from, which ends the race.
    pub(super) fn take(&mut self) -> Option<(Answer, usize)> {
        match std::mem::replace(self, Self::Asking) {
            Self::Asking => None,
            Self::Error(held) | Self::FailingOver(held) | Self::Truncated(held) => Some((held.answer, held.lane)),
        }
    }

    fn rank(&self) -> u8 {
        match self {
            Self::Asking => 0,
            Self::Error(_) => 1,
            Self::FailingOver(_) => 2,
            Self::Truncated(_) => 3,
        }
    }
}
