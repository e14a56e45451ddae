//! Does what the script says about a query, in order and on time. Acts that wait are kept in a
//! queue with one thread, so that thousands of queries may be open at a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::{Duration, Instant};

/// One action of the upstream.
#[derive(Debug, Clone)]
pub enum Act {
    /// Sends a message: a datagram, or with its length prefix.
    Send(Vec<u8>),
    /// Sends a datagram from another port; does nothing over TCP.
    Elsewhere(Vec<u8>),
    /// Writes raw octets into the TCP stream; does nothing over UDP.
    Raw(Vec<u8>),
    /// Writes a message with its length prefix, octet by octet with a pause after each; does
    /// nothing over UDP. Nothing else is written on this connection meanwhile.
    Drip(Vec<u8>, Duration),
    /// Waits; other queries are answered meanwhile.
    Wait(Duration),
    /// Closes the TCP connection.
    Close,
    /// Closes only the upstream's side of it.
    Fin,
    /// Resets the TCP connection (RST).
    Reset,
    /// Passes the query on to another server as a datagram, and its reply back; at most 200 at a
    /// time.
    Relay(SocketAddr),
}

/// Relayed queries at a time: each has a thread, and a circular relay never ends.
const RELAYS: usize = 200;
static RELAYED: AtomicUsize = AtomicUsize::new(0);

/// How long a relayed query may take.
const RELAY: Duration = Duration::from_secs(10);

//----------- Stage ----------------------------------------------------------

/// All pending work.
#[derive(Default)]
pub(super) struct Stage {
    pub(super) over: AtomicBool,
    queue: Mutex<BinaryHeap<Reverse<Due>>>,
    changed: Condvar,
}

/// Where replies are sent.
#[derive(Clone)]
pub(super) enum Out {
    Udp(Arc<UdpSocket>, SocketAddr),
    Tcp(Arc<Mutex<TcpStream>>),
}

/// The remaining acts for one query.
pub(super) struct Job {
    pub(super) out: Out,
    pub(super) query: Vec<u8>,
    pub(super) acts: std::vec::IntoIter<Act>,
}

/// A job and when it continues.
struct Due(Instant, Job);

impl PartialEq for Due {
    fn eq(&self, other: &Self) -> bool {
        self.0 == other.0
    }
}

impl Eq for Due {}

impl PartialOrd for Due {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Due {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.cmp(&other.0)
    }
}

impl Stage {
    pub(super) fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }

    /// Performs acts up to the next wait.
    pub(super) fn go_on(&self, mut job: Job) {
        while let Some(act) = job.acts.next() {
            if let Act::Wait(time) = act {
                lock(&self.queue).push(Reverse(Due(Instant::now() + time, job)));
                return self.changed.notify_one();
            }
            job.out.act(act, &job.query);
        }
    }

    /// Continues jobs when they are due, until the upstream stops.
    pub(super) fn run(&self) {
        let mut queue = lock(&self.queue);
        while !self.is_over() {
            let now = Instant::now();
            if queue.peek().is_some_and(|Reverse(due)| due.0 <= now) {
                let job = queue.pop().map(|Reverse(due)| due.1);
                drop(queue);
                job.into_iter().for_each(|job| self.go_on(job));
                queue = lock(&self.queue);
                continue;
            }
            let rest = queue.peek().map_or(super::LOOK, |Reverse(due)| (due.0 - now).min(super::LOOK));
            queue = self.changed.wait_timeout(queue, rest).unwrap_or_else(PoisonError::into_inner).0;
        }
    }
}

//----------- Acts -----------------------------------------------------------

impl Out {
    fn act(&self, act: Act, query: &[u8]) {
        match (self, act) {
            (_, Act::Relay(server)) => {
                let (out, query) = (self.clone(), query.to_vec());
                if RELAYED.fetch_add(1, Ordering::Relaxed) < RELAYS {
                    thread::spawn(move || {
                        out.relay(server, &query);
                        RELAYED.fetch_sub(1, Ordering::Relaxed);
                    });
                } else {
                    RELAYED.fetch_sub(1, Ordering::Relaxed);
                }
            }
            (Self::Udp(socket, to), Act::Send(message)) => _ = socket.send_to(&message, to),
            (Self::Udp(_, to), Act::Elsewhere(message)) => {
                let other = UdpSocket::bind("127.0.0.1:0").expect("a port");
                let _ = other.send_to(&message, to);
            }
            (Self::Udp(..), _) => {}
            (Self::Tcp(stream), act) => act_tcp(stream, act),
        }
    }

    fn relay(&self, server: SocketAddr, query: &[u8]) {
        let Ok(socket) = UdpSocket::bind("127.0.0.1:0") else { return };
        socket.set_read_timeout(Some(RELAY)).expect("a timeout");
        let mut buffer = vec![0; 65_535];
        if socket.send_to(query, server).is_ok()
            && let Ok(len) = socket.recv(&mut buffer)
        {
            self.act(Act::Send(buffer[..len].to_vec()), query);
        }
    }
}

fn act_tcp(stream: &Arc<Mutex<TcpStream>>, act: Act) {
    match act {
        Act::Send(message) => _ = lock(stream).write_all(&framed(&message)),
        Act::Raw(octets) => _ = lock(stream).write_all(&octets),
        Act::Drip(message, pause) => {
            let stream = stream.clone();
            thread::spawn(move || {
                let mut stream = lock(&stream);
                for octet in framed(&message) {
                    if stream.write_all(&[octet]).is_err() {
                        return;
                    }
                    thread::sleep(pause);
                }
            });
        }
        Act::Close => _ = lock(stream).shutdown(Shutdown::Both),
        Act::Fin => _ = lock(stream).shutdown(Shutdown::Write),
        Act::Reset => {
            // Closed with a linger of zero, a connection ends with RST. The reader has the other
            // handle; shutting down the reading side makes it return.
            let stream = lock(stream);
            let _ = socket2::SockRef::from(&*stream).set_linger(Some(Duration::ZERO));
            let _ = stream.shutdown(Shutdown::Read);
        }
        Act::Elsewhere(_) | Act::Wait(_) | Act::Relay(_) => {}
    }
}

fn framed(message: &[u8]) -> Vec<u8> {
    [&(message.len() as u16).to_be_bytes()[..], message].concat()
}

pub(super) fn lock<T: ?Sized>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
