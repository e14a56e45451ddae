//! SIGTERM: received queries are answered.

use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use super::asker::Asker;
use super::support::{Server, query};

/// Starts 64 clients that ask `rate` questions a second in all.
pub(crate) fn load(server: SocketAddr, packet: &[u8], rate: f64) -> Asker {
    Asker::datagrams(server, packet, 64, rate)
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
    let asker = load(server.address(), &query("a.example.", "A"), 5_000.0);
    std::thread::sleep(Duration::from_millis(300));
    server.signal("TERM");
    server.wait_for("lameduck");
    // It serves on; queries in this time are answered.
    std::thread::sleep(Duration::from_millis(500));
    asker.finish("after SIGTERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.output());
}

/// Until kube-proxy and conntrack have forgotten this pod, they send queries here, however short
/// the lameduck time is.
#[test]
fn queries_after_lameduck_are_answered_for_a_limited_time() {
    let mut server = Server::start(COREFILE, &[]);
    let asker = load(server.address(), &query("a.example.", "A"), 1_000.0);
    server.signal("TERM");
    server.wait_for("lameduck");
    let before = asker.asked();
    std::thread::sleep(Duration::from_millis(2_500));
    assert!(asker.asked() > before);
    asker.finish("after the lameduck time");
    assert_eq!(server.wait().code(), Some(0), "{}", server.output());

    let mut server = Server::start(COREFILE, &[]);
    let asker = load(server.address(), &query("a.example.", "A"), 1_000.0);
    server.signal("TERM");
    assert_eq!(server.wait().code(), Some(0), "{}", server.output());
    asker.give_up();
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
