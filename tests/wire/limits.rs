//! Every plugin that makes answers, at the limits of labels, names and messages: nothing leaves that a parser refuses.

use std::fmt::Write as _;
use std::sync::{LazyLock, Mutex, MutexGuard, PoisonError};

use hickory_proto::op::Message;
use signpost::wire::name::Name;
use signpost::wire::reply::{Order, Reply};
use signpost::wire::types::rtype;

use super::kit::message::{packet, written};
use super::kit::whole::Whole;
use super::strict::{Read, read};

/// What clients take: a datagram without EDNS, with it, the largest of ours, and a stream.
const LIMITS: [usize; 4] = [512, 1232, 4096, 65_535];

const TYPES: &[u16] = &[
    rtype::A,
    rtype::AAAA,
    rtype::SRV,
    rtype::PTR,
    rtype::NS,
    rtype::SOA,
    rtype::TXT,
    rtype::CNAME,
    rtype::MX,
    255,
    65,
];

/// A name of `len` octets on the wire, of the letter.
fn name_of(letter: char, len: usize) -> String {
    let mut text = String::new();
    let mut left = len - 1;
    while left > 0 {
        // No label may be left without an octet.
        let label = if left - left.min(64) == 1 { 62 } else { left.min(64) - 1 };
        text.extend(std::iter::repeat_n(letter, label));
        text.push('.');
        left -= label + 1;
    }
    text
}

fn label(letter: char) -> String {
    letter.to_string().repeat(63)
}

//----------- The cluster ----------------------------------------------------

/// Lengths of zones around those where some name of theirs has 255 octets: of an endpoint, a service, the name server
/// and the mailbox.
const ZONES: &[(char, usize)] = &[
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

/// The same for names outside of the cluster.
const EXTERNAL: &[(char, usize)] = &[('q', 62), ('r', 63), ('t', 64), ('u', 127), ('v', 128), ('w', 240), ('z', 241)];

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
    let named = |count: u32| {
        (0..count).map(|i| format!("{{addresses: [10.8.{}.{}], hostname: host-of-many-{i:05}}}", i / 256, i % 256))
    };
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
    // More than any message holds, and an address with names beyond the reach of pointers.
    object(&mut out, &service("many", "n", "spec: {clusterIP: None, ports: [{name: x, port: 80}]}"));
    object(&mut out, &slice("many", "n", "IPv4", &named(1500).collect::<Vec<_>>().join(", ")));
    for i in 0..300 {
        let name = format!("{}-{i}", &long[..58]);
        object(&mut out, &service(&name, "n", "spec: {clusterIP: None, ports: [{name: x, port: 80}]}"));
        let both = format!("{{addresses: [10.9.0.1], hostname: h-{i}}}, {{addresses: [10.9.0.1], hostname: i-{i}}}");
        object(&mut out, &slice(&name, "n", "IPv4", &both));
    }
    object(
        &mut out,
        &format!(
            "{{apiVersion: multicluster.x-k8s.io/v1alpha1, kind: ServiceImport, metadata: {{name: {long}, namespace: {n}}}, \
             spec: {{type: Headless, ports: [{{name: x, protocol: TCP, port: 80}}]}}}}"
        ),
    );
    object(
        &mut out,
        &format!(
            "{{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4, metadata: {{name: imported, namespace: {n}, \
             labels: {{multicluster.kubernetes.io/service-name: {long}, multicluster.kubernetes.io/source-cluster: {}}}}}, \
             ports: [{{name: x, protocol: TCP, port: 80}}], endpoints: [{{addresses: [10.1.1.1], hostname: {}}}, {{addresses: [10.1.1.2]}}]}}",
            label('c'),
            label('h')
        ),
    );
    out
}

/// One server for all tests of this file: reading its manifests takes longer than some of them.
fn cluster() -> MutexGuard<'static, Whole> {
    static CLUSTER: LazyLock<Mutex<Whole>> = LazyLock::new(|| Mutex::new(start_cluster()));
    CLUSTER.lock().unwrap_or_else(PoisonError::into_inner)
}

fn start_cluster() -> Whole {
    let list = |zones: &[(char, usize)]| {
        zones.iter().map(|(letter, len)| name_of(*letter, *len)).collect::<Vec<_>>().join(" ")
    };
    let corefile = format!(
        ".:53 {{\n chaos\n loadbalance\n k8s_external {} {{\n headless\n }}\n kubernetes cluster.local {} set.test set.{} 10.0.0.0/8 fd00::/8 {{\n \
         manifests \"MANIFESTS\"\n pods insecure\n endpoint_pod_names\n multicluster set.test set.{}\n zonal\n ttl 30\n }}\n whoami\n}}\n",
        list(EXTERNAL),
        list(ZONES),
        name_of('x', 59),
        name_of('x', 59)
    );
    let mut whole = Whole::start(&corefile, &manifests());
    let known = packet(wire("many.n.svc.cluster.local.").expect("a name").wire(), rtype::A, None);
    whole.wait_until_answered(&known, std::time::Duration::from_secs(60));
    whole
}

/// Names that the cluster may have, below a zone; those that are too long are no names.
fn below_zone(zone: &str) -> Vec<String> {
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

fn below_external(zone: &str) -> Vec<String> {
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

//----------- Asking ---------------------------------------------------------

fn wire(text: &str) -> Option<Name> {
    Name::from_text(text).ok()
}

/// The reply to a question as every client reads it; says how many records there were in the largest.
fn ask(whole: &mut Whole, text: &str, qtype: u16, seen: &mut usize) -> Option<Read> {
    let query = packet(wire(text)?.wire(), qtype, Some(65_535));
    let reply = whole.reply(&query).unwrap_or_else(|| panic!("no reply: {text} {qtype}"));
    let whole = check(&query, &reply, text);
    *seen += whole.counts.iter().sum::<usize>();
    Some(whole)
}

fn check(query: &[u8], reply: &Reply, text: &str) -> Read {
    let mut largest = None;
    for (at, limit) in LIMITS.into_iter().enumerate() {
        for order in [Order::Stored, Order::Shuffled(at as u32 + 7)] {
            let out = written(query, &Reply { order, ..reply.clone() }, limit);
            assert!(out.len() <= limit, "{} octets of {limit}: {text}", out.len());
            let wrong = |why: String| panic!("{text} {:?} at {limit}: {why}\n{out:02X?}", &query[query.len() - 15..]);
            let strict = read(&out, query).unwrap_or_else(wrong);
            if let Err(error) = Message::from_vec(&out) {
                panic!("{text} at {limit}: {error}");
            }
            largest = Some(strict);
        }
    }
    largest.expect("a limit")
}

//----------- Tests ----------------------------------------------------------

#[test]
fn names_of_the_cluster_at_every_limit() {
    let (mut whole, mut records, mut questions) = (cluster(), 0, 0);
    let zones = ZONES.iter().map(|(letter, len)| name_of(*letter, *len));
    let zones = zones.chain(["cluster.local.".into(), "set.test.".into(), format!("set.{}", name_of('x', 59))]);
    let mut names: Vec<String> = zones.flat_map(|zone| below_zone(&zone)).collect();
    names.extend(EXTERNAL.iter().flat_map(|(letter, len)| below_external(&name_of(*letter, *len))));
    names.extend(
        ["1.0.1.10.in-addr.arpa.", "9.0.0.10.in-addr.arpa.", "1.0.9.10.in-addr.arpa.", "0.1.10.in-addr.arpa."]
            .map(String::from),
    );
    for name in &names {
        for qtype in TYPES {
            questions += usize::from(ask(&mut whole, name, *qtype, &mut records).is_some());
        }
    }
    // Not in vain.
    assert!(questions > 3000 && records > 20_000, "{questions} questions, {records} records");
}

#[test]
fn a_target_that_is_too_long_is_left_out_and_the_rest_stays() {
    let (mut whole, mut records) = (cluster(), 0);
    let mut targets = |text: &str, qtype| ask(&mut whole, text, qtype, &mut records).expect("a name").targets;
    let service = |zone: &str| format!("{}.{}.svc.{zone}", label('s'), label('n'));
    let srv = |letter, len| service(&name_of(letter, len));
    let longest = |found: &[(u16, Vec<u8>)]| found.iter().map(|(_, name)| name.len()).max();
    // Two ports of each of the six addresses of IPv4 (two of which share a name) and the two of IPv6.
    let fits = targets(&srv('c', 59), rtype::SRV);
    assert_eq!((fits.len(), longest(&fits)), (14, Some(255)));
    let cut = targets(&srv('d', 60), rtype::SRV);
    assert!(cut.len() == 10 && longest(&cut) < Some(255), "{cut:?}");
    // The names of an address beyond what a pointer reaches, all of them.
    let names = targets("1.0.9.10.in-addr.arpa.", rtype::PTR);
    assert_eq!(names.len(), 600);
    // What no message holds is cut, and says so.
    let query = packet(wire("many.n.svc.cluster.local.").expect("a name").wire(), rtype::SRV, Some(65_535));
    let reply = whole.reply(&query).expect("a reply");
    assert!(check(&query, &reply, "many").truncated);
}

#[test]
fn other_makers_of_answers_at_every_limit() {
    let (long, rest) = (name_of('y', 255), name_of('y', 191));
    let hosts: String = (0..1200).map(|i| format!(" 192.0.{}.{} many.test\n", i / 256, i % 256)).collect();
    let names: String =
        (0..300).map(|i| format!(" 198.51.100.1 {}-{i}.{}\n", "p".repeat(50), name_of('r', 100))).collect();
    let corefile = format!(
        ".:53 {{\n chaos\n nsid\n rewrite name suffix .{rest} .tpl.test.\n rewrite name suffix .short.test. .{} answer auto\n \
         rewrite name suffix .grown.test. .tpl.test. answer auto\n hosts {{\n 192.0.2.1 {long} short.test\n 2001:db8::1 {long}\n{hosts}{names} fallthrough\n }}\n \
         dns64\n template IN ANY tpl.test {{\n answer \"{{{{ .Name }}}} 60 IN CNAME a.b.c.{{{{ .Name }}}}\"\n \
         answer \"{{{{ .Name }}}} 60 IN SRV 1 2 3 a.b.c.{{{{ .Name }}}}\"\n authority \"tpl.test. 60 IN SOA a.{{{{ .Name }}}} b.{{{{ .Name }}}} 1 2 3 4 5\"\n }}\n \
         template IN ANY any.test {{\n answer \"{{{{ .Name }}}} 60 IN TXT \\\"{}\\\"\"\n answer \"{{{{ .Name }}}} 60 IN MX 1 x.{{{{ .Name }}}}\"\n }}\n whoami\n}}\n",
        name_of('r', 100),
        "t".repeat(255)
    );
    let (mut whole, mut records) = (Whole::start(&corefile, ""), 0);
    let mut names: Vec<String> = vec![
        long.clone(),
        "many.test.".into(),
        "1.100.51.198.in-addr.arpa.".into(),
        "1.2.0.192.in-addr.arpa.".into(),
        ".".into(),
    ];
    for front in 1..63 {
        let front = "f".repeat(front);
        names.extend([format!("{front}.{rest}"), format!("{front}.tpl.test."), format!("{front}.any.test.")]);
    }
    // Names whose alias, whose whoami record, or whose name as the client wrote it has 253 to 256 octets.
    for len in 225..=244 {
        names.extend(
            ["tpl.test.", "any.test.", "grown.test.", "short.test."].map(|end| format!("{}{end}", name_of('f', len))),
        );
        names.push(name_of('w', len + 11));
    }
    for name in &names {
        for qtype in TYPES {
            ask(&mut whole, name, *qtype, &mut records);
        }
    }
    assert!(records > 3000, "{records} records");
}

#[test]
fn search_lists_at_every_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, far) = (folder.path().join("resolv.conf"), name_of('y', 200));
    std::fs::write(&file, format!("nameserver 127.0.0.1\nsearch first.test {far} found.test\n")).expect("written");
    let corefile = format!(
        ".:53 {{\n autopath first.test {}\n template IN ANY first.test {far} {{\n rcode NXDOMAIN\n }}\n \
         template IN ANY found.test {{\n answer \"{{{{ .Name }}}} 60 IN A 192.0.2.1\"\n \
         answer \"{{{{ .Name }}}} 60 IN SRV 1 2 3 a.{{{{ .Name }}}}\"\n }}\n}}\n",
        file.display()
    );
    let (mut whole, mut records) = (Whole::start(&corefile, ""), 0);
    for len in (2..60).chain(225..=244) {
        for qtype in TYPES {
            ask(&mut whole, &format!("{}first.test.", name_of('f', len)), *qtype, &mut records);
        }
    }
    assert!(records > 1000, "{records} records");
}

#[test]
fn no_question_gets_records_of_another_class() {
    let mut whole = cluster();
    let names =
        ["many.n.svc.cluster.local.", "nothing.n.svc.cluster.local.", "cluster.local.", "1.0.1.10.in-addr.arpa."];
    let external = name_of('q', 62);
    for (name, is_cluster) in names.into_iter().chain([&*external]).map(|name| (name, true)).chain([("x.test.", false)])
    {
        for class in [0, 1, 2, 3, 4, 254, 255, 9999_u16] {
            let mut query = packet(wire(name).expect("a name").wire(), rtype::A, Some(1232));
            let at = query.len() - 13;
            query[at..at + 2].copy_from_slice(&class.to_be_bytes());
            let read = check(&query, &whole.reply(&query).expect("a reply"), name);
            let takes_in = matches!(class, 1 | 255);
            let wanted = if takes_in { 1 } else { class };
            assert!(read.classes.iter().all(|class| *class == wanted), "{name} {class}: {read:?}");
            assert_eq!(read.rcode == 5, is_cluster && !takes_in, "{name} {class}: {read:?}");
        }
    }
}
