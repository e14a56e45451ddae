//! Asking again about what is kept: before it is stale, or because it is.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::asked::Asked;
use super::class::Kind;
use super::entry::{Entry, Refresh};
use super::keep::{Inner, is_news};
use super::metrics::Counts;
use crate::chain::{Client, Here, Later, Proto, Query, Reply};
use crate::wire::reply::Origin;
use crate::wire::request::flag;
use crate::wire::types::rcode;

/// Questions that may be asked in the background at a time. When thousands of entries become stale in the same second,
/// the others wait for their next hit.
pub(super) const BEHIND: usize = 64;

/// How long a client waits for a fresh answer while there is a stale one (RFC 8767 section 5).
const PATIENCE: Duration = Duration::from_millis(1800);

/// What came of asking about a stale entry.
struct Renewed {
    reply: Reply,
    /// The entry that took its place, unless what came may not be kept.
    entry: Option<Arc<Entry>>,
}

impl Inner {
    /// Whether an entry is asked for so often, and has so little time left, that it should be refreshed.
    pub(super) fn wants_prefetch(&self, entry: &Entry, now: Duration) -> bool {
        let Some(prefetch) = &self.options.prefetch else { return false };
        let hits = entry.hit(prefetch.gap, now);
        let threshold = (u64::from(entry.ttl) * u64::from(prefetch.percent)).div_ceil(100);
        hits >= prefetch.hits && entry.left(now) <= threshold.cast_signed()
    }

    /// Refreshes an entry in the background, unless that is going on.
    pub(super) fn refresh_behind(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        asked: &Asked,
        query: &Query<'_>,
        here: &Here<'_>,
    ) {
        let now = self.now();
        let is_stale = entry.left(now) <= 0;
        let Some(runtime) = self.runtime.get() else { return };
        let Ok(place) = self.behind.clone().try_acquire_owned() else { return };
        let Some(refresh) = entry.begin_refresh(now) else { return };
        let (inner, asked, counts) = (self.clone(), asked.clone(), self.counts(here).clone());
        let below = here.below(without_client(query));
        counts.prefetches.inc();
        runtime.spawn(async move {
            let mut reply = below.await;
            let pause = inner.pause_after(&reply);
            let fresh = if is_stale {
                inner.renew(&asked, reply, &counts).and_then(|renewed| renewed.entry)
            } else if is_news(&reply) {
                inner.pass(&asked, &mut reply, &counts)
            } else {
                None
            };
            if let Some(fresh) = fresh {
                fresh.inherit_hits(&refresh.entry);
            }
            refresh.end(inner.now(), pause);
            drop(place);
        });
    }

    /// Asks before a stale entry is served (`verify`), and waits for so long as the client has patience. Nothing if
    /// somebody else does that already, or has done so in vain a moment ago.
    ///
    /// With neither TIMEOUT nor RECHECK each query asks, as in CoreDNS; equal questions are one on their way upstream.
    pub(super) fn verify(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        asked: &Asked,
        query: &Query<'_>,
        here: &Here<'_>,
    ) -> Option<Later> {
        let stale = self.options.stale;
        let timeout = stale.verify?;
        let is_alone = !timeout.is_zero() || !stale.recheck.is_zero();
        let refresh = if is_alone { entry.begin_refresh(self.now())? } else { entry.join_refresh(self.now())? };
        let patience = if timeout.is_zero() { PATIENCE } else { timeout };
        let (inner, asked, counts, entry) = (self.clone(), asked.clone(), self.counts(here).clone(), entry.clone());
        let below = here.below(downward(query));
        let renewing = {
            let (inner, asked, counts) = (inner.clone(), asked.clone(), counts.clone());
            async move { inner.renew_and_end(&asked, below, refresh, &counts).await }
        };
        Some(Box::pin(async move {
            let renewed = match inner.runtime.get() {
                Some(runtime) => {
                    // Goes on when nobody waits any more: what comes is for the next one.
                    let (sender, receiver) = oneshot::channel();
                    runtime.spawn(async move { sender.send(renewing.await).map_err(|_| ()) });
                    tokio::time::timeout(patience, receiver).await.ok().and_then(Result::ok).flatten()
                }
                None => tokio::time::timeout(patience, renewing).await.ok().flatten(),
            };
            let Some(Renewed { reply, entry: fresh }) = renewed else {
                // Also when nothing has come yet: the others need not wait as long.
                entry.pause(inner.now() + inner.pause());
                counts.stale.inc();
                return inner.serve(&entry, &asked, entry.left(inner.now()).min(0));
            };
            match fresh {
                Some(fresh) if !timeout.is_zero() => inner.serve(&fresh, &asked, fresh.left(inner.now())),
                _ => reply,
            }
        }))
    }

    async fn renew_and_end(&self, asked: &Asked, below: Later, refresh: Refresh, counts: &Counts) -> Option<Renewed> {
        let renewed = self.renew(asked, below.await, counts);
        refresh.end(self.now(), self.pause());
        renewed
    }

    /// Takes what came in place of a stale entry, if it is better than that: an answer, or that there is no such
    /// name (RFC 8767 section 4); with `prefer_positive` only an answer.
    fn renew(&self, asked: &Asked, mut reply: Reply, counts: &Counts) -> Option<Renewed> {
        if !is_news(&reply) {
            return None;
        }
        let class = self.classify(&reply, asked);
        let says_something = matches!(reply.rcode(), rcode::NOERROR | rcode::NXDOMAIN) && class.kind != Kind::Other;
        if reply.origin == Origin::Memory && says_something {
            // Known for certain from now on.
            self.store.forget(asked.key().as_slice());
        } else if self.options.prefer_positive {
            if !class.answers {
                self.pass_as(&class, asked, &mut reply, counts);
                return None;
            }
        } else if !says_something {
            return None;
        }
        let entry = self.pass_as(&class, asked, &mut reply, counts);
        if entry.is_none() && class.answers {
            // What is there now may not be kept; what was there is wrong.
            self.store.forget(asked.key().as_slice());
        }
        Some(Renewed { reply, entry })
    }
}

/// The query as it goes down on a miss: upstream is told that AD is understood, so that what is kept has it.
pub(super) fn downward(query: &Query<'_>) -> Query<'static> {
    let mut query = query.clone().into_owned();
    query.request.flags |= flag::AD;
    query
}

/// A query that no client waits for. It goes by TCP, so that nothing is cut.
fn without_client(query: &Query<'_>) -> Query<'static> {
    let mut query = downward(query);
    query.client.peer = Client::NOBODY;
    query.client.proto = Proto::Tcp;
    query
}
