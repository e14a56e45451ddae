//! The codec: reading a query, writing a reply; hickory-proto beside it.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Instant;

use criterion::Criterion;
use hickory_proto::op::{Message, MessageType, Query as HickoryQuery};
use hickory_proto::rr::rdata::A;
use hickory_proto::rr::{RData, Record};
use signpost::chain::Query;
use signpost::wire::answer::Section;
use signpost::wire::encode::{Encoder, Owner};
use signpost::wire::reply::Reply;
use signpost::wire::request::{Gate, gate};
use signpost::wire::types::rtype;
use signpost::wire::write::Writer;

use crate::kit::message::{client, query, request};

pub(crate) fn wire(c: &mut Criterion) {
    let mut group = c.benchmark_group("wire");
    let packet = query("web.default.svc.cluster.local", rtype::A);
    let now = Instant::now();
    group.bench_function("gate", |b| b.iter(|| gate(black_box(&packet))));
    group.bench_function("gate and query", |b| {
        b.iter(|| {
            let Gate::Pass(request) = gate(black_box(&packet)) else { panic!("a query") };
            Query::new(&packet, request, client(), now).question.name.len()
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
