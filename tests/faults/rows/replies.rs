//! Wrong replies: errors, forgeries, duplicates; and many clients that ask the same.

use std::time::Duration;

use crate::ask::{Question, Reply, ask_all, question};
use crate::load::{Times, load};
use crate::names::{answer, fresh, is_right, questions, right_and_wrong, well};
use crate::row::{Found, Place, Row};
use crate::server::Run;
use crate::upstream::{Act, Answer, Upstream};

pub(crate) const ROWS: &[Row] = &[
    Row {
        id: "C5",
        injected: "every reply twice, every tenth 30 ms late, so that replies overtake each other",
        wanted: "one reply for each query, none wrong",
        place: Place::Here,
        run: c5,
    },
    Row {
        id: "C9",
        injected: "one of two upstreams answers SERVFAIL, REFUSED, FORMERR or NOTIMP; then the same with `failover`",
        wanted: "relayed after one query; with `failover` the other upstream's answer",
        place: Place::Here,
        run: c9,
    },
    Row {
        id: "C13",
        injected: "a reply with a wrong id, one to another question, one from another port, and garbage; the right answer 50 ms later",
        wanted: "every query gets the right answer",
        place: Place::Here,
        run: c13,
    },
    Row {
        id: "C14",
        injected: "1,000 equal questions within 100 ms, and an answer that takes 500 ms; nothing is cached",
        wanted: "one query upstream, every client answered",
        place: Place::Here,
        run: c14,
    },
];

fn c5(run: &Run) -> Found {
    let upstream = Upstream::start(|seen| {
        let reply = Act::send(answer(seen));
        let late = if seen.before % 10 == 0 { 30 } else { 0 };
        vec![Act::Wait(Duration::from_millis(late)), reply.clone(), reply]
    });
    let server = run.forward("", &[upstream.address], "");
    let names = fresh("c5-", run.pick(500, 5_000));
    let heard = load(server.address(), 1_000, questions(&names).iter().map(Question::packet));
    let right = heard.0.iter().zip(&names);
    let right = right.filter(|(one, name)| one.reply.as_ref().is_some_and(|reply| is_right(name, reply))).count();
    let twice = heard.0.iter().filter(|one| one.replies > 1).count();
    Found::new(format!("{right} of {} right, {twice} answered twice", names.len()))
        .must(right == names.len(), "an answer is wrong or missing")
        .must(twice == 0, "a query was answered twice")
}

/// RCODEs of upstreams that cannot or will not answer.
const REFUSALS: [u8; 4] = [2, 5, 1, 4];

fn c9(run: &Run) -> Found {
    let refusing = || {
        Upstream::start(|seen| {
            let at = seen.name().bytes().find(u8::is_ascii_digit).map_or(0, |digit| usize::from(digit - b'0'));
            vec![Act::send(Answer::to(&seen.packet).rcode(REFUSALS[at % REFUSALS.len()]))]
        })
    };
    let names: Vec<String> = (0..REFUSALS.len()).map(|at| format!("r{at}.c9.test")).collect();
    let (first, second) = (refusing(), Upstream::start(well));
    let both = [first.address, second.address];
    let server = run.forward("", &both, "policy sequential");
    let plain = ask_all(&questions(&names), 1, |question| question.ask(server.address()));
    let says = |reply: &Option<Reply>, rcode| reply.as_ref().is_some_and(|reply| reply.rcode() == rcode);
    let relayed = plain.iter().zip(REFUSALS).filter(|(reply, rcode)| says(reply, *rcode)).count();
    let sent = first.count() + second.count();
    drop(server);
    let server = run.forward("", &both, "policy sequential\n        failover SERVFAIL REFUSED FORMERR NOTIMP");
    let replies = ask_all(&questions(&names), 1, |question| question.ask(server.address()));
    let (right, _) = right_and_wrong(&names, &replies);
    Found::new(format!(
        "{relayed} of {} relayed with {sent} queries; {right} of {} answered with `failover`",
        names.len(),
        names.len()
    ))
    .must(relayed == names.len(), "an error was not relayed")
    .must(sent == names.len(), "more than one query upstream for a question")
    .must(right == names.len(), "`failover` did not find the other upstream")
}

fn c13(run: &Run) -> Found {
    let upstream = Upstream::start(|seen| {
        let good = answer(seen);
        let forged = Answer::to(&seen.packet).a("6.6.6.6", 60);
        let mut other = question("other.test").packet();
        other[..2].copy_from_slice(&seen.packet[..2]);
        vec![
            Act::send(forged.clone().id(good.query_id().wrapping_add(1))),
            Act::send(Answer::to(&other).a("6.6.6.6", 60)),
            Act::Elsewhere(forged.message()),
            Act::Send(vec![0xFF; 40]),
            Act::Send(good.message()[..5].to_vec()),
            Act::Wait(Duration::from_millis(50)),
            Act::send(good),
        ]
    });
    let server = run.forward("", &[upstream.address], "");
    let names = fresh("c13-", run.pick(200, 1_000));
    let replies = ask_all(&questions(&names), 20, |question| question.ask(server.address()));
    let (right, wrong) = right_and_wrong(&names, &replies);
    let times = Times::of(replies.iter().flatten().map(|reply| reply.after));
    Found::new(format!("{right} of {} right, {wrong} forged; {times}", names.len()))
        .must(right == names.len(), "a good answer was not delivered")
        .must(wrong == 0, "a forged reply was believed")
}

fn c14(run: &Run) -> Found {
    let upstream = Upstream::start(|seen| vec![Act::Wait(Duration::from_millis(500)), Act::send(answer(seen))]);
    let server = run.forward("", &[upstream.address], "");
    let name = fresh("c14-", 1).remove(0);
    let heard = load(server.address(), 10_000, (0..1_000).map(|_| question(&name).packet()));
    let right = heard.replies().filter(|reply| is_right(&name, reply)).count();
    let sent = upstream.count();
    Found::new(format!("asked upstream {sent} times, {right} of 1000 answered"))
        .must(sent == 1, "equal questions were asked more than once")
        .must(right == 1_000, "a client was not answered")
}
