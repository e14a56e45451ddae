//! A configuration goes live: what is new is opened first, then everything is swapped at once.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::sync::oneshot;

use super::bind::{self, Sockets};
use super::worker::{Command, Live, Shared, Worker};
use crate::chain::build::Configuration;
use crate::chain::site::Listener;
use crate::corefile::address::Transport;
use crate::error::{Complaint, Error, Result, words};
use crate::host::Host;
use crate::host::http::Endpoints;
use crate::host::tasks::Tasks;

//----------- Stage ----------------------------------------------------------

/// Where configurations go live: the workers, the doors, and what is open.
pub struct Stage {
    host: Arc<Host>,
    runtime: Handle,
    shared: Arc<Shared>,
    workers: Vec<Worker>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    /// What each door is for; a door that was closed keeps its number.
    doors: Vec<Option<Door>>,
    /// The tasks of what is live.
    tasks: Tasks,
    lameduck: Duration,
}

/// What makes a listener the same before and after a reload.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Door {
    transport: Transport,
    host: String,
    port: u16,
}

impl Stage {
    /// Starts so many workers; tasks run on `runtime`.
    ///
    /// # Errors
    /// A thread cannot be started.
    pub fn new(host: Arc<Host>, runtime: Handle, workers: usize) -> Result<Self> {
        let shared = Arc::new(Shared::new(&host.metrics, workers.max(1)));
        let workers = (0..workers.max(1)).map(|number| Worker::start(number, shared.clone())).collect::<Result<_>>()?;
        Ok(Self { host, runtime, shared, workers, state: Mutex::default() })
    }

    /// Makes a configuration live. On an error nothing has changed.
    ///
    /// # Errors
    /// Something cannot be opened.
    pub fn publish(&self, mut configuration: Configuration) -> Result<()> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let endpoints = std::mem::take(&mut configuration.endpoints);
        let pages = self
            .host
            .http
            .bind(&endpoints)
            .map_err(|(address, source)| page_error(&configuration, &endpoints, &address, &source))?;
        let mut doors = state.doors.clone();
        let (live, fresh) = self.open_doors(&configuration.listeners, &mut doors)?;

        // From here on nothing can fail.
        let closed: Vec<usize> =
            (0..doors.len()).filter(|&door| live.listeners[door].is_none() && doors[door].is_some()).collect();
        self.host.http.publish(pages, endpoints, &self.runtime);
        self.shared.live.store(Arc::new(live));
        for (door, sockets) in fresh {
            self.hand_out(door, sockets);
        }
        for door in closed {
            doors[door] = None;
            self.tell_all(|| Command::Close(door));
        }
        crate::host::log::set_debug(configuration.debug);
        state.doors = doors;
        state.lameduck = configuration.lameduck;
        state.tasks = configuration.start(&self.runtime);
        Ok(())
    }

    /// How long to go on after the signal to stop.
    #[must_use]
    pub fn lameduck(&self) -> Duration {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).lameduck
    }

    /// Serves on until nobody has asked for a second; takes at most `patience`.
    pub async fn linger(&self, patience: Duration) {
        self.all(Command::Linger, patience).await;
    }

    /// Answers what has arrived and what waits, then closes everything; takes at most `patience`.
    pub async fn drain(&self, patience: Duration) {
        self.all(Command::Drain, patience).await;
    }

    /// Tells every worker something, and waits until all have done it.
    async fn all(&self, command: fn(oneshot::Sender<()>) -> Command, patience: Duration) {
        let (all, receivers): (Vec<_>, Vec<_>) = self.workers.iter().map(|_| oneshot::channel()).unzip();
        for (worker, done) in self.workers.iter().zip(all) {
            worker.tell(command(done));
        }
        let _ = tokio::time::timeout(patience, futures_util::future::join_all(receivers)).await;
    }

    /// Lets go of the configuration: what its plugins have left to say is said.
    pub fn clear(&self) {
        self.state.lock().unwrap_or_else(PoisonError::into_inner).tasks = Tasks::default();
        self.shared.live.store(Arc::default());
    }

    /// Gives every listener a door: the one it had, or a new one with sockets.
    fn open_doors(
        &self,
        listeners: &[Arc<Listener>],
        doors: &mut Vec<Option<Door>>,
    ) -> Result<(Live, Vec<(usize, Sockets)>)> {
        let (mut live, mut fresh) = (Live { listeners: vec![None; doors.len()] }, Vec::new());
        for listener in listeners {
            let wanted = Door { transport: listener.transport, host: listener.host.clone(), port: listener.port };
            let known = doors.iter().position(|door| door.as_ref() == Some(&wanted));
            let door = match known {
                Some(door) => door,
                None => {
                    fresh.push((doors.len(), bind::open(listener, self.workers.len())?));
                    doors.push(Some(wanted));
                    live.listeners.push(None);
                    doors.len() - 1
                }
            };
            live.listeners[door] = Some(listener.clone());
        }
        Ok((live, fresh))
    }

    fn hand_out(&self, door: usize, sockets: Sockets) {
        let wildcard = sockets.wildcard;
        let mut udp = sockets.udp.into_iter();
        for (worker, tcp) in self.workers.iter().zip(sockets.tcp) {
            worker.tell(Command::Open { door, udp: udp.next(), tcp, wildcard });
        }
    }

    fn tell_all(&self, command: impl Fn() -> Command) {
        self.workers.iter().for_each(|worker| worker.tell(command()));
    }
}

fn page_error(configuration: &Configuration, endpoints: &Endpoints, address: &str, error: &std::io::Error) -> Error {
    let pages: Vec<_> = endpoints.keys().filter(|(of, _)| of == address).map(|(_, path)| path.as_str()).collect();
    let port = address.rsplit(':').next().and_then(|port| port.parse().ok()).unwrap_or_default();
    let advice = bind::advice(error, port, true, &format!("the address of {} in the Corefile", pages.join(" and ")));
    let message = format!("listen tcp {address}: bind: {}{advice}", words(error));
    let written = configuration.pages.get(address);
    written.map_or_else(|| Complaint::new(&message), |written| written.about(&message)).into()
}
