//! How a reply is processed: it gets one TTL and a place in the store.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::Semaphore;

use super::asked::Asked;
use super::class::{self, Class, Kind};
use super::entry::{Entry, Kept};
use super::metrics::{Counts, Entries};
use super::ruling::Pause;
use super::setup::{Limits, Options};
use super::store::Store;
use crate::chain::control::Control;
use crate::chain::per_listener::PerListener;
use crate::chain::{Here, Reply};
use crate::host::Host;
use crate::wire::reply::ede;
use crate::wire::request::flag;
use crate::wire::select::select;

/// The TTL of replies that state none, in seconds.
const NO_TTL: u32 = 5;

/// Clients with a stale answer should ask again soon (RFC 8767 section 4); the operator may change
/// this.
const MOST_STALE_TTL: u32 = 30;

/// The pause after an attempt that no server answered and no client waited for: the minimum of
/// RFC 9520 section 3.2.
const UNANSWERED: Duration = Duration::from_secs(1);

//----------- Inner ----------------------------------------------------------

/// The cache of one server block, shared with the tasks that refresh its entries.
pub(super) struct Inner {
    pub(super) options: Options,
    pub(super) store: Arc<Store>,
    pub(super) host: Arc<Host>,
    /// The runtime for refreshes; known once the configuration is live.
    pub(super) runtime: Control,
    /// Places for background queries.
    pub(super) behind: Arc<Semaphore>,
    pub(super) counts: PerListener<Arc<Counts>>,
}

impl Inner {
    /// Returns the current time of the entries' clock.
    pub(super) fn now(&self) -> Duration {
        self.host.clock.now()
    }

    /// Returns the counters of the listener that received the query.
    pub(super) fn counts(&self, here: &Here<'_>) -> &Arc<Counts> {
        self.counts.get(here, |server| self.counts_of(server))
    }

    fn counts_of(&self, server: &str) -> Arc<Counts> {
        Arc::new(Counts::new(&self.host, server, [&self.options.label, &self.options.view], &self.store))
    }

    /// Shows all metrics of the block's listeners, by ordinal. The number of entries is shown until
    /// the returned values are dropped.
    pub(super) fn show(&self, servers: &[String]) -> Vec<Arc<Entries>> {
        let each = servers.iter().enumerate().map(|(ordinal, server)| {
            self.counts.at(ordinal, || self.counts_of(server));
            Entries::shown(&self.host, server, [&self.options.label, &self.options.view], &self.store)
        });
        each.collect()
    }

    /// Calls `look` with the entry to answer with, if there is one.
    pub(super) fn with<R>(&self, key: &[u8], now: Duration, look: impl Fn(&Entry) -> R) -> Option<R> {
        self.store.with(key, now, self.options.stale.up_to, self.options.prefer_positive, look)
    }

    /// Prepares a reply for the client, and keeps it if that is allowed.
    ///
    /// Answers from memory have the same limits and are never kept, since they are always current.
    pub(super) fn pass(&self, asked: &Asked<'_>, reply: &mut Reply, counts: &Counts) {
        let class = self.classify(reply, asked);
        if let Some(ttl) = self.limit(&class, asked, reply) {
            self.keep(&class, asked, ttl, reply, counts);
        }
    }

    /// Prepares a reply for the client. Returns the TTL to keep it with, in seconds, if it may be
    /// kept.
    pub(super) fn limit(&self, class: &Class, asked: &Asked<'_>, reply: &mut Reply) -> Option<u32> {
        let limits = if class.kind.is_denial() { &self.options.denial } else { &self.options.success };
        if !reply.answer.options.is_empty() {
            // Options concern one hop only (RFC 6891 section 6.1.1).
            Arc::make_mut(&mut reply.answer).options.clear();
        }
        if !asked.wants_ad {
            reply.clear_flags(flag::AD);
        }
        if limits.except.iter().any(|zone| asked.question.name.is_under(zone)) {
            return None;
        }
        let ttl = self.ttl(class.kind, reply, limits);
        reply.ttl = Some(ttl);
        (class.keeps && ttl > 0).then_some(ttl)
    }

    /// Keeps a prepared reply for `ttl` seconds. Returns its entry, or `None` if the records to
    /// keep cannot be read.
    pub(super) fn keep(
        &self,
        class: &Class,
        asked: &Asked<'_>,
        ttl: u32,
        reply: &Reply,
        counts: &Counts,
    ) -> Option<Entry> {
        // The client gets the reply as it came; only records that belong to the question are kept.
        let mut kept = match &class.selected {
            Some(indexes) => Cow::Owned(select(&reply.answer, &asked.question, indexes)?),
            None => Cow::Borrowed(&*reply.answer),
        };
        // Changes that plugins below made to AA and RA are kept as well, as in CoreDNS.
        let changed = (reply.flags() ^ kept.flags) & (flag::AA | flag::RA);
        if changed != 0 {
            kept.to_mut().flags ^= changed;
        }
        let key = asked.key();
        let key = key.as_slice();
        let mut good = None;
        if self.options.prefer_positive && !class.answers && !class.kind.is_denial() {
            good = self.store.success(key).and_then(|old| if old.answers { Some(old) } else { old.good.clone() });
        }
        let store = self.store.number;
        let entry = Entry::new(Kept { store, key, reply, class, answer: &kept, good, ttl }, self.now());
        if !self.store.keep(&entry, self.now(), self.options.prefer_positive) {
            return None;
        }
        counts.stored();
        Some(entry)
    }

    /// Classifies a reply.
    pub(super) fn classify(&self, reply: &Reply, asked: &Asked<'_>) -> Class {
        class::classify(reply, asked, || self.host.clock.seconds_since_1970())
    }

    /// Returns the pause before the next attempt; `waits` says whether a client waits. After a
    /// failure it is the time for which failures are kept, so that a failing name costs the same
    /// with and without a stale answer.
    pub(super) fn pause(&self, pause: Pause, waits: bool) -> Duration {
        let least = match pause {
            Pause::No => return Duration::ZERO,
            Pause::Unanswered if waits => Duration::from_secs(u64::from(self.options.failure)),
            Pause::Long => Duration::from_secs(u64::from(self.options.failure)),
            Pause::Short | Pause::Unanswered => UNANSWERED,
        };
        self.options.stale.recheck.max(least)
    }

    /// Returns the TTL of a reply: the lowest of its records, within the limits.
    fn ttl(&self, kind: Kind, reply: &Reply, limits: &Limits) -> u32 {
        let lowest = || reply.ttl.filter(|_| reply.answer.min_ttl().is_some()).or_else(|| reply.answer.min_ttl());
        let own = match kind {
            Kind::Failure => return self.options.failure,
            Kind::Answer | Kind::NoData | Kind::NoName => lowest().unwrap_or(NO_TTL),
            Kind::Delegation | Kind::Other => NO_TTL,
        };
        own.max(limits.min).min(limits.max)
    }

    /// Returns the reply that an entry makes, `left` seconds before it is stale.
    pub(super) fn serve(&self, entry: &Entry, asked: &Asked<'_>, left: i64) -> Reply {
        let ttl = match left {
            ..=0 if self.options.stale.ttl > 0 => self.options.stale.ttl,
            ..=0 if self.options.keep_ttl => entry.ttl.min(MOST_STALE_TTL),
            _ if self.options.keep_ttl => entry.ttl,
            _ => u32::try_from(left).unwrap_or(0),
        };
        let mut reply = Reply::fetched(entry.answer());
        reply.ttl = Some(ttl);
        if !asked.wants_ad {
            reply.clear_flags(flag::AD);
        }
        if let Some((code, text)) = entry.error.as_deref() {
            reply = reply.with_error(*code, text.clone());
        }
        if left <= 0 {
            let code = if entry.kind == Kind::NoName { ede::STALE_NXDOMAIN } else { ede::STALE_ANSWER };
            reply = reply.with_error(code, "");
        }
        reply
    }
}
