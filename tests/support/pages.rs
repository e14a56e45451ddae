//! Clients of `/health`, `/ready` and `/metrics`: one that behaves, and crowds that do not.

#![allow(dead_code, unreachable_pub, reason = "shared by test binaries, each of which uses a part of it")]

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use socket2::{Domain, Socket, Type};

//----------- Asking ---------------------------------------------------------

/// Returns the status and the body of a page, or what went wrong within `patience`.
pub fn get(address: SocketAddr, path: &str, patience: Duration) -> Result<(u16, String), String> {
    let error = |error: std::io::Error| error.to_string();
    let mut stream = TcpStream::connect_timeout(&address, patience).map_err(error)?;
    stream.set_read_timeout(Some(patience)).map_err(error)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(error)?;
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).map_err(error)?;
    parsed(&reply).ok_or_else(|| format!("no reply: {reply:?}"))
}

/// Asks on a connection that stays open. Returns the status, or `None` if the connection has ended.
pub fn ask(stream: &mut TcpStream, path: &str) -> Option<u16> {
    stream.write_all(format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").as_bytes()).ok()?;
    let mut reply = Vec::new();
    while !reply.ends_with(b"\r\n\r\n") {
        let mut octet = [0];
        stream.read_exact(&mut octet).ok()?;
        reply.push(octet[0]);
    }
    let head = String::from_utf8_lossy(&reply).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: ")?.parse().ok())?;
    stream.read_exact(&mut vec![0; length]).ok()?;
    parsed(&reply).map(|(status, _)| status)
}

fn parsed(reply: &[u8]) -> Option<(u16, String)> {
    let reply = String::from_utf8_lossy(reply);
    let (head, body) = reply.split_once("\r\n\r\n")?;
    Some((head.split(' ').nth(1)?.parse().ok()?, body.to_owned()))
}

//----------- Crowds ---------------------------------------------------------

/// What the clients of a crowd do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Habit {
    /// Send one request after another and read nothing.
    Pipelines,
    /// Send an octet of a header every half second.
    Drips,
    /// Send nothing.
    Silent,
    /// Send half a request.
    HalfRequest,
    /// Send a header without end.
    LongHeader,
    /// Send a body without end.
    Body,
    /// Send many requests, and read an octet of the replies every half second.
    ReadsSlowly,
    /// Send half a request, close, and come again.
    Reconnects,
    /// Ask once, read the reply, and keep the connection open.
    Idles,
}

/// All of them.
pub const HABITS: [Habit; 9] = [
    Habit::Pipelines,
    Habit::Drips,
    Habit::Silent,
    Habit::HalfRequest,
    Habit::LongHeader,
    Habit::Body,
    Habit::ReadsSlowly,
    Habit::Reconnects,
    Habit::Idles,
];

/// Interval between two actions of a client.
const TICK: Duration = Duration::from_millis(500);

/// Many clients of one habit, which connect again when their connections end. They stop when this
/// is dropped.
pub struct Crowd {
    stop: Arc<AtomicBool>,
    rounds: Arc<AtomicUsize>,
    thread: Option<JoinHandle<()>>,
    /// Connections that could be opened: the limit of open files may be lower.
    pub count: usize,
}

struct Client {
    address: SocketAddr,
    source: Ipv4Addr,
    habit: Habit,
    stream: Option<TcpStream>,
    request: Vec<u8>,
}

impl Crowd {
    /// Connects `count` clients of this habit from `source`, distributed over the pages.
    pub fn gather(habit: Habit, count: usize, pages: &[(SocketAddr, &str)], source: Ipv4Addr) -> Self {
        let client = |(address, path): (SocketAddr, &str)| {
            let request = match habit {
                Habit::Pipelines | Habit::ReadsSlowly => format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n").repeat(50),
                Habit::Idles => format!("GET {path} HTTP/1.1\r\nHost: x\r\n\r\n"),
                Habit::Body => format!("POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000000\r\n\r\n"),
                Habit::Silent => String::new(),
                Habit::Drips | Habit::HalfRequest | Habit::LongHeader | Habit::Reconnects => {
                    format!("GET {path} HTTP/1.1\r\nHost: x\r\nX: ")
                }
            };
            Client { address, source, habit, stream: None, request: request.into_bytes() }
        };
        let mut clients: Vec<Client> = pages.iter().copied().cycle().take(count).map(client).collect();
        clients.iter_mut().for_each(Client::enter);
        let count = clients.iter().filter(|client| client.stream.is_some()).count();
        let (stop, rounds) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
        let (stopped, done) = (stop.clone(), rounds.clone());
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                clients.iter_mut().for_each(Client::go_on);
                done.fetch_add(1, Ordering::Release);
                // In steps, so that a test need not wait for its end.
                for _ in 0..if habit == Habit::Reconnects { 1 } else { 25 } {
                    std::thread::park_timeout(TICK / 25);
                }
            }
        });
        Self { stop, rounds, thread: Some(thread), count }
    }

    /// Waits until every client has acted once more.
    pub fn wait(&self) {
        let rounds = self.rounds.load(Ordering::Acquire);
        while self.rounds.load(Ordering::Acquire) < rounds + 2 && self.thread.as_ref().is_some_and(|t| !t.is_finished())
        {
            self.thread.iter().for_each(|thread| thread.thread().unpark());
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            while !thread.is_finished() {
                thread.thread().unpark();
                std::thread::sleep(Duration::from_millis(1));
            }
            let _ = thread.join();
        }
    }
}

impl Client {
    /// Connects without waiting for it. Does nothing if no file or port is left.
    fn enter(&mut self) {
        let connect = || {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None)?;
            socket.set_nonblocking(true)?;
            if self.habit != Habit::Idles {
                socket.set_recv_buffer_size(2_048)?;
            }
            socket.bind(&SocketAddr::new(IpAddr::V4(self.source), 0).into())?;
            match socket.connect(&self.address.into()) {
                Err(error) if error.raw_os_error() != Some(libc::EINPROGRESS) => Err(error),
                _ => Ok(TcpStream::from(socket)),
            }
        };
        self.stream = connect().ok();
        let request = self.request.clone();
        self.say(&request);
    }

    /// Sends as much as there is room for; drops a connection that has ended.
    fn say(&mut self, octets: &[u8]) {
        let written = self.stream.as_mut().map(|stream| stream.write(octets));
        if matches!(written, Some(Err(error)) if error.kind() != ErrorKind::WouldBlock) {
            self.stream = None;
        }
    }

    /// Reads at most `octets` octets.
    fn hear(&mut self, octets: usize) {
        let read = self.stream.as_mut().map(|stream| stream.read(&mut vec![0; octets]));
        match read {
            Some(Ok(0)) => self.stream = None,
            Some(Err(error)) if error.kind() != ErrorKind::WouldBlock => self.stream = None,
            _ => {}
        }
    }

    fn go_on(&mut self) {
        match self.habit {
            _ if self.stream.is_none() => self.enter(),
            Habit::Pipelines => {
                let request = self.request.clone();
                self.say(&request);
            }
            Habit::ReadsSlowly => {
                let request = self.request.clone();
                self.say(&request);
                self.hear(1);
            }
            Habit::Drips => self.say(b"x"),
            Habit::LongHeader | Habit::Body => self.say(&[b'x'; 64 << 10]),
            Habit::Reconnects => self.enter(),
            Habit::Silent | Habit::HalfRequest | Habit::Idles => self.hear(64 << 10),
        }
    }
}
