//! Services as reached from outside the cluster: known to one plugin, named by another.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use crate::wire::reverse::Octets;

/// A plugin that knows where the Services of a cluster are reached from outside.
///
/// Names are labels in wire form, lower case, without the root label and without the zone, which is
/// the caller's.
pub trait Externals: Send + Sync + 'static {
    /// Looks up a name below the zone: `SERVICE.NAMESPACE`, perhaps with a port and a protocol or,
    /// with `headless`, an endpoint in front. It calls `look` once if the name stands for anything
    /// that is reached from outside.
    ///
    /// With `headless`, the endpoints of services without an external address count as well.
    fn find(&self, name: &[u8], headless: bool, look: &mut dyn FnMut(&dyn ExternalEndpoints)) -> Existence;

    /// Returns the names (`SERVICE.NAMESPACE`) of the services that [`Externals::find`] finds, by
    /// name.
    fn services(&self, headless: bool) -> Vec<Box<[u8]>>;

    /// Returns the names that exist for a service: its own, those of its ports, and with
    /// `headless` those of its endpoints.
    fn names(&self, service: &[u8], headless: bool) -> Vec<Box<[u8]>>;

    /// Calls `look` with the names (`SERVICE.NAMESPACE`) of the services reached at an address.
    fn names_of(&self, address: IpAddr, look: &mut dyn FnMut(&[u8]));

    /// Returns whether addresses that begin with these octets of IPv4 may have names.
    fn has_prefix(&self, octets: &Octets) -> bool;

    /// Returns the addresses at which this server itself is reached from outside, each once.
    fn servers(&self, headless: bool) -> Vec<IpAddr>;

    /// Returns when something last changed, in seconds since 1970.
    fn serial(&self) -> u32;

    /// Returns the TTL of the cluster's own records in seconds.
    fn ttl(&self) -> u32;

    /// Returns whether the data are complete.
    fn is_synced(&self) -> bool;

    /// Returns the wait of a question about an unknown name: until the data are complete, or
    /// patience is over. Returns `None` if it need not wait.
    fn wait(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>>;
}

/// Whether a name exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existence {
    /// The name exists, whether it is reached from outside or not.
    Exists,
    /// The name does not exist.
    Missing,
}

/// The external endpoints of a name, one for each port. They do not change during a lookup.
pub trait ExternalEndpoints {
    /// Calls `visit` with each of them.
    fn each(&self, visit: &mut dyn FnMut(ExternalEndpoint<'_>));
}

/// An address or host name at which a Service is reached from outside, and a port.
#[derive(Debug, Clone, Copy)]
pub struct ExternalEndpoint<'a> {
    /// The address or the host name.
    pub host: ExternalHost<'a>,
    /// The port; `None` if none is known.
    pub port: Option<u16>,
    /// The label of the cluster endpoint that is reached, if it is one.
    pub label: Option<&'a str>,
    /// The name of the service: `SERVICE.NAMESPACE`.
    pub service: &'a [u8],
}

/// The host of an external endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ExternalHost<'a> {
    /// At an IP address.
    Ip(IpAddr),
    /// At a host name, as it is in the object.
    Name(&'a str),
}

/// What a plugin offers; set when all plugins of the block are set up.
pub type OfferedExternals = Arc<OnceLock<Arc<dyn Externals>>>;
