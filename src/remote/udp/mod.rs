//! Queries over UDP: connected sockets, each with a port of its own and a short life.
//!
//! A forger must guess port and id. The kernel draws the port when a socket is connected, from all
//! that there are, and after a few queries a socket gives its port up and is connected anew. That
//! costs a third of a new socket, which would have to be registered, and closed, as well. A socket
//! is read by the thread that opened it, so that an answer wakes no thread on another core. Since a
//! port is drawn anew for each few queries, it says nothing about the thread that will have it next
//! (CVE-2026-50252 needs ports that stay with their thread). Being connected, a socket takes
//! nothing from other addresses and learns from ICMP that the port is closed. That is only a hint:
//! ICMP messages can be forged. Neither network nor host unreachable are told to such a socket
//! unless it asks for the error queue (IP_RECVERR), which no safe crate reads; they end like
//! silence, within the time of a late answer.
//!
//! A query leaves with those that are asked at the same time: the task that reads a socket also
//! sends, and its turn comes when all tasks before it have asked. A datagram of its own would cost
//! each of them a call.
//!
//! A query that the socket has no room for is lost, as on a full router, and asked again when it is
//! late.
//!
//! Datagrams that answer nothing are ignored. A hundred of them mean that a forger is guessing: the
//! socket is given up, and its questions move to TCP.

mod outbox;
mod socket;

use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use rand::RngExt;
use tokio::runtime::Handle;

pub(crate) use self::socket::Exchange;
use self::socket::{Socket, lock};
use super::failure::Failure;
use super::link::{Link, Reuse};
use super::message::Sent;
use super::table::Ticket;
use super::vitals::Vitals;
use crate::host::permit::Permit;

/// Sockets of one thread in use at a time.
const ACTIVE: usize = 4;

/// Sockets to one server, including those that wait for their last replies. Beyond that sockets
/// live longer.
const MOST: usize = 256;

/// How many of the sockets that wait for their last replies are looked at, those first that wait
/// for the longest, before a new one is opened.
const LOOKS: usize = 4;

/// Threads that have sockets of their own; others share with one of them.
const THREADS: usize = 16;

/// Interval between checks for idle sockets.
const TICK: Duration = Duration::from_millis(500);

thread_local! {
    static THREAD: usize = {
        static NEXT: AtomicUsize = AtomicUsize::new(0);
        NEXT.fetch_add(1, Ordering::Relaxed) % THREADS
    };
}

//----------- UdpPool --------------------------------------------------------

/// The sockets to one server.
pub(super) struct UdpPool {
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
    /// They have sent enough from their port, and get another one when their last replies have
    /// come.
    leaving: VecDeque<Arc<Socket>>,
}

impl UdpPool {
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
        socket.send(ticket.id, sent);
        Ok(Exchange::new(socket, ticket))
    }

    fn enter(&self, sent: &Arc<Sent>, runtime: &Handle) -> Result<(Arc<Socket>, Ticket), Failure> {
        let mut shelf = lock(&self.shelves.all[THREAD.with(|&at| at)]);
        if let Some(socket) = self.pick(&mut shelf)
            && let Some(ticket) = socket.table.enter(sent)
        {
            self.reuse.hits.inc();
            return Ok((socket, ticket));
        }
        if let Some(socket) = shelf.renewed()
            && let Some(ticket) = socket.table.enter(sent)
        {
            self.reuse.hits.inc();
            shelf.active.push(socket.clone());
            return Ok((socket, ticket));
        }
        self.reuse.misses.inc();
        let enter = |socket: Arc<Socket>| socket.table.enter(sent).map(|ticket| (socket, ticket));
        let opened = self.open().and_then(|socket| enter(socket).ok_or_else(|| Failure::other("the socket is gone")));
        shelf.active.extend(opened.iter().map(|(socket, _)| socket.clone()));
        drop(shelf);
        // No port is free, or no descriptor: a socket that has sent enough is better than none.
        let entered = opened.or_else(|failure| self.shelves.enter_any(sent).ok_or(failure))?;
        if !self.shelves.is_tended.swap(true, Ordering::AcqRel) {
            runtime.spawn(tend(self.shelves.clone(), self.link.expire));
        }
        Ok(entered)
    }

    /// Picks a random socket of those in use. Returns `None` if a new one should be opened.
    fn pick(&self, shelf: &mut Shelf) -> Option<Arc<Socket>> {
        let can_renew = || shelf.leaving.iter().take(LOOKS).any(|socket| socket.is_idle());
        let is_full = self.open.load(Ordering::Relaxed) >= MOST && !can_renew();
        let (mut at, now) = (0, Instant::now());
        while let Some(socket) = shelf.active.get(at) {
            if socket.is_lost() || socket.is_spent(now) && !is_full {
                let socket = shelf.active.swap_remove(at);
                if !socket.is_lost() || !socket.retire_if_idle() {
                    shelf.leaving.push_back(socket);
                }
            } else {
                at += 1;
            }
        }
        if shelf.active.is_empty() || shelf.active.len() < self.width() && !is_full {
            return None;
        }
        let socket = shelf.active[rand::rng().random_range(..shelf.active.len())].clone();
        socket.count_down();
        Some(socket)
    }

    fn open(&self) -> Result<Arc<Socket>, Failure> {
        let permit = Permit::take(&self.open, MOST).ok_or_else(|| Failure::other("too many sockets"))?;
        Socket::open(&self.link, &self.vitals, permit)
    }

    /// Sockets of one thread in use at a time.
    fn width(&self) -> usize {
        self.link.max_idle.unwrap_or(ACTIVE).clamp(1, ACTIVE)
    }
}

impl Drop for UdpPool {
    fn drop(&mut self) {
        for shelf in &self.shelves.all {
            let mut shelf = lock(shelf);
            let Shelf { active, leaving } = &mut *shelf;
            leaving.extend(active.drain(..).filter(|socket| !socket.retire()));
        }
    }
}

/// Closes sockets that are not needed any more, until there are none.
async fn tend(shelves: Arc<Shelves>, expire: Duration) {
    let tick = TICK.min(expire.max(Duration::from_millis(20)));
    loop {
        tokio::time::sleep(tick).await;
        let now = Instant::now();
        for shelf in &shelves.all {
            let Shelf { active, leaving } = &mut *lock(shelf);
            active.iter().chain(&*leaving).for_each(|socket| socket.table.forget(now));
            active.retain(|socket| socket.age(now) < expire || !socket.retire_if_idle());
            leaving.retain(|socket| !socket.retire_if_idle());
        }
        if shelves.are_empty() {
            shelves.is_tended.store(false, Ordering::Release);
            // A socket that was opened just now may have found this task still running.
            if shelves.are_empty() || shelves.is_tended.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    }
}

impl Shelf {
    /// A socket that has had its last reply, with another port.
    fn renewed(&mut self) -> Option<Arc<Socket>> {
        for _ in 0..self.leaving.len().min(LOOKS) {
            let socket = self.leaving.pop_front()?;
            if !socket.is_idle() {
                self.leaving.push_back(socket);
            } else if socket.renew().is_ok_and(|is_new| is_new) {
                return Some(socket);
            } else {
                socket.retire();
            }
        }
        None
    }
}

impl Shelves {
    fn are_empty(&self) -> bool {
        self.all.iter().map(lock).all(|shelf| shelf.active.is_empty() && shelf.leaving.is_empty())
    }

    /// Enters the query on any socket that takes it.
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
