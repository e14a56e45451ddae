//! Queries over UDP: connected sockets, each with a port of its own and a short life.
//!
//! A forger must guess port and id. The kernel draws the port when a socket is connected, so sockets are
//! replaced after a few queries; they belong to the upstream and never to a worker, or the port would tell
//! which worker asks (CVE-2026-50252). Being connected, a socket takes nothing from other addresses and
//! learns from ICMP that nobody listens.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use rand::RngExt;
use socket2::{SockRef, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::runtime::Handle;

use super::failure::Failure;
use super::link::{Link, Place, Reuse};
use super::message::Sent;
use super::table::{Closer, Outcome, Table, Ticket};

/// Sockets in use at a time.
const ACTIVE: usize = 4;

/// Queries that one socket sends.
const QUERIES: u32 = 6;

/// How long one socket sends queries.
const LIFE: Duration = Duration::from_secs(10);

/// Sockets to one upstream, those included that wait for their last replies. Beyond that sockets live longer.
const MOST: usize = 256;

/// How often a socket looks whether it is still needed.
const TICK: Duration = Duration::from_millis(500);

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 65_535]);
}

//----------- Pool -----------------------------------------------------------

/// The sockets to one upstream.
pub(super) struct Pool {
    link: Link,
    reuse: Reuse,
    active: Mutex<Vec<Arc<Socket>>>,
    open: Arc<AtomicUsize>,
}

struct Socket {
    io: UdpSocket,
    table: Arc<Table>,
    opened: Instant,
    left: AtomicU32,
    /// No longer in the pool.
    retired: AtomicBool,
    _place: Place,
}

impl Pool {
    pub(super) fn new(link: Link, reuse: Reuse) -> Self {
        Self { link, reuse, active: Mutex::default(), open: Arc::default() }
    }

    /// Asks over some socket and waits for the answer for `patience`.
    pub(super) async fn exchange(&self, sent: &Arc<Sent>, patience: Duration, runtime: &Handle) -> Outcome {
        let (socket, mut ticket) = self.enter(sent, runtime)?;
        let local = || socket.io.local_addr().ok();
        let answer = async {
            if let Err(error) = socket.send(ticket.id, sent).await {
                // The error may be about an earlier query of this socket: all of them learn of it.
                socket.table.fail(&Failure::io("write", "udp", (local(), self.link.peer), &error));
            }
            (&mut ticket.reply).await
        };
        match tokio::time::timeout(patience, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) => Err(Failure::other("the socket is gone")),
            Err(_) => Err(Failure::timeout("udp", local(), self.link.peer)),
        }
    }

    fn enter(&self, sent: &Arc<Sent>, runtime: &Handle) -> Result<(Arc<Socket>, Ticket), Failure> {
        if let Some(socket) = self.pick()
            && let Some(ticket) = socket.table.enter(sent)
        {
            self.reuse.hits.inc();
            return Ok((socket, ticket));
        }
        self.reuse.misses.inc();
        let socket = self.open(runtime)?;
        let ticket = socket.table.enter(sent).ok_or_else(|| Failure::other("the socket is gone"))?;
        Ok((socket, ticket))
    }

    /// A random socket of those in use, or nothing if a new one should be opened.
    fn pick(&self) -> Option<Arc<Socket>> {
        let mut active = self.lock();
        let is_full = self.open.load(Ordering::Relaxed) >= MOST;
        active
            .retain(|socket| (!socket.is_spent(&self.link) || is_full) && !socket.table.is_closed() || socket.retire());
        if active.is_empty() || active.len() < self.width() && !is_full {
            return None;
        }
        let socket = active[rand::rng().random_range(..active.len())].clone();
        socket.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).ok();
        Some(socket)
    }

    fn open(&self, runtime: &Handle) -> Result<Arc<Socket>, Failure> {
        let place = Place::take(&self.open, MOST).ok_or_else(|| Failure::other("too many sockets"))?;
        let peer = self.link.peer;
        let connect = || {
            let socket = self.link.socket(Type::DGRAM)?;
            socket.connect(&peer.into())?;
            let _context = runtime.enter();
            UdpSocket::from_std(socket.into())
        };
        let io = connect().map_err(|error| Failure::dial("udp", peer, &error))?;
        let left = AtomicU32::new(QUERIES - 1);
        let (table, retired) = (Arc::default(), AtomicBool::new(false));
        let socket = Arc::new(Socket { io, table, opened: Instant::now(), left, retired, _place: place });
        runtime.spawn(socket.clone().read(self.link.clone()));
        self.lock().push(socket.clone());
        Ok(socket)
    }

    /// Sockets in use at a time.
    fn width(&self) -> usize {
        self.link.max_idle.unwrap_or(ACTIVE).clamp(1, ACTIVE)
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Socket>>> {
        self.active.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        self.lock().retain(|socket| socket.retire());
    }
}

//----------- Socket ---------------------------------------------------------

impl Socket {
    /// Whether it has sent enough, or for long enough.
    fn is_spent(&self, link: &Link) -> bool {
        let life = link.max_age.map_or(LIFE, |age| age.min(LIFE));
        self.left.load(Ordering::Relaxed) == 0 || self.opened.elapsed() > life
    }

    /// Ends after the last reply. Always false, as the pool wants it.
    fn retire(&self) -> bool {
        self.retired.store(true, Ordering::Relaxed);
        false
    }

    async fn send(&self, id: u16, sent: &Sent) -> io::Result<()> {
        let id = id.to_be_bytes();
        let parts = [IoSlice::new(&id), IoSlice::new(sent.behind_id())];
        let write = || SockRef::from(&self.io).send_vectored(&parts);
        // Not through `try_io` at first: it would wait until the reactor has seen the new socket.
        let mut done = write();
        while done.as_ref().is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
            self.io.writable().await?;
            done = self.io.try_io(Interest::WRITABLE, write);
        }
        done.map(|_| ())
    }

    /// Reads until the socket is not needed any more.
    async fn read(self: Arc<Self>, link: Link) {
        let _closer = Closer(self.table.clone());
        let mut tick = tokio::time::interval(TICK.min(link.expire.max(Duration::from_millis(20))));
        let mut last = Instant::now();
        loop {
            tokio::select! {
                ready = self.io.ready(Interest::READABLE | Interest::ERROR) => {
                    let Ok(ready) = ready else { return };
                    if ready.is_error() {
                        self.take_error(&link);
                    }
                    self.drain(&link);
                    last = Instant::now();
                }
                _ = tick.tick() => {}
            }
            let is_done = self.retired.load(Ordering::Relaxed) || last.elapsed() >= link.expire;
            if is_done && self.table.close_if_empty() {
                return;
            }
        }
    }

    /// Takes what ICMP has told: it makes a socket ready for errors alone, not for reading.
    fn take_error(&self, link: &Link) {
        let took = self.io.take_error();
        if let Ok(Some(error)) = took {
            self.table.fail(&self.failure(link, &error));
        }
        // That was all: waits for the next one.
        let _ = self.io.try_io(Interest::ERROR, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }

    /// Takes every datagram that is there.
    fn drain(&self, link: &Link) {
        BUFFER.with_borrow_mut(|buffer| {
            loop {
                match self.io.try_recv(buffer) {
                    // What nobody waits for is dropped: it is late, or forged.
                    Ok(len) => _ = self.table.arrived(&buffer[..len]),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                    Err(error) => self.table.fail(&self.failure(link, &error)),
                }
            }
        });
    }

    fn failure(&self, link: &Link, error: &io::Error) -> Failure {
        Failure::io("read", "udp", (self.io.local_addr().ok(), link.peer), error)
    }
}
