//! How an upstream is reached: each kind of transport behind one call.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use tokio::runtime::Handle;

use super::failure::Failure;
use super::link::Link;
use super::message::Sent;
use super::metrics::Counts;
use super::options::Options;
use super::table::Outcome;
use super::upstream::{Address, Way};
use super::vitals::Vitals;
use super::{https, quic, tcp, tls, udp};
use crate::corefile::address::Transport as Scheme;

/// What carries queries to one upstream. Whoever asks says what to ask and how long to wait, no more.
pub(super) enum Transport {
    /// `dns://`: datagrams or connections, as each query wants.
    Plain {
        /// Datagrams.
        udp: udp::Pool,
        /// Connections.
        tcp: tcp::Pool,
    },
    /// `tls://`: connections inside of TLS.
    Tls(tcp::Pool),
    /// `https://`: requests of HTTP/2.
    Https(https::Pool),
    /// `quic://`: streams of QUIC.
    Quic(quic::Pool),
}

impl Transport {
    /// Asks once and waits for `patience`. `way` is for plain DNS; the others know one way.
    pub(super) async fn exchange(&self, sent: &Arc<Sent>, way: Way, patience: Duration, runtime: &Handle) -> Outcome {
        match (self, way) {
            (Self::Plain { udp, .. }, Way::Udp) => {
                let mut exchange = udp.send(sent, runtime)?;
                let outcome = tokio::time::timeout(patience, &mut exchange).await;
                outcome.unwrap_or_else(|_| Err(exchange.timeout()))
            }
            (Self::Plain { tcp, .. }, Way::Tcp) => tcp.exchange(sent, patience, runtime).await,
            (Self::Https(https), _) => https.exchange(sent, patience, runtime).await,
            (Self::Quic(quic), _) => quic.exchange(sent, patience, runtime).await,
            (Self::Tls(tcp), _) => tcp.exchange(sent, patience, runtime).await,
        }
    }

    /// Sends a datagram, for those who have a clock of their own; nothing where there are none.
    pub(super) fn datagram(&self, sent: &Arc<Sent>, runtime: &Handle) -> Option<Result<udp::Exchange, Failure>> {
        match self {
            Self::Plain { udp, .. } => Some(udp.send(sent, runtime)),
            Self::Tls(_) | Self::Https(_) | Self::Quic(_) => None,
        }
    }

    /// Whether datagrams may be used, so that a reply may be truncated and forged.
    pub(super) fn has_datagrams(&self) -> bool {
        matches!(self, Self::Plain { .. })
    }
}

//----------- Dialer ---------------------------------------------------------

/// What the upstreams of a directive share: settings of TLS, and with them the sessions that can be taken up again.
#[derive(Default)]
pub(super) struct Dialer {
    tls: OnceLock<Arc<ClientConfig>>,
    https: OnceLock<Arc<ClientConfig>>,
    /// Sessions are remembered with each upstream, whose certificate is also checked apart.
    quic: OnceLock<Arc<dyn ServerCertVerifier>>,
}

impl Dialer {
    /// A transport to this upstream; nothing is opened yet.
    pub(super) fn transport(
        &self,
        address: &Address,
        options: &Options,
        (counts, vitals): (&Counts, &Arc<Vitals>),
    ) -> Transport {
        let link = Link {
            peer: address.socket,
            source: options.source,
            expire: options.expire,
            max_age: options.max_age,
            max_idle: options.max_idle,
            random_case: options.random_case,
        };
        let name = address.server_name.as_ref().or(options.tls.server_name.as_ref());
        let is_named = name.is_some();
        let name = name.cloned().unwrap_or_else(|| address.socket.ip().to_string());
        match address.scheme {
            Scheme::Tls => {
                let config = self.tls.get_or_init(|| options.tls.config(None));
                let client = tls::Client::new(config.clone(), &name);
                Transport::Tls(tcp::Pool::new(link, Some(client), counts.reuse("tcp-tls")))
            }
            Scheme::Https => {
                let config = self.https.get_or_init(|| options.tls.config(Some(b"h2")));
                let client = tls::Client::new(config.clone(), &name);
                // A server that has several names needs to know which is meant.
                let authority = if is_named { name } else { address.to.clone() };
                Transport::Https(https::Pool::new(link, client, authority, options.doh_get))
            }
            Scheme::Quic => {
                let trust = self.quic.get_or_init(|| options.tls.verifier());
                let client = quic::Client::new(&options.tls, trust, name, options.expire);
                Transport::Quic(quic::Pool::new(link, client, counts.reuse("quic")))
            }
            _ => {
                let udp = udp::Pool::new(link.clone(), counts.reuse("udp"), vitals.clone());
                Transport::Plain { udp, tcp: tcp::Pool::new(link, None, counts.reuse("tcp")) }
            }
        }
    }
}
