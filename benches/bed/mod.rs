//! What the benches of whole servers share: the real program with a Corefile of Corefile.examples
//! and a folder of manifests, an upstream that answers at once, and the counters of both.
//! Everything runs on loopback.

#![allow(dead_code, reason = "shared by benches, each of which uses a part of it")]

#[path = "../../tests/support/tls.rs"]
mod certificates;
#[path = "../outside.rs"]
mod outside;
#[path = "../../tests/support/mod.rs"]
mod support;

use std::collections::VecDeque;
use std::fmt::Write as _;
use std::io::{Read, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::thread;

use certificates::Pki;
use support::{Server, free_port};

/// The Corefile that kubeadm writes, and the same with `autopath`.
pub(crate) const KUBEADM: &str = include_str!("../../Corefile.examples/kubeadm/Corefile");
pub(crate) const AUTOPATH: &str = include_str!("../../Corefile.examples/autopath/Corefile");

/// The search list of a Pod in the namespace `bench`, and its address, by which `autopath` finds
/// it.
pub(crate) const SEARCH: [&str; 3] = ["bench.svc.cluster.local", "svc.cluster.local", "cluster.local"];
pub(crate) const POD: IpAddr = IpAddr::V4(Ipv4Addr::new(127, 10, 0, 5));

/// Endpoints of the headless Service.
pub(crate) const ENDPOINTS: u8 = 20;

/// A running server and its upstream.
pub(crate) struct Bed {
    server: Server,
    /// Its address for DNS over TLS.
    pub(crate) dot: SocketAddr,
    upstream: Arc<AtomicU64>,
    metrics: SocketAddr,
    /// The folder of the certificate.
    _pki: Pki,
}

impl Bed {
    /// Starts the server with this Corefile; ports, upstream and source of objects become those of
    /// the bed.
    pub(crate) fn start(corefile: &str) -> Self {
        let pki = Pki::new();
        pki.issue("dns", &["signpost.test"]);
        let (upstream, counted) = upstream();
        let local = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let (dot, metrics) = (local(free_port()), local(free_port()));
        let (health, ready) = (local(free_port()), local(free_port()));
        let (certificate, key) = (pki.text("dns.pem"), pki.text("dns.key"));
        let mut text = corefile.to_owned();
        for (theirs, ours) in [
            (".:53 {", format!(".:PORT tls://.:{} {{\n    bind 127.0.0.1\n    tls {certificate} {key}", dot.port())),
            ("    health {", format!("    health {health} {{")),
            ("    ready\n", format!("    ready {ready}\n")),
            ("    prometheus :9153", format!("    prometheus {metrics}")),
            ("in-addr.arpa ip6.arpa {", "in-addr.arpa ip6.arpa {\n       manifests objects.yaml".to_owned()),
            ("/etc/resolv.conf", upstream.to_string()),
        ] {
            assert!(text.contains(theirs), "{theirs:?} is not in the example any more:\n{corefile}");
            text = text.replacen(theirs, &ours, 1);
        }
        let server = Server::start(&text, &[("objects.yaml", &objects())]);
        // Until all objects are read, `autopath` knows no Pod.
        let service = "web.bench.svc.cluster.local";
        server.ask_until(service, "A", &format!("NOERROR aa\n{service}. 30 A 10.96.77.20"));
        Self { server, dot, upstream: counted, metrics, _pki: pki }
    }

    /// Returns the address for DNS over UDP and TCP.
    pub(crate) fn address(&self) -> SocketAddr {
        self.server.address()
    }

    /// Returns how many address queries the server has received. Queries of other types are its
    /// own, to detect loops.
    pub(crate) fn requests(&self) -> u64 {
        let mut stream = TcpStream::connect(self.metrics).expect("a page of metrics");
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("sends");
        let mut page = String::new();
        stream.read_to_string(&mut page).expect("text");
        let is_counted = |line: &&str| {
            line.starts_with("coredns_dns_requests_total{")
                && ["type=\"A\"", "type=\"AAAA\""].iter().any(|of| line.contains(of))
        };
        let lines = page.lines().filter(is_counted);
        lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok()).sum::<f64>() as u64
    }

    /// Returns how many address queries reached the upstream.
    pub(crate) fn forwarded(&self) -> u64 {
        self.upstream.load(Relaxed)
    }
}

/// Returns a Service, a headless one with its endpoints, and a Pod.
fn objects() -> String {
    let mut text = format!(
        "apiVersion: v1
kind: Namespace
metadata: {{name: bench}}
---
apiVersion: v1
kind: Service
metadata: {{name: web, namespace: bench}}
spec: {{clusterIP: 10.96.77.20, clusterIPs: [10.96.77.20], ports: [{{name: http, port: 80, protocol: TCP}}]}}
---
apiVersion: v1
kind: Service
metadata: {{name: db, namespace: bench}}
spec: {{clusterIP: None, clusterIPs: [None], ports: [{{name: sql, port: 5432, protocol: TCP}}]}}
---
apiVersion: v1
kind: Pod
metadata: {{name: client, namespace: bench}}
spec: {{}}
status: {{phase: Running, podIP: {POD}, podIPs: [{{ip: {POD}}}]}}
---
apiVersion: discovery.k8s.io/v1
kind: EndpointSlice
metadata: {{name: db-1, namespace: bench, labels: {{kubernetes.io/service-name: db}}}}
addressType: IPv4
ports: [{{name: sql, port: 5432, protocol: TCP}}]
endpoints:
"
    );
    for n in 10..10 + ENDPOINTS {
        // Writing to a `String` cannot fail.
        let _ = writeln!(text, "- {{addresses: [10.244.7.{n}], hostname: db-{n}, conditions: {{ready: true}}}}");
    }
    text
}

//----------- Upstream -------------------------------------------------------

/// Questions that the upstream remembers: a question that is repeated because the answer was late
/// counts once.
const REMEMBERED: usize = 16;

/// Starts the upstream, which stands for the world outside. Counts questions that get an address
/// only, because the server's own queries have other types. Queries arrive over UDP or TCP, as the
/// server got them.
fn upstream() -> (SocketAddr, Arc<AtomicU64>) {
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, free_port()));
    let (socket, listener) =
        (UdpSocket::bind(address).expect("a free port"), TcpListener::bind(address).expect("a free port"));
    let counted = Arc::new(AtomicU64::new(0));
    let (over_udp, over_tcp) = (counted.clone(), counted.clone());
    thread::spawn(move || {
        let (mut packet, mut asked) = ([0; 1500], Asked::new(over_udp));
        while let Ok((len, peer)) = socket.recv_from(&mut packet) {
            if let Some(reply) = asked.reply(&packet[..len]) {
                // The client may have closed its socket.
                let _ = socket.send_to(&reply, peer);
            }
        }
    });
    thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            stream.set_nodelay(true).expect("an option of TCP");
            let mut asked = Asked::new(over_tcp.clone());
            thread::spawn(move || {
                while let Some(reply) = support::receive(&mut stream).and_then(|packet| asked.reply(&packet)) {
                    let frame = [&(reply.len() as u16).to_be_bytes(), reply.as_slice()].concat();
                    if stream.write_all(&frame).is_err() {
                        return;
                    }
                }
            });
        }
    });
    (address, counted)
}

/// The upstream's recent questions and the number of all.
struct Asked {
    lately: VecDeque<Vec<u8>>,
    count: Arc<AtomicU64>,
}

impl Asked {
    fn new(count: Arc<AtomicU64>) -> Self {
        Self { lately: VecDeque::from([const { Vec::new() }; REMEMBERED]), count }
    }

    /// Returns the reply of [`outside`], and counts the question if it is one for an address.
    fn reply(&mut self, packet: &[u8]) -> Option<Vec<u8>> {
        let (reply, question) = outside::reply(packet)?;
        let has_answers = reply[7] > 0;
        if has_answers {
            self.note(question);
        }
        Some(reply)
    }

    fn note(&mut self, question: &[u8]) {
        if !self.lately.iter().any(|known| known == question) {
            self.count.fetch_add(1, Relaxed);
            self.lately.rotate_left(1);
            self.lately[REMEMBERED - 1].clear();
            self.lately[REMEMBERED - 1].extend_from_slice(question);
        }
    }
}
