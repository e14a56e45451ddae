//! How one other DNS server is asked: over UDP, TCP, TLS, HTTPS, gRPC or QUIC.
//!
//! ```text
//! Dialer -> Remote -> Transport -> udp, tcp, http, quic -> link: what sockets have in common
//!              |                      |    |                term: how long a connection is used
//!              |                      table                 tls, complaint: which server is trusted
//!              |                      |    |
//!              +-> vitals -> rtt  <---+    +-> message: what was sent, and its reply
//! ```
//!
//! - [`Address`] says where a server is; a [`HostName`] is looked up first.
//! - A [`Sent`] is the query; each try has another id.
//! - An [`Outcome`] is the answer or the [`Failure`] of one try.
//! - [`Vitals`] are what is known of a server from its answers.
//!
//! A query is sent again here only because of its connection: it was lost or stalls, or its reply
//! shows that the server does not keep the case of the question. Which server is asked, when and
//! how often is up to the users of the room. They hand in [`DialOptions`] and the counters of
//! [`Reuse`]; the room knows no plugin and writes no log lines.

mod address;
mod complaint;
mod failure;
mod http;
mod link;
mod message;
mod names;
mod quic;
mod rtt;
mod table;
mod tcp;
mod term;
mod tls;
mod transport;
mod udp;
mod vitals;

use std::net::{IpAddr, SocketAddr};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use rustls::client::danger::ServerCertVerifier;
use tokio::runtime::Handle;

pub(crate) use self::address::{Address, Scheme, Way};
pub(crate) use self::failure::{Failure, Kind};
pub(crate) use self::link::Reuse;
pub(crate) use self::message::Sent;
pub(crate) use self::names::{HostName, Lost};
pub(crate) use self::table::Outcome;
pub(crate) use self::tls::TlsOptions;
pub(crate) use self::udp::Exchange;
pub(crate) use self::vitals::Vitals;

use self::http::Dialect;
use self::link::Link;
use self::transport::Transport;

//----------- Options --------------------------------------------------------

/// How servers are asked.
#[derive(Debug, Clone)]
pub(crate) struct DialOptions {
    /// The address that queries leave from.
    pub(crate) source: Option<IpAddr>,
    /// How long a socket without questions is kept.
    pub(crate) expire: Duration,
    /// How long a socket is used at all; `None` means as long as it is of use.
    pub(crate) max_age: Option<Duration>,
    /// How many sockets without questions are kept; `None` means any number.
    pub(crate) max_idle: Option<usize>,
    /// Whether questions go out in random case.
    pub(crate) random_case: bool,
    /// Whether questions to `https://` servers are GET requests.
    pub(crate) doh_get: bool,
    /// Whether gRPC servers are asked inside TLS.
    pub(crate) grpc_tls: bool,
    /// How encrypted servers are trusted.
    pub(crate) tls: TlsOptions,
    /// The name servers that are asked for host names of servers; those of the machine if this is
    /// empty.
    pub(crate) resolvers: Vec<SocketAddr>,
}

impl Default for DialOptions {
    fn default() -> Self {
        Self {
            source: None,
            expire: Duration::from_secs(10),
            max_age: None,
            max_idle: None,
            random_case: false,
            doh_get: false,
            grpc_tls: false,
            tls: TlsOptions::default(),
            resolvers: Vec::new(),
        }
    }
}

//----------- Dialer ---------------------------------------------------------

/// Makes [`Remote`]s that share options and TLS settings, and with them the TLS sessions that can
/// be resumed.
pub(crate) struct Dialer {
    options: DialOptions,
    tls: OnceLock<Arc<ClientConfig>>,
    http: OnceLock<Arc<ClientConfig>>,
    /// QUIC keeps its sessions with each server, which also has a verifier of its own around this
    /// one.
    quic: OnceLock<Arc<dyn ServerCertVerifier>>,
}

impl Dialer {
    /// A dialer for servers that are asked with these options.
    pub(crate) fn new(options: DialOptions) -> Self {
        Self { options, tls: OnceLock::new(), http: OnceLock::new(), quic: OnceLock::new() }
    }

    /// Looks up the servers at a host name, IPv4 first, and how long they are good for.
    ///
    /// # Errors
    /// The name has no addresses, or no name server answered.
    pub(crate) async fn look_up(&self, host: &HostName) -> Result<(Vec<Address>, Duration), Lost> {
        host.look_up(&self.options.resolvers).await
    }

    /// The server at this address; nothing is opened yet. `reuse` gives the counters for the
    /// sockets of one protocol: `udp`, `tcp`, `tcp-tls` or `quic`.
    pub(crate) fn remote(&self, address: &Address, reuse: impl Fn(&str) -> Reuse) -> Remote {
        let options = &self.options;
        let vitals = Arc::<Vitals>::default();
        let link = Link {
            peer: address.socket,
            source: options.source,
            expire: options.expire,
            max_age: options.max_age,
            max_idle: options.max_idle,
            random_case: options.random_case,
        };
        let named = address.server_name.as_ref().or(options.tls.server_name.as_ref());
        let local = address.path.as_ref().map(|_| "localhost".to_owned());
        let name = named.cloned().or(local).unwrap_or_else(|| address.socket.ip().to_string());
        let transport = match address.scheme {
            Scheme::Dns => {
                let udp = udp::UdpPool::new(link.clone(), reuse("udp"), vitals.clone());
                Transport::Plain { udp, tcp: tcp::TcpPool::new(link, None, reuse("tcp")) }
            }
            Scheme::Tls => {
                let config = self.tls.get_or_init(|| options.tls.config(None));
                let client = tls::TlsClient::new(config.clone(), &name);
                Transport::Tls(tcp::TcpPool::new(link, Some(client), reuse("tcp-tls")))
            }
            Scheme::Https | Scheme::Grpc => {
                let is_grpc = address.scheme == Scheme::Grpc;
                let config = || self.http.get_or_init(|| options.tls.config(Some(b"h2"))).clone();
                let tls = (!is_grpc || options.grpc_tls).then(|| tls::TlsClient::new(config(), &name));
                let dialect = if is_grpc { Dialect::Grpc } else { Dialect::Doh { is_get: options.doh_get } };
                // A server that has several names needs to know which is meant.
                let authority = if named.is_some() || address.path.is_some() { &name } else { &address.to };
                let server = http::Server { link, path: address.path.clone(), tls };
                Transport::Http(http::HttpPool::new(server, authority, dialect))
            }
            Scheme::Quic => {
                let trust = self.quic.get_or_init(|| options.tls.verifier());
                let client = quic::QuicClient::new(&options.tls, trust, name, options.expire);
                Transport::Quic(quic::QuicPool::new(link, client, reuse("quic")))
            }
        };
        Remote { transport, vitals }
    }
}

//----------- Remote ---------------------------------------------------------

/// One other server: its sockets, and what is known of it.
pub(crate) struct Remote {
    transport: Transport,
    vitals: Arc<Vitals>,
}

impl Remote {
    /// Sends a datagram at `now`; the caller waits for its answer, or until it is later than
    /// `late_after` ([`Exchange::until_late`]). Returns `None` if the server is not asked in
    /// datagrams.
    pub(crate) fn datagram(
        &self,
        sent: &Arc<Sent>,
        now: Instant,
        late_after: Option<Duration>,
        runtime: &Handle,
    ) -> Option<Result<Exchange, Failure>> {
        self.transport.datagram(sent, now, late_after, runtime)
    }

    /// Asks once and waits for `patience`.
    pub(crate) async fn exchange(&self, sent: &Arc<Sent>, way: Way, patience: Duration, runtime: &Handle) -> Outcome {
        self.transport.exchange(sent, way, patience, runtime).await
    }

    /// Asks once over a connection and waits for `patience`. If it is doubtful whether the server
    /// repeats the case of a question, this finds it out: replies cannot be forged there.
    pub(crate) async fn connected(&self, sent: &Arc<Sent>, patience: Duration, runtime: &Handle) -> Outcome {
        if !self.vitals.doubts_case() {
            return self.transport.exchange(sent, Way::Tcp, patience, runtime).await;
        }
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

    /// Whether a reply may come in a datagram, truncated or forged. If not, [`Way`] makes no
    /// difference.
    pub(crate) fn has_datagrams(&self) -> bool {
        self.transport.has_datagrams()
    }

    /// What is known of it from its answers.
    pub(crate) fn vitals(&self) -> &Vitals {
        &self.vitals
    }
}
