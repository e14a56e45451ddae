//! Answers that need TCP, and connections with faults.

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::ask::{NOERROR, Question, Reply, TXT, ask_all};
use crate::load::{Times, load, millis};
use crate::names::{answer, fresh, questions, right_and_wrong, well};
use crate::row::{Found, Place, Row, joined};
use crate::server::Run;
use crate::upstream::{Act, Answer, Seen, Upstream};

pub(crate) const ROWS: &[Row] = &[
    Row {
        id: "C6",
        injected: "every reply over UDP is truncated; the whole answer of 2,000 octets is available over TCP",
        wanted: "every client finally has the whole answer; at most one connection for 100 queries",
        place: Place::Here,
        run: c6,
    },
    Row {
        id: "C7",
        injected: "over TCP (`force_tcp`), one name in ten is answered octet by octet, one every 500 ms",
        wanted: "the other names are not affected: all answered",
        place: Place::Here,
        run: c7,
    },
    Row {
        id: "C8",
        injected: "over TCP, a reset in the middle of an answer, a wrong length, a FIN after each answer",
        wanted: "the right answer after at most one retry; none wrong",
        place: Place::Here,
        run: c8,
    },
    Row {
        id: "C19",
        injected: "nothing is wrong: thousands of queries over TCP (`force_tcp`), to an upstream behind a Service",
        wanted: "all answered; no connection carries more than 2,000 queries, so that all pods of the Service get their share",
        place: Place::Here,
        run: c19,
    },
];

/// Answers with about 2,000 octets over TCP, and with TC over UDP.
fn long_answer(seen: &Seen) -> Vec<Act> {
    if !seen.tcp {
        return vec![Act::send(Answer::to(&seen.packet).flags(0x0200))];
    }
    let text = [&[200][..], &[b'x'; 200]].concat();
    let whole = (0..10).fold(Answer::to(&seen.packet), |answer, _| answer.record(0, &[0xC0, 12], (TXT, 60), &text));
    vec![Act::send(whole)]
}

/// Returns whether a reply is that answer.
fn is_whole(reply: &Reply) -> bool {
    reply.rcode() == NOERROR && !reply.is_truncated() && reply.types() == [TXT; 10]
}

fn c6(run: &Run) -> Found {
    let upstream = Upstream::start(long_answer);
    let server = run.forward("", &[upstream.address], "");
    let names = fresh("c6-", run.pick(200, 2_000));
    let questions: Vec<_> = questions(&names).into_iter().map(|question| question.of(TXT)).collect();
    let replies = ask_all(&questions, 10, |question| question.resolve(server.address()));
    let whole = replies.iter().flatten().filter(|reply| is_whole(reply)).count();
    let connections = upstream.connections();
    Found::new(format!("{whole} of {} whole, {connections} connections upstream", names.len()))
        .must(whole == names.len(), "an answer did not come whole")
        .must(connections * 100 <= names.len(), "more than one connection for 100 queries")
}

fn c7(run: &Run) -> Found {
    let upstream = Upstream::start(|seen| {
        let message = answer(seen).message();
        vec![if seen.name().starts_with("slow") {
            Act::Drip(message, Duration::from_millis(500))
        } else {
            Act::Send(message)
        }]
    });
    let server = run.forward("", &[upstream.address], "force_tcp");
    let ask = |question: &Question| question.ask(server.address());
    let (slow, names) = (fresh("slow-c7-", 5), fresh("c7-", run.pick(50, 200)));
    let start = Instant::now();
    let (slow, replies) = std::thread::scope(|scope| {
        let slow = scope.spawn(|| {
            let replies = ask_all(&questions(&slow), slow.len(), ask);
            (replies.iter().flatten().count(), start.elapsed())
        });
        // The others come one after the other while the slow ones are in flight.
        std::thread::sleep(Duration::from_millis(300));
        let others = questions(&names);
        let replies = ask_all(&others, 2, |question| {
            std::thread::sleep(Duration::from_millis(20));
            ask(question)
        });
        (joined(slow), replies)
    });
    let (right, _) = right_and_wrong(&names, &replies);
    let times = Times::of(replies.iter().flatten().map(|reply| reply.after));
    Found::new(format!(
        "{right} of {} others answered, {times}; {} of 5 slow ones heard, the last after {}",
        names.len(),
        slow.0,
        millis(slow.1)
    ))
    .must(right == names.len(), "a slow answer held up another one")
    .must(slow.0 == 5, "a client of a slow answer heard nothing")
}

fn c19(run: &Run) -> Found {
    let upstream = Upstream::start(well);
    let server = run.forward("", &[upstream.address], "force_tcp");
    let names = fresh("c19-", run.pick(4_200, 40_000));
    let heard = load(server.address(), run.pick(2_000, 5_000), questions(&names).iter().map(Question::packet));
    let mut by_connection: HashMap<SocketAddr, usize> = HashMap::new();
    for seen in upstream.seen().iter().filter(|seen| seen.tcp) {
        *by_connection.entry(seen.from).or_default() += 1;
    }
    let (connections, most) = (by_connection.len(), by_connection.into_values().max().unwrap_or_default());
    let found = Found::new(format!("{}; {connections} connections, at most {most} queries on one", heard.losses()))
        .must(heard.good() == names.len(), "a query was lost or failed")
        .must(connections > 1, "one connection took all queries");
    // Some more go over a connection until its successor is open.
    if run.long { found.must(most <= 2_000 + 500, "one connection took too many queries") } else { found }
}

/// The first answer to a name fails as the name says, and so do open connections.
fn broken(seen: &Seen) -> Vec<Act> {
    let message = answer(seen).message();
    let framed = |len: usize| [&(len as u16).to_be_bytes()[..], &message].concat();
    match seen.name().get(..2).unwrap_or_default() {
        "rs" => vec![Act::Raw(framed(message.len())[..message.len() / 2].to_vec()), Act::Reset],
        "lo" => vec![Act::Raw(framed(message.len() + 40)), Act::Close],
        "sh" => vec![Act::Raw(framed(message.len() - 9)), Act::Close],
        _ => vec![Act::Send(message), Act::Close],
    }
}

fn c8(run: &Run) -> Found {
    let upstream = Upstream::start(|seen| {
        // Each name is answered well from its second time on, so retries are visible.
        let is_first = seen.name().contains("-c8-") && FIRST.lock().expect("no panic").insert(seen.name());
        if is_first { broken(seen) } else { well(seen) }
    });
    let server = run.forward("", &[upstream.address], "force_tcp");
    let each = run.pick(10, 50);
    let names: Vec<String> =
        ["rs", "lo", "sh", "fi"].iter().flat_map(|first| fresh(&format!("{first}-c8-{:?}-", run.kind), each)).collect();
    // One after the other: a connection that breaks takes all its questions along.
    let replies = ask_all(&questions(&names), 1, |question| question.ask(server.address()));
    let (right, wrong) = right_and_wrong(&names, &replies);
    let sends = super::lossy::most_sends(&upstream.seen());
    Found::new(format!("{right} of {} right, {wrong} wrong, a question was sent {sends} times at most", names.len()))
        .must(right == names.len() && wrong == 0, "an answer is missing or wrong")
        .must(sends <= 2, "more than one retry")
}

/// Names that were asked for once.
static FIRST: Mutex<BTreeSet<String>> = Mutex::new(BTreeSet::new());
