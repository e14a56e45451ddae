//! The client of a connection that comes through a proxy: its header stands in front of everything
//! else, the TLS handshake included.

use std::future::poll_fn;
use std::net::SocketAddr;
use std::task::{Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::sleep;

use crate::chain::proxies::{Entry, Proxies};
use crate::wire::proxy::LONGEST;

/// Interval between looks at a header that came in part. Proxies write theirs at once.
const PART: Duration = Duration::from_millis(10);

/// Finds the client of a connection from `peer`, and takes the header off. Returns `None` if the
/// connection is refused. It waits as long as there is no header, or only a part.
pub(super) async fn find(proxies: &dyn Proxies, stream: &mut TcpStream, peer: SocketAddr) -> Option<SocketAddr> {
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
