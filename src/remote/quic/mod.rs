//! Queries over QUIC (RFC 9250): one connection to each server, a stream for each question.

mod trust;

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectError, EndpointConfig, ReadError, ReadToEndError, TokioRuntime, VarInt, WriteError};
use rustls::client::danger::ServerCertVerifier;
use socket2::Type;
use tokio::runtime::Handle;
use tokio::sync::SetOnce;

use self::trust::Witness;
use super::complaint::Complaint;
use super::failure::{Failure, Kind};
use super::link::{Link, Reuse, idle};
use super::message::Sent;
use super::table::Outcome;
use super::term::{Carrier, Connections, Term};
use super::tls::TlsOptions;
use crate::host::permit::Permit;
use crate::wire::answer::Answer;
use crate::wire::types::rcode;

/// Octets of a message with its length in front, at most.
const LARGEST: usize = 2 + 65_535;

/// Octets of answers that may be on their way, over all streams: what a server can make us keep.
const WINDOW: u32 = 4 << 20;

/// Questions on one connection. The server limits how many streams may be open; the others wait for
/// one.
const MOST: usize = 4_096;

/// Questions that one connection takes, at most, before another one does.
const QUESTIONS: u32 = if cfg!(test) { 1_000 } else { 20_000 };

/// The longest that a handshake may take. Queries go elsewhere sooner.
const HANDSHAKE: Duration = Duration::from_secs(5);

/// After this time a handshake is not joined by more queries: the next one begins anew, with a peer
/// that may be back.
const SLOW: Duration = Duration::from_secs(2);

/// A connection that is silent for so long after a question, without even an acknowledgement, is
/// not used again.
const SILENT: Duration = Duration::from_millis(400);

/// Nothing is wrong (RFC 9250, 4.3, as all codes).
const NO_ERROR: VarInt = VarInt::from_u32(0);

/// The peer does not keep to DNS over QUIC.
const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);

/// The query has given up.
const REQUEST_CANCELLED: VarInt = VarInt::from_u32(3);

//----------- QuicPool -------------------------------------------------------

/// The connection to one server. It is opened when it is needed, and replaced when its term is
/// over.
pub(super) struct QuicPool {
    link: Link,
    client: QuicClient,
    reuse: Reuse,
    connections: Mutex<Connections<Connection>>,
}

struct Connection {
    /// Set when the handshake is over: the connection, or why it failed.
    quic: SetOnce<Result<quinn::Connection, Failure>>,
    in_flight: Arc<AtomicUsize>,
    opened: Instant,
    term: Term,
    /// Not to be used for further questions.
    retired: AtomicBool,
}

impl QuicPool {
    pub(super) fn new(link: Link, client: QuicClient, reuse: Reuse) -> Self {
        Self { link, client, reuse, connections: Mutex::default() }
    }

    /// Asks and waits for the answer for `patience`. A query that was lost with a connection that
    /// was open before, or is not even acknowledged there, is asked again over a new one, once.
    pub(super) async fn exchange(&self, sent: &Arc<Sent>, patience: Duration, runtime: &Handle) -> Outcome {
        // A transfer may take many messages, and a stream carries one here.
        if sent.is_transfer() {
            return Ok(Answer::empty(rcode::NOTIMP));
        }
        let both = async {
            let (connection, was_open) = self.connection(runtime);
            tokio::select! {
                outcome = self.ask(&connection, sent) => match outcome {
                    Err(Failure { kind: Kind::Closed, .. }) if was_open => {}
                    outcome => return outcome,
                },
                () = connection.silence(), if was_open => {}
            }
            connection.retire();
            self.ask(&self.connection(runtime).0, sent).await
        };
        let outcome = tokio::time::timeout(patience, both).await;
        outcome.unwrap_or_else(|_| Err(Failure::timeout("quic", None, self.link.peer)))
    }

    /// Returns the connection, and whether it was there before.
    fn connection(&self, runtime: &Handle) -> (Arc<Connection>, bool) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(connection) = connections.choose(Instant::now(), |_| true, || Some(self.open(runtime))) {
            self.reuse.hits.inc();
            connection.term.count_down();
            return (connection, true);
        }
        let connection = self.open(runtime);
        connections.add(connection.clone());
        connection.term.count_down();
        (connection, false)
    }

    fn open(&self, runtime: &Handle) -> Arc<Connection> {
        self.reuse.misses.inc();
        let opened = Instant::now();
        let connection = Arc::new(Connection {
            quic: SetOnce::new(),
            in_flight: Arc::default(),
            opened,
            term: Term::draw(&self.link, QUESTIONS, opened),
            retired: AtomicBool::new(false),
        });
        runtime.spawn(run(self.link.clone(), self.client.clone(), connection.clone()));
        connection
    }

    async fn ask(&self, connection: &Connection, sent: &Sent) -> Outcome {
        let crowded = || Failure::other("too many questions are open on the connection to the upstream");
        // Counted from here, so that the connection does not end as idle.
        let _permit = Permit::take(&connection.in_flight, MOST).ok_or_else(crowded)?;
        let quic = connection.quic.wait().await.clone()?;
        let lost = |error| self.client.witness.failure(self.link.peer, &error);
        let (send, receive) = quic.open_bi().await.map_err(lost)?;
        let octets = match (Stream { send, receive, is_done: false }).exchange(sent).await {
            Ok(octets) => octets,
            Err(End::Lost(error)) => return Err(lost(error)),
            Err(End::GivenUp(code)) => {
                return Err(Failure::other(&format!("the upstream gave the question up: DoQ error {code}")));
            }
            Err(End::TooLong) => Vec::new(),
        };
        let Some(message) = message(&octets) else {
            quic.close(PROTOCOL_ERROR, b"");
            return Err(Failure::other(
                "the upstream does not keep to DNS over QUIC: a stream is not one message with id 0",
            ));
        };
        sent.answer(message).ok_or_else(|| Failure::other("the upstream's message is no reply to the question"))
    }
}

/// Returns the one message of a stream: its length in front, nothing behind, and id 0.
fn message(octets: &[u8]) -> Option<&[u8]> {
    let (len, message) = octets.split_first_chunk()?;
    let is_whole = message.len() == usize::from(u16::from_be_bytes(*len));
    (is_whole && message.starts_with(&[0, 0])).then_some(message)
}

//----------- Stream ---------------------------------------------------------

/// The stream of one question. If it is dropped before its end, the server is told that the query
/// has given up.
struct Stream {
    send: quinn::SendStream,
    receive: quinn::RecvStream,
    is_done: bool,
}

/// Why a stream ended without an answer.
enum End {
    /// It was lost with its connection.
    Lost(quinn::ConnectionError),
    /// The server will not answer; its code.
    GivenUp(VarInt),
    /// It carries more than a message.
    TooLong,
}

impl Stream {
    /// Asks; returns all that came back.
    async fn exchange(mut self, sent: &Sent) -> Result<Vec<u8>, End> {
        let rest = sent.behind_id();
        let mut query = (rest.len() as u16 + 2).to_be_bytes().to_vec();
        // The id is 0, as RFC 9250 asks for: the stream tells what belongs together.
        query.extend_from_slice(&[0, 0]);
        query.extend_from_slice(rest);
        match self.send.write_all(&query).await {
            Err(WriteError::ConnectionLost(error)) => return Err(End::Lost(error)),
            Err(WriteError::Stopped(code)) => return Err(End::GivenUp(code)),
            // Nothing else uses the stream, so it cannot be closed yet.
            Err(_) | Ok(()) => {}
        }
        let _ = self.send.finish();
        let octets = self.receive.read_to_end(LARGEST).await;
        self.is_done = octets.is_ok();
        octets.map_err(|error| match error {
            ReadToEndError::Read(ReadError::ConnectionLost(error)) => End::Lost(error),
            ReadToEndError::Read(ReadError::Reset(code)) => End::GivenUp(code),
            ReadToEndError::Read(_) | ReadToEndError::TooLong => End::TooLong,
        })
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        if !self.is_done {
            // What is closed already needs no more.
            let _ = self.send.reset(REQUEST_CANCELLED);
            let _ = self.receive.stop(REQUEST_CANCELLED);
        }
    }
}

//----------- Connection -----------------------------------------------------

impl Connection {
    /// Returns if nothing arrives for a while after a question: the peer may have restarted, and
    /// not know this connection. A slow answer is not silence, since the question is acknowledged.
    async fn silence(&self) {
        if let Ok(quic) = self.quic.wait().await {
            let heard = quic.stats().udp_rx.datagrams;
            tokio::time::sleep(SILENT.max(quic.rtt() * 3)).await;
            if quic.stats().udp_rx.datagrams == heard {
                return;
            }
        }
        std::future::pending::<()>().await;
    }
}

impl Carrier for Connection {
    fn term(&self) -> &Term {
        &self.term
    }

    fn is_usable(&self) -> bool {
        let is_over = match self.quic.get() {
            Some(Ok(quic)) => quic.close_reason().is_some(),
            Some(Err(_)) => true,
            None => self.opened.elapsed() >= SLOW,
        };
        !is_over && !self.retired.load(Ordering::Relaxed)
    }

    fn is_open(&self) -> bool {
        matches!(self.quic.get(), Some(Ok(_)))
    }

    fn load(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }
}

/// The life of one connection: it ends when it is idle, or when the peer closes it.
async fn run(link: Link, client: QuicClient, connection: Arc<Connection>) {
    let opened = tokio::time::timeout(HANDSHAKE, client.dial(&link)).await;
    let opened = opened.unwrap_or_else(|_| Err(Failure::timeout("quic", None, link.peer)));
    let quic = opened.clone().ok();
    // The cell is set once, here.
    let _ = connection.quic.set(opened);
    let Some(quic) = quic else { return };
    tokio::select! {
        // Queries that wait for an answer get the error of their stream.
        _ = quic.closed() => {}
        () = idle(&connection.in_flight, &connection.retired, link.expire) => {
            connection.retire();
            quic.close(NO_ERROR, b"");
        }
    }
}

//----------- QuicClient -----------------------------------------------------

/// Our side of QUIC to one server.
#[derive(Clone)]
pub(super) struct QuicClient {
    config: quinn::ClientConfig,
    witness: Arc<Witness>,
    name: String,
}

impl QuicClient {
    /// `name` is what the certificate has to show: a host name, or an address.
    pub(super) fn new(tls: &TlsOptions, trust: &Arc<dyn ServerCertVerifier>, name: String, expire: Duration) -> Self {
        let witness = Arc::new(Witness::new(trust.clone()));
        // Sessions are resumed, but nothing is sent before the handshake is over: 0-RTT data can be
        // replayed.
        let config = QuicClientConfig::try_from(tls.config_with(witness.clone(), Some(b"doq")));
        let config = config.expect("the provider has the suite that QUIC begins with");
        let mut config = quinn::ClientConfig::new(Arc::new(config));
        config.transport_config(Arc::new(transport(expire)));
        Self { config, witness, name }
    }

    /// Performs the handshake. Nothing is asked before the server's certificate is checked.
    async fn dial(&self, link: &Link) -> Result<quinn::Connection, Failure> {
        let endpoint = endpoint(link).map_err(|error| Failure::dial("quic", link.peer, &error))?;
        let connecting = endpoint.connect_with(self.config.clone(), link.peer, &self.name);
        let connecting = connecting.map_err(|error| match error {
            ConnectError::InvalidServerName(name) => Failure::untrusted(&Complaint::no_name(&name)),
            other => Failure::other(&format!("dial quic {}: {other}", link.peer)),
        })?;
        connecting.await.map_err(|error| self.witness.failure(link.peer, &error))
    }
}

/// A socket for one connection, so that each has a port of its own.
fn endpoint(link: &Link) -> io::Result<quinn::Endpoint> {
    let socket = link.socket(Type::DGRAM)?;
    if link.source.is_none() {
        let any = if link.peer.is_ipv6() { IpAddr::V6(Ipv6Addr::UNSPECIFIED) } else { Ipv4Addr::UNSPECIFIED.into() };
        socket.bind(&SocketAddr::new(any, 0).into())?;
    }
    quinn::Endpoint::new(EndpointConfig::default(), None, socket.into(), Arc::new(TokioRuntime))
}

/// What a server may send: answers on our streams, and nothing else.
fn transport(expire: Duration) -> quinn::TransportConfig {
    let mut transport = quinn::TransportConfig::default();
    // For peers that vanish without closing. Our side closes when it has no more questions.
    transport.max_idle_timeout(expire.max(HANDSHAKE).try_into().ok());
    transport.max_concurrent_bidi_streams(VarInt::from_u32(0)).max_concurrent_uni_streams(VarInt::from_u32(0));
    transport.datagram_receive_buffer_size(None);
    transport.stream_receive_window(VarInt::from_u32(LARGEST as u32)).receive_window(VarInt::from_u32(WINDOW));
    transport
}
