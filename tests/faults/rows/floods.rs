//! Floods: many questions, long answers, names made to collide.

use std::collections::{HashSet, VecDeque};
use std::time::{Duration, Instant};

use crate::ask::{A, CNAME, NOERROR, PATIENCE, Question, SERVFAIL, question};
use crate::cluster::{Cluster, SERVICE};
use crate::load::{Load, Times, load, millis};
use crate::names::{answer, fresh, questions, well};
use crate::row::{Found, Place, Row, joined};
use crate::server::Run;
use crate::upstream::{Act, Answer, Seen, Upstream, wire};

pub(crate) const ROWS: &[Row] = &[
    Row {
        id: "C17",
        injected: "one name that the upstream never answers and one with SERVFAIL, asked 1,000 times a second each for 5 s; `cache`",
        wanted: "at most 3 packets upstream for each in these 5 s; 99 % of other names are answered",
        place: Place::Here,
        run: c17,
    },
    Row {
        id: "C18",
        injected: "a chain of 1,000 CNAMEs, a circular one, and 40 CNAMEs of one name; `cache`",
        wanted: "answered without following the chain; memory hardly grows",
        place: Place::Here,
        run: c18,
    },
    Row {
        id: "D8",
        injected: "a flood of names for one of the 256 parts of CoreDNS's cache (its hash has no key), beside one name that is asked often",
        wanted: "the frequent name stays in the cache",
        place: Place::Here,
        run: d8,
    },
    Row {
        id: "M2",
        injected: "50,000 new names a second (2,000 in the short form) against an upstream that takes 2 s, `max_concurrent` 1000; beside it 5,000 (200) queries a second for a cluster name",
        wanted: "99.99 % of the cluster queries answered, p99 below 5 ms; at most 1,000 open upstream; below 170 MiB",
        place: Place::Here,
        run: m2,
    },
];

//----------- C17 ------------------------------------------------------------

fn c17(run: &Run) -> Found {
    let upstream = Upstream::start(|seen| match &seen.name()[..] {
        "silent.test" => Vec::new(),
        "broken.test" => vec![Act::send(Answer::to(&seen.packet).rcode(SERVFAIL))],
        _ => well(seen),
    });
    let server = run.forward("cache", &[upstream.address], "");
    let (rate, seconds) = (run.pick(1_000, 5_000), 5);
    let others = fresh("c17-", 250);
    let flood = |name: &'static str| {
        let questions = (0..rate * seconds).map(move |_| question(name).packet());
        let server = server.address();
        move || load(server, rate, questions)
    };
    let (heard, failing) = std::thread::scope(|scope| {
        let failing = ["silent.test", "broken.test"].map(|name| scope.spawn(flood(name)));
        let others = load(server.address(), 50, others.iter().map(|name| question(name).packet()));
        (others, failing.map(|one| joined(one)))
    });
    let seen = upstream.seen();
    let packets = |name: &str| {
        let times: Vec<Instant> = seen.iter().filter(|seen| seen.name() == name).map(|seen| seen.at).collect();
        let from = |at: usize| times[at..].iter().filter(|later| **later - times[at] < Duration::from_secs(5)).count();
        (0..times.len()).map(from).max().unwrap_or_default()
    };
    let (silent, broken) = (packets("silent.test"), packets("broken.test"));
    let lost: usize = failing.iter().map(Load::lost).sum();
    Found::new(format!(
        "packets in 5 s: {silent} for the silent one, {broken} for the one with SERVFAIL; {} of 250 others answered; {lost} of {} lost",
        heard.good(),
        failing.iter().map(Load::asked).sum::<usize>()
    ))
    // Questions may come between the end of an exchange and the moment its failure is kept; many on
    // a busy machine. The short form checks that they are not asked one by one, the long form the
    // promised number.
    .must(silent.max(broken) <= run.pick(50, 3), "a failing name was asked for too often")
    .must(heard.good() * 100 >= others.len() * 99, "other names suffered")
}

//----------- C18 ------------------------------------------------------------

/// Returns CNAMEs from `c0` to the last one, and its address.
fn chain(seen: &Seen, hops: usize) -> Answer {
    let owner = |at: usize| wire(&format!("c{at}.c18"));
    let first = Answer::to(&seen.packet).record(0, &[0xC0, 12], (CNAME, 60), &owner(0));
    let chain = (0..hops).fold(first, |reply, at| reply.record(0, &owner(at), (CNAME, 60), &owner(at + 1)));
    chain.record(0, &owner(hops), (A, 60), &[10, 0, 0, 1])
}

fn twisted(seen: &Seen) -> Vec<Act> {
    let name = seen.name();
    let reply = Answer::to(&seen.packet);
    if name.starts_with("long") {
        return vec![Act::send(if seen.tcp { chain(seen, 1_000) } else { reply.flags(0x0200) })];
    }
    if name.starts_with("circle") {
        return vec![Act::send(reply.cname("other.c18", 60).record(0, &wire("other.c18"), (CNAME, 60), &wire(&name)))];
    }
    vec![Act::send((0..40).fold(reply, |reply, at| reply.cname(&format!("f{at}.c18"), 60)))]
}

fn c18(run: &Run) -> Found {
    let upstream = Upstream::start(twisted);
    let mut server = run.forward("cache", &[upstream.address], "");
    question("warm.c18.test").resolve(server.address());
    let before = server.memory("VmRSS");
    let each = run.pick(20, 100);
    let (mut heard, mut times) = (0, Vec::new());
    for kind in ["long", "circle", "fan"] {
        for name in fresh(&format!("{kind}-c18-"), each) {
            let start = Instant::now();
            // Twice: from the upstream and from the cache.
            heard += (0..2).filter(|_| question(&name).resolve(server.address()).is_some()).count();
            times.push(start.elapsed() / 2);
        }
    }
    let grown = server.memory("VmRSS").saturating_sub(before);
    let sent = upstream.seen().len();
    let lives = server.0.is_running();
    Found::new(format!(
        "{heard} of {} answered, {}, {sent} queries upstream; memory +{:.1} MiB",
        each * 6,
        Times::of(times.into_iter()),
        grown as f64 / 1024.0
    ))
    .must(heard == each * 6 && lives, "a query was not answered")
    // The cached answers, of 30 KB each, and what pools and threads keep.
    .must(grown < 64 << 10, "memory grew by 64 MiB")
}

//----------- D8 -------------------------------------------------------------

/// Returns CoreDNS's hash of a question (FNV-1, 64 bits) for type A in class IN without flags.
fn fnv(name: &str) -> u64 {
    let key = [b"00\0\x01\0\x01", name.as_bytes(), b"."].concat();
    key.iter().fold(0xCBF2_9CE4_8422_2325, |hash, octet| hash.wrapping_mul(0x0000_0100_0000_01B3) ^ u64::from(*octet))
}

fn d8(run: &Run) -> Found {
    let upstream = Upstream::start(well);
    let server = run.forward("cache", &[upstream.address], "");
    let hot = fresh("d8-hot-", 1).remove(0);
    let names = (0_u64..).map(|at| format!("d8-{at}.test")).filter(|name| fnv(name) % 256 == fnv(&hot) % 256);
    let names: Vec<String> = names.take(run.pick(1_000, 8_000)).collect();
    // The hot name is cached first, and every tenth question is for it.
    (0..20).for_each(|_| _ = question(&hot).ask(server.address()));
    let asked: Vec<&String> = names.chunks(9).flat_map(|some| some.iter().chain([&hot])).collect();
    let heard = load(server.address(), 1_000, asked.iter().map(|name| question(name).packet()));
    let hits = heard.0.iter().zip(&asked).filter(|(_, name)| ***name == hot);
    let times = Times::of(hits.map(|(one, _)| one.reply.as_ref().map_or(PATIENCE, |reply| reply.after)));
    let fetched = upstream.seen().iter().filter(|seen| seen.name() == hot).count();
    Found::new(format!(
        "{} names in one part: the hot one fetched {fetched} times, {times}; {}",
        names.len(),
        heard.losses()
    ))
    .must(fetched <= 2, "the name that is asked often was thrown out")
    .must(heard.good() == asked.len(), "a query was not answered")
}

//----------- M2 -------------------------------------------------------------

/// Returns how many different names were open at the same time at most, if each takes this long.
fn most_open(seen: &[Seen], time: Duration) -> usize {
    let mut known = HashSet::new();
    let first = seen.iter().filter(|seen| !seen.is_probe() && known.insert(seen.name()));
    let (mut open, mut most) = (VecDeque::new(), 0);
    for one in first {
        while open.front().is_some_and(|at| *at + time < one.at) {
            open.pop_front();
        }
        open.push_back(one.at);
        most = most.max(open.len());
    }
    most
}

fn m2(run: &Run) -> Found {
    let (cluster, most) = (Cluster::start(), 1_000);
    let upstream = Upstream::start(|seen| vec![Act::Wait(Duration::from_secs(2)), Act::send(answer(seen))]);
    let server = run.forward(&cluster.directive(), &[upstream.address], &format!("max_concurrent {most}"));
    let (flood, local, seconds) = run.pick((2_000, 200, 4), (50_000, 5_000, 20));
    let packet = question(SERVICE).packet();
    // Made in advance, so that the load does not spend its time on them.
    let names: Vec<Vec<u8>> =
        questions(&fresh("m2-", (flood * seconds) as usize)).iter().map(Question::packet).collect();
    let (flooded, heard) = std::thread::scope(|scope| {
        let flooded = scope.spawn(|| load(server.address(), flood, names.into_iter()));
        let questions = (0..local * seconds).map(|_| packet.clone());
        let heard = load(server.address(), local, questions);
        (joined(flooded), heard)
    });
    // Less than the 2 s, so that the successor of an answered or abandoned question is not counted
    // beside it.
    let open = most_open(&upstream.seen(), Duration::from_millis(1_700));
    let memory = server.memory("VmHWM") as f64 / 1024.0;
    let times = heard.all_times();
    let mut found = Found::new(format!(
        "cluster names: {} of {} answered, p99 {}; flood: {} of {} answered with {} refused; at most {} open upstream; at most \
         {memory:.0} MiB",
        heard.good(),
        heard.asked(),
        millis(times.within(0.99)),
        flooded.good(),
        flooded.asked(),
        flooded.with(5),
        open,
    ))
    .must(open <= most, "more were open than `max_concurrent` allows")
    .must(memory < 170.0, "more than 170 MiB")
    .must(heard.with(NOERROR) * 10_000 >= heard.asked() * 9_999, "cluster queries were lost");
    if run.long {
        found = found.must(times.within(0.99) < Duration::from_millis(5), "p99 of cluster names above 5 ms");
    }
    found
}
