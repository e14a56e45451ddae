//! A large cluster as manifests: 8,200 services with an address and two endpoints, and 750 headless
//! ones with 20 endpoints.

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

/// The name of the address of a service's first endpoint.
pub fn endpoint_pointer(n: usize) -> String {
    format!("{}.{}.128.10.in-addr.arpa", n % 256, n / 256)
}

/// Manifests of all that, and of `default/web`: one list in JSON, which is read faster than YAML.
pub fn manifests() -> String {
    let mut items = vec![object("Service", "web.default", "", "\"spec\":{\"clusterIP\":\"10.96.0.20\"}")];
    for n in 0..SERVICES {
        add(&mut items, &service(n), &format!("10.100.{}.{}", n / 256, n % 256), n, 2);
    }
    for n in 0..HEADLESS {
        add(&mut items, &headless(n), "None", SERVICES + n, ENDPOINTS);
    }
    format!("{{\"apiVersion\":\"v1\",\"kind\":\"List\",\"items\":[{}]}}", items.join(","))
}

/// Adds a service and its slice, with `count` addresses that belong to number `n`.
fn add(items: &mut Vec<String>, name: &str, address: &str, n: usize, count: usize) {
    let ports = "\"ports\":[{\"name\":\"sql\",\"protocol\":\"TCP\",\"port\":5432}]";
    let spec = format!("\"spec\":{{\"clusterIP\":\"{address}\",\"clusterIPs\":[\"{address}\"],{ports}}}");
    items.push(object("Service", name, "", &spec));
    let endpoint = |at: usize| format!("{{\"addresses\":[\"10.{}.{}.{}\"]}}", 128 + at, n / 256, n % 256);
    let endpoints = (0..count).map(endpoint).collect::<Vec<_>>().join(",");
    let label = format!(",\"labels\":{{\"kubernetes.io/service-name\":\"{}\"}}", owner(name).0);
    let slice = format!("\"addressType\":\"IPv4\",{ports},\"endpoints\":[{endpoints}]");
    items.push(object("EndpointSlice", name, &label, &slice));
}

/// An object; its name and namespace are the first labels of `name`.
fn object(kind: &str, name: &str, metadata: &str, rest: &str) -> String {
    let (name, namespace) = owner(name);
    let version = if kind == "Service" { "v1" } else { "discovery.k8s.io/v1" };
    format!(
        "{{\"apiVersion\":\"{version}\",\"kind\":\"{kind}\",\
         \"metadata\":{{\"name\":\"{name}\",\"namespace\":\"{namespace}\"{metadata}}},{rest}}}"
    )
}

/// Name and namespace of a service's name.
fn owner(name: &str) -> (&str, &str) {
    let mut labels = name.split('.');
    (labels.next().expect("a label"), labels.next().expect("a second one"))
}
