//! Upstreams that receive everything and never reply.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use crate::ask::{NOERROR, NXDOMAIN, PATIENCE, Question, Reply, SERVFAIL, ask_all, question};
use crate::cluster::{ADDRESS, Cluster, SERVICE};
use crate::load::{Load, Times, load, millis};
use crate::names::{fresh, is_right, questions, well};
use crate::row::{Found, Place, Row, joined};
use crate::server::Run;
use crate::upstream::{Act, Seen, Upstream};

pub(crate) const ROWS: &[Row] = &[
    Row {
        id: "C1",
        injected: "one of two upstreams goes silent during 200 queries a second, and recovers",
        wanted: "nothing lost, no SERVFAIL; p99 300 ms; out of use within 2 s, in use again 5 s after it recovers",
        place: Place::Here,
        run: c1,
    },
    Row {
        id: "C2",
        injected: "all upstreams go silent; cached names have expired (`serve_stale`)",
        wanted: "expired names answered with TTL 30 or less and EDE 3, others SERVFAIL with EDE 22 in 2 s, cluster names as usual",
        place: Place::Here,
        run: c2,
    },
    Row {
        id: "C20",
        injected: "`failover NXDOMAIN`; of two upstreams the first is silent, the second answers NXDOMAIN to all",
        wanted: "every query answered; once the first is known to be silent, it is neither asked nor waited for (50 ms)",
        place: Place::Here,
        run: c20,
    },
    Row {
        id: "M1",
        injected: "one of two upstreams goes silent for good during 2,000 queries a second",
        wanted: "nothing lost, no SERVFAIL; after the first second p99 within 100 ms of before",
        place: Place::Alone,
        run: m1,
    },
];

//----------- One of two -----------------------------------------------------

/// Queries sent this shortly before the silence may already get no reply.
const BEFORE: Duration = Duration::from_millis(100);

/// A load during which one of two upstreams is silent for a time.
struct Silence {
    heard: Load,
    /// When the silence began and ended, from the start of the load.
    from: Duration,
    until: Duration,
    /// When ordinary queries reached the silent one, on the same clock.
    to_silent: Vec<Duration>,
}

/// Asks `rate` questions a second for three spans of time; in the second one, one of two upstreams
/// is silent.
fn silence(run: &Run, rate: u32, spans: [Duration; 3]) -> Silence {
    let upstreams = [Upstream::start(well), Upstream::start(well)];
    let server = run.forward("", &[upstreams[0].address, upstreams[1].address], "policy round_robin");
    let count = (spans.iter().sum::<Duration>().as_secs_f64() * f64::from(rate)) as usize;
    let names = fresh("silent-", count);
    // The first queries of a process say nothing about its speed.
    ask_all(&questions(&fresh("warm-", 50)), 5, |question| question.ask(server.address()));
    let start = Instant::now();
    let (heard, from, until) = std::thread::scope(|scope| {
        let asker = scope.spawn(|| load(server.address(), rate, names.iter().map(|name| question(name).packet())));
        std::thread::sleep(spans[0]);
        let from = start.elapsed();
        upstreams[1].script(|_| Vec::new());
        std::thread::sleep(spans[1]);
        let until = start.elapsed();
        upstreams[1].script(well);
        (joined(asker), from, until)
    });
    let ordinary = upstreams[1].seen().into_iter().filter(|seen| !seen.is_probe());
    let to_silent = ordinary.map(|seen| seen.at.saturating_duration_since(start)).collect();
    Silence { heard, from, until, to_silent }
}

impl Silence {
    /// Returns how many ordinary queries reached the silent one later than 2 s after it fell
    /// silent. An upstream that is out may be asked occasionally if the other one is late.
    fn in_use(&self) -> usize {
        let late = self.from + Duration::from_secs(2)..self.until;
        self.to_silent.iter().filter(|at| late.contains(*at)).count()
    }

    /// Returns how long after its return it was asked again.
    fn back_after(&self) -> Option<Duration> {
        self.to_silent.iter().find(|at| **at >= self.until).map(|at| *at - self.until)
    }
}

fn c1(run: &Run) -> Found {
    let second = Duration::from_secs(1);
    let found = silence(run, 200, [second, run.pick(3, 10) * second, run.pick(2, 6) * second]);
    let before = found.heard.times(Duration::ZERO, found.from.saturating_sub(BEFORE));
    let during = found.heard.times(found.from, found.until);
    let back = found.back_after().map_or("never".to_owned(), millis);
    let mut all = Found::new(format!(
        "{}; p99 {} before, {} while silent; {} queries to the silent one after 2 s; in use again {back} after its return",
        found.heard.losses(),
        millis(before.within(0.99)),
        millis(during.within(0.99)),
        found.in_use(),
    ));
    all = all.must(found.heard.good() == found.heard.asked(), "a query was lost or failed");
    if run.long {
        all = all
            .must(during.within(0.99) <= Duration::from_millis(300), "p99 above 300 ms")
            .must(found.in_use() * 100 <= found.heard.asked(), "the silent one was in use after 2 s")
            .must(found.back_after().is_some_and(|after| after <= 5 * second), "not in use 5 s after its return");
    }
    all
}

fn m1(run: &Run) -> Found {
    let second = Duration::from_secs(1);
    let found = silence(run, 2_000, [5 * second, 20 * second, Duration::ZERO]);
    let before = found.heard.times(Duration::ZERO, found.from.saturating_sub(BEFORE)).within(0.99);
    let first = found.heard.times(found.from, found.from + second).within(0.99);
    let later = found.heard.times(found.from + second, found.until).within(0.99);
    Found::new(format!(
        "{}; p99 {} before, {} in the first second, {} after it",
        found.heard.losses(),
        millis(before),
        millis(first),
        millis(later)
    ))
    .must(found.heard.good() == found.heard.asked(), "a query was lost or failed")
    .must(later <= before + Duration::from_millis(100), "p99 more than 100 ms above that of before")
}

//----------- All of them ----------------------------------------------------

/// Returns a right answer with a TTL of a second.
fn for_a_second(seen: &Seen) -> Vec<Act> {
    let address = crate::names::address(&seen.name()).to_string();
    vec![Act::send(crate::upstream::Answer::to(&seen.packet).a(&address, 1))]
}

const STALE: &str = "cache 30 {\n        success 9984 30 1\n        serve_stale 1h\n    }";

fn c2(run: &Run) -> Found {
    let (cluster, upstreams) = (Cluster::start(), [Upstream::start(for_a_second), Upstream::start(for_a_second)]);
    let above = format!("{STALE}\n    {}", cluster.directive());
    let server = run.forward(&above, &[upstreams[0].address, upstreams[1].address], "");
    let known = fresh("c2-", run.pick(20, 200));
    let ask = |question: &Question| question.ask(server.address());
    // Asks again for what a busy machine answers too late: the row is about the cached names.
    let mut missing = known.clone();
    for _ in 0..5 {
        let replies = ask_all(&questions(&missing), 5, ask);
        let is_right = |at: usize, name: &str| replies[at].as_ref().is_some_and(|reply| is_right(name, reply));
        missing = missing
            .iter()
            .enumerate()
            .filter(|(at, name)| !is_right(*at, name))
            .map(|(_, name)| name.clone())
            .collect();
    }
    std::thread::sleep(Duration::from_millis(1_500));
    upstreams.iter().for_each(|upstream| upstream.script(|_| Vec::new()));
    let unknown = fresh("c2-new-", known.len());
    let (stale, failed, local) = std::thread::scope(|scope| {
        let failed = scope.spawn(|| ask_all(&questions(&unknown), 200, ask));
        let stale = ask_all(&questions(&known), 5, ask);
        let local = ask_all(&vec![question(SERVICE); 200], 5, ask);
        (stale, joined(failed), local)
    });
    let marked = |reply: &&Reply| reply.errors().contains(&3) && reply.ttl().is_some_and(|ttl| ttl <= 30);
    let stale_right = known.iter().zip(&stale).filter_map(|(name, reply)| Some((name, reply.as_ref()?)));
    let stale_right: Vec<&Reply> =
        stale_right.filter(|(name, reply)| is_right(name, reply)).map(|(_, reply)| reply).collect();
    let stale_marked = stale_right.iter().copied().filter(marked).count();
    let explained = |reply: &&Reply| reply.rcode() == SERVFAIL && reply.errors().contains(&22);
    let (heard, explained) = (failed.iter().flatten().count(), failed.iter().flatten().filter(explained).count());
    let address: Ipv4Addr = ADDRESS.parse().expect("an address");
    let local_right = local.iter().flatten().filter(|reply| reply.rcode() == NOERROR && reply.addresses() == [address]);
    let (local_right, local_times) = (local_right.count(), times(&local));
    let last = times(&failed).within(1.0);
    let slowest = if heard == failed.len() { format!("within {}", millis(last)) } else { format!("{heard} in time") };
    let mut found = Found::new(format!(
        "{} of {} known names answered, {stale_marked} marked stale; others: {slowest}, {explained} of {} SERVFAIL with EDE \
         22; {local_right} of 200 cluster names, p99 {}",
        stale_right.len(),
        known.len(),
        unknown.len(),
        millis(local_times.within(0.99)),
    ))
    .must(stale_right.len() == known.len(), "a name that was known is not answered")
    .must(stale_marked == known.len(), "a stale answer is not marked")
    .must(explained == unknown.len(), "a failure does not say why")
    .must(local_right == 200, "a cluster name suffered");
    if run.long {
        found = found.must(last <= Duration::from_millis(2_100), "SERVFAIL took more than 2 s");
    }
    found
}

//----------- An answer in hand ----------------------------------------------

fn c20(run: &Run) -> Found {
    let (silent, other) = (Upstream::start(|_| Vec::new()), Upstream::start(denied));
    let options =
        format!("policy sequential\n        failover NXDOMAIN\n        {}", run.pick("read_timeout 500ms", ""));
    let server = run.forward("", &[silent.address, other.address], &options);
    let (first, then) = (fresh("c20-first-", 10), fresh("c20-", run.pick(10, 100)));
    let ask = |names: &[String]| ask_all(&questions(names), 1, |question| question.ask(server.address()));
    let first = ask(&first);
    let before = silent.count();
    let then = ask(&then);
    let in_vain = silent.count() - before;
    let denied = first.iter().chain(&then).flatten().filter(|reply| reply.rcode() == NXDOMAIN).count();
    let found = Found::new(format!(
        "{denied} of {} answered; the first ten within {}, the others {}, with {in_vain} queries to the silent one",
        first.len() + then.len(),
        millis(times(&first).within(1.0)),
        millis(times(&then).within(0.99)),
    ))
    .must(denied == first.len() + then.len(), "an answer was not given")
    .must(in_vain == 0, "an upstream that is known to be silent was asked");
    if run.long {
        return found.must(times(&then).within(0.99) <= Duration::from_millis(50), "an answer in hand was held back");
    }
    found
}

/// Answers that the name does not exist.
fn denied(seen: &Seen) -> Vec<Act> {
    vec![Act::send(crate::upstream::Answer::to(&seen.packet).rcode(NXDOMAIN))]
}

fn times(replies: &[Option<Reply>]) -> Times {
    Times::of(replies.iter().map(|reply| reply.as_ref().map_or(PATIENCE, |reply| reply.after)))
}
