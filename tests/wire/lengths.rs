//! A cluster, and other names, with lengths around the limits.

use std::fmt::Write as _;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use signpost::wire::types::rtype;

use super::kit::message::query;
use super::kit::whole::Whole;

/// Returns a name of `len` octets on the wire, made of `letter`.
pub(crate) fn name_of(letter: char, len: usize) -> String {
    let mut text = String::new();
    let mut left = len - 1;
    while left > 0 {
        // No label may be left empty.
        let label = if left - left.min(64) == 1 { 62 } else { left.min(64) - 1 };
        text.extend(std::iter::repeat_n(letter, label));
        text.push('.');
        left -= label + 1;
    }
    text
}

pub(crate) fn label(letter: char) -> String {
    letter.to_string().repeat(63)
}

//----------- The cluster ----------------------------------------------------

/// Lengths of zones around those where one of their names has 255 octets: an endpoint, a service,
/// the name server and the mailbox.
pub(crate) const ZONES: &[(char, usize)] = &[
    ('b', 58),
    ('c', 59),
    ('d', 60),
    ('e', 122),
    ('f', 123),
    ('g', 124),
    ('i', 244),
    ('j', 245),
    ('k', 248),
    ('l', 249),
    ('m', 255),
];

/// The same for names outside the cluster.
pub(crate) const EXTERNAL: &[(char, usize)] =
    &[('q', 62), ('r', 63), ('t', 64), ('u', 127), ('v', 128), ('w', 240), ('z', 241)];

fn object(out: &mut String, text: &str) {
    let _ = writeln!(out, "---\n{text}");
}

fn slice(service: &str, namespace: &str, kind: &str, endpoints: &str) -> String {
    format!(
        "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: {kind}, metadata: {{name: {service}-{kind}, \
         namespace: \"{namespace}\", labels: {{kubernetes.io/service-name: {service}}}}}, \
         ports: [{{name: x, protocol: TCP, port: 80}}, {{protocol: UDP, port: 53}}], endpoints: [{endpoints}]}}"
    )
}

fn service(name: &str, namespace: &str, rest: &str) -> String {
    format!("{{apiVersion: v1, kind: Service, metadata: {{name: {name}, namespace: \"{namespace}\"}}, {rest}}}")
}

/// Services and namespaces of one octet and of 63, endpoints with every kind of name.
fn manifests() -> String {
    let mut out = String::new();
    let (long, n) = (label('s'), label('n'));
    for (service_name, namespace) in [("s", "n"), ("s", &*n), (&*long, "n"), (&*long, &*n)] {
        object(&mut out, &service(service_name, namespace, "spec: {clusterIP: None, ports: [{name: x, port: 80}]}"));
        let endpoints = format!(
            "{{addresses: [10.1.0.1], hostname: h}}, {{addresses: [10.1.0.2], hostname: {}, zone: z}}, \
             {{addresses: [10.1.0.3], hostname: {}h}}, {{addresses: [10.1.0.4], hostname: ''}}, \
             {{addresses: [10.1.0.5], targetRef: {{name: {}}}}}, {{addresses: [10.1.0.6], targetRef: {{name: {}p}}}}",
            label('h'),
            label('h'),
            label('p'),
            label('p')
        );
        object(&mut out, &slice(service_name, namespace, "IPv4", &endpoints));
        let endpoints = "{addresses: ['fd00::1:2:3:4:5:6']}, {addresses: ['fd00:1:2:3:4:5:6::']}";
        object(&mut out, &slice(service_name, namespace, "IPv6", endpoints));
    }
    let outside = format!(
        "spec: {{clusterIP: 10.0.0.9, externalIPs: [203.0.113.1], ports: [{{name: x, port: 80}}]}}, \
         status: {{loadBalancer: {{ingress: [{{hostname: {}}}, {{ip: 203.0.113.2}}]}}}}",
        name_of('y', 255)
    );
    object(&mut out, &service(&label('o'), &n, &outside));
    let balanced = format!(
        "spec: {{clusterIP: 10.0.0.8, ports: [{{port: 80}}]}}, status: {{loadBalancer: {{ingress: [{{hostname: {}}}]}}}}",
        name_of('y', 255)
    );
    object(&mut out, &service(&label('a'), &n, &balanced));
    for (name, target) in [
        ("alias", name_of('y', 255)),
        ("inside", format!("{long}.{n}.svc.{}", name_of('c', 59))),
        ("many", "many.n.svc.cluster.local".into()),
        ("rev", "1.0.1.10.in-addr.arpa".into()),
    ] {
        let spec = format!("spec: {{type: ExternalName, externalName: {target}}}");
        object(&mut out, &service(&format!("to-{name}"), "n", &spec));
    }
    add_many(&mut out, &long);
    add_imports(&mut out, &long, &n);
    out
}

/// Adds more endpoints than a message holds, and an address with names beyond the reach of
/// pointers.
fn add_many(out: &mut String, long: &str) {
    let named = |count: u32| {
        (0..count).map(|i| format!("{{addresses: [10.8.{}.{}], hostname: host-of-many-{i:05}}}", i / 256, i % 256))
    };
    object(out, &service("many", "n", "spec: {clusterIP: None, ports: [{name: x, port: 80}]}"));
    object(out, &slice("many", "n", "IPv4", &named(1500).collect::<Vec<_>>().join(", ")));
    for i in 0..300 {
        let name = format!("{}-{i}", &long[..58]);
        object(out, &service(&name, "n", "spec: {clusterIP: None, ports: [{name: x, port: 80}]}"));
        let both = format!("{{addresses: [10.9.0.1], hostname: h-{i}}}, {{addresses: [10.9.0.1], hostname: i-{i}}}");
        object(out, &slice(&name, "n", "IPv4", &both));
    }
}

/// Adds a service of another cluster.
fn add_imports(out: &mut String, long: &str, n: &str) {
    object(
        out,
        &format!(
            "{{apiVersion: multicluster.x-k8s.io/v1alpha1, kind: ServiceImport, metadata: {{name: {long}, namespace: {n}}}, \
             spec: {{type: Headless, ports: [{{name: x, protocol: TCP, port: 80}}]}}}}"
        ),
    );
    object(
        out,
        &format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {{name: imported, namespace: {n}, \
             labels: {{multicluster.kubernetes.io/service-name: {long}, multicluster.kubernetes.io/source-cluster: {}}}}}, \
             ports: [{{name: x, protocol: TCP, port: 80}}], endpoints: [{{addresses: [10.1.1.1], hostname: {}}}, {{addresses: [10.1.1.2]}}]}}",
            label('c'),
            label('h')
        ),
    );
}

/// Returns the server that all tests of this file share: reading its manifests takes longer than
/// some of them.
pub(crate) fn cluster() -> MutexGuard<'static, Whole> {
    static CLUSTER: LazyLock<Mutex<Whole>> = LazyLock::new(|| Mutex::new(start_cluster()));
    CLUSTER.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start_cluster() -> Whole {
    let list = |zones: &[(char, usize)]| {
        zones.iter().map(|(letter, len)| name_of(*letter, *len)).collect::<Vec<_>>().join(" ")
    };
    let corefile = format!(
        ".:53 {{\n chaos\n loadbalance\n hosts {{\n 192.0.2.1 x.test\n fallthrough\n }}\n k8s_external {} {{\n headless\n }}\n kubernetes cluster.local {} set.test set.{} 10.0.0.0/8 fd00::/8 {{\n \
         manifests \"MANIFESTS\"\n pods insecure\n endpoint_pod_names\n multicluster set.test set.{}\n zonal\n ttl 30\n }}\n whoami\n}}\n",
        list(EXTERNAL),
        list(ZONES),
        name_of('x', 59),
        name_of('x', 59)
    );
    let mut whole = Whole::start(&corefile, &manifests());
    whole.wait_until_answered(&query("many.n.svc.cluster.local.", rtype::A), Duration::from_secs(60));
    whole
}

/// Returns names that the cluster may have, below a zone; too long ones are not names.
pub(crate) fn below_zone(zone: &str) -> Vec<String> {
    let mut fronts: Vec<String> =
        ["", "ns.dns.", "dns.", "dns-version.", "svc.", "n.svc.", "nothing.n.svc.", "10-0-0-1.n.pod."]
            .map(String::from)
            .into();
    for (service, namespace) in
        [("s".into(), "n".into()), (label('s'), "n".into()), (label('s'), label('n')), ("s".into(), label('n'))]
    {
        for front in ["", "h.", "10-1-0-4.", "x.tcp.", "_x._tcp.", "_tcp.", "z.pin._zone.", "fd00--1-2-3-4-5-6."] {
            fronts.push(format!("{front}{service}.{namespace}.svc."));
        }
        fronts.push(format!("{}.{service}.{namespace}.svc.", label('h')));
        fronts.push(format!("{}.{}.{service}.{namespace}.svc.", label('h'), label('c')));
    }
    fronts.extend(["alias", "inside", "many", "rev"].map(|name| format!("to-{name}.n.svc.")));
    fronts.push(format!("{}.{}.svc.", label('o'), label('n')));
    fronts.into_iter().map(|front| format!("{front}{zone}")).collect()
}

pub(crate) fn below_external(zone: &str) -> Vec<String> {
    let (o, a, n, s) = (label('o'), label('a'), label('n'), label('s'));
    let fronts = [
        "".into(),
        "dns.".into(),
        "ns1.dns.".into(),
        format!("{n}."),
        format!("{o}.{n}."),
        format!("_x._tcp.{o}.{n}."),
        format!("{a}.{n}."),
        format!("{s}.{n}."),
        format!("h.{s}.{n}."),
        format!("{}.{s}.{n}.", label('h')),
        format!("x.{n}."),
    ];
    fronts.map(|front: String| format!("{front}{zone}")).into()
}
