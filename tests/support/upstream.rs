//! An upstream on loopback that does to every query exactly what a script says, to the octet.
//!
//! It answers on UDP and TCP, on the same port, with threads and blocking sockets alone: whatever is tested runs on
//! other threads and on any runtime. The script is called once a query, with what was seen and how many came
//! before, and returns [`Act`]s, done in order; no act means no reply.
//!
//! ```text
//! let upstream = Upstream::start(|seen| vec![Act::Wait(20 ms), Act::send(Answer::to(&seen.packet).a("192.0.2.1", 60))]);
//! ... upstream.address ... upstream.count() ... upstream.script(|_| vec![]) ...
//! ```

#![allow(dead_code, unreachable_pub, unused_imports, reason = "shared by test programs of which each uses a part")]

#[path = "acting.rs"]
mod acting;
#[path = "answer.rs"]
mod answer;

use std::io::Read;
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

pub use self::acting::Act;
use self::acting::{Job, Out, Stage, lock};
pub use self::answer::{Answer, wire};

/// How long a thread waits before it looks whether the test is over.
const LOOK: Duration = Duration::from_millis(20);

/// Room for what arrives in a burst, in octets.
const BURST: usize = 4 << 20;

//----------- Upstream -------------------------------------------------------

/// The upstream; it is gone when this is dropped, and its port is closed.
pub struct Upstream {
    /// Where it listens, UDP and TCP.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<thread::JoinHandle<()>>,
}

/// A query as it came.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The message, without the length that TCP puts in front.
    pub packet: Vec<u8>,
    /// Where it came from.
    pub from: SocketAddr,
    /// Whether it came over TCP.
    pub tcp: bool,
    /// How many queries came before.
    pub before: usize,
    /// When it came.
    pub at: Instant,
}

type Script = dyn Fn(&Seen) -> Vec<Act> + Send + Sync;

struct Shared {
    script: Mutex<Arc<Script>>,
    seen: Mutex<Vec<Seen>>,
    connections: AtomicUsize,
    stage: Stage,
}

impl Upstream {
    /// Starts an upstream.
    pub fn start(script: impl Fn(&Seen) -> Vec<Act> + Send + Sync + 'static) -> Self {
        Self::serve(bind(), script)
    }

    /// Starts an upstream at this address.
    pub fn start_at(address: SocketAddr, script: impl Fn(&Seen) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let sockets = (UdpSocket::bind(address).expect("a port"), TcpListener::bind(address).expect("a port"));
        Self::serve(sockets, script)
    }

    fn serve((udp, tcp): (UdpSocket, TcpListener), script: impl Fn(&Seen) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let address = udp.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            script: Mutex::new(Arc::new(script)),
            seen: Mutex::default(),
            connections: AtomicUsize::new(0),
            stage: Stage::default(),
        });
        let (for_udp, for_tcp, for_stage) = (shared.clone(), shared.clone(), shared.clone());
        let threads = vec![
            thread::spawn(move || serve_udp(udp, &for_udp)),
            thread::spawn(move || serve_tcp(&tcp, &for_tcp)),
            thread::spawn(move || for_stage.stage.run()),
        ];
        Self { address, shared, threads }
    }

    /// An upstream that answers A queries with `address`, TTL 60.
    pub fn with_a(address: &'static str) -> Self {
        Self::start(move |seen| vec![Act::send(Answer::to(&seen.packet).a(address, 60))])
    }

    /// An upstream that takes everything and says nothing.
    pub fn black_hole() -> Self {
        Self::start(|_| Vec::new())
    }

    /// An address where nobody listens, and no other test will.
    pub fn closed() -> SocketAddr {
        SocketAddr::from(([127, 8, 8, 8], 8))
    }

    /// Does something else from now on.
    pub fn script(&self, script: impl Fn(&Seen) -> Vec<Act> + Send + Sync + 'static) {
        *lock(&self.shared.script) = Arc::new(script);
    }

    /// The queries so far.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// How many queries came so far that are no probes of health (`NS` of the root).
    pub fn count(&self) -> usize {
        lock(&self.shared.seen).iter().filter(|seen| !seen.is_probe()).count()
    }

    /// How many TCP connections were opened so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stage.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A script that panicked has shown it already.
            let _ = thread.join();
        }
    }
}

impl Seen {
    /// Whether it asks for the name servers of the root, as probes of health do.
    pub fn is_probe(&self) -> bool {
        self.packet.get(12..17) == Some(&[0, 0, 2, 0, 1])
    }

    /// The flags in the header.
    pub fn flags(&self) -> u16 {
        u16::from_be_bytes([self.packet[2], self.packet[3]])
    }

    /// The type in question.
    pub fn qtype(&self) -> u16 {
        let end = self.question_end();
        u16::from_be_bytes([self.packet[end], self.packet[end + 1]])
    }

    /// The class in question.
    pub fn qclass(&self) -> u16 {
        let end = self.question_end() + 2;
        u16::from_be_bytes([self.packet[end], self.packet[end + 1]])
    }

    /// The name in question as it was written, without the dot at its end: `www.example`.
    pub fn name(&self) -> String {
        let (mut name, mut at) = (String::new(), 12);
        while self.packet[at] != 0 {
            let len = usize::from(self.packet[at]);
            name.push_str(&String::from_utf8_lossy(&self.packet[at + 1..=at + len]));
            name.push('.');
            at += len + 1;
        }
        name.trim_end_matches('.').to_owned()
    }

    /// Where the name in question ends.
    fn question_end(&self) -> usize {
        let mut at = 12;
        while self.packet[at] != 0 {
            at += usize::from(self.packet[at]) + 1;
        }
        at + 1
    }

    /// The OPT record, if there is one: the UDP size that it says, the flags beside it, and the codes of its options.
    pub fn edns(&self) -> Option<(u16, u16, Vec<u16>)> {
        let word = |at: usize| Some(u16::from_be_bytes([*self.packet.get(at)?, *self.packet.get(at + 1)?]));
        let opt = self.question_end() + 4;
        if self.packet.get(opt) != Some(&0) || word(opt + 1) != Some(41) {
            return None;
        }
        let (mut at, end) = (opt + 11, opt + 11 + usize::from(word(opt + 9)?));
        let mut options = Vec::new();
        while at + 4 <= end {
            options.push(word(at)?);
            at += 4 + usize::from(word(at + 2)?);
        }
        Some((word(opt + 3)?, word(opt + 7)?, options))
    }
}

impl Act {
    /// Sends an answer.
    pub fn send(answer: Answer) -> Self {
        Self::Send(answer.message())
    }
}

//----------- Serving --------------------------------------------------------

/// The same port for both.
fn bind() -> (UdpSocket, TcpListener) {
    for _ in 0..100 {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
        if let Ok(udp) = UdpSocket::bind(tcp.local_addr().expect("an address")) {
            return (udp, tcp);
        }
    }
    panic!("no port is free for both UDP and TCP");
}

impl Shared {
    /// Notes a query and does what the script says about it.
    fn take(&self, query: &[u8], (from, tcp): (SocketAddr, bool), out: Out) {
        let mut all = lock(&self.seen);
        let seen = Seen { packet: query.to_vec(), from, tcp, before: all.len(), at: Instant::now() };
        all.push(seen.clone());
        drop(all);
        let script = lock(&self.script).clone();
        let acts = script(&seen).into_iter();
        self.stage.go_on(Job { out, query: seen.packet, acts });
    }
}

fn serve_udp(socket: UdpSocket, shared: &Arc<Shared>) {
    socket.set_read_timeout(Some(LOOK)).expect("a timeout");
    socket2::SockRef::from(&socket).set_recv_buffer_size(BURST).expect("an option");
    let socket = Arc::new(socket);
    let mut buffer = vec![0; 65_535];
    while !shared.stage.is_over() {
        // An ICMP error about an earlier reply is no reason to stop.
        let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
        shared.take(&buffer[..len], (from, false), Out::Udp(socket.clone(), from));
    }
}

fn serve_tcp(listener: &TcpListener, shared: &Arc<Shared>) {
    listener.set_nonblocking(true).expect("not blocking");
    while !shared.stage.is_over() {
        let Ok((stream, from)) = listener.accept() else {
            thread::sleep(Duration::from_millis(2));
            continue;
        };
        shared.connections.fetch_add(1, Ordering::Relaxed);
        let shared = shared.clone();
        thread::spawn(move || serve_stream(stream, from, &shared));
    }
}

fn serve_stream(mut stream: TcpStream, from: SocketAddr, shared: &Arc<Shared>) {
    stream.set_nonblocking(false).expect("blocking");
    stream.set_nodelay(true).expect("an option");
    stream.set_read_timeout(Some(LOOK)).expect("a timeout");
    let writer = Arc::new(Mutex::new(stream.try_clone().expect("a stream")));
    let mut buffer = Vec::new();
    while !shared.stage.is_over() {
        let mut chunk = [0; 4096];
        match stream.read(&mut chunk) {
            Ok(0) => return,
            Ok(len) => buffer.extend_from_slice(&chunk[..len]),
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {
                continue;
            }
            Err(_) => return,
        }
        while let Some(len) = buffer.first_chunk().map(|len| usize::from(u16::from_be_bytes(*len)))
            && buffer.len() >= len + 2
        {
            let message: Vec<u8> = buffer.drain(..len + 2).skip(2).collect();
            shared.take(&message, (from, true), Out::Tcp(writer.clone()));
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}
