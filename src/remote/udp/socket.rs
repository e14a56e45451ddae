//! One socket: what it sends and reads, and the port that it has for a while.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, Read};
use std::net::{SocketAddr, UdpSocket};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use socket2::{SockRef, Type};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::Notify;
use tokio::task::AbortHandle;

use super::super::failure::Failure;
use super::super::link::Link;
use super::super::message::Sent;
use super::super::table::{Closer, Outcome, Table, Ticket};
use super::super::vitals::Vitals;
use super::outbox::Outbox;
use crate::host::interest::registered;
use crate::host::permit::Permit;

/// Queries that one socket sends from one port. Fewer would be expensive: another port costs two
/// calls, and only queries from the same port share a call.
const QUERIES: u32 = 16;

/// How long one socket sends queries from one port, if there are few queries. A forger has this
/// long to find the port among thousands, and to guess an id as well.
const LIFE: Duration = Duration::from_secs(3);

/// Datagrams that answer nothing, after which a socket is given up.
const STRANGERS: u32 = 100;

/// Maximum datagrams that are read to empty a socket. It has no port, so no more arrive.
const QUEUE: usize = 65_536;

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 65_535]);
}

//----------- Socket ---------------------------------------------------------

/// A connected socket, and the questions that are open on it.
pub(super) struct Socket {
    /// The kernel reports that it can be read, and errors, but not that there is room to send: each
    /// datagram that leaves makes room, and would wake the thread.
    io: AsyncFd<UdpSocket>,
    pub(super) table: Arc<Table>,
    link: Arc<Link>,
    port: Mutex<Port>,
    left: AtomicU32,
    strangers: AtomicU32,
    /// Sends no more queries.
    retired: AtomicBool,
    /// Queries that go out when the tasks that run now have asked.
    outbox: Mutex<Outbox>,
    /// Notified when the outbox is no longer empty.
    news: Notify,
    carrier: OnceLock<AbortHandle>,
    _permit: Permit,
}

/// The port that the kernel has drawn.
#[derive(Clone, Copy)]
struct Port {
    number: u16,
    since: Instant,
}

impl Port {
    fn of(socket: &UdpSocket) -> io::Result<Self> {
        Ok(Self { number: socket.local_addr()?.port(), since: Instant::now() })
    }
}

impl Socket {
    /// Opens a socket that this thread sends from and reads until it is not needed any more.
    pub(super) fn open(link: &Arc<Link>, vitals: &Arc<Vitals>, permit: Permit) -> Result<Arc<Self>, Failure> {
        let connect = || {
            let socket = link.socket(Type::DGRAM)?;
            socket.connect(&link.peer.into())?;
            let io = registered(UdpSocket::from(socket), Interest::READABLE | Interest::ERROR)?;
            Port::of(io.get_ref()).map(|port| (io, port))
        };
        let (io, port) = connect().map_err(|error| Failure::dial("udp", link.peer, &error))?;
        let socket = Arc::new(Self {
            io,
            table: Arc::new(Table::of_datagrams(vitals.clone())),
            link: link.clone(),
            port: Mutex::new(port),
            left: AtomicU32::new(QUERIES - 1),
            strangers: AtomicU32::new(0),
            retired: AtomicBool::new(false),
            outbox: Mutex::default(),
            news: Notify::new(),
            carrier: OnceLock::new(),
            _permit: permit,
        });
        let carrier = tokio::spawn(socket.clone().carry());
        let _ = socket.carrier.set(carrier.abort_handle());
        Ok(socket)
    }

    /// Counts a query that is sent.
    pub(super) fn count_down(&self) {
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    }

    /// Whether no query waits.
    pub(super) fn is_idle(&self) -> bool {
        self.table.len() == 0
    }

    /// Whether it has sent enough from this port, or for long enough.
    pub(super) fn is_spent(&self, now: Instant) -> bool {
        let life = self.link.max_age.map_or(LIFE, |age| age.min(LIFE));
        self.left.load(Ordering::Relaxed) == 0 || self.age(now) > life
    }

    /// How long it has had its port.
    pub(super) fn age(&self, now: Instant) -> Duration {
        now.saturating_duration_since(lock(&self.port).since)
    }

    /// Draws another port. No query may wait on the socket, and none may enter it meanwhile.
    /// Returns whether the port differs from the old one.
    pub(super) fn renew(&self) -> io::Result<bool> {
        if self.is_lost() {
            return Ok(false);
        }
        // A query in here that is answered already has a forged answer.
        lock(&self.outbox).clear();
        rustix::net::connect_unspec(&self.io)?;
        // Without a port it receives nothing. What came to the old port must not be taken for
        // something that came to the new one: a forger would not have to guess it.
        let socket = SockRef::from(&self.io);
        let is_empty =
            || matches!((&*socket).read(&mut [0; 1]), Err(error) if error.kind() == io::ErrorKind::WouldBlock);
        if !(0..QUEUE).any(|_| is_empty()) {
            return Ok(false);
        }
        socket.connect(&self.link.peer.into())?;
        let (old, new) = (&mut *lock(&self.port), Port::of(self.io.get_ref())?);
        let is_new = old.number != new.number;
        *old = new;
        self.left.store(QUERIES - 1, Ordering::Relaxed);
        self.strangers.store(0, Ordering::Relaxed);
        Ok(is_new)
    }

    /// Whether it is of no use.
    pub(super) fn is_lost(&self) -> bool {
        self.retired.load(Ordering::Relaxed) || self.table.is_closed()
    }

    /// Sends nothing any more, and ends after the last reply. Returns whether that has come.
    pub(super) fn retire(&self) -> bool {
        self.retired.store(true, Ordering::Relaxed);
        self.retire_if_idle()
    }

    /// Ends if no query waits. Returns whether it has.
    pub(super) fn retire_if_idle(&self) -> bool {
        let is_over = self.table.close_if_empty();
        if is_over && let Some(carrier) = self.carrier.get() {
            carrier.abort();
        }
        is_over
    }

    /// Sends a query, with those that are asked at the same time.
    pub(super) fn send(&self, id: u16, sent: &Sent) {
        if lock(&self.outbox).put(id, sent) {
            self.news.notify_one();
        }
    }

    /// Sends and reads until the socket is not needed any more.
    async fn carry(self: Arc<Self>) {
        let _closer = Closer(self.table.clone());
        loop {
            tokio::select! {
                // What is to be sent has waited for its turn.
                biased;
                () = self.news.notified() => self.flush(),
                ready = self.io.ready(Interest::READABLE | Interest::ERROR) => {
                    let Ok(ready) = ready.map(|guard| guard.ready()) else { return };
                    if ready.is_error() {
                        self.take_error();
                    }
                    self.drain();
                }
            }
            if self.retired.load(Ordering::Relaxed) && self.table.close_if_empty() {
                return;
            }
        }
    }

    /// Sends what is in the outbox. Queries that cannot be sent fail.
    fn flush(&self) {
        lock(&self.outbox).send(&self.io, |id, error| {
            // This error is about an earlier query, and is reported only once.
            let is_about_another = error.kind() == io::ErrorKind::ConnectionRefused;
            if is_about_another {
                self.table.hint(&self.failure("read", error));
            } else {
                self.table.refuse(id, self.failure("write", error));
            }
            is_about_another
        });
    }

    /// Takes the error that ICMP has reported: it makes a socket ready for errors, not for reading.
    fn take_error(&self) {
        if let Ok(Some(error)) = self.io.get_ref().take_error() {
            self.table.hint(&self.failure("read", &error));
        }
        // There is one error at most: the socket waits for the next one.
        let _ = self.io.try_io(Interest::ERROR, |_| Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }

    /// Takes the datagrams that are there, as long as a query waits for one. Later ones make the
    /// socket ready again.
    fn drain(&self) {
        let socket = SockRef::from(&self.io);
        let read = |buffer: &mut Vec<u8>| {
            loop {
                match (&*socket).read(buffer) {
                    Ok(len) => self.take(&buffer[..len]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Err::<(), _>(error),
                    Err(error) => self.table.hint(&self.failure("read", &error)),
                }
                if self.table.len() == 0 {
                    return Err(io::ErrorKind::WouldBlock.into());
                }
            }
        };
        let _ = self.io.try_io(Interest::READABLE, |_| BUFFER.with_borrow_mut(read));
    }

    fn take(&self, message: &[u8]) {
        if self.table.arrived(message) || self.strangers.fetch_add(1, Ordering::Relaxed) + 1 < STRANGERS {
            return;
        }
        self.retired.store(true, Ordering::Relaxed);
        self.table.close(&Failure::forged(self.local(), self.link.peer));
    }

    fn local(&self) -> Option<SocketAddr> {
        self.io.get_ref().local_addr().ok()
    }

    pub(super) fn failure(&self, call: &str, error: &io::Error) -> Failure {
        Failure::io(call, "udp", self.local(), self.link.peer, error)
    }
}

//----------- Exchange -------------------------------------------------------

/// A query that was sent, and the wait for its answer. An error may be a hint: see
/// [`Exchange::wait_on`].
pub(crate) struct Exchange {
    socket: Arc<Socket>,
    ticket: Ticket,
}

impl Exchange {
    pub(super) fn new(socket: Arc<Socket>, ticket: Ticket) -> Self {
        Self { socket, ticket }
    }

    /// Goes on waiting after an error. Returns whether an answer may still come.
    pub(crate) fn wait_on(&mut self) -> bool {
        self.ticket.wait_on()
    }

    /// The failure if the answer did not come in time.
    pub(crate) fn timeout(&self) -> Failure {
        Failure::timeout("udp", self.socket.local(), self.socket.link.peer)
    }
}

impl Future for Exchange {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        self.ticket.poll(cx)
    }
}

/// Locks, whatever happened to the thread that had the lock before.
pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Row D1, in part: what came to the old port must not count as guessed.
    #[tokio::test]
    async fn a_new_port_receives_no_old_datagrams() {
        let upstream = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let peer = upstream.local_addr().expect("bound");
        for source in [None, Some(peer.ip())] {
            let expire = Duration::from_secs(10);
            let link = Link { peer, source, expire, max_age: None, max_idle: None, random_case: false };
            let permit = Permit::take(&Arc::default(), 1).expect("a place");
            let socket = Socket::open(&Arc::new(link), &Arc::default(), permit).unwrap_or_else(|_| panic!("no socket"));
            let (io, mut buffer) = (SockRef::from(&socket.io), [0; 16]);
            let old = socket.local().expect("bound");
            upstream.send_to(b"late", old).expect("sent");
            assert!(socket.renew().expect("connected anew"));
            let new = socket.local().expect("bound");
            assert!(new.ip() == old.ip() && new.port() != old.port(), "{old} {new}");
            assert!((&*io).read(&mut buffer).is_err(), "it was thrown away");
            upstream.send_to(b"in time", new).expect("sent");
            assert_eq!((&*io).read(&mut buffer).expect("received"), 7);
            assert!(socket.retire() && !socket.renew().expect("nothing done"), "it is over");
        }
    }
}
