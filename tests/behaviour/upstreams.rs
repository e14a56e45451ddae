//! Upstreams that fail and recover: a line for each change, not for each query.

use std::net::UdpSocket;
use std::time::Duration;

use super::support::{Server, exchange, free_port, query};

/// Answers every query with its question and NOERROR.
fn answer(socket: &UdpSocket) {
    let mut packet = [0; 512];
    while let Ok((len, peer)) = socket.recv_from(&mut packet) {
        packet[2] |= 0x80;
        let _ = socket.send_to(&packet[..len], peer);
    }
}

#[test]
fn an_upstream_that_is_down_is_told_once_and_so_is_its_return() {
    let port = free_port();
    let corefile = format!(
        ".:PORT {{\n bind 127.0.0.1\n forward . 127.0.0.1:{port} {{\n health_check 50ms\n max_fails 1\n }}\n}}\n"
    );
    let server = Server::start(&corefile, &[]);
    let ask = || _ = exchange(server.address(), &query("example.org.", "A"));
    ask();
    let down = format!("upstream 127.0.0.1:{port} is down, it failed 2 probes: ");
    server.wait_for(&down);
    for _ in 0..20 {
        ask();
    }
    let socket = UdpSocket::bind(("127.0.0.1", port)).expect("the port");
    socket.set_read_timeout(Some(Duration::from_secs(10))).expect("a timeout");
    let upstream = std::thread::spawn(move || answer(&socket));
    server.wait_for(&format!("upstream 127.0.0.1:{port} answers again, after "));
    assert_eq!(server.output().matches(&down).count(), 1, "{}", server.output());
    drop(server);
    drop(upstream);
}
