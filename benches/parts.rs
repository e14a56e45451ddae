//! What each part of a query's way costs, and what a change of the data costs. See benches/README.md.

#[path = "../tests/kit/mod.rs"]
mod kit;

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use criterion::{Criterion, criterion_group, criterion_main};
use hickory_proto::op::{Message, MessageType, Query as HickoryQuery};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record};
use kit::cluster::{Cluster, service, slice};
use kit::fetched;
use kit::message::{query, request};
use kit::whole::{Whole, passing};
use signpost::chain::{Client, Outcome, Proto, Query};
use signpost::corefile::{self, Vocabulary};
use signpost::plugins::kubernetes::model::{Address, Endpoint, Kind, Object, Target};
use signpost::wire::answer::Section;
use signpost::wire::encode::{Encoder, Owner};
use signpost::wire::reply::Reply;
use signpost::wire::request::{Gate, gate};
use signpost::wire::types::rtype;
use signpost::wire::write::Writer;

fn client() -> Client {
    let address = |text: &str| text.parse().expect("an address");
    Client { peer: address("127.0.0.1:4000"), local: address("127.0.0.1:53"), proto: Proto::Udp }
}

//----------- The codec ------------------------------------------------------

fn wire(c: &mut Criterion) {
    let mut group = c.benchmark_group("wire");
    let packet = query("web.default.svc.cluster.local", rtype::A);
    let now = Instant::now();
    group.bench_function("gate", |b| b.iter(|| gate(black_box(&packet))));
    group.bench_function("gate and query", |b| {
        b.iter(|| {
            let Gate::Pass(request) = gate(black_box(&packet)) else { panic!("a query") };
            Query::new(&packet, request, client(), now).name.len()
        });
    });
    let answer = Encoder::build(31, |e| {
        e.address(Section::Answer, Owner::ASKED, 30, IpAddr::V4(Ipv4Addr::new(10, 96, 0, 20)));
    });
    let (reply, request) = (Reply::memory(Arc::new(answer)), request(&packet));
    let (mut writer, mut out) = (Writer::default(), Vec::new());
    group.bench_function("write one A", |b| {
        b.iter(|| {
            out.clear();
            writer.reply(black_box(&packet), &request, black_box(&reply), 1232, &mut out)
        });
    });
    group.bench_function("hickory-proto: read, build and write one A", |b| {
        b.iter(|| {
            let asked = Message::from_vec(black_box(&packet)).expect("a query");
            let mut message = Message::new(asked.metadata.id, MessageType::Response, asked.metadata.op_code);
            let name = asked.queries[0].name().clone();
            message.add_query(HickoryQuery::query(name.clone(), asked.queries[0].query_type()));
            message.add_answer(Record::from_rdata(name, 30, RData::A(A::new(10, 96, 0, 20))));
            message.edns = asked.edns.clone();
            message.to_vec().expect("encodes").len()
        });
    });
    group.finish();
}

//----------- The chain ------------------------------------------------------

fn chain(c: &mut Criterion) {
    let mut group = c.benchmark_group("chain");
    let name = "web.default.svc.cluster.local";
    let (packet, now) = (query(name, rtype::A), Instant::now());
    // A query can be asked again as it is: these plugins do not change it.
    for (what, count, zone) in
        [("eight pass, one answers", 8, name), ("one answers", 0, name), ("one answers, zone five labels up", 0, ".")]
    {
        let listener = passing(count, zone);
        let mut query = Query::new(&packet, request(&packet), client(), now);
        group.bench_function(what, |b| {
            b.iter(|| match listener.ask(black_box(&mut query)) {
                Outcome::Reply(reply) => reply.answer.wire_len(),
                _ => panic!("answered"),
            });
        });
    }
    group.finish();
}

//----------- Answers --------------------------------------------------------

const KUBEADM: &str = ".:53 {
    errors
    health {
       lameduck 5s
    }
    ready
    kubernetes cluster.local in-addr.arpa ip6.arpa {
       manifests \"MANIFESTS\"
       pods insecure
       fallthrough in-addr.arpa ip6.arpa
       ttl 30
    }
    prometheus :9153
    forward . /etc/resolv.conf {
       max_concurrent 1000
    }
    cache 30 {
       disable success cluster.local
       disable denial cluster.local
    }
    loop
    reload
    loadbalance
}
";

/// From the packet to the written reply through the chain that kubeadm's Corefile makes: all but the sockets.
fn answers(c: &mut Criterion) {
    // Nobody listens and nothing is forwarded, so what would ask is left out.
    let corefile = KUBEADM.replace("    loop\n", "").replace("    health {\n       lameduck 5s\n    }\n", "");
    let mut server = Whole::start(&corefile, &kit::cluster::manifests());
    server.wait_until_answered(&query("web.default.svc.cluster.local", rtype::A), Duration::from_secs(10));
    let mut group = c.benchmark_group("answers");
    for (what, name, qtype) in [
        ("A of a service", "web.default.svc.cluster.local", rtype::A),
        ("AAAA, NODATA", "web.default.svc.cluster.local", rtype::AAAA),
        ("NXDOMAIN", "example.com.default.svc.cluster.local", rtype::A),
        ("A, headless with 20", "db.default.svc.cluster.local", rtype::A),
        ("SRV with 20", "_sql._tcp.db.default.svc.cluster.local", rtype::SRV),
        ("PTR of a service", "20.0.96.10.in-addr.arpa", rtype::PTR),
        ("A of a pod", "10-244-1-9.default.pod.cluster.local", rtype::A),
    ] {
        let (packet, now) = (query(name, qtype), Instant::now());
        group.bench_function(what, |b| b.iter(|| server.ask(black_box(&packet), now).map(<[u8]>::len)));
    }
    group.finish();
}

//----------- The cache ------------------------------------------------------

/// From the packet to the written reply: what a hit costs more than the same chain loop without a cache.
fn cache(c: &mut Criterion) {
    let mut group = c.benchmark_group("cache");
    let (packet, now) = (query("web.default.svc.cluster.local", rtype::A), Instant::now());
    let bare = passing(0, ".");
    let (mut writer, mut out) = (Writer::default(), Vec::new());
    group.bench_function("bare loop", |b| {
        b.iter(|| {
            out.clear();
            let Gate::Pass(request) = gate(black_box(&packet)) else { panic!("a query") };
            let mut query = Query::new(&packet, request, client(), now);
            let Outcome::Reply(reply) = bare.ask(&mut query) else { panic!("answered") };
            writer.reply(query.packet(), &query.request, &reply, query.limit(), &mut out)
        });
    });
    let mut server = Whole::start_with(fetched::PLUGINS, ". {\ncache\nwhoami\n}\n", "");
    let names = |count: usize| (0..count).map(|n| query(&format!("n{n}.example.org"), rtype::A)).collect::<Vec<_>>();
    for (what, packets) in [
        ("hit", vec![packet.clone()]),
        ("hit, a denial", vec![query("web.default.svc.cluster.local", rtype::AAAA)]),
        ("hit, one of 500 names", names(500)),
        ("hit, one of 5,000 names", names(5000)),
    ] {
        let mut turn = packets.iter().cycle();
        packets.iter().for_each(|packet| _ = server.ask(packet, now));
        group.bench_function(what, |b| {
            b.iter(|| {
                let packet = turn.next().expect("it goes around");
                server.ask(black_box(packet), now).map(<[u8]>::len)
            });
        });
    }
    let mut number = 0_u64;
    let mut packet = query("n00000000.example.org", rtype::A);
    group.bench_function("miss, and kept", |b| {
        b.iter(|| {
            number += 1;
            packet[14..22].copy_from_slice(format!("{number:08}").as_bytes());
            server.ask(black_box(&packet), now).map(<[u8]>::len)
        });
    });
    group.finish();
}

//----------- Changes --------------------------------------------------------

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

fn changes(c: &mut Criterion) {
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
        let text = KUBEADM.replace("MANIFESTS", "/tmp");
        let served: Vec<&str> = signpost::plugins::ALL.iter().map(|plugin| plugin.name).collect();
        let vocabulary = Vocabulary { served: &served, elsewhere: signpost::plugins::ELSEWHERE };
        let host = Arc::new(signpost::host::Host::default());
        b.iter(|| {
            let corefile = corefile::parse(black_box(&text), "Corefile", &|_: &str| None, &vocabulary).expect("read");
            let built = signpost::chain::build::build(&corefile, signpost::plugins::ALL, &host, "53");
            built.unwrap_or_else(|error| panic!("{error}")).listeners.len()
        });
    });
    group.finish();
}

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = wire, chain, answers, cache, changes
}
criterion_main!(benches);
