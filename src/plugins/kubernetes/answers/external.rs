//! Where Services are reached from outside of the cluster, for the plugin that gives them names
//! there.

use std::collections::BTreeSet;
use std::future::Future;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;

use super::name::{Ask, Part, parse_external};
use super::options::Options;
use super::patience::Patience;
use super::selection::{Selection, is_above_ports, takes_port};
use crate::chain::external::{Existence, ExternalEndpoint, ExternalEndpoints, ExternalHost, Externals};
use crate::plugins::kubernetes::known::addresses::Holders;
use crate::plugins::kubernetes::known::endpoints::{AddressRef, EndpointRef};
use crate::plugins::kubernetes::known::index::{Entry, Index};
use crate::plugins::kubernetes::known::label::LabelRoom;
use crate::plugins::kubernetes::known::model::{Port, Reached, Service, Target};
use crate::wire::name::labels;
use crate::wire::reverse::Octets;

/// The Services of one block, from outside.
pub(crate) struct Outside {
    index: Arc<Index>,
    options: Options,
    /// Addresses of this machine that others can reach.
    local: Vec<IpAddr>,
    patience: Arc<Patience>,
}

impl Outside {
    pub(crate) fn new(options: &Options, index: Arc<Index>, local: Vec<IpAddr>, patience: Arc<Patience>) -> Self {
        Self { index, options: options.clone(), local, patience }
    }

    fn exposes(&self, namespace: &[u8]) -> bool {
        self.options.serves(&self.index, namespace)
    }
}

impl Externals for Outside {
    fn find(&self, name: &[u8], headless: bool, look: &mut dyn FnMut(&dyn ExternalEndpoints)) -> Existence {
        let (key, namespace, part) = match parse_external(name) {
            Ask::Namespace(namespace) if self.exposes(namespace) => return Existence::Exists,
            Ask::Service { key, namespace, part } => (key, namespace, part),
            _ => return Existence::Missing,
        };
        if !self.exposes(namespace) {
            return Existence::Missing;
        }
        let found = self.index.services.with(key, |entry| reached(entry, part, headless, look));
        found.unwrap_or(Existence::Missing)
    }

    fn services(&self, headless: bool) -> Vec<Box<[u8]>> {
        let found = self.index.services.all().filter(|entry| {
            let namespace = labels(entry.key()).nth(1).unwrap_or_default();
            self.exposes(namespace) && entry.service().is_some_and(|service| has_names(service, headless))
        });
        let mut keys: Vec<Box<[u8]>> = found.map(|entry| entry.key().into()).collect();
        keys.sort_unstable_by(|one, other| labels(one).cmp(labels(other)));
        keys
    }

    fn names(&self, service: &[u8], headless: bool) -> Vec<Box<[u8]>> {
        self.index.services.with(service, |entry| names(entry, headless)).unwrap_or_default()
    }

    fn names_of(&self, address: IpAddr, look: &mut dyn FnMut(&[u8])) {
        self.index.external.holders.with(&address, |holders| {
            let exposed = |key: &&[u8]| self.exposes(labels(key).nth(1).unwrap_or_default());
            holders.names().filter(exposed).for_each(look);
        });
    }

    fn has_prefix(&self, octets: &Octets) -> bool {
        self.index.external.prefixes.with(octets, |_| ()).is_some()
    }

    fn servers(&self, headless: bool) -> Vec<IpAddr> {
        let (mut found, mut is_endpoint) = (Vec::new(), false);
        for local in &self.local {
            let keys = self.index.owners.holders.with(local, Clone::clone);
            for key in keys.iter().flat_map(Holders::names) {
                self.index.services.with(key, |entry| {
                    is_endpoint |= entry.endpoints().any(|endpoint| endpoint.ip() == Some(*local));
                    add_server(&mut found, entry, *local, headless);
                });
            }
        }
        if !is_endpoint {
            found.clone_from(&self.local);
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn serial(&self) -> u32 {
        self.index.serial()
    }

    fn ttl(&self) -> u32 {
        self.options.ttl_now(&self.index)
    }

    fn is_synced(&self) -> bool {
        self.index.is_synced()
    }

    fn wait(&self) -> Option<Pin<Box<dyn Future<Output = ()> + Send>>> {
        Some(Box::pin(self.patience.wait(&self.index)?))
    }
}

/// The addresses of a service that this server is an endpoint of.
fn add_server(found: &mut Vec<IpAddr>, entry: &Entry, local: IpAddr, headless: bool) {
    let Some(service) = entry.service() else { return };
    if !entry.endpoints().any(|endpoint| endpoint.ip() == Some(local)) {
        return;
    }
    if headless && service.target == Target::Endpoints {
        found.extend(entry.endpoints().filter_map(EndpointRef::ip));
    } else {
        found.extend(service.external_ips());
    }
}

/// What a part of a service has outside.
fn reached(entry: &Entry, part: Part<'_>, headless: bool, look: &mut dyn FnMut(&dyn ExternalEndpoints)) -> Existence {
    let Some(service) = entry.service() else { return Existence::Missing };
    let exists = |exists| if exists { Existence::Exists } else { Existence::Missing };
    if let Some(all) = &service.external {
        return match part {
            // Nothing has a name of its own there but what stands above the ports (RFC 8020).
            Part::Endpoint(label) => exists(is_above_ports(entry, label)),
            _ if service.ports.iter().any(|port| takes_port(part, port)) => {
                look(&OfService { key: entry.key(), reached: all, ports: &service.ports, part });
                Existence::Exists
            }
            _ => Existence::Missing,
        };
    }
    // An endpoint that is asked for by its name need not belong to a headless service.
    if !headless || service.target != Target::Endpoints && !matches!(part, Part::Endpoint(_)) {
        return Existence::Missing;
    }
    let selection = Selection { slices: entry.slices(), part };
    if selection.pairs().next().is_some() {
        look(&OfEndpoints { key: entry.key(), selection });
        return Existence::Exists;
    }
    match part {
        Part::Endpoint(label) => exists(service.target == Target::Endpoints && is_above_ports(entry, label)),
        _ => Existence::Missing,
    }
}

/// Whether a service has names outside.
fn has_names(service: &Service, headless: bool) -> bool {
    service.external.is_some() || headless && service.target == Target::Endpoints
}

/// The name of a service, those of its named ports, and of its endpoints if they are what is
/// reached; each once.
fn names(entry: &Entry, headless: bool) -> Vec<Box<[u8]>> {
    let Some(service) = entry.service().filter(|service| has_names(service, headless)) else {
        return Vec::new();
    };
    let mut found: BTreeSet<Box<[u8]>> = BTreeSet::new();
    let below = |fronts: &[&str]| {
        let fronts = fronts.iter().flat_map(|front| std::iter::once(front.len() as u8).chain(front.bytes()));
        fronts.chain(entry.key().iter().copied()).collect()
    };
    let port_name = |port: &Port| below(&[&format!("_{}", port.name), &format!("_{}", port.protocol)]);
    let named = |port: &&Port| !port.name.is_empty();
    if service.external.is_some() {
        found.extend(service.ports.iter().filter(named).map(port_name));
    } else {
        for slice in entry.slices().iter().filter(|slice| !slice.endpoints.is_empty()) {
            found.extend(slice.ports.iter().filter(named).map(port_name));
            found.extend(slice.endpoints.iter().map(|endpoint| below(&[endpoint.label(&mut LabelRoom::default())])));
        }
    }
    std::iter::once(entry.key().into()).chain(found).collect()
}

/// The addresses and names of a service, each with each port.
struct OfService<'a> {
    key: &'a [u8],
    reached: &'a [Reached],
    ports: &'a [Port],
    part: Part<'a>,
}

impl ExternalEndpoints for OfService<'_> {
    fn each(&self, visit: &mut dyn FnMut(ExternalEndpoint<'_>)) {
        for one in self.reached {
            let host = match one {
                Reached::Ip(address) => ExternalHost::Ip(*address),
                Reached::Name(name) => ExternalHost::Name(name),
            };
            for port in self.ports.iter().filter(|port| takes_port(self.part, port)) {
                visit(ExternalEndpoint { host, port: port.number, label: None, service: self.key });
            }
        }
    }
}

/// Endpoints, each with each port.
struct OfEndpoints<'a> {
    key: &'a [u8],
    selection: Selection<'a>,
}

impl ExternalEndpoints for OfEndpoints<'_> {
    fn each(&self, visit: &mut dyn FnMut(ExternalEndpoint<'_>)) {
        for (slice, endpoint) in self.selection.pairs() {
            let host = match endpoint.address {
                AddressRef::Ip(address) => ExternalHost::Ip(address),
                AddressRef::Name(name) => ExternalHost::Name(name),
            };
            let mut room = LabelRoom::default();
            let label = endpoint.label(&mut room);
            for port in slice.ports.iter().filter(|port| takes_port(self.selection.part, port)) {
                visit(ExternalEndpoint { host, port: port.number, label: Some(label), service: self.key });
            }
        }
    }
}
