//! Services as they are reached from outside of a cluster: known by one plugin, named by another.

use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, OnceLock};

use crate::wire::reverse::Octets;

/// Who knows where the Services of a cluster are reached from outside.
///
/// Names are labels in wire form, lower case, without a root label, and without the zone, which is the caller's.
pub trait Externals: Send + Sync + 'static {
    /// Looks at what a name below the zone stands for: `SERVICE.NAMESPACE`, perhaps with a port and a protocol or, with
    /// `headless`, an endpoint in front. `look` is called once if it stands for anything that is reached from outside.
    ///
    /// With `headless`, endpoints of services that have no address outside are reached from there as well.
    fn find(&self, name: &[u8], headless: bool, look: &mut dyn FnMut(&dyn ExternalEndpoints)) -> Existence;

    /// Looks at the names (`SERVICE.NAMESPACE`) of those who are reached under an address.
    fn names_of(&self, address: IpAddr, look: &mut dyn FnMut(&[u8]));

    /// Whether addresses that begin with these octets of IPv4 may have names.
    fn has_prefix(&self, octets: &Octets) -> bool;

    /// The addresses under which this server itself is reached from outside, each once.
    fn servers(&self, headless: bool) -> Vec<IpAddr>;

    /// When something last changed, in seconds since 1970.
    fn serial(&self) -> u32;

    /// The TTL of the cluster's own records in seconds.
    fn ttl(&self) -> u32;

    /// Whether everything is known.
    fn is_synced(&self) -> bool;

    /// What a question about an unknown name waits for: until everything is known, or patience is over. Nothing if it
    /// need not wait.
    fn wait(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>>;
}

/// Whether a name exists.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Existence {
    /// It does, whether it is reached from outside or not.
    Exists,
    /// It does not.
    Missing,
}

/// The external endpoints of a name, one for each port. They stay as they are while they are looked at.
pub trait ExternalEndpoints {
    /// Looks at each of them.
    fn each(&self, visit: &mut dyn FnMut(ExternalEndpoint<'_>));
}

/// An address or host name at which a Service is reached from outside, and a port.
#[derive(Debug, Clone, Copy)]
pub struct ExternalEndpoint<'a> {
    /// The address or the host name.
    pub host: ExternalHost<'a>,
    /// The port; `None` if none is known.
    pub port: Option<u16>,
    /// The label of the endpoint of the cluster that is reached, if it is one.
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

/// What a plugin offers; there when all plugins of the block are set up.
pub type OfferedExternals = Arc<OnceLock<Arc<dyn Externals>>>;
