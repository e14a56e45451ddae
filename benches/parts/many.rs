//! The same questions for one name and for as many names as a cluster asks for. With many names
//! most of the data that a query needs is not in the processor's cache.

use std::hint::black_box;
use std::time::{Duration, Instant};

use criterion::measurement::WallTime;
use criterion::{BenchmarkGroup, Criterion};
use signpost::bench::order::Law;
use signpost::host::log;
use signpost::wire::types::{rcode, rtype};

use crate::kit::fetched;
use crate::kit::large::{HEADLESS, SERVICES, headless, manifests, missing, pointer, service};
use crate::kit::message::query;
use crate::kit::whole::Whole;

/// A kind of question: what it is, the name number N, its type, the right RCODE, and how many names
/// are asked.
type Kind = (&'static str, fn(usize) -> String, u16, u16, [usize; 3]);

const OF_CLUSTER: [Kind; 5] = [
    ("A of a service", service, rtype::A, rcode::NOERROR, [1, 900, SERVICES]),
    ("NXDOMAIN", missing, rtype::A, rcode::NXDOMAIN, [1, 900, SERVICES]),
    ("PTR of a service", pointer, rtype::PTR, rcode::NOERROR, [1, 900, SERVICES]),
    ("A, headless with 20", headless, rtype::A, rcode::NOERROR, [1, 100, HEADLESS]),
    ("SRV with 20", srv, rtype::SRV, rcode::NOERROR, [1, 100, HEADLESS]),
];

const CACHED: [Kind; 2] = [
    ("hit", outside, rtype::A, rcode::NOERROR, [1, 500, 9000]),
    ("hit, a denial", outside, rtype::AAAA, rcode::NXDOMAIN, [1, 500, 9000]),
];

fn srv(n: usize) -> String {
    format!("_sql._tcp.{}", headless(n))
}

fn outside(n: usize) -> String {
    format!("www{n:04}.example.org")
}

/// From the packet to the written reply, through the chain of kubeadm's Corefile and through a
/// cache.
pub(crate) fn many(c: &mut Criterion) {
    log::redirect(Box::new(std::io::sink()));
    let mut group = c.benchmark_group("many");
    group.warm_up_time(Duration::from_millis(500)).measurement_time(Duration::from_secs(1));
    let mut server = Whole::kubeadm_of("", &manifests());
    // Until all objects are read, unknown names get SERVFAIL.
    while server
        .ask(&query(&missing(0), rtype::A), Instant::now())
        .is_none_or(|reply| u16::from(reply[3] & 0xF) == rcode::SERVFAIL)
    {
        std::thread::sleep(Duration::from_millis(5));
    }
    OF_CLUSTER.iter().for_each(|kind| ask(&mut group, &mut server, kind));
    let mut server = Whole::start_with(fetched::PLUGINS, ". {\ncache\nwhoami\n}\n", "");
    CACHED.iter().for_each(|kind| ask(&mut group, &mut server, kind));
    group.finish();
}

fn ask(group: &mut BenchmarkGroup<'_, WallTime>, server: &mut Whole, (what, name, qtype, right, counts): &Kind) {
    for &count in counts {
        // Shuffled, so that popular names do not lie side by side in memory.
        let mut packets: Vec<_> = (0..count).map(|n| query(&name(n), *qtype)).collect();
        fastrand::Rng::with_seed(1).shuffle(&mut packets);
        let now = Instant::now();
        for packet in &packets {
            let reply = server.ask(packet, now).expect("answered from memory");
            assert_eq!(u16::from(reply[3] & 0xF), *right, "{what}");
        }
        for law in if count == 1 { &[Law::Turn][..] } else { &[Law::Uniform, Law::Zipf] } {
            let (order, mut at) = (law.order(count), 0);
            group.bench_function(format!("{what}, {count} names {law}"), |b| {
                b.iter(|| {
                    at = (at + 1) % order.len();
                    server.ask(black_box(&packets[order[at] as usize]), now).map(<[u8]>::len)
                });
            });
        }
    }
}
