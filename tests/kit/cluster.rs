//! A small cluster in memory: what the plugin's index holds for a few services.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::Duration;

use signpost::plugins::kubernetes::answers::found::Found;
use signpost::plugins::kubernetes::answers::name::Schema;
use signpost::plugins::kubernetes::answers::options::{Options, Pods};
use signpost::plugins::kubernetes::answers::view::View;
use signpost::plugins::kubernetes::answers::zone::Zone;
use signpost::plugins::kubernetes::known::endpoints::{Address, Endpoint};
use signpost::plugins::kubernetes::known::index::Index;
use signpost::plugins::kubernetes::known::model::{Kind, Object, Port, Service, Slice, Target};
use signpost::plugins::kubernetes::known::store::Store;
use signpost::wire::answer::Answer;
use signpost::wire::name::Name;

/// The kinds that a cluster without pods is read from.
pub const KINDS: &[Kind] = &[Kind::Namespace, Kind::Service, Kind::Slice];

/// The plugin's data and what it is asked with.
pub struct Cluster {
    pub store: Store,
    pub index: Arc<Index>,
    pub zone: Zone,
    pub options: Options,
}

impl Cluster {
    /// `default/web` (ClusterIP, ports http and dns), `default/db` (headless, 20 endpoints db-0 to
    /// db-19), `default/docs` (ExternalName).
    pub fn small() -> Self {
        let mut cluster = Self::empty();
        let web = Target::Addresses(Box::new([IpAddr::V4(Ipv4Addr::new(10, 96, 0, 20))]));
        cluster.apply(Kind::Service, Object::Service(service("web", web, &[("http", "tcp", 80), ("dns", "udp", 53)])));
        cluster.apply(Kind::Slice, Object::Slice(slice("web", 0, 2)));
        cluster.apply(Kind::Service, Object::Service(service("db", Target::Endpoints, &[("sql", "tcp", 5432)])));
        cluster.apply(Kind::Slice, Object::Slice(slice("db", 1, 20)));
        let docs = Target::Alias("docs.example.com".into());
        cluster.apply(Kind::Service, Object::Service(service("docs", docs, &[])));
        cluster.synced()
    }

    /// A namespace `default`, and nothing in it.
    pub fn empty() -> Self {
        let index = Arc::new(Index::default());
        let mut store = Store::new(index.clone(), 30, KINDS, None);
        store.apply(Kind::Namespace, Object::Namespace("default".into()));
        let options = Options {
            ttl: 30,
            pods: Pods::Insecure,
            namespaces: None,
            ignore_empty_service: false,
            fallthrough: Default::default(),
            startup_timeout: Duration::ZERO,
        };
        let zone = Zone::new(Name::from_text("cluster.local").expect("a name"), Schema::default(), 30);
        Self { store, index, zone, options }
    }

    pub fn apply(&mut self, kind: Kind, object: Object) {
        self.store.apply(kind, object);
    }

    /// All lists are complete, and shown.
    pub fn synced(mut self) -> Self {
        for kind in KINDS {
            self.store.end(*kind, true).expect("believed");
        }
        self.store.publish();
        self
    }

    /// What the plugin finds for a question below the zone; `None` for an alias.
    pub fn answer(&self, asked: &[u8], name: &Name, qtype: u16) -> Option<Arc<Answer>> {
        let (index, zone) = (&*self.index, &self.zone);
        let view = View { index, options: &self.options, zone, primary: &zone.name, local: &[], asked };
        match view.find(name, qtype) {
            Found::Answer(answer) => Some(answer),
            Found::NoData => Some(zone.no_data(index)),
            Found::NameError => Some(zone.name_error(index)),
            Found::Alias(_) => None,
        }
    }
}

pub fn service(name: &str, target: Target, ports: &[(&str, &str, u16)]) -> Service {
    let (namespace, name, ports) = ("default".into(), name.into(), some_ports(ports));
    Service { namespace, name, target, ports, has_selector: true, external: None }
}

/// A slice of `count` endpoints in 10.244.`net`.0/24, named after the service.
pub fn slice(service: &str, net: u8, count: u8) -> Slice {
    let endpoint = |n: u8| Endpoint {
        address: Address::Ip(IpAddr::V4(Ipv4Addr::new(10, 244, net, n + 1))),
        name: Some(format!("{service}-{n}").into()),
        zone: None,
    };
    Slice {
        namespace: "default".into(),
        name: format!("{service}-x").into(),
        service: service.into(),
        cluster: Box::default(),
        endpoints: (0..count).map(endpoint).collect(),
        ports: some_ports(&[("sql", "tcp", 5432)]),
        triggered: None,
    }
}

fn some_ports(ports: &[(&str, &str, u16)]) -> Arc<[Port]> {
    if ports.is_empty() {
        return Port::none();
    }
    let port = |(name, protocol, number): &(&str, &str, u16)| Port {
        name: (*name).into(),
        protocol: (*protocol).into(),
        number: Some(*number),
    };
    ports.iter().map(port).collect()
}

/// The same cluster as manifests.
pub fn manifests() -> String {
    let service = |name: &str, spec: &str| {
        format!(
            "---\n{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: default}}, spec: {{{spec}}}}}\n"
        )
    };
    let endpoints = |service: &str, net: u8, count: u8| {
        let endpoint = |n: u8| format!("{{addresses: [10.244.{net}.{}], hostname: {service}-{n}}}", n + 1);
        let endpoints: Vec<String> = (0..count).map(endpoint).collect();
        format!(
            "---\n{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {{name: {service}-x, \
             namespace: default, labels: {{kubernetes.io/service-name: {service}}}}}, \
             ports: [{{name: sql, protocol: TCP, port: 5432}}], endpoints: [{}]}}\n",
            endpoints.join(", ")
        )
    };
    let (http, dns) = ("{name: http, protocol: TCP, port: 80}", "{name: dns, protocol: UDP, port: 53}");
    [
        "---\n{apiVersion: v1, kind: Namespace, metadata: {name: default}}\n".to_owned(),
        service("web", &format!("clusterIP: 10.96.0.20, clusterIPs: [10.96.0.20], ports: [{http}, {dns}]")),
        endpoints("web", 0, 2),
        service("db", "clusterIP: None, clusterIPs: [None], ports: [{name: sql, protocol: TCP, port: 5432}]"),
        endpoints("db", 1, 20),
        service("docs", "type: ExternalName, externalName: docs.example.com"),
    ]
    .concat()
}
