//! One `forward` or `grpc` directive: the queries that it takes, and how one is asked until an
//! upstream answers.

use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Instant;

use tokio::runtime::Handle;

use super::budget::Budget;
use super::directive::Directive;
use super::flight::{Flights, Part};
use super::forwarded::Forwarded;
use super::metrics::Total;
use super::options::Options;
use super::race::{Race, Rules};
use super::resolved::Resolved;
use super::to::To;
use super::upstreams::Upstreams;
use crate::chain::{Proto, Query, Reply};
use crate::host::Host;
use crate::host::permit::Permit;
use crate::remote::Way;
use crate::wire::request::flag;
use crate::wire::types::rcode;

/// One of them in a server block.
pub(super) struct Forward {
    pub(super) options: Options,
    pub(super) upstreams: Upstreams,
    flights: Flights,
    pub(super) budget: Budget,
    running: Arc<AtomicUsize>,
    total: Total,
}

impl Forward {
    pub(super) fn new(directive: &'static Directive, options: Options, entries: Vec<To>, host: &Arc<Host>) -> Self {
        Self {
            upstreams: Upstreams::new(directive, entries, options.remote.clone(), host),
            options,
            flights: Flights::default(),
            budget: Budget::default(),
            running: Arc::default(),
            total: Total::new(host),
        }
    }

    /// Whether the query is for these upstreams.
    pub(super) fn matches(&self, query: &Query<'_>) -> bool {
        let (from, except) = (&self.options.from, &self.options.except);
        let is_below = |zone| query.question.name.is_under(zone);
        from.iter().any(is_below) && (from.contains(&query.question.name) || !except.iter().any(is_below))
    }

    /// Counts a query for `max_concurrent`, until the permit is dropped. Without that option there
    /// is nothing to count.
    ///
    /// # Errors
    /// The reply when there are too many.
    pub(super) fn permit(&self) -> Result<Option<Permit>, Reply> {
        let Some((most, text)) = &self.options.max_concurrent else { return Ok(None) };
        Permit::take(&self.running, *most).map(Some).ok_or_else(|| {
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
            Proto::Tcp | Proto::Quic => Way::Tcp,
        }
    }

    /// Asks, or waits for another task that asks the same.
    ///
    /// Queries in the background are not sent to upstreams that are known to be down: their probes
    /// find out when they are back, however many names wait for that.
    pub(super) async fn resolve(&self, query: &Forwarded, mut way: Way, runtime: &Handle) -> Resolved {
        if query.in_background && self.are_all_out() {
            return Resolved::failed(None);
        }
        loop {
            match self.flights.join(query, way == Way::Tcp) {
                Part::Lead(lead) => {
                    let resolved = self.exchange(query, way, runtime).await;
                    lead.land(&resolved);
                    return resolved;
                }
                Part::Follow(answer) => {
                    if let Ok(resolved) = answer.await {
                        return resolved;
                    }
                    // The task that asked was dropped before the answer came.
                }
                Part::Known(resolved) => return resolved,
                Part::Crowded => way = Way::Tcp,
                Part::Shed => return Reply::failure(rcode::SERVFAIL, "too many queries in flight").into(),
            }
        }
    }

    /// Asks the upstream whose turn it is. Most questions are settled by one datagram and its
    /// answer; the others become a race.
    async fn exchange(&self, query: &Forwarded, way: Way, runtime: &Handle) -> Resolved {
        let (upstreams, start) = (self.upstreams.load(), Instant::now());
        if upstreams.is_empty() {
            // Host names whose addresses are not known yet.
            return Resolved::failed(None);
        }
        let health = &self.options.health;
        let turn = self.options.policy.first(upstreams.len());
        let mut turns = (turn..upstreams.len()).chain(0..turn);
        let first = turns.find(|&at| !upstreams[at].is_out(health, start));
        if first.is_none() && upstreams.iter().all(|upstream| upstream.is_down(health)) {
            self.total.broken.inc();
            if self.options.failfast {
                return Resolved::failed(None);
            }
        }
        let at = first.unwrap_or(turn);
        let upstream = &upstreams[at];
        self.budget.earn(upstream.vitals().is_lossy());
        let late = Some(self.rules().lateness(upstream, upstreams.len()));
        let datagram = if way == Way::Udp { upstream.datagram(&query.sent, start, late, runtime) } else { None };
        let race = || Race::new(self.rules(), query, way, start, &upstreams, at, runtime);
        // What is made here has no room in the future of each question: races are boxed, and few.
        let Some(mut sent_off) = datagram else {
            let race = race().begin();
            return race.await;
        };
        let outcome = match &mut sent_off {
            Ok(exchange) => exchange.until_late().await,
            Err(_) => None,
        };
        let race = match outcome {
            Some(Ok(answer)) if answer.flags & flag::TC == 0 && !self.options.failover.contains(&answer.rcode) => {
                upstream.answered(answer.rcode, start);
                return Resolved::answered(answer, &self.options, &upstream.address.to);
            }
            outcome => race().go_on(sent_off, outcome),
        };
        race.await
    }

    /// What a race keeps to.
    pub(super) fn rules(&self) -> Rules<'_> {
        Rules { options: &self.options, budget: &self.budget }
    }

    /// Whether all upstreams are out, and probed.
    fn are_all_out(&self) -> bool {
        let (health, now) = (&self.options.health, Instant::now());
        health.max_fails > 0 && self.upstreams.load().iter().all(|upstream| upstream.is_out(health, now))
    }
}
