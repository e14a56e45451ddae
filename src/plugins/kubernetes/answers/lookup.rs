//! What there is for a name: addresses, ports, aliases, or why there is nothing. Pure.

use std::net::IpAddr;

use super::found::{Found, Want};
use super::name::{Ask, Part, parse};
use super::options::{Options, Pods};
use super::selection::{Selection, is_above_ports, takes_port};
use super::view::View;
use super::{apex, memo, ptr};
use crate::plugins::kubernetes::known::endpoints::AddressRef;
use crate::plugins::kubernetes::known::index::{Entry, Leads};
use crate::plugins::kubernetes::known::model::Target;
use crate::wire::answer::{Section, scratch};
use crate::wire::encode::{Encoder, Owner};
use crate::wire::name::{MAX_LABEL, Name};
use crate::wire::request::flag;
use crate::wire::reverse::{self, Reverse};
use crate::wire::seen::with_scratch;
use crate::wire::types::rtype;

impl View<'_> {
    /// What there is for a name in lower case that ends in the zone. The one place that decides it.
    #[must_use]
    pub fn find(&self, name: &Name, qtype: u16) -> Found {
        let want = Want::of(qtype);
        match (parse(name, &self.zone.name, self.zone.schema), qtype) {
            (Ask::Service { key, namespace, part }, _) if self.exposes(namespace) => {
                let table = if self.zone.schema.multicluster { &self.index.imports } else { &self.index.services };
                table.with(key, |entry| self.kept_service(entry, part, want)).unwrap_or(Found::NameError)
            }
            (Ask::Pod { label, namespace }, _) => self.pod(label, namespace, want),
            (Ask::Namespace(namespace), _) if self.exposes(namespace) => Found::NoData,
            (Ask::PodNamespace(namespace), _) if self.options.pods != Pods::Disabled && self.exposes(namespace) => {
                Found::NoData
            }
            (Ask::Service { .. } | Ask::Namespace(_) | Ask::PodNamespace(_) | Ask::Nothing, _) => Found::NameError,
            (Ask::Apex, rtype::SOA) => Found::Answer(self.zone.soa(self.index)),
            (Ask::Apex, rtype::NS) => apex::name_servers(self).map_or(Found::NoData, Found::Answer),
            // A reverse zone may be that of one address.
            (Ask::Apex, rtype::PTR) => match reverse::parse(name) {
                Some(Reverse::Address(address)) => ptr::answer(self, address).map_or(Found::NoData, Found::Answer),
                Some(Reverse::Prefix(_)) | None => Found::NoData,
            },
            (Ask::Version, rtype::TXT) => Found::Answer(apex::version(self.asked)),
            (Ask::NameServer, _) => {
                let servers = apex::servers(self.index, self.local);
                self.addresses(want, servers.iter().map(|(_, address)| *address))
            }
            (Ask::Apex | Ask::Kind | Ask::Version | Ask::NameServerParent, _) => Found::NoData,
            (Ask::Reverse(Reverse::Address(address)), _) => match ptr::answer(self, address) {
                Some(answer) if qtype == rtype::PTR => Found::Answer(answer),
                Some(_) => Found::NoData,
                None => Found::NameError,
            },
            (Ask::Reverse(Reverse::Prefix(octets)), _) => {
                self.index.owners.prefixes.with(&octets, |_| Found::NoData).unwrap_or(Found::NameError)
            }
        }
    }

    /// Whether more data could give a name in lower case that ends in the zone. Its form may be
    /// that of no object, or the options may hide it: then it does not exist, whatever is not known
    /// yet.
    #[must_use]
    pub fn may_exist(&self, name: &Name) -> bool {
        let Options { pods, .. } = self.options;
        match parse(name, &self.zone.name, self.zone.schema) {
            Ask::Service { namespace, part: Part::Port { protocol, .. }, .. } => {
                self.options.exposes(namespace) && matches!(protocol, b"" | b"tcp" | b"udp" | b"sctp")
            }
            Ask::Service { namespace, .. } | Ask::Namespace(namespace) => self.options.exposes(namespace),
            Ask::Pod { label, namespace } => {
                *pods != Pods::Disabled && self.options.exposes(namespace) && pod_address(label).is_some()
            }
            Ask::PodNamespace(namespace) => *pods != Pods::Disabled && self.options.exposes(namespace),
            Ask::Nothing => false,
            Ask::Apex | Ask::Kind | Ask::Version | Ask::NameServer | Ask::NameServerParent | Ask::Reverse(_) => true,
        }
    }

    fn pod(&self, label: &[u8], namespace: &[u8], want: Want) -> Found {
        let Some(address) = pod_address(label) else { return Found::NameError };
        let exists = || {
            self.options.pods == Pods::Insecure
                || self.index.pods.with(&address, |pods| pods.names().any(|label| label == namespace)).unwrap_or(false)
        };
        if self.options.pods == Pods::Disabled || !self.exposes(namespace) || !exists() {
            return Found::NameError;
        }
        match want {
            // A pod has no ports, so no SRV.
            Want::Srv => Found::NoData,
            _ => self.addresses(want, std::iter::once(address)),
        }
    }

    /// Takes the answer that the entry holds encoded; others are encoded, and kept for a while.
    fn kept_service(&self, entry: &Entry, part: Part<'_>, want: Want) -> Found {
        if matches!(part, Part::Whole) && want != Want::Srv {
            return self.service(entry, part, want);
        }
        let Options { ttl, ignore_empty_service, .. } = *self.options;
        let asked = memo::Key { name: self.asked, want, ttl, ignore_empty_service };
        memo::kept(entry, asked, || self.service(entry, part, want))
    }

    fn service(&self, entry: &Entry, part: Part<'_>, want: Want) -> Found {
        match (entry.leads(), part) {
            (Leads::Nowhere, _) => Found::NameError,
            (Leads::Addresses, _) if self.options.ignore_empty_service && !entry.has_endpoints() => Found::NameError,
            // Most questions: the service itself is not looked at.
            (Leads::Addresses, Part::Whole) if want != Want::Srv => stored(entry, want).unwrap_or(Found::NoData),
            (Leads::Addresses, Part::Whole | Part::Port { .. }) => self.cluster_ips(entry, part, want),
            (Leads::Addresses, Part::Zone { .. } | Part::ZoneParent) => Found::NameError,
            (Leads::Endpoints, Part::ZoneParent) if entry.has_endpoints() => Found::NoData,
            (Leads::Endpoints, Part::ZoneParent) => Found::NameError,
            (Leads::Endpoints, Part::Whole) => stored(entry, want).unwrap_or_else(|| self.endpoints(entry, part, want)),
            (Leads::Alias, Part::Whole) => alias_of(entry),
            (Leads::Alias, _) => Found::NameError,
            (_, Part::Zone { prefer, .. }) => match self.endpoints(entry, part, want) {
                Found::NameError if prefer && entry.has_endpoints() => self.endpoints(entry, Part::Whole, want),
                Found::NameError => Found::NoData,
                found => found,
            },
            (_, Part::Endpoint(label)) => match self.endpoints(entry, part, want) {
                Found::NameError if is_above_ports(entry, label) => Found::NoData,
                found => found,
            },
            (Leads::Endpoints, _) | (_, Part::ClusterEndpoint { .. }) => self.endpoints(entry, part, want),
        }
    }

    /// A ClusterIP service as a whole, or one of its ports.
    fn cluster_ips(&self, entry: &Entry, part: Part<'_>, want: Want) -> Found {
        let Some(service) = entry.service() else { return Found::NameError };
        let all = service.cluster_ips();
        let ports = || service.ports.iter().filter(|port| takes_port(part, port));
        if ports().next().is_none() {
            return Found::NameError;
        }
        match want {
            Want::Srv => self.cluster_srv(entry, all, ports),
            _ => self.addresses(want, all.iter().copied()),
        }
    }

    /// Address records of the name that was asked, each once. Returns NODATA if no address has the
    /// family.
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

    /// Returns the records of the endpoints that `part` selects. If it selects none, the name does
    /// not exist.
    fn endpoints(&self, entry: &Entry, part: Part<'_>, want: Want) -> Found {
        let selected = || Selection { slices: entry.slices(), part };
        let Some((_, first)) = selected().pairs().next() else { return Found::NameError };
        if let AddressRef::Name(target) = first.address {
            return if want == Want::Srv { Found::NoData } else { alias(target) };
        }
        match want {
            Want::Srv => self.endpoint_srv(entry, selected()),
            _ => self.addresses(want, selected().pairs().filter_map(|(_, endpoint)| endpoint.ip())),
        }
    }
}

/// The answer that the entry holds for the service's own name, if it holds one.
fn stored(entry: &Entry, want: Want) -> Option<Found> {
    let answer = match want {
        Want::V4 => entry.a(),
        Want::V6 => entry.aaaa(),
        Want::Srv | Want::Existence => None,
    };
    answer.map(Found::Answer)
}

fn alias_of(entry: &Entry) -> Found {
    match entry.service().map(|service| &service.target) {
        Some(Target::Alias(target)) => alias(target),
        _ => Found::NameError,
    }
}

/// An alias that looks like an address is invalid: no domain name looks like that.
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::kit::cluster::Cluster;

    #[test]
    fn some_names_cannot_exist_whatever_is_known() {
        let mut cluster = Cluster::empty();
        let may_exist = |cluster: &Cluster, front: &str| {
            let name = Name::from_text(&format!("{front}.cluster.local.")).expect("a name");
            let Cluster { index, options, zone, .. } = cluster;
            let (primary, asked) = (&zone.name, name.wire());
            View { index, options, zone, primary, local: &[], asked }.may_exist(&name)
        };
        for front in ["www.example.org", "www.example.org.n.svc", "a.b.c.web.n.svc", "x.n.pod", "example.svc.x", "com"]
        {
            assert!(!may_exist(&cluster, front), "{front}");
        }
        for front in
            ["web.n.svc", "a.web.n.svc", "_http._tcp.web.n.svc", "x.udp.web.n.svc", "n.svc", "n.pod", "1-2-3-4.n.pod"]
        {
            assert!(may_exist(&cluster, front), "{front}");
        }
        cluster.options.pods = Pods::Disabled;
        assert!(!may_exist(&cluster, "1-2-3-4.n.pod") && !may_exist(&cluster, "n.pod"));
        cluster.options.namespaces = Some([(*b"n").into()].into());
        assert!(may_exist(&cluster, "web.n.svc") && !may_exist(&cluster, "web.other.svc"));
    }
}
