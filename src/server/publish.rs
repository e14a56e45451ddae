//! A configuration goes live: new sockets are opened first, then everything is swapped at once.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::bind::{self, Ear, Kind};
use super::worker::{Command, Live, Shared, Worker};
use crate::chain::address::{protocols, socket_host};
use crate::chain::build::Configuration;
use crate::chain::listener::Listener;
use crate::chain::setup::Wish;
use crate::error::{Complaint, Error, Result, words};
use crate::host::Host;
use crate::host::http::{Endpoints, Resolved};
use crate::host::listen::Protocol;
use crate::host::tasks::Tasks;

//----------- Stage ----------------------------------------------------------

/// Makes configurations live: holds the workers, the doors, and what is open.
pub struct Stage {
    host: Arc<Host>,
    runtime: Handle,
    shared: Arc<Shared>,
    workers: Vec<Worker>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// A closed door keeps its number and gets it back when it is opened again.
    doors: Vec<Door>,
    /// The tasks of what is live.
    tasks: Tasks,
    lameduck: Option<Wish<Duration>>,
}

/// Where one protocol comes in: a socket for each worker.
///
/// An address has one door for each kind of socket, whatever transport is served there. So a port
/// whose scheme changes keeps its TCP sockets, and a connection gets the transport that is
/// configured when it is accepted.
#[derive(Debug, Clone)]
struct Door {
    protocol: Protocol,
    kind: Kind,
    /// Host and port as in the Corefile, reduced to what makes a difference to a socket.
    host: String,
    port: u16,
    /// The address that the sockets are bound to.
    address: SocketAddr,
    is_open: bool,
}

/// A change of the doors that is being prepared.
struct Change {
    doors: Vec<Door>,
    live: Live,
    /// The doors that were opened for this change.
    fresh: Vec<(usize, Vec<Ear>)>,
}

impl Stage {
    /// Starts this many workers. Tasks run on `runtime`.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn new(host: Arc<Host>, runtime: Handle, workers: usize) -> Result<Self> {
        let shared = Arc::new(Shared::new(&host, workers.max(1)));
        let workers = (0..workers.max(1)).map(|number| Worker::start(number, shared.clone())).collect::<Result<_>>()?;
        Ok(Self { host, runtime, shared, workers, state: Mutex::default() })
    }

    /// Makes a configuration live. An error changes nothing.
    ///
    /// `resolved` holds the addresses of its pages.
    ///
    /// # Errors
    /// Something cannot be opened.
    pub fn publish(&self, mut configuration: Configuration, resolved: &Resolved) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoints = std::mem::take(&mut configuration.endpoints);
        let pages = self
            .host
            .http
            .bind(resolved)
            .map_err(|(address, source)| page_error(&configuration, &endpoints, &address, &source))?;
        let mut change = Change::from(&state.doors);
        if let Err(error) = self.open_doors(&configuration.listeners, &mut change) {
            state.doors = self.give_up(change);
            return Err(error);
        }
        change.keep_covered();

        // From here on nothing can fail.
        self.host.http.publish(pages, endpoints, &self.runtime);
        for (at, last) in self.shared.live.load().listeners.iter().enumerate() {
            if let Some(last) = last
                && !change.doors[at].is_open
            {
                // The command to close keeps the listener alive until the worker has obeyed it.
                change.live.last[at] = Arc::downgrade(last);
                self.close(at, last);
            }
        }
        self.shared.live.store(Arc::new(change.live));
        for (door, ears) in change.fresh {
            self.hand_out(door, ears);
        }
        crate::host::log::set_debug(configuration.debug);
        state.doors = change.doors;
        state.lameduck = configuration.lameduck;
        state.tasks = configuration.start(&self.runtime);
        Ok(())
    }

    /// Returns how long to go on after the signal to stop, if a plugin sets it.
    #[must_use]
    pub fn lameduck(&self) -> Option<Wish<Duration>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).lameduck
    }

    /// Goes on serving until no client has asked for a second, for at most `patience`.
    pub async fn linger(&self, patience: Duration) {
        self.all(Command::Linger, patience).await;
    }

    /// Answers arrived and waiting queries, then closes everything. Takes at most `patience`.
    pub async fn drain(&self, patience: Duration) {
        self.all(Command::Drain, patience).await;
    }

    /// Sends a command to every worker and waits until all have obeyed it.
    async fn all(&self, command: fn(oneshot::Sender<()>) -> Command, patience: Duration) {
        let (all, receivers): (Vec<_>, Vec<_>) = self.workers.iter().map(|_| oneshot::channel()).unzip();
        for (worker, done) in self.workers.iter().zip(all) {
            worker.tell(command(done));
        }
        let _ = tokio::time::timeout(patience, futures_util::future::join_all(receivers)).await;
    }

    /// Drops the configuration, so that its plugins log what they still have to log.
    pub fn clear(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).tasks = Tasks::default();
        self.shared.live.store(Arc::default());
    }

    /// Gives every listener its doors: existing ones, or new ones.
    fn open_doors(&self, listeners: &[Arc<Listener>], change: &mut Change) -> Result<()> {
        for listener in listeners {
            let mut beside = None;
            for &protocol in protocols(listener.transport) {
                let known = change.doors.iter().position(|door| door.is_open && door.is_for(protocol, listener));
                let at = match known {
                    Some(at) => at,
                    None => self.open_door(listener, protocol, beside, change)?,
                };
                beside = Some(change.doors[at].address);
                change.live.listeners[at] = Some(listener.clone());
            }
        }
        Ok(())
    }

    fn open_door(
        &self,
        listener: &Listener,
        protocol: Protocol,
        beside: Option<SocketAddr>,
        change: &mut Change,
    ) -> Result<usize> {
        let again = |address| change.doors.iter().any(|door| (door.protocol, door.address) == (protocol, address));
        let (address, ears) = bind::open(listener, protocol, beside, self.workers.len(), again)?;
        let door = Door {
            protocol,
            kind: Kind::of(protocol, listener.transport),
            host: socket_host(&listener.host).to_owned(),
            port: listener.port,
            address,
            is_open: true,
        };
        // A door that is opened again gets its old number: connections from that time find it.
        let at = change.doors.iter().position(|door| door.is_for(protocol, listener)).unwrap_or(change.doors.len());
        if at == change.doors.len() {
            change.live.listeners.push(None);
            change.live.addresses.push(address);
            change.live.last.push(Weak::new());
            change.doors.push(door);
        } else {
            change.live.addresses[at] = address;
            change.doors[at] = door;
        }
        change.fresh.push((at, ears));
        Ok(at)
    }

    /// Closes the sockets that were opened for a change that failed. Queries that have arrived
    /// there are answered by the listeners that would have received them otherwise. Returns the
    /// remaining doors.
    fn give_up(&self, change: Change) -> Vec<Door> {
        let (mut doors, live) = (change.doors, self.shared.live.load());
        for (at, ears) in change.fresh {
            doors[at].is_open = false;
            let kind = doors[at].kind;
            if let Some(heir) = live.heir(doors[at].address, |transport| kind.serves(transport)) {
                self.hand_out(at, ears);
                self.close(at, heir);
            }
        }
        doors
    }

    fn hand_out(&self, door: usize, ears: Vec<Ear>) {
        for (worker, ear) in self.workers.iter().zip(ears) {
            worker.tell(Command::Open(door, ear));
        }
    }

    fn close(&self, door: usize, last: &Arc<Listener>) {
        for worker in &self.workers {
            worker.tell(Command::Close(door, last.clone()));
        }
    }
}

impl Door {
    fn is_for(&self, protocol: Protocol, listener: &Listener) -> bool {
        let is_same_place = self.host == socket_host(&listener.host) && self.port == listener.port;
        self.kind == Kind::of(protocol, listener.transport) && is_same_place
    }
}

impl Change {
    fn from(doors: &[Door]) -> Self {
        let addresses = doors.iter().map(|door| door.address).collect();
        Self {
            doors: doors.to_vec(),
            live: Live {
                listeners: vec![None; doors.len()],
                addresses,
                last: doors.iter().map(|_| Weak::new()).collect(),
            },
            fresh: Vec::new(),
        }
    }

    /// Leaves a door open if a less specific listener now serves its address: when `bind 127.0.0.1`
    /// is removed, its sockets serve the listener for all addresses from then on. Closing them
    /// could lose connections that are being made. In the other direction, the kernel has led new
    /// connections to the more specific door before this one closes.
    fn keep_covered(&mut self) {
        for (at, door) in self.doors.iter_mut().enumerate().filter(|(_, door)| door.is_open) {
            if self.live.listeners[at].is_none() {
                let kind = door.kind;
                self.live.listeners[at] = self.live.heir(door.address, |transport| kind.serves(transport)).cloned();
                door.is_open = self.live.listeners[at].is_some();
            }
        }
    }
}

pub(super) fn page_error(
    configuration: &Configuration,
    endpoints: &Endpoints,
    address: &str,
    error: &std::io::Error,
) -> Error {
    let pages: Vec<_> = endpoints.keys().filter(|(of, _)| of == address).map(|(_, path)| path.as_str()).collect();
    let port = address.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_default();
    let advice = bind::advice(error, port, true, &format!("the address of {} in the Corefile", pages.join(" and ")));
    let message = format!("listen tcp {address}: bind: {}{advice}", words(error));
    let written = configuration.pages.get(address);
    written.map_or_else(|| Complaint::new(&message), |written| written.about(&message)).into()
}
