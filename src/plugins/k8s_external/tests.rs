//! A cluster of manifests above a scripted upstream, which knows the host names of load balancers.

use crate::testing::live::Live;
use crate::testing::upstream::{Act, Answer, Upstream};

const CLUSTER: &str = "
{apiVersion: v1, kind: Service, metadata: {name: lb, namespace: edge}, spec: {clusterIP: 10.96.0.1,
  ports: [{name: http, port: 80}, {name: https, port: 443}]}, status: {loadBalancer: {ingress: [{ip: 203.0.113.10}]}}}
---
{apiVersion: v1, kind: Service, metadata: {name: host, namespace: edge}, spec: {clusterIP: 10.96.0.2,
  ports: [{name: http, port: 80}, {port: 81}]}, status: {loadBalancer: {ingress: [{hostname: lb.partner.example}]}}}
---
{apiVersion: v1, kind: Service, metadata: {name: broken, namespace: edge}, spec: {clusterIP: 10.96.0.3,
  ports: [{port: 80}]}, status: {loadBalancer: {ingress: [{hostname: broken.example}]}}}
---
{apiVersion: v1, kind: Service, metadata: {name: mixed, namespace: edge}, spec: {clusterIP: 10.96.0.4,
  externalIPs: [203.0.113.10, '2001:db8::1'], ports: [{name: http, port: 80}]},
  status: {loadBalancer: {ingress: [{hostname: lb.partner.example}, {ip: 203.0.113.10}]}}}
---
{apiVersion: v1, kind: Service, metadata: {name: web, namespace: edge}, spec: {clusterIP: 10.96.0.5, ports: [{port: 80}]}}
---
{apiVersion: v1, kind: Service, metadata: {name: peers, namespace: edge}, spec: {clusterIP: None, ports: [{name: p, port: 7}]}}
---
{apiVersion: discovery.k8s.io/v1, kind: EndpointSlice, addressType: IPv4,
  metadata: {name: peers-x, namespace: edge, labels: {kubernetes.io/service-name: peers}},
  ports: [{name: p, port: 7}], endpoints: [{addresses: [10.244.0.1], hostname: peer-0}, {addresses: [10.244.0.2]}]}
";

/// Builds a server over the cluster; `options` are the plugin's.
struct Room {
    live: Live,
    _upstream: Upstream,
    _file: tempfile::TempDir,
}

impl Room {
    fn new(options: &str) -> Self {
        let upstream = Upstream::start(|seen| {
            let answer = Answer::to(&seen.packet);
            vec![Act::send(match seen.name().as_str() {
                "lb.partner.example" => answer.a("198.51.100.7", 300),
                "broken.example" => answer.rcode(2),
                _ => answer.rcode(3),
            })]
        });
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("cluster.yaml");
        std::fs::write(&file, CLUSTER).expect("written");
        let text = format!(
            ". {{\nkubernetes cluster.local {{\nmanifests {}\nttl 30\n}}\nk8s_external ext.example in-addr.arpa {{\n\
             {options}\n}}\nforward . {}\n}}",
            file.display(),
            upstream.address
        );
        let live = Live::prepared(&text, false).expect("a good Corefile");
        Self { live, _upstream: upstream, _file: folder }
    }

    fn ask(&self, name: &str, qtype: &str) -> String {
        self.live.ask(name, qtype).text()
    }
}

#[test]
fn services_have_their_addresses_outside() {
    let room = Room::new("ttl 60");
    assert_eq!(room.ask("lb.edge.ext.example.", "A"), "NOERROR 203.0.113.10/60");
    assert_eq!(room.ask("_http._tcp.lb.edge.ext.example.", "A"), "NOERROR 203.0.113.10/60");
    assert_eq!(room.ask("lb.edge.ext.example.", "AAAA"), "NOERROR");
    assert_eq!(room.ask("mixed.edge.ext.example.", "AAAA"), "NOERROR 2001:db8::1/60");
    assert_eq!(room.ask("mixed.edge.ext.example.", "A"), "NOERROR 203.0.113.10/60", "each once, and no alias");
    for missing in ["web.edge", "peers.edge", "lb.none", "x.lb.edge", "_x._tcp.lb.edge", "a.b.c.lb.edge", "x.dns"] {
        assert_eq!(room.ask(&format!("{missing}.ext.example."), "A"), "NXDOMAIN", "{missing}");
    }
    for empty in ["edge", "_tcp.lb.edge", "dns"] {
        assert_eq!(room.ask(&format!("{empty}.ext.example."), "A"), "NOERROR", "{empty}");
    }
    let both = room.ask("10.113.0.203.in-addr.arpa.", "PTR");
    let named = |service: &str| both.contains(&format!(" {service}.edge.ext.example./60"));
    assert!(named("lb") && named("mixed"), "{both}");
    assert_eq!(room.ask("10.113.0.203.in-addr.arpa.", "A"), "NOERROR");
    assert_eq!(room.ask("113.0.203.in-addr.arpa.", "PTR"), "NOERROR");
    assert_eq!(room.ask("1.0.96.10.in-addr.arpa.", "PTR"), "NXDOMAIN");
}

#[test]
fn host_names_are_looked_up() {
    let room = Room::new("");
    assert_eq!(room.ask("host.edge.ext.example.", "A"), "NOERROR lb.partner.example./30 198.51.100.7/300");
    assert_eq!(room.ask("broken.edge.ext.example.", "A"), "SERVFAIL broken.example./30");
    assert_eq!(room.ask("host.edge.ext.example.", "TXT"), "NOERROR");
    let got = room.live.ask("host.edge.ext.example.", "SRV").message;
    let texts = |records: &[hickory_proto::rr::Record]| records.iter().map(ToString::to_string).collect::<Vec<_>>();
    assert_eq!(
        texts(&got.answers),
        [80, 81].map(|port| format!("host.edge.ext.example. 30 IN SRV 0 50 {port} lb.partner.example."))
    );
    // The upstream's answer to AAAA as well as to A: the script does not distinguish them.
    assert!(texts(&got.additionals).contains(&"lb.partner.example. 300 IN A 198.51.100.7".to_owned()));
}

#[test]
fn endpoints_are_named_with_headless() {
    let room = Room::new("headless\napex gslb\nfallthrough ext.example");
    let peers = room.live.ask("peers.edge.ext.example.", "SRV").message;
    let targets: Vec<String> = peers.answers.iter().map(ToString::to_string).collect();
    let target = |label: &str| format!("peers.edge.ext.example. 30 IN SRV 0 50 7 {label}.peers.edge.ext.example.");
    assert_eq!(targets, [target("peer-0"), target("10-244-0-2")]);
    assert_eq!(peers.additionals.len(), 2);
    assert_eq!(room.ask("peer-0.peers.edge.ext.example.", "A"), "NOERROR 10.244.0.1/5");
    assert_eq!(room.ask("_tcp.peers.edge.ext.example.", "A"), "NOERROR");
    assert_eq!(room.ask("ns2.gslb.ext.example.", "A"), "NXDOMAIN");
    // Falls through to an upstream that does not know it either: its denial has no SOA.
    assert!(room.live.ask("web.edge.ext.example.", "A").message.authorities.is_empty());
}
