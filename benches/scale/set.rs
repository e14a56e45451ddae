//! A cluster of any size, made by rule: each object is written on request, so the bed stores almost
//! nothing.

use std::io::Write as _;

use super::protobuf;
use super::template::{Form, Template, Templates};

/// The size of a cluster.
#[derive(Clone, Copy)]
pub(crate) struct Size {
    pub(crate) nodes: u32,
    pub(crate) services: u32,
    /// The first services are headless and have this many slices, each with this many endpoints:
    /// full ones, as the controller makes them, have 100.
    pub(crate) crowds: u32,
    pub(crate) crowd_slices: u32,
    pub(crate) crowd_endpoints: u32,
    /// Endpoints of all other services together; each of these has one slice, and every tenth is
    /// headless. Without any they have an address only.
    pub(crate) others: u32,
    /// The prefix of the names of services.
    pub(crate) word: &'static str,
    /// Whether endpoints have host names, as the members of a StatefulSet.
    pub(crate) has_hosts: bool,
}

impl Size {
    /// `5000`: 8,200 Services, 8,875 slices, 150,000 endpoints and Pods; `500` and `small` show how
    /// costs grow. `names`: 8,200 Services with an address and 750 headless ones with 20 endpoints,
    /// whose names are short enough for 20 SRV records in 1,232 octets.
    pub(crate) fn named(name: &str) -> Option<Self> {
        let full = Self {
            nodes: 5000,
            services: 8200,
            crowds: 75,
            crowd_slices: 10,
            crowd_endpoints: 100,
            others: 75_000,
            word: "service",
            has_hosts: false,
        };
        Some(match name {
            "5000" => full,
            "500" => Self { nodes: 500, services: 820, crowds: 7, others: 8000, ..full },
            "small" => Self { nodes: 30, services: 1000, crowds: 2, crowd_slices: 1, others: 2800, ..full },
            "names" => Self {
                services: 8950,
                crowds: 750,
                crowd_slices: 1,
                crowd_endpoints: 20,
                others: 0,
                word: "s",
                has_hosts: true,
                ..full
            },
            _ => return None,
        })
    }
}

/// The kinds that the bed serves.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Kind {
    Namespace,
    Service,
    Slice,
    Pod,
}

impl Kind {
    pub(crate) const ALL: [Self; 4] = [Self::Namespace, Self::Service, Self::Slice, Self::Pod];

    /// Returns the path of the collection, kind and apiVersion.
    pub(crate) fn names(self) -> (&'static str, &'static str, &'static str) {
        match self {
            Self::Namespace => ("/api/v1/namespaces", "Namespace", "v1"),
            Self::Service => ("/api/v1/services", "Service", "v1"),
            Self::Slice => ("/apis/discovery.k8s.io/v1/endpointslices", "EndpointSlice", "discovery.k8s.io/v1"),
            Self::Pod => ("/api/v1/pods", "Pod", "v1"),
        }
    }
}

/// A slice: its service, its endpoints and its changes.
pub(crate) struct Slice {
    service: u32,
    /// Its index among the slices of the service.
    place: u32,
    first: u32,
    len: u32,
    pub(crate) version: u64,
    /// Number of changes. Each replaces another of its endpoints by one at a new address.
    turn: u32,
    fresh: u32,
}

pub(crate) struct Set {
    size: Size,
    pub(crate) slices: Vec<Slice>,
    endpoints: u32,
    templates: [Templates; 4],
    endpoint: Templates,
}

impl Set {
    pub(crate) fn new(size: Size) -> Self {
        let mut slices = Vec::new();
        let mut first = 0;
        let mut add = |service, place, len| {
            slices.push(Slice { service, place, first, len, version: 1, turn: 0, fresh: 0 });
            first += len;
        };
        for service in 0..size.crowds {
            (0..size.crowd_slices).for_each(|place| add(service, place, size.crowd_endpoints));
        }
        let others = if size.others > 0 { size.services - size.crowds } else { 0 };
        for service in 0..others {
            let len = size.others / others + u32::from(service < size.others % others);
            add(service + size.crowds, 0, len);
        }
        let texts = [
            (include_str!("namespace.json"), "Namespace"),
            (include_str!("service.json"), "Service"),
            (include_str!("slice.json"), "EndpointSlice"),
            (include_str!("pod.json"), "Pod"),
        ];
        Self {
            size,
            slices,
            endpoints: first,
            templates: texts.map(|(text, message)| Templates::new(text, message)),
            endpoint: Templates::new(
                if size.has_hosts { include_str!("member.json") } else { include_str!("endpoint.json") },
                "Endpoint",
            ),
        }
    }

    fn namespaces(&self) -> u32 {
        self.size.services.div_ceil(20)
    }

    /// Returns the number of objects of a kind.
    pub(crate) fn count(&self, kind: Kind) -> usize {
        match kind {
            Kind::Namespace => self.namespaces() as usize,
            Kind::Service => self.size.services as usize,
            Kind::Slice => self.slices.len(),
            Kind::Pod => self.endpoints as usize,
        }
    }

    pub(crate) fn is_headless(&self, service: u32) -> bool {
        service < self.size.crowds || self.size.others > 0 && service % 10 == 9
    }

    /// Returns the labels of a service and its namespace.
    pub(crate) fn name(&self, service: u32) -> String {
        format!("{}-{service:04}.team-{:03}", self.size.word, service % self.namespaces())
    }

    /// Returns slices of headless services whose answer fits into one datagram.
    pub(crate) fn probes(&self) -> Vec<usize> {
        let fits = |slice: &Slice| slice.service >= self.size.crowds && self.is_headless(slice.service);
        (0..self.slices.len()).filter(|&at| fits(&self.slices[at])).collect()
    }

    pub(crate) fn service_of(&self, slice: usize) -> u32 {
        self.slices[slice].service
    }

    /// Returns the DNS records of these objects, as lines of a zone file with full names.
    pub(crate) fn records(&self) -> Vec<u8> {
        let mut out = Vec::new();
        let mut line =
            |name: &str, data: std::fmt::Arguments<'_>| say(&mut out, format_args!("{name}. 30 IN {data}\n"));
        for service in (0..self.size.services).filter(|&service| !self.is_headless(service)) {
            let (name, address) = (format!("{}.svc.cluster.local", self.name(service)), cluster_ip(service));
            line(&name, format_args!("A {}", dotted(address)));
            line(&reverse(address), format_args!("PTR {name}."));
            for (port, number) in [("http", 80), ("metrics", 9090)] {
                line(&format!("_{port}._tcp.{name}"), format_args!("SRV 0 100 {number} {name}."));
            }
        }
        for slice in &self.slices {
            let name = format!("{}.svc.cluster.local", self.name(slice.service));
            for n in slice.first..slice.first + slice.len {
                let address = self.pod_address(n);
                let host = if self.size.has_hosts {
                    format!("e{:02}", n % self.size.crowd_endpoints)
                } else {
                    dotted(address).replace('.', "-")
                };
                line(&format!("{host}.{name}"), format_args!("A {}", dotted(address)));
                line(&reverse(address), format_args!("PTR {host}.{name}."));
                if self.is_headless(slice.service) {
                    line(&name, format_args!("A {}", dotted(address)));
                    for (port, number) in [("http", 8080), ("metrics", 9090)] {
                        let weight = 100 / slice.len;
                        let srv = format!("_{port}._tcp.{name}");
                        line(&srv, format_args!("SRV 0 {weight} {number} {host}.{name}."));
                    }
                }
            }
        }
        out
    }

    /// Replaces an endpoint of a slice; returns the address of the new one.
    pub(crate) fn change(&mut self, slice: usize, version: u64) -> [u8; 4] {
        let slice = &mut self.slices[slice];
        (slice.version, slice.turn, slice.fresh) = (version, slice.turn + 1, version as u32);
        fresh_address(slice.fresh)
    }

    /// Writes an object of a kind.
    pub(crate) fn write(&self, kind: Kind, at: usize, form: Form, out: &mut Vec<u8>) {
        self.fill(self.templates[kind as usize].object(form), "", kind, at, form, out);
    }

    /// Writes an event: in JSON a line, in protobuf a message with a four-octet length prefix.
    pub(crate) fn write_event(&self, what: &str, kind: Kind, at: usize, form: Form, out: &mut Vec<u8>) {
        match form {
            Form::Json => {
                say(out, format_args!("{{\"type\":\"{what}\",\"object\":"));
                self.write(kind, at, form, out);
                out.extend_from_slice(b"}\n");
            }
            Form::Protobuf => {
                let start = out.len();
                out.extend_from_slice(&[0; 4]);
                self.fill(self.templates[kind as usize].event(), what, kind, at, form, out);
                let len = (out.len() - start - 4) as u32;
                out[start..start + 4].copy_from_slice(&len.to_be_bytes());
            }
        }
    }

    fn fill(&self, template: &Template, event: &str, kind: Kind, at: usize, form: Form, out: &mut Vec<u8>) {
        let n = at as u32;
        let version = if kind == Kind::Slice { self.slices[at].version } else { 1 };
        template.write(out, |name, out| match name {
            "event" => say(out, format_args!("{event}")),
            "number" => say(out, format_args!("{n:012x}")),
            "version" => say(out, format_args!("{version}")),
            _ => match kind {
                Kind::Namespace => name == "namespace" && say(out, format_args!("team-{n:03}")),
                Kind::Service if name == "address" && self.is_headless(n) => say(out, format_args!("None")),
                Kind::Service if name == "address" => say(out, format_args!("{}", dotted(cluster_ip(n)))),
                Kind::Service => self.of_service(name, n, out),
                Kind::Slice => self.of_slice(name, at, form, out),
                Kind::Pod => self.of_endpoint(name, n, self.service_of_endpoint(n), None, out),
            },
        });
    }

    fn of_slice(&self, name: &str, at: usize, form: Form, out: &mut Vec<u8>) -> bool {
        let slice = &self.slices[at];
        match name {
            "slice" => say(out, format_args!("{}-{:04}-{:02}x{at:05}", self.size.word, slice.service, slice.place)),
            "endpoints" => {
                let replaced = (slice.turn > 0).then(|| slice.turn % slice.len.max(1));
                for n in 0..slice.len {
                    let fresh = (replaced == Some(n)).then_some(slice.fresh);
                    let write = |out: &mut Vec<u8>| {
                        let endpoint = self.endpoint.object(form);
                        endpoint
                            .write(out, |name, out| self.of_endpoint(name, slice.first + n, slice.service, fresh, out));
                    };
                    match form {
                        // The template has the brackets around the place of the list.
                        Form::Json => {
                            out.extend_from_slice(if n == 0 { b"" } else { b"," });
                            write(out);
                        }
                        Form::Protobuf => protobuf::write_field(2, out, write),
                    }
                }
                true
            }
            _ => self.of_service(name, slice.service, out),
        }
    }

    fn of_service(&self, name: &str, service: u32, out: &mut Vec<u8>) -> bool {
        match name {
            "service" => say(out, format_args!("{}-{service:04}", self.size.word)),
            "namespace" => say(out, format_args!("team-{:03}", service % self.namespaces())),
            _ => false,
        }
    }

    fn of_endpoint(&self, name: &str, n: u32, service: u32, fresh: Option<u32>, out: &mut Vec<u8>) -> bool {
        let node = n % self.size.nodes;
        match name {
            "pod" => say(out, format_args!("{}-{service:04}-7d9c5b8f6d-{n:06x}", self.size.word)),
            "ordinal" => say(out, format_args!("{:02}", n % self.size.crowd_endpoints)),
            "address" => {
                let address = fresh.map_or_else(|| pod_ip(node, n / self.size.nodes), fresh_address);
                say(out, format_args!("{}", dotted(address)))
            }
            "node" => say(out, format_args!("node-{node:04}.eu-central-1.example.com")),
            "host" => say(out, format_args!("172.20.{}.{}", node / 250, node % 250 + 1)),
            "zone" => say(out, format_args!("{}", char::from(b'a' + (node % 3) as u8))),
            "number" => say(out, format_args!("{n:012x}")),
            _ => self.of_service(name, service, out),
        }
    }

    fn service_of_endpoint(&self, n: u32) -> u32 {
        let at = self.slices.partition_point(|slice| slice.first <= n) - 1;
        self.slices[at].service
    }

    /// Returns the address of a Pod.
    pub(crate) fn pod_address(&self, n: u32) -> [u8; 4] {
        pod_ip(n % self.size.nodes, n / self.size.nodes)
    }

    /// Returns the namespace of a Pod.
    pub(crate) fn pod_namespace(&self, n: u32) -> String {
        format!("team-{:03}", self.service_of_endpoint(n) % self.namespaces())
    }
}

pub(crate) fn cluster_ip(service: u32) -> [u8; 4] {
    let n = service + 1;
    [10, 96, (n >> 8) as u8, n as u8]
}

fn pod_ip(node: u32, place: u32) -> [u8; 4] {
    [10, 128 + (node >> 8) as u8, node as u8, 2 + place as u8]
}

/// Returns 24 bits of an unused address.
fn fresh_address(number: u32) -> [u8; 4] {
    [11, (number >> 16) as u8, (number >> 8) as u8, number as u8]
}

pub(crate) fn dotted([a, b, c, d]: [u8; 4]) -> String {
    format!("{a}.{b}.{c}.{d}")
}

fn reverse([a, b, c, d]: [u8; 4]) -> String {
    format!("{d}.{c}.{b}.{a}.in-addr.arpa")
}

fn say(out: &mut Vec<u8>, text: std::fmt::Arguments<'_>) -> bool {
    // Writing to memory cannot fail.
    let _ = out.write_fmt(text);
    true
}
