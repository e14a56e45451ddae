//! The walk of one query: down to whoever answers, up through those above, and what happens in between.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use super::plugin::{Here, Later, Step, Turn};
use super::query::Query;
use super::site::{Listener, Site};
use crate::host::log;
use crate::wire::reply::Reply;
use crate::wire::types::rcode;

/// How deep questions that plugins ask may nest (an alias to an alias, and so on).
const DEPTH: u8 = 12;

/// Panics in plugins since the process began; each cost one query.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// How many queries a panic in a plugin has cost so far.
#[must_use]
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// Where a walk has come to.
pub enum Outcome {
    /// The reply has passed every plugin above.
    Reply(Reply),
    /// Some plugin waits.
    Wait(Pending),
    /// There will be no reply.
    Drop,
}

/// A walk that waits: the seat to go on from, and the reply to go on with.
pub struct Pending {
    site: Arc<Site>,
    at: usize,
    /// The seat where this walk began: no hook above it runs.
    top: usize,
    reply: Later,
}

impl Pending {
    /// The name of the plugin that waits.
    #[must_use]
    pub fn waits_in(&self) -> &'static str {
        self.site.chain.names()[self.at]
    }
}

impl Site {
    /// Asks the chain from the top.
    pub(super) fn ask(self: &Arc<Self>, listener: &Arc<Listener>, query: &mut Query<'_>) -> Outcome {
        guarded(listener, 0, query, |query| self.down(listener, (0, 0), query))
    }

    fn down(self: &Arc<Self>, listener: &Arc<Listener>, (top, from): (usize, usize), query: &mut Query<'_>) -> Outcome {
        for (seat, plugin) in self.chain.plugins().iter().enumerate().skip(from) {
            query.answered_by = seat as u8;
            match plugin.ask(query, &Here { listener, site: self, seat }) {
                Step::Next => {}
                Step::Answer(reply) => return self.up(listener, (top, seat), query, reply),
                Step::Wait(reply) => return Outcome::Wait(Pending { site: self.clone(), at: seat, top, reply }),
                Step::Drop => return self.up_in_silence(listener, (top, seat), query),
            }
        }
        let end = self.chain.plugins().len();
        query.answered_by = end as u8;
        self.up(listener, (top, end), query, self.chain.end_reply())
    }

    fn up(
        self: &Arc<Self>,
        listener: &Arc<Listener>,
        (top, from): (usize, usize),
        query: &mut Query<'_>,
        mut reply: Reply,
    ) -> Outcome {
        for (seat, plugin) in self.chain.plugins()[..from].iter().enumerate().skip(top).rev() {
            match plugin.reply(query, &mut reply, &Here { listener, site: self, seat }) {
                Turn::Up => {}
                Turn::Again if query.turns > 0 => {
                    query.turns -= 1;
                    return self.down(listener, (top, seat + 1), query);
                }
                Turn::Again => reply = asked_too_often(),
                Turn::Wait(reply) => return Outcome::Wait(Pending { site: self.clone(), at: seat, top, reply }),
                Turn::Drop => return self.up_in_silence(listener, (top, seat), query),
            }
        }
        Outcome::Reply(reply)
    }

    /// Tells the plugins above a seat that there will be no reply.
    fn up_in_silence(
        self: &Arc<Self>,
        listener: &Arc<Listener>,
        (top, from): (usize, usize),
        query: &mut Query<'_>,
    ) -> Outcome {
        for (seat, plugin) in self.chain.plugins()[..from].iter().enumerate().skip(top).rev() {
            match plugin.dropped(query, &Here { listener, site: self, seat }) {
                Turn::Up | Turn::Drop => {}
                Turn::Again if query.turns > 0 => {
                    query.turns -= 1;
                    return self.down(listener, (top, seat + 1), query);
                }
                Turn::Again => return self.up(listener, (top, seat), query, asked_too_often()),
                Turn::Wait(reply) => return Outcome::Wait(Pending { site: self.clone(), at: seat, top, reply }),
            }
        }
        Outcome::Drop
    }

    /// Asks the plugins from a seat on, as a question of our own.
    pub(super) fn resolve(self: Arc<Self>, listener: Arc<Listener>, from: usize, mut query: Query<'static>) -> Later {
        Box::pin(async move {
            if query.depth >= DEPTH {
                return too_deep();
            }
            query.depth += 1;
            let outcome = guarded(&listener, from, &mut query, |query| self.down(&listener, (from, from), query));
            settle(listener, query, outcome).await
        })
    }
}

impl Listener {
    /// Goes on with a walk that waited, until there is a reply (or none is to be sent).
    ///
    /// Whoever has not answered when the query's patience is over is no longer waited for: SERVFAIL.
    pub async fn finish(self: Arc<Self>, query: &mut Query<'static>, mut pending: Pending) -> Option<Reply> {
        loop {
            let Pending { site, at, top, reply } = pending;
            let reply = in_time(query, unpanicked(reply)).await;
            query.answered_by = at as u8;
            match guarded(&self, top, query, |query| site.up(&self, (top, at), query, reply)) {
                Outcome::Reply(reply) => return Some(reply),
                Outcome::Wait(next) => pending = next,
                Outcome::Drop => return None,
            }
        }
    }

    /// Asks the whole server a question of our own.
    pub(super) fn resolve(self: Arc<Self>, mut query: Query<'static>) -> Later {
        Box::pin(async move {
            if query.depth >= DEPTH {
                return too_deep();
            }
            query.depth += 1;
            let outcome = self.ask(&mut query);
            settle(self, query, outcome).await
        })
    }
}

async fn settle(listener: Arc<Listener>, mut query: Query<'static>, outcome: Outcome) -> Reply {
    let reply = match outcome {
        Outcome::Reply(reply) => Some(reply),
        Outcome::Wait(pending) => listener.finish(&mut query, pending).await,
        Outcome::Drop => None,
    };
    reply.unwrap_or_else(|| Reply::failure(rcode::SERVFAIL, "the question was dropped"))
}

/// The reply of a future, or SERVFAIL once the patience of `query` is over.
async fn in_time(query: &Query<'_>, reply: impl Future<Output = Reply>) -> Reply {
    let Some(patience) = query.patience else { return reply.await };
    let end = (query.received + patience).into();
    let timeout = tokio::time::timeout_at(end, reply).await;
    timeout.unwrap_or_else(|_| Reply::failure(rcode::SERVFAIL, "context deadline exceeded"))
}

fn asked_too_often() -> Reply {
    Reply::failure(rcode::SERVFAIL, "plugins asked again and again")
}

fn too_deep() -> Reply {
    Reply::failure(rcode::SERVFAIL, "too many questions lead to one another")
}

/// Runs a part of a walk that began at seat `top`; a panic in it becomes SERVFAIL for this one query.
///
/// The plugins above do not see that reply. If the walk began at the top, it is counted as one that the server gave
/// by itself, as CoreDNS counts it.
fn guarded<'p>(
    listener: &Listener,
    top: usize,
    query: &mut Query<'p>,
    walk: impl FnOnce(&mut Query<'p>) -> Outcome,
) -> Outcome {
    catch_unwind(AssertUnwindSafe(|| walk(query))).unwrap_or_else(|panic| {
        let reply = panicked(&*panic);
        if top == 0 { listener.by_itself(query, reply) } else { Outcome::Reply(reply) }
    })
}

/// The reply of a future, or SERVFAIL if it panics.
async fn unpanicked(mut reply: Later) -> Reply {
    std::future::poll_fn(move |context| {
        catch_unwind(AssertUnwindSafe(|| reply.as_mut().poll(context)))
            .unwrap_or_else(|panic| Poll::Ready(panicked(&*panic)))
    })
    .await
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Reply {
    PANICS.fetch_add(1, Ordering::Relaxed);
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    log::error("", format_args!("Recovered from panic in server: {text}"));
    Reply::failure(rcode::SERVFAIL, "a plugin panicked")
}
