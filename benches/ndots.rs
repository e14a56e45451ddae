//! One look-up of a name outside the cluster as glibc, musl and Go make it in a Pod: the queries
//! that reach the server and its upstream, and the time, with `ndots:5`, `ndots:2`, a dot at the
//! end, and `autopath`.
//!
//!     cargo bench --bench ndots                         # half a minute
//!
//! The server is the real one. The resolvers are the walks along the search list of
//! `signpost::bench::ndots`, which tests/resolvers.rs compares with the real ones; A and AAAA of a
//! step are sent together. Queries are counted for the first look-up of a name, by the server's
//! metrics and by the upstream; the bench fails if a count has changed. The time is that of later
//! look-ups, when outside names are in the cache.

#[path = "bed/mod.rs"]
mod bed;

use std::cell::{OnceCell, RefCell};
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use bed::{AUTOPATH, Bed, KUBEADM, POD, SEARCH};
use criterion::{Criterion, criterion_group, criterion_main};
use signpost::bench::ndots::{Family, Known, Lookup, Resolver, Walk, amplification};
use signpost::bench::questions::{Edns, Question};

/// A way to look a name up.
struct Way {
    name: &'static str,
    corefile: &'static str,
    ndots: usize,
    /// What is appended to the name.
    end: &'static str,
    /// Queries at the server and at its upstream, A and AAAA separately, for glibc, musl and Go.
    counts: [(u64, u64); 3],
}

const WAYS: [Way; 4] = [
    Way { name: "ndots:5", corefile: KUBEADM, ndots: 5, end: "", counts: [(8, 2); 3] },
    Way { name: "ndots:2", corefile: KUBEADM, ndots: 2, end: "", counts: [(2, 2); 3] },
    Way { name: "dot at the end", corefile: KUBEADM, ndots: 5, end: ".", counts: [(2, 2); 3] },
    Way { name: "autopath", corefile: AUTOPATH, ndots: 5, end: "", counts: [(2, 2); 3] },
];

const RESOLVERS: [(&str, Resolver); 3] = [("glibc", Resolver::Glibc), ("musl", Resolver::Musl), ("go", Resolver::Go)];

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

//----------- A stub resolver ------------------------------------------------

/// The socket of a Pod.
struct Stub(UdpSocket);

impl Stub {
    fn connect(server: SocketAddr) -> Self {
        let socket = UdpSocket::bind((POD, 0)).expect("an address of loopback");
        socket.connect(server).expect("connects");
        socket.set_read_timeout(Some(Duration::from_secs(5))).expect("a timeout");
        Self(socket)
    }

    /// Looks a name up.
    fn look_up(&self, resolver: Resolver, name: &str, ndots: usize) -> Walk {
        let search = SEARCH.map(String::from);
        // The queries of a step are sent together: the first request stores the answer to the
        // second here.
        let said = RefCell::new([Known::NoName; 2]);
        let lookup = Lookup { resolver, name, ndots, search: &search, families: &FAMILIES };
        amplification(&lookup, |name, family| {
            if family == FAMILIES[0] {
                *said.borrow_mut() = self.ask_both(name);
            }
            said.borrow()[family as usize]
        })
    }

    /// Asks for A and AAAA of a name.
    fn ask_both(&self, name: &str) -> [Known; 2] {
        let questions = FAMILIES.map(|family| {
            let line = format!("{name} {family}");
            Question::read(&line, Edns { size: 0, dnssec_ok: false }).expect("a question")
        });
        let mut packet = Vec::new();
        for question in &questions {
            packet.clear();
            question.write(fastrand::u16(..), 0, &mut packet);
            self.0.send(&packet).expect("sends");
        }
        let mut said = [None; 2];
        let mut buffer = [0; 1500];
        while said.contains(&None) {
            let len = self.0.recv(&mut buffer).expect("a reply within 5 s");
            for (question, said) in questions.iter().zip(&mut said) {
                if question.is_repeated_in(&buffer[..len], 0) {
                    *said = Some(match (buffer[3] & 0xF, buffer[7]) {
                        (3, _) => Known::NoName,
                        (0, 0) => Known::NoData,
                        (0, _) => Known::Address,
                        (rcode, _) => panic!("{name}: RCODE {rcode}"),
                    });
                }
            }
        }
        said.map(|said| said.expect("all are there"))
    }
}

//----------- Counting and measuring -----------------------------------------

/// Looks up a new name, and compares the queries with the wanted ones.
fn count(bed: &Bed, stub: &Stub, way: &Way, (resolver, wanted): (Resolver, (u64, u64))) -> String {
    let name = format!("n{}.example.org{}", fastrand::u32(..), way.end);
    let before = (bed.requests(), bed.forwarded());
    let walk = stub.look_up(resolver, &name, way.ndots);
    let counted = (bed.requests() - before.0, bed.forwarded() - before.1);
    assert_eq!(walk.found, FAMILIES, "{}, {resolver:?}: addresses of both families", way.name);
    assert_eq!(walk.queries() as u64, counted.0, "{}, {resolver:?}: all queries are counted", way.name);
    assert_eq!(counted, wanted, "{}, {resolver:?}: queries at the server and upstream", way.name);
    println!("{}, {resolver:?}: {} queries at the server, {} upstream", way.name, counted.0, counted.1);
    name
}

fn ndots(c: &mut Criterion) {
    let beds = [KUBEADM, AUTOPATH].map(|corefile| (corefile, OnceCell::new()));
    for way in &WAYS {
        let (corefile, bed) = beds.iter().find(|(corefile, _)| *corefile == way.corefile).expect("a bed of each");
        let mut group = c.benchmark_group(format!("ndots/{}", way.name));
        for ((title, resolver), wanted) in RESOLVERS.into_iter().zip(way.counts) {
            let ready = OnceCell::new();
            group.bench_function(title, |bencher| {
                let (stub, name) = ready.get_or_init(|| {
                    let bed = bed.get_or_init(|| Bed::start(corefile));
                    let stub = Stub::connect(bed.address());
                    let name = count(bed, &stub, way, (resolver, wanted));
                    (stub, name)
                });
                bencher.iter(|| stub.look_up(resolver, name, way.ndots));
            });
        }
        group.finish();
    }
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(300))
        .measurement_time(Duration::from_secs(1));
    targets = ndots
}
criterion_main!(benches);
