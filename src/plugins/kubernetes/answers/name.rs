//! Reads names below a cluster zone, from the right: what of the cluster does a name ask for?
//!
//! The schema is that of Kubernetes's DNS specification 1.1.0, with what CoreDNS adds to it.

use crate::wire::name::{MAX_NAME, Name};
use crate::wire::reverse::{self, Reverse};

//----------- Ask ------------------------------------------------------------

/// What a name asks for. Labels are in lower case.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ask<'q> {
    /// The zone itself.
    Apex,
    /// `dns-version`.
    Version,
    /// `ns.dns`, the name of the server.
    NameServer,
    /// `dns`, which exists because `ns.dns` does.
    NameServerParent,
    /// `svc` or `pod`.
    Kind,
    /// A namespace below `svc`.
    Namespace(&'q [u8]),
    /// A namespace below `pod`.
    PodNamespace(&'q [u8]),
    /// A service, or something below it.
    Service {
        /// Labels of service and namespace in wire form.
        key: &'q [u8],
        /// The label of the namespace.
        namespace: &'q [u8],
        /// What of the service.
        part: Part<'q>,
    },
    /// A pod by its address.
    Pod {
        /// The address with dashes.
        label: &'q [u8],
        /// The label of the namespace.
        namespace: &'q [u8],
    },
    /// An address, or the first octets of addresses. Reverse names are read in any zone that holds
    /// them.
    Reverse(Reverse),
    /// Nothing that can exist.
    Nothing,
}

/// What of a service is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Part<'q> {
    /// The service itself.
    Whole,
    /// One endpoint by its label, or the node above the ports of a protocol (`_tcp`).
    Endpoint(&'q [u8]),
    /// A port by name and protocol, underscores stripped. What is empty then matches any.
    Port {
        /// The name of the port.
        port: &'q [u8],
        /// The protocol.
        protocol: &'q [u8],
    },
    /// An endpoint of one of the clusters of a multicluster zone.
    ClusterEndpoint {
        /// The endpoint's label.
        endpoint: &'q [u8],
        /// The cluster's label.
        cluster: &'q [u8],
    },
    /// Endpoints in a topology zone.
    Zone {
        /// Whether other zones will do when this one has none (`prefer`, as against `pin`).
        prefer: bool,
        /// The labels of the zone in wire form; dots of the zone's name separate labels.
        zone: &'q [u8],
    },
    /// A node above zone names: `_zone`, `pin._zone`.
    ZoneParent,
}

/// Options that decide how a name is read.
#[derive(Debug, Clone, Copy, Default)]
pub struct Schema {
    /// This zone is one of a set of clusters.
    pub multicluster: bool,
    /// Topology names are served.
    pub zonal: bool,
    /// This zone holds reverse names: no service or pod has a name in it, as in CoreDNS.
    pub reverse: bool,
}

/// Reads a name in lower case that ends in `zone`.
#[must_use]
pub fn parse<'q>(name: &'q Name, zone: &Name, schema: Schema) -> Ask<'q> {
    let labels = Labels::new(&name.wire()[..name.len() - zone.len()]);
    let Some(kind) = labels.nth_from_right(0) else { return Ask::Apex };
    if name.wire().ends_with(b"\x04arpa\0")
        && let Some(reverse) = reverse::parse(name)
    {
        return Ask::Reverse(reverse);
    }
    match (kind, labels.count) {
        (b"dns-version", 1) => Ask::Version,
        (b"dns", 1) => Ask::NameServerParent,
        (b"dns", 2) if labels.nth_from_right(1) == Some(b"ns") => Ask::NameServer,
        (b"svc" | b"pod", 1) => Ask::Kind,
        (b"svc" | b"pod", _) if schema.reverse => Ask::Nothing,
        (b"svc", _) => service(&labels, schema),
        (b"pod", _) => pod(&labels),
        _ => Ask::Nothing,
    }
}

/// Reads what stands in front of a zone of services as they are reached from outside: as below
/// `svc`, without it.
#[must_use]
pub fn parse_external(base: &[u8]) -> Ask<'_> {
    let labels = Labels::new(base);
    let label = |index| labels.nth_from_right(index);
    let part = match (labels.count, label(3), label(2)) {
        (0, ..) => return Ask::Apex,
        (1, ..) => return label(0).map_or(Ask::Nothing, Ask::Namespace),
        (2, ..) => Part::Whole,
        (3, _, Some(endpoint)) => Part::Endpoint(endpoint),
        (4, Some(port), Some(protocol)) => port_part(port, protocol),
        _ => return Ask::Nothing,
    };
    label(0).map_or(Ask::Nothing, |namespace| Ask::Service { key: labels.between(1, 0), namespace, part })
}

fn pod<'q>(labels: &Labels<'q>) -> Ask<'q> {
    match (labels.nth_from_right(2), labels.nth_from_right(1), labels.count) {
        (None, Some(namespace), _) => Ask::PodNamespace(namespace),
        (Some(label), Some(namespace), 3) => Ask::Pod { label, namespace },
        _ => Ask::Nothing,
    }
}

fn service<'q>(labels: &Labels<'q>, schema: Schema) -> Ask<'q> {
    let Some(namespace) = labels.nth_from_right(1) else { return Ask::Kind };
    if labels.count == 2 {
        return Ask::Namespace(namespace);
    }
    part(labels, schema).map_or(Ask::Nothing, |part| Ask::Service { key: labels.between(2, 1), namespace, part })
}

/// The labels in front of the service.
fn part<'q>(labels: &Labels<'q>, schema: Schema) -> Option<Part<'q>> {
    let (first, second) = (labels.nth_from_right(3), labels.nth_from_right(4));
    if schema.zonal && !schema.multicluster && first == Some(b"_zone") {
        return match (second, labels.count) {
            (None, _) => Some(Part::ZoneParent),
            (Some(b"pin" | b"prefer"), 5) => Some(Part::ZoneParent),
            (Some(policy @ (b"pin" | b"prefer")), count) => {
                Some(Part::Zone { prefer: policy == b"prefer", zone: labels.between(count - 1, 5) })
            }
            // As a port: `x._zone` names port x of the protocol `zone`.
            (Some(port), 5) => Some(port_part(port, b"_zone")),
            _ => None,
        };
    }
    match (second, first, labels.count) {
        (None, None, _) => Some(Part::Whole),
        (None, Some(endpoint), _) => Some(Part::Endpoint(endpoint)),
        (Some(endpoint), Some(cluster), 5)
            if schema.multicluster && !endpoint.starts_with(b"_") && !cluster.starts_with(b"_") =>
        {
            Some(Part::ClusterEndpoint { endpoint, cluster })
        }
        (Some(port), Some(protocol), 5) => Some(port_part(port, protocol)),
        _ => None,
    }
}

/// One underscore in front is optional; nothing else than that means any.
fn port_part<'q>(port: &'q [u8], protocol: &'q [u8]) -> Part<'q> {
    let strip = |label: &'q [u8]| label.strip_prefix(b"_").unwrap_or(label);
    Part::Port { port: strip(port), protocol: strip(protocol) }
}

//----------- Labels ---------------------------------------------------------

/// Where the labels stand.
struct Labels<'q> {
    base: &'q [u8],
    starts: [u8; MAX_NAME / 2],
    count: usize,
}

impl<'q> Labels<'q> {
    fn new(base: &'q [u8]) -> Self {
        let mut labels = Self { base, starts: [0; MAX_NAME / 2], count: 0 };
        let mut at = 0;
        while at < base.len() {
            labels.starts[labels.count] = at as u8;
            labels.count += 1;
            at += 1 + usize::from(base[at]);
        }
        labels
    }

    /// A label, counted from 0 at the right.
    fn nth_from_right(&self, index: usize) -> Option<&'q [u8]> {
        let at = usize::from(self.starts[self.count.checked_sub(index + 1)?]);
        Some(&self.base[at + 1..at + 1 + usize::from(self.base[at])])
    }

    /// The labels from `left` to `right` in wire form, both counted from the right.
    fn between(&self, left: usize, right: usize) -> &'q [u8] {
        let from = usize::from(self.starts[self.count - 1 - left]);
        let to = if right == 0 { self.base.len() } else { usize::from(self.starts[self.count - right]) };
        &self.base[from..to]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str, schema: Schema) -> String {
        let zone = Name::from_text("cluster.local").expect("a name");
        let name = format!("{text}{}cluster.local", if text.is_empty() { "" } else { "." });
        let name = Name::from_text(&name).expect("a name");
        let show = |label: &[u8]| String::from_utf8_lossy(label).into_owned();
        match parse(&name, &zone, schema) {
            Ask::Namespace(ns) => format!("namespace {}", show(ns)),
            Ask::PodNamespace(ns) => format!("pods of {}", show(ns)),
            Ask::Pod { label, namespace } => format!("pod {} of {}", show(label), show(namespace)),
            Ask::Service { key, namespace, part } => {
                let part = match part {
                    Part::Endpoint(label) => format!("endpoint {}", show(label)),
                    Part::Port { port, protocol } => format!("port {}/{}", show(port), show(protocol)),
                    Part::ClusterEndpoint { endpoint, cluster } => {
                        format!("endpoint {} in {}", show(endpoint), show(cluster))
                    }
                    Part::Zone { prefer, zone } => {
                        format!("zone {prefer} {}", show(zone).replace(['\u{4}', '\u{1}'], "|"))
                    }
                    other => format!("{other:?}"),
                };
                let name: Vec<String> = crate::wire::name::labels(key).map(show).collect();
                format!("{} ({}) {part}", name.join("."), show(namespace))
            }
            other => format!("{other:?}"),
        }
    }

    #[test]
    fn names_are_read_from_the_right() {
        let plain = |text| read(text, Schema::default());
        assert_eq!(plain(""), "Apex");
        assert_eq!(plain("dns-version"), "Version");
        assert_eq!(plain("ns.dns"), "NameServer");
        assert_eq!(plain("x.ns.dns"), "Nothing");
        assert_eq!(plain("svc"), "Kind");
        assert_eq!(plain("foo"), "Nothing");
        assert_eq!(plain("default.svc"), "namespace default");
        assert_eq!(plain("default.pod"), "pods of default");
        assert_eq!(plain("1-2-3-4.default.pod"), "pod 1-2-3-4 of default");
        assert_eq!(plain("x.1-2-3-4.default.pod"), "Nothing");
        assert_eq!(plain("web.default.svc"), "web.default (default) Whole");
        assert_eq!(plain("_tcp.web.default.svc"), "web.default (default) endpoint _tcp");
        assert_eq!(plain("_http._tcp.web.default.svc"), "web.default (default) port http/tcp");
        assert_eq!(plain("http.tcp.web.default.svc"), "web.default (default) port http/tcp");
        assert_eq!(plain("__x._tcp.web.default.svc"), "web.default (default) port _x/tcp");
        assert_eq!(plain("_._tcp.web.default.svc"), "web.default (default) port /tcp");
        assert_eq!(plain("a.b.c.web.default.svc"), "Nothing");
    }

    #[test]
    fn no_service_has_a_name_in_a_reverse_zone() {
        let reverse = |text| read(text, Schema { reverse: true, ..Schema::default() });
        for nothing in
            ["web.default.svc", "_http._tcp.web.default.svc", "default.svc", "default.pod", "1-2-3-4.default.pod"]
        {
            assert_eq!(reverse(nothing), "Nothing", "{nothing}");
        }
        for (same, read) in [("svc", "Kind"), ("dns-version", "Version"), ("ns.dns", "NameServer"), ("", "Apex")] {
            assert_eq!(reverse(same), read, "{same}");
        }
    }

    #[test]
    fn reverse_names_are_read_in_any_zone_that_holds_them() {
        let ask = |name: &str, zone: &str| {
            let name = if name.is_empty() { Name::ROOT } else { Name::from_text(name).expect("a name") };
            let zone = if zone.is_empty() { Name::ROOT } else { Name::from_text(zone).expect("a name") };
            format!("{:?}", parse(&name, &zone, Schema::default()))
        };
        for zone in ["", "arpa", "in-addr.arpa", "10.in-addr.arpa"] {
            assert_eq!(ask("1.0.0.10.in-addr.arpa", zone), "Reverse(Address(10.0.0.1))", "{zone}");
            assert!(ask("0.10.in-addr.arpa", zone).starts_with("Reverse(Prefix("), "{zone}");
            assert_eq!(ask("x.10.in-addr.arpa", zone), "Nothing", "{zone}");
            assert_eq!(ask(zone, zone), "Apex");
        }
        assert_eq!(ask("1.0.0.10.in-addr.arpa", "1.0.0.10.in-addr.arpa"), "Apex");
    }

    #[test]
    fn zones_and_clusters_have_names_of_their_own() {
        let zonal = |text| read(text, Schema { zonal: true, ..Schema::default() });
        assert_eq!(zonal("a.pin._zone.web.default.svc"), "web.default (default) zone false |a");
        assert_eq!(zonal("eu-1.b.prefer._zone.web.default.svc"), "web.default (default) zone true |eu-1|b");
        assert_eq!(zonal("pin._zone.web.default.svc"), "web.default (default) ZoneParent");
        assert_eq!(zonal("_zone.web.default.svc"), "web.default (default) ZoneParent");
        assert_eq!(zonal("a.near._zone.web.default.svc"), "Nothing");
        let many = |text| read(text, Schema { multicluster: true, ..Schema::default() });
        assert_eq!(many("e.east.web.default.svc"), "web.default (default) endpoint e in east");
        assert_eq!(many("_e._tcp.web.default.svc"), "web.default (default) port e/tcp");
    }
}
