//! DNS over QUIC (RFC 9250): connections over UDP, and a stream for each query.
//!
//! quinn has the protocol. Its tasks run in the worker's shifts like the work of all connections,
//! and what it holds is bounded by the settings in [`endpoint`](mod@endpoint).
//!
//! Each worker has an endpoint of its own, on its own socket. The kernel chooses the socket by the
//! addresses and ports of both sides, so all packets of a connection come to the same worker. A
//! connection cannot move to another address of its client.
//!
//! - [`endpoint`](mod@endpoint): sockets, settings, and where quinn's tasks run
//! - [`streams`]: a connection that is open: its queries are served, while the client reads its
//!   replies
//! - [`stream`]: one query: it is received, and its replies are sent
//! - [`counts`]: what metrics show of all this

mod counts;
mod endpoint;
mod stream;
mod streams;
#[cfg(test)]
mod tests;

use std::net::{SocketAddr, UdpSocket};
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use quinn::{AsyncUdpSocket, Endpoint, Incoming, Runtime, ServerConfig, TokioRuntime};
use tokio::sync::watch;
use tokio::task::spawn_local;
use tokio::time::sleep;

pub(in crate::server) use self::endpoint::QuicCommon;
use self::endpoint::{base, endpoint, settings};
use self::streams::Streams;
use super::connections::Connections;
use super::session::Session;
use super::{canonical, most};
use crate::chain::{Client, Proto};
use crate::server::bind::Kind;
use crate::server::udp::turn_away;
use crate::server::worker::{Closing, Local};

/// Connections of a listener over all workers, and streams of one connection, if the Corefile does
/// not say. Both are those of CoreDNS.
pub(super) const CAPS: (usize, usize) = (200, 256);

/// Streams of one connection at most, whatever the Corefile says. Each holds memory.
const MOST_STREAMS: usize = 1000;

/// Closed connections, over all workers, that quinn may still keep. It keeps them for three times
/// what the client takes to acknowledge, which the client says: up to 49 s.
const ENDING: usize = 512;

/// How long the packets that close connections get to leave.
const LEAVING: Duration = Duration::from_millis(10);

/// How long an endpoint that has failed is not replaced.
const FAILED: Duration = Duration::from_millis(50);

/// Accepts connections until the door closes, then waits until those that are open have ended.
pub(in crate::server) async fn accept(
    local: Rc<Local>,
    door: usize,
    socket: UdpSocket,
    mut closing: watch::Receiver<Closing>,
) {
    local.count_files();
    let Ok(own) = socket.local_addr() else { return };
    loop {
        let Ok(shared) = socket.try_clone().and_then(|again| TokioRuntime.wrap_udp_socket(again)) else {
            // There is no file left for it, for example.
            tokio::select! {
                () = sleep(FAILED) => continue,
                _ = closing.wait_for(Option::is_some) => return,
            }
        };
        let Some(gate) = Gate::new(&local, door, own, shared) else { return };
        let is_open = tokio::select! {
            () = local.shifts.work(gate.admit_all()) => true,
            _ = closing.wait_for(Option::is_some) => false,
        };
        if !is_open {
            gate.close().await;
            return turn_away(&socket, own);
        }
        // The system had no memory, for example. Its connections are lost.
        sleep(FAILED).await;
    }
}

/// Where connections come in.
struct Gate {
    local: Rc<Local>,
    door: usize,
    own: SocketAddr,
    endpoint: Endpoint,
    base: ServerConfig,
    /// Each connection holds one more.
    open: Rc<()>,
}

impl Gate {
    /// Returns `None` if nothing is served at the door any more.
    fn new(local: &Rc<Local>, door: usize, own: SocketAddr, socket: Arc<dyn AsyncUdpSocket>) -> Option<Self> {
        let live = local.shared.live.load();
        let listener = live.of_stream(door, canonical(own), |transport| Kind::Quic.serves(transport))?;
        let base = base(listener.secure.as_ref()?, listener);
        let endpoint = endpoint(local, socket, base.clone()).ok()?;
        Some(Self { local: local.clone(), door, own, endpoint, base, open: Rc::default() })
    }

    /// Admits connections until the endpoint fails.
    async fn admit_all(&self) {
        while let Some(incoming) = self.endpoint.accept().await {
            self.local.hear(Instant::now());
            self.admit(incoming);
            if self.local.shifts.is_over() {
                self.local.shifts.pause().await;
            }
        }
    }

    /// Starts serving a connection.
    fn admit(&self, incoming: Incoming) {
        let (local, shared) = (&self.local, &self.local.shared);
        let address = SocketAddr::new(incoming.local_ip().unwrap_or(self.own.ip()), self.own.port());
        let (peer, address) = (canonical(incoming.remote_address()), canonical(address));
        let live = shared.live.load();
        let served = live.of_stream(self.door, address, |transport| Kind::Quic.serves(transport)).cloned();
        let Some(listener) = served.or_else(|| live.last_of(self.door)) else { return incoming.refuse() };
        let Some(secure) = &listener.secure else { return incoming.refuse() };
        let most = most(local, &listener);
        let ending = self.endpoint.open_connections().saturating_sub(Rc::strong_count(&self.open) - 1);
        let (bound, is_proven) = (shared.share_of(ENDING), incoming.remote_address_validated());
        if !is_proven && (ending >= bound / 4 || local.connections.are_scarce(self.door, most)) {
            shared.quic.counts.retries.inc();
            // An address that is not proven may be asked to prove itself.
            let _ = incoming.retry();
            return;
        }
        if ending >= bound {
            return incoming.refuse();
        }
        // What is no beginning of a connection gets no place.
        let Ok(shaking) = incoming.accept_with(settings(&self.base, secure, &listener)) else {
            return shared.failed_handshakes.inc();
        };
        let member = Connections::join(local, self.door, most, peer.ip(), -1);
        // At once: the next packets are judged by how many there are.
        member.begin_handshake();
        let client = Client { peer, local: address, proto: Proto::Quic };
        let session = Session::new(local.clone(), self.door, listener, client, member);
        let (local, open) = (local.clone(), self.open.clone());
        spawn_local(async move {
            let serve = async {
                if let Some(connection) = session.shake_hands(shaking).await {
                    // Boxed: it is large, and many handshakes come to nothing.
                    Box::pin(Streams::serve(session, connection)).await;
                }
            };
            local.shifts.work(serve).await;
            drop(open);
        });
    }

    /// Ends all connections when their queries are answered. New ones are refused meanwhile.
    async fn close(&self) {
        let _place = self.local.settling.clone();
        self.local.connections.close_when_quiet(Some(self.door));
        while Rc::strong_count(&self.open) > 1 {
            tokio::select! {
                Some(incoming) = self.endpoint.accept() => incoming.refuse(),
                () = sleep(LEAVING) => {}
            }
        }
        sleep(LEAVING).await;
    }
}
