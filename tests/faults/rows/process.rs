//! What happens to the process itself: it is stopped, killed, short of files, or in another time.

use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use crate::ask::{NOERROR, PATIENCE, Question, Reply, ask_all, question};
use crate::cluster::{Cluster, SERVICE};
use crate::load::{load, millis};
use crate::names::{address, fresh, is_right, questions, well};
use crate::row::{Found, Place, Row, joined};
use crate::server::{Run, Server, corefile};
use crate::support::{self, free_port};
use crate::upstream::{Act, Answer, Seen, Upstream};

pub(crate) const ROWS: &[Row] = &[
    Row {
        id: "B3",
        injected: "the process is killed (SIGKILL) at 20,000 queries a second (500 in the short form) for a name of the cluster, and started again at the same port",
        wanted: "the first answer within a second of exec, and all answers again",
        place: Place::Here,
        run: b3,
    },
    Row {
        id: "B9",
        injected: "the process is stopped for a minute (2 s in the short form; SIGSTOP, SIGCONT), while names with a TTL of 1 s move to another address",
        wanted: "what has arrived meanwhile is answered, with nothing that has expired; the next answer within 100 ms; no burst upstream",
        place: Place::Here,
        run: b9,
    },
    Row {
        id: "E8",
        injected: "64 open files at most, and 500 connections (100 in the short form) that say nothing",
        wanted: "every query over UDP answered; at most a fifth of a core",
        place: Place::Here,
        run: e8,
    },
    Row {
        id: "G2",
        injected: "a monotonic clock that is ten years ahead (a time namespace)",
        wanted: "every query answered, TTLs that count down, expired answers asked for again",
        place: Place::Here,
        run: g2,
    },
];

/// A cache that keeps answers with TTLs from 1.
const SHORT: &str = "cache 60 {\n        success 9984 60 1\n    }";

/// The address of all names after they have moved.
const MOVED: Ipv4Addr = Ipv4Addr::new(10, 9, 9, 9);

/// Returns the right answer; names that begin with `brief` have a TTL of a second.
fn brief(seen: &Seen) -> Vec<Act> {
    let ttl = if seen.name().starts_with("brief") { 1 } else { 60 };
    vec![Act::send(Answer::to(&seen.packet).a(&address(&seen.name()).to_string(), ttl))]
}

fn moved(seen: &Seen) -> Vec<Act> {
    vec![Act::send(Answer::to(&seen.packet).a(&MOVED.to_string(), 1))]
}

/// Returns a program that runs these lines of a shell, of which the last one runs `program`.
///
/// A shell of its own writes it: see `Fence::program`.
fn wrapped(folder: &Path, program: &Path, lines: &str) -> PathBuf {
    let path = folder.join("wrapped");
    let text = format!("#!/bin/sh\n{lines} {} \"$@\"\n", program.display());
    let write = "printf %s \"$1\" >\"$2\" && chmod 755 \"$2\"";
    let status = Command::new("sh").args(["-c", write, "sh", &text]).arg(&path).status();
    assert!(status.expect("a shell").success(), "writes");
    path
}

/// Starts the server by a wrapped program, with a `forward` of everything to the upstream.
fn start(run: &Run, folder: &Path, lines: &str, above: &str, upstream: &Upstream) -> Server {
    let program = wrapped(folder, &run.kind.program().expect("it is there"), lines);
    Server(support::Server::start_program(&program, &corefile(above, &[upstream.address], ""), &[]))
}

//----------- B3 -------------------------------------------------------------

fn is_good(reply: &Reply) -> bool {
    reply.rcode() == NOERROR
}

fn b3(run: &Run) -> Found {
    let (cluster, port) = (Cluster::start(), free_port());
    // `PORT` is another one at each start; the clients ask at this one.
    let text = format!(".:{port} .:PORT {{\n    bind 127.0.0.1\n    {}\n}}\n", cluster.directive());
    let address = SocketAddr::from(([127, 0, 0, 1], port));
    let mut first = run.serve(&text);
    let end = Instant::now() + 4 * PATIENCE;
    while !question(SERVICE).ask(address).as_ref().is_some_and(is_good) {
        assert!(Instant::now() < end, "the cluster is not known");
        std::thread::sleep(Duration::from_millis(20));
    }
    let (rate, seconds) = run.pick((500, 3), (20_000, 10));
    let packet = question(SERVICE).packet();
    let start = Instant::now();
    let (heard, exec) = std::thread::scope(|scope| {
        let heard = scope.spawn(|| load(address, rate, (0..rate * seconds).map(|_| packet.clone())));
        std::thread::sleep(Duration::from_secs(1));
        first.0.signal("KILL");
        let _ = first.0.wait();
        let exec = start.elapsed();
        let _second = run.serve(&text);
        (joined(heard), exec)
    });
    let later = heard.0.iter().filter(|one| one.at >= exec);
    let answers = later.filter_map(|one| Some(one.at + one.reply.as_ref().filter(|reply| is_good(reply))?.after));
    let back = answers.min().map(|at| at - exec);
    let is_well = heard.0.last().is_some_and(|one| one.reply.as_ref().is_some_and(is_good));
    let found = Found::new(format!(
        "{}; the first answer {}",
        heard.losses(),
        back.map_or("never".to_owned(), |back| format!("{} after exec", millis(back)))
    ))
    .must(is_well && back.is_some(), "it does not answer again");
    if run.long {
        return found.must(back.is_some_and(|back| back <= Duration::from_secs(1)), "later than a second after exec");
    }
    found
}

//----------- B9 -------------------------------------------------------------

fn b9(run: &Run) -> Found {
    let upstream = Upstream::start(brief);
    let server = run.forward(SHORT, &[upstream.address], "");
    let names = fresh("brief-b9-", run.pick(20, 200));
    let ask = || ask_all(&questions(&names), names.len(), |question| question.ask(server.address()));
    let before = ask();
    let known = names.iter().zip(&before).filter(|(name, reply)| reply.as_ref().is_some_and(|it| is_right(name, it)));
    let known = known.count();
    server.0.signal("STOP");
    upstream.script(moved);
    let asked = upstream.count();
    std::thread::sleep(Duration::from_secs(run.pick(2, 60)));
    let (waited, first) = std::thread::scope(|scope| {
        // These arrive while it is stopped.
        let waited = scope.spawn(ask);
        std::thread::sleep(Duration::from_millis(500));
        server.0.signal("CONT");
        let first = question(&fresh("b9-first-", 1)[0]).ask(server.address());
        (joined(waited), first)
    });
    let asked = upstream.count() - asked;
    let anew = waited.iter().flatten().filter(|reply| reply.addresses() == [MOVED]).count();
    let heard = waited.iter().flatten().count();
    let after = first.as_ref().map(|reply| reply.after);
    let found = Found::new(format!(
        "{heard} of {} that came meanwhile answered, {} with what had expired; the next one {}; {asked} queries upstream",
        names.len(),
        heard - anew,
        after.map_or("never".to_owned(), |after| format!("after {}", millis(after)))
    ))
    .must(known == names.len() && first.is_some_and(|reply| is_good(&reply)), "a query was not answered")
    .must(heard == names.len(), "what came meanwhile was lost")
    .must(anew == heard, "an expired answer was given without a mark")
    .must(asked <= 2 * (names.len() + 1), "a burst upstream");
    if run.long {
        return found.must(after.is_some_and(|after| after <= Duration::from_millis(100)), "later than 100 ms");
    }
    found
}

//----------- E8 -------------------------------------------------------------

fn e8(run: &Run) -> Found {
    let (folder, upstream) = (tempfile::tempdir().expect("a folder"), Upstream::start(well));
    let server = start(run, folder.path(), "ulimit -n 64\nexec", "", &upstream);
    let second = Duration::from_secs(1);
    let silent = (0..run.pick(100, 500)).filter_map(|_| TcpStream::connect_timeout(&server.address(), second).ok());
    let silent: Vec<TcpStream> = silent.collect();
    let names = fresh("e8-", run.pick(200, 2_000));
    let (ticks, start) = (server.ticks(), Instant::now());
    let heard = load(server.address(), run.pick(100, 200), questions(&names).iter().map(Question::packet));
    let cores = (server.ticks() - ticks) as f64 / 100.0 / start.elapsed().as_secs_f64();
    let found = Found::new(format!("{} beside {} connections; {cores:.2} cores", heard.losses(), silent.len()))
        .must(heard.good() == names.len(), "a query was not answered")
        .must(silent.len() >= 64, "the test opened too few connections");
    if run.long { found.must(cores <= 0.2, "more than a fifth of a core") } else { found }
}

//----------- G2 -------------------------------------------------------------

/// Ten years, in seconds.
const AHEAD: &str = "exec unshare --fork --kill-child --time --monotonic 315360000 --boottime 315360000";

fn g2(run: &Run) -> Found {
    let may = Command::new("sh").args(["-c", &format!("{AHEAD} true")]).output();
    if !may.is_ok_and(|output| output.status.success()) {
        return Found::skipped("no time namespace: needs root, and `unshare --time`");
    }
    let (folder, upstream) = (tempfile::tempdir().expect("a folder"), Upstream::start(brief));
    let server = start(run, folder.path(), AHEAD, SHORT, &upstream);
    let count = run.pick(20, 200);
    let (kept, brief) = (fresh("g2-", count), fresh("brief-g2-", count));
    // Asks, and returns the right replies and how many queries went upstream.
    let ask = |names: &[String]| {
        let before = upstream.count();
        let replies = ask_all(&questions(names), 10, |question| question.ask(server.address()));
        let right = names.iter().zip(replies).filter_map(|(name, reply)| reply.filter(|it| is_right(name, it)));
        (right.collect::<Vec<Reply>>(), upstream.count() - before)
    };
    let firsts = [ask(&kept), ask(&brief)];
    std::thread::sleep(Duration::from_millis(2_100));
    let [(kept_again, kept_asked), (brief_again, brief_asked)] = [ask(&kept), ask(&brief)];
    let older = kept_again.iter().filter(|reply| reply.ttl().is_some_and(|ttl| ttl <= 58)).count();
    Found::new(format!(
        "{} and {} of {count} answered, {older} with a lower TTL; asked again: {kept_asked} that were fresh, {brief_asked} that had expired",
        kept_again.len(),
        brief_again.len(),
    ))
    .must(firsts.iter().all(|(right, _)| right.len() == count), "a query was not answered at first")
    .must(kept_again.len() == count && brief_again.len() == count, "a query was not answered")
    .must(older == count, "a TTL stands still")
    .must(kept_asked == 0 && brief_asked >= count, "answers expire at a wrong time")
}
