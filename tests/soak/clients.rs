//! Clients of all kinds, each a thread, and what they count.

use std::fmt;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::Scope;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConnection, StreamOwned};

use crate::bed::{Bed, CHANGING, PROMISED, promised};
use crate::crowds::{Crowd, HABITS, get};
use crate::support::{query, receive, send};

/// Threads that ask for names outside of the cluster: while upstreams are silent, each waits.
const OUTSIDE: usize = 8;

/// Time between two questions of a client.
const PAUSE: Duration = Duration::from_millis(3);

/// How long a client waits for a reply before it asks again, and how often it asks.
const TRY: (Duration, usize) = (Duration::from_secs(5), 3);

/// What all clients count.
#[derive(Default)]
pub(crate) struct Counts {
    right: AtomicU64,
    wrong: AtomicU64,
    /// No reply at all, however often the client asked.
    lost: AtomicU64,
    outside: AtomicU64,
    failed: AtomicU64,
    streams: AtomicU64,
    pages: AtomicU64,
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let of = |count: &AtomicU64| count.load(Ordering::Relaxed);
        write!(f, "{} right, {} wrong, {} lost; ", of(&self.right), of(&self.wrong), of(&self.lost))?;
        write!(f, "{} outside, {} of them SERVFAIL; ", of(&self.outside), of(&self.failed))?;
        write!(f, "{} over streams, {} pages", of(&self.streams), of(&self.pages))
    }
}

impl Counts {
    /// Every promised name was answered, and rightly.
    pub(crate) fn check(&self) {
        assert_eq!((self.wrong.load(Ordering::Relaxed), self.lost.load(Ordering::Relaxed)), (0, 0), "{self}");
        for count in [&self.right, &self.outside, &self.streams, &self.pages] {
            assert!(count.load(Ordering::Relaxed) > 0, "some client did nothing: {self}");
        }
    }
}

/// Starts all clients; they end when the run is over.
pub(crate) fn start<'s>(scope: &'s Scope<'s, '_>, bed: &'s Bed, counts: &'s Counts, over: &'s AtomicBool) {
    let run = |pause: Duration, mut once: Box<dyn FnMut() + Send + 's>| {
        scope.spawn(move || {
            while !over.load(Ordering::Relaxed) {
                once();
                std::thread::sleep(pause);
            }
        });
    };
    run(PAUSE, Box::new(|| ask_promised(bed, counts)));
    run(PAUSE, Box::new(|| _ = ask(bed, &changing())));
    for _ in 0..OUTSIDE {
        run(PAUSE, Box::new(|| ask_outside(bed, counts)));
    }
    run(PAUSE, Box::new(|| ask_stream(bed, counts)));
    run(PAUSE * 10, Box::new(|| ask_secure(bed, counts)));
    run(PAUSE * 10, Box::new(|| ask_and_leave(bed)));
    run(PAUSE, Box::new(|| send_garbage(bed)));
    let scrape = || {
        let (address, path) = bed.pages[fastrand::usize(..bed.pages.len())];
        counts.pages.fetch_add(get(address, path, TRY.0).is_ok().into(), Ordering::Relaxed);
    };
    run(PAUSE * 100, Box::new(scrape));
    let crowds = HABITS.map(|habit| Crowd::gather(habit, 4, &bed.pages, Ipv4Addr::LOCALHOST));
    // They stay until the run is over.
    run(PAUSE * 100, Box::new(move || _ = &crowds));
}

/// Asks over UDP until there is a reply, as often as clients do.
fn ask(bed: &Bed, packet: &[u8]) -> Option<Vec<u8>> {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(bed.server.address()).expect("connects");
    socket.set_read_timeout(Some(TRY.0)).expect("a timeout");
    let mut buffer = vec![0; 4096];
    (0..TRY.1).find_map(|_| {
        socket.send(packet).ok()?;
        let len = socket.recv(&mut buffer).ok()?;
        Some(buffer[..len].to_vec())
    })
}

fn name(n: u8) -> Vec<u8> {
    query(&format!("promised-{n}.default.svc.cluster.local."), "A")
}

fn changing() -> Vec<u8> {
    query(&format!("changing-{}.default.svc.cluster.local.", fastrand::u8(..CHANGING)), "A")
}

/// Counts the reply to a promised name.
fn judge(counts: &Counts, n: u8, reply: Option<Vec<u8>>) {
    let address = promised(n).octets();
    let count = match reply {
        None => &counts.lost,
        Some(ref reply) if reply[3] & 0xF == 0 && reply.windows(4).any(|octets| octets == address) => &counts.right,
        Some(reply) => {
            println!("promised-{n}: {}", crate::support::text(&crate::support::decode(&reply)));
            &counts.wrong
        }
    };
    count.fetch_add(1, Ordering::Relaxed);
}

fn ask_promised(bed: &Bed, counts: &Counts) {
    let n = fastrand::u8(..PROMISED);
    judge(counts, n, ask(bed, &name(n)));
}

/// Popular names, and new ones.
fn ask_outside(bed: &Bed, counts: &Counts) {
    let n = if fastrand::bool() { fastrand::u32(..500) } else { fastrand::u32(..) };
    match ask(bed, &query(&format!("n{n}.example.org."), "A")) {
        Some(reply) => {
            counts.outside.fetch_add(1, Ordering::Relaxed);
            counts.failed.fetch_add((reply[3] & 0xF == 2).into(), Ordering::Relaxed);
        }
        None => _ = counts.lost.fetch_add(1, Ordering::Relaxed),
    }
}

/// Five questions in one write. Their answers may come in any order (RFC 7766 section 7).
fn converse(counts: &Counts, stream: &mut (impl Read + Write)) {
    let mut names: Vec<(u8, Vec<u8>)> = Vec::new();
    for id in 0..5 {
        let n = fastrand::u8(..PROMISED);
        let mut packet = name(n);
        packet[..2].copy_from_slice(&[0, id]);
        names.push((n, packet));
    }
    let mut all = Vec::new();
    names.iter().for_each(|(_, packet)| send(&mut all, packet));
    if stream.write_all(&all).is_err() {
        return;
    }
    for _ in 0..names.len() {
        // A connection may be closed for others: the client asks again.
        let Some(reply) = receive(stream) else { return };
        let (n, _) = names[usize::from(reply[1]) % names.len()];
        judge(counts, n, Some(reply));
        counts.streams.fetch_add(1, Ordering::Relaxed);
    }
}

fn connect(bed: &Bed, secure: bool) -> Option<TcpStream> {
    let address = if secure { bed.secure } else { bed.server.address() };
    let stream = TcpStream::connect_timeout(&address, TRY.0).ok()?;
    stream.set_read_timeout(Some(TRY.0)).ok()?;
    Some(stream)
}

fn ask_stream(bed: &Bed, counts: &Counts) {
    if let Some(mut stream) = connect(bed, false) {
        converse(counts, &mut stream);
    }
}

fn ask_secure(bed: &Bed, counts: &Counts) {
    let name = ServerName::try_from("dns.example.org").expect("a name");
    let client = ClientConnection::new(Arc::new(bed.pki.client(None, &[&TLS13])), name).expect("a client");
    if let Some(stream) = connect(bed, true) {
        converse(counts, &mut StreamOwned::new(client, stream));
    }
}

/// Asks a lot, and leaves without reading.
fn ask_and_leave(bed: &Bed) {
    if let Some(mut stream) = connect(bed, false) {
        let mut all = Vec::new();
        (0..200).for_each(|_| send(&mut all, &changing()));
        let _ = stream.write_all(&all[..fastrand::usize(..all.len())]);
    }
}

/// Octets that are no message, over UDP and TCP.
fn send_garbage(bed: &Bed) {
    let mut octets = name(0);
    for _ in 0..fastrand::usize(1..8) {
        let at = fastrand::usize(..octets.len());
        octets[at] = fastrand::u8(..);
    }
    octets.truncate(fastrand::usize(..octets.len()));
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    let _ = socket.send_to(&octets, bed.server.address());
    if fastrand::u8(..10) == 0
        && let Some(mut stream) = connect(bed, fastrand::bool())
    {
        let _ = stream.write_all(&octets);
    }
}
