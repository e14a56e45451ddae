//! Queries over UDP: connected sockets, each with a port of its own and a short life.
//!
//! A forger must guess port and id. The kernel draws the port when a socket is connected, from all that there are, and
//! sockets are replaced after a few queries. A socket is read by the thread that opened it, so that an answer wakes
//! nobody on another core; since a port is drawn anew for each few queries, it says nothing about the thread
//! that will have it next (what CVE-2026-50252 needs are ports that stay with their thread). Being connected, a socket
//! takes nothing from other addresses and learns from ICMP that nobody listens. That is a hint and no more: ICMP
//! messages can be forged. Neither network nor host unreachable are told to such a socket unless it asks for the error
//! queue (IP_RECVERR), which no safe crate reads; they end like silence, within the time of a late answer.
//!
//! Datagrams that answer nothing are ignored. After a hundred of them somebody is guessing: the socket is given up, and
//! whoever waits asks over TCP.

use std::cell::RefCell;
use std::future::Future;
use std::io::{self, IoSlice, Read};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use rand::RngExt;
use socket2::{SockRef, Type};
use tokio::io::Interest;
use tokio::net::UdpSocket;
use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::failure::Failure;
use super::link::{Link, Place, Reuse};
use super::message::Sent;
use super::table::{Closer, Outcome, Table, Ticket};
use super::vitals::Vitals;

/// Sockets of one thread in use at a time.
const ACTIVE: usize = 4;

/// Queries that one socket sends.
const QUERIES: u32 = 6;

/// How long one socket sends queries.
const LIFE: Duration = Duration::from_secs(10);

/// Sockets to one upstream, those included that wait for their last replies. Beyond that sockets live longer.
const MOST: usize = 256;

/// Threads that have sockets of their own; others share with one of them.
const THREADS: usize = 16;

/// Datagrams that answer nothing, after which a socket is given up.
const STRANGERS: u32 = 100;

/// How often is looked which sockets are needed still.
const TICK: Duration = Duration::from_millis(500);

thread_local! {
    static BUFFER: RefCell<Vec<u8>> = RefCell::new(vec![0; 65_535]);
    static THREAD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % THREADS
    };
}

//----------- Pool -----------------------------------------------------------

/// The sockets to one upstream.
pub(super) struct Pool {
    link: Arc<Link>,
    reuse: Reuse,
    vitals: Arc<Vitals>,
    shelves: Arc<Shelves>,
    open: Arc<AtomicUsize>,
}

/// The sockets by the thread that reads them.
#[derive(Default)]
struct Shelves {
    all: [Mutex<Shelf>; THREADS],
    is_tended: AtomicBool,
}

#[derive(Default)]
struct Shelf {
    active: Vec<Arc<Socket>>,
    /// They send nothing any more, but may still receive.
    leaving: Vec<Arc<Socket>>,
}

struct Socket {
    io: UdpSocket,
    table: Arc<Table>,
    link: Arc<Link>,
    opened: Instant,
    left: AtomicU32,
    strangers: AtomicU32,
    /// No longer in use.
    retired: AtomicBool,
    reader: OnceLock<AbortHandle>,
    _place: Place,
}

impl Pool {
    pub(super) fn new(link: Link, reuse: Reuse, vitals: Arc<Vitals>) -> Self {
        Self { link: Arc::new(link), reuse, vitals, shelves: Arc::default(), open: Arc::default() }
    }

    /// Sends a query over some socket. `runtime` is for what outlives the caller.
    pub(super) fn send(&self, sent: &Arc<Sent>, runtime: &Handle) -> Result<Exchange, Failure> {
        let mut drawn = None;
        if self.link.random_case && self.vitals.keeps_case() {
            drawn = Some(Arc::new(sent.in_random_case()));
        }
        let sent = drawn.as_ref().unwrap_or(sent);
        let (socket, ticket) = self.enter(sent, runtime)?;
        let mut exchange = Exchange { socket, ticket, unsent: None };
        match exchange.socket.send(exchange.ticket.id, sent) {
            Ok(()) => {}
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => exchange.unsent = Some(sent.clone()),
            Err(error) => return Err(exchange.socket.failure("write", &error)),
        }
        Ok(exchange)
    }

    fn enter(&self, sent: &Arc<Sent>, runtime: &Handle) -> Result<(Arc<Socket>, Ticket), Failure> {
        let mut shelf = lock(&self.shelves.all[THREAD.with(|&at| at)]);
        if let Some(socket) = self.pick(&mut shelf)
            && let Some(ticket) = socket.table.enter(sent)
        {
            self.reuse.hits.inc();
            return Ok((socket, ticket));
        }
        self.reuse.misses.inc();
        let opened = self.open();
        shelf.active.extend(opened.iter().cloned());
        drop(shelf);
        let socket = match opened {
            Ok(socket) => socket,
            // No port is free, or no descriptor: a socket that has sent enough is better than none.
            Err(failure) => return self.shelves.enter_any(sent).ok_or(failure),
        };
        if !self.shelves.is_tended.swap(true, Ordering::AcqRel) {
            runtime.spawn(tend(self.shelves.clone(), self.link.expire));
        }
        let ticket = socket.table.enter(sent).ok_or_else(|| Failure::other("the socket is gone"))?;
        Ok((socket, ticket))
    }

    /// A random socket of those in use, or nothing if a new one should be opened.
    fn pick(&self, shelf: &mut Shelf) -> Option<Arc<Socket>> {
        let is_full = self.open.load(Ordering::Relaxed) >= MOST;
        let mut at = 0;
        while let Some(socket) = shelf.active.get(at) {
            if socket.is_lost() || socket.is_spent() && !is_full {
                let socket = shelf.active.swap_remove(at);
                if !socket.retire() {
                    // Those that have ended since make room.
                    shelf.leaving.retain(|socket| !socket.table.is_closed());
                    shelf.leaving.push(socket);
                }
            } else {
                at += 1;
            }
        }
        if shelf.active.is_empty() || shelf.active.len() < self.width() && !is_full {
            return None;
        }
        let socket = shelf.active[rand::rng().random_range(..shelf.active.len())].clone();
        socket.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).ok();
        Some(socket)
    }

    fn open(&self) -> Result<Arc<Socket>, Failure> {
        let place = Place::take(&self.open, MOST).ok_or_else(|| Failure::other("too many sockets"))?;
        let peer = self.link.peer;
        let connect = || {
            let socket = self.link.socket(Type::DGRAM)?;
            socket.connect(&peer.into())?;
            UdpSocket::from_std(socket.into())
        };
        let socket = Arc::new(Socket {
            io: connect().map_err(|error| Failure::dial("udp", peer, &error))?,
            table: Arc::new(Table::of_datagrams(self.vitals.clone())),
            link: self.link.clone(),
            opened: Instant::now(),
            left: AtomicU32::new(QUERIES - 1),
            strangers: AtomicU32::new(0),
            retired: AtomicBool::new(false),
            reader: OnceLock::new(),
            _place: place,
        });
        let reader = tokio::spawn(socket.clone().read());
        let _ = socket.reader.set(reader.abort_handle());
        Ok(socket)
    }

    /// Sockets of one thread in use at a time.
    fn width(&self) -> usize {
        self.link.max_idle.unwrap_or(ACTIVE).clamp(1, ACTIVE)
    }
}

impl Drop for Pool {
    fn drop(&mut self) {
        for shelf in &self.shelves.all {
            let mut shelf = lock(shelf);
            let Shelf { active, leaving } = &mut *shelf;
            leaving.extend(active.drain(..).filter(|socket| !socket.retire()));
        }
    }
}

/// Looks now and then what is not needed any more, as long as there is anything.
async fn tend(shelves: Arc<Shelves>, expire: Duration) {
    let tick = TICK.min(expire.max(Duration::from_millis(20)));
    loop {
        tokio::time::sleep(tick).await;
        let now = Instant::now();
        for shelf in &shelves.all {
            let Shelf { active, leaving } = &mut *lock(shelf);
            active.iter().chain(&*leaving).for_each(|socket| socket.table.forget(now));
            active.retain(|socket| now.saturating_duration_since(socket.opened) < expire || !socket.retire_if_idle());
            leaving.retain(|socket| !socket.retire());
        }
        if shelves.are_empty() {
            shelves.is_tended.store(false, Ordering::Release);
            // Whoever has opened a socket just now may have found it tended.
            if shelves.are_empty() || shelves.is_tended.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    }
}

impl Shelves {
    fn are_empty(&self) -> bool {
        self.all.iter().map(lock).all(|shelf| shelf.active.is_empty() && shelf.leaving.is_empty())
    }

    /// A place on any socket at all.
    fn enter_any(&self, sent: &Arc<Sent>) -> Option<(Arc<Socket>, Ticket)> {
        self.all.iter().map(lock).find_map(|shelf| {
            shelf
                .active
                .iter()
                .chain(&shelf.leaving)
                .find_map(|socket| Some((socket.clone(), socket.table.enter(sent)?)))
        })
    }
}

fn lock(shelf: &Mutex<Shelf>) -> MutexGuard<'_, Shelf> {
    shelf.lock().unwrap_or_else(PoisonError::into_inner)
}

//----------- Exchange -------------------------------------------------------

/// A query that was sent, and the wait for its answer. An error may be a hint: see [`Exchange::wait_on`].
pub(super) struct Exchange {
    socket: Arc<Socket>,
    ticket: Ticket,
    /// The socket had no room.
    unsent: Option<Arc<Sent>>,
}

impl Exchange {
    /// Goes on waiting after an error. Returns whether an answer may still come.
    pub(super) fn wait_on(&mut self) -> bool {
        self.ticket.wait_on()
    }

    /// What to say when the answer did not come in time.
    pub(super) fn timeout(&self) -> Failure {
        Failure::timeout("udp", self.socket.io.local_addr().ok(), self.socket.link.peer)
    }
}

impl Future for Exchange {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        while let Some(sent) = self.unsent.take() {
            // Of several that wait for room the last alone is woken: the others are late, and ask again.
            if self.socket.io.poll_send_ready(cx).is_pending() {
                self.unsent = Some(sent);
                break;
            }
            let id = self.ticket.id;
            let socket = self.socket.clone();
            match socket.io.try_io(Interest::WRITABLE, || socket.send(id, &sent)) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.unsent = Some(sent),
                Err(error) => return Poll::Ready(Err(socket.failure("write", &error))),
            }
        }
        Poll::Ready(ready!(self.ticket.poll(cx)))
    }
}

//----------- Socket ---------------------------------------------------------

impl Socket {
    /// Whether it has sent enough, or for long enough.
    fn is_spent(&self) -> bool {
        let life = self.link.max_age.map_or(LIFE, |age| age.min(LIFE));
        self.left.load(Ordering::Relaxed) == 0 || self.opened.elapsed() > life
    }

    /// Whether it is of no use.
    fn is_lost(&self) -> bool {
        self.retired.load(Ordering::Relaxed) || self.table.is_closed()
    }

    /// Sends nothing any more, and ends after the last reply. Returns whether that has come.
    fn retire(&self) -> bool {
        self.retired.store(true, Ordering::Relaxed);
        self.retire_if_idle()
    }

    /// Ends if nobody waits. Returns whether it has.
    fn retire_if_idle(&self) -> bool {
        let is_over = self.table.close_if_empty();
        if is_over && let Some(reader) = self.reader.get() {
            reader.abort();
        }
        is_over
    }

    fn send(&self, id: u16, sent: &Sent) -> io::Result<()> {
        let id = id.to_be_bytes();
        let parts = [IoSlice::new(&id), IoSlice::new(sent.behind_id())];
        let write = || SockRef::from(&self.io).send_vectored(&parts).map(|_| ());
        match write() {
            // That is about an earlier query, and now it has been told.
            Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {
                self.table.hint(&self.failure("read", &error));
                write()
            }
            done => done,
        }
    }

    /// Reads until the socket is not needed any more.
    async fn read(self: Arc<Self>) {
        let _closer = Closer(self.table.clone());
        while let Ok(ready) = self.io.ready(Interest::READABLE | Interest::ERROR).await {
            if ready.is_error() {
                self.take_error();
            }
            self.drain();
            if self.retired.load(Ordering::Relaxed) && self.table.close_if_empty() {
                return;
            }
        }
    }

    /// Takes what ICMP has told: it makes a socket ready for errors alone, not for reading.
    fn take_error(&self) {
        if let Ok(Some(error)) = self.io.take_error() {
            self.table.hint(&self.failure("read", &error));
        }
        // That was all: waits for the next one.
        let _ = self.io.try_io(Interest::ERROR, || Err::<(), _>(io::ErrorKind::WouldBlock.into()));
    }

    /// Takes the datagrams that are there, as long as somebody waits for one: what comes later says so.
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
        let _ = self.io.try_io(Interest::READABLE, || BUFFER.with_borrow_mut(read));
    }

    fn take(&self, message: &[u8]) {
        if self.table.arrived(message) || self.strangers.fetch_add(1, Ordering::Relaxed) + 1 < STRANGERS {
            return;
        }
        self.retired.store(true, Ordering::Relaxed);
        self.table.close(&Failure::forged(self.io.local_addr().ok(), self.link.peer));
    }

    fn failure(&self, call: &str, error: &io::Error) -> Failure {
        Failure::io(call, "udp", (self.io.local_addr().ok(), self.link.peer), error)
    }
}
