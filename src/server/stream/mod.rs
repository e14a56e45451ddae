//! Streams: messages with a length prefix, over TCP or TLS, answered in the order in which answers
//! are ready; and messages in HTTP requests, which calls of gRPC are too.
//!
//! A client decides what it sends, how fast, and whether it reads. Limits apply to what it makes
//! the worker hold and do:
//!
//! - [`session`]: one connection. Messages are answered one by one, a slice at a time
//!   ([`Shifts`](super::shifts)), while few replies are unread
//! - [`carrier`]: TCP, or TLS on TCP
//! - [`proxied`]: the client of a connection that comes through a proxy
//! - [`input`]: messages before they are answered
//! - [`output`]: those replies, and how fast the client has to read them
//! - [`http`]: a connection whose messages come as HTTP requests
//! - [`quic`]: connections over UDP, with a stream for each message
//! - [`flight`]: queries that wait, of connections whose messages come one by one
//! - [`connections`]: all connections of a worker, and which one is closed when there are too many
//!   or they hold too much

mod carrier;
mod connections;
mod flight;
mod http;
mod input;
mod output;
mod proxied;
mod quic;
mod session;
#[cfg(test)]
mod tests;

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::time::{Duration, Instant};

use socket2::SockRef;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::{spawn_local, yield_now};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;

use self::carrier::{Carrier, SEALED};
pub(super) use self::connections::{Connections, Limits};
use self::http::Dialect;
pub(super) use self::http::HttpCounts;
pub(super) use self::quic::{QuicCommon, accept as accept_quic};
use self::session::Session;
use super::bind::Kind;
use super::worker::{Closing, Local};
use crate::chain::listener::Listener;
use crate::chain::{Client, Proto};
use crate::corefile::address::Transport;
use crate::error::{is_out_of_files, words};
use crate::host::log;

/// How long a connection may take from its first packet to being accepted when its door closes.
const ON_THEIR_WAY: Duration = Duration::from_secs(1);

/// Connections accepted in a row before the worker looks for datagrams.
const ROW: usize = 16;

/// Octets that the kernel is asked to buffer for a connection, for reading and for writing; it
/// doubles both. A client that does not read, or that sends faster than it is served, holds no more
/// than this. Replies of 64 KiB go in a few steps.
const BUFFERS: (usize, usize) = (16 << 10, 32 << 10);

/// Logs that connections cannot be accepted, for lack of files. Clients that left early are
/// ignored.
fn tell_refused(local: &Local, error: &io::Error) {
    if !is_out_of_files(error) {
        return;
    }
    if let Some(held_back) = local.shared.refused.allow("", Instant::now().into()) {
        log::error("", format_args!("TCP connections cannot be accepted: {}{held_back}", words(error)));
    }
}

/// Accepts connections until the door closes, and those that were on their way then.
pub(super) async fn accept(local: Rc<Local>, door: usize, ear: TcpListener, mut closing: watch::Receiver<Closing>) {
    // Connections inherit the listener's buffer sizes.
    let _ = SockRef::from(&ear).set_recv_buffer_size(BUFFERS.0);
    let _ = SockRef::from(&ear).set_send_buffer_size(BUFFERS.1);
    let Ok(ear) = tokio::net::TcpListener::from_std(ear) else { return };
    local.count_files();
    let closed = async move {
        let _ = closing.wait_for(Option::is_some).await;
        tokio::time::sleep(ON_THEIR_WAY).await;
    };
    tokio::pin!(closed);
    let mut row = 0;
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = ear.accept() => accepted,
            () = &mut closed => return,
        };
        match accepted {
            Ok((stream, peer)) => {
                local.hear(Instant::now());
                row += 1;
                admit(&local, door, stream, peer);
                if row % ROW == 0 {
                    yield_now().await;
                }
            }
            Err(error) => has_failed(&local, &error).await,
        }
    }
}

/// Waits until accepting is worth another try; without files, until a connection has ended.
async fn has_failed(local: &Local, error: &io::Error) {
    let connections = &local.connections;
    let out_of_files = is_out_of_files(error);
    if out_of_files && !connections.are_ending() && connections.make_room(|one| one.files() > 0) {
        local.shared.evicted.files.inc();
    }
    if out_of_files && connections.are_ending() {
        return yield_now().await;
    }
    tell_refused(local, error);
    // Connections get time to end.
    tokio::time::sleep(Duration::from_millis(50)).await;
}

/// Starts serving a connection.
fn admit(local: &Rc<Local>, door: usize, stream: TcpStream, peer: SocketAddr) {
    let _ = stream.set_nodelay(true);
    let here = stream.local_addr().unwrap_or(peer);
    let client = Client { peer: canonical(peer), local: canonical(here), proto: Proto::Tcp };
    let live = local.shared.live.load();
    let served = live.of_stream(door, client.local, |transport| Kind::Streams.serves(transport)).cloned();
    let Some(listener) = served.or_else(|| live.last_of(door)) else { return };
    let member = Connections::join(local, door, most(local, &listener), client.peer.ip(), stream.as_raw_fd());
    let (transport, secure) = (listener.transport, listener.secure.clone());
    let (local, mut session) = (local.clone(), Session::new(local.clone(), door, listener, client, member));
    spawn_local(async move {
        let dialect = Dialect::of(transport);
        let mut stream = stream;
        let serve = async {
            if session.last.proxies.is_some() && Box::pin(find_client(&mut session, &mut stream)).await.is_none() {
                return;
            }
            let Some(secure) = secure else { return talk(session, stream, dialect, false).await };
            let shaking = TlsAcceptor::from(secure.config(transport)).accept(stream);
            if let Some(mut stream) = session.shake_hands(shaking).await {
                stream.get_mut().1.set_buffer_limit(Some(SEALED));
                let is_http2 = stream.get_ref().1.alpn_protocol() == Some(b"h2");
                talk(session, stream, dialect, is_http2).await;
            }
        };
        local.shifts.work(serve).await;
    });
}

/// Finds the client of a connection, if proxies stand in front of its listener. Returns `None` if
/// the connection is refused, if its header takes longer than a message may, or if it is given up.
async fn find_client(session: &mut Session, stream: &mut TcpStream) -> Option<()> {
    let Some(proxies) = session.last.proxies.clone() else { return Some(()) };
    let (member, patience) = (&session.member, session.last.timeouts.message());
    // It costs what a handshake costs, and the same bound applies.
    member.begin_handshake();
    let found = tokio::select! {
        found = timeout(patience, proxied::find(&*proxies, stream, session.client.peer)) => found.ok().flatten(),
        () = member.wake.notified() => None,
    };
    member.end_handshake();
    session.client.peer = found?;
    session.member.belongs_to(session.client.peer.ip());
    Some(())
}

/// Serves a connection: its messages come in requests if there is a dialect for them. gRPC is
/// spoken over HTTP/2 whatever was agreed on.
async fn talk(session: Session, stream: impl Carrier + 'static, dialect: Option<Dialect>, is_http2: bool) {
    match dialect {
        // Boxed: what hyper needs is large, and most connections are plain.
        Some(dialect) => {
            let is_http2 = is_http2 || dialect == Dialect::Grpc;
            Box::pin(http::run(session, stream, dialect, is_http2)).await;
        }
        None => session.run(stream).await,
    }
}

/// Returns how many connections a listener may have on this worker, if they are limited.
fn most(local: &Local, listener: &Listener) -> Option<usize> {
    let default = match Dialect::of(listener.transport) {
        Some(dialect) => Some(dialect.caps().0),
        None => (listener.transport == Transport::Quic).then_some(quic::CAPS.0),
    };
    let most = listener.caps.connections.or(default).filter(|&connections| connections > 0)?;
    Some(local.shared.share_of(most))
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}
