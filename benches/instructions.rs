//! Counts for benches/instructions.sh: answers one kind of question after the other, a fixed number
//! of times each. Valgrind counts what runs inside [`counted`], query by query, and adds it up
//! until [`done`], which prints the name of the kind and the number of its queries. Its caches see
//! nothing else: a packet is where the one before it was, as in a worker's buffers.
//!
//! Rows with a number behind a dash ask that many names in turn, in a random order: then most of
//! what a query needs is no longer in a cache.

#[path = "../tests/kit/mod.rs"]
mod kit;

use std::hint::black_box;
use std::time::{Duration, Instant};

use kit::fetched;
use kit::large::{self, HEADLESS, SERVICES};
use kit::message::{client, query, request};
use kit::whole::{Whole, passing};
use signpost::chain::{Outcome, Query};
use signpost::host::log;
use signpost::host::metrics::claim_copy;
use signpost::wire::types::{rcode, rtype};

/// How often a question alone is answered while valgrind counts.
const TIMES: usize = 1000;

/// Answers before the count, so that buffers, pools and the thread's tables have their sizes.
const WARM: usize = 200;

/// Rounds in which each of many names is asked once before the counted round.
const WARM_ROUNDS: usize = 2;

/// Valgrind finds this function by its name.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    work();
}

/// Likewise: the count of a row ends here.
#[inline(never)]
fn done(what: &str, times: usize) {
    println!("{what} {times}");
}

/// Asks the packets that `packet` makes for the numbers up to `names`, each of them `times` times a
/// round and in a random order, and counts the last round.
fn count(what: &str, names: usize, packet: impl Fn(usize) -> Vec<u8>, mut ask: impl FnMut(&[u8])) {
    let (rounds, times) = if names == 1 { (1, TIMES) } else { (WARM_ROUNDS, names) };
    let mut random = fastrand::Rng::with_seed(names as u64);
    let mut order: Vec<usize> = (0..names).collect();
    for _ in 0..rounds {
        random.shuffle(&mut order);
        order.iter().cycle().take(if names == 1 { WARM } else { names }).for_each(|&name| ask(&packet(name)));
    }
    random.shuffle(&mut order);
    for &name in order.iter().cycle().take(times) {
        let packet = packet(name);
        counted(&mut || ask(black_box(&packet)));
    }
    done(what, times);
}

fn answers(server: &mut Whole, what: &str, names: usize, name: impl Fn(usize) -> String, qtype: u16) {
    let now = Instant::now();
    let packet = |number| query(&name(number), qtype);
    count(what, names, packet, |packet| _ = black_box(server.ask(packet, now).expect("answered from memory").len()));
}

fn many_names() {
    let mut server = Whole::kubeadm_of("", &large::manifests());
    // Names are denied once all lists have been read.
    let missing = query("no-such.default.svc.cluster.local", rtype::A);
    while server.ask(&missing, Instant::now()).is_none_or(|reply| reply[3] & 0xF != rcode::NXDOMAIN as u8) {
        std::thread::sleep(Duration::from_millis(5));
    }
    answers(&mut server, "service-a-8200", SERVICES, large::service, rtype::A);
    answers(&mut server, "nxdomain-8200", SERVICES, |n| format!("no-{}", large::service(n)), rtype::A);
    answers(&mut server, "ptr-8200", SERVICES, large::pointer, rtype::PTR);
    answers(&mut server, "ptr-endpoint-8200", SERVICES, large::endpoint_pointer, rtype::PTR);
    answers(&mut server, "headless-20-750", HEADLESS, large::headless, rtype::A);
    answers(&mut server, "srv-20-750", HEADLESS, |n| format!("_sql._tcp.{}", large::headless(n)), rtype::SRV);
}

/// A query that an upstream answers, with the calls to the kernel but not what the kernel does.
fn forwarded() {
    let server = Whole::start(&format!(". {{\nforward . {}\n}}\n", kit::upstream::start()), "");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (mut asker, packet) = (server.asker(), query("www.example.org", rtype::A));
    count(
        "forwarded",
        1,
        |_| packet.clone(),
        |packet| {
            let reply = runtime.block_on(asker.ask_and_wait(packet));
            assert_eq!(reply.map(|reply| reply[7]), Some(1), "one address");
        },
    );
}

fn main() {
    log::redirect(Box::new(std::io::sink()));
    claim_copy(0); // as a worker does
    let now = Instant::now();
    let (listener, client) = (passing(8, "."), client());
    count(
        "chain-of-nine",
        1,
        |_| query("web.default.svc.cluster.local", rtype::A),
        |packet| {
            let mut query = Query::new(packet, request(packet), client, now);
            assert!(matches!(listener.ask(black_box(&mut query)), Outcome::Reply(_)));
        },
    );
    let mut server = Whole::kubeadm();
    for (what, name, qtype) in [
        ("service-a", "web.default.svc.cluster.local", rtype::A),
        ("nodata", "web.default.svc.cluster.local", rtype::AAAA),
        ("nxdomain", "example.com.default.svc.cluster.local", rtype::A),
        ("headless-20", "db.default.svc.cluster.local", rtype::A),
        ("srv-20", "_sql._tcp.db.default.svc.cluster.local", rtype::SRV),
        ("ptr", "20.0.96.10.in-addr.arpa", rtype::PTR),
        ("pod-a", "10-244-1-9.default.pod.cluster.local", rtype::A),
    ] {
        answers(&mut server, what, 1, |_| name.to_owned(), qtype);
    }
    // A line for each query; with `log` for errors only, there is none.
    for (what, directive) in [("log", "    log\n"), ("log-of-errors", "    log . {\n        class error\n    }\n")] {
        let mut server = Whole::kubeadm_with(directive);
        answers(&mut server, what, 1, |_| "web.default.svc.cluster.local".to_owned(), rtype::A);
    }
    let mut server = Whole::start_with(fetched::PLUGINS, ". {\ncache\nwhoami\n}\n", "");
    answers(&mut server, "cache-hit", 1, |_| "www.example.org".to_owned(), rtype::A);
    answers(&mut server, "cache-hit-nxdomain", 1, |_| "missing.example.org".to_owned(), rtype::AAAA);
    forwarded();
    many_names();
    let mut server = Whole::start_with(fetched::PLUGINS, ". {\ncache\nwhoami\n}\n", "");
    answers(&mut server, "cache-hit-8200", SERVICES, |n| format!("www-{n}.example.org"), rtype::A);
    answers(&mut server, "cache-hit-nxdomain-8200", SERVICES, |n| format!("missing-{n}.example.org"), rtype::AAAA);
}
