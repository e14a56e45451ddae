//! How an upstream is reached: each kind of transport behind one call.

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use super::failure::Failure;
use super::link::Link;
use super::message::Sent;
use super::metrics::Counts;
use super::table::Outcome;
use super::upstream::Way;
use super::vitals::Vitals;
use super::{tcp, udp};

/// What carries queries to one upstream. Whoever asks says what to ask and how long to wait, no more.
pub(super) enum Transport {
    /// `dns://`: datagrams or connections, as each query wants.
    Plain {
        /// Datagrams.
        udp: udp::Pool,
        /// Connections.
        tcp: tcp::Pool,
    },
}

impl Transport {
    /// Plain DNS.
    pub(super) fn plain(link: Link, counts: &Counts, vitals: &Arc<Vitals>) -> Self {
        let udp = udp::Pool::new(link.clone(), counts.reuse("udp"), vitals.clone());
        Self::Plain { udp, tcp: tcp::Pool::new(link, counts.reuse("tcp")) }
    }

    /// Asks once and waits for `patience`. `way` is for plain DNS; the others know one way.
    pub(super) async fn exchange(&self, sent: &Arc<Sent>, way: Way, patience: Duration, runtime: &Handle) -> Outcome {
        match (self, way) {
            (Self::Plain { udp, .. }, Way::Udp) => {
                let mut exchange = udp.send(sent, runtime)?;
                let outcome = tokio::time::timeout(patience, &mut exchange).await;
                outcome.unwrap_or_else(|_| Err(exchange.timeout()))
            }
            (Self::Plain { tcp, .. }, Way::Tcp) => tcp.exchange(sent, patience, runtime).await,
        }
    }

    /// Sends a datagram, for those who have a clock of their own; nothing where there are none.
    pub(super) fn datagram(&self, sent: &Arc<Sent>, runtime: &Handle) -> Option<Result<udp::Exchange, Failure>> {
        match self {
            Self::Plain { udp, .. } => Some(udp.send(sent, runtime)),
        }
    }

    /// Whether datagrams may be used, so that a reply may be truncated and forged.
    pub(super) fn has_datagrams(&self) -> bool {
        matches!(self, Self::Plain { .. })
    }
}
