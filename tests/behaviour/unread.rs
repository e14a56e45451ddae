//! Clients that ask over streams and do not read: they cost little, other clients do not notice,
//! and metrics show it.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConnection, StreamOwned};

use super::support::{PATIENCE, Server, exchange, free_port, query, receive, send};
use super::support_tls::Pki;
use super::support_upstream::{Act, Answer, Upstream};

/// Octets of the answers to `TXT`.
const LARGE: usize = 60_000;

/// Connections that the server has stopped reading.
const PAUSED: &str = "signpost_paused_connections_total";

/// Connections that were closed because all of them hold too much memory.
const EVICTED: &str = "signpost_evicted_connections_total{reason=\"memory\"}";

const COREFILE: &str = "<SCHEME>.:<PORT> {
    bind 127.0.0.1
    <TLS>
    prometheus 127.0.0.1:<METRICS>
    kubernetes cluster.local {
        manifests service.json
    }
    cache {
        disable success new.test
    }
    forward . <UPSTREAM>
}
";

/// A headless Service with as many endpoints as fit into a message.
fn service() -> String {
    let endpoints: Vec<String> = (0..1_000)
        .map(|at| {
            format!("{{\"addresses\": [\"10.1.{}.{}\"], \"conditions\": {{\"ready\": true}}}}", at / 250, at % 250)
        })
        .collect();
    let ports = "[{\"name\": \"http\", \"port\": 80, \"protocol\": \"TCP\"}]";
    format!(
        "{{\"apiVersion\": \"v1\", \"kind\": \"List\", \"items\": [
        {{\"apiVersion\": \"v1\", \"kind\": \"Service\", \"metadata\": {{\"name\": \"big\", \"namespace\": \"default\"}},
          \"spec\": {{\"clusterIP\": \"None\", \"ports\": {ports}}}}},
        {{\"apiVersion\": \"discovery.k8s.io/v1\", \"kind\": \"EndpointSlice\", \"addressType\": \"IPv4\",
          \"metadata\": {{\"name\": \"big\", \"namespace\": \"default\", \"labels\": {{\"kubernetes.io/service-name\": \"big\"}}}},
          \"ports\": {ports}, \"endpoints\": [{}]}}]}}",
        endpoints.join(", ")
    )
}

struct Bed {
    server: Server,
    upstream: Upstream,
    pki: Pki,
    secure: SocketAddr,
    metrics: u16,
}

impl Bed {
    fn start() -> Self {
        let upstream = Upstream::start(|seen| {
            if !seen.tcp {
                return vec![Act::send(Answer::to(&seen.packet).flags(0x0200))];
            }
            let text = [&[250][..], &[b'x'; 250]].concat();
            let answer = Answer::to(&seen.packet);
            let whole = (0..LARGE / 263).fold(answer, |answer, _| answer.record(0, &[0xC0, 12], (16, 600), &text));
            vec![Act::send(whole)]
        });
        let pki = Pki::new();
        pki.issue("dns", &["dns.example.org"]);
        let (secure, metrics) = (free_port(), free_port());
        let block = |scheme: &str, port: &str, tls: &str| {
            let text = COREFILE.replace("<SCHEME>", scheme).replace("<PORT>", port).replace("<TLS>", tls);
            text.replace("<METRICS>", &metrics.to_string()).replace("<UPSTREAM>", &upstream.address.to_string())
        };
        let tls = format!("tls {} {}", pki.text("dns.pem"), pki.text("dns.key"));
        let corefile = block("", "PORT", "") + &block("tls://", &secure.to_string(), &tls);
        let server = Server::start(&corefile, &[("service.json", &service())]);
        let bed = Self { server, upstream, pki, secure: ([127, 0, 0, 1], secure).into(), metrics };
        // Asks for everything once before memory is measured.
        for (name, kind) in [("big.default.svc.cluster.local.", "SRV"), ("kept.test.", "TXT"), ("one.new.test.", "TXT")]
        {
            let mut stream = bed.connect(bed.server.address());
            send(&mut stream, &query(name, kind));
            assert!(receive(&mut stream).expect("an answer").len() > LARGE - 1_000, "{name}");
        }
        bed
    }

    /// Opens a connection with a small receive buffer.
    fn connect(&self, address: SocketAddr) -> TcpStream {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.set_recv_buffer_size(4096).expect("an option");
        socket.set_send_buffer_size(4096).expect("an option");
        socket.connect(&address.into()).expect("connects");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        socket.set_write_timeout(Some(Duration::from_millis(300))).expect("a timeout");
        socket.into()
    }

    fn secured(&self) -> StreamOwned<ClientConnection, TcpStream> {
        let name = ServerName::try_from("dns.example.org").expect("a name");
        let config = self.pki.client(None, &[&rustls::version::TLS13]);
        let client = ClientConnection::new(Arc::new(config), name).expect("a client");
        let mut stream = StreamOwned::new(client, self.connect(self.secure));
        let socket = &mut stream.sock;
        stream.conn.complete_io(socket).expect("a handshake");
        stream
    }

    /// Returns a value of `/proc`, in KiB.
    fn memory(&self, what: &str) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.server.process())).expect("a process");
        let line = status.lines().find_map(|line| line.strip_prefix(what)?.strip_prefix(':')).expect("a number");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
    }

    /// Returns the server's peak memory while `what` runs, above its memory before, in KiB.
    fn grown(&self, what: impl FnOnce()) -> u64 {
        let before = self.memory("VmRSS");
        // Resets the peak.
        std::fs::write(format!("/proc/{}/clear_refs", self.server.process()), "5").expect("our own process");
        what();
        self.memory("VmHWM").saturating_sub(before)
    }

    fn metric(&self, line: &str) -> u64 {
        let mut stream = TcpStream::connect(("127.0.0.1", self.metrics)).expect("connects");
        stream.write_all(b"GET /metrics HTTP/1.0\r\n\r\n").expect("sends");
        let mut page = String::new();
        stream.read_to_string(&mut page).expect("a page");
        let value = page.lines().find_map(|found| found.strip_prefix(line)?.trim().parse().ok());
        value.unwrap_or_else(|| panic!("no {line} in\n{page}"))
    }
}

/// Waits until a condition holds.
fn until(mut is: impl FnMut() -> bool) {
    let end = Instant::now() + PATIENCE;
    while !is() {
        assert!(Instant::now() < end, "it never came to pass");
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// Asks as long as the server takes questions, and at most `most` times.
fn ask(stream: &mut impl Write, kind: &str, name: impl Fn(usize) -> String, most: usize) {
    for at in 0..most {
        let packet = query(&name(at), kind);
        let frame = [&(packet.len() as u16).to_be_bytes(), &packet[..]].concat();
        if stream.write_all(&frame).is_err() {
            break;
        }
    }
}

/// Returns the name of a client's n-th question.
type Names = fn(usize) -> String;

/// Questions that each client below asks; their answers have 2.4 MB.
const EACH: usize = 40;

#[test]
fn a_client_that_does_not_read_costs_little() {
    let bed = Bed::start();
    let names: [(&str, Names); 3] = [
        ("SRV", |_| "big.default.svc.cluster.local.".into()),
        ("TXT", |_| "kept.test.".into()),
        ("TXT", |at| format!("n{at}-{}.new.test.", fastrand::u32(..))),
    ];
    for ((kind, name), secure) in names.into_iter().flat_map(|one| [(one, false), (one, true)]) {
        let noticed = || bed.metric(PAUSED) + bed.metric(EVICTED);
        let before = noticed();
        let grown = bed.grown(|| {
            let mut held: Vec<Box<dyn Write>> = Vec::new();
            for _ in 0..8 {
                let mut stream: Box<dyn Write> =
                    if secure { Box::new(bed.secured()) } else { Box::new(bed.connect(bed.server.address())) };
                ask(&mut stream, kind, name, EACH);
                held.push(stream);
            }
            until(|| noticed() >= before + 8);
            // And the queries to the upstream are answered.
            let mut fetched = 0;
            until(|| {
                let before = std::mem::replace(&mut fetched, bed.upstream.count());
                before == fetched
            });
            assert!(exchange(bed.server.address(), &query("big.default.svc.cluster.local.", "A")).is_some());
        });
        println!("{kind} {} secure {secure}: +{grown} KiB", name(0));
        assert!(grown < 10 << 10, "{kind} {} secure {secure}: {grown} KiB", name(0));
    }
}

/// Hundreds of them: the memory of all together is bounded, and the slowest connections are closed.
#[test]
fn many_clients_that_do_not_read_make_room_for_each_other() {
    let bed = Bed::start();
    let grown = bed.grown(|| {
        let held: Vec<TcpStream> = (0..300)
            .map(|_| {
                let mut stream = bed.connect(bed.server.address());
                ask(&mut stream, "TXT", |_| "kept.test.".into(), 20);
                stream
            })
            .collect();
        // A client that reads is served beside them.
        let mut stream = bed.connect(bed.server.address());
        for _ in 0..20 {
            send(&mut stream, &query("kept.test.", "TXT"));
            assert!(receive(&mut stream).is_some());
        }
        drop(held);
    });
    println!("+{grown} KiB");
    assert!(grown < 20 << 10, "{grown} KiB");
    assert!(bed.metric(EVICTED) > 50);
}

/// Whatever size a client announces, a datagram has at most 4,096 octets, and TCP has the rest.
#[test]
fn large_answers_go_over_tcp() {
    let bed = Bed::start();
    for (name, kind) in [("big.default.svc.cluster.local.", "SRV"), ("kept.test.", "TXT"), ("two.new.test.", "TXT")] {
        let mut packet = query(name, kind);
        // The size in the OPT, which comes last.
        let at = packet.len() - 8;
        packet[at..at + 2].copy_from_slice(&[0xFF, 0xFF]);
        let reply = exchange(bed.server.address(), &packet).expect("a reply");
        assert!(reply.len() <= 4096 && reply[2] & 2 != 0, "{name}: {} octets, flags {:x}", reply.len(), reply[2]);
        let mut stream = bed.connect(bed.server.address());
        send(&mut stream, &packet);
        let whole = receive(&mut stream).expect("a reply");
        assert!(whole.len() > LARGE - 1_000 && whole[2] & 2 == 0, "{name}");
    }
}

/// SIGTERM waits for replies that clients have not read, but not forever.
#[test]
fn a_stalled_reader_does_not_keep_the_process() {
    let mut bed = Bed::start();
    let mut stream = bed.connect(bed.server.address());
    ask(&mut stream, "TXT", |_| "kept.test.".into(), EACH);
    until(|| bed.metric(PAUSED) == 1);
    bed.server.signal("TERM");
    assert!(bed.server.wait().success());
}
