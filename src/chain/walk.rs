//! The walk of one query: down to the plugin that answers, up through those above it, and waits.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;

use super::listener::Listener;
use super::plugin::{Here, Later, Plugin, Step, Turn};
use super::query::Query;
use super::site::Site;
use crate::host::log;
use crate::wire::reply::Reply;
use crate::wire::types::rcode;

/// How deep questions from plugins may nest (an alias to an alias, and so on).
const DEPTH: u8 = 12;

/// Panics in plugins since the process started; each cost one query.
static PANICS: AtomicU64 = AtomicU64::new(0);

/// Returns how many queries panics in plugins have cost so far.
#[must_use]
pub fn panics() -> u64 {
    PANICS.load(Ordering::Relaxed)
}

/// The state that a walk has reached.
pub enum Outcome {
    /// The reply has passed every plugin above.
    Reply(Reply),
    /// A plugin waits.
    Wait(Pending),
    /// There will be no reply.
    Drop,
}

/// A walk that waits: the seat to continue from, and the future reply.
pub struct Pending {
    listener: Arc<Listener>,
    site: Arc<Site>,
    top: usize,
    at: usize,
    reply: Later,
}

impl Pending {
    /// Returns the name of the plugin that waits.
    #[must_use]
    pub fn waits_in(&self) -> &'static str {
        self.site.chain.names()[self.at]
    }

    /// Continues the walk of `query` until there is a reply. Returns `None` if there will be none.
    ///
    /// When the query's patience is over, a plugin that has not answered is no longer waited for:
    /// SERVFAIL.
    pub async fn finish(mut self, query: &mut Query<'static>) -> Option<Reply> {
        loop {
            let Self { listener, site, top, at, reply } = self;
            let reply = in_time(query, unpanicked(reply)).await;
            query.answered_by = at as u8;
            let walk = Walk { listener: &listener, site: &site, top };
            match walk.guarded(query, |query| walk.up(at, query, reply)) {
                Outcome::Reply(reply) => return Some(reply),
                Outcome::Wait(next) => self = next,
                Outcome::Drop => return None,
            }
        }
    }
}

//----------- Walk -----------------------------------------------------------

/// A walk through the chain of one site.
struct Walk<'a> {
    listener: &'a Arc<Listener>,
    site: &'a Arc<Site>,
    /// The seat where it began. Hooks above it do not run.
    top: usize,
}

impl<'a> Walk<'a> {
    /// Asks the plugins from a seat downwards.
    fn down(&self, from: usize, query: &mut Query<'_>) -> Outcome {
        for (seat, plugin) in self.site.chain.plugins().iter().enumerate().skip(from) {
            query.answered_by = seat as u8;
            match plugin.ask(query, &self.here(seat)) {
                Step::Next => {}
                Step::Answer(reply) => return self.up(seat, query, reply),
                Step::Wait(reply) => return self.wait(seat, reply),
                Step::Drop => return self.up_in_silence(seat, query),
            }
        }
        let end = self.site.chain.plugins().len();
        query.answered_by = end as u8;
        self.up(end, query, self.site.chain.end_reply())
    }

    /// Shows a reply to the plugins above a seat.
    fn up(&self, from: usize, query: &mut Query<'_>, mut reply: Reply) -> Outcome {
        for (seat, plugin) in self.above(from) {
            match plugin.reply(query, &mut reply, &self.here(seat)) {
                Turn::Up => {}
                Turn::Again if query.again_left > 0 => {
                    query.again_left -= 1;
                    return self.down(seat + 1, query);
                }
                Turn::Again => reply = asked_too_often(),
                Turn::Wait(reply) => return self.wait(seat, reply),
                Turn::Drop => return self.up_in_silence(seat, query),
            }
        }
        Outcome::Reply(reply)
    }

    /// Tells the plugins above a seat that there will be no reply.
    fn up_in_silence(&self, from: usize, query: &mut Query<'_>) -> Outcome {
        for (seat, plugin) in self.above(from) {
            match plugin.dropped(query, &self.here(seat)) {
                Turn::Up | Turn::Drop => {}
                Turn::Again if query.again_left > 0 => {
                    query.again_left -= 1;
                    return self.down(seat + 1, query);
                }
                Turn::Again => return self.up(seat, query, asked_too_often()),
                Turn::Wait(reply) => return self.wait(seat, reply),
            }
        }
        Outcome::Drop
    }

    /// Returns the plugins above a seat, from the lowest up.
    fn above(&self, seat: usize) -> impl Iterator<Item = (usize, &'a Arc<dyn Plugin>)> {
        self.site.chain.plugins()[..seat].iter().enumerate().skip(self.top).rev()
    }

    fn here(&self, seat: usize) -> Here<'a> {
        Here { listener: self.listener, site: self.site, seat }
    }

    fn wait(&self, at: usize, reply: Later) -> Outcome {
        let (listener, site) = (self.listener.clone(), self.site.clone());
        Outcome::Wait(Pending { listener, site, top: self.top, at, reply })
    }

    /// Runs a part of this walk. A panic in it becomes SERVFAIL for this one query.
    ///
    /// The plugins above do not see that reply. If the walk began at the top, the reply counts as
    /// one of the server itself, as in CoreDNS.
    fn guarded<'p>(&self, query: &mut Query<'p>, part: impl FnOnce(&mut Query<'p>) -> Outcome) -> Outcome {
        catch_unwind(AssertUnwindSafe(|| part(query))).unwrap_or_else(|panic| {
            let reply = panicked(&*panic);
            if self.top == 0 { self.listener.by_itself(query, reply) } else { Outcome::Reply(reply) }
        })
    }
}

/// Asks the chain of a site from the top.
pub(super) fn begin(listener: &Arc<Listener>, site: &Arc<Site>, query: &mut Query<'_>) -> Outcome {
    let walk = Walk { listener, site, top: 0 };
    walk.guarded(query, |query| walk.down(0, query))
}

/// Tells the plugins of a site that a primary has changed a zone, until one of them replies. A
/// panic becomes SERVFAIL, as in a walk.
pub(super) fn notify(listener: &Arc<Listener>, site: &Arc<Site>, query: &mut Query<'_>) -> Option<Reply> {
    let mut plugins = site.chain.plugins().iter().enumerate();
    let told = || plugins.find_map(|(seat, plugin)| plugin.notify(query, &Here { listener, site, seat }));
    catch_unwind(AssertUnwindSafe(told)).unwrap_or_else(|panic| Some(panicked(&*panic)))
}

//----------- Questions of our own -------------------------------------------

/// Asks the whole server a question of our own.
pub(super) fn lookup(listener: Arc<Listener>, query: Query<'static>) -> Later {
    one_deeper(query, move |query| listener.ask(query))
}

/// Asks the plugins of a site, from a seat downwards, a question of our own.
pub(super) fn lookup_from(listener: Arc<Listener>, site: Arc<Site>, seat: usize, query: Query<'static>) -> Later {
    one_deeper(query, move |query| {
        let walk = Walk { listener: &listener, site: &site, top: seat };
        walk.guarded(query, |query| walk.down(seat, query))
    })
}

/// Asks `query`, which another question led to, unless the nesting is too deep.
fn one_deeper(mut query: Query<'static>, ask: impl FnOnce(&mut Query<'static>) -> Outcome + Send + 'static) -> Later {
    Box::pin(async move {
        if query.depth >= DEPTH {
            return Reply::failure(rcode::SERVFAIL, "too many questions lead to one another");
        }
        query.depth += 1;
        let reply = match ask(&mut query) {
            Outcome::Reply(reply) => Some(reply),
            Outcome::Wait(pending) => pending.finish(&mut query).await,
            Outcome::Drop => None,
        };
        reply.unwrap_or_else(|| Reply::failure(rcode::SERVFAIL, "the question was dropped"))
    })
}

/// Returns the reply of a future, or SERVFAIL once the patience of `query` is over.
async fn in_time(query: &Query<'_>, reply: impl Future<Output = Reply>) -> Reply {
    let Some(patience) = query.patience else { return reply.await };
    let end = (query.received + patience).into();
    // Boxed: a timer is large, and few queries have one.
    let timeout = Box::pin(tokio::time::timeout_at(end, reply)).await;
    timeout.unwrap_or_else(|_| Reply::failure(rcode::SERVFAIL, "context deadline exceeded"))
}

fn asked_too_often() -> Reply {
    Reply::failure(rcode::SERVFAIL, "plugins asked again and again")
}

/// Returns the reply of a future, or SERVFAIL if it panics.
async fn unpanicked(mut reply: Later) -> Reply {
    std::future::poll_fn(move |context| {
        catch_unwind(AssertUnwindSafe(|| reply.as_mut().poll(context)))
            .unwrap_or_else(|panic| Poll::Ready(panicked(&*panic)))
    })
    .await
}

fn panicked(panic: &(dyn std::any::Any + Send)) -> Reply {
    note_panic(panic);
    Reply::failure(rcode::SERVFAIL, "a plugin panicked")
}

/// Counts and logs a panic that cost a query.
pub(crate) fn note_panic(panic: &(dyn std::any::Any + Send)) {
    PANICS.fetch_add(1, Ordering::Relaxed);
    let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
    let text = text.or_else(|| panic.downcast_ref::<String>().cloned()).unwrap_or_default();
    log::error("", format_args!("Recovered from panic in server: {text}"));
}
