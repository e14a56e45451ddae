//! One question, asked again where it has to be: whom, when, how often, and which answer counts.
//!
//! The first send goes where the policy says. Once it is later than most answers of that upstream, the next upstream is
//! asked, or the same one over another socket; earlier sends stay open, and the first good answer wins. What is sent
//! beyond the first is bounded three times:
//!
//! - by the question: three sends, as long as somebody is alive; three for each transport to an upstream that is not
//!   (RFC 9520). The third, if somebody is alive, goes over TCP, where nothing gets lost;
//! - by the [budget](super::budget), unless the question leaves an upstream that is out for one that is not: that is
//!   no repeat. Without budget one waits a second, as any stub resolver would;
//! - by time: 4.5 s, or 1.9 s if nothing at all was heard of any upstream, not even the answer to a probe.
//!
//! News is never a verdict where it can be forged: after an ICMP message the next one is asked at once, and the first is
//! still listened to. Only when all of them are said to be closed, waiting ends early.

mod turn;

use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::exchange::{Forward, Resolved, failed};
use super::failure::{Failure, Kind};
use super::message::Sent;
use super::table::Outcome;
use super::udp::Exchange;
use super::upstream::{Upstream, Way};
use crate::wire::answer::Answer;
use crate::wire::request::flag;
use crate::wire::types::rcode;

/// The longest look-up. Most clients give up after 5 seconds, and a reply in time says why.
const LONGEST: Duration = Duration::from_millis(4_500);

/// The longest look-up with all upstreams down.
const ALL_DOWN: Duration = Duration::from_millis(1_500);

/// The longest look-up in which nobody gives a sign of life.
const SILENCE: Duration = Duration::from_millis(1_900);

/// How long an answer is waited for that all news is against.
const GRACE: Duration = Duration::from_millis(400);

/// How long a failure of one upstream is held back while another one may still answer.
const HOLD: Duration = Duration::from_millis(400);

/// How soon is looked again whether there is budget by now, or the upstream is out; each time twice as long.
const RECHECK: Duration = Duration::from_millis(40);

/// Tries for each upstream that bound the time of a look-up, unless `max_connect_attempts` says otherwise.
const TRIES_PER_UPSTREAM: usize = 2;

//----------- Race -----------------------------------------------------------

/// A look-up that the first datagram has not settled.
pub(super) struct Race<'a> {
    forward: &'a Forward,
    sent: &'a Arc<Sent>,
    way: Way,
    runtime: &'a Handle,
    start: Instant,
    limit: Instant,
    lanes: Vec<Lane>,
    runs: Vec<Run>,
    sends: usize,
    /// Sends that had an answer or bad news at once: they do not count against others.
    excused: usize,
    last_send: Instant,
    /// There was news: the next one is to be asked at once.
    is_eager: bool,
    recheck: Duration,
    failovers: usize,
    /// An answer that is better than none, and when it is given.
    fallback: Option<Answer>,
    settle: Option<Instant>,
    failure: Option<Failure>,
}

/// An upstream, and what it was sent.
struct Lane {
    upstream: Arc<Upstream>,
    udp: usize,
    tcp: usize,
    /// It has answered, and is not asked again.
    answered: bool,
    /// Its datagrams are not to be trusted.
    forged: bool,
}

/// A send that is not answered yet.
struct Run {
    lane: usize,
    sent_at: Instant,
    late_at: Instant,
    is_late: bool,
    /// There was bad news about it.
    refused: bool,
    /// Over TCP because the reply in a datagram was truncated.
    after_tc: bool,
    io: Io,
}

enum Io {
    Datagram(Exchange),
    Stream(Pin<Box<dyn Future<Output = Outcome> + Send>>),
}

impl<'a> Race<'a> {
    /// Asks `upstreams`, in the order that the policy gives from `first` on.
    pub(super) fn new(
        forward: &'a Forward,
        (sent, way, start): (&'a Arc<Sent>, Way, Instant),
        (upstreams, first): (&[Arc<Upstream>], usize),
        runtime: &'a Handle,
    ) -> Self {
        let lane = |at: usize| Lane { upstream: upstreams[at].clone(), udp: 0, tcp: 0, answered: false, forged: false };
        let options = &forward.options;
        let tries = options.max_tries.unwrap_or(TRIES_PER_UPSTREAM * upstreams.len());
        let longest = if upstreams.iter().all(|up| up.is_down(&options.health)) { ALL_DOWN } else { LONGEST };
        let by_tries = if tries == 0 { longest } else { options.read_timeout.saturating_mul(tries as u32) };
        Self {
            forward,
            sent,
            way,
            runtime,
            start,
            limit: start + longest.min(by_tries),
            lanes: options.policy.order(first, upstreams.len()).into_iter().map(lane).collect(),
            runs: Vec::new(),
            sends: 0,
            excused: 0,
            last_send: start,
            is_eager: false,
            recheck: RECHECK,
            failovers: 0,
            fallback: None,
            settle: None,
            failure: None,
        }
    }

    /// Asks from the beginning. The future has a box of its own: few questions need it.
    pub(super) fn begin(self) -> Pin<Box<dyn Future<Output = Resolved> + Send + 'a>> {
        Box::pin(self.run())
    }

    /// Goes on with what was sent to the first upstream: it failed, is late, or has given an answer that settles nothing.
    pub(super) fn go_on(
        mut self,
        sent_off: Result<Exchange, Failure>,
        outcome: Option<Outcome>,
    ) -> Pin<Box<dyn Future<Output = Resolved> + Send + 'a>> {
        (self.sends, self.lanes[0].udp) = (1, 1);
        match (sent_off, outcome) {
            (Err(failure), _) => self.news(0, failure),
            (Ok(exchange), None) => {
                self.enter(0, Io::Datagram(exchange), self.start);
                self.mark_late(self.runs[0].late_at);
            }
            (Ok(exchange), Some(outcome)) => {
                self.enter(0, Io::Datagram(exchange), self.start);
                if let Some(resolved) = self.take(0, outcome) {
                    return Box::pin(std::future::ready(resolved));
                }
            }
        }
        self.begin()
    }

    /// Asks until there is an answer, or none to be had.
    async fn run(mut self) -> Resolved {
        loop {
            let wake = self.send_what_is_due();
            let now = Instant::now();
            if let Some(resolved) = self.end(now) {
                return resolved;
            }
            let wake = wake.into_iter().chain(self.times(now)).min().unwrap_or(now);
            let news = poll_fn(|cx| poll_runs(&mut self.runs, cx));
            match tokio::time::timeout_at(wake.into(), news).await {
                Ok((at, outcome)) => {
                    if let Some(resolved) = self.take(at, outcome) {
                        return resolved;
                    }
                }
                Err(_) => self.mark_late(Instant::now()),
            }
        }
    }

    //----------- When -------------------------------------------------------

    /// When to look again, whatever happens.
    fn times(&self, now: Instant) -> impl Iterator<Item = Instant> {
        let late = self.runs.iter().filter(|run| !run.is_late).map(|run| run.late_at);
        late.chain(self.settle).chain([self.deadline(now)])
    }

    fn deadline(&self, now: Instant) -> Instant {
        let is_heard = || self.lanes.iter().any(|lane| lane.upstream.vitals().is_heard_since(self.start));
        let is_probed = self.forward.options.health.max_fails > 0;
        let mut end = self.limit;
        // Whether that is over is asked once more when it is over.
        if is_probed && (now < self.start + SILENCE || !is_heard()) {
            end = end.min(self.start + SILENCE);
        }
        if !self.runs.is_empty() && self.runs.iter().all(|run| run.refused) {
            end = end.min(self.last_send + GRACE);
        }
        end
    }

    /// The end, if it has come.
    fn end(&mut self, now: Instant) -> Option<Resolved> {
        let nothing_open = self.runs.is_empty() && self.candidate(now).is_none();
        let is_over = nothing_open || self.settle.is_some_and(|at| now >= at) || now >= self.deadline(now);
        if !is_over {
            return None;
        }
        // Whoever is not waited for any longer has not answered in time.
        self.runs.iter_mut().for_each(|run| run.late_at = now);
        self.mark_late(now);
        let failure = failed(self.why()).into();
        Some(self.fallback.take().map_or(failure, |answer| self.forward.relay(answer)))
    }

    fn why(&mut self) -> Option<Failure> {
        let open = self.runs.iter().find(|run| !run.refused);
        open.map(|run| run.timeout(&self.lanes[run.lane].upstream.address.to)).or(self.failure.take())
    }

    fn mark_late(&mut self, now: Instant) {
        for run in self.runs.iter_mut().filter(|run| !run.is_late && run.late_at <= now) {
            run.is_late = true;
            self.lanes[run.lane].upstream.late(&self.forward.options.health, self.runtime);
        }
    }

    /// Sends what is to be sent by now. If something waits for better times, returns when to look again.
    fn send_what_is_due(&mut self) -> Option<Instant> {
        while self.settle.is_none() && (self.is_eager || self.runs.iter().all(|run| run.is_late)) {
            let now = Instant::now();
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

    //----------- Sends ------------------------------------------------------

    fn send(&mut self, at: usize, way: Way, now: Instant) {
        (self.sends, self.last_send) = (self.sends + 1, now);
        let lane = &mut self.lanes[at];
        if way == Way::Udp
            && let Some(sent_off) = lane.upstream.datagram(self.sent, self.runtime)
        {
            lane.udp += 1;
            match sent_off {
                Ok(exchange) => self.enter(at, Io::Datagram(exchange), now),
                Err(failure) => self.news(at, failure),
            }
            return;
        }
        lane.tcp += 1;
        self.connect(at, now);
    }

    fn connect(&mut self, at: usize, now: Instant) {
        let (upstream, sent, runtime) = (self.lanes[at].upstream.clone(), self.sent.clone(), self.runtime.clone());
        let patience = self.forward.options.read_timeout.min(self.limit.saturating_duration_since(now));
        let ask = Box::pin(async move { upstream.ask(&sent, patience, &runtime).await });
        self.enter(at, Io::Stream(ask), now);
    }

    fn enter(&mut self, lane: usize, io: Io, now: Instant) {
        let late = self.forward.lateness(&self.lanes[lane].upstream, self.lanes.len());
        // A connection may have to be made first.
        let late = if matches!(io, Io::Stream(_)) { late * 2 } else { late };
        self.runs.push(Run {
            lane,
            sent_at: now,
            late_at: now + late,
            is_late: false,
            refused: false,
            after_tc: false,
            io,
        });
    }

    //----------- Answers ----------------------------------------------------

    /// What came of a send: the end, or not.
    fn take(&mut self, at: usize, outcome: Outcome) -> Option<Resolved> {
        let answer = match outcome {
            Ok(answer) => answer,
            Err(failure) => return self.take_news(at, failure),
        };
        let run = self.runs.swap_remove(at);
        if run.after_tc && !self.sent.has_room_for(&answer) {
            // The client has to come over TCP: it gets what says so as it came.
            return self.fallback.take().map(|truncated| self.forward.relay(truncated));
        }
        let count = self.lanes.len();
        let lane = &mut self.lanes[run.lane];
        if let Io::Datagram(_) = run.io {
            lane.upstream.answered(answer.rcode, run.sent_at);
            if answer.flags & flag::TC != 0 {
                let (lane, now) = (run.lane, Instant::now());
                self.fallback = Some(answer);
                self.connect(lane, now);
                self.runs.iter_mut().last()?.after_tc = true;
                return None;
            }
        }
        if self.forward.options.failover.contains(&answer.rcode) {
            (self.failovers, self.excused) = (self.failovers + 1, self.excused + 1);
            if self.failovers >= count {
                return Some(self.forward.relay(answer));
            }
            (lane.answered, self.is_eager, self.fallback) = (true, true, Some(answer));
            return None;
        }
        let others = self.runs.iter().any(|other| other.lane != run.lane && !other.refused);
        if others && matches!(answer.rcode, rcode::SERVFAIL | rcode::REFUSED | rcode::FORMERR | rcode::NOTIMP) {
            lane.answered = true;
            self.settle.get_or_insert_with(|| Instant::now() + HOLD);
            self.fallback.get_or_insert(answer);
            return None;
        }
        Some(self.forward.relay(answer))
    }

    /// A failure, or a hint at one.
    fn take_news(&mut self, at: usize, failure: Failure) -> Option<Resolved> {
        let run = &mut self.runs[at];
        let lane = run.lane;
        if let Io::Datagram(exchange) = &mut run.io
            && exchange.wait_on()
        {
            run.refused = failure.kind != Kind::Forged;
            // It may have answered, in the wrong case: a connection tells.
            let vitals = self.lanes[lane].upstream.vitals();
            self.lanes[lane].forged |= vitals.doubts_case() || !vitals.keeps_case();
            self.news(lane, failure);
            return None;
        }
        let run = self.runs.swap_remove(at);
        if run.after_tc
            && let Some(truncated) = self.fallback.take()
        {
            return Some(self.forward.relay(truncated));
        }
        self.lanes[lane].forged |= failure.kind == Kind::Forged;
        self.news(lane, failure);
        None
    }

    fn news(&mut self, lane: usize, failure: Failure) {
        self.is_eager = true;
        self.excused += usize::from(matches!(failure.kind, Kind::Network | Kind::Untrusted(_)));
        self.lanes[lane].upstream.late(&self.forward.options.health, self.runtime);
        // A connection that was closed says less than whatever else went wrong.
        if self.failure.as_ref().is_none_or(|first| first.kind == Kind::Closed) {
            self.failure = Some(failure);
        }
    }
}

impl Run {
    fn timeout(&self, to: &str) -> Failure {
        match &self.io {
            Io::Datagram(exchange) => exchange.timeout(),
            Io::Stream(_) => Failure::late("tcp", to),
        }
    }
}

/// The first run that has come to something.
fn poll_runs(runs: &mut [Run], cx: &mut Context<'_>) -> Poll<(usize, Outcome)> {
    for (at, run) in runs.iter_mut().enumerate() {
        let outcome = match &mut run.io {
            Io::Datagram(exchange) => Pin::new(exchange).poll(cx),
            Io::Stream(ask) => ask.as_mut().poll(cx),
        };
        if let Poll::Ready(outcome) = outcome {
            return Poll::Ready((at, outcome));
        }
    }
    Poll::Pending
}
