//! Places for connections to pages: how far each has come, how long it may take, and which one goes when there
//! are too many.
//!
//! A client holds a place for as long as it keeps to the limits of time, and for as long as there is room. A new
//! connection always gets a place at once: another one has to go for it.

use std::cmp::Reverse;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, timeout};

use crate::host::metrics::{Family, Page};

/// Connections to all pages together. Probes and scrapers need a handful.
pub(super) const PLACES: usize = 256;

/// Octets of replies that the kernel has not taken yet, of all connections together.
pub(super) const UNSENT: usize = 8 << 20;

/// How long to wait for the file of a connection that has to go.
const FREED: Duration = Duration::from_millis(50);

//----------- Ending ---------------------------------------------------------

/// Why a connection was ended, where that is not the client's own wish.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Ending {
    /// To make room for another one.
    Evicted,
    /// Its request was not complete in time.
    Request,
    /// Its client did not read a reply in time.
    Reply,
    /// It was idle for too long.
    Idle,
    /// What it sent is not HTTP, or too long.
    Bad,
}

/// All of them, with the value of the label.
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
    /// Counts a connection that ends so.
    pub(super) fn count(self) {
        ENDED[self as usize].fetch_add(1, Ordering::Relaxed);
    }
}

/// Shows how many connections the process has ended, by reason.
pub(in crate::host) fn collect(page: &mut Page) {
    for (ending, name) in ENDINGS {
        page.counter(&ENDED_CONNECTIONS, &[name], ENDED[ending as usize].load(Ordering::Relaxed));
    }
}

//----------- Limits ---------------------------------------------------------

/// How long a connection may take.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    /// From the first octet of a request, or from the beginning of the connection, to the end of the request's head.
    pub(super) request: Duration,
    /// From the time when a reply is ready until the kernel has taken its last octet.
    pub(super) reply: Duration,
    /// From the end of a reply to the next request.
    pub(super) idle: Duration,
    /// From one reply to the next. The first one is not delayed.
    pub(super) pace: Duration,
    /// Requests of one connection.
    pub(super) requests: usize,
}

/// The limits of the process. Prometheus asks every 15 to 60 s on one connection, and gives up after 10 s by default.
pub(super) const LIMITS: Limits = Limits {
    request: Duration::from_secs(5),
    reply: Duration::from_secs(30),
    idle: Duration::from_secs(180),
    pace: Duration::from_millis(50),
    requests: 1000,
};

//----------- Visit ----------------------------------------------------------

/// What a connection waits for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// Its client has to complete a request.
    Request,
    /// The server has to make a page.
    Page,
    /// Its client has to read a reply.
    Reply,
    /// Its client may ask again.
    Idle,
}

/// How far a connection has come.
#[derive(Debug, Clone, Copy)]
struct Progress {
    step: Step,
    since: Instant,
    /// Octets of the reply that is not read yet.
    unsent: usize,
    requests: usize,
    /// When the next request may be answered.
    next: Instant,
}

impl Progress {
    /// The higher, the sooner the connection goes: first those that keep the server waiting, last those that wait for
    /// their first reply.
    fn rank(&self) -> u8 {
        match self.step {
            Step::Request | Step::Reply => 2,
            Step::Page if self.requests == 1 => 0,
            Step::Idle | Step::Page => 1,
        }
    }
}

/// One connection, as others see it.
#[derive(Debug)]
pub(super) struct Visit {
    door: usize,
    client: IpAddr,
    progress: Mutex<Progress>,
    leave: Notify,
}

impl Visit {
    fn new(door: usize, client: IpAddr, now: Instant) -> Self {
        let progress = Progress { step: Step::Request, since: now, unsent: 0, requests: 0, next: now };
        Self { door, client, progress: Mutex::new(progress), leave: Notify::new() }
    }

    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Its client has sent something.
    pub(super) fn heard(&self, now: Instant) {
        let mut progress = self.progress();
        if progress.step == Step::Idle {
            (progress.step, progress.since) = (Step::Request, now);
        }
    }

    /// A request is complete. Returns when it may be answered, and how many there were with it.
    pub(super) fn asked(&self, now: Instant) -> (Instant, usize) {
        let mut progress = self.progress();
        (progress.step, progress.since) = (Step::Page, now);
        progress.requests += 1;
        (progress.next, progress.requests)
    }

    /// The kernel has taken everything that was written.
    pub(super) fn flushed(&self, now: Instant, limits: &Limits) {
        let mut progress = self.progress();
        if progress.step == Step::Reply {
            (progress.step, progress.since, progress.unsent) = (Step::Idle, now, 0);
            progress.next = now + limits.pace;
        }
    }

    /// When the connection ends unless something happens, and why. While a page is made the client has nothing to do.
    pub(super) fn deadline(&self, limits: &Limits) -> Option<(Instant, Ending)> {
        let Progress { step, since, .. } = *self.progress();
        match step {
            Step::Request => Some((since + limits.request, Ending::Request)),
            Step::Reply => Some((since + limits.reply, Ending::Reply)),
            Step::Idle => Some((since + limits.idle, Ending::Idle)),
            Step::Page => None,
        }
    }

    /// Waits until the connection has to go.
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
    /// A connection has ended, and its file is closed.
    freed: Notify,
}

/// A listener, as far as its connections need one. They end with it.
pub(super) struct Door {
    places: Arc<Places>,
    number: usize,
}

/// A connection's place; given back when it is dropped.
pub(super) struct Place {
    places: Arc<Places>,
    pub(super) visit: Arc<Visit>,
}

impl Places {
    /// A door for one more listener.
    pub(super) fn door(self: &Arc<Self>) -> Door {
        Door { places: self.clone(), number: self.doors.fetch_add(1, Ordering::Relaxed) }
    }

    fn visits(&self) -> MutexGuard<'_, Vec<Arc<Visit>>> {
        self.visits.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Door {
    /// A place for a new connection of this client. If all are taken, another connection goes.
    pub(super) fn take(&self, client: IpAddr, now: Instant) -> Place {
        let mut visits = self.places.visits();
        while visits.len() >= PLACES && evict(&mut visits, |_| 1) {}
        let visit = Arc::new(Visit::new(self.number, client, now));
        visits.push(visit.clone());
        Place { places: self.places.clone(), visit }
    }

    /// Ends a connection because its file is needed, and waits until the file is closed. Returns `false` if there is no
    /// connection, or none that ends soon.
    pub(super) async fn free_a_file(&self) -> bool {
        let mut freed = std::pin::pin!(self.places.freed.notified());
        freed.as_mut().enable();
        evict(&mut self.places.visits(), |_| 1) && timeout(FREED, freed).await.is_ok()
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
    /// Whether all places are taken, so that the next connection takes one away.
    pub(super) fn is_wanted(&self) -> bool {
        self.places.visits().len() >= PLACES
    }

    /// A reply of so many octets is ready. Where too much is unread already, other connections go.
    pub(super) fn reply(&self, octets: usize, now: Instant) {
        let mut visits = self.places.visits();
        // It is not this connection that goes.
        self.visit.progress().unsent = 0;
        loop {
            let unsent: usize = visits.iter().map(|visit| visit.progress().unsent).sum();
            if unsent + octets <= UNSENT || !evict(&mut visits, |progress| progress.unsent) {
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

/// Lets one connection go: of the client that holds most at one door, the one that has kept the server waiting longest.
/// Those that had a reply before go later, and those that wait for their first one last. `held` is what a connection
/// holds of what is scarce. Returns `false` if no connection holds anything.
fn evict(visits: &mut Vec<Arc<Visit>>, held: impl Fn(&Progress) -> usize) -> bool {
    let all: Vec<Progress> = visits.iter().map(|visit| *visit.progress()).collect();
    let mut by_client: HashMap<(usize, IpAddr), usize> = HashMap::new();
    for (visit, progress) in visits.iter().zip(&all) {
        *by_client.entry((visit.door, visit.client)).or_default() += held(progress);
    }
    let holders = visits.iter().zip(&all).enumerate().filter(|(_, (_, progress))| held(progress) > 0);
    let worst = holders.max_by_key(|(_, (visit, progress))| {
        (by_client[&(visit.door, visit.client)], progress.rank(), Reverse(progress.since))
    });
    let Some((at, _)) = worst else { return false };
    visits.remove(at).leave.notify_one();
    Ending::Evicted.count();
    true
}

#[cfg(test)]
#[path = "places_tests.rs"]
mod tests;
