//! Upstreams with TLS that cannot be trusted.

use crate::ask::{PATIENCE, SERVFAIL, ask_all};
use crate::load::{Times, millis};
use crate::names::{fresh, questions, right_and_wrong};
use crate::row::{Found, Place, Row, joined};
use crate::server::Run;
use crate::tls::{Flaw, NAME, Secret};

pub(crate) const ROWS: &[Row] = &[Row {
    id: "C16",
    injected: "DNS over TLS (`tls://`): a valid certificate; one that has expired, is for another name, or is from an unknown authority; a handshake that stalls",
    wanted: "only the upstream with the valid one is asked, nothing is sent in clear text; otherwise SERVFAIL with an EDE",
    place: Place::Here,
    run: c16,
}];

const FLAWS: [Flaw; 5] = [Flaw::None, Flaw::Expired, Flaw::OtherName, Flaw::Unknown, Flaw::Stalls];

fn c16(run: &Run) -> Found {
    let found: Vec<(String, Found)> = std::thread::scope(|scope| {
        let all = FLAWS.map(|flaw| scope.spawn(move || flawed(run, flaw)));
        all.into_iter().map(|one| joined(one)).collect()
    });
    let mut all = Found::new(found.iter().map(|(words, _)| words.as_str()).collect::<Vec<_>>().join("; "));
    all.wrong.extend(found.into_iter().flat_map(|(_, found)| found.wrong));
    all
}

fn flawed(run: &Run, flaw: Flaw) -> (String, Found) {
    let upstream = Secret::start(flaw);
    let corefile = format!(
        ".:PORT {{\n    bind 127.0.0.1\n    forward . tls://{} {{\n        tls ca.pem\n        tls_servername {NAME}\n    }}\n}}\n",
        upstream.address
    );
    let server = run.serve_with(&corefile, &[("ca.pem", &upstream.authority)]);
    let names = fresh("c16-", 10);
    let replies = ask_all(&questions(&names), 5, |question| question.ask(server.address()));
    let (right, _) = right_and_wrong(&names, &replies);
    let failed = replies.iter().flatten().filter(|reply| reply.rcode() == SERVFAIL);
    let explained = failed.clone().filter(|reply| !reply.errors().is_empty()).count();
    let failed = failed.count();
    let slowest =
        Times::of(replies.iter().map(|reply| reply.as_ref().map_or(PATIENCE, |reply| reply.after))).within(1.0);
    let plain = upstream.plain();
    let words = format!(
        "{flaw:?}: {right} right, {failed} SERVFAIL ({explained} with EDE), the last after {}, {plain} in the clear",
        millis(slowest)
    );
    let mut found = Found::default().must(plain == 0, "something went out in the clear");
    found = match flaw {
        Flaw::None => found.must(right == names.len(), "a good upstream was not asked"),
        _ => found
            .must(upstream.answered() == 0, &format!("{flaw:?}: the upstream was asked"))
            .must(explained == names.len(), &format!("{flaw:?}: not SERVFAIL with an EDE")),
    };
    (words, found)
}
