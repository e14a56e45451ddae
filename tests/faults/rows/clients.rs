//! What clients can do: ask over streams and not read, ask without end, ask for names that get no
//! answer.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use crate::ask::{Question, TXT, question};
use crate::cluster::{Cluster, SERVICE};
use crate::fence::Fence;
use crate::load::{Load, Times, load, millis};
use crate::names::{fresh, questions, well};
use crate::pki::Pki;
use crate::row::{Found, Place, Row, joined};
use crate::server::{Run, Server};
use crate::support::free_port;
use crate::upstream::{Act, Answer, Seen, Upstream};

pub(crate) const ROWS: &[Row] = &[
    Row {
        id: "K1",
        injected: "8 connections, over TCP and over TLS, that ask repeatedly for answers of 60 kB and do not read; from the cache (TXT), in the long form also from the cluster (SRV of 4,000 endpoints), within 170 MiB",
        wanted: "at most 10 MiB more than without load; the process survives, no query over UDP is lost",
        place: Place::Here,
        run: k1,
    },
    Row {
        id: "K2",
        injected: "4 TCP connections that ask without a pause for SRV of a headless Service with 1,000 endpoints, and read",
        wanted: "UDP is not affected: all answered; p99 at most 3 times that without load, and 2 ms",
        place: Place::Here,
        run: k2,
    },
    Row {
        id: "K3",
        injected: "30 TCP connections with 9,000 questions each (1,000 in the short form) that the upstream never answers, beside other names over UDP",
        wanted: "all other names answered",
        place: Place::Here,
        run: k3,
    },
    Row {
        id: "K6",
        injected: "an API server that does not reply at the start, and 8,000 questions a second for unknown names of the cluster, beside names outside it",
        wanted: "all names outside answered",
        place: Place::Here,
        run: k6,
    },
];

/// SRV.
const SRV: u16 = 33;
/// The headless Service.
const BIG: &str = "big.default.svc.cluster.local";

//----------- The bed --------------------------------------------------------

/// A server with a cluster and an upstream with large answers, over UDP, TCP and TLS.
struct Bed {
    server: Server,
    secure: SocketAddr,
    client: ClientConfig,
    _upstream: Upstream,
    _cluster: Cluster,
    _pki: Pki,
    fence: Fence,
}

fn large(seen: &Seen) -> Vec<Act> {
    let text = [&[250][..], &[b'x'; 250]].concat();
    match seen.tcp {
        true => {
            let answer = Answer::to(&seen.packet);
            vec![Act::send((0..228).fold(answer, |answer, _| answer.record(0, &[0xC0, 12], (TXT, 600), &text)))]
        }
        false => vec![Act::send(Answer::to(&seen.packet).flags(0x0200))],
    }
}

impl Bed {
    fn start(run: &Run, endpoints: usize) -> Self {
        let (cluster, upstream, pki) = (Cluster::start(), Upstream::start(large), Pki::new());
        cluster.add_big(endpoints);
        pki.issue("dns", &["dns.test"]);
        let (port, fence) = (free_port(), Fence::new(170));
        let block = |zone: String, tls: String| {
            let above = cluster.directive();
            format!(
                "{zone} {{\n    bind 127.0.0.1\n    {tls}\n    {above}\n    cache\n    forward . {}\n}}\n",
                upstream.address
            )
        };
        let tls = format!("tls {} {}", pki.text("dns.pem"), pki.text("dns.key"));
        let corefile = block(".:PORT".into(), String::new()) + &block(format!("tls://.:{port}"), tls);
        let server = run.serve_within(&fence, &corefile);
        let client = pki.client(None, &[&rustls::version::TLS13]);
        let secure = SocketAddr::from(([127, 0, 0, 1], port));
        let bed = Self { server, secure, client, _upstream: upstream, _cluster: cluster, _pki: pki, fence };
        // The data have arrived, and the answer is in the cache.
        let end = Instant::now() + Duration::from_secs(20);
        while bed.srv().ask_stream(bed.server.address()).is_none_or(|reply| reply.octets.len() < 10_000) {
            assert!(Instant::now() < end, "the cluster is not known");
            std::thread::sleep(Duration::from_millis(50));
        }
        let kept = bed.txt().ask_stream(bed.server.address()).expect("an answer");
        assert!(kept.octets.len() > 50_000, "the large answer has {} octets", kept.octets.len());
        bed
    }

    fn srv(&self) -> Question {
        question(BIG).of(SRV)
    }

    fn txt(&self) -> Question {
        question("kept.test").of(TXT)
    }

    /// Asks over UDP for a name of the cluster, for `seconds`.
    fn ask(&self, rate: u32, seconds: f64) -> Load {
        let packet = question(SERVICE).packet();
        load(self.server.address(), rate, (0..(f64::from(rate) * seconds) as usize).map(|_| packet.clone()))
    }
}

fn framed(question: &Question) -> Vec<u8> {
    let packet = question.packet();
    [&(packet.len() as u16).to_be_bytes(), &packet[..]].concat()
}

/// Opens a connection with a small receive buffer.
fn connect(address: SocketAddr) -> Option<TcpStream> {
    let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).ok()?;
    socket.set_recv_buffer_size(4096).ok()?;
    socket.connect(&address.into()).ok()?;
    socket.set_write_timeout(Some(Duration::from_millis(100))).ok()?;
    socket.set_read_timeout(Some(Duration::from_secs(2))).ok()?;
    Some(socket.into())
}

//----------- K1 -------------------------------------------------------------

/// Asks again and again without reading; connects again when the server closes the connection.
fn stare(bed: &Bed, secure: bool, question: &Question, is_over: &AtomicBool) {
    let padded = framed(&question.clone().option(12, &vec![0; 60_000]));
    let frames = framed(question).repeat(100);
    while !is_over.load(Ordering::Relaxed) {
        let address = if secure { bed.secure } else { bed.server.address() };
        let Some(socket) = connect(address) else { continue };
        let mut stream: Box<dyn Write> = if secure {
            let name = ServerName::try_from("dns.test").expect("a name");
            let client = ClientConnection::new(Arc::new(bed.client.clone()), name).expect("a client");
            Box::new(StreamOwned::new(client, socket))
        } else {
            Box::new(socket)
        };
        let _ = stream.write_all(&padded);
        while !is_over.load(Ordering::Relaxed) {
            match stream.write_all(&frames) {
                Err(error) if error.kind() != std::io::ErrorKind::WouldBlock => break,
                _ => {}
            }
        }
    }
}

fn k1(run: &Run) -> Found {
    let mut bed = Bed::start(run, run.pick(1_000, 4_000));
    let kinds: &[(&str, Question, bool)] = &[
        ("TXT over TCP", bed.txt(), false),
        ("TXT over TLS", bed.txt(), true),
        ("SRV over TCP", bed.srv(), false),
        ("SRV over TLS", bed.srv(), true),
    ];
    let (mut words, mut most, mut lost, mut lives) = (Vec::new(), 0.0_f64, 0, true);
    for (name, question, secure) in kinds.iter().take(run.pick(2, 4)) {
        if !lives {
            break;
        }
        let (before, is_over) = (bed.server.memory("VmRSS"), AtomicBool::new(false));
        bed.server.forget_most_memory();
        let heard = std::thread::scope(|scope| {
            (0..8).for_each(|_| _ = scope.spawn(|| stare(&bed, *secure, question, &is_over)));
            let heard = bed.ask(100, run.pick(1.0, 60.0));
            is_over.store(true, Ordering::Relaxed);
            heard
        });
        lives = bed.server.0.is_running();
        let grown = bed.server.memory("VmHWM").saturating_sub(before) as f64 / 1024.0;
        most = most.max(grown);
        lost += heard.asked() - heard.good();
        words.push(format!(
            "{name}: {}, {} of {} lost",
            if lives { format!("+{grown:.1} MiB") } else { "killed".to_owned() },
            heard.asked() - heard.good(),
            heard.asked()
        ));
    }
    let within = if bed.fence.holds() { "" } else { " (without a limit)" };
    Found::new(format!("{}{within}", words.join("; ")))
        .must(lives, "the process was killed")
        .must(most <= 10.0, "more than 10 MiB")
        .must(lost == 0, "a query over UDP was lost")
}

//----------- K2 -------------------------------------------------------------

/// Asks without a pause and reads; counts the octets of answers.
fn pump(address: SocketAddr, question: &Question, is_over: &AtomicBool, octets: &AtomicU64) {
    let Some(mut reader) = TcpStream::connect(address).ok() else { return };
    reader.set_read_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    let mut writer = reader.try_clone().expect("a socket");
    writer.set_write_timeout(Some(Duration::from_millis(100))).expect("a timeout");
    let frames = framed(question).repeat(20);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut done = 0;
            while !is_over.load(Ordering::Relaxed) {
                match writer.write(&frames[done..]) {
                    Ok(written) => done = (done + written) % frames.len(),
                    Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                    Err(_) => break,
                }
            }
        });
        let mut buffer = vec![0; 256 << 10];
        while !is_over.load(Ordering::Relaxed) {
            match reader.read(&mut buffer) {
                Ok(read) => _ = octets.fetch_add(read as u64, Ordering::Relaxed),
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {}
                Err(_) => break,
            }
        }
    });
}

fn quantiles(times: &Times) -> String {
    let [half, most, nearly] = [0.5, 0.9, 0.99].map(|share| millis(times.within(share)));
    format!("p50/p90/p99 {half}/{most}/{nearly}")
}

fn k2(run: &Run) -> Found {
    let bed = Bed::start(run, 1_000);
    let (rate, seconds) = (200, run.pick(1.0, 20.0));
    let quiet = bed.ask(rate, seconds).all_times();
    let (is_over, octets, question) = (AtomicBool::new(false), AtomicU64::new(0), bed.srv());
    let heard = std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| pump(bed.server.address(), &question, &is_over, &octets));
        }
        std::thread::sleep(Duration::from_millis(200));
        let heard = bed.ask(rate, seconds);
        is_over.store(true, Ordering::Relaxed);
        heard
    });
    let (times, octets) = (heard.all_times(), octets.into_inner());
    let mut found = Found::new(format!(
        "quiet {}; beside {}, {}; {:.0} MB/s over TCP",
        quantiles(&quiet),
        quantiles(&times),
        heard.losses(),
        octets as f64 / 1e6 / seconds
    ))
    .must(heard.good() == heard.asked(), "a query over UDP was lost")
    .must(octets > 0, "the others were not answered");
    if run.long {
        let most = 3 * quiet.within(0.99) + Duration::from_millis(2);
        found = found.must(times.within(0.99) <= most, "p99 above 3 times quiet and 2 ms");
    }
    found
}

//----------- K3 and K6 ------------------------------------------------------

/// Asks for other names, ten a second.
fn outside(server: SocketAddr, count: usize) -> Load {
    load(server, 10, questions(&fresh("outside-", count)).iter().map(Question::packet))
}

fn k3(run: &Run) -> Found {
    let upstream = Upstream::start(|seen| if seen.name().starts_with("silent") { Vec::new() } else { well(seen) });
    let server = run.forward("", &[upstream.address], "");
    let each = run.pick(1_000, 9_000);
    let before = server.memory("VmRSS");
    server.forget_most_memory();
    let heard = std::thread::scope(|scope| {
        for _ in 0..30 {
            let (address, names) = (server.address(), fresh("silent-k3-", each));
            scope.spawn(move || {
                let mut stream = TcpStream::connect(address).ok()?;
                stream.set_write_timeout(Some(Duration::from_secs(3))).ok()?;
                let frames: Vec<u8> = names.iter().flat_map(|name| framed(&question(name))).collect();
                let _ = stream.write_all(&frames);
                std::thread::sleep(Duration::from_secs(2));
                Some(())
            });
        }
        std::thread::sleep(Duration::from_millis(300));
        joined(scope.spawn(|| outside(server.address(), run.pick(20, 43))))
    });
    let grown = server.memory("VmHWM").saturating_sub(before) as f64 / 1024.0;
    Found::new(format!("{} of {} others answered, {}; +{grown:.0} MiB", heard.good(), heard.asked(), heard.losses()))
        .must(heard.good() == heard.asked(), "other names were not answered")
}

fn k6(run: &Run) -> Found {
    // It accepts connections and never replies.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let api = silent.local_addr().expect("bound");
    let upstream = Upstream::start(well);
    let server = run.forward(
        &format!("kubernetes cluster.local {{\n        endpoint http://{api}\n    }}"),
        &[upstream.address],
        "",
    );
    let (rate, seconds) = (8_000, 4);
    let unknown: Vec<Vec<u8>> =
        (0..rate * seconds).map(|at| question(&format!("n{at}.default.svc.cluster.local")).packet()).collect();
    let heard = std::thread::scope(|scope| {
        scope.spawn(|| load(server.address(), rate, unknown.into_iter()));
        std::thread::sleep(Duration::from_millis(1_000));
        joined(scope.spawn(|| outside(server.address(), 25)))
    });
    Found::new(format!("{} of {} outside answered, {}", heard.good(), heard.asked(), heard.losses()))
        .must(heard.good() == heard.asked(), "names outside were not answered")
}
