//! GET endpoints for people and probes: `/health`, `/ready`, `/metrics`.
//!
//! Addresses are bound before anything is published, so a reload that cannot bind changes nothing; an
//! address that old and new configuration share stays open, and all plugins on one address share it.
//!
//! - [`serve`]: connections, with limits on what a client may take
//! - [`places`]: how many there may be, and which one goes when there are too many
//! - [`press`]: pages that take long are made one at a time

mod places;
mod press;
mod serve;

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::net::{SocketAddr, TcpListener, ToSocketAddrs};
use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use tokio::runtime::Handle;

use super::log;
use super::tasks::Tasks;
use places::Places;
pub(in crate::host) use places::collect;
use press::{Make, Press};

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

/// All HTTP listeners of the process.
#[derive(Default)]
pub struct Http {
    live: Arc<ArcSwap<Endpoints>>,
    open: Mutex<BTreeMap<String, Tasks>>,
    places: Arc<Places>,
}

/// Listeners that are bound, and not yet in use.
#[derive(Debug)]
pub struct Bound(BTreeMap<String, TcpListener>);

impl Http {
    /// Binds every address of `endpoints` that is not open already.
    ///
    /// # Errors
    /// The address that cannot be bound, and why.
    pub fn bind(&self, endpoints: &Endpoints) -> Result<Bound, (String, io::Error)> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        let wanted: BTreeSet<&String> = endpoints.keys().map(|(address, _)| address).collect();
        let fresh = wanted.into_iter().filter(|address| !open.contains_key(*address));
        let bound = fresh.map(|address| Ok((address.clone(), listen(address).map_err(|e| (address.clone(), e))?)));
        bound.collect::<Result<_, _>>().map(Bound)
    }

    /// Serves `endpoints` from now on; addresses that they do not name are closed.
    pub fn publish(&self, bound: Bound, endpoints: Endpoints, runtime: &Handle) {
        let mut open = self.open.lock().unwrap_or_else(PoisonError::into_inner);
        open.retain(|address, _| endpoints.keys().any(|(wanted, _)| wanted == address));
        tell_free_ports(&bound, &endpoints);
        self.live.store(Arc::new(endpoints));
        for (address, listener) in bound.0 {
            let mut tasks = Tasks::default();
            tasks.spawn(
                runtime,
                "http",
                serve::serve(listener, address.clone(), self.live.clone(), self.places.clone()),
            );
            open.insert(address, tasks);
        }
    }
}

/// Says where pages are that were given any free port: nobody else can tell.
fn tell_free_ports(bound: &Bound, endpoints: &Endpoints) {
    for (address, listener) in bound.0.iter().filter(|(address, _)| address.ends_with(":0")) {
        let Ok(local) = listener.local_addr() else { continue };
        for (_, path) in endpoints.keys().filter(|(of, _)| of == address) {
            log::info("", format_args!("{path} is served at http://{local}{path}"));
        }
    }
}

/// `:8080` is every address of both families, as with CoreDNS; a host name takes its first IPv4 address.
#[allow(clippy::disallowed_methods, reason = "a host name here is the user's own wish, at start only")]
fn listen(address: &str) -> io::Result<TcpListener> {
    let addresses: Vec<SocketAddr> = match address.strip_prefix(':') {
        Some(port) => {
            [format!("[::]:{port}"), format!("0.0.0.0:{port}")].iter().filter_map(|a| a.parse().ok()).collect()
        }
        None => {
            let mut all: Vec<SocketAddr> = address.to_socket_addrs()?.collect();
            all.sort_by_key(SocketAddr::is_ipv6);
            all
        }
    };
    let mut last = io::Error::new(io::ErrorKind::InvalidInput, "no address");
    for address in addresses {
        match bind(address) {
            Ok(listener) => return Ok(listener),
            // Without IPv6 there is still IPv4; a port that is taken is taken for both.
            Err(error) if error.kind() == io::ErrorKind::AddrInUse => return Err(error),
            Err(error) => last = error,
        }
    }
    Err(last)
}

fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = socket2::Socket::new(socket2::Domain::for_address(address), socket2::Type::STREAM, None)?;
    if address.is_ipv6() {
        socket.set_only_v6(!address.ip().is_unspecified())?;
    }
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(64)?;
    Ok(socket.into())
}
