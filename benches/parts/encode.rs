//! Encoding answers: the work when the data changes, or for a question whose answer is not stored.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};

use criterion::Criterion;
use signpost::wire::answer::Section;
use signpost::wire::encode::{Encoder, Owner};
use signpost::wire::name::Name;
use signpost::wire::types::rtype;

use crate::kit::cluster::Cluster;

pub(crate) fn encode(c: &mut Criterion) {
    let mut group = c.benchmark_group("encode");
    for count in [1, 20, 1000] {
        group.bench_function(format!("{count} A, to be kept"), |b| {
            b.iter(|| {
                Encoder::build(31, |e| {
                    for n in 0..black_box(count) {
                        e.address(Section::Answer, Owner::ASKED, 30, IpAddr::V4(Ipv4Addr::from(0x0AF4_0000 + n)));
                    }
                })
            });
        });
    }
    // The plugin's look-up and encoding, without chain and message.
    let cluster = Cluster::small();
    for (what, name, qtype) in [
        ("look-up of A, kept", "web.default.svc.cluster.local", rtype::A),
        ("look-up of A of an endpoint", "db-7.db.default.svc.cluster.local", rtype::A),
        ("look-up of SRV with 20 targets", "_sql._tcp.db.default.svc.cluster.local", rtype::SRV),
    ] {
        let name = Name::from_text(name).expect("a name");
        group.bench_function(what, |b| {
            b.iter(|| cluster.answer(name.wire(), black_box(&name), qtype).map(signpost::wire::answer::recycle));
        });
    }
    group.finish();
}
