//! One question, asked again where it has to be: which upstream, when, how often, and which answer
//! counts.
//!
//! The first send goes where the policy says. Once it is later than most answers of that upstream,
//! the next upstream is asked, or the same one over another socket; earlier sends stay open, and
//! the first good answer wins. What is sent beyond the first is bounded three times:
//!
//! - by the question: three sends as long as any upstream is alive; three over each transport to an
//!   upstream that is not (RFC 9520). The third, if any upstream is alive, goes over TCP, where
//!   nothing gets lost;
//! - by the [budget](super::budget), unless the question leaves an upstream that is out for one
//!   that is not: that is no repeat. Without budget it waits a second, as a stub resolver would;
//! - by time: 4.5 s, or 1.9 s if nothing at all was heard of any upstream, not even the answer to a
//!   probe.
//!
//! News that can be forged is never a verdict: after an ICMP message the next upstream is asked at
//! once, and the first is still listened to. Waiting ends early only if all of them are said to be
//! closed. With an [answer in hand](settle) it ends when no upstream that is in can have a better
//! one.

mod lane;
mod run;
mod settle;
mod state;
#[cfg(test)]
mod tests;
mod turn;

use std::future::{Future, poll_fn};
use std::ops::ControlFlow;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use self::lane::{Lane, Standing};
use self::run::{Hope, Io, Run, poll_runs};
use self::state::State;
use super::budget::Budget;
use super::forwarded::Forwarded;
use super::lateness::lateness;
use super::options::Options;
use super::resolved::Resolved;
use super::upstream::Upstream;
use crate::remote::{Exchange, Failure, Kind, Outcome, Way};
use crate::wire::answer::Answer;
use crate::wire::request::flag;
use crate::wire::types::rcode;

/// The longest look-up. Most clients give up after 5 seconds, and a reply in time says why.
const LONGEST: Duration = Duration::from_millis(4_500);

/// The longest look-up with all upstreams down.
const ALL_DOWN: Duration = Duration::from_millis(1_500);

/// The longest look-up in which no upstream gives a sign of life.
const SILENCE: Duration = Duration::from_millis(1_900);

/// How long to keep waiting once every open send has been refused.
const GRACE: Duration = Duration::from_millis(400);

/// First delay before budget and the state of upstreams are checked again; doubled each time.
const RECHECK: Duration = Duration::from_millis(40);

/// Tries for each upstream that bound the time of a look-up, unless `max_connect_attempts` says
/// otherwise.
const TRIES_PER_UPSTREAM: usize = 2;

//----------- Race -----------------------------------------------------------

/// What a race keeps to.
#[derive(Clone, Copy)]
pub(super) struct Rules<'a> {
    /// What the directive says.
    pub(super) options: &'a Options,
    /// Pays for repeats.
    pub(super) budget: &'a Budget,
}

impl Rules<'_> {
    /// Returns after how long an answer of one of `count` upstreams is late.
    pub(super) fn lateness(&self, upstream: &Upstream, count: usize) -> Duration {
        lateness(upstream.vitals(), count == 1).min(self.options.read_timeout)
    }
}

/// A look-up that the first datagram has not settled.
pub(super) struct Race<'a> {
    rules: Rules<'a>,
    query: &'a Forwarded,
    way: Way,
    runtime: &'a Handle,
    start: Instant,
    limit: Instant,
    state: State,
    lanes: Vec<Lane>,
    runs: Vec<Run>,
    sends: usize,
    /// Sends that had an answer or bad news at once: they do not count against others.
    excused: usize,
    last_send: Instant,
    /// There was news: the next upstream is to be asked at once.
    is_eager: bool,
    recheck: Duration,
    failure: Option<Failure>,
}

impl<'a> Race<'a> {
    /// Asks `upstreams`, in the order that the policy gives from `first` on.
    pub(super) fn new(
        rules: Rules<'a>,
        query: &'a Forwarded,
        way: Way,
        start: Instant,
        upstreams: &[Arc<Upstream>],
        first: usize,
        runtime: &'a Handle,
    ) -> Self {
        let options = rules.options;
        let tries = options.max_tries.unwrap_or(TRIES_PER_UPSTREAM * upstreams.len());
        let longest = if upstreams.iter().all(|up| up.is_down(&options.health)) { ALL_DOWN } else { LONGEST };
        let by_tries = if tries == 0 { longest } else { options.read_timeout.saturating_mul(tries as u32) };
        Self {
            rules,
            query,
            way,
            runtime,
            start,
            limit: start + longest.min(by_tries),
            state: State::Asking,
            lanes: options.policy.order(first, upstreams.len()).iter().map(|&at| Lane::new(&upstreams[at])).collect(),
            runs: Vec::new(),
            sends: 0,
            excused: 0,
            last_send: start,
            is_eager: false,
            recheck: RECHECK,
            failure: None,
        }
    }

    /// Asks from the beginning. The future has a box of its own: few questions need it.
    pub(super) fn begin(self) -> Pin<Box<dyn Future<Output = Resolved> + Send + 'a>> {
        Box::pin(self.run())
    }

    /// Goes on with what was sent to the first upstream: it failed, is late, or has given an answer
    /// that settles nothing.
    pub(super) fn go_on(
        mut self,
        sent_off: Result<Exchange, Failure>,
        outcome: Option<Outcome>,
    ) -> Pin<Box<dyn Future<Output = Resolved> + Send + 'a>> {
        (self.sends, self.lanes[0].udp) = (1, 1);
        let now = Instant::now();
        match (sent_off, outcome) {
            (Err(failure), _) => self.news(0, failure, now),
            (Ok(exchange), None) => {
                self.enter(0, Hope::Answer, Io::Datagram(exchange), self.start);
                self.mark_late(self.runs[0].late_at.unwrap_or(now));
            }
            (Ok(exchange), Some(outcome)) => {
                self.enter(0, Hope::Answer, Io::Datagram(exchange), self.start);
                if let Some(resolved) = self.take(0, outcome, now) {
                    return Box::pin(std::future::ready(resolved));
                }
            }
        }
        self.begin()
    }

    /// Asks until there is an answer, or none to be had.
    async fn run(mut self) -> Resolved {
        loop {
            let wake = match self.step(Instant::now()) {
                ControlFlow::Break(resolved) => return resolved,
                ControlFlow::Continue(wake) => wake,
            };
            let news = poll_fn(|cx| poll_runs(&mut self.runs, cx));
            match tokio::time::timeout_at(wake.into(), news).await {
                Ok((at, outcome)) => {
                    if let Some(resolved) = self.take(at, outcome, Instant::now()) {
                        return resolved;
                    }
                }
                Err(_) => self.mark_late(Instant::now()),
            }
        }
    }

    /// Does what is to be done at a time: the end, or when to look again if nothing comes before.
    fn step(&mut self, now: Instant) -> ControlFlow<Resolved, Instant> {
        let wake = self.send_what_is_due(now);
        match self.end(now) {
            Some(resolved) => ControlFlow::Break(resolved),
            None => ControlFlow::Continue(wake.into_iter().chain(self.times(now)).min().unwrap_or(now)),
        }
    }

    //----------- When -------------------------------------------------------

    /// When to look again, whatever happens.
    fn times(&self, now: Instant) -> impl Iterator<Item = Instant> {
        let late = self.runs.iter().filter_map(|run| run.late_at);
        late.chain(self.settle(now)).chain([self.deadline(now)])
    }

    fn deadline(&self, now: Instant) -> Instant {
        let is_heard = || self.lanes.iter().any(|lane| lane.upstream.vitals().is_heard_since(self.start));
        let is_probed = self.rules.options.health.max_fails > 0;
        let mut end = self.limit;
        // Whether that is over is asked once more when it is over.
        if is_probed && (now < self.start + SILENCE || !is_heard()) {
            end = end.min(self.start + SILENCE);
        }
        if !self.runs.is_empty() && self.runs.iter().all(Run::is_refused) {
            end = end.min(self.last_send + GRACE);
        }
        end
    }

    /// The end, if it has come.
    fn end(&mut self, now: Instant) -> Option<Resolved> {
        let nothing_open = self.runs.is_empty() && self.candidate(now).is_none();
        let is_over = nothing_open || self.settle(now).is_some_and(|at| now >= at) || now >= self.deadline(now);
        if !is_over {
            return None;
        }
        // Upstreams that are not waited for any longer have not answered in time.
        self.runs.iter_mut().for_each(|run| run.late_at = run.late_at.map(|_| now));
        self.mark_late(now);
        let failure = Resolved::failed(self.why());
        Some(self.state.take().map_or(failure, |answer| self.answered(answer)))
    }

    fn why(&mut self) -> Option<Failure> {
        let open = self.runs.iter().find(|run| !run.is_refused());
        open.map(|run| run.timeout(&self.lanes[run.lane].upstream.address.to)).or(self.failure.take())
    }

    fn mark_late(&mut self, now: Instant) {
        for run in self.runs.iter_mut().filter(|run| run.late_at.is_some_and(|late_at| late_at <= now)) {
            run.late_at = None;
            self.lanes[run.lane].upstream.late(&self.rules.options.health, self.runtime, now);
        }
    }

    /// Sends what is to be sent by now. If something waits for better times, returns when to look
    /// again.
    fn send_what_is_due(&mut self, now: Instant) -> Option<Instant> {
        while self.may_ask() {
            let (lane, way) = self.candidate(now)?;
            let unpaid = self.last_send + self.pause(lane);
            if now < unpaid && !self.may_send(lane, now) {
                self.recheck *= 2;
                return Some(unpaid.min(now + self.recheck / 2));
            }
            (self.is_eager, self.recheck) = (false, RECHECK);
            self.send(lane, way, now);
        }
        None
    }

    /// Whether one more send may be due: there was news, or all answers are late. With an error in
    /// hand nothing is sent.
    fn may_ask(&self) -> bool {
        let is_due = self.is_eager || self.runs.iter().all(|run| run.late_at.is_none());
        is_due && !matches!(self.state, State::Error(_))
    }

    //----------- Sends ------------------------------------------------------

    fn send(&mut self, at: usize, way: Way, now: Instant) {
        (self.sends, self.last_send) = (self.sends + 1, now);
        let lane = &mut self.lanes[at];
        if way == Way::Udp
            && let Some(sent_off) = lane.upstream.datagram(&self.query.sent, now, None, self.runtime)
        {
            lane.udp += 1;
            match sent_off {
                Ok(exchange) => self.enter(at, Hope::Answer, Io::Datagram(exchange), now),
                Err(failure) => self.news(at, failure, now),
            }
            return;
        }
        lane.tcp += 1;
        self.connect(at, Hope::Answer, now);
    }

    fn connect(&mut self, at: usize, hope: Hope, now: Instant) {
        let (upstream, sent) = (self.lanes[at].upstream.clone(), self.query.sent.clone());
        let runtime = self.runtime.clone();
        let patience = self.rules.options.read_timeout.min(self.limit.saturating_duration_since(now));
        let ask = Box::pin(async move { upstream.ask(&sent, patience, &runtime).await });
        self.enter(at, hope, Io::Stream(ask), now);
    }

    fn enter(&mut self, lane: usize, hope: Hope, io: Io, now: Instant) {
        let late = self.rules.lateness(&self.lanes[lane].upstream, self.lanes.len());
        // A connection may have to be opened first.
        let late = if matches!(io, Io::Stream(_)) { late * 2 } else { late };
        self.runs.push(Run { lane, sent_at: now, late_at: Some(now + late), hope, io });
    }

    //----------- Answers ----------------------------------------------------

    /// What came of a send: the end, or not.
    fn take(&mut self, at: usize, outcome: Outcome, now: Instant) -> Option<Resolved> {
        let answer = match outcome {
            Ok(answer) => answer,
            Err(failure) => return self.take_news(at, failure, now),
        };
        let run = self.runs.swap_remove(at);
        if run.hope == Hope::Whole && !self.query.has_room_for(&answer) {
            // The client has to come over TCP: it gets what says so as it came.
            return self.state.take().map(|truncated| self.answered(truncated));
        }
        let lane = &mut self.lanes[run.lane];
        if let Io::Datagram(_) = run.io {
            lane.upstream.answered(answer.rcode, run.sent_at);
            if answer.flags & flag::TC != 0 {
                self.state.hold(State::Truncated, answer, now);
                self.connect(run.lane, Hope::Whole, now);
                return None;
            }
        }
        let is_failover = self.rules.options.failover.contains(&answer.rcode);
        let is_error = matches!(answer.rcode, rcode::SERVFAIL | rcode::REFUSED | rcode::FORMERR | rcode::NOTIMP);
        if !is_failover && !is_error {
            return Some(self.answered(answer));
        }
        lane.standing = Standing::Answered;
        // It has said what it has to say, however often it was asked.
        self.runs.retain(|other| other.lane != run.lane);
        if is_failover {
            self.excused += 1;
            self.is_eager = true;
            self.state.hold(State::FailingOver, answer, now);
            return None;
        }
        if self.runs.iter().all(Run::is_refused) {
            return Some(self.answered(answer));
        }
        self.state.hold(State::Error, answer, now);
        None
    }

    /// A failure, or a hint at one.
    fn take_news(&mut self, at: usize, failure: Failure, now: Instant) -> Option<Resolved> {
        let run = &mut self.runs[at];
        let lane = run.lane;
        if let Io::Datagram(exchange) = &mut run.io
            && exchange.wait_on()
        {
            run.hope = if failure.kind == Kind::Forged { Hope::Answer } else { Hope::Refused };
            // It may have answered, in the wrong case: a connection tells.
            let vitals = self.lanes[lane].upstream.vitals();
            if vitals.doubts_case() || !vitals.keeps_case() {
                self.lanes[lane].distrust();
            }
            self.news(lane, failure, now);
            return None;
        }
        let run = self.runs.swap_remove(at);
        if run.hope == Hope::Whole
            && let Some(truncated) = self.state.take()
        {
            return Some(self.answered(truncated));
        }
        if failure.kind == Kind::Forged {
            self.lanes[lane].distrust();
        }
        self.news(lane, failure, now);
        None
    }

    /// The end, with an answer.
    fn answered(&self, answer: Answer) -> Resolved {
        Resolved::answered(answer, self.rules.options)
    }

    fn news(&mut self, lane: usize, failure: Failure, now: Instant) {
        self.is_eager = true;
        self.excused += usize::from(matches!(failure.kind, Kind::Network | Kind::Untrusted(_)));
        self.lanes[lane].upstream.late(&self.rules.options.health, self.runtime, now);
        // A connection that was closed says less than whatever else went wrong.
        if self.failure.as_ref().is_none_or(|first| first.kind == Kind::Closed) {
            self.failure = Some(failure);
        }
    }
}
