//! Races in simulated time: upstreams answer after a time that the test says, or never, and nothing
//! waits for a clock.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Runtime;

use super::{Forwarded, Race};
use crate::host::Host;
use crate::plugins::forward::FORWARD;
use crate::plugins::forward::forward::Forward;
use crate::plugins::forward::options::Options;
use crate::plugins::forward::policy::Policy;
use crate::plugins::forward::to::To;
use crate::plugins::forward::upstream::Upstream;
use crate::remote::{Failure, Way};
use crate::wire::answer::Answer;
use crate::wire::request::flag;
use crate::wire::types::rcode;

const MS: Duration = Duration::from_millis(1);

/// What CoreDNS takes for the first answers that fail over while an upstream is silent.
const READ_TIMEOUT: Duration = Duration::from_secs(2);

/// What an upstream does with a query.
#[derive(Clone, Copy)]
enum Does {
    /// Answers with this RCODE, in so many milliseconds.
    Say(u16, u32),
    /// The same over TCP, and a truncated answer over UDP.
    Truncate(u16, u32),
    /// Cuts answers over UDP, and takes no connection.
    TruncateOnly,
    Nothing,
    /// No process listens, and the system says so.
    Closed,
}

use Does::{Closed, Nothing, Say, Truncate, TruncateOnly};

/// Upstreams, and the time that has passed for them.
struct Scene {
    forward: Forward,
    does: Vec<Does>,
    runtime: Runtime,
    now: Instant,
}

/// What came of a question.
#[derive(Debug, PartialEq)]
struct Came {
    rcode: u16,
    took: Duration,
    /// Queries to each upstream.
    sends: Vec<usize>,
}

impl Scene {
    /// Upstreams that are named `tls://` or so, with what is said of `failover` and other options.
    fn new(scheme: &str, does: &[Does], options: Options) -> Self {
        let to = |at: usize| To::read(&format!("{scheme}127.8.8.{}:9", at + 1), &FORWARD).expect("an address");
        let entries = (0..does.len()).map(to).collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let forward = Forward::new(&FORWARD, options, entries, &Arc::new(Host::default()));
        Self { forward, does: does.to_vec(), runtime, now: Instant::now() }
    }

    fn upstreams(&self) -> Arc<Vec<Arc<Upstream>>> {
        self.forward.upstreams.load()
    }

    /// Asks a question. The first upstream is the one that the policy gives, of those that are in.
    fn ask(&mut self, way: Way, limit: usize) -> Came {
        let (upstreams, start) = (self.upstreams(), self.now);
        let health = &self.forward.options.health;
        let turn = self.forward.options.policy.first(upstreams.len());
        let mut turns = (turn..upstreams.len()).chain(0..turn);
        let first = turns.find(|&at| !upstreams[at].is_out(health, start)).unwrap_or(turn);
        let query = Forwarded::of("www.example.", limit);
        let _inside = self.runtime.enter();
        let mut race = Race::new(self.forward.rules(), &query, way, start, &upstreams, first, self.runtime.handle());
        let lane_of = |to: &Arc<Upstream>| upstreams.iter().position(|one| Arc::ptr_eq(one, to)).expect("known");
        let lanes: Vec<usize> = race.lanes.iter().map(|lane| lane_of(&lane.upstream)).collect();
        let resolved = loop {
            let wake = match race.step(self.now) {
                std::ops::ControlFlow::Break(resolved) => break resolved,
                std::ops::ControlFlow::Continue(wake) => wake,
            };
            // The first thing that any upstream does by then.
            let due = race.runs.iter().enumerate().filter_map(|(at, run)| {
                let is_stream = run.is_stream();
                let (after, what) = done(self.does[lanes[run.lane]], is_stream)?;
                (!run.is_refused() || is_stream).then_some((run.sent_at + after * MS, at, is_stream, what))
            });
            match due.filter(|(at, ..)| *at <= wake).min_by_key(|(at, ..)| *at) {
                Some((at, run, is_stream, what)) => {
                    self.now = at.max(self.now);
                    if is_stream && what.is_ok() {
                        race.lanes[race.runs[run].lane].upstream.answered(0, race.runs[run].sent_at);
                    }
                    if let Some(resolved) = race.take(run, what, self.now) {
                        break resolved;
                    }
                }
                None => {
                    self.now = wake.max(self.now);
                    race.mark_late(self.now);
                }
            }
        };
        let mut sends = vec![0; lanes.len()];
        race.lanes.iter().zip(&lanes).for_each(|(lane, &at)| sends[at] = lane.udp + lane.tcp);
        let took = self.now - start;
        // The next question comes a while later.
        self.now += 20 * MS;
        Came { rcode: resolved.reply.rcode(), took, sends }
    }
}

/// After how many milliseconds something is heard, and what.
fn done(does: Does, is_stream: bool) -> Option<(u32, Result<Answer, Failure>)> {
    match does {
        Truncate(..) | TruncateOnly if !is_stream => {
            let mut answer = Answer::empty(rcode::NOERROR);
            answer.flags |= flag::TC;
            Some((1, Ok(answer)))
        }
        Say(rcode, after) | Truncate(rcode, after) => Some((after, Ok(Answer::empty(rcode)))),
        Closed => Some((0, Err(Failure::other("connection refused")))),
        Nothing | TruncateOnly => None,
    }
}

fn failover(policy: Policy, rcodes: &[u16]) -> Options {
    Options { policy, failover: rcodes.to_vec(), ..Options::default() }
}

const POLICIES: [fn() -> Policy; 3] =
    [|| Policy::Sequential, || Policy::RoundRobin(std::sync::atomic::AtomicUsize::new(0)), || Policy::Random];

/// Issue 13, C13: with one dead upstream each answer that failed over took 4.5 s for ever.
#[test]
fn failover_does_not_wait_for_the_dead() {
    for (way, rcode) in [(Way::Udp, rcode::NXDOMAIN), (Way::Udp, rcode::SERVFAIL), (Way::Tcp, rcode::REFUSED)] {
        for (policy, dead) in POLICIES.iter().flat_map(|policy| [(policy, Nothing), (policy, Closed)]) {
            for does in
                [&[dead, Say(rcode, 2)][..], &[Say(rcode, 2), dead, Say(rcode, 3)], &[dead, dead, Say(rcode, 2)]]
            {
                check_failover(way, "", does, failover(policy(), &[rcode]), rcode);
            }
        }
    }
    for scheme in ["tls://", "https://", "quic://"] {
        let does = [Say(rcode::NXDOMAIN, 2), Nothing];
        check_failover(Way::Udp, scheme, &does, failover(Policy::Sequential, &[3]), rcode::NXDOMAIN);
    }
}

fn check_failover(way: Way, scheme: &str, does: &[Does], options: Options, rcode: u16) {
    let mut scene = Scene::new(scheme, does, options);
    let mut slow = Duration::ZERO;
    // A dead upstream is found out by three queries that were late; where one is drawn, later.
    for _ in 0..40 {
        let came = scene.ask(way, 512);
        assert_eq!(came.rcode, rcode);
        slow += came.took.saturating_sub(10 * MS);
    }
    assert!(slow <= 3 * READ_TIMEOUT, "{slow:?} {way:?} {scheme} {rcode}");
    let came = scene.ask(way, 512);
    assert!(came.took <= 6 * MS, "{came:?} {way:?} {scheme}");
    let dead = does.iter().zip(&came.sends).filter(|(does, _)| !matches!(does, Say(..)));
    assert_eq!(dead.map(|(_, sends)| sends).sum::<usize>(), 0, "{came:?}");
}

#[test]
fn failover_asks_all_healthy_upstreams_and_the_last_answer_counts() {
    let no = Say(rcode::NXDOMAIN, 2);
    for policy in POLICIES {
        let mut scene =
            Scene::new("", &[no, Nothing, Closed, Nothing, no, Say(rcode::NOERROR, 2)], failover(policy(), &[3]));
        // With a random order it takes many questions until each silent one has been asked three
        // times.
        for n in 0..60 {
            assert_eq!(scene.ask(Way::Udp, 512).rcode, rcode::NOERROR, "{n}");
        }
        let came = scene.ask(Way::Udp, 512);
        assert!(came.took <= 6 * MS, "{came:?}");
    }
    let mut scene = Scene::new("", &[no, Say(rcode::SERVFAIL, 2)], failover(Policy::Sequential, &[3]));
    assert_eq!(scene.ask(Way::Udp, 512), Came { rcode: rcode::SERVFAIL, took: 4 * MS, sends: vec![1, 1] });
}

/// What is later than most is not yet wrong: a pause of the one that has the name must not make it
/// "no such name".
#[test]
fn failover_waits_for_a_healthy_upstream() {
    let mut scene =
        Scene::new("", &[Say(rcode::NXDOMAIN, 2), Say(rcode::NOERROR, 2)], failover(Policy::Sequential, &[3]));
    (0..50).for_each(|_| assert_eq!(scene.ask(Way::Udp, 512).rcode, rcode::NOERROR));
    scene.does[1] = Say(rcode::NOERROR, 300);
    assert_eq!(scene.ask(Way::Udp, 512).rcode, rcode::NOERROR);
    // It is asked again as soon as it is late, but with an answer in hand not waited for much
    // longer.
    scene.does[1] = Nothing;
    scene.upstreams()[1].answered(0, Instant::now());
    let came = scene.ask(Way::Udp, 512);
    assert!(came.rcode == rcode::NXDOMAIN && came.sends[1] > 1 && came.took <= 403 * MS, "{came:?}");
}

/// Probes are answered and nothing else is: it never counts as silent for long.
#[test]
fn failover_waits_no_longer_than_most_answers_take() {
    for max_fails in [0, 2] {
        let mut options = failover(Policy::Sequential, &[3]);
        Arc::make_mut(&mut options.health).max_fails = max_fails;
        let mut scene = Scene::new("", &[Say(rcode::NXDOMAIN, 2), Nothing], options);
        for _ in 0..5 {
            scene.upstreams()[1].answered(0, Instant::now());
            let came = scene.ask(Way::Udp, 512);
            assert!(came.rcode == rcode::NXDOMAIN && came.took <= 1003 * MS, "{came:?}");
        }
    }
}

#[test]
fn an_error_does_not_wait_for_the_silent() {
    let mut scene = Scene::new("", &[Nothing, Say(rcode::SERVFAIL, 2)], failover(Policy::Sequential, &[]));
    let first = scene.ask(Way::Udp, 512);
    assert!(first.rcode == rcode::SERVFAIL && first.took <= 660 * MS, "held for one who may answer: {first:?}");
    (0..2).for_each(|_| assert_eq!(scene.ask(Way::Udp, 512).rcode, rcode::SERVFAIL));
    // All are silent, so that all are asked.
    let health = scene.forward.options.health.clone();
    scene.upstreams().iter().for_each(|one| (0..3).for_each(|_| one.late(&health, scene.runtime.handle(), scene.now)));
    scene.now += 400 * MS;
    let came = scene.ask(Way::Udp, 512);
    assert!(came.rcode == rcode::SERVFAIL && came.sends == [1, 1], "{came:?}");
    assert!(came.took <= 260 * MS, "{came:?}");
}

/// Row C3 failed now and then: one upstream was out for a moment, so that there was to be one more
/// send, and when it was heard of there was none, although all sends had been datagrams.
#[test]
fn the_last_send_goes_over_tcp_even_if_an_upstream_failed_meanwhile() {
    let scene = Scene::new("", &[Nothing, Nothing], failover(Policy::Sequential, &[]));
    let (upstreams, now) = (scene.upstreams(), scene.now);
    let query = Forwarded::of(".", 65_535);
    let _inside = scene.runtime.enter();
    let mut race = Race::new(scene.forward.rules(), &query, Way::Udp, now, &upstreams, 0, scene.runtime.handle());
    race.send(0, Way::Udp, now);
    race.send(1, Way::Udp, now);
    (0..3).for_each(|_| upstreams[1].late(&scene.forward.options.health, scene.runtime.handle(), now));
    assert_eq!(race.candidate(now), Some((0, Way::Udp)), "what went to the silent one does not count");
    race.send(0, Way::Udp, now);
    upstreams[1].answered(0, now);
    let (at, way) = race.candidate(now).expect("one more");
    assert_eq!(way, Way::Tcp);
    race.send(at, way, now);
    assert_eq!(race.candidate(now), None);
}

/// A firewall lets no TCP through: who came over UDP gets the truncated answer soon, and can do as
/// it likes.
#[test]
fn a_truncated_answer_waits_for_the_whole_one() {
    let options = || Options { prefer_udp: true, ..Options::default() };
    let mut scene = Scene::new("", &[Truncate(rcode::NOERROR, 300)], options());
    assert_eq!(scene.ask(Way::Udp, 1232).took, 301 * MS, "the whole one");
    let mut scene = Scene::new("", &[TruncateOnly], options());
    (0..20).for_each(|_| assert_eq!(scene.ask(Way::Udp, 1232).rcode, rcode::NOERROR));
    let came = scene.ask(Way::Udp, 1232);
    assert!(came.rcode == rcode::NOERROR && came.took <= 401 * MS, "{came:?}");
}
