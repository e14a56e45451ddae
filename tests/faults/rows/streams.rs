//! Answers that need TCP, and connections that misbehave.

use crate::ask::{NOERROR, Reply, TXT, ask_all};
use crate::names::{fresh, questions};
use crate::row::{Found, Place, Row};
use crate::server::Run;
use crate::upstream::{Act, Answer, Seen, Upstream};

pub(crate) const ROWS: &[Row] = &[Row {
    id: "C6",
    injected: "every reply over UDP is truncated, the whole answer of 2,000 octets is there over TCP",
    wanted: "every client has the whole answer in the end; at most one connection for 100 queries",
    place: Place::Here,
    run: c6,
}];

/// The types of the records of an answer of about 2,000 octets over TCP, TC over UDP.
fn long_answer(seen: &Seen) -> Vec<Act> {
    if !seen.tcp {
        return vec![Act::send(Answer::to(&seen.packet).flags(0x0200))];
    }
    let text = [&[200][..], &[b'x'; 200]].concat();
    let whole = (0..10).fold(Answer::to(&seen.packet), |answer, _| answer.record(0, &[0xC0, 12], (TXT, 60), &text));
    vec![Act::send(whole)]
}

/// Whether a reply is that answer.
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
