//! Counts for benches/instructions.sh: answers one kind of question after the other, a fixed number
//! of times each. Valgrind counts what runs inside [`counted`]; the program prints the name of each
//! kind in that order.

#[path = "../tests/kit/mod.rs"]
mod kit;

use std::hint::black_box;
use std::time::Instant;

use kit::fetched;
use kit::message::{client, query, request};
use kit::whole::{Whole, passing};
use signpost::chain::{Outcome, Query};
use signpost::host::log;
use signpost::wire::types::rtype;

/// How often each question is answered while valgrind counts; instructions.sh divides by it.
const TIMES: usize = 1000;

/// Answers before the count, so that buffers, pools and the thread's tables have their sizes.
const WARM: usize = 200;

/// Valgrind finds this function by its name.
#[inline(never)]
fn counted(work: &mut dyn FnMut()) {
    (0..TIMES).for_each(|_| work());
}

fn count(what: &str, mut work: impl FnMut()) {
    (0..WARM).for_each(|_| work());
    counted(&mut work);
    println!("{what}");
}

fn answers(server: &mut Whole, what: &str, name: &str, qtype: u16) {
    let (packet, now) = (query(name, qtype), Instant::now());
    count(what, || _ = black_box(server.ask(black_box(&packet), now).expect("answered from memory").len()));
}

/// A query that an upstream answers, with the calls to the kernel but not what the kernel does.
fn forwarded() {
    let server = Whole::start(&format!(". {{\nforward . {}\n}}\n", kit::upstream::start()), "");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let (mut asker, packet) = (server.asker(), query("www.example.org", rtype::A));
    count("forwarded", || {
        let reply = runtime.block_on(asker.ask_and_wait(black_box(&packet)));
        assert_eq!(reply.map(|reply| reply[7]), Some(1), "one address");
    });
}

fn main() {
    log::redirect(Box::new(std::io::sink()));
    let (packet, now) = (query("web.default.svc.cluster.local", rtype::A), Instant::now());
    let (listener, client) = (passing(8, "."), client());
    count("chain-of-nine", || {
        let mut query = Query::new(&packet, request(&packet), client, now);
        assert!(matches!(listener.ask(black_box(&mut query)), Outcome::Reply(_)));
    });
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
        answers(&mut server, what, name, qtype);
    }
    // A line for each query; with `log` for errors only, there is none.
    for (what, directive) in [("log", "    log\n"), ("log-of-errors", "    log . {\n        class error\n    }\n")] {
        answers(&mut Whole::kubeadm_with(directive), what, "web.default.svc.cluster.local", rtype::A);
    }
    let mut server = Whole::start_with(fetched::PLUGINS, ". {\ncache\nwhoami\n}\n", "");
    answers(&mut server, "cache-hit", "www.example.org", rtype::A);
    answers(&mut server, "cache-hit-nxdomain", "missing.example.org", rtype::AAAA);
    forwarded();
}
