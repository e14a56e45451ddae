//! Clients that ask all the time while something happens to the server; no question may be lost.
//!
//! Each client asks after its last answer. So however busy the machine is, at most one question per
//! client waits, and none is lost for lack of room in a socket.

use std::io::ErrorKind;
use std::net::{SocketAddr, TcpStream, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::support::{PATIENCE, receive, send};

/// Clients that ask all the time, each a short while after its last answer.
pub(crate) struct Asker {
    asked: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<String>>,
    dropped_before: u64,
}

impl Asker {
    fn start(ask: impl FnOnce(&AtomicBool, &AtomicU64) -> Vec<String> + Send + 'static) -> Self {
        let (asked, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stopped) = (asked.clone(), stop.clone());
        let dropped_before = dropped();
        Self { asked, stop, dropped_before, thread: std::thread::spawn(move || ask(&stopped, &count)) }
    }

    /// Asks over UDP from `sockets` sockets, so that each worker gets some; `rate` questions a
    /// second in all.
    pub(crate) fn datagrams(server: SocketAddr, packet: &[u8], sockets: usize, rate: f64) -> Self {
        let packet = packet.to_vec();
        Self::start(move |stop, asked| {
            let mut clients: Vec<_> =
                (0..sockets).map(|_| (UdpSocket::bind("127.0.0.1:0").expect("binds"), None)).collect();
            for (socket, _) in &clients {
                socket.connect(server).and_then(|()| socket.set_nonblocking(true)).expect("connects");
            }
            let (start, mut buffer, mut lost) = (Instant::now(), [0; 4096], Vec::new());
            while !stop.load(Ordering::Relaxed) || clients.iter().any(|(_, since)| since.is_some()) {
                for (socket, since) in &mut clients {
                    match since {
                        None if stop.load(Ordering::Relaxed) => {}
                        None => {
                            let due = (start.elapsed().as_secs_f64() * rate) as u64;
                            if asked.load(Ordering::Relaxed) < due {
                                asked.fetch_add(1, Ordering::Relaxed);
                                *since = Some(Instant::now());
                                lost.extend(socket.send(&packet).err().map(|error| error.to_string()));
                            }
                        }
                        Some(then) => match socket.recv(&mut buffer) {
                            Ok(_) if buffer[3] & 15 == 0 => *since = None,
                            Err(error) if error.kind() == ErrorKind::WouldBlock && then.elapsed() < PATIENCE => {}
                            other => {
                                lost.push(format!("UDP: {other:?}, RCODE {}", buffer[3] & 15));
                                *since = None;
                            }
                        },
                    }
                }
                std::thread::sleep(Duration::from_micros(500));
            }
            lost
        })
    }

    /// Asks over TCP with a connection for each question.
    pub(crate) fn connections(server: SocketAddr, packet: &[u8]) -> Self {
        let packet = packet.to_vec();
        Self::start(move |stop, asked| {
            let mut lost = Vec::new();
            while !stop.load(Ordering::Relaxed) {
                lost.extend(
                    over(&mut TcpStream::connect(server), &packet)
                        .err()
                        .map(|error| format!("a new connection: {error}")),
                );
                asked.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
            lost
        })
    }

    /// Asks over one TCP connection.
    pub(crate) fn connection(server: SocketAddr, packet: &[u8]) -> Self {
        let packet = packet.to_vec();
        Self::start(move |stop, asked| {
            let mut stream = TcpStream::connect(server);
            while !stop.load(Ordering::Relaxed) {
                if let Err(error) = over(&mut stream, &packet) {
                    return vec![format!("the old connection: {error}")];
                }
                asked.fetch_add(1, Ordering::Relaxed);
                std::thread::sleep(Duration::from_millis(5));
            }
            Vec::new()
        })
    }

    /// Returns how many questions were asked so far.
    pub(crate) fn asked(&self) -> u64 {
        self.asked.load(Ordering::Relaxed)
    }

    /// Stops asking, whatever was lost.
    pub(crate) fn give_up(self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = self.thread.join();
    }

    /// Waits for `more` further questions.
    pub(crate) fn wait_for(&self, more: u64) {
        let (until, end) = (self.asked.load(Ordering::Relaxed) + more, Instant::now() + PATIENCE);
        while self.asked.load(Ordering::Relaxed) < until && Instant::now() < end {
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Stops asking and returns how many questions were asked. Nothing may be lost except packets
    /// that the kernel counts as dropped.
    #[track_caller]
    pub(crate) fn finish(self, what: &str) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        let lost = self.thread.join().expect("no panic");
        let dropped = dropped() - self.dropped_before;
        let (count, asked) = (lost.len(), self.asked.load(Ordering::Relaxed));
        assert!(count as u64 <= dropped, "{what}: {count} of {asked}, the kernel dropped {dropped}: {lost:?}");
        asked
    }
}

/// Returns the packets that the kernel has dropped between sockets of this machine because their
/// queues were full. On a quiet machine it drops none.
fn dropped() -> u64 {
    let text = std::fs::read_to_string("/proc/net/softnet_stat").unwrap_or_default();
    text.lines().filter_map(|cpu| u64::from_str_radix(cpu.split(' ').nth(1)?, 16).ok()).sum()
}

/// Asks once over a connection.
pub(crate) fn over(stream: &mut std::io::Result<TcpStream>, packet: &[u8]) -> Result<(), String> {
    let stream = stream.as_mut().map_err(|error| error.to_string())?;
    stream.set_read_timeout(Some(PATIENCE)).map_err(|error| error.to_string())?;
    send(stream, packet);
    let reply = receive(stream).ok_or("it was closed without an answer")?;
    if reply[3] & 15 == 0 { Ok(()) } else { Err(format!("RCODE {}", reply[3] & 15)) }
}
