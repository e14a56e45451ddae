//! Clients of `/health`, `/ready` and `/metrics` that would block probes and scrapers.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::crowds::{Crowd, HABITS, get};
use crate::load::millis;
use crate::row::{Found, Place, Row, joined};
use crate::server::{Run, Server};
use crate::support::{PATIENCE, free_port};

pub(crate) const ROWS: &[Row] = &[
    Row {
        id: "K4",
        injected: "10,000 connections (300 in the short form) to `/health`, `/ready` and `/metrics` that pipeline and do not read, drip a header, are silent, send half a request, send an endless header or body, read an octet at a time, reconnect repeatedly, or stay idle: one kind after the other",
        wanted: "every probe and scrape on a new connection is answered, within a second; memory hardly grows",
        place: Place::Here,
        run: k4,
    },
    Row {
        id: "K5",
        injected: "16 clients ask for `/metrics` as fast as they can for 10 s (100 pages each in the short form)",
        wanted: "every request is answered, and so is `/health`; at most half a core",
        place: Place::Here,
        run: k5,
    },
];

/// The longest time from a probe to its reply.
const IN_TIME: Duration = Duration::from_secs(1);

/// Starts a server with its three pages.
fn serve(run: &Run) -> (Server, [(SocketAddr, &'static str); 3]) {
    let pages = ["/health", "/ready", "/metrics"].map(|path| (SocketAddr::from(([127, 0, 0, 1], free_port())), path));
    let [health, ready, metrics] = pages.map(|(address, _)| address);
    let plugins = format!("health {health}\n    ready {ready}\n    prometheus {metrics}\n    whoami\n");
    (run.serve(&format!(".:PORT {{\n    bind 127.0.0.1\n    {plugins}}}\n")), pages)
}

//----------- K4 -------------------------------------------------------------

fn k4(run: &Run) -> Found {
    let (server, pages) = serve(run);
    let (before, count, rounds) = (server.memory("VmHWM"), run.pick(300, 10_000), run.pick(1, 3));
    let (mut took, mut missed, mut open) = (Vec::new(), String::new(), count);
    for habit in HABITS {
        let crowd = Crowd::gather(habit, count, &pages, Ipv4Addr::LOCALHOST);
        open = open.min(crowd.count);
        for _ in 0..rounds {
            crowd.wait();
            for (address, path) in pages {
                let start = Instant::now();
                let answered = get(address, path, PATIENCE);
                if !matches!(answered, Ok((200, _))) {
                    let why = answered.map_or_else(|error| error.to_string(), |(status, _)| status.to_string());
                    missed += &format!("; {path} beside {habit:?}: {why} after {}", millis(start.elapsed()));
                    took.push(None);
                } else {
                    took.push(Some(start.elapsed()));
                }
            }
        }
    }
    let (grown, asked) = (server.memory("VmHWM").saturating_sub(before), took.len());
    let answered: Vec<Duration> = took.into_iter().flatten().collect();
    let late = answered.iter().filter(|took| **took > IN_TIME).count();
    Found::new(format!(
        "{open} connections of each kind: {} of {asked} answered, {late} later than a second, the slowest after {}; memory +{:.1} MiB{missed}",
        answered.len(),
        millis(answered.iter().max().copied().unwrap_or_default()),
        grown as f64 / 1024.0
    ))
    .must(answered.len() == asked, "a probe was not answered")
    .must(!run.long || late == 0, "a probe was late")
    .must(grown < 30 << 10, "it takes too much memory")
}

//----------- K5 -------------------------------------------------------------

fn k5(run: &Run) -> Found {
    let (server, [(health, _), _, (metrics, _)]) = serve(run);
    let (ticks, start, stop) = (server.ticks(), Instant::now(), AtomicBool::new(false));
    let scrape = || {
        let (mut asked, mut answered) = (0_usize, 0_usize);
        while run.pick(asked < 100, start.elapsed() < Duration::from_secs(10)) {
            asked += 1;
            answered += usize::from(get(metrics, "/metrics", PATIENCE).is_ok_and(|(status, _)| status == 200));
        }
        (asked, answered)
    };
    let probe = || {
        let mut took = Vec::new();
        while !stop.load(Ordering::Relaxed) || took.is_empty() {
            let start = Instant::now();
            took.push(get(health, "/health", PATIENCE).is_ok_and(|(status, _)| status == 200).then(|| start.elapsed()));
            std::thread::sleep(Duration::from_millis(10));
        }
        took
    };
    let (scrapes, probes) = std::thread::scope(|scope| {
        let scrapers: Vec<_> = (0..16).map(|_| scope.spawn(scrape)).collect();
        let probes = scope.spawn(probe);
        let scrapes: Vec<(usize, usize)> = scrapers.into_iter().map(joined).collect();
        stop.store(true, Ordering::Relaxed);
        (scrapes, joined(probes))
    });
    let cores = (server.ticks() - ticks) as f64 / 100.0 / start.elapsed().as_secs_f64();
    let (asked, answered) = scrapes.into_iter().fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1));
    let heard: Vec<Duration> = probes.iter().copied().flatten().collect();
    Found::new(format!(
        "{answered} of {asked} pages, {cores:.2} cores; {} of {} probes of `/health`, the slowest after {}",
        heard.len(),
        probes.len(),
        millis(heard.iter().max().copied().unwrap_or_default())
    ))
    .must(answered == asked, "a page was not answered")
    .must(heard.len() == probes.len(), "a probe was not answered")
    .must(!run.long || cores < 0.5, "it takes too much of the processor")
}
