//! The client of a connection that comes through a proxy: its header stands in front of everything
//! else, the TLS handshake included.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{sleep, timeout};

use super::session::Session;
use crate::chain::proxies::{Entry, Proxies};
use crate::wire::proxy::LONGEST;

/// Interval between looks at a header that came in part. Proxies write theirs at once.
const PART: Duration = Duration::from_millis(10);

/// Finds the client of a connection, if proxies stand in front of its listener, and takes the
/// header off. Returns `None` if the connection is refused, if no header comes in the time for a message,
/// or if the connection is given up.
pub(super) async fn find_client(session: &mut Session, stream: &mut TcpStream) -> Option<()> {
    let Some(proxies) = session.last.proxies.clone() else { return Some(()) };
    let (member, patience) = (&session.member, session.last.timeouts.message());
    // It costs what a handshake costs, and the same bound applies.
    member.begin_handshake();
    let found = tokio::select! {
        found = timeout(patience, find(&*proxies, stream, session.client.peer)) => found.ok().flatten(),
        () = member.wake.notified() => None,
    };
    member.end_handshake();
    session.client.peer = found?;
    session.member.belongs_to(session.client.peer.ip());
    Some(())
}

async fn find(proxies: &dyn Proxies, stream: &mut TcpStream, peer: SocketAddr) -> Option<SocketAddr> {
    loop {
        // Nothing is read yet: without a header all of it belongs to the client.
        let entry = poll_fn(|context| {
            let mut octets = [0; LONGEST];
            let mut buffer = ReadBuf::new(&mut octets);
            let peeked = ready!(stream.poll_peek(context, &mut buffer));
            let is_open = peeked.is_ok_and(|octets| octets > 0);
            Poll::Ready(if is_open { proxies.connection(buffer.filled(), peer) } else { Entry::Refused })
        });
        match entry.await {
            Entry::Client(client, len) => {
                let mut rest = stream.take(len as u64);
                tokio::io::copy(&mut rest, &mut tokio::io::sink()).await.ok()?;
                return Some(client);
            }
            Entry::Part => sleep(PART).await,
            Entry::Refused => return None,
        }
    }
}
