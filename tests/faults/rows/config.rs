//! Changes and traps around the server: files of upstreams, loops, ports.

use std::time::{Duration, Instant};

use crate::ask::{PATIENCE, Question, Reply, SERVFAIL, ask_all, question};
use crate::load::{Times, load, millis};
use crate::names::{answer, fresh, is_right, questions, right_and_wrong, well};
use crate::row::{Found, Place, Row};
use crate::server::Run;
use crate::support::free_port;
use crate::upstream::{Act, Upstream};

pub(crate) const ROWS: &[Row] = &[
    Row {
        id: "C11",
        injected: "the resolv.conf of `forward` names another upstream, is emptied, and is replaced through a symbolic link",
        wanted: "the new upstream is used, an empty file changes nothing; no query fails",
        place: Place::Namespace,
        run: c11,
    },
    Row {
        id: "C12",
        injected: "the server is its own upstream from the start; later, an upstream sends every query back (200 at a time)",
        wanted: "every query is answered, the process survives, and no question circulates for long",
        place: Place::Here,
        run: c12,
    },
    Row {
        id: "C15",
        injected: "10 ephemeral ports for everything and 5,000 questions a second whose answers take 500 ms; then a second of quiet",
        wanted: "no panic, 95 % of the queries answered, SERVFAIL included; back to normal after that second",
        place: Place::Namespace,
        run: c15,
    },
];

//----------- C11 ------------------------------------------------------------

/// Upstreams in resolv.conf are at port 53, so they need addresses of their own.
fn at_53(last: u8) -> Upstream {
    Upstream::start_at(([127, 0, 53, last], 53).into(), well)
}

fn c11(run: &Run) -> Found {
    let upstreams = [1, 2, 3].map(at_53);
    let file = |last: u8| format!("nameserver 127.0.53.{last}\n");
    let corefile = ".:PORT {\n    bind 127.0.0.1\n    forward . resolv.conf\n}\n";
    let server = run.serve_with(corefile, &[("resolv.conf", &file(1))]);
    let path = server.0.folder.path().join("resolv.conf");
    let mut asked = Vec::new();
    let first = until_used(&upstreams[0], &server, &mut asked);
    std::fs::write(&path, file(2)).expect("writes");
    let second = until_used(&upstreams[1], &server, &mut asked);
    std::fs::write(&path, "").expect("writes");
    std::thread::sleep(Duration::from_millis(2_500));
    asked.push(fresh_reply(&server));
    std::fs::write(path.with_extension("3"), file(3)).expect("writes");
    std::os::unix::fs::symlink("resolv.3", path.with_extension("link")).expect("a link");
    std::fs::rename(path.with_extension("link"), &path).expect("renames");
    let third = until_used(&upstreams[2], &server, &mut asked);
    let failed = asked.iter().filter(|is_right| !**is_right).count();
    let used = |after: Option<Duration>| after.map_or("never".to_owned(), |after| format!("after {}", millis(after)));
    Found::new(format!(
        "a changed file is used {}, a new link {}; {failed} of {} queries failed",
        used(second),
        used(third),
        asked.len()
    ))
    .must(first.is_some() && second.is_some() && third.is_some(), "a changed file is not used")
    .must(failed == 0, "a query failed")
}

/// Returns whether a question about a new name gets its answer.
fn fresh_reply(server: &crate::server::Server) -> bool {
    let name = fresh("c11-", 1).remove(0);
    question(&name).ask(server.address()).is_some_and(|reply| is_right(&name, &reply))
}

/// Asks until this upstream is asked; returns how long that took.
fn until_used(upstream: &Upstream, server: &crate::server::Server, asked: &mut Vec<bool>) -> Option<Duration> {
    let (start, before) = (Instant::now(), upstream.count());
    while start.elapsed() < PATIENCE {
        asked.push(fresh_reply(server));
        if upstream.count() > before {
            return Some(start.elapsed());
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    None
}

//----------- C12 ------------------------------------------------------------

fn c12(run: &Run) -> Found {
    let upstream = Upstream::start(well);
    let mut server = run.forward("loop", &[upstream.address], "");
    let address = server.address();
    let fine = fresh("c12-", 1).remove(0);
    let fine = question(&fine).ask(address).is_some_and(|reply| is_right(&fine, &reply));
    upstream.script(move |_| vec![Act::Relay(address)]);
    let (before, ticks) = (upstream.count(), server.ticks());
    let names = fresh("c12-round-", run.pick(3, 10));
    let replies = ask_all(&questions(&names), names.len(), |question| question.ask(address));
    let (rounds, ticks) = (upstream.count() - before, server.ticks() - ticks);
    let failed = replies.iter().flatten().filter(|reply| reply.rcode() == SERVFAIL).count();
    let slowest =
        Times::of(replies.iter().map(|reply| reply.as_ref().map_or(PATIENCE, |reply| reply.after))).within(1.0);
    let later_lives = server.0.is_running();
    drop(server);
    // From the start, the server's own port is its upstream.
    let port = free_port();
    let corefile = format!(".:{port} .:PORT {{\n    bind 127.0.0.1\n    loop\n    forward . 127.0.0.1:{port}\n}}\n");
    let mut looped = run.try_serve(&corefile);
    std::thread::sleep(Duration::from_millis(2_500));
    let start_lives = looped.as_mut().is_some_and(|server| server.0.is_running());
    let answered = looped.is_some_and(|server| question("c12.test").ask(server.address()).is_some());
    let word = |lives: bool| if lives { "lives" } else { "has ended" };
    Found::new(format!(
        "later: {failed} of {} SERVFAIL, the last after {}, {rounds} rounds, {} ms of processor time, the process {}; from the \
         start: it {}, its clients are {}",
        names.len(),
        millis(slowest),
        ticks * 10,
        word(later_lives),
        word(start_lives),
        if answered { "answered" } else { "not answered" },
    ))
    .must(fine, "a query before the loop failed")
    .must(later_lives && start_lives, "the process has ended")
    .must(failed == names.len() && answered, "a query was not answered")
    .must(rounds <= names.len() * 10, "questions went round more than ten times")
}

//----------- C15 ------------------------------------------------------------

/// The ephemeral ports of this namespace.
const RANGE: &str = "/proc/sys/net/ipv4/ip_local_port_range";

fn c15(run: &Run) -> Found {
    let upstream = Upstream::start(|seen| vec![Act::Wait(Duration::from_millis(500)), Act::send(answer(seen))]);
    let server = run.forward("", &[upstream.address], "");
    if let Err(error) = std::fs::write(RANGE, "45000 45009") {
        return Found::skipped(format!("{RANGE}: {error}"));
    }
    let names = fresh("c15-", run.pick(500, 5_000));
    let heard = load(server.address(), 5_000, questions(&names).iter().map(Question::packet));
    let (good, failed, lost) = (heard.good(), heard.with(SERVFAIL), heard.lost());
    upstream.script(well);
    std::thread::sleep(Duration::from_secs(1));
    let after = fresh("c15-after-", 20);
    let replies = ask_all(&questions(&after), 1, |question| question.ask(server.address()));
    let (right, _) = right_and_wrong(&after, &replies);
    let first: Option<&Reply> = replies.iter().flatten().next();
    Found::new(format!(
        "{good} answered, {failed} SERVFAIL, {lost} lost of {}; afterwards {right} of 20, the first after {}",
        names.len(),
        first.map_or("nothing".to_owned(), |reply| millis(reply.after)),
    ))
    // On a busy machine some are lost in full socket buffers, on both sides.
    .must(lost * 20 <= names.len(), "too many queries were not answered")
    .must(!server.0.output().contains("panic"), "it panicked")
    .must(right == after.len(), "not well again afterwards")
}
