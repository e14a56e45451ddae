//! The cache: hits and misses. Hits among many names: many.rs.

use std::hint::black_box;
use std::time::Instant;

use criterion::Criterion;
use signpost::wire::types::rtype;

use crate::kit::desk::Desk;
use crate::kit::fetched;
use crate::kit::message::{client, query};
use crate::kit::whole::{Whole, passing};

/// From the packet to the written reply: what a hit costs above the same chain without a cache.
pub(crate) fn cache(c: &mut Criterion) {
    let mut group = c.benchmark_group("cache");
    let (packet, now) = (query("web.default.svc.cluster.local", rtype::A), Instant::now());
    let bare = passing(0, ".");
    let (mut desk, client) = (Desk::default(), client());
    group.bench_function("bare loop", |b| {
        b.iter(|| desk.ask(black_box(&packet), client, &bare, now).map(<[u8]>::len));
    });
    let mut server = Whole::start_with(fetched::PLUGINS, ". {\ncache\nwhoami\n}\n", "");
    for (what, packet) in
        [("hit", packet.clone()), ("hit, a denial", query("web.default.svc.cluster.local", rtype::AAAA))]
    {
        server.ask(&packet, now);
        group.bench_function(what, |b| b.iter(|| server.ask(black_box(&packet), now).map(<[u8]>::len)));
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
