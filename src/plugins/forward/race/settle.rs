//! How long an answer in hand is held back for a better one.
//!
//! An error waits for upstreams that were asked before it came, a truncated answer for the whole
//! one over TCP, and an answer that `failover` names for every upstream that may have a better one.
//! None of them waits for an upstream that has been out for a while: its probes find out when it is
//! back.

use std::time::{Duration, Instant};

use super::super::lateness::worth_waiting;
use super::Race;
use super::lane::Lane;
use super::run::Run;
use super::state::{Held, State};

/// How long an error of one upstream is held back while another one may still answer.
const HOLD: Duration = Duration::from_millis(400);

impl Race<'_> {
    /// Returns when the answer in hand is given, or `None` without an answer or while an upstream
    /// is still to be asked.
    pub(super) fn settle(&self, now: Instant) -> Option<Instant> {
        let held = self.state.held()?;
        let waits = match self.state {
            // A client that came over TCP has no use for a truncated answer.
            State::Truncated(_) => !self.query.may_come_over_tcp(),
            State::FailingOver(_) => self.candidate(now).is_some_and(|(at, _)| self.lanes[at].is_unasked()),
            State::Error(_) | State::Asking => false,
        };
        if waits {
            return None;
        }
        let ends = self.lanes.iter().enumerate().filter_map(|(at, lane)| self.worth_waiting(held, at, lane, now));
        Some(ends.max().unwrap_or(now))
    }

    /// Until when an upstream may still have a better answer than the one in hand. Returns `None`
    /// if it cannot have one.
    fn worth_waiting(&self, held: &Held, at: usize, lane: &Lane, now: Instant) -> Option<Instant> {
        if lane.has_answered() || self.is_out(lane, now) {
            return None;
        }
        let counts = |run: &Run| match self.state {
            State::Error(_) => !run.is_refused(),
            State::Truncated(_) => run.is_stream(),
            State::FailingOver(_) | State::Asking => true,
        };
        let open = self.runs.iter().filter(|run| run.lane == at && counts(run));
        let first = open.min_by_key(|run| run.sent_at)?;
        if let State::Error(_) = self.state {
            return Some(held.since + HOLD);
        }
        // An answer that is later than most is still the right one: a lost datagram or a short
        // pause of the upstream must not turn it into the "no such name" of another upstream.
        let patience = worth_waiting(lane.upstream.vitals(), first.is_stream());
        Some(first.sent_at + patience.min(self.rules.options.read_timeout))
    }
}
