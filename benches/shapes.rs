//! Three possible shapes of the chain, raced over eight plugins that pass a query on and one that
//! answers. The result decided the shape of `chain::plugin`. See benches/README.md.

use std::future::Future;
use std::hint::black_box;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use criterion::{Criterion, criterion_group, criterion_main};

/// Plugins before the one that answers.
const PASSING: usize = 8;

/// As much of a query and a reply as the shapes need: a plugin reads and writes a word, the answer
/// is shared.
#[derive(Default)]
struct Query {
    name: u64,
    marks: [u32; 16],
}

struct Reply {
    answer: Arc<[u8; 64]>,
    ttl: u32,
}

fn reply(answer: &Arc<[u8; 64]>) -> Reply {
    Reply { answer: answer.clone(), ttl: 30 }
}

//----------- A: an onion of boxed futures -----------------------------------

mod onion {
    //! The equivalent of `async_trait` for `async fn ask(&self, query, next) -> Reply`.

    use super::*;

    pub(crate) type Later<'a> = Pin<Box<dyn Future<Output = Reply> + Send + 'a>>;

    pub(crate) trait Plugin: Send + Sync {
        fn ask<'a>(&'a self, query: &'a mut Query, next: &'a [Arc<dyn Plugin>]) -> Later<'a>;
    }

    pub(crate) struct Pass(pub(crate) usize);

    impl Plugin for Pass {
        fn ask<'a>(&'a self, query: &'a mut Query, next: &'a [Arc<dyn Plugin>]) -> Later<'a> {
            Box::pin(async move {
                query.marks[self.0] = query.name as u32;
                let mut reply = next[0].ask(query, &next[1..]).await;
                reply.ttl = reply.ttl.min(3600);
                reply
            })
        }
    }

    pub(crate) struct Answer(pub(crate) Arc<[u8; 64]>);

    impl Plugin for Answer {
        fn ask<'a>(&'a self, _: &'a mut Query, _: &'a [Arc<dyn Plugin>]) -> Later<'a> {
            Box::pin(async move { reply(&self.0) })
        }
    }
}

//----------- B: an onion that is ready or later -----------------------------

mod ready {
    //! A plugin calls the next one and checks its result; only waiting futures are boxed.

    use super::*;

    pub(crate) enum Out {
        Ready(Reply),
        #[allow(dead_code, reason = "nobody waits in this race, and the match has to be there")]
        Later(Pin<Box<dyn Future<Output = Reply> + Send>>),
    }

    pub(crate) trait Plugin: Send + Sync {
        fn ask(&self, query: &mut Query, next: &[Arc<dyn Plugin>]) -> Out;
    }

    pub(crate) struct Pass(pub(crate) usize);

    impl Plugin for Pass {
        fn ask(&self, query: &mut Query, next: &[Arc<dyn Plugin>]) -> Out {
            query.marks[self.0] = query.name as u32;
            match next[0].ask(query, &next[1..]) {
                Out::Ready(mut reply) => {
                    reply.ttl = reply.ttl.min(3600);
                    Out::Ready(reply)
                }
                Out::Later(later) => Out::Later(Box::pin(async move {
                    let mut reply = later.await;
                    reply.ttl = reply.ttl.min(3600);
                    reply
                })),
            }
        }
    }

    pub(crate) struct Answer(pub(crate) Arc<[u8; 64]>);

    impl Plugin for Answer {
        fn ask(&self, _: &mut Query, _: &[Arc<dyn Plugin>]) -> Out {
            Out::Ready(reply(&self.0))
        }
    }
}

//----------- C: a flat list with two hooks ----------------------------------

mod flat {
    //! Signpost's shape: plugins are asked on the way down, and see the reply on the way up.

    use super::*;

    pub(crate) enum Step {
        Next,
        Answer(Reply),
    }

    pub(crate) trait Plugin: Send + Sync {
        fn ask(&self, query: &mut Query) -> Step;
        fn reply(&self, _query: &mut Query, _reply: &mut Reply) {}
    }

    pub(crate) struct Pass(pub(crate) usize);

    impl Plugin for Pass {
        fn ask(&self, query: &mut Query) -> Step {
            query.marks[self.0] = query.name as u32;
            Step::Next
        }

        fn reply(&self, _: &mut Query, reply: &mut Reply) {
            reply.ttl = reply.ttl.min(3600);
        }
    }

    pub(crate) struct Answer(pub(crate) Arc<[u8; 64]>);

    impl Plugin for Answer {
        fn ask(&self, _: &mut Query) -> Step {
            Step::Answer(reply(&self.0))
        }
    }

    pub(crate) fn ask(chain: &[Arc<dyn Plugin>], query: &mut Query) -> Option<Reply> {
        for (seat, plugin) in chain.iter().enumerate() {
            if let Step::Answer(mut reply) = plugin.ask(query) {
                for above in chain[..seat].iter().rev() {
                    above.reply(query, &mut reply);
                }
                return Some(reply);
            }
        }
        None
    }
}

//----------- The race -------------------------------------------------------

fn race(c: &mut Criterion) {
    let mut group = c.benchmark_group("shapes");
    let answer = Arc::new([7; 64]);

    let mut chain: Vec<Arc<dyn onion::Plugin>> = Vec::new();
    chain.extend((0..PASSING).map(|seat| Arc::new(onion::Pass(seat)) as Arc<dyn onion::Plugin>));
    chain.push(Arc::new(onion::Answer(answer.clone())));
    group.bench_function("boxed async onion", |b| {
        let mut context = Context::from_waker(Waker::noop());
        b.iter(|| {
            let mut query = Query { name: black_box(1), ..Query::default() };
            let later = pin!(chain[0].ask(&mut query, &chain[1..]));
            let Poll::Ready(reply) = later.poll(&mut context) else { panic!("nobody waits") };
            (reply.ttl, reply.answer[0])
        });
    });

    let mut chain: Vec<Arc<dyn ready::Plugin>> = Vec::new();
    chain.extend((0..PASSING).map(|seat| Arc::new(ready::Pass(seat)) as Arc<dyn ready::Plugin>));
    chain.push(Arc::new(ready::Answer(answer.clone())));
    group.bench_function("onion, ready or later", |b| {
        b.iter(|| {
            let mut query = Query { name: black_box(1), ..Query::default() };
            let ready::Out::Ready(reply) = chain[0].ask(&mut query, &chain[1..]) else { panic!("nobody waits") };
            (reply.ttl, reply.answer[0])
        });
    });

    let mut chain: Vec<Arc<dyn flat::Plugin>> = Vec::new();
    chain.extend((0..PASSING).map(|seat| Arc::new(flat::Pass(seat)) as Arc<dyn flat::Plugin>));
    chain.push(Arc::new(flat::Answer(answer)));
    group.bench_function("flat list, two hooks", |b| {
        b.iter(|| {
            let mut query = Query { name: black_box(1), ..Query::default() };
            let reply = flat::ask(&chain, &mut query).expect("the last one answers");
            (reply.ttl, reply.answer[0])
        });
    });
    group.finish();
}

criterion_group!(benches, race);
criterion_main!(benches);
