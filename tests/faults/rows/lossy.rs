//! Upstreams that answer late or sometimes, or whose port is closed.

use std::collections::HashMap;
use std::time::Duration;

use crate::ask::{Question, SERVFAIL, ask_all, question};
use crate::load::{Heard, Times, load};
use crate::names::{answer, fresh, is_right, questions, right_and_wrong, well};
use crate::row::{Found, Place, Row, joined};
use crate::server::Run;
use crate::upstream::{Act, Seen, Upstream};

pub(crate) const ROWS: &[Row] = &[
    Row {
        id: "C3",
        injected: "two upstreams lose 10, 30 or 50 % of the queries over UDP",
        wanted: "99.99, 99.9 and 99 % answered within 5 s; at most 3 sends of a question to an upstream and transport",
        place: Place::Here,
        run: c3,
    },
    Row {
        id: "C4",
        injected: "every reply takes 200 ms, with a jitter of 50 ms either way; one upstream",
        wanted: "every query answered, no storm of repeats (at most one in ten is sent twice)",
        place: Place::Here,
        run: c4,
    },
    Row {
        id: "C10",
        injected: "the port of the first of two upstreams is closed (ICMP port unreachable)",
        wanted: "every query answered; within 50 ms",
        place: Place::Here,
        run: c10,
    },
];

/// Returns how often a question was sent at most, by name and transport.
pub(super) fn most_sends(seen: &[Seen]) -> usize {
    let mut sends: HashMap<(String, bool), usize> = HashMap::new();
    for seen in seen.iter().filter(|seen| !seen.is_probe()) {
        *sends.entry((seen.name().to_ascii_lowercase(), seen.tcp)).or_default() += 1;
    }
    sends.into_values().max().unwrap_or_default()
}

fn c3(run: &Run) -> Found {
    let shares = [10, 30, 50];
    let results: Vec<_> = std::thread::scope(|scope| {
        let all: Vec<_> = shares.map(|share| scope.spawn(move || lossy(run, share))).into_iter().collect();
        all.into_iter().map(|one| joined(one)).collect()
    });
    let words = results.iter().zip(shares).map(|((right, all, sends), share)| {
        format!("{share} %: {:.2} % answered, at most {sends} sends", *right as f64 / *all as f64 * 100.0)
    });
    let enough = results.iter().zip([0.9999, 0.999, 0.99]);
    let enough = enough.filter(|((right, all, _), share)| *right as f64 >= *all as f64 * share).count();
    Found::new(words.collect::<Vec<_>>().join("; "))
        .must(enough == shares.len(), "too many queries were lost or failed")
        .must(results.iter().all(|(_, _, sends)| *sends <= 3), "a question was sent more than 3 times")
}

/// Returns the number of answered queries, the number of all, and the most sends of one, if a share
/// of datagrams is lost.
fn lossy(run: &Run, share: u64) -> (usize, usize, usize) {
    let losing = || {
        Upstream::start(move |seen| {
            let is_lost = !seen.tcp && fastrand::u64(..100) < share;
            if is_lost { Vec::new() } else { well(seen) }
        })
    };
    let upstreams = [losing(), losing()];
    let server = run.forward("", &upstreams.each_ref().map(|upstream| upstream.address), "");
    let names = fresh("c3-", run.pick(200, 5_000));
    let heard = load(server.address(), run.pick(100, 250), questions(&names).iter().map(Question::packet));
    let is_failed = |one: &Heard, name: &str| !one.reply.as_ref().is_some_and(|reply| is_right(name, reply));
    let failed = heard.0.iter().zip(&names).filter(|(one, name)| is_failed(one, name));
    let failed: Vec<String> = failed.map(|(_, name)| name.clone()).collect();
    let sends = upstreams.iter().map(|upstream| most_sends(&upstream.seen())).max();
    let mut right = names.len() - failed.len();
    if !run.long && !failed.is_empty() {
        // On a busy machine a process may stand still for seconds, which is not a failure. Stub
        // resolvers ask again, and later than the second for which a failure is remembered (RFC
        // 9520).
        std::thread::sleep(Duration::from_millis(1_100));
        let replies = ask_all(&questions(&failed), 5, |question| question.ask(server.address()));
        right += right_and_wrong(&failed, &replies).0;
    }
    (right, names.len(), sends.unwrap_or_default())
}

fn c4(run: &Run) -> Found {
    let upstream = Upstream::start(|seen| {
        let late = Duration::from_millis(150 + fastrand::u64(..100));
        vec![Act::Wait(late), Act::send(answer(seen))]
    });
    let server = run.forward("", &[upstream.address], "");
    // The server has to learn about the upstream first.
    load(server.address(), 100, questions(&fresh("c4-first-", 100)).iter().map(Question::packet));
    let (before, names) = (upstream.count(), fresh("c4-", run.pick(300, 3_000)));
    let heard = load(server.address(), 200, names.iter().map(|name| question(name).packet()));
    let (sent, times) = (upstream.count() - before, heard.all_times());
    let repeats = sent.saturating_sub(names.len());
    Found::new(format!("{}; {repeats} sent again; {times}", heard.losses()))
        .must(heard.good() == names.len(), "a query was lost or failed")
        .must(repeats * 10 <= names.len(), "more than one question in ten was sent again")
}

fn c10(run: &Run) -> Found {
    let upstream = Upstream::start(well);
    let server = run.forward("", &[Upstream::closed(), upstream.address], "policy sequential");
    let names = fresh("c10-", run.pick(100, 500));
    let replies = ask_all(&questions(&names), 1, |question| question.ask(server.address()));
    let (right, _) = right_and_wrong(&names, &replies);
    let times = Times::of(replies.iter().flatten().map(|reply| reply.after));
    let failed = replies.iter().flatten().filter(|reply| reply.rcode() == SERVFAIL).count();
    let found = Found::new(format!("{right} of {} answered, {failed} SERVFAIL; {times}", names.len()))
        .must(right == names.len(), "a query was not answered by the other upstream");
    if run.long { found.must(times.within(0.99) <= Duration::from_millis(50), "p99 above 50 ms") } else { found }
}
