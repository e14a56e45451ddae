//! What all sockets to one server have in common.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use socket2::{Domain, Socket, Type};

use crate::host::metrics::Counter;

/// How to reach a server.
#[derive(Debug, Clone)]
pub(super) struct Link {
    /// Where it listens.
    pub(super) peer: SocketAddr,
    /// The address that queries leave from, if one is asked for.
    pub(super) source: Option<IpAddr>,
    /// How long a socket without questions is kept.
    pub(super) expire: Duration,
    /// How long a socket is used at all.
    pub(super) max_age: Option<Duration>,
    /// How many sockets without questions are kept.
    pub(super) max_idle: Option<usize>,
    /// Whether questions in datagrams are in random case.
    pub(super) random_case: bool,
}

impl Link {
    /// Makes a socket that is not connected yet. It is bound if there is an address to leave from.
    pub(super) fn socket(&self, kind: Type) -> io::Result<Socket> {
        let socket = Socket::new(Domain::for_address(self.peer), kind, None)?;
        socket.set_nonblocking(true)?;
        if let Some(source) = self.source {
            socket.bind(&SocketAddr::new(source, 0).into())?;
        }
        Ok(socket)
    }
}

/// Counts sockets that were found open, and those that had to be opened.
#[derive(Clone)]
pub(crate) struct Reuse {
    /// An open one was taken.
    pub(crate) hits: Counter,
    /// A new one was opened.
    pub(crate) misses: Counter,
}

/// Interval between checks for idle connections.
const TICK: Duration = Duration::from_millis(500);

/// Returns when there was no question for `expire`, or when a retired connection has answered its
/// last one.
pub(super) async fn idle(in_flight: &AtomicUsize, retired: &AtomicBool, expire: Duration) {
    let mut busy = Instant::now();
    loop {
        tokio::time::sleep(TICK.min(expire.max(Duration::from_millis(20)))).await;
        if in_flight.load(Ordering::Relaxed) > 0 {
            busy = Instant::now();
        } else if retired.load(Ordering::Relaxed) || busy.elapsed() >= expire {
            return;
        }
    }
}
