//! SIGTERM: what was asked is answered.

use std::net::{SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::support::{Server, query};

/// One question asked again and again at a steady rate, every answer awaited.
pub(crate) struct Load {
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    asker: JoinHandle<(u64, u64, u64)>,
}

impl Load {
    /// Asks `rate` times a second.
    pub(crate) fn start(server: SocketAddr, packet: &[u8], rate: u32) -> Self {
        let (sent, stop) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicBool::new(false)));
        let (count, stopped, packet) = (sent.clone(), stop.clone(), packet.to_vec());
        Self { sent, stop, asker: std::thread::spawn(move || ask(server, packet, rate, (&count, &stopped))) }
    }

    /// How many were asked so far.
    pub(crate) fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }

    /// Stops asking and waits for late answers: how many were asked, lost, and answered with an error.
    pub(crate) fn finish(self) -> (u64, u64, u64) {
        self.stop.store(true, Ordering::Relaxed);
        self.asker.join().expect("no panic")
    }
}

fn ask(
    server: SocketAddr,
    mut packet: Vec<u8>,
    rate: u32,
    (count, stop): (&AtomicU64, &AtomicBool),
) -> (u64, u64, u64) {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(server).expect("connects");
    socket.set_nonblocking(true).expect("an option");
    let (start, mut sent, mut answered, mut failed) = (Instant::now(), 0, 0, 0);
    let mut buffer = [0; 4096];
    let mut drain = |answered: &mut u64, failed: &mut u64| {
        while let Ok(len) = socket.recv(&mut buffer) {
            *answered += 1;
            *failed += u64::from(len < 12 || buffer[3] & 0xF != 0);
        }
    };
    while !stop.load(Ordering::Relaxed) {
        let due = (start.elapsed().as_secs_f64() * f64::from(rate)) as u64;
        while sent < due {
            packet[..2].copy_from_slice(&(sent as u16).to_be_bytes());
            if socket.send(&packet).is_ok() {
                sent += 1;
            }
        }
        count.store(sent, Ordering::Relaxed);
        drain(&mut answered, &mut failed);
        std::thread::sleep(Duration::from_millis(1));
    }
    let end = Instant::now() + Duration::from_secs(3);
    while answered < sent && Instant::now() < end {
        drain(&mut answered, &mut failed);
        std::thread::sleep(Duration::from_millis(1));
    }
    (sent, sent - answered, failed)
}

const COREFILE: &str = ".:PORT {
    bind 127.0.0.1
    health 127.0.0.1:0 {
        lameduck 1s
    }
    whoami
}
";

#[test]
fn sigterm_under_load_loses_nothing() {
    let mut server = Server::start(COREFILE, &[]);
    let load = Load::start(server.address(), &query("a.example.", "A"), 5_000);
    std::thread::sleep(Duration::from_millis(300));
    server.signal("TERM");
    server.wait_for("lameduck");
    // It serves on; what is asked in this time is answered.
    std::thread::sleep(Duration::from_millis(500));
    let (sent, lost, failed) = load.finish();
    assert_eq!((lost, failed), (0, 0), "of {sent}");
    assert_eq!(server.wait().code(), Some(0), "{}", server.output());
}

/// Until kube-proxy and conntrack have forgotten this pod, clients are sent here, however short the lameduck time is.
#[test]
fn who_still_asks_after_lameduck_is_answered_but_not_for_ever() {
    let mut server = Server::start(COREFILE, &[]);
    let load = Load::start(server.address(), &query("a.example.", "A"), 1_000);
    server.signal("TERM");
    server.wait_for("lameduck");
    let before = load.sent();
    std::thread::sleep(Duration::from_millis(2_500));
    let (sent, lost, failed) = load.finish();
    assert!(sent > before);
    assert_eq!((lost, failed), (0, 0), "of {sent}");
    assert_eq!(server.wait().code(), Some(0), "{}", server.output());

    let mut server = Server::start(COREFILE, &[]);
    let load = Load::start(server.address(), &query("a.example.", "A"), 1_000);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.output());
    load.finish();
}

#[test]
fn without_lameduck_what_has_arrived_is_answered() {
    let mut server = Server::start(".:PORT {\n    bind 127.0.0.1\n    whoami\n}\n", &[]);
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(server.address()).expect("connects");
    socket.set_read_timeout(Some(Duration::from_secs(2))).expect("a timeout");
    let packet = query("a.example.", "A");
    (0..200).for_each(|_| assert!(socket.send(&packet).is_ok()));
    server.signal("TERM");
    let mut buffer = [0; 4096];
    let answered = (0..200).filter(|_| socket.recv(&mut buffer).is_ok()).count();
    assert_eq!(answered, 200);
    assert_eq!(server.wait().code(), Some(0));
}

#[test]
fn hangup_is_ignored_and_a_second_interrupt_is_final() {
    let mut server = Server::start(COREFILE, &[]);
    server.signal("HUP");
    server.ask("a.example.", "A");
    server.signal("INT");
    server.wait_for("SIGINT");
    server.signal("INT");
    assert_eq!(server.wait().code(), Some(2));
}
