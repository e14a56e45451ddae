//! Refreshes entries, before they are stale or because they are.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;

use super::asked::Asked;
use super::entry::{Entry, Refresh};
use super::keep::Inner;
use super::metrics::Counts;
use super::ruling::{Keeps, News, Old, Pause, rule};
use crate::chain::{Client, Here, Later, Proto, Query, Reply};
use crate::wire::request::flag;

/// Maximum number of background queries at a time. If thousands of entries expire in the same
/// second, the others wait for their next hit.
pub(super) const BEHIND: usize = 64;

/// How long a client waits for a fresh answer if there is a stale one (RFC 8767 section 5).
const PATIENCE: Duration = Duration::from_millis(1800);

/// The result of a refresh.
struct Renewed {
    /// The reply for a waiting client, if it does not get the stale entry.
    reply: Option<Reply>,
    /// The new entry.
    entry: Option<Entry>,
    pause: Pause,
}

impl Inner {
    /// Returns whether an entry is popular enough, and has so little time left, that it should be
    /// refreshed.
    pub(super) fn wants_prefetch(&self, entry: &Entry, now: Duration) -> bool {
        let Some(prefetch) = &self.options.prefetch else { return false };
        let hits = entry.hit(prefetch.gap, now);
        let threshold = (u64::from(entry.ttl) * u64::from(prefetch.percent)).div_ceil(100);
        hits >= prefetch.hits && entry.left(now) <= threshold.cast_signed()
    }

    /// Refreshes an entry in the background, unless a refresh is running.
    pub(super) fn refresh_behind(
        self: &Arc<Self>,
        entry: &Entry,
        asked: &Asked<'_>,
        query: &Query<'_>,
        here: &Here<'_>,
    ) {
        let Some(runtime) = self.runtime.get() else { return };
        let Ok(place) = self.behind.clone().try_acquire_owned() else { return };
        let Some(refresh) = entry.begin_refresh(self.now()) else { return };
        let (inner, asked, counts) = (self.clone(), asked.clone().into_owned(), self.counts(here).clone());
        let below = here.below(without_client(query));
        counts.prefetches.inc();
        runtime.spawn(async move {
            let renewed = inner.renew(&asked, &refresh.entry, below.await, &counts);
            if let Some(fresh) = renewed.entry {
                fresh.inherit_hits(&refresh.entry);
            }
            refresh.end(inner.now(), inner.pause(renewed.pause, false));
            drop(place);
        });
    }

    /// Asks before a stale entry is served (`verify`), and waits as long as the timeout allows.
    /// Returns `None` if another query does that already, or if one failed a moment ago.
    ///
    /// With neither TIMEOUT nor RECHECK each query asks, as in CoreDNS; equal questions share one
    /// upstream query.
    pub(super) fn verify(
        self: &Arc<Self>,
        entry: &Entry,
        asked: &Asked<'_>,
        query: &Query<'_>,
        here: &Here<'_>,
    ) -> Option<Later> {
        let stale = self.options.stale;
        let timeout = stale.verify?;
        let is_alone = !timeout.is_zero() || !stale.recheck.is_zero();
        let refresh = if is_alone { entry.begin_refresh(self.now())? } else { entry.join_refresh(self.now())? };
        let patience = if timeout.is_zero() { PATIENCE } else { timeout };
        let (inner, counts, entry) = (self.clone(), self.counts(here).clone(), entry.clone());
        let asked = asked.clone().into_owned();
        let below = here.below(with_spare(query));
        let renewing = {
            let (inner, asked, counts) = (inner.clone(), asked.clone(), counts.clone());
            async move { inner.renew_and_end(&asked, below, refresh, &counts).await }
        };
        Some(Box::pin(async move {
            let renewed = match inner.runtime.get() {
                Some(runtime) => {
                    // Continues when the client stops waiting: the next client uses the result.
                    let (sender, receiver) = oneshot::channel();
                    runtime.spawn(async move { sender.send(renewing.await).map_err(|_| ()) });
                    tokio::time::timeout(patience, receiver).await.map(Result::ok)
                }
                None => tokio::time::timeout(patience, renewing).await.map(Some),
            };
            if renewed.is_err() {
                // No reply has come yet, and other clients need not wait as long.
                entry.pause(inner.now() + inner.pause(Pause::Unanswered, true));
            }
            let Ok(Some(Renewed { reply: Some(reply), entry: fresh, .. })) = renewed else {
                counts.stale.inc();
                return inner.serve(&entry, &asked, entry.left(inner.now()).min(0));
            };
            match fresh {
                Some(fresh) if !timeout.is_zero() => inner.serve(&fresh, &asked, fresh.left(inner.now())),
                _ => reply,
            }
        }))
    }

    async fn renew_and_end(&self, asked: &Asked<'_>, below: Later, refresh: Refresh, counts: &Counts) -> Renewed {
        let renewed = self.renew(asked, &refresh.entry, below.await, counts);
        refresh.end(self.now(), self.pause(renewed.pause, true));
        renewed
    }

    /// Applies the decision of [`rule`] to the reply and the old entry.
    fn renew(&self, asked: &Asked<'_>, old: &Entry, mut reply: Reply, counts: &Counts) -> Renewed {
        let class = self.classify(&reply, asked);
        let ttl = self.limit(&class, asked, &mut reply);
        let state = Old { is_true: old.left(self.now()) > 0, answers: old.answers };
        let ruling = rule(News::of(&reply, &class), ttl.is_some(), state, self.options.prefer_positive);
        let entry = match (ruling.keeps, ttl) {
            (Keeps::New | Keeps::Both, Some(ttl)) => self.keep(&class, asked, ttl, &reply, counts),
            _ => None,
        };
        let goes = match ruling.keeps {
            Keeps::Old | Keeps::Both => false,
            Keeps::New => entry.is_none(),
            Keeps::Neither => true,
        };
        if goes {
            self.store.forget(asked.key().as_slice());
        }
        if matches!(ruling.keeps, Keeps::New | Keeps::Neither) {
            // The old entry must not be refreshed again, even while its successor is queued.
            old.supersede();
        }
        Renewed { reply: ruling.gives_news.then_some(reply), entry, pause: ruling.pause }
    }
}

/// Returns the query to send down on a miss. It tells the upstream that AD is understood, so that
/// kept replies have it.
pub(super) fn downward(query: &Query<'_>) -> Query<'static> {
    let mut query = query.clone().into_owned();
    query.request.flags |= flag::AD;
    query
}

/// Returns a query whose client gets a stale answer if no fresh one comes.
fn with_spare(query: &Query<'_>) -> Query<'static> {
    let mut query = downward(query);
    query.has_spare = true;
    query
}

/// Returns a query for no client. It uses TCP, so that no reply is truncated.
fn without_client(query: &Query<'_>) -> Query<'static> {
    let mut query = downward(query);
    query.client.peer = Client::NOBODY;
    query.client.proto = Proto::Tcp;
    query
}
