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

/// Names of the rows with many names, and rounds in which each is asked once before the counted
/// round.
const NAMES: usize = 8_200;
const WARM_ROUNDS: usize = 2;

/// Headless services of 20 endpoints.
const HEADLESS: usize = 750;

/// Namespaces of the large cluster.
const NAMESPACES: usize = 41;

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

/// `default/web`, `svc-N` with a ClusterIP and two endpoints, and `set-N` without a ClusterIP and
/// with twenty endpoints.
fn large_cluster() -> String {
    let mut items = vec![object("Service", "web.default", "", "\"spec\":{\"clusterIP\":\"10.96.0.20\"}")];
    for n in 0..NAMES + HEADLESS {
        let (name, ip, count) =
            if n < NAMES { (service(n), cluster_ip(n), 2) } else { (headless(n - NAMES), "None".to_owned(), 20) };
        let ports = "\"ports\":[{\"name\":\"sql\",\"protocol\":\"TCP\",\"port\":80}]";
        let spec = format!("\"spec\":{{\"clusterIP\":\"{ip}\",\"clusterIPs\":[\"{ip}\"],{ports}}}");
        items.push(object("Service", &name, "", &spec));
        let endpoints: Vec<String> =
            (0..count).map(|e| format!("{{\"addresses\":[\"{}\"]}}", endpoint(n, e))).collect();
        let slice = format!("\"addressType\":\"IPv4\",{ports},\"endpoints\":[{}]", endpoints.join(","));
        let label =
            format!(",\"labels\":{{\"kubernetes.io/service-name\":\"{}\"}}", name.split('.').next().unwrap_or(""));
        items.push(object("EndpointSlice", &name, &label, &slice));
    }
    format!("{{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{}]}}", items.join(","))
}

/// An object in JSON; `name` is its name and its namespace.
fn object(kind: &str, name: &str, metadata: &str, rest: &str) -> String {
    let (name, namespace) = name.split_once('.').expect("two labels");
    let version = if kind == "Service" { "v1" } else { "discovery.k8s.io/v1" };
    format!(
        "{{\"apiVersion\":\"{version}\",\"kind\":\"{kind}\",\
         \"metadata\":{{\"name\":\"{name}\",\"namespace\":\"{namespace}\"{metadata}}},{rest}}}"
    )
}

fn service(n: usize) -> String {
    format!("svc-{n}.space-{}", n % NAMESPACES)
}

fn headless(n: usize) -> String {
    format!("set-{n}.space-{}", n % NAMESPACES)
}

fn cluster_ip(n: usize) -> String {
    format!("10.100.{}.{}", n / 256, n % 256)
}

fn endpoint(service: usize, n: usize) -> String {
    format!("10.{}.{}.{}", 128 + n, service / 256, service % 256)
}

fn many_names() {
    let mut server = Whole::kubeadm_of("", &large_cluster());
    // Names are denied once all lists have been read.
    let missing = query("no-such.default.svc.cluster.local", rtype::A);
    while server.ask(&missing, Instant::now()).is_none_or(|reply| reply[3] & 0xF != rcode::NXDOMAIN as u8) {
        std::thread::sleep(Duration::from_millis(5));
    }
    let below = |name: String| format!("{name}.svc.cluster.local");
    answers(&mut server, "service-a-8200", NAMES, |n| below(service(n)), rtype::A);
    answers(&mut server, "nxdomain-8200", NAMES, |n| below(format!("no-{}", service(n))), rtype::A);
    let reverse = |n| format!("{}.{}.100.10.in-addr.arpa", n % 256, n / 256);
    answers(&mut server, "ptr-8200", NAMES, reverse, rtype::PTR);
    let reverse = |n| format!("{}.{}.128.10.in-addr.arpa", n % 256, n / 256);
    answers(&mut server, "ptr-endpoint-8200", NAMES, reverse, rtype::PTR);
    answers(&mut server, "headless-20-750", HEADLESS, |n| below(headless(n)), rtype::A);
    answers(&mut server, "srv-20-750", HEADLESS, |n| below(format!("_sql._tcp.{}", headless(n))), rtype::SRV);
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
    answers(&mut server, "cache-hit-8200", NAMES, |n| format!("www-{n}.example.org"), rtype::A);
    answers(&mut server, "cache-hit-nxdomain-8200", NAMES, |n| format!("missing-{n}.example.org"), rtype::AAAA);
}
