//! An answer in hand that a better one may replace: how long it is held back.
//!
//! An error waits for upstreams that were asked before it came, a truncated answer for the whole one over TCP, and an
//! answer that `failover` names for every upstream that may have a better one. None of them waits for an upstream
//! that has been out for a while: its probes find out when it is back.

use std::time::{Duration, Instant};

use super::{Io, Lane, Race};
use crate::wire::answer::Answer;

/// How long an error of one upstream is held back while another one may still answer.
const HOLD: Duration = Duration::from_millis(400);

/// An answer that is given if no better one comes in time.
pub(super) struct Held {
    pub(super) answer: Answer,
    why: Why,
    since: Instant,
}

/// Why an answer is not given at once, from the worst answer to the best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Why {
    /// It is an error, and other upstreams have been asked.
    Error,
    /// `failover` has its RCODE: the other upstreams are asked as well.
    FailedOver,
    /// It is truncated, and the whole answer is asked for over TCP.
    Truncated,
}

impl Race<'_> {
    /// Holds an answer back, unless a better one is held already. Of several that failed over the last one counts, as
    /// in CoreDNS; of several errors the first.
    pub(super) fn hold(&mut self, answer: Answer, why: Why, now: Instant) {
        let since = self.held.as_ref().map_or(now, |held| held.since);
        let is_better = |held: &Held| why > held.why || why == held.why && why != Why::Error;
        if self.held.as_ref().is_none_or(is_better) {
            self.held = Some(Held { answer, why, since });
        }
    }

    /// Whether the other upstreams are asked because `failover` has the RCODE of the answer in hand.
    pub(super) fn is_failing_over(&self) -> bool {
        self.holds(Why::FailedOver)
    }

    /// Whether no more is sent: what is open may bring a better answer than the error in hand.
    pub(super) fn is_waiting_only(&self) -> bool {
        self.holds(Why::Error)
    }

    fn holds(&self, why: Why) -> bool {
        self.held.as_ref().is_some_and(|held| held.why == why)
    }

    /// Returns when the answer in hand is given, or `None` without an answer or while an upstream is still to be asked.
    pub(super) fn settle(&self, now: Instant) -> Option<Instant> {
        let held = self.held.as_ref()?;
        // A client that came over TCP has no use for a truncated answer.
        if held.why == Why::Truncated && !self.sent.may_come_over_tcp() {
            return None;
        }
        if held.why == Why::FailedOver && self.candidate(now).is_some_and(|(at, _)| self.lanes[at].is_unasked()) {
            return None;
        }
        let ends = self.lanes.iter().enumerate().filter_map(|(at, lane)| self.worth_waiting(held, (at, lane), now));
        Some(ends.max().unwrap_or(now))
    }

    /// Until when an upstream may still have a better answer than the one in hand. Returns `None` if it cannot have one.
    fn worth_waiting(&self, held: &Held, (at, lane): (usize, &Lane), now: Instant) -> Option<Instant> {
        if lane.answered || self.is_out(lane, now) {
            return None;
        }
        let counts = |io: &Io, refused: bool| match held.why {
            Why::Error => !refused,
            Why::FailedOver => true,
            Why::Truncated => matches!(io, Io::Stream(_)),
        };
        let open = self.runs.iter().filter(|run| run.lane == at && counts(&run.io, run.refused));
        let first = open.min_by_key(|run| run.sent_at)?;
        let is_connected = matches!(first.io, Io::Stream(_));
        Some(match held.why {
            Why::Error => held.since + HOLD,
            // An answer that is later than most is still the right one: a lost datagram or a short pause of the upstream
            // must not turn it into the other upstream's "no such name".
            _ => {
                first.sent_at
                    + lane.upstream.vitals().worth_waiting(is_connected).min(self.forward.options.read_timeout)
            }
        })
    }
}
