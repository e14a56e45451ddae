//! Whole answers of the cluster, except for the sockets.

use std::hint::black_box;
use std::time::Instant;

use criterion::Criterion;
use signpost::host::log;
use signpost::wire::types::rtype;

use crate::kit::message::query;
use crate::kit::whole::Whole;

/// The questions.
const ANSWERS: [(&str, &str, u16); 7] = [
    ("A of a service", "web.default.svc.cluster.local", rtype::A),
    ("AAAA, NODATA", "web.default.svc.cluster.local", rtype::AAAA),
    ("NXDOMAIN", "example.com.default.svc.cluster.local", rtype::A),
    ("A, headless with 20", "db.default.svc.cluster.local", rtype::A),
    ("SRV with 20", "_sql._tcp.db.default.svc.cluster.local", rtype::SRV),
    ("PTR of a service", "20.0.96.10.in-addr.arpa", rtype::PTR),
    ("A of a pod", "10-244-1-9.default.pod.cluster.local", rtype::A),
];

/// From the packet to the written reply through the chain of kubeadm's Corefile, except for the
/// sockets.
pub(crate) fn answers(c: &mut Criterion) {
    log::redirect(Box::new(std::io::sink()));
    log::claim_lane(0);
    let mut server = Whole::kubeadm();
    let mut group = c.benchmark_group("answers");
    for (what, name, qtype) in ANSWERS {
        let (packet, now) = (query(name, qtype), Instant::now());
        group.bench_function(what, |b| b.iter(|| server.ask(black_box(&packet), now).map(<[u8]>::len)));
    }
    let dropped = log::dropped();
    for (what, directive) in [
        ("A of a service, logged", "    log\n"),
        ("A of a service, errors are logged", "    log . {\n        class error\n    }\n"),
    ] {
        let mut server = Whole::kubeadm_with(directive);
        let (packet, now) = (query("web.default.svc.cluster.local", rtype::A), Instant::now());
        group.bench_function(what, |b| b.iter(|| server.ask(black_box(&packet), now).map(<[u8]>::len)));
    }
    // Dropped lines are not formatted, and would cost less.
    if log::dropped() > dropped {
        eprintln!(
            "{} lines were dropped: the writer had no time, and the figures with log are too low",
            log::dropped() - dropped
        );
    }
    group.finish();
}
