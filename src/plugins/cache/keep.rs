//! What becomes of a reply that passes: one TTL for all of it, and a place in the store.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::Semaphore;

use super::asked::Asked;
use super::class::{self, Class, Kind};
use super::entry::Entry;
use super::metrics::Counts;
use super::setup::{Limits, Options};
use super::store::Store;
use crate::chain::{Here, Reply};
use crate::host::Host;
use crate::wire::own::own;
use crate::wire::reply::{Origin, ede};
use crate::wire::request::flag;
use crate::wire::select::select;

/// The TTL of what says nothing about its own, in seconds.
const NO_TTL: u32 = 5;

/// Whoever gets a stale answer shall ask again soon (RFC 8767 section 4); the operator may say otherwise.
const MOST_STALE_TTL: u32 = 30;

/// The pause after an attempt in the background that nobody has answered: the least that RFC 9520 section 3.2 allows.
const UNANSWERED: Duration = Duration::from_secs(1);

//----------- Inner ----------------------------------------------------------

/// The cache of one server block, shared with what refreshes its entries.
pub(super) struct Inner {
    pub(super) options: Options,
    pub(super) store: Arc<Store>,
    pub(super) host: Arc<Host>,
    /// Where refreshing goes on; known once the configuration is live.
    pub(super) runtime: OnceLock<Handle>,
    /// Places for questions that are asked in the background.
    pub(super) behind: Arc<Semaphore>,
    /// By listener of the block.
    pub(super) counts: Vec<OnceLock<Arc<Counts>>>,
}

impl Inner {
    /// The time that entries are measured by.
    pub(super) fn now(&self) -> Duration {
        self.host.clock.now()
    }

    /// What is counted for the listener that a query came to.
    pub(super) fn counts(&self, here: &Here<'_>) -> &Arc<Counts> {
        let slot = &self.counts[here.site.ordinal.min(self.counts.len() - 1)];
        slot.get_or_init(|| Counts::new(&self.host, &here.listener.server, &self.options.label, &self.store))
    }

    /// Lets `look` at the entry to answer with, if there is one.
    pub(super) fn with<R>(&self, key: &[u8], now: Duration, look: impl Fn(&Arc<Entry>) -> R) -> Option<R> {
        self.store.with(key, now, (self.options.stale.up_to, self.options.prefer_positive), look)
    }

    /// Prepares a reply for the client, and keeps it if it may be kept. Returns the entry.
    ///
    /// Answers from memory are limited alike, and never kept: they are always true.
    pub(super) fn pass(&self, asked: &Asked, reply: &mut Reply, counts: &Counts) -> Option<Arc<Entry>> {
        let class = self.classify(reply, asked);
        self.pass_as(&class, asked, reply, counts)
    }

    /// The same for a reply whose class is known.
    pub(super) fn pass_as(
        &self,
        class: &Class,
        asked: &Asked,
        reply: &mut Reply,
        counts: &Counts,
    ) -> Option<Arc<Entry>> {
        let limits = if class.kind.is_denial() { &self.options.denial } else { &self.options.success };
        if !reply.answer.options.is_empty() {
            // Options are between neighbours (RFC 6891 section 6.1.1).
            Arc::make_mut(&mut reply.answer).options.clear();
        }
        if !asked.wants_ad {
            reply.cleared |= flag::AD;
        }
        if limits.except.iter().any(|zone| asked.name.is_under(zone)) {
            return None;
        }
        let ttl = self.ttl(class.kind, reply, limits);
        reply.ttl = Some(ttl);
        if !class.keeps || ttl == 0 {
            return None;
        }
        // Whoever asked gets what came; what is kept is what belongs to the question.
        let kept = match &class.selected {
            Some(indexes) => Arc::new(select(&reply.answer, (&asked.name, asked.qtype, asked.qclass), indexes)?),
            None => reply.answer.clone(),
        };
        let key: Arc<[u8]> = asked.key().as_slice().into();
        let mut entry = Entry::new((self.store.number, key), reply, class, ttl, self.now());
        entry.answer = kept;
        if self.options.prefer_positive && !entry.answers && !class.kind.is_denial() {
            entry.good =
                self.store.success(&entry.key).and_then(|old| if old.answers { Some(old) } else { old.good.clone() });
        }
        let entry = Arc::new(entry);
        self.store.keep(&entry, self.now(), self.options.prefer_positive);
        counts.stored();
        Some(entry)
    }

    /// What a reply is.
    pub(super) fn classify(&self, reply: &Reply, asked: &Asked) -> Class {
        class::classify(reply, asked, self.host.clock.seconds_since_1970())
    }

    /// How long nobody asks again after a failure: as long as the failure itself would be kept, so that a name that
    /// fails costs the same with and without a stale answer.
    pub(super) fn pause(&self) -> Duration {
        self.options.stale.recheck.max(Duration::from_secs(u64::from(self.options.failure)))
    }

    /// The same for an attempt in the background that came to `reply`. Where nobody has answered, the pause is short:
    /// it takes long to find that out, and `forward` asks nobody of whom it knows that he is gone.
    pub(super) fn pause_after(&self, reply: &Reply) -> Duration {
        if reply.origin == Origin::Fetched { self.pause() } else { self.options.stale.recheck.max(UNANSWERED) }
    }

    /// The one TTL of a reply: the lowest of all its records, within the limits.
    fn ttl(&self, kind: Kind, reply: &Reply, limits: &Limits) -> u32 {
        let lowest = || reply.ttl.filter(|_| reply.answer.min_ttl().is_some()).or_else(|| reply.answer.min_ttl());
        let own = match kind {
            Kind::Failure => return self.options.failure,
            Kind::Answer | Kind::NoData | Kind::NoName => lowest().unwrap_or(NO_TTL),
            Kind::Delegation | Kind::Other => NO_TTL,
        };
        own.max(limits.min).min(limits.max)
    }

    /// The reply that an entry makes, `left` seconds before it is stale.
    pub(super) fn serve(&self, entry: &Entry, asked: &Asked, left: i64) -> Reply {
        let ttl = match left {
            ..=0 if self.options.stale.ttl > 0 => self.options.stale.ttl,
            ..=0 if self.options.keep_ttl => entry.ttl.min(MOST_STALE_TTL),
            _ if self.options.keep_ttl => entry.ttl,
            _ => u32::try_from(left).unwrap_or(0),
        };
        let mut reply = Reply::fetched(own(&entry.answer));
        reply.ttl = Some(ttl);
        reply.cleared = if asked.wants_ad { 0 } else { flag::AD };
        if let Some((code, text)) = &entry.error {
            reply = reply.with_error(*code, text.clone());
        }
        if left <= 0 {
            let code = if entry.kind == Kind::NoName { ede::STALE_NXDOMAIN } else { ede::STALE_ANSWER };
            reply = reply.with_error(code, "");
        }
        reply
    }
}

/// Whether a reply holds news about the name, and not only that somebody failed.
pub(super) fn is_news(reply: &Reply) -> bool {
    !reply.is_truncated() && reply.origin != Origin::Server
}
