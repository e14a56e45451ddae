//! The cost of each part of a query's way, and of a change of the data. See benches/README.md.

#[path = "../../tests/kit/mod.rs"]
mod kit;

mod answers;
mod cache;
mod chain;
mod changes;
mod encode;
mod many;
mod wire;

use std::time::Duration;

use criterion::{Criterion, criterion_group, criterion_main};

criterion_group! {
    name = benches;
    config = Criterion::default().warm_up_time(Duration::from_secs(1)).measurement_time(Duration::from_secs(3));
    targets = wire::wire, encode::encode, chain::chain, answers::answers, cache::cache, many::many, changes::changes
}
criterion_main!(benches);
