//! Whose turn it is in a race: which upstream is asked next, how, and whether one more send is
//! right.

use std::time::{Duration, Instant};

use super::Race;
use super::lane::{Lane, Standing};
use super::run::Run;
use super::state::State;
use crate::remote::Way;

/// Sends of a question to upstreams that are alive, and over each transport to one that is not.
const SENDS: usize = 3;

/// Without budget, a question waits this long before it is sent again.
const PAUSE: Duration = Duration::from_secs(1);

impl Race<'_> {
    /// Whether others should be asked in place of this upstream. While the race holds an answer, an
    /// upstream that is out is not waited for, so it has to be out for a while first.
    pub(super) fn is_out(&self, lane: &Lane, now: Instant) -> bool {
        let health = &self.rules.options.health;
        if self.state.held().is_some() { lane.upstream.is_gone(health, now) } else { lane.upstream.is_out(health, now) }
    }

    /// Which lane is to be asked next, and how.
    pub(super) fn candidate(&self, now: Instant) -> Option<(usize, Way)> {
        let is_out = |lane: &Lane| self.is_out(lane, now);
        let any_in = self.lanes.iter().any(|lane| !lane.has_answered() && !is_out(lane));
        let most = self.rules.options.max_tries.filter(|&most| most > 0).unwrap_or(usize::MAX);
        // Sends to upstreams of which nothing is heard do not count against the others.
        let lost = self.runs.iter().filter(|run| !run.is_refused() && is_out(&self.lanes[run.lane])).count();
        let last = self.excused + lost + SENDS;
        // With an answer in hand, an upstream that is out is not asked.
        if self.sends >= most || self.is_failing_over() && !any_in {
            return None;
        }
        // An upstream that was out when it was asked may be heard of since. Then the last send has
        // been made already, and may have been lost like all before it.
        let is_connected = self.lanes.iter().any(|lane| lane.tcp > 0);
        let is_enough = any_in && self.sends >= last && is_connected;
        let is_last = any_in && self.sends + 1 >= last;
        let asked = |(at, lane): (usize, &Lane)| {
            // `failover` asks each upstream, however many there are.
            let is_due = !is_enough || self.is_failing_over() && lane.is_unasked();
            let is_open = is_due && !lane.has_answered() && (!any_in || !is_out(lane));
            Some((lane.udp + lane.tcp, at, self.way_of(at, is_out(lane), is_last).filter(|_| is_open)?))
        };
        let least = self.lanes.iter().enumerate().filter_map(asked).min_by_key(|&(sends, ..)| sends);
        least.map(|(_, at, way)| (at, way))
    }

    /// How an upstream is asked next, if it may be; the last time over TCP, where nothing gets
    /// lost.
    fn way_of(&self, at: usize, is_out: bool, is_last: bool) -> Option<Way> {
        let lane = &self.lanes[at];
        let mut runs = self.runs.iter().filter(|run| run.lane == at);
        // What was sent over a connection arrives: there is nothing to repeat.
        let is_connected = runs.clone().any(Run::is_stream);
        let tcp = (lane.tcp < SENDS && !is_connected).then_some(Way::Tcp);
        let udp = (lane.udp < SENDS).then_some(Way::Udp);
        if self.way == Way::Tcp || !lane.upstream.has_datagrams() || lane.standing == Standing::Forged {
            return tcp;
        }
        if is_out || runs.any(Run::is_refused) {
            return if lane.udp <= lane.tcp { udp.or(tcp) } else { tcp.or(udp) };
        }
        if !is_last && lane.udp < SENDS - 1 && lane.tcp == 0 { udp } else { tcp.filter(|_| lane.tcp == 0) }
    }

    /// Whether the other upstreams are asked because `failover` has the RCODE of the answer in
    /// hand.
    fn is_failing_over(&self) -> bool {
        matches!(self.state, State::FailingOver(_))
    }

    /// Whether one more send is right, or paid for now.
    pub(super) fn may_send(&self, at: usize, now: Instant) -> bool {
        let lane = &self.lanes[at];
        let is_flight = lane.is_unasked()
            && !self.is_out(lane, now)
            && self.runs.iter().all(|run| run.is_refused() || self.is_out(&self.lanes[run.lane], now));
        let is_failover = lane.is_unasked() && self.is_failing_over();
        self.runs.is_empty() || is_flight || is_failover || lane.standing == Standing::Forged || self.rules.budget.pay()
    }

    /// After how long a send needs no budget.
    pub(super) fn pause(&self, at: usize) -> Duration {
        self.lanes[at].upstream.vitals().most_come_within().unwrap_or_default().max(PAUSE)
    }
}
