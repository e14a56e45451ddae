//! The walk down the chain and up.

use std::hint::black_box;
use std::time::Instant;

use criterion::Criterion;
use signpost::chain::{Outcome, Query};
use signpost::wire::types::rtype;

use crate::kit::message::{client, query, request};
use crate::kit::whole::passing;

pub(crate) fn chain(c: &mut Criterion) {
    let mut group = c.benchmark_group("chain");
    let name = "web.default.svc.cluster.local";
    let (packet, now) = (query(name, rtype::A), Instant::now());
    // The same query can be asked again: these plugins do not change it.
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
