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

#![allow(dead_code, unreachable_pub, reason = "shared by test programs of which each uses a part")]

use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

/// How long a thread waits before it looks whether the test is over.
const LOOK: Duration = Duration::from_millis(20);

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
}

/// One thing that the upstream does.
#[derive(Debug, Clone)]
pub enum Act {
    /// Sends a message: a datagram, or with its length in front.
    Send(Vec<u8>),
    /// Sends a datagram from another port; nothing over TCP.
    Elsewhere(Vec<u8>),
    /// Writes octets into the TCP stream as they are; nothing over UDP.
    Raw(Vec<u8>),
    /// Waits; other queries are answered meanwhile.
    Wait(Duration),
    /// Closes the TCP connection.
    Close,
}

type Script = dyn Fn(&Seen) -> Vec<Act> + Send + Sync;

struct Shared {
    script: Mutex<Arc<Script>>,
    seen: Mutex<Vec<Seen>>,
    connections: Mutex<usize>,
    over: AtomicBool,
}

impl Upstream {
    /// Starts an upstream.
    pub fn start(script: impl Fn(&Seen) -> Vec<Act> + Send + Sync + 'static) -> Self {
        let (udp, tcp) = bind();
        let address = udp.local_addr().expect("an address");
        let shared = Arc::new(Shared {
            script: Mutex::new(Arc::new(script)),
            seen: Mutex::default(),
            connections: Mutex::default(),
            over: AtomicBool::new(false),
        });
        let (for_udp, for_tcp) = (shared.clone(), shared.clone());
        let threads =
            vec![thread::spawn(move || serve_udp(&udp, &for_udp)), thread::spawn(move || serve_tcp(&tcp, &for_tcp))];
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
        *lock(&self.shared.connections)
    }
}

impl Drop for Upstream {
    fn drop(&mut self) {
        self.shared.over.store(true, Ordering::Relaxed);
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

fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Shared {
    fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Notes a query and says what to do about it.
    fn acts(&self, packet: &[u8], from: SocketAddr, tcp: bool) -> Vec<Act> {
        let mut all = lock(&self.seen);
        let seen = Seen { packet: packet.to_vec(), from, tcp, before: all.len() };
        all.push(seen.clone());
        drop(all);
        let script = lock(&self.script).clone();
        script(&seen)
    }
}

fn serve_udp(socket: &UdpSocket, shared: &Arc<Shared>) {
    socket.set_read_timeout(Some(LOOK)).expect("a timeout");
    let mut buffer = vec![0; 65_535];
    while !shared.is_over() {
        let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
        let acts = shared.acts(&buffer[..len], from, false);
        if acts.iter().any(|act| matches!(act, Act::Wait(_))) {
            let socket = socket.try_clone().expect("a socket");
            thread::spawn(move || act_udp(&socket, from, acts));
        } else {
            act_udp(socket, from, acts);
        }
    }
}

fn act_udp(socket: &UdpSocket, to: SocketAddr, acts: Vec<Act>) {
    for act in acts {
        match act {
            Act::Send(message) => _ = socket.send_to(&message, to),
            Act::Elsewhere(message) => {
                let other = UdpSocket::bind("127.0.0.1:0").expect("a port");
                let _ = other.send_to(&message, to);
            }
            Act::Wait(time) => thread::sleep(time),
            Act::Raw(_) | Act::Close => {}
        }
    }
}

fn serve_tcp(listener: &TcpListener, shared: &Arc<Shared>) {
    listener.set_nonblocking(true).expect("not blocking");
    while !shared.is_over() {
        let Ok((stream, from)) = listener.accept() else {
            thread::sleep(Duration::from_millis(2));
            continue;
        };
        *lock(&shared.connections) += 1;
        let shared = shared.clone();
        thread::spawn(move || serve_stream(stream, from, &shared));
    }
}

fn serve_stream(mut stream: TcpStream, from: SocketAddr, shared: &Arc<Shared>) {
    stream.set_nonblocking(false).expect("blocking");
    stream.set_read_timeout(Some(LOOK)).expect("a timeout");
    let writer = Arc::new(Mutex::new(stream.try_clone().expect("a stream")));
    let mut buffer = Vec::new();
    while !shared.is_over() {
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
            let (acts, writer) = (shared.acts(&message, from, true), writer.clone());
            thread::spawn(move || act_tcp(&writer, acts));
        }
    }
    let _ = stream.shutdown(Shutdown::Both);
}

fn act_tcp(stream: &Mutex<TcpStream>, acts: Vec<Act>) {
    for act in acts {
        match act {
            Act::Send(message) => {
                let framed = [&(message.len() as u16).to_be_bytes()[..], &message].concat();
                let _ = lock(stream).write_all(&framed);
            }
            Act::Raw(octets) => _ = lock(stream).write_all(&octets),
            Act::Wait(time) => thread::sleep(time),
            Act::Close => _ = lock(stream).shutdown(Shutdown::Both),
            Act::Elsewhere(_) => {}
        }
    }
}

//----------- Answer ---------------------------------------------------------

/// A reply to a query, put together octet by octet.
#[derive(Debug, Clone)]
pub struct Answer {
    head: Vec<u8>,
    sections: [Vec<u8>; 3],
    counts: [u16; 3],
}

impl Answer {
    /// An empty reply with RA: id, question, opcode and RD are those of the query.
    pub fn to(query: &[u8]) -> Self {
        let mut end = 12;
        while query[end] != 0 {
            end += 1 + usize::from(query[end]);
        }
        let mut head = query[..end + 5].to_vec();
        head[2] = head[2] & 0x79 | 0x80;
        head[3] = 0x80;
        head[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        Self { head, sections: Default::default(), counts: [0; 3] }
    }

    /// With another RCODE.
    pub fn rcode(mut self, rcode: u8) -> Self {
        self.head[3] = self.head[3] & 0xF0 | rcode;
        self
    }

    /// With the header flags `flags` set (TC is `0x0200`, AA `0x0400`, AD `0x0020`).
    pub fn flags(mut self, flags: u16) -> Self {
        self.head[2] |= (flags >> 8) as u8;
        self.head[3] |= flags as u8;
        self
    }

    /// With another id.
    pub fn id(mut self, id: u16) -> Self {
        self.head[..2].copy_from_slice(&id.to_be_bytes());
        self
    }

    /// The id, which is the query's unless it was changed.
    pub fn query_id(&self) -> u16 {
        u16::from_be_bytes([self.head[0], self.head[1]])
    }

    /// With an A record of the name in question.
    pub fn a(self, address: &str, ttl: u32) -> Self {
        let address: Ipv4Addr = address.parse().expect("an IPv4 address");
        self.record(0, &[0xC0, 12], (1, ttl), &address.octets())
    }

    /// With an A record of another name.
    pub fn a_of(self, name: &str, address: &str, ttl: u32) -> Self {
        let address: Ipv4Addr = address.parse().expect("an IPv4 address");
        self.record(0, &wire(name), (1, ttl), &address.octets())
    }

    /// With a CNAME record of the name in question.
    pub fn cname(self, target: &str, ttl: u32) -> Self {
        self.record(0, &[0xC0, 12], (5, ttl), &wire(target))
    }

    /// With the SOA record of `zone` in the authority section; its last field is 7.
    pub fn soa(self, zone: &str, ttl: u32) -> Self {
        let zone = wire(zone);
        let mut data = [&b"\x02ns"[..], &zone, b"\x04mail", &zone].concat();
        data.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 7]);
        self.record(1, &zone, (6, ttl), &data)
    }

    /// With an NS record of `zone` in the authority section.
    pub fn ns(self, zone: &str, ttl: u32) -> Self {
        let data = [&b"\x02ns"[..], &wire(zone)].concat();
        self.record(1, &wire(zone), (2, ttl), &data)
    }

    /// With an OPT record that holds one option.
    pub fn option(self, code: u16, data: &[u8]) -> Self {
        let option = [&code.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat();
        let mut record = vec![0, 0, 41, 0x04, 0xD0, 0, 0, 0, 0];
        record.extend_from_slice(&(option.len() as u16).to_be_bytes());
        record.extend_from_slice(&option);
        self.push(2, &record)
    }

    /// With any record: section from 0, owner in wire form, type and TTL, data.
    pub fn record(self, section: usize, owner: &[u8], (rtype, ttl): (u16, u32), data: &[u8]) -> Self {
        let mut record = owner.to_vec();
        record.extend_from_slice(&rtype.to_be_bytes());
        record.extend_from_slice(&[0, 1]);
        record.extend_from_slice(&ttl.to_be_bytes());
        record.extend_from_slice(&(data.len() as u16).to_be_bytes());
        record.extend_from_slice(data);
        self.push(section, &record)
    }

    fn push(mut self, section: usize, record: &[u8]) -> Self {
        self.sections[section].extend_from_slice(record);
        self.counts[section] += 1;
        self
    }

    /// The octets.
    pub fn message(&self) -> Vec<u8> {
        let mut message = self.head.clone();
        for (at, count) in self.counts.iter().enumerate() {
            message[6 + 2 * at..8 + 2 * at].copy_from_slice(&count.to_be_bytes());
        }
        message.extend(self.sections.concat());
        message
    }
}

/// A name in wire form.
fn wire(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire
}
