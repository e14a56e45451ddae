//! An upstream on loopback that does to every query exactly what a script says, to the octet.
//!
//! It answers on UDP and TCP, on the same port, only with threads and blocking sockets, so it works
//! beside any runtime. The script is called once per query, with the query and the number of
//! earlier ones, and returns [`Act`]s, which are done in order; no act means no reply.
//!
//! ```text
//! let upstream = Upstream::start(|seen| {
//!     vec![Act::Wait(20 ms), Act::send(Answer::to(&seen.packet).a("192.0.2.1", 60))]
//! });
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

/// How often a thread checks whether the test is over.
const LOOK: Duration = Duration::from_millis(20);

/// Room for bursts, in octets.
const BURST: usize = 4 << 20;

//----------- Upstream -------------------------------------------------------

/// The upstream; it stops and closes its port when this is dropped.
pub struct Upstream {
    /// Where it listens, UDP and TCP.
    pub address: SocketAddr,
    shared: Arc<Shared>,
    threads: Vec<thread::JoinHandle<()>>,
}

/// A received query.
#[derive(Debug, Clone)]
pub struct Seen {
    /// The message, without the length prefix of TCP.
    pub packet: Vec<u8>,
    /// The client's address.
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

    /// Starts an upstream that answers A queries with `address`, TTL 60.
    pub fn with_a(address: &'static str) -> Self {
        Self::start(move |seen| vec![Act::send(Answer::to(&seen.packet).a(address, 60))])
    }

    /// Starts an upstream that receives queries and never replies.
    pub fn black_hole() -> Self {
        Self::start(|_| Vec::new())
    }

    /// Returns an address where no server listens, now or in another test.
    pub fn closed() -> SocketAddr {
        SocketAddr::from(([127, 8, 8, 8], 8))
    }

    /// Replaces the script.
    pub fn script(&self, script: impl Fn(&Seen) -> Vec<Act> + Send + Sync + 'static) {
        *lock(&self.shared.script) = Arc::new(script);
    }

    /// Returns the queries so far.
    pub fn seen(&self) -> Vec<Seen> {
        lock(&self.shared.seen).clone()
    }

    /// Returns how many queries came so far, without health probes (`NS` of the root).
    pub fn count(&self) -> usize {
        lock(&self.shared.seen).iter().filter(|seen| !seen.is_probe()).count()
    }

    /// Returns how many TCP connections were opened so far.
    pub fn connections(&self) -> usize {
        self.shared.connections.load(Ordering::Relaxed)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.stage.over.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A script that panicked has already reported it.
            let _ = thread.join();
        }
    }
}

impl Seen {
    /// Returns whether it asks for the name servers of the root, as health probes do.
    pub fn is_probe(&self) -> bool {
        self.packet.get(12..17) == Some(&[0, 0, 2, 0, 1])
    }

    /// Returns the flags of the header.
    pub fn flags(&self) -> u16 {
        u16::from_be_bytes([self.packet[2], self.packet[3]])
    }

    /// Returns the question's type.
    pub fn qtype(&self) -> u16 {
        let end = self.question_end();
        u16::from_be_bytes([self.packet[end], self.packet[end + 1]])
    }

    /// Returns the question's class.
    pub fn qclass(&self) -> u16 {
        let end = self.question_end() + 2;
        u16::from_be_bytes([self.packet[end], self.packet[end + 1]])
    }

    /// Returns the question's name as written, without the dot at its end: `www.example`.
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

    /// Returns where the question's name ends.
    fn question_end(&self) -> usize {
        let mut at = 12;
        while self.packet[at] != 0 {
            at += usize::from(self.packet[at]) + 1;
        }
        at + 1
    }

    /// Returns the OPT record, if any: its UDP size, its flags, and the codes of its options.
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

/// Binds the same port for both.
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
    /// Records a query and does what the script says about it.
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
        // An ICMP error about an earlier reply is not a reason to stop.
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
