//! GET endpoints for people and probes: `/health`, `/ready`, `/metrics`.
//!
//! Addresses are bound before anything is published, so a reload that cannot bind changes nothing; an
//! address that old and new configuration share stays open, and all plugins on one address share it, whatever
//! they call it. Where addresses overlap (`:8080` and `127.0.0.1:8080`) the pages of both are found at the more specific.
//!
//! - [`serve`]: connections, with limits on what a client may take
//! - [`places`]: how many there may be, and which one goes when there are too many
//! - [`press`]: pages that take long are made one at a time

mod places;
mod press;
mod serve;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

use super::listen::{self, Protocol, Wish};
use super::log;
use super::tasks::Tasks;
use places::Places;
pub(in crate::host) use places::collect;
use press::{Make, Press};

/// Connections that may wait to be accepted, if the kernel allows as many (net.core.somaxconn is 4096
/// by default). Beyond it a client waits for a second until it tries again, a probe among them.
const BACKLOG: i32 = 4096;

//----------- Endpoints ------------------------------------------------------

/// What a handler answers: status code, content type and body.
pub type Page = (u16, &'static str, String);

/// Makes the page of one path.
#[derive(Clone)]
pub struct Handler(Kind);

#[derive(Clone)]
enum Kind {
    /// On the spot.
    Light(Make),
    /// One at a time, where nothing else waits.
    Heavy(Arc<Press>),
}

impl Handler {
    /// A page that takes microseconds: it is made for each request, and never waits for another page.
    pub fn light(make: impl Fn() -> Page + Send + Sync + 'static) -> Self {
        Self(Kind::Light(Arc::new(make)))
    }

    /// A page that may take long: one is made at a time, on a thread that may block, and all who wait share it.
    pub fn heavy(make: impl Fn() -> Page + Send + Sync + 'static) -> Self {
        Self(Kind::Heavy(Arc::new(Press::new(Arc::new(make)))))
    }

    /// Makes the page here and now.
    #[must_use]
    pub fn page(&self) -> Page {
        match &self.0 {
            Kind::Light(make) => make(),
            Kind::Heavy(press) => (press.make)(),
        }
    }
}

/// The endpoints of one configuration: address as in the Corefile and path, and who answers.
pub type Endpoints = BTreeMap<(String, String), Handler>;

/// The content type of plain pages.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// The addresses that a configuration names for its pages, and what each of them stands for: in order of preference.
pub type Resolved = BTreeMap<String, Vec<SocketAddr>>;

/// All HTTP listeners of the process.
#[derive(Default)]
pub struct Http {
    live: Arc<ArcSwap<Endpoints>>,
    state: Mutex<State>,
    connections: Arc<Places>,
}

#[derive(Default)]
struct State {
    /// By the address that was asked for, which may leave the port open.
    open: BTreeMap<SocketAddr, Tasks>,
    /// All that were ever open: those that were closed may be so only in a moment.
    known: BTreeSet<SocketAddr>,
}

/// Listeners that are bound, and not yet in use.
#[derive(Debug)]
pub struct Bound {
    /// What each address as in the Corefile came to.
    places: BTreeMap<String, SocketAddr>,
    fresh: BTreeMap<SocketAddr, TcpListener>,
}

/// How long the listener of an address that is not wanted any more takes connections that were on their way to it.
const ON_THEIR_WAY: Duration = Duration::from_secs(1);

/// Finds out what the addresses of `endpoints` stand for. A host name is looked up, so this may take its time.
///
/// `:8080`, `0.0.0.0:8080` and `[::]:8080` are every address of both families, as with CoreDNS; a host name prefers its
/// IPv4 addresses.
///
/// # Errors
/// The first one that stands for nothing, and why.
pub fn resolve(endpoints: &Endpoints) -> Result<Resolved, (String, io::Error)> {
    let names: BTreeSet<&String> = endpoints.keys().map(|(address, _)| address).collect();
    let place = |name: &String| match addresses(name) {
        Ok(addresses) => Ok((name.clone(), addresses)),
        Err(error) => Err((name.clone(), error)),
    };
    names.into_iter().map(place).collect()
}

#[allow(clippy::disallowed_methods, reason = "a host name here is the user's own wish, before a configuration is used")]
fn addresses(name: &str) -> io::Result<Vec<SocketAddr>> {
    // Without a port any free one is taken, as in CoreDNS.
    let name = if name.ends_with(':') { format!("{name}0") } else { name.to_owned() };
    let name = if name.starts_with(':') { format!("[::]{name}") } else { name };
    let mut all: Vec<SocketAddr> = name.to_socket_addrs()?.collect();
    all.sort_by_key(SocketAddr::is_ipv6);
    match all.iter().find(|address| address.ip().is_unspecified()) {
        Some(wide) => {
            Ok(vec![(Ipv6Addr::UNSPECIFIED, wide.port()).into(), (Ipv4Addr::UNSPECIFIED, wide.port()).into()])
        }
        None => Ok(all),
    }
}

impl Http {
    /// Binds every one of these addresses that is not open already.
    ///
    /// # Errors
    /// The address that cannot be bound, as the Corefile has it, and why.
    pub fn bind(&self, resolved: &Resolved) -> Result<Bound, (String, io::Error)> {
        let state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let mut bound = Bound { places: BTreeMap::new(), fresh: BTreeMap::new() };
        for (name, candidates) in resolved {
            let at = bound.place(candidates, &state).map_err(|error| (name.clone(), error))?;
            bound.places.insert(name.clone(), at);
        }
        Ok(bound)
    }

    /// Serves `endpoints` from now on; addresses that they do not name are closed.
    ///
    /// A listener stays open for the pages of a less specific address, if there are any: what arrives there comes to it.
    pub fn publish(&self, bound: Bound, endpoints: Endpoints, runtime: &Handle) {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let is_wanted = |at: &SocketAddr| bound.places.values().any(|place| listen::rank(*place, *at).is_some());
        let (open, closed): (BTreeMap<_, _>, BTreeMap<_, _>) =
            std::mem::take(&mut state.open).into_iter().partition(|(at, _)| is_wanted(at));
        state.open = open;
        let pages = bound.pages(state.open.keys().chain(bound.fresh.keys()), &endpoints);
        bound.tell_free_ports(&endpoints);
        self.replace(pages, closed, runtime);
        for (at, listener) in bound.fresh {
            let mut tasks = Tasks::default();
            let serving = serve::serve(listener, at.to_string(), self.live.clone(), self.connections.clone());
            tasks.spawn(runtime, "http", serving);
            state.open.insert(at, tasks);
            state.known.insert(at);
        }
    }

    /// Serves `pages`, and for a moment those that the closed listeners had.
    fn replace(&self, pages: Endpoints, closed: BTreeMap<SocketAddr, Tasks>, runtime: &Handle) {
        if closed.is_empty() {
            return self.live.store(Arc::new(pages));
        }
        let names: BTreeSet<String> = closed.keys().map(SocketAddr::to_string).collect();
        let before = self.live.load_full();
        let old =
            before.iter().filter(|((at, _), _)| names.contains(at)).map(|(key, page)| (key.clone(), page.clone()));
        let both = Arc::new(old.chain(pages.clone()).collect::<Endpoints>());
        self.live.store(both.clone());
        let live = self.live.clone();
        runtime.spawn(async move {
            tokio::time::sleep(ON_THEIR_WAY).await;
            drop(closed);
            // Unless there are newer ones.
            live.compare_and_swap(&both, Arc::new(pages));
        });
    }
}

impl Bound {
    /// The first of `candidates` that is open or can be opened.
    fn place(&mut self, candidates: &[SocketAddr], state: &State) -> io::Result<SocketAddr> {
        let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address");
        for &address in candidates {
            if state.open.contains_key(&address) || self.fresh.contains_key(&address) {
                return Ok(address);
            }
            let again = state.known.contains(&address);
            let wish = Wish { protocol: Protocol::Tcp, address, count: 1, backlog: BACKLOG, again };
            match listen::open(wish, |_| Ok(())) {
                Ok(sockets) => {
                    self.fresh.extend(sockets.into_iter().map(|socket| (address, socket.into())));
                    return Ok(address);
                }
                // Without IPv6 there is still IPv4; a port that is taken is taken for both.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Says where pages are that were given any free port: nothing else tells.
    fn tell_free_ports(&self, endpoints: &Endpoints) {
        for (at, listener) in self.fresh.iter().filter(|(at, _)| at.port() == 0) {
            let Ok(local) = listener.local_addr() else { continue };
            for (_, path) in endpoints.keys().filter(|(name, _)| self.places.get(name) == Some(at)) {
                log::info("", format_args!("{path} is served at http://{local}{path}"));
            }
        }
    }

    /// The pages of each listener, by its address: those that the Corefile has for it, and those for less specific ones.
    fn pages<'a>(&self, listeners: impl Iterator<Item = &'a SocketAddr>, endpoints: &Endpoints) -> Endpoints {
        let mut pages = BTreeMap::new();
        for at in listeners {
            let fitting = endpoints.iter().filter_map(|((name, path), handler)| {
                Some((listen::rank(*self.places.get(name)?, *at)?, path, handler))
            });
            let mut fitting: Vec<_> = fitting.collect();
            // The most specific one is put in last, and stays.
            fitting.sort_by_key(|(rank, ..)| *rank);
            for (_, path, handler) in fitting {
                pages.insert((at.to_string(), path.clone()), handler.clone());
            }
        }
        pages
    }
}
