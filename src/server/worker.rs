//! A worker: one thread for each core, with its own sockets and runtime.
//!
//! A query stays with the worker that received it. Workers share one pointer to what is live.

use std::cell::Cell;
use std::collections::HashMap;
use std::net::SocketAddr;
use std::rc::Rc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Weak};
use std::time::{Duration, Instant};

use arc_swap::ArcSwap;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::{mpsc, oneshot, watch};

use super::bind::Ear;
use super::clients::Habits;
use super::intake::{Dropped, Intake};
use super::shifts::Shifts;
use super::stream::{Connections, HttpCounts, Limits, QuicCommon};
use super::waiting::{Place, Waiting};
use super::{stream, udp};
use crate::chain::listener::Listener;
use crate::chain::{Pending, Query};
use crate::corefile::address::Transport;
use crate::error::{Error, Result};
use crate::host::metrics::{self, Counter, Family};
use crate::host::repeats::Repeats;
use crate::host::{Host, files, listen, log};

/// Queries of one worker that may wait for another server's answer.
const WAITING: usize = 10_000;

/// Connections that the process may have at once, over all workers; and the minimum for a worker.
const CONNECTIONS: (usize, usize) = (4096, 16);

/// Connections that a worker may always have, however few files the process may open.
const FILES: usize = 4;

/// Octets that connections may hold at once, over all workers, and the minimum for one worker. They
/// are incomplete messages, and replies that clients have not read, in our memory or the kernel's.
const HELD: (usize, usize) = (6 << 20, 512 << 10);

static SHED: Family = Family {
    name: "signpost_shed_queries_total",
    help: "Queries answered SERVFAIL because too many were waiting, of all clients, of this client, or for this plugin.",
    labels: &[],
};
static DROPPED: Family = Family {
    name: "signpost_dropped_datagrams_total",
    help: "Datagrams that were not answered because more arrived than could be: read, and dropped as those of the clients \
           that asked for most (share); or dropped by the kernel: its buffer was full, or one client sent many times its share \
           (kernel).",
    labels: &["by"],
};
static EVICTED: Family = Family {
    name: "signpost_evicted_connections_total",
    help: "Connections closed to make room: too many (connections), no file left (files), too much held for clients that \
           do not read (memory); or because replies were not read in time (slow).",
    labels: &["reason"],
};
static PAUSED: Family = Family {
    name: "signpost_paused_connections_total",
    help: "Times that a connection was not read any further because its client does not read the replies.",
    labels: &[],
};
static FAILED_HANDSHAKES: Family = Family {
    name: "signpost_failed_tls_handshakes_total",
    help: "Connections that ended before their TLS handshake did: by the client, by a limit, or for lack of agreement.",
    labels: &[],
};

/// Time without any query after which clients count as gone.
const QUIET: Duration = Duration::from_secs(1);

//----------- Live -----------------------------------------------------------

/// What is served now, by the number of the door that a query came through.
#[derive(Default)]
pub(super) struct Live {
    /// `None` for a closed door.
    pub(super) listeners: Vec<Option<Arc<Listener>>>,
    /// The address of each door.
    pub(super) addresses: Vec<SocketAddr>,
    /// The last listener of each closed door, which lives until the workers have closed the door.
    pub(super) last: Vec<Weak<Listener>>,
}

impl Live {
    /// Returns the listener that now serves `address`, through any door: the most specific one of
    /// those whose transport fits.
    pub(super) fn heir(&self, address: SocketAddr, fits: impl Fn(Transport) -> bool) -> Option<&Arc<Listener>> {
        let open = self.listeners.iter().zip(&self.addresses);
        let ranked = open.filter_map(|(listener, door)| Some((listen::rank(*door, address)?, listener.as_ref()?)));
        let fitting = ranked.filter(|(_, listener)| fits(listener.transport));
        fitting.max_by_key(|(rank, _)| *rank).map(|(_, listener)| listener)
    }

    /// Returns the listener for a connection to `address` that came through this door, possibly
    /// before a reload. Only listeners whose transport fits count: a connection cannot change from
    /// plain to TLS.
    pub(super) fn of_stream(
        &self,
        door: usize,
        address: SocketAddr,
        fits: impl Fn(Transport) -> bool,
    ) -> Option<&Arc<Listener>> {
        let own = self.listeners.get(door).and_then(Option::as_ref);
        own.filter(|own| fits(own.transport)).or_else(|| self.heir(address, fits))
    }

    /// Returns the listener for what is left at a closed door.
    pub(super) fn last_of(&self, door: usize) -> Option<Arc<Listener>> {
        self.last.get(door).and_then(Weak::upgrade)
    }
}

/// What all workers share.
pub(super) struct Shared {
    /// Swapped as a whole when a configuration goes live.
    pub(super) live: ArcSwap<Live>,
    /// Queries that were answered SERVFAIL because too many were waiting.
    pub(super) shed: Counter,
    /// Datagrams that were dropped, by us and by the kernel.
    dropped: (Counter, Counter),
    /// Connections that were closed to make room.
    pub(super) evicted: Evicted,
    /// Times that reading from a connection was paused.
    pub(super) paused: Counter,
    /// What is counted of requests over HTTPS.
    pub(super) http: HttpCounts,
    /// What QUIC connections of all workers share.
    pub(super) quic: QuicCommon,
    /// TLS handshakes that failed.
    pub(super) failed_handshakes: Counter,
    /// What the connections of one worker may use.
    pub(super) limits: Limits,
    /// Connections of all workers together.
    pub(super) open: AtomicUsize,
    workers: usize,
    /// Limits how often refused connections and dropped datagrams are logged.
    pub(super) refused: Repeats,
}

/// Connections that were closed to make room, by reason.
pub(super) struct Evicted {
    pub(super) connections: Counter,
    pub(super) files: Counter,
    pub(super) memory: Counter,
    pub(super) slow: Counter,
}

impl Shared {
    /// Returns the shared state of this many workers; nothing is live yet.
    pub(super) fn new(host: &Arc<Host>, workers: usize) -> Self {
        let metrics = &host.metrics;
        let evicted = |reason| metrics.counter(&EVICTED, &[reason]);
        let share = |(all, least): (usize, usize)| (all / workers).max(least);
        Self {
            live: ArcSwap::default(),
            shed: metrics.counter(&SHED, &[]),
            dropped: (metrics.counter(&DROPPED, &["share"]), metrics.counter(&DROPPED, &["kernel"])),
            evicted: Evicted {
                connections: evicted("connections"),
                files: evicted("files"),
                memory: evicted("memory"),
                slow: evicted("slow"),
            },
            paused: metrics.counter(&PAUSED, &[]),
            http: HttpCounts::new(host),
            quic: QuicCommon::new(host),
            failed_handshakes: metrics.counter(&FAILED_HANDSHAKES, &[]),
            open: AtomicUsize::new(0),
            workers,
            limits: Limits { connections: share(CONNECTIONS), held: share(HELD) },
            refused: Repeats::new(Duration::from_secs(10), Duration::from_secs(300)),
        }
    }
}

impl Shared {
    /// Returns a worker's share of the connections that a listener may have.
    pub(super) fn share_of(&self, connections: usize) -> usize {
        connections.div_ceil(self.workers)
    }
}

/// Set when a door is to close: the listener that answers what has arrived there.
pub(super) type Closing = Option<Arc<Listener>>;

//----------- Worker ---------------------------------------------------------

/// A running worker, as the rest of the process sees it.
pub(super) struct Worker {
    commands: mpsc::UnboundedSender<Command>,
}

/// A command to a worker.
pub(super) enum Command {
    /// Serve this socket as the door with this number.
    Open(usize, Ear),
    /// Stop serving a door, once this listener has answered what has arrived there.
    Close(usize, Arc<Listener>),
    /// Go on, and report when no client has asked for a second.
    Linger(oneshot::Sender<()>),
    /// Stop serving all doors; report when what has arrived is answered.
    Drain(oneshot::Sender<()>),
}

impl Worker {
    /// Starts the worker with this number, counted from 0.
    ///
    /// # Errors
    /// The thread or its runtime cannot be made.
    pub(super) fn start(number: usize, shared: Arc<Shared>) -> Result<Self> {
        let (commands, receiver) = mpsc::unbounded_channel();
        let failed = |source| Error::Io { what: format!("start worker {number}"), source };
        let (started, has_started) = std::sync::mpsc::sync_channel(1);
        let work = move || {
            // The runtime cannot leave its thread. It keeps all tasks in one queue. A `LocalSet`
            // inside a runtime has a second queue, and the step between them asks the kernel once
            // more.
            let runtime = match Builder::new_current_thread().enable_all().build_local(LocalOptions::default()) {
                Ok(runtime) => runtime,
                Err(error) => return drop(started.send(Err(error))),
            };
            metrics::claim_copy(number);
            log::claim_lane(number);
            let _ = started.send(Ok(()));
            runtime.block_on(obey(receiver, Rc::new(Local::new(shared))));
        };
        std::thread::Builder::new().name(format!("worker-{number}")).spawn(work).map_err(failed)?;
        let gone = |_| std::io::Error::other("its thread has ended");
        has_started.recv().map_err(gone).flatten().map_err(failed)?;
        Ok(Self { commands })
    }

    /// Sends a command to the worker. A worker that has ended ignores it.
    pub(super) fn tell(&self, command: Command) {
        let _ = self.commands.send(command);
    }
}

/// What the tasks of one worker share.
pub(super) struct Local {
    pub(super) shared: Arc<Shared>,
    pub(super) connections: Connections,
    pub(super) shifts: Shifts,
    pub(super) habits: Habits,
    waiting: Rc<Waiting>,
    /// Held for each closing socket until it is read to its end.
    pub(super) settling: Rc<()>,
    /// When a client last asked.
    heard: Cell<Instant>,
}

impl Local {
    pub(super) fn new(shared: Arc<Shared>) -> Self {
        let connections = Connections::new(shared.limits);
        let waiting = Rc::new(Waiting::new(WAITING));
        let (shifts, settling, now) = (Shifts::default(), Rc::default(), Instant::now());
        Self { shared, connections, shifts, habits: Habits::new(now), waiting, settling, heard: Cell::new(now) }
    }

    /// Limits connections to the files that everything else leaves free now.
    pub(super) fn count_files(&self) {
        let shared = &self.shared;
        let files = files::for_connections(shared.open.load(Ordering::Relaxed));
        self.connections.restrict(shared.limits, (files / shared.workers).max(FILES));
    }

    /// Returns a place for a query that has to wait, or `None` if its client or its plugin has its
    /// share, or if none is free.
    pub(super) fn place(&self, query: &Query<'_>, pending: &Pending) -> Option<Place> {
        let place = self.waiting.place(query.client.peer.ip(), pending.waits_in(), query.packet().len());
        if place.is_none() {
            self.shared.shed.inc();
        }
        place
    }

    /// Counts the datagrams that were dropped, and logs them now and then.
    pub(super) fn note_dropped(&self, intake: &mut Intake) {
        let Some(Dropped { by_share, by_kernel, heaviest }) = intake.take_dropped() else { return };
        self.shared.dropped.0.add(by_share);
        self.shared.dropped.1.add(by_kernel);
        let Some(held_back) = self.shared.refused.allow("datagrams", Instant::now().into()) else { return };
        let who = heaviest.map(|client| format!("; {client} asks for most")).unwrap_or_default();
        let what = "more queries arrive over UDP than can be answered, and some are dropped";
        log::warning("", format_args!("{what}{who} (signpost_dropped_datagrams_total){held_back}"));
    }

    /// Notes the time of a query.
    pub(super) fn hear(&self, now: Instant) {
        self.heard.set(now);
    }

    /// Waits until no client has asked for a second.
    async fn silence(&self) {
        loop {
            let quiet_since = self.heard.get().elapsed();
            if quiet_since >= QUIET {
                return;
            }
            tokio::time::sleep(QUIET - quiet_since).await;
        }
    }

    fn is_idle(&self) -> bool {
        self.waiting.taken() == 0 && Rc::strong_count(&self.settling) == 1 && self.connections.are_quiet()
    }

    /// Returns how many places for waiting queries are taken.
    #[cfg(test)]
    pub(super) fn waiting(&self) -> usize {
        self.waiting.taken()
    }
}

async fn obey(mut commands: mpsc::UnboundedReceiver<Command>, local: Rc<Local>) {
    let pacing = local.clone();
    tokio::task::spawn_local(async move { pacing.shifts.pace().await });
    let mut doors: HashMap<usize, watch::Sender<Closing>> = HashMap::new();
    while let Some(command) = commands.recv().await {
        match command {
            Command::Open(door, ear) => {
                let (open, closing) = watch::channel(None);
                match ear {
                    Ear::Udp { socket, wildcard } => {
                        tokio::task::spawn_local(udp::serve(local.clone(), door, socket, wildcard, closing));
                    }
                    Ear::Tcp(listener) => {
                        tokio::task::spawn_local(stream::accept(local.clone(), door, listener, closing));
                    }
                    Ear::Quic(socket) => {
                        tokio::task::spawn_local(stream::accept_quic(local.clone(), door, socket, closing));
                    }
                }
                doors.insert(door, open);
            }
            Command::Close(door, last) => {
                if let Some(open) = doors.remove(&door) {
                    open.send_replace(Some(last));
                }
            }
            Command::Linger(done) => {
                let local = local.clone();
                tokio::task::spawn_local(async move {
                    local.silence().await;
                    let _ = done.send(());
                });
            }
            Command::Drain(done) => {
                let live = local.shared.live.load_full();
                for (door, open) in doors.drain() {
                    open.send_replace(live.listeners.get(door).cloned().flatten());
                }
                let local = local.clone();
                tokio::task::spawn_local(async move {
                    // The loops read what has arrived when they notice that they have to close.
                    tokio::time::sleep(Duration::from_millis(10)).await;
                    local.connections.close_when_quiet(None);
                    while !local.is_idle() {
                        tokio::time::sleep(Duration::from_millis(10)).await;
                    }
                    let _ = done.send(());
                });
            }
        }
    }
}
