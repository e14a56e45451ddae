//! One upstream: its sockets, its health and what is counted about it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::failure::{Failure, Kind};
use super::message::Sent;
use super::metrics::Counts;
use super::table::Outcome;
use super::transport::Transport;
use super::udp::Exchange;
use super::vitals::Vitals;
use crate::corefile::address::Transport as Scheme;
use crate::host::repeats::Repeats;
use crate::host::{Host, log};
use crate::wire::name::Name;

/// The plugin, as log lines name it.
pub(super) const FROM: &str = super::PLUGIN.name;

/// How long a probe waits. The answer to one that comes later still counts: whatever is heard ends the probing.
const PROBE_PATIENCE: Duration = Duration::from_millis(500);

/// Probes are not sent more often than this, whatever the Corefile says.
const PROBE_PAUSE: Duration = Duration::from_millis(10);

//----------- Upstream -------------------------------------------------------

/// One upstream.
pub(super) struct Upstream {
    /// Where it is and how it is reached.
    pub(super) address: Address,
    transport: Transport,
    counts: Counts,
    vitals: Arc<Vitals>,
    probing: AtomicBool,
    told: Repeats,
}

/// From one line that it is down to the next: at first and in the end.
const TOLD_AGAIN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

/// How a query travels.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// In a datagram.
    Udp,
    /// Over a connection.
    Tcp,
}

/// How the health of upstreams is watched.
#[derive(Debug, Clone)]
pub(super) struct Health {
    /// Failed probes that an upstream may have before it counts as down; 0 for any number, and no probes.
    pub(super) max_fails: u32,
    /// From one probe to the next.
    pub(super) interval: Duration,
    /// Whether probes ask for recursion.
    pub(super) recursion: bool,
    /// The name that probes ask about.
    pub(super) domain: Name,
    /// How probes travel.
    pub(super) way: Way,
}

impl Upstream {
    /// `transport` makes what carries queries, and notes there what it hears.
    pub(super) fn new(
        address: &Address,
        host: &Arc<Host>,
        transport: impl FnOnce(&Counts, &Arc<Vitals>) -> Transport,
    ) -> Self {
        let (counts, vitals) = (Counts::new(host, &address.to), Arc::<Vitals>::default());
        Self {
            address: address.clone(),
            transport: transport(&counts, &vitals),
            counts,
            vitals,
            probing: AtomicBool::new(false),
            told: Repeats::new(TOLD_AGAIN.0, TOLD_AGAIN.1),
        }
    }

    /// Sends a datagram, if that is a way to ask it. The answer is for [`Upstream::answered`].
    pub(super) fn datagram(&self, sent: &Arc<Sent>, runtime: &Handle) -> Option<Result<Exchange, Failure>> {
        let exchange = self.transport.datagram(sent, runtime)?;
        self.counts.request();
        Some(exchange)
    }

    /// Notes the answer to a query that was sent at `start`.
    pub(super) fn answered(&self, rcode: u16, start: Instant) {
        let now = Instant::now();
        let took = now.saturating_duration_since(start);
        self.counts.response(rcode, took);
        // An answer says as much as a probe.
        self.vitals.heard(took, now);
    }

    /// Asks once over a connection and waits for `patience`.
    pub(super) async fn ask(&self, sent: &Arc<Sent>, patience: Duration, runtime: &Handle) -> Outcome {
        let start = Instant::now();
        self.counts.request();
        let outcome = match self.vitals.doubts_case() {
            true => self.ask_about_case(sent, patience, runtime).await,
            false => self.transport.exchange(sent, Way::Tcp, patience, runtime).await,
        };
        if let Ok(answer) = &outcome {
            self.answered(answer.rcode, start);
        }
        outcome
    }

    /// Asks in random case, where nobody can forge the reply. If it comes in another case, asks as usual.
    async fn ask_about_case(&self, sent: &Arc<Sent>, patience: Duration, runtime: &Handle) -> Outcome {
        let (start, drawn) = (Instant::now(), Arc::new(sent.in_random_case()));
        match self.transport.exchange(&drawn, Way::Tcp, patience, runtime).await {
            Err(failure) if failure.kind == Kind::Forged => {
                self.vitals.settle_case(false);
                let left = patience.saturating_sub(start.elapsed());
                self.transport.exchange(sent, Way::Tcp, left, runtime).await
            }
            outcome => {
                if outcome.is_ok() && drawn.tells_of_case() {
                    self.vitals.settle_case(true);
                }
                outcome
            }
        }
    }

    /// The signs of life that are known.
    pub(super) fn vitals(&self) -> &Vitals {
        &self.vitals
    }

    /// An answer is late, or there is bad news: time to probe.
    pub(super) fn late(self: &Arc<Self>, health: &Arc<Health>, runtime: &Handle, now: Instant) {
        self.vitals.late(now);
        self.probe(health, runtime);
    }

    /// Whether others should be asked in its place: it failed too many probes, or is silent.
    pub(super) fn is_out(&self, health: &Health, now: Instant) -> bool {
        self.is_down(health) || self.vitals.is_silent(health.max_fails > 0, now)
    }

    /// Whether a reply may come in a datagram, truncated or forged. If not, `Way` makes no difference.
    pub(super) fn has_datagrams(&self) -> bool {
        self.transport.has_datagrams()
    }

    /// Whether no answer in hand should wait for it: it is out, and has been for a while.
    pub(super) fn is_gone(&self, health: &Health, now: Instant) -> bool {
        self.is_down(health) || self.vitals.is_long_silent(health.max_fails > 0, now)
    }

    /// Whether it failed too many probes.
    pub(super) fn is_down(&self, health: &Health) -> bool {
        health.max_fails > 0 && self.vitals.fails() > health.max_fails
    }

    /// Probes the upstream until it answers, unless that is going on already.
    fn probe(self: &Arc<Self>, health: &Arc<Health>, runtime: &Handle) {
        if health.max_fails == 0 || self.probing.swap(true, Ordering::AcqRel) {
            return;
        }
        let (weak, health, control) = (Arc::downgrade(self), health.clone(), runtime.clone());
        runtime.spawn(async move {
            loop {
                // Gone with its configuration.
                let Some(upstream) = weak.upgrade() else { return };
                let start = Instant::now();
                if upstream.is_alive(&health, &control).await {
                    return upstream.probing.store(false, Ordering::Release);
                }
                drop(upstream);
                tokio::time::sleep(health.interval.saturating_sub(start.elapsed()).max(PROBE_PAUSE)).await;
            }
        });
    }

    async fn is_alive(&self, health: &Health, runtime: &Handle) -> bool {
        let (probe, start) = (Arc::new(Sent::probe(&health.domain, health.recursion)), Instant::now());
        let outcome = self.transport.exchange(&probe, health.way, PROBE_PATIENCE, runtime).await;
        if outcome.is_ok() {
            let now = Instant::now();
            self.vitals.heard(now.saturating_duration_since(start), now);
        }
        let is_alive = self.vitals.is_heard_since(start);
        if !is_alive {
            self.counts.failed_probe();
            self.vitals.failed_probe();
        }
        self.tell(health, outcome.err());
        is_alive
    }

    /// Says after a probe that the upstream is down or that it answers again, once for each time.
    fn tell(&self, health: &Health, failure: Option<Failure>) {
        let (to, now) = (&self.address.to, tokio::time::Instant::now());
        if !self.is_down(health) {
            if let Some(after) = self.told.end("", now) {
                log::info(FROM, format_args!("upstream {to} answers again, after {}s", after.as_secs()));
            }
            return;
        }
        let fails = self.vitals.fails();
        if fails == health.max_fails + 1
            && let Some(failure) = failure
            && let Some(held_back) = self.told.allow("", now)
        {
            let why = &failure.text;
            log::warning(FROM, format_args!("upstream {to} is down, it failed {fails} probes: {why}{held_back}"));
        }
    }
}

//----------- Address --------------------------------------------------------

/// An upstream as the Corefile or a file names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Address {
    /// As metrics name it.
    pub(super) to: String,
    /// Where to send; port 0 where the Corefile's is none (CoreDNS accepts 99999 and fails later, and so do we).
    pub(super) socket: SocketAddr,
    /// How queries travel there.
    pub(super) scheme: Scheme,
    /// The name that its certificate has to show, if it is not the one of all upstreams.
    pub(super) server_name: Option<String>,
}
