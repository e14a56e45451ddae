//! GET endpoints for people and probes: `/health`, `/ready`, `/metrics`.
//!
//! Addresses are bound before anything is published, so a reload that cannot bind changes nothing.
//! An address that the old and the new configuration share stays open. All plugins on one address
//! share it, however they write it. If addresses overlap (`:8080` and `127.0.0.1:8080`), the more
//! specific one serves the pages of both.
//!
//! - [`serve`]: connections, and limits on what a client may use
//! - [`places`]: how many connections there may be, and which one is closed if there are too many
//! - [`press`]: slow pages, made one at a time

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

/// Connections that may wait to be accepted, if the kernel allows as many (net.core.somaxconn is
/// 4096 by default). If the queue is full, a client (a probe among them) tries again after a
/// second.
const BACKLOG: i32 = 4096;

//----------- Endpoints ------------------------------------------------------

/// The answer of a handler: status code, content type and body.
pub type Page = (u16, &'static str, String);

/// Makes the page of one path.
#[derive(Clone)]
pub struct Handler(Kind);

#[derive(Clone)]
enum Kind {
    /// Made at once.
    Light(Make),
    /// Made one at a time, on a thread that may block.
    Heavy(Arc<Press>),
}

impl Handler {
    /// Makes a handler for a page that takes microseconds. It runs for each request and never waits
    /// for another page.
    pub fn light(make: impl Fn() -> Page + Send + Sync + 'static) -> Self {
        Self(Kind::Light(Arc::new(make)))
    }

    /// Makes a handler for a page that may take long. It runs once at a time on a thread that may
    /// block, and all waiting requests share the page.
    pub fn heavy(make: impl Fn() -> Page + Send + Sync + 'static) -> Self {
        Self(Kind::Heavy(Arc::new(Press::new(Arc::new(make)))))
    }

    /// Makes the page now, on this thread.
    #[must_use]
    pub fn page(&self) -> Page {
        match &self.0 {
            Kind::Light(make) => make(),
            Kind::Heavy(press) => (press.make)(),
        }
    }
}

/// The endpoints of one configuration: address as in the Corefile, and path, with the handler.
pub type Endpoints = BTreeMap<(String, String), Handler>;

/// The content type of plain pages.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// The socket addresses that each address of a configuration stands for, in order of preference.
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
    /// By the address that was asked for; its port may be 0.
    open: BTreeMap<SocketAddr, Tasks>,
    /// All listeners that were ever open: a closed one may still end a moment later.
    known: BTreeSet<SocketAddr>,
}

/// Bound listeners that are not in use yet.
#[derive(Debug)]
pub struct Bound {
    /// The socket address of each address in the Corefile.
    places: BTreeMap<String, SocketAddr>,
    fresh: BTreeMap<SocketAddr, TcpListener>,
}

/// How long a listener that is not needed any more accepts connections that are already on their
/// way.
const ON_THEIR_WAY: Duration = Duration::from_secs(1);

/// Resolves the addresses of `endpoints`. Host names are looked up, so this may take time.
///
/// `:8080`, `0.0.0.0:8080` and `[::]:8080` stand for all addresses of both families, as in CoreDNS.
/// Host names prefer their IPv4 addresses.
///
/// # Errors
/// The first address that cannot be resolved, and why.
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
    // Without a port, any free one is used, as in CoreDNS.
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
    /// Binds all of these addresses that are not open already.
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

    /// Serves `endpoints` from now on, and closes all other addresses.
    ///
    /// A listener stays open if a less specific address has pages, because the kernel still prefers
    /// this one.
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

    /// Serves `pages`, and for a moment also those of the closed listeners.
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
            // If there are newer pages by then, they stay.
            live.compare_and_swap(&both, Arc::new(pages));
        });
    }
}

impl Bound {
    /// Returns the first of `candidates` that is open or can be opened.
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
                // Without IPv6, IPv4 may still work. But a port that is in use is in use for both.
                Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
                Err(error) => last = error,
            }
        }
        Err(last)
    }

    /// Logs the addresses of pages whose port was chosen by the system; nothing else shows them.
    fn tell_free_ports(&self, endpoints: &Endpoints) {
        for (at, listener) in self.fresh.iter().filter(|(at, _)| at.port() == 0) {
            let Ok(local) = listener.local_addr() else { continue };
            for (_, path) in endpoints.keys().filter(|(name, _)| self.places.get(name) == Some(at)) {
                log::info("", format_args!("{path} is served at http://{local}{path}"));
            }
        }
    }

    /// Returns the pages of each listener by its address: its own pages in the Corefile, and those
    /// for less specific addresses.
    fn pages<'a>(&self, listeners: impl Iterator<Item = &'a SocketAddr>, endpoints: &Endpoints) -> Endpoints {
        let mut pages = BTreeMap::new();
        for at in listeners {
            let fitting = endpoints.iter().filter_map(|((name, path), handler)| {
                Some((listen::rank(*self.places.get(name)?, *at)?, path, handler))
            });
            let mut fitting: Vec<_> = fitting.collect();
            // The most specific address is inserted last, so its page wins.
            fitting.sort_by_key(|(rank, ..)| *rank);
            for (_, path, handler) in fitting {
                pages.insert((at.to_string(), path.clone()), handler.clone());
            }
        }
        pages
    }
}
