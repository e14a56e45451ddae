//! Places for connections to pages: the state of each, how long it may take, and which one is
//! closed if there are too many.
//!
//! A client keeps its place as long as it keeps the time limits and there is room. A new connection
//! always gets a place at once; if all are taken, another connection is closed.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::host::metrics::{Family, Scrape};

/// Connections to all pages together. Probes and scrapers need a handful.
pub(super) const PLACES: usize = 256;

/// Octets of replies that the kernel has not accepted yet, over all connections.
pub(super) const UNSENT: usize = 8 << 20;

/// For so long after it came, a connection that has not had a reply goes after those that have.
/// Otherwise a probe would be closed before its request is read, beside clients whose connections
/// have all had replies.
const NEW: Duration = Duration::from_secs(2);

/// How long to wait until a closed connection has released its file.
const FREED: Duration = Duration::from_millis(50);

//----------- Ending ---------------------------------------------------------

/// Why the server ended a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// To make room for another connection.
    Evicted,
    /// Its request was not complete in time.
    Request,
    /// Its client did not read a reply in time.
    Reply,
    /// It was idle for too long.
    Idle,
    /// What the client sent is not HTTP, or is too long.
    Bad,
}

/// All reasons, with the value of the label.
const ENDINGS: [(Ending, &str); 5] = [
    (Ending::Evicted, "evicted"),
    (Ending::Request, "request not complete"),
    (Ending::Reply, "reply not read"),
    (Ending::Idle, "idle"),
    (Ending::Bad, "bad request"),
];

static ENDED: [AtomicU64; ENDINGS.len()] = [const { AtomicU64::new(0) }; ENDINGS.len()];

static ENDED_CONNECTIONS: Family = Family {
    name: "signpost_http_ended_connections_total",
    help: "Connections to /health, /ready and /metrics that the server ended: to make room, for a limit of time, or for a bad request.",
    labels: &["reason"],
};

impl Ending {
    /// Counts a connection that ended for this reason.
    pub(super) fn count(self) {
        ENDED[self as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Shows how many connections the server has ended, by reason.
pub(in crate::host) fn collect(scrape: &mut Scrape) {
    for (ending, name) in ENDINGS {
        scrape.counter(&ENDED_CONNECTIONS, &[name], ENDED[ending as usize].load(Ordering::Relaxed));
    }
}

//----------- Limits ---------------------------------------------------------

/// How long a connection may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// From the first octet of a request, or from the start of the connection, to the end of the
    /// request's head.
    pub(super) request: Duration,
    /// From the moment when a reply is ready until the kernel has accepted its last octet.
    pub(super) reply: Duration,
    /// From the end of a reply to the next request.
    pub(super) idle: Duration,
    /// From one reply to the next. The first one is not delayed.
    pub(super) pace: Duration,
    /// Number of requests on one connection.
    pub(super) requests: usize,
}

/// The limits of the process. Prometheus scrapes every 15 to 60 s over one connection, and gives up
/// after 10 s by default.
pub(super) const LIMITS: Limits = Limits {
    request: Duration::from_secs(5),
    reply: Duration::from_secs(30),
    idle: Duration::from_secs(180),
    pace: Duration::from_millis(50),
    requests: 1000,
};

//----------- Visit ----------------------------------------------------------

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Step {
    /// Its client must complete a request.
    Request,
    /// The server must make a page.
    Page,
    /// Its client must read a reply.
    Reply,
    /// Its client may send another request.
    Idle,
}

/// The state of a connection.
#[derive(Debug, Clone, Copy)]
struct Progress {
    step: Step,
    since: Instant,
    came: Instant,
    /// Octets of the reply that are not read yet.
    unsent: usize,
    requests: usize,
    /// When the next request may be answered.
    next: Instant,
}

impl Progress {
    /// Returns how soon the connection is closed when room is needed; higher values go first. First
    /// go those that keep the server waiting, last new ones and those that wait for their first
    /// reply.
    fn rank(&self, now: Instant) -> u8 {
        let is_new = self.requests < 2 && now.saturating_duration_since(self.came) < NEW;
        match self.step {
            Step::Page if self.requests == 1 => 0,
            Step::Request | Step::Reply if is_new => 0,
            Step::Idle | Step::Page => 1,
            Step::Request | Step::Reply => 2,
        }
    }
}

/// One connection, as the others see it.
#[derive(Debug)]
pub(super) struct Visit {
    door: usize,
    client: IpAddr,
    progress: Mutex<Progress>,
    leave: Notify,
}

impl Visit {
    fn new(door: usize, client: IpAddr, now: Instant) -> Self {
        let progress = Progress { step: Step::Request, since: now, came: now, unsent: 0, requests: 0, next: now };
        Self { door, client, progress: Mutex::new(progress), leave: Notify::new() }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Notes that the client has sent something.
    pub(super) fn heard(&self, now: Instant) {
        let mut progress = self.progress();
        if progress.step == Step::Idle {
            (progress.step, progress.since) = (Step::Request, now);
        }
    }

    /// Notes that a request is complete. Returns when it may be answered, and its number on this
    /// connection.
    pub(super) fn asked(&self, now: Instant) -> (Instant, usize) {
        let mut progress = self.progress();
        (progress.step, progress.since) = (Step::Page, now);
        progress.requests += 1;
        (progress.next, progress.requests)
    }

    /// Notes that the kernel has accepted everything that was written.
    pub(super) fn flushed(&self, now: Instant, limits: &Limits) {
        let mut progress = self.progress();
        if progress.step == Step::Reply {
            (progress.step, progress.since, progress.unsent) = (Step::Idle, now, 0);
            progress.next = now + limits.pace;
        }
    }

    /// Returns when the connection ends unless something happens, and why. `None` while a page is
    /// made: then the client is not to blame.
    pub(super) fn deadline(&self, limits: &Limits) -> Option<(Instant, Ending)> {
        let Progress { step, since, .. } = *self.progress();
        match step {
            Step::Request => Some((since + limits.request, Ending::Request)),
            Step::Reply => Some((since + limits.reply, Ending::Reply)),
            Step::Idle => Some((since + limits.idle, Ending::Idle)),
            Step::Page => None,
        }
    }

    /// Waits until the connection must end.
    pub(super) async fn leave(&self) {
        self.leave.notified().await;
    }
}

//----------- Places ---------------------------------------------------------

/// All connections.
#[derive(Default)]
pub(super) struct Places {
    visits: Mutex<Vec<Arc<Visit>>>,
    doors: AtomicUsize,
    /// Notified when a connection has ended and its file is closed.
    freed: Notify,
}

/// A listener, as its connections need it. They end when it is dropped.
pub(super) struct Door {
    places: Arc<Places>,
    number: usize,
}

/// A connection's place, released on drop.
pub(super) struct Place {
    places: Arc<Places>,
    pub(super) visit: Arc<Visit>,
}

impl Places {
    /// Makes a door for one more listener.
    pub(super) fn door(self: &Arc<Self>) -> Door {
        Door { places: self.clone(), number: self.doors.fetch_add(1, Ordering::Relaxed) }
    }

    fn visits(&self) -> MutexGuard<'_, Vec<Arc<Visit>>> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Door {
    /// Returns a place for a new connection of this client. If all are taken, another connection is
    /// closed.
    pub(super) fn take(&self, client: IpAddr, now: Instant) -> Place {
        let mut visits = self.places.visits();
        while visits.len() >= PLACES && evict(&mut visits, now, |_| 1) {}
        let visit = Arc::new(Visit::new(self.number, client, now));
        visits.push(visit.clone());
        Place { places: self.places.clone(), visit }
    }

    /// Closes a connection because its file is needed, and waits until the file is closed. Returns
    /// `false` if there is no connection, or none ends in time.
    pub(super) async fn free_a_file(&self) -> bool {
        let mut freed = std::pin::pin!(self.places.freed.notified());
        freed.as_mut().enable();
        evict(&mut self.places.visits(), Instant::now(), |_| 1) && timeout(FREED, freed).await.is_ok()
    }
}

impl Drop for Door {
    fn drop(&mut self) {
        let mut visits = self.places.visits();
        for visit in visits.extract_if(.., |visit| visit.door == self.number) {
            visit.leave.notify_one();
        }
    }
}

impl Place {
    /// Returns whether all places are taken, so that the next connection closes another one.
    pub(super) fn is_wanted(&self) -> bool {
        self.places.visits().len() >= PLACES
    }

    /// Notes that a reply of so many octets is ready. If too much is unread already, other
    /// connections are closed.
    pub(super) fn reply(&self, octets: usize, now: Instant) {
        let mut visits = self.places.visits();
        // This connection itself must not be closed.
        self.visit.progress().unsent = 0;
        loop {
            let unsent: usize = visits.iter().map(|visit| visit.progress().unsent).sum();
            if unsent + octets <= UNSENT || !evict(&mut visits, now, |progress| progress.unsent) {
                break;
            }
        }
        let mut progress = self.visit.progress();
        (progress.step, progress.since, progress.unsent) = (Step::Reply, now, octets);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        self.places.visits().retain(|visit| !Arc::ptr_eq(visit, &self.visit));
        self.places.freed.notify_waiters();
    }
}

/// Closes one connection: of the client that holds most on one listener, the one that has kept the
/// server waiting longest. Connections that had a reply before go later, and those that are new or
/// wait for their first reply last. Of these, one goes that waits for the same as most others: a
/// probe or a scraper is a step behind a crowd, or a step further. `held` returns how much of the
/// scarce resource a connection holds. Returns `false` if no connection holds any.
fn evict(visits: &mut Vec<Arc<Visit>>, now: Instant, held: impl Fn(&Progress) -> usize) -> bool {
    let all: Vec<Progress> = visits.iter().map(|visit| *visit.progress()).collect();
    let mut by_client: HashMap<(usize, IpAddr), usize> = HashMap::new();
    let mut by_step: HashMap<(usize, IpAddr, Step), usize> = HashMap::new();
    for (visit, progress) in visits.iter().zip(&all) {
        *by_client.entry((visit.door, visit.client)).or_default() += held(progress);
        *by_step.entry((visit.door, visit.client, progress.step)).or_default() += 1;
    }
    let holders = visits.iter().zip(&all).enumerate().filter(|(_, (_, progress))| held(progress) > 0);
    let worst = holders.max_by_key(|(_, (visit, progress))| {
        let rank = progress.rank(now);
        let alike = if rank == 0 { by_step[&(visit.door, visit.client, progress.step)] } else { 0 };
        (by_client[&(visit.door, visit.client)], rank, alike, Reverse(progress.since))
    });
    let Some((at, _)) = worst else { return false };
    visits.remove(at).leave.notify_one();
    Ending::Evicted.count();
    true
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
