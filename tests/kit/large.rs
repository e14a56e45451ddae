//! A large cluster as manifests: 8,200 services with an address, and 750 headless ones with 20
//! endpoints each.

use std::fmt::Write as _;

use super::cluster;

/// Services with an address.
pub const SERVICES: usize = 8_200;

/// Headless services.
pub const HEADLESS: usize = 750;

/// Endpoints of a headless service.
const ENDPOINTS: usize = 20;

/// Services of a namespace.
const SHARED: usize = 20;

/// The name of a service with an address.
pub fn service(n: usize) -> String {
    format!("web-{n:04}.team-{:03}.svc.cluster.local", n / SHARED)
}

/// The name of its address.
pub fn pointer(n: usize) -> String {
    format!("{}.{}.100.10.in-addr.arpa", n % 256, n / 256)
}

/// A name in its namespace that does not exist: what a search list makes of one outside.
pub fn missing(n: usize) -> String {
    format!("www{n:04}.example.com.team-{:03}.svc.cluster.local", n / SHARED)
}

/// The name of a headless service.
pub fn headless(n: usize) -> String {
    format!("db-{n:03}.team-{:03}.svc.cluster.local", n / SHARED)
}

/// Manifests of all that, with those of the small cluster.
pub fn manifests() -> String {
    let mut text = cluster::manifests();
    let mut add = |document: String| text.push_str(&document);
    (0..SERVICES.div_ceil(SHARED)).for_each(|n| {
        add(format!("---\n{{apiVersion: v1, kind: Namespace, metadata: {{name: team-{n:03}}}}}\n"));
    });
    let document = |name: &str, address: &str| {
        let (name, namespace) = owner(name);
        format!(
            "---\n{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: {namespace}}}, spec: \
             {{clusterIP: {address}, clusterIPs: [{address}], ports: [{{name: sql, protocol: TCP, port: 5432}}]}}}}\n"
        )
    };
    for n in 0..SERVICES {
        add(document(&service(n), &format!("10.100.{}.{}", n / 256, n % 256)));
    }
    for n in 0..HEADLESS {
        add(document(&headless(n), "None"));
        add(slice(n));
    }
    text
}

/// The slice of a headless service.
fn slice(n: usize) -> String {
    let name = headless(n);
    let (name, namespace) = owner(&name);
    let mut text = format!(
        "---\n{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {{name: {name}-x, \
         namespace: {namespace}, labels: {{kubernetes.io/service-name: {name}}}}}, \
         ports: [{{name: sql, protocol: TCP, port: 5432}}], endpoints: ["
    );
    for at in 0..ENDPOINTS {
        let (high, low) = (n / 256, n % 256);
        write!(text, "{{addresses: [10.{}.{high}.{low}], hostname: e{at:02}}}, ", 128 + at).expect("written to memory");
    }
    text.push_str("]}\n");
    text
}

/// Name and namespace of a service's name.
fn owner(name: &str) -> (&str, &str) {
    let mut labels = name.split('.');
    (labels.next().expect("a label"), labels.next().expect("a second one"))
}
