//! What the index holds for a name: addresses, ports, or why there is nothing. Pure.

use std::net::IpAddr;
use std::sync::Arc;

use super::endpoints::{AddressRef, EndpointRef};
use super::index::{Entry, Index};
use super::memo;
use super::model::{LabelRoom, Port, Service, Slice, Target};
use super::name::{Ask, Part};
use super::options::{Options, Pods};
use super::zone::Zone;
use crate::wire::answer::{Answer, Section, scratch};
use crate::wire::encode::{Encoder, Owner};
use crate::wire::name::{MAX_LABEL, labels};
use crate::wire::own::own;
use crate::wire::request::flag;
use crate::wire::seen::with_scratch;
use crate::wire::types::rtype;

//----------- Found ----------------------------------------------------------

/// What there is for a question.
#[derive(Debug, Clone)]
pub enum Found {
    /// Records.
    Answer(Arc<Answer>),
    /// The name exists, the type does not.
    NoData,
    /// The name does not exist.
    NameError,
    /// The name is an alias of this one, as it stands in the object.
    Alias(Box<str>),
}

/// What is wanted of a name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Want {
    /// A records.
    V4,
    /// AAAA records.
    V6,
    /// SRV records.
    Srv,
    /// Only whether it exists.
    Existence,
}

impl Want {
    /// What a type wants.
    #[must_use]
    pub fn of(qtype: u16) -> Self {
        match qtype {
            rtype::A => Self::V4,
            rtype::AAAA => Self::V6,
            rtype::SRV => Self::Srv,
            _ => Self::Existence,
        }
    }

    fn takes(self, address: IpAddr) -> bool {
        match self {
            Self::V4 => address.is_ipv4(),
            Self::V6 => address.is_ipv6(),
            Self::Srv => true,
            Self::Existence => false,
        }
    }
}

//----------- View -----------------------------------------------------------

/// The data as one question sees it.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// The data.
    pub index: &'a Index,
    /// The options of the block.
    pub options: &'a Options,
    /// The zone that was asked.
    pub zone: &'a Zone,
    /// The name as the client wrote it, in wire form; it ends in the zone.
    pub asked: &'a [u8],
    /// Our own addresses, for `ns.dns`.
    pub servers: &'a [IpAddr],
}

impl View<'_> {
    /// Looks a name up.
    #[must_use]
    pub fn look(&self, ask: Ask<'_>, want: Want) -> Found {
        match ask {
            Ask::Apex | Ask::Kind | Ask::Version | Ask::NameServerParent => Found::NoData,
            Ask::NameServer => self.addresses(want, self.servers.iter().copied()),
            Ask::Namespace(namespace) => self.if_exposed(namespace, || Found::NoData),
            Ask::PodNamespace(namespace) if self.options.pods != Pods::Disabled => {
                self.if_exposed(namespace, || Found::NoData)
            }
            Ask::Pod { label, namespace } => self.pod(label, namespace, want),
            Ask::Service { key, namespace, part } => self.if_exposed(namespace, || {
                let table = if self.zone.schema.multicluster { &self.index.imports } else { &self.index.services };
                table.with(key, |entry| self.kept_service(entry, part, want)).unwrap_or(Found::NameError)
            }),
            Ask::PodNamespace(_) | Ask::Nothing => Found::NameError,
        }
    }

    fn if_exposed(&self, namespace: &[u8], found: impl FnOnce() -> Found) -> Found {
        if self.options.exposes(namespace) && self.index.has_namespace(namespace) { found() } else { Found::NameError }
    }

    fn pod(&self, label: &[u8], namespace: &[u8], want: Want) -> Found {
        let Some(address) = pod_address(label) else { return Found::NameError };
        let exists = || {
            self.options.pods == Pods::Insecure
                || self.index.pods.with(&address, |pods| pods.names().any(|label| label == namespace)).unwrap_or(false)
        };
        if self.options.pods == Pods::Disabled {
            return Found::NameError;
        }
        self.if_exposed(namespace, || match exists() {
            // A pod has no ports, so no SRV.
            true if want == Want::Srv => Found::NoData,
            true => self.addresses(want, std::iter::once(address)),
            false => Found::NameError,
        })
    }

    /// What the entry holds encoded is taken from there; what has to be made is made once for a while.
    fn kept_service(&self, entry: &Arc<Entry>, part: Part<'_>, want: Want) -> Found {
        if matches!(part, Part::Whole) && want != Want::Srv {
            return self.service(entry, part, want);
        }
        let Options { ttl, ignore_empty_service, .. } = *self.options;
        let asked = memo::Asked { name: self.asked, want, ttl, ignore_empty_service };
        memo::kept(entry, asked, || self.service(entry, part, want))
    }

    fn service(&self, entry: &Entry, part: Part<'_>, want: Want) -> Found {
        let Some(service) = entry.service.as_deref() else { return Found::NameError };
        match (&service.target, part) {
            (Target::Alias(target), Part::Whole) => alias(target),
            (Target::Alias(_), _) => Found::NameError,
            (Target::Addresses(_), _) if self.options.ignore_empty_service && !entry.has_endpoints() => {
                Found::NameError
            }
            (Target::Addresses(addresses), Part::Whole | Part::Port { .. }) => {
                self.cluster_ips(entry, service, addresses, part, want)
            }
            (Target::Addresses(_), Part::Zone { .. } | Part::ZoneParent) => Found::NameError,
            (Target::Endpoints, Part::ZoneParent) if entry.has_endpoints() => Found::NoData,
            (Target::Endpoints, Part::ZoneParent) => Found::NameError,
            (Target::Endpoints, Part::Whole) if want == Want::V4 && entry.a.is_some() => stored(&entry.a),
            (Target::Endpoints, Part::Whole) if want == Want::V6 && entry.aaaa.is_some() => stored(&entry.aaaa),
            (_, Part::Zone { prefer, .. }) => match self.endpoints(entry, part, want) {
                Found::NameError if prefer && entry.has_endpoints() => self.endpoints(entry, Part::Whole, want),
                Found::NameError => Found::NoData,
                found => found,
            },
            (_, Part::Endpoint(label)) => match self.endpoints(entry, part, want) {
                Found::NameError if is_above_ports(entry, service, label) => Found::NoData,
                found => found,
            },
            (Target::Endpoints, _) | (_, Part::ClusterEndpoint { .. }) => self.endpoints(entry, part, want),
        }
    }

    fn cluster_ips(&self, entry: &Entry, service: &Service, all: &[IpAddr], part: Part<'_>, want: Want) -> Found {
        let ports = || service.ports.iter().filter(|port| takes_port(part, port));
        if ports().next().is_none() {
            return Found::NameError;
        }
        match (want, part) {
            (Want::V4, Part::Whole) => stored(&entry.a),
            (Want::V6, Part::Whole) => stored(&entry.aaaa),
            (Want::Srv, _) => self.cluster_srv(entry, all, ports),
            _ => self.addresses(want, all.iter().copied()),
        }
    }

    /// Address records of the name that was asked, each once; NODATA if there is none of the family.
    fn addresses(&self, want: Want, all: impl Iterator<Item = IpAddr>) -> Found {
        let answer = with_scratch(|seen| {
            scratch(self.asked.len(), |answer| {
                let mut e = Encoder::new(answer);
                e.flags(flag::AA);
                for address in all.filter(|address| want != Want::Srv && want.takes(*address)) {
                    if seen.addresses.insert((0, address)) {
                        e.address(Section::Answer, Owner::ASKED, self.options.ttl, address);
                    }
                }
            })
        });
        if answer.counts[0] == 0 { Found::NoData } else { Found::Answer(answer) }
    }

    /// What the endpoints give that `part` selects. None of them: the name does not exist.
    fn endpoints(&self, entry: &Entry, part: Part<'_>, want: Want) -> Found {
        let selected = || Selection { slices: &entry.slices, part };
        let Some((_, first)) = selected().next_pair() else { return Found::NameError };
        if let AddressRef::Name(target) = first.address {
            return if want == Want::Srv { Found::NoData } else { alias(target) };
        }
        match want {
            Want::Srv => self.endpoint_srv(entry, selected()),
            _ => self.addresses(want, selected().pairs().filter_map(|(_, endpoint)| endpoint.ip())),
        }
    }
}

fn stored(answer: &Option<Arc<Answer>>) -> Found {
    answer.as_ref().map_or(Found::NoData, |answer| Found::Answer(own(answer)))
}

/// An alias that looks like an address is none: there is no such domain name.
fn alias(target: &str) -> Found {
    if target.parse::<IpAddr>().is_ok() { Found::NameError } else { Found::Alias(target.into()) }
}

/// The address that a pod's label stands for: with three single dashes IPv4, anything else IPv6.
fn pod_address(label: &[u8]) -> Option<IpAddr> {
    let is_v4 =
        label.iter().filter(|&&octet| octet == b'-').count() == 3 && !label.windows(2).any(|pair| pair == b"--");
    let mut room = [0; MAX_LABEL];
    let spelled = room.get_mut(..label.len())?;
    spelled.copy_from_slice(label);
    let separator = if is_v4 { b'.' } else { b':' };
    spelled.iter_mut().filter(|octet| **octet == b'-').for_each(|dash| *dash = separator);
    let text = std::str::from_utf8(spelled).ok()?;
    if is_v4 { text.parse().ok().map(IpAddr::V4) } else { text.parse().ok().map(IpAddr::V6) }
}

/// Whether a label such as `_tcp` stands above the ports of a service (RFC 8020: such a name exists).
pub(super) fn is_above_ports(entry: &Entry, service: &Service, label: &[u8]) -> bool {
    let Some(protocol) = label.strip_prefix(b"_") else { return false };
    let named = |port: &Port| !port.name.is_empty() && port.protocol.as_bytes() == protocol;
    match service.target {
        Target::Endpoints => {
            entry.slices.iter().any(|slice| !slice.endpoints.is_empty() && slice.ports.iter().any(named))
        }
        _ => service.ports.iter().any(named),
    }
}

pub(super) fn takes_port(part: Part<'_>, candidate: &Port) -> bool {
    match part {
        Part::Port { port, protocol } => {
            let is = |label: &[u8], wanted: &[u8]| wanted.is_empty() || label == wanted;
            is(candidate.name.as_bytes(), port) && is(candidate.protocol.as_bytes(), protocol)
        }
        _ => true,
    }
}

//----------- Selection ------------------------------------------------------

/// The endpoints that a part of a service selects.
#[derive(Clone, Copy)]
pub(super) struct Selection<'a> {
    pub(super) slices: &'a [Arc<Slice>],
    pub(super) part: Part<'a>,
}

impl<'a> Selection<'a> {
    pub(super) fn pairs(self) -> impl Iterator<Item = (&'a Slice, EndpointRef<'a>)> {
        self.slices
            .iter()
            .filter(move |slice| slice.ports.iter().any(|port| takes_port(self.part, port)))
            .flat_map(|slice| slice.endpoints.iter().map(move |endpoint| (&**slice, endpoint)))
            .filter(move |(slice, endpoint)| self.takes(slice, *endpoint))
    }

    fn next_pair(self) -> Option<(&'a Slice, EndpointRef<'a>)> {
        self.pairs().next()
    }

    fn takes(self, slice: &Slice, endpoint: EndpointRef<'_>) -> bool {
        let is = |label: &[u8]| endpoint.label(&mut LabelRoom::default()).as_bytes().eq_ignore_ascii_case(label);
        match self.part {
            Part::Whole | Part::Port { .. } => true,
            // In a multicluster zone an endpoint's name needs its cluster's.
            Part::Endpoint(label) => slice.cluster.is_empty() && is(label),
            Part::ClusterEndpoint { endpoint: label, cluster } => {
                slice.cluster.as_bytes().eq_ignore_ascii_case(cluster) && is(label)
            }
            Part::Zone { zone, .. } => endpoint.zone.is_some_and(|name| is_zone(name, zone)),
            Part::ZoneParent => false,
        }
    }
}

/// Whether the labels (wire form) spell a zone's name, with dots between them.
fn is_zone(name: &str, zone: &[u8]) -> bool {
    let mut rest = name.as_bytes();
    for (at, label) in labels(zone).enumerate() {
        let dot: &[u8] = if at == 0 { b"" } else { b"." };
        match rest.strip_prefix(dot).and_then(|rest| rest.strip_prefix(label)) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    rest.is_empty()
}
