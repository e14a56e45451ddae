//! One question, asked until somebody answers: which upstream, how often, for how long.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

use super::budget::Budget;
use super::failure::Failure;
use super::flight::{Flights, Part};
use super::follow::Listed;
use super::link::Place;
use super::message::Sent;
use super::metrics::Total;
use super::options::Options;
use super::race::Race;
use super::to::To;
use super::transport::Dialer;
use super::upstream::{Address, Upstream, Way};
use crate::chain::{Proto, Query, Reply};
use crate::host::Host;
use crate::wire::answer::{Answer, Section};
use crate::wire::reply::{Origin, ede};
use crate::wire::request::flag;
use crate::wire::types::rcode;

//----------- Forward --------------------------------------------------------

/// One `forward` of a server block.
pub(super) struct Forward {
    pub(super) options: Options,
    pub(super) entries: Vec<To>,
    /// What each of the entries names now.
    pub(super) lists: Mutex<Vec<Listed>>,
    pub(super) upstreams: ArcSwap<Vec<Arc<Upstream>>>,
    pub(super) dialer: Dialer,
    flights: Flights,
    pub(super) budget: Budget,
    running: Arc<AtomicUsize>,
    total: Total,
    pub(super) host: Arc<Host>,
}

/// What became of a question.
#[derive(Clone)]
pub(super) struct Resolved {
    /// An answer, or the reason why there is none.
    pub(super) reply: Reply,
    /// Whether the next `forward` shall be asked, if there is one.
    pub(super) passes_on: bool,
}

impl Resolved {
    /// Whether nobody has answered.
    fn is_failure(&self) -> bool {
        self.reply.origin != Origin::Fetched
    }
}

impl From<Reply> for Resolved {
    fn from(reply: Reply) -> Self {
        Self { reply, passes_on: false }
    }
}

/// A query that is being worked on, as `max_concurrent` counts them.
pub(super) struct Slot(#[allow(dead_code, reason = "held for its drop")] Option<Place>);

#[cfg(test)]
impl Slot {
    /// A query that nobody counts.
    pub(super) fn none() -> Self {
        Self(None)
    }
}

impl Forward {
    pub(super) fn new(options: Options, entries: Vec<To>, host: &Arc<Host>) -> Self {
        let forward = Self {
            options,
            lists: Mutex::new(entries.iter().map(Listed::of).collect()),
            entries,
            upstreams: ArcSwap::default(),
            dialer: Dialer::default(),
            flights: Flights::default(),
            budget: Budget::default(),
            running: Arc::default(),
            total: Total::new(host),
            host: host.clone(),
        };
        let addresses: Vec<Vec<Address>> = forward.entries.iter().map(To::addresses).collect();
        forward.use_upstreams(&addresses.concat());
        forward
    }

    /// Whether the query is for these upstreams.
    pub(super) fn matches(&self, query: &Query<'_>) -> bool {
        let (from, except) = (&self.options.from, &self.options.except);
        let is_below = |zone| query.name.is_under(zone);
        from.iter().any(is_below) && (from.contains(&query.name) || !except.iter().any(is_below))
    }

    /// A place among the queries that are worked on.
    ///
    /// # Errors
    /// The reply when there are too many.
    pub(super) fn slot(&self) -> Result<Slot, Reply> {
        let Some((most, text)) = &self.options.max_concurrent else { return Ok(Slot(None)) };
        Place::take(&self.running, *most).map(|place| Slot(Some(place))).ok_or_else(|| {
            self.total.rejects.inc();
            Reply::failure(rcode::REFUSED, format!("concurrent queries exceeded maximum {text}"))
        })
    }

    /// Whether some answers are left to the next `forward`.
    pub(super) fn may_pass_on(&self) -> bool {
        self.options.next_on_nodata || !self.options.next.is_empty()
    }

    /// How a query of this client goes upstream.
    pub(super) fn way(&self, client: Proto) -> Way {
        match client {
            _ if self.options.force_tcp => Way::Tcp,
            _ if self.options.prefer_udp => Way::Udp,
            Proto::Udp => Way::Udp,
            Proto::Tcp => Way::Tcp,
        }
    }

    /// Asks, or waits for somebody who asks the same.
    ///
    /// What no client waits for, or has an older answer to, is not sent to upstreams that are known to be down: their
    /// probes find out when they are back, however many names wait for that.
    pub(super) async fn resolve(&self, sent: &Arc<Sent>, way: Way, runtime: &Handle) -> Resolved {
        if sent.is_in_background() && self.are_all_gone() {
            return failed(None).into();
        }
        loop {
            match self.flights.join(sent, way == Way::Tcp) {
                Part::Lead(lead) => {
                    let resolved = self.ask(sent, way, runtime).await;
                    lead.land(&resolved, resolved.is_failure());
                    return resolved;
                }
                Part::Follow(answer) => {
                    if let Ok(resolved) = answer.await {
                        return resolved;
                    }
                    // Whoever asked went away before the answer came.
                }
                Part::Known(resolved) => return resolved,
                Part::Shed => return Reply::failure(rcode::SERVFAIL, "too many queries in flight").into(),
            }
        }
    }

    /// Asks the upstream whose turn it is. Most questions are settled by one datagram and its answer; what is not
    /// becomes a race.
    async fn ask(&self, sent: &Arc<Sent>, way: Way, runtime: &Handle) -> Resolved {
        let (upstreams, start) = (self.upstreams.load_full(), Instant::now());
        if upstreams.is_empty() {
            // A host name whose addresses nobody knows yet.
            return failed(None).into();
        }
        let health = &self.options.health;
        let turn = self.options.policy.first(upstreams.len());
        let mut turns = (turn..upstreams.len()).chain(0..turn);
        let first = turns.find(|&at| !upstreams[at].is_out(health, start));
        if first.is_none() && upstreams.iter().all(|upstream| upstream.is_down(health)) {
            self.total.broken.inc();
            if self.options.failfast {
                return failed(None).into();
            }
        }
        let at = first.unwrap_or(turn);
        let upstream = &upstreams[at];
        self.budget.earn(upstream.vitals().is_lossy());
        let datagram = if way == Way::Udp { upstream.datagram(sent, runtime) } else { None };
        let Some(mut sent_off) = datagram else {
            return Race::new(self, (sent, way, start), (&upstreams, at), runtime).begin().await;
        };
        let mut outcome = None;
        if let Ok(exchange) = &mut sent_off {
            let late = self.lateness(upstream, upstreams.len());
            outcome = tokio::time::timeout(late, exchange).await.ok();
        }
        match outcome {
            Some(Ok(answer)) if answer.flags & flag::TC == 0 && !self.options.failover.contains(&answer.rcode) => {
                upstream.answered(answer.rcode, start);
                self.relay(answer)
            }
            outcome => Race::new(self, (sent, way, start), (&upstreams, at), runtime).go_on(sent_off, outcome).await,
        }
    }

    /// Whether all upstreams are out, and probed.
    fn are_all_gone(&self) -> bool {
        let (health, now) = (&self.options.health, Instant::now());
        health.max_fails > 0 && self.upstreams.load().iter().all(|upstream| upstream.is_out(health, now))
    }

    /// After how long an answer of one of `count` upstreams is late.
    pub(super) fn lateness(&self, upstream: &Upstream, count: usize) -> Duration {
        upstream.vitals().lateness(count == 1).min(self.options.read_timeout)
    }

    pub(super) fn relay(&self, answer: Answer) -> Resolved {
        let is_empty = answer.rcode == rcode::NOERROR && answer.section(Section::Answer).next().is_none();
        let passes_on = self.options.next.contains(&answer.rcode) || self.options.next_on_nodata && is_empty;
        Resolved { reply: Reply::fetched(Arc::new(answer)), passes_on }
    }
}

/// The reply when nobody answered.
pub(super) fn failed(last: Option<Failure>) -> Reply {
    let (cause, error) = match last {
        None => ("no healthy proxies".to_owned(), (ede::NO_REACHABLE_AUTHORITY, "no upstream is up")),
        Some(failure) => (failure.text.as_ref().to_owned(), failure.extended()),
    };
    Reply::failure(rcode::SERVFAIL, cause).with_error(error.0, error.1)
}
