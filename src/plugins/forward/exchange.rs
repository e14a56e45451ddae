//! One question, asked until somebody answers: which upstream, how often, for how long.

use std::sync::atomic::AtomicUsize;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use rand::seq::IndexedRandom;
use tokio::runtime::Handle;

use super::failure::Failure;
use super::flight::{Flights, Part};
use super::follow::Listed;
use super::link::Place;
use super::message::Sent;
use super::metrics::Total;
use super::setup::Options;
use super::to::To;
use super::transport::Dialer;
use super::upstream::{Address, Upstream, Way};
use crate::chain::{Proto, Query, Reply};
use crate::host::Host;
use crate::wire::answer::{Answer, Section};
use crate::wire::reply::ede;
use crate::wire::request::flag;
use crate::wire::types::rcode;

/// All tries of one query together. Most clients give up after 5 seconds, and a reply in time says why.
const BUDGET: Duration = Duration::from_millis(4_500);

/// The one try that is made when all upstreams are down.
const LAST_TRY: Duration = Duration::from_millis(1_500);

/// Failed tries of one query for each upstream, unless `max_connect_attempts` says otherwise.
const TRIES_PER_UPSTREAM: usize = 2;

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

impl From<Reply> for Resolved {
    fn from(reply: Reply) -> Self {
        Self { reply, passes_on: false }
    }
}

/// A query that is being worked on, as `max_concurrent` counts them.
pub(super) struct Slot(#[allow(dead_code, reason = "held for its drop")] Option<Place>);

impl Forward {
    pub(super) fn new(options: Options, entries: Vec<To>, host: &Arc<Host>) -> Self {
        let forward = Self {
            options,
            lists: Mutex::new(entries.iter().map(Listed::of).collect()),
            entries,
            upstreams: ArcSwap::default(),
            dialer: Dialer::default(),
            flights: Flights::default(),
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
    pub(super) async fn resolve(&self, sent: &Arc<Sent>, way: Way, runtime: &Handle) -> Resolved {
        let key = sent.key(way == Way::Tcp);
        loop {
            match self.flights.join(&key) {
                Part::Lead(lead) => {
                    let resolved = self.ask(sent, way, runtime).await;
                    lead.land(&resolved);
                    return resolved;
                }
                Part::Follow(answer) => {
                    if let Ok(resolved) = answer.await {
                        return resolved;
                    }
                    // Whoever asked went away before the answer came.
                }
                Part::Shed => return Reply::failure(rcode::SERVFAIL, "too many queries in flight").into(),
            }
        }
    }

    /// Tries one upstream after the other.
    async fn ask(&self, sent: &Arc<Sent>, way: Way, runtime: &Handle) -> Resolved {
        let upstreams = self.upstreams.load_full();
        let order = self.options.policy.order(upstreams.len());
        let deadline = Instant::now() + BUDGET;
        let most_tries = self.options.max_tries.unwrap_or(TRIES_PER_UPSTREAM * upstreams.len());
        let (mut tries, mut failovers, mut last) = (0, 0, None);
        let mut turns = order.iter().map(|&at| &upstreams[at]).cycle();
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            let up = turns.by_ref().take(upstreams.len()).find(|upstream| !upstream.is_down(&self.options.health));
            let all_down = up.is_none();
            if all_down {
                self.total.broken.inc();
                if self.options.failfast {
                    break;
                }
            }
            // With all down, the probes may be wrong: one of them gets one try.
            let Some(upstream) = up.or_else(|| upstreams.choose(&mut rand::rng())) else { break };
            let patience = left.min(self.options.read_timeout).min(if all_down { LAST_TRY } else { left });
            match self.ask_one(upstream, sent, way, (patience, runtime)).await {
                Ok(answer) => {
                    let fails_over = self.options.failover.contains(&answer.rcode);
                    failovers += usize::from(fails_over);
                    if !fails_over || failovers >= upstreams.len() {
                        return self.relay(answer);
                    }
                }
                Err(failure) => {
                    upstream.probe(&self.options.health, runtime);
                    last = Some(failure);
                    tries += 1;
                    if all_down || tries == most_tries {
                        break;
                    }
                }
            }
        }
        failed(last).into()
    }

    async fn ask_one(
        &self,
        upstream: &Upstream,
        sent: &Arc<Sent>,
        way: Way,
        (patience, runtime): (Duration, &Handle),
    ) -> Result<Answer, Failure> {
        let answer = upstream.ask(sent, way, patience, runtime).await?;
        if answer.flags & flag::TC != 0 && way == Way::Udp && upstream.has_datagrams() && self.options.prefer_udp {
            return upstream.ask(sent, Way::Tcp, patience, runtime).await;
        }
        Ok(answer)
    }

    fn relay(&self, answer: Answer) -> Resolved {
        let is_empty = answer.rcode == rcode::NOERROR && answer.section(Section::Answer).next().is_none();
        let passes_on = self.options.next.contains(&answer.rcode) || self.options.next_on_nodata && is_empty;
        Resolved { reply: Reply::fetched(Arc::new(answer)), passes_on }
    }
}

/// The reply when nobody answered.
fn failed(last: Option<Failure>) -> Reply {
    let (cause, error) = match last {
        None => ("no healthy proxies".to_owned(), (ede::NO_REACHABLE_AUTHORITY, "no upstream is up")),
        Some(failure) => (failure.text.as_ref().to_owned(), failure.extended()),
    };
    Reply::failure(rcode::SERVFAIL, cause).with_error(error.0, error.1)
}
