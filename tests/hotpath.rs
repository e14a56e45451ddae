//! Once warm, an answer from the cluster or from the cache allocates nothing: from the packet to
//! the octets of the reply, through a whole chain built from a Corefile. Forwarded queries allocate
//! little. A counting allocator proves it.

mod kit;

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use kit::fetched;
use kit::message::{client, packet as plain, query};
use kit::whole::{Whole, passing};
use signpost::chain::{Outcome, Query};
use signpost::host::log;
use signpost::wire::name::Name;
use signpost::wire::types::rtype;

//----------- The allocator --------------------------------------------------

struct Counting;

thread_local! {
    /// Allocations of this thread. Other threads (log, watches, the test runner) do not count.
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
}

/// Octets that all threads hold at this moment.
static HELD: AtomicUsize = AtomicUsize::new(0);

// SAFETY: every call is passed to the system's allocator unchanged; counting does not touch the
// heap.
#[allow(unsafe_code, reason = "an allocator can only be written so")]
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        // A thread that ends has lost its counter.
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        HELD.fetch_add(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, memory: *mut u8, layout: Layout) {
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.dealloc(memory, layout) }
    }

    unsafe fn realloc(&self, memory: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let _ = ALLOCATIONS.try_with(|count| count.set(count.get() + 1));
        HELD.fetch_add(size, Ordering::Relaxed);
        HELD.fetch_sub(layout.size(), Ordering::Relaxed);
        // SAFETY: the caller's promise is passed on.
        unsafe { System.realloc(memory, layout, size) }
    }
}

#[global_allocator]
static ALLOCATOR: Counting = Counting;

/// Returns the allocations of this thread while `work` runs.
fn allocations(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

//----------- The questions --------------------------------------------------

/// The kubeadm Corefile with data from manifests, and without plugins that send queries on their
/// own (health, loop).
const COREFILE: &str = ". {
    errors
    log . {
        class error
    }
    prometheus 127.0.0.1:0
    kubernetes cluster.local in-addr.arpa ip6.arpa {
        manifests \"MANIFESTS\"
        pods insecure
        ttl 30
    }
    forward . 127.0.0.1:9
    cache 30 {
        disable success cluster.local
        disable denial cluster.local
    }
    loadbalance
}
";

/// Questions that are answered from memory: what they are, name, type, RCODE, records in Answer.
const QUESTIONS: &[(&str, &str, u16, u16, usize)] = &[
    ("A of a service", "web.default.svc.cluster.local", rtype::A, 0, 1),
    ("A, client's own case", "wEB.Default.svc.clusteR.local", rtype::A, 0, 1),
    ("AAAA of a service, NODATA", "web.default.svc.cluster.local", rtype::AAAA, 0, 0),
    ("A, headless with 20", "db.default.svc.cluster.local", rtype::A, 0, 20),
    ("A of an endpoint", "db-7.db.default.svc.cluster.local", rtype::A, 0, 1),
    ("SRV with 20, one of them cut off", "_sql._tcp.db.default.svc.cluster.local", rtype::SRV, 0, 20),
    ("SRV of a service", "_http._tcp.web.default.svc.cluster.local", rtype::SRV, 0, 1),
    ("PTR of a service", "20.0.96.10.in-addr.arpa", rtype::PTR, 0, 1),
    ("PTR of an endpoint", "4.1.244.10.in-addr.arpa", rtype::PTR, 0, 1),
    ("NXDOMAIN", "example.com.default.svc.cluster.local", rtype::A, 3, 0),
    ("NXDOMAIN of the search path", "example.com.cluster.local", rtype::AAAA, 3, 0),
    ("A of a pod", "10-244-1-9.default.pod.cluster.local", rtype::A, 0, 1),
];

/// Asks once and returns what a client would read.
fn ask(server: &mut Whole, packet: &[u8], now: Instant) -> Message {
    let reply = server.ask(packet, now).expect("answered from memory");
    Message::from_vec(reply).expect("can be read")
}

fn count(server: &mut Whole, rounds: u64, wanted: impl Fn(&str) -> bool) -> Vec<(&'static str, u64)> {
    // The server's loop reads the clock once per batch and passes the time.
    let now = Instant::now();
    let mut counted = Vec::new();
    // Asks every kind once, so that the thread has its pool of answers.
    for (_, name, qtype, ..) in QUESTIONS {
        let _ = server.ask(&query(name, *qtype), now);
    }
    for &(what, name, qtype, rcode, answers) in QUESTIONS.iter().filter(|(what, ..)| wanted(what)) {
        let packet = query(name, qtype);
        let got = ask(server, &packet, now);
        let cut = got.metadata.truncation;
        assert_eq!(
            (u16::from(got.metadata.response_code), got.answers.len() == answers || cut),
            (rcode, true),
            "{what}"
        );
        for _ in 0..100 {
            let _ = server.ask(&packet, now);
        }
        let counting = || {
            allocations(|| {
                for _ in 0..rounds {
                    let _ = std::hint::black_box(server.ask(std::hint::black_box(&packet), now));
                }
            })
        };
        // A buffer may still grow once; an allocating answer would allocate every time.
        let fewest = std::iter::repeat_with(counting).take(3).min().unwrap_or_default();
        counted.push((what, fewest));
    }
    counted
}

#[test]
fn the_allocator_counts() {
    assert_eq!(allocations(|| drop(std::hint::black_box(Vec::<u8>::with_capacity(7)))), 1);
    assert_eq!(allocations(|| drop(std::hint::black_box(Arc::new(7)))), 1);
    assert_eq!(allocations(|| ()), 0);
}

#[test]
fn a_chain_of_nine_allocates_nothing() {
    let (listener, packet) = (passing(8, "."), query("web.default.svc.cluster.local", rtype::A));
    let request = kit::message::request(&packet);
    let allocated = allocations(|| {
        let mut query = Query::new(&packet, request, client(), Instant::now());
        assert!(matches!(listener.ask(&mut query), Outcome::Reply(_)));
    });
    assert_eq!(allocated, 0);
}

#[test]
fn answers_in_the_cache_allocate_nothing() {
    let mut server = Whole::start_with(fetched::PLUGINS, ". {\ncache\nwhoami\n}\n", "");
    // Answers and denials; occasionally the store behind the thread's own table is asked.
    let names = ["web.example.org", "wEB.example.org", "other.example.org"];
    let packets = names.iter().flat_map(|name| [query(name, rtype::A), query(name, rtype::AAAA)]);
    for packet in packets {
        let now = Instant::now();
        for _ in 0..1000 {
            let _ = server.ask(&packet, now);
        }
        let allocated = allocations(|| {
            for _ in 0..1000 {
                let _ = std::hint::black_box(server.ask(std::hint::black_box(&packet), now));
            }
        });
        // The store is asked 16 times meanwhile. If a hit allocated there would be 1,000
        // allocations; if asking the store did, 16. The remaining ones are moka's housekeeping,
        // which runs three times a second or after 64 look-ups.
        assert!(allocated <= 8, "{allocated} allocations in 1000 hits");
    }
}

#[test]
fn answers_of_a_zone_file_allocate_nothing() {
    let folder = tempfile::tempdir().expect("a folder");
    let db = folder.path().join("db");
    let text = "$TTL 60\n@ SOA ns h 1 1 1 1 60\n@ NS ns\nns A 10.0.0.1\nwww CNAME web\nweb A 10.0.0.2\n*.w TXT x\nsub NS ns.sub\nns.sub A \
                10.0.0.3\n_s._tcp SRV 1 2 3 web\n";
    std::fs::write(&db, text).expect("written");
    let mut server = Whole::start(&format!("a.test {{\ncache\nloadbalance\nfile {}\n}}\n", db.display()), "");
    let names =
        ["web", "WEB", "www", "x.w", "y.y.w", "nothing", "x.sub", "_s._tcp", "w"].map(|name| format!("{name}.a.test"));
    let packets =
        names.iter().flat_map(|name| [rtype::A, rtype::TXT, rtype::SRV].map(|qtype| (name, qtype, query(name, qtype))));
    for (name, qtype, packet) in packets {
        // An alias is kept only for questions for addresses.
        if name.starts_with("www") && qtype != rtype::A {
            continue;
        }
        let now = Instant::now();
        for _ in 0..100 {
            let _ = ask(&mut server, &packet, now);
        }
        let allocated = allocations(|| {
            for _ in 0..100 {
                let _ = std::hint::black_box(server.ask(std::hint::black_box(&packet), now));
            }
        });
        assert_eq!(allocated, 0, "{name} {qtype}");
    }
}

/// Sending a query, reading its reply, everything kept meanwhile, and a sixteenth of another port.
#[test]
fn a_forwarded_query_allocates_little() {
    const MOST: u64 = 10;
    const ROUNDS: u64 = 600;
    let server = Whole::start(&format!(". {{\nforward . {}\n}}\n", kit::upstream::start()), "");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let first = Name::from_text("n00000000.example.org.").expect("a name");
    let (mut asker, mut packet) = (server.asker(), plain(&first, rtype::A, None));
    let at = packet.windows(9).position(|octets| octets == b"n00000000").expect("the name") + 1;
    runtime.block_on(async {
        let mut before = 0;
        for number in 0..2 * ROUNDS {
            if number == ROUNDS {
                before = ALLOCATIONS.get();
            }
            for (place, octet) in packet[at..at + 8].iter_mut().rev().enumerate() {
                *octet = b'0' + (number / 10_u64.pow(place as u32) % 10) as u8;
            }
            let reply = asker.ask_and_wait(&packet).await.expect("answered");
            assert_eq!((reply[3] & 0xF, reply[7]), (0, 1), "an address");
        }
        let each = (ALLOCATIONS.get() - before).div_ceil(ROUNDS);
        println!("{each} allocations a forwarded query");
        assert!(each <= MOST, "{each} allocations a forwarded query");
    });
}

/// A store of CAPACITY entries takes at most this many KiB, however many names are asked for.
#[test]
fn a_full_cache_takes_what_it_says() {
    const CAPACITY: usize = 9984;
    let mut server = Whole::start_with(fetched::PLUGINS, ". {\ncache\nwhoami\n}\n", "");
    let (mut packet, now) = (query("n00000000.a-name-of-usual-length.example.org", rtype::A), Instant::now());
    let mut fill = |from: usize| {
        for number in from..from + CAPACITY {
            packet[14..22].copy_from_slice(format!("{number:08}").as_bytes());
            let _ = server.ask(&packet, now);
        }
        HELD.load(Ordering::Relaxed)
    };
    let before = HELD.load(Ordering::Relaxed);
    let full = fill(0) - before;
    let after = fill(CAPACITY).max(fill(2 * CAPACITY)) - before;
    println!("full: {} octets an entry; after twice as many more: {}", full / CAPACITY, after / CAPACITY);
    assert!(after / CAPACITY <= 1024, "{} octets an entry", after / CAPACITY);
}

/// `autopath` costs more than a look at the client's address only if the search list has to be
/// walked.
#[test]
fn autopath_allocates_nothing_for_names_that_the_first_domain_has() {
    let corefile =
        COREFILE.replace("    errors\n", "    errors\n    autopath @kubernetes\n").replace("insecure", "verified");
    let client = "---\napiVersion: v1\nkind: Pod\nmetadata: {name: client, namespace: default}\n\
                  status: {podIP: 127.0.0.1, podIPs: [{ip: 127.0.0.1}]}\n";
    let mut server = Whole::start(&corefile, &(kit::cluster::manifests() + client));
    // It exists in the second domain, and by then the client is known.
    let walked = query("web.default.default.svc.cluster.local", rtype::A);
    server.wait_until_answered(&walked, Duration::from_secs(10));
    let alias = ask(&mut server, &walked, Instant::now());
    assert_eq!((u16::from(alias.metadata.response_code), alias.answers.len()), (0, 2));
    let found = |what: &str| !what.starts_with("NXDOMAIN") && what != "A of a pod";
    let wrong: Vec<_> = count(&mut server, 1000, found).into_iter().filter(|(_, allocated)| *allocated > 0).collect();
    assert!(wrong.is_empty(), "allocations in 1000 queries each: {wrong:?}");
}

#[test]
fn names_of_a_hosts_file_allocate_nothing() {
    let corefile = COREFILE.replace(
        "    forward .",
        "    hosts /nonexistent {\n10.1.0.1 web.example.org\n10.1.0.2 *.example.org\nfallthrough\n}\n    forward .",
    );
    let mut server = Whole::start(&corefile, &kit::cluster::manifests());
    let questions = [
        ("web.example.org", rtype::A),
        ("any.example.org", rtype::AAAA),
        ("any.example.org", rtype::A),
        ("1.0.1.10.in-addr.arpa", rtype::PTR),
    ];
    for (name, qtype) in questions {
        let (packet, now) = (query(name, qtype), Instant::now());
        let got = ask(&mut server, &packet, now);
        assert_eq!(got.answers.len(), usize::from(qtype != rtype::AAAA), "{name}");
        // Until the thread's buffers have their sizes.
        for _ in 0..100 {
            let _ = server.ask(&packet, now);
        }
        let allocated = allocations(|| {
            for _ in 0..1000 {
                let _ = std::hint::black_box(server.ask(std::hint::black_box(&packet), now));
            }
        });
        assert_eq!(allocated, 0, "{name} {qtype}: allocations in 1000 queries");
    }
}

#[test]
fn names_outside_allocate_nothing() {
    let corefile = COREFILE.replace("    forward .", "    k8s_external ext.example {\nheadless\n}\n    forward .");
    let lb = "---\n{apiVersion: v1, kind: Service, metadata: {name: lb, namespace: default}, spec: {clusterIP: 10.96.0.99, \
              ports: [{name: http, port: 80}]}, status: {loadBalancer: {ingress: [{ip: 203.0.113.10}]}}}\n";
    let mut server = Whole::start(&corefile, &(kit::cluster::manifests() + lb));
    server.wait_until_answered(&query("lb.default.ext.example", rtype::A), Duration::from_secs(10));
    let questions =
        [("lb", rtype::A), ("lb", rtype::AAAA), ("_http._tcp.lb", rtype::SRV), ("db", rtype::SRV), ("no", rtype::A)];
    for (name, qtype) in questions {
        let (packet, now) = (query(&format!("{name}.default.ext.example"), qtype), Instant::now());
        let got = ask(&mut server, &packet, now);
        let counts = if name == "no" || qtype == rtype::AAAA { 0 } else { 1 };
        assert_eq!(got.answers.len().min(1), counts, "{name}");
        let allocated = allocations(|| {
            for _ in 0..1000 {
                let _ = std::hint::black_box(server.ask(std::hint::black_box(&packet), now));
            }
        });
        assert_eq!(allocated, 0, "{name} {qtype}: allocations in 1000 queries");
    }
}

/// As text and as JSON.
#[test]
fn a_line_for_each_query_allocates_nothing() {
    log::redirect(Box::new(std::io::sink()));
    log::claim_lane(0);
    let mut server = Whole::start(&COREFILE.replace("class error", "class all"), &kit::cluster::manifests());
    server.wait_until_answered(&query("web.default.svc.cluster.local", rtype::A), Duration::from_secs(10));
    let now = Instant::now();
    for (json, (what, name, qtype, ..)) in
        [false, true].into_iter().flat_map(|json| QUESTIONS.iter().map(move |q| (json, q)))
    {
        log::set_json(json);
        let packet = query(name, *qtype);
        let mut fifty = || {
            // All earlier lines are written, so that these lines fit into any of the buffers in
            // use.
            log::flush(Duration::from_secs(10));
            allocations(|| (0..50).for_each(|_| _ = std::hint::black_box(server.ask(&packet, now))))
        };
        // Each buffer has its size once it was filled; an allocating line would allocate every
        // time.
        let fewest = (0..20).map(|_| fifty()).min();
        assert_eq!(fewest, Some(0), "{what}: allocations for 50 lines, JSON: {json}");
    }
    log::set_json(false);
    assert_eq!(log::dropped(), 0, "what is dropped costs nothing");
}

#[test]
fn cluster_answers_allocate_nothing() {
    let mut server = Whole::start(COREFILE, &kit::cluster::manifests());
    server.wait_until_answered(&query("web.default.svc.cluster.local", rtype::A), Duration::from_secs(10));
    let wrong: Vec<_> =
        count(&mut server, 1000, |_| true).into_iter().filter(|(_, allocated)| *allocated > 0).collect();
    assert!(wrong.is_empty(), "allocations in 1000 queries each: {wrong:?}\nof the chain that {COREFILE} makes");
}
