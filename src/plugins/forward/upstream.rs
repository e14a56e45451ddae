//! One upstream: how it is reached, its health, and what is counted about it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::directive::Directive;
use super::health::Health;
use super::lateness::LATEST;
use super::metrics::Counts;
use crate::host::repeats::Repeats;
use crate::host::{Host, log};
use crate::remote::{Address, Dialer, Exchange, Failure, Outcome, Remote, Sent, Vitals};

/// How long a probe waits. The answer to one that comes later still counts: whatever is heard ends
/// the probing.
const PROBE_PATIENCE: Duration = Duration::from_millis(500);

/// Probes are not sent more often than this, whatever the Corefile says.
const PROBE_PAUSE: Duration = Duration::from_millis(10);

//----------- Upstream -------------------------------------------------------

/// One upstream.
pub(super) struct Upstream {
    /// Where it is.
    pub(super) address: Address,
    /// The directive, as log lines name it.
    from: &'static str,
    remote: Remote,
    counts: Counts,
    probing: AtomicBool,
    told: Repeats,
}

/// From one line that it is down to the next: at first and in the end.
const TOLD_AGAIN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(300));

impl Upstream {
    /// An upstream that nothing is known of; nothing is opened yet.
    pub(super) fn new(address: &Address, dialer: &Dialer, directive: &'static Directive, host: &Arc<Host>) -> Self {
        let counts = Counts::new(host, directive.families, &address.to);
        Self {
            from: directive.name,
            address: address.clone(),
            remote: dialer.remote(address, |proto| counts.reuse(proto)),
            counts,
            probing: AtomicBool::new(false),
            told: Repeats::new(TOLD_AGAIN.0, TOLD_AGAIN.1),
        }
    }

    /// Sends a datagram at `now`, whose answer is late after `late_after`. The answer is noted with
    /// [`Upstream::answered`]. Returns `None` if the upstream is not asked in datagrams.
    pub(super) fn datagram(
        &self,
        sent: &Arc<Sent>,
        now: Instant,
        late_after: Option<Duration>,
        runtime: &Handle,
    ) -> Option<Result<Exchange, Failure>> {
        let exchange = self.remote.datagram(sent, now, late_after, runtime)?;
        self.counts.request();
        Some(exchange)
    }

    /// Notes the answer to a query that was sent at `start`.
    pub(super) fn answered(&self, rcode: u16, start: Instant) {
        let now = Instant::now();
        let took = now.saturating_duration_since(start);
        self.counts.response(rcode, took);
        // An answer says as much as a probe.
        self.vitals().heard(took, now);
    }

    /// Asks once over a connection and waits for `patience`.
    pub(super) async fn ask(&self, sent: &Arc<Sent>, patience: Duration, runtime: &Handle) -> Outcome {
        let start = Instant::now();
        self.counts.request();
        let outcome = self.remote.connected(sent, patience, runtime).await;
        if let Ok(answer) = &outcome {
            self.answered(answer.rcode, start);
        }
        outcome
    }

    /// The signs of life that are known.
    pub(super) fn vitals(&self) -> &Vitals {
        self.remote.vitals()
    }

    /// An answer is late, or there is bad news: probing begins.
    pub(super) fn late(self: &Arc<Self>, health: &Arc<Health>, runtime: &Handle, now: Instant) {
        self.vitals().late(now);
        self.probe(health, runtime);
    }

    /// Whether others should be asked in its place: it failed too many probes, or is silent.
    pub(super) fn is_out(&self, health: &Health, now: Instant) -> bool {
        self.is_down(health) || self.vitals().is_silent(health.max_fails > 0, now)
    }

    /// Whether a reply may come in a datagram, truncated or forged. If not, `Way` makes no
    /// difference.
    pub(super) fn has_datagrams(&self) -> bool {
        self.remote.has_datagrams()
    }

    /// Whether no answer in hand should wait for it: it is out, and has been for a while.
    pub(super) fn is_gone(&self, health: &Health, now: Instant) -> bool {
        self.is_down(health) || self.vitals().is_silent_for(LATEST, health.max_fails > 0, now)
    }

    /// Whether it failed too many probes.
    pub(super) fn is_down(&self, health: &Health) -> bool {
        health.max_fails > 0 && self.vitals().fails() > health.max_fails
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
        let outcome = self.remote.exchange(&probe, health.way, PROBE_PATIENCE, runtime).await;
        if outcome.is_ok() {
            let now = Instant::now();
            self.vitals().heard(now.saturating_duration_since(start), now);
        }
        let is_alive = self.vitals().is_heard_since(start);
        if !is_alive {
            self.counts.failed_probe();
            self.vitals().failed_probe();
        }
        self.tell(health, outcome.err());
        is_alive
    }

    /// Says after a probe that the upstream is down or that it answers again, once for each time.
    fn tell(&self, health: &Health, failure: Option<Failure>) {
        let (to, now) = (&self.address.to, tokio::time::Instant::now());
        if !self.is_down(health) {
            if let Some(after) = self.told.end("", now) {
                log::info(self.from, format_args!("upstream {to} answers again, after {}s", after.as_secs()));
            }
            return;
        }
        let fails = self.vitals().fails();
        if fails == health.max_fails + 1
            && let Some(failure) = failure
            && let Some(held_back) = self.told.allow("", now)
        {
            let why = &failure.text;
            log::warning(self.from, format_args!("upstream {to} is down, it failed {fails} probes: {why}{held_back}"));
        }
    }
}
