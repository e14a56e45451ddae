//! The transports behind one call.

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime::Handle;

use super::address::Way;
use super::failure::Failure;
use super::message::Sent;
use super::table::Outcome;
use super::{http, quic, tcp, udp};

/// What carries queries to one server.
pub(super) enum Transport {
    /// `dns://`: datagrams or connections, as each query wants.
    Plain {
        /// Datagrams.
        udp: udp::UdpPool,
        /// Connections.
        tcp: tcp::TcpPool,
    },
    /// `tls://`: connections inside TLS.
    Tls(tcp::TcpPool),
    /// `https://` and gRPC: HTTP/2 requests.
    Http(http::HttpPool),
    /// `quic://`: QUIC streams.
    Quic(quic::QuicPool),
}

impl Transport {
    /// Asks once and waits for `patience`. Transports without datagrams ignore `way`.
    pub(super) async fn exchange(&self, sent: &Arc<Sent>, way: Way, patience: Duration, runtime: &Handle) -> Outcome {
        match (self, way) {
            (Self::Plain { udp, .. }, Way::Udp) => {
                let mut exchange = udp.send(sent, Instant::now(), None, runtime)?;
                let outcome = tokio::time::timeout(patience, &mut exchange).await;
                outcome.unwrap_or_else(|_| Err(exchange.timeout()))
            }
            (Self::Plain { tcp, .. }, Way::Tcp) => tcp.exchange(sent, patience, runtime).await,
            (Self::Http(http), _) => http.exchange(sent, patience, runtime).await,
            (Self::Quic(quic), _) => quic.exchange(sent, patience, runtime).await,
            (Self::Tls(tcp), _) => tcp.exchange(sent, patience, runtime).await,
        }
    }

    /// Sends a datagram at `now`. Returns `None` if the transport has none.
    pub(super) fn datagram(
        &self,
        sent: &Arc<Sent>,
        now: Instant,
        late_after: Option<Duration>,
        runtime: &Handle,
    ) -> Option<Result<udp::Exchange, Failure>> {
        match self {
            Self::Plain { udp, .. } => Some(udp.send(sent, now, late_after, runtime)),
            Self::Tls(_) | Self::Http(_) | Self::Quic(_) => None,
        }
    }

    /// Whether datagrams may be used, so that a reply may be truncated or forged.
    pub(super) fn has_datagrams(&self) -> bool {
        matches!(self, Self::Plain { .. })
    }
}
