//! The cost of a change of the data until readers see it, at 5,000 nodes; and of reading a
//! Corefile.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;

use criterion::Criterion;
use signpost::corefile::{self, Vocabulary};
use signpost::plugins::kubernetes::known::endpoints::{Address, Endpoint};
use signpost::plugins::kubernetes::known::model::{Kind, Object, Target};

use crate::kit::cluster::{Cluster, service, slice};

/// 5,000 nodes: 8,200 services, 8,000 of them with one slice of 10 endpoints, 200 with four of 88.
fn five_thousand_nodes() -> Cluster {
    let mut cluster = Cluster::empty();
    for n in 0..8200_u32 {
        let name = format!("service-{n}");
        let address = IpAddr::V4(Ipv4Addr::from(0x0A60_0000 + n));
        let target = if n < 200 { Target::Endpoints } else { Target::Addresses(Box::new([address])) };
        cluster.apply(Kind::Service, Object::Service(service(&name, target, &[("http", "tcp", 80)])));
        for part in 0..if n < 200 { 4 } else { 1_u8 } {
            let mut slice = slice(&name, part, if n < 200 { 88 } else { 10 });
            slice.name = format!("{name}-{part}").into();
            let endpoint = |at| Endpoint {
                address: Address::Ip(Ipv4Addr::from(0x0AF4_0000 + n * 400 + u32::from(part) * 100 + at).into()),
                name: None,
                zone: None,
            };
            slice.endpoints = (0..slice.endpoints.len() as u32).map(endpoint).collect();
            cluster.apply(Kind::Slice, Object::Slice(slice));
        }
    }
    cluster.synced()
}

pub(crate) fn changes(c: &mut Criterion) {
    let mut cluster = five_thousand_nodes();
    let mut group = c.benchmark_group("changes");
    for (what, name, count) in
        [("one endpoint of 10", "service-4000", 10), ("one endpoint of 88 (of 352)", "service-7", 88)]
    {
        let mut turn = 0;
        group.bench_function(what, |b| {
            b.iter(|| {
                turn = 1 - turn;
                let mut slice = slice(name, 0, count - turn);
                slice.name = format!("{name}-0").into();
                cluster.apply(Kind::Slice, Object::Slice(slice));
                cluster.store.publish();
            });
        });
    }
    group.bench_function("Corefile of kubeadm, read and built", |b| {
        let text = crate::kit::whole::KUBEADM.replace("MANIFESTS", "/tmp");
        let served: Vec<&str> = signpost::plugins::ALL.iter().map(|plugin| plugin.name).collect();
        let vocabulary = Vocabulary { served: &served, elsewhere: signpost::plugins::COREDNS };
        let host = Arc::new(signpost::host::Host::default());
        b.iter(|| {
            let corefile = corefile::parse(black_box(&text), "Corefile", &|_: &str| None, &vocabulary).expect("read");
            let built = signpost::chain::build::build(&corefile, signpost::plugins::ALL, &host, "53");
            built.unwrap_or_else(|error| panic!("{error}")).listeners.len()
        });
    });
    group.finish();
}
