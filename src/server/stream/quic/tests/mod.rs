//! QUIC connections over a network in memory, client and server on one thread, with a clock that
//! the tests control.

mod hostile;
mod limits;
mod net;

use std::cell::Cell;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use quinn::crypto::rustls::QuicClientConfig;
use quinn::{ConnectionError, EndpointConfig, TokioRuntime, TransportConfig, VarInt};
use rustls::version::TLS13;
use tokio::task::JoinHandle;

use self::net::Net;
use super::super::tests::{Worker, frame, local};
use super::*;
use crate::chain::caps::Caps;
use crate::chain::listener::Listener;
use crate::chain::secure::{Secure, Terms};
use crate::chain::timeouts::{IDLE, MESSAGE, READING};
use crate::corefile::address::Transport;
use crate::server::shifts::Shifts;
use crate::server::worker::Live;
use crate::testing::{self, tls::Pki};
use crate::wire::types::rcode;

/// The server of a worker, and what its clients need.
pub(super) struct Bed {
    pub(super) worker: Worker,
    net: Arc<Net>,
    gate: Rc<Gate>,
    admitting: JoinHandle<()>,
    pki: Pki,
    /// The port of the last client.
    port: Cell<u16>,
}

impl Bed {
    pub(super) fn new() -> Self {
        Self::of(Worker::new(), Caps::default())
    }

    /// Serves over QUIC what the worker serves.
    pub(super) fn of(worker: Worker, caps: Caps) -> Self {
        let pki = Pki::new();
        pki.issue("dns", &["dns.example.org"]);
        let live = worker.local.shared.live.load_full();
        let plain = live.listeners[0].as_ref().expect("served");
        let terms = Terms { chain: Vec::new(), client_auth: "nocert", authorities: None };
        let secure = Arc::new(Secure::new(&pki.server("dns"), terms));
        let listener = Listener::new(Transport::Quic, String::new(), 853, plain.sites().to_vec());
        let listener = Arc::new(listener.secured(Some(secure)).capped(caps).limited(plain.timeouts));
        let live = Live { listeners: vec![Some(listener)], addresses: vec![SERVER], ..Live::default() };
        worker.local.shared.live.store(Arc::new(live));
        let net = Arc::new(Net::default());
        let gate = Rc::new(Gate::new(&worker.local, 0, SERVER, net.socket(SERVER)).expect("a gate"));
        let (local, open) = (worker.local.clone(), gate.clone());
        let admitting = spawn_local(async move { local.shifts.work(open.admit_all()).await });
        Self { worker, net, gate, admitting, pki, port: Cell::new(10_000) }
    }

    /// Closes the door.
    pub(super) fn close(&self) -> JoinHandle<()> {
        self.admitting.abort();
        let gate = self.gate.clone();
        spawn_local(async move { gate.close().await })
    }

    pub(super) async fn connect(&self) -> quinn::Connection {
        self.connect_with(TransportConfig::default()).await.expect("a connection")
    }

    pub(super) async fn connect_with(&self, transport: TransportConfig) -> Result<quinn::Connection, ConnectionError> {
        self.connect_as(b"doq", transport).await
    }

    pub(super) async fn connect_as(
        &self,
        protocol: &[u8],
        transport: TransportConfig,
    ) -> Result<quinn::Connection, ConnectionError> {
        self.port.set(self.port.get() + 1);
        let endpoint = client(&self.net, ([10, 0, 0, 1], self.port.get()).into());
        endpoint.connect_with(self.config(protocol, transport), SERVER, "dns.example.org").expect("begun").await
    }

    fn config(&self, protocol: &[u8], mut transport: TransportConfig) -> quinn::ClientConfig {
        let mut config = self.pki.client(None, &[&TLS13]);
        config.alpn_protocols = vec![protocol.to_vec()];
        let mut config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).expect("a suite")));
        transport.max_idle_timeout(None);
        config.transport_config(Arc::new(transport));
        config
    }

    /// Returns the numbers of streams that ended with 0x0, with 0x1 and with 0x2.
    pub(super) fn responses(&self) -> (u64, u64, u64) {
        let counts = self.worker.local.shared.quic.counts.of_listener("quic://:853");
        (counts.replied.get(), counts.failed.get(), counts.broken.get())
    }

    pub(super) fn slow(&self) -> u64 {
        self.worker.local.shared.evicted.slow.get()
    }

    pub(super) fn connections(&self) -> usize {
        self.worker.local.connections.count()
    }
}

/// Where the server is.
pub(super) const SERVER: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::new(10, 96, 0, 10)), 853);

/// Returns an endpoint for a client.
fn client(net: &Arc<Net>, own: SocketAddr) -> Endpoint {
    let runtime = Arc::new(TokioRuntime);
    let endpoint = Endpoint::new_with_abstract_socket(EndpointConfig::default(), None, net.socket(own), runtime);
    endpoint.expect("an endpoint")
}

/// Returns a query with its length and id 0.
pub(super) fn question(name: &str, qtype: &str) -> Vec<u8> {
    let mut framed = frame(name, qtype);
    framed[2..4].fill(0);
    framed
}

/// Sends octets on a stream of their own, and the end of the stream; returns what comes back.
pub(super) async fn ask(quic: &quinn::Connection, octets: &[u8]) -> Result<Vec<u8>, quinn::ReadToEndError> {
    let (mut send, mut receive) = quic.open_bi().await.expect("open");
    send.write_all(octets).await.expect("open");
    send.finish().expect("open");
    receive.read_to_end(usize::MAX).await
}

/// Returns the code that the server closes a connection with.
pub(super) async fn closed_with(quic: &quinn::Connection) -> u64 {
    match quic.closed().await {
        ConnectionError::ApplicationClosed(close) => close.error_code.into_inner(),
        other => panic!("{other}"),
    }
}

#[tokio::test(start_paused = true)]
async fn each_query_has_a_stream_and_a_reply() {
    local(async {
        let bed = Bed::new();
        let quic = bed.connect().await;
        for (name, qtype, code, least) in
            [("big.test.", "TXT", rcode::NOERROR, 20_000), ("a.test.", "A", rcode::REFUSED, 20)]
        {
            let reply = ask(&quic, &question(name, qtype)).await.expect("a reply");
            assert!(reply.len() > least, "{} octets", reply.len());
            assert_eq!(usize::from(u16::from_be_bytes([reply[0], reply[1]])), reply.len() - 2);
            assert_eq!((reply[2..4].to_vec(), u16::from(reply[5] & 0xF)), (vec![0, 0], code), "{name}");
        }
        // What cannot be read is answered as over TCP.
        let reply = ask(&quic, &question("a.test.", "A")[..20]).await;
        assert!(reply.is_err(), "it is cut");
        assert_eq!(closed_with(&quic).await, 2);
        let quic = bed.connect().await;
        let mut malformed = question("a.test.", "A");
        malformed[7] = 9;
        assert_eq!(ask(&quic, &malformed).await.expect("a reply")[5] & 0xF, 1, "FORMERR");
        assert_eq!(bed.responses(), (3, 0, 1));
        // Replies count until they are acknowledged.
        sleep(Duration::from_millis(50)).await;
        assert_eq!(bed.worker.held(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn an_idle_connection_is_closed_in_peace() {
    local(async {
        let limits = "timeouts {\nread 1\nidle 20\n}\n";
        let set = Bed::of(Worker::configured(limits, Shifts::default(), |_| {}), Caps::default());
        let second = Duration::from_secs(1);
        for (bed, [message, idle]) in [(Bed::new(), [MESSAGE, IDLE]), (set, [second, 20 * second])] {
            for (asks, time) in [(false, message), (true, idle)] {
                let quic = bed.connect().await;
                if asks {
                    ask(&quic, &question("a.test.", "A")).await.expect("a reply");
                }
                let start = tokio::time::Instant::now();
                assert_eq!(closed_with(&quic).await, 0);
                let lived = start.elapsed();
                assert!(lived >= time - second / 2 && lived < time + second / 2, "{lived:?}");
            }
            assert_eq!(bed.connections(), 0);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_door_that_closes_answers_what_it_has_and_says_so() {
    local(async {
        let slow = "wait.test {\n erratic {\n drop 0\n truncate 0\n delay 1 2s\n }\n}\n";
        let bed = Bed::of(Worker::serving(testing::Server::new(slow)), Caps::default());
        let (idle, busy) = (bed.connect().await, bed.connect().await);
        let waiting = busy.clone();
        let reply = spawn_local(async move { ask(&waiting, &question("wait.test.", "A")).await });
        while bed.worker.local.waiting() == 0 {
            sleep(Duration::from_millis(1)).await;
        }
        let closing = bed.close();
        assert_eq!(closed_with(&idle).await, 0);
        let late = bed.connect_with(TransportConfig::default()).await;
        assert!(matches!(late, Err(ConnectionError::ConnectionClosed(_))), "it is refused: {late:?}");
        assert!(!closing.is_finished(), "a query waits");
        assert_eq!(reply.await.expect("no panic").expect("a reply")[5] & 0xF, 0, "NOERROR");
        assert_eq!(closed_with(&busy).await, 0);
        closing.await.expect("no panic");
        assert_eq!(Rc::strong_count(&bed.worker.local.settling), 1);
    })
    .await;
}

/// A NAT gives a client another address, and the kernel leads its packets to another worker.
#[tokio::test(start_paused = true)]
async fn another_worker_tells_a_client_that_its_connection_is_lost() {
    local(async {
        let bed = Bed::new();
        let (before, after) = (([10, 0, 0, 2], 1).into(), ([10, 0, 0, 2], 2).into());
        let other = Gate::new(&bed.worker.local, 0, SERVER, bed.net.socket_for(after, SERVER)).expect("a gate");
        spawn_local(async move { other.admit_all().await });
        let endpoint = client(&bed.net, before);
        let config = bed.config(b"doq", TransportConfig::default());
        let quic = endpoint.connect_with(config, SERVER, "dns.example.org").expect("begun").await.expect("open");
        ask(&quic, &question("a.test.", "A")).await.expect("a reply");
        endpoint.rebind_abstract(bed.net.socket(after)).expect("another address");
        let start = tokio::time::Instant::now();
        assert!(ask(&quic, &question("a.test.", "A")).await.is_err());
        assert_eq!(quic.closed().await, ConnectionError::Reset);
        assert!(start.elapsed() < MESSAGE, "{:?}", start.elapsed());
    })
    .await;
}

/// What a client that speaks something else is told.
#[tokio::test(start_paused = true)]
async fn other_protocols_have_no_connection() {
    local(async {
        let bed = Bed::new();
        let h3 = bed.connect_as(b"h3", TransportConfig::default()).await;
        assert!(matches!(h3, Err(ConnectionError::ConnectionClosed(_))), "{h3:?}");
        assert_eq!(bed.worker.local.shared.failed_handshakes.get(), 1);
        let quic = bed.connect().await;
        let uni = tokio::time::timeout(Duration::from_secs(1), quic.open_uni()).await;
        assert!(uni.is_err(), "no streams of one direction");
        assert_eq!(bed.connections(), 1);
    })
    .await;
}

/// The least that a client takes before it has to say that it takes more.
pub(super) fn reads_nothing() -> TransportConfig {
    let mut transport = TransportConfig::default();
    transport.stream_receive_window(VarInt::from_u32(100)).receive_window(VarInt::from_u32(1_000));
    transport
}
