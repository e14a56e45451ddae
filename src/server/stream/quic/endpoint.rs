//! The side of a QUIC endpoint that its library drives: settings, and where its tasks run.

use std::future::poll_fn;
use std::io;
use std::net::UdpSocket;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::crypto::rustls::QuicServerConfig;
use quinn::{
    AsyncTimer, AsyncUdpSocket, ConnectionId, ConnectionIdGenerator, Endpoint, EndpointConfig, Runtime, ServerConfig,
    TokioRuntime, TransportConfig, VarInt,
};
use tokio::sync::mpsc;
use tokio::task::spawn_local;

use super::counts::Counts;
use super::{CAPS, MOST_STREAMS};
use crate::chain::listener::Listener;
use crate::chain::secure::Secure;
use crate::host::Host;
use crate::server::worker::Local;

/// Octets that a client may send before they are read: on one stream, and on all of a connection.
/// Longer messages are read piece by piece.
const WINDOWS: (u32, u32) = (8 << 10, 64 << 10);

/// Octets of replies that a connection keeps until the client has acknowledged them. Replies above
/// that wait.
pub(super) const UNACKNOWLEDGED: usize = 64 << 10;

/// First packets that wait for the worker, and octets that clients may send behind theirs: each
/// one, and all together.
const INCOMING: (usize, u64, u64) = (512, 16 << 10, 256 << 10);

/// How long a connection lives if nothing arrives. Sessions close idle ones sooner. It is longer
/// than any query waits, since a client that waits for its reply is silent.
const SILENCE: Duration = Duration::from_secs(30);

/// Octets of a connection id.
const ID: usize = 8;

//----------- QuicCommon -----------------------------------------------------

/// What QUIC connections of all workers share.
pub(in crate::server) struct QuicCommon {
    /// The key in it lets each worker reset connections of the others. A client whose address
    /// changes (a NAT has forgotten it) is led to another worker, which knows nothing of its
    /// connection. The reset tells the client at once that it has to open another one.
    endpoints: EndpointConfig,
    pub(super) counts: Counts,
}

impl QuicCommon {
    pub(in crate::server) fn new(host: &Arc<Host>) -> Self {
        let mut endpoints = EndpointConfig::default();
        endpoints.cid_generator(|| Box::new(Ids));
        Self { endpoints, counts: Counts::new(host) }
    }
}

/// Connection ids that say nothing.
struct Ids;

impl ConnectionIdGenerator for Ids {
    fn generate_cid(&mut self) -> ConnectionId {
        ConnectionId::new(&rand::random::<[u8; ID]>())
    }

    fn cid_len(&self) -> usize {
        ID
    }

    fn cid_lifetime(&self) -> Option<Duration> {
        None
    }
}

//----------- Endpoint -------------------------------------------------------

/// Returns an endpoint on a socket. Its tasks run in shifts.
pub(super) fn endpoint(
    local: &Rc<Local>,
    socket: Arc<dyn AsyncUdpSocket>,
    first: ServerConfig,
) -> io::Result<Endpoint> {
    let (tasks, mut received) = mpsc::unbounded_channel();
    let spawner = local.clone();
    spawn_local(async move {
        while let Some(task) = poll_fn(|context| received.poll_recv(context)).await {
            let local = spawner.clone();
            spawn_local(async move { local.shifts.work::<Task>(task).await });
        }
    });
    let common = local.shared.quic.endpoints.clone();
    Endpoint::new_with_abstract_socket(common, Some(first), socket, Arc::new(InShifts(tasks)))
}

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Where the tasks of an endpoint run: on the thread of its worker, as work of connections.
#[derive(Debug)]
struct InShifts(mpsc::UnboundedSender<Task>);

impl Runtime for InShifts {
    fn new_timer(&self, at: Instant) -> Pin<Box<dyn AsyncTimer>> {
        TokioRuntime.new_timer(at)
    }

    fn spawn(&self, task: Task) {
        let _ = self.0.send(task);
    }

    fn wrap_udp_socket(&self, socket: UdpSocket) -> io::Result<Arc<dyn AsyncUdpSocket>> {
        TokioRuntime.wrap_udp_socket(socket)
    }

    fn now(&self) -> Instant {
        TokioRuntime.now()
    }
}

//----------- Settings -------------------------------------------------------

/// Returns the settings that an endpoint begins with; each connection gets its own.
pub(super) fn base(secure: &Secure, listener: &Listener) -> ServerConfig {
    let mut config = ServerConfig::with_crypto(crypto(secure, listener));
    // A connection belongs to a worker, and to the address that was allowed to open it.
    config.migration(false);
    config.max_incoming(INCOMING.0).incoming_buffer_size(INCOMING.1).incoming_buffer_size_total(INCOMING.2);
    config
}

/// Returns the settings for the next connection of a listener.
pub(super) fn settings(base: &ServerConfig, secure: &Secure, listener: &Listener) -> Arc<ServerConfig> {
    let mut config = base.clone();
    config.crypto = crypto(secure, listener);
    config.transport_config(Arc::new(transport(listener)));
    Arc::new(config)
}

/// Nothing is answered before the handshake is complete (0-RTT, RFC 9250 section 4.5): what comes
/// before can be replayed, and a stateless server cannot tell.
fn crypto(secure: &Secure, listener: &Listener) -> Arc<QuicServerConfig> {
    let config = QuicServerConfig::try_from(secure.config(listener.transport));
    Arc::new(config.expect("the provider has the suite that QUIC begins with"))
}

/// What a client may open and send: streams with a message, and nothing else.
fn transport(listener: &Listener) -> TransportConfig {
    let streams = listener.caps.streams.filter(|&streams| streams > 0).unwrap_or(CAPS.1).min(MOST_STREAMS);
    let mut transport = TransportConfig::default();
    transport
        .max_concurrent_bidi_streams(VarInt::from_u32(streams as u32))
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .stream_receive_window(VarInt::from_u32(WINDOWS.0))
        .receive_window(VarInt::from_u32(WINDOWS.1))
        .send_window(UNACKNOWLEDGED as u64)
        .datagram_receive_buffer_size(None)
        // Larger packets do not pay for their probes: most replies fit in the least that all paths
        // have to carry.
        .mtu_discovery_config(None)
        .max_idle_timeout(listener.timeouts.idle().max(SILENCE).try_into().ok());
    transport
}
