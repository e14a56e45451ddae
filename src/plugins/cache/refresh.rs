//! Asking again about what is kept: before it is stale, or because it is.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::asked::Asked;
use super::class::{self, Kind};
use super::entry::{Entry, Refresh};
use super::keep::{Inner, is_news};
use super::metrics::Counts;
use crate::chain::{Here, Later, Proto, Query, Reply};
use crate::wire::reply::Origin;
use crate::wire::request::flag;
use crate::wire::types::rcode;

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
        let recheck = if is_stale { self.options.stale.recheck } else { Duration::ZERO };
        let Some(runtime) = self.runtime.get() else { return };
        let Some(refresh) = entry.begin_refresh(now, recheck) else { return };
        let (inner, asked, counts) = (self.clone(), asked.clone(), self.counts(here).clone());
        let below = here.below(without_client(query));
        counts.prefetches.inc();
        runtime.spawn(async move {
            let mut reply = below.await;
            let refreshed = if is_stale {
                inner.renew(&asked, reply, &counts).is_some()
            } else {
                is_news(&reply) && inner.pass(&asked, &mut reply, &counts).is_some()
            };
            if refreshed && let Some(fresh) = inner.find(asked.key().as_slice(), inner.now()) {
                fresh.inherit_hits(&refresh.entry);
            }
            refresh.end(inner.now(), refreshed);
        });
    }

    /// Asks before a stale entry is served (`verify`). Nothing if somebody else does that already.
    pub(super) fn verify(
        self: &Arc<Self>,
        entry: &Arc<Entry>,
        asked: &Asked,
        query: &Query<'_>,
        here: &Here<'_>,
    ) -> Option<Later> {
        let stale = self.options.stale;
        let timeout = stale.verify?;
        let tracks = !timeout.is_zero() || !stale.recheck.is_zero();
        let refresh = if tracks { Some(entry.begin_refresh(self.now(), stale.recheck)?) } else { None };
        let (inner, asked, counts, entry) = (self.clone(), asked.clone(), self.counts(here).clone(), entry.clone());
        let below = here.below(downward(query));
        let renewing = {
            let (inner, asked, counts) = (inner.clone(), asked.clone(), counts.clone());
            async move { inner.renew_and_end(&asked, below, refresh, &counts).await }
        };
        Some(Box::pin(async move {
            let renewed = match (timeout.is_zero(), inner.runtime.get()) {
                (false, Some(runtime)) => {
                    // Goes on when nobody waits any more: what comes is for the next one.
                    let (sender, receiver) = oneshot::channel();
                    runtime.spawn(async move { sender.send(renewing.await).map_err(|_| ()) });
                    tokio::time::timeout(timeout, receiver).await.ok().and_then(Result::ok).flatten()
                }
                _ => renewing.await,
            };
            let Some(Renewed { reply, entry: fresh }) = renewed else {
                counts.stale.inc();
                return inner.serve(&entry, &asked, entry.left(inner.now()).min(0));
            };
            match fresh {
                Some(fresh) if !timeout.is_zero() => inner.serve(&fresh, &asked, fresh.left(inner.now())),
                _ => reply,
            }
        }))
    }

    async fn renew_and_end(
        &self,
        asked: &Asked,
        below: Later,
        refresh: Option<Refresh>,
        counts: &Counts,
    ) -> Option<Renewed> {
        let renewed = self.renew(asked, below.await, counts);
        if let Some(refresh) = refresh {
            refresh.end(self.now(), renewed.is_some());
        }
        renewed
    }

    /// Takes what came in place of a stale entry, if it is better than that: an answer, or that there is no such
    /// name (RFC 8767 section 4); with `prefer_positive` only an answer.
    fn renew(&self, asked: &Asked, mut reply: Reply, counts: &Counts) -> Option<Renewed> {
        if !is_news(&reply) {
            return None;
        }
        let class = class::classify(&reply, asked);
        let says_something = matches!(reply.rcode(), rcode::NOERROR | rcode::NXDOMAIN) && class.kind != Kind::Other;
        if reply.origin == Origin::Memory && says_something {
            // Known for certain from now on.
            self.store.forget(asked.key().as_slice());
        } else if self.options.prefer_positive {
            if !class.answers {
                self.pass_as(class, asked, &mut reply, counts);
                return None;
            }
        } else if !says_something {
            return None;
        }
        let entry = self.pass_as(class, asked, &mut reply, counts);
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
    query.client.peer = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
    query.client.proto = Proto::Tcp;
    query
}
