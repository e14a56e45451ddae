//! One upstream: its sockets, its health and what is counted about it.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::message::Sent;
use super::metrics::Counts;
use super::table::Outcome;
use super::transport::Transport;
use crate::corefile::address::Transport as Scheme;
use crate::host::Host;
use crate::wire::name::Name;

/// How long a probe waits.
const PROBE_PATIENCE: Duration = Duration::from_secs(1);

/// Probes are not sent more often than this, whatever the Corefile says.
const PROBE_PAUSE: Duration = Duration::from_millis(10);

//----------- Upstream -------------------------------------------------------

/// One upstream.
pub(super) struct Upstream {
    /// Where it is and how it is reached.
    pub(super) address: Address,
    transport: Transport,
    counts: Counts,
    /// Probes that failed, one after the other.
    fails: AtomicU32,
    probing: AtomicBool,
}

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
    pub(super) fn new(address: &Address, host: &Arc<Host>, transport: impl FnOnce(&Counts) -> Transport) -> Self {
        let counts = Counts::new(host, &address.to);
        Self {
            address: address.clone(),
            transport: transport(&counts),
            counts,
            fails: AtomicU32::new(0),
            probing: AtomicBool::new(false),
        }
    }

    /// Asks once and waits for `patience`.
    pub(super) async fn ask(&self, sent: &Arc<Sent>, way: Way, patience: Duration, runtime: &Handle) -> Outcome {
        let start = Instant::now();
        self.counts.request();
        let outcome = self.transport.exchange(sent, way, patience, runtime).await;
        if let Ok(answer) = &outcome {
            self.counts.response(answer.rcode, start.elapsed());
            // An answer says as much as a probe.
            self.fails.store(0, Ordering::Relaxed);
        }
        outcome
    }

    /// Whether a reply may come in a datagram, truncated or forged. If not, `Way` makes no difference.
    pub(super) fn has_datagrams(&self) -> bool {
        self.transport.has_datagrams()
    }

    /// Whether it failed too many probes.
    pub(super) fn is_down(&self, health: &Health) -> bool {
        health.max_fails > 0 && self.fails.load(Ordering::Relaxed) > health.max_fails
    }

    /// Probes the upstream until it answers, unless that is going on already: the thing to do after a failure.
    pub(super) fn probe(self: &Arc<Self>, health: &Arc<Health>, runtime: &Handle) {
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
        let probe = Arc::new(Sent::probe(&health.domain, health.recursion));
        let is_alive = self.transport.exchange(&probe, health.way, PROBE_PATIENCE, runtime).await.is_ok();
        if is_alive {
            self.fails.store(0, Ordering::Relaxed);
        } else {
            self.counts.failed_probe();
            let one_more = |fails: u32| fails.checked_add(1);
            self.fails.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok();
        }
        is_alive
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
