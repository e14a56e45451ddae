//! Socket calls against the kernel.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::os::fd::AsFd;

use super::sys::{Inbox, Transmit, send, want_local_address, want_losses};

#[test]
fn what_the_kernel_drops_is_counted_once() {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
    socket2::SockRef::from(&socket).set_recv_buffer_size(4096).expect("an option");
    want_losses(socket.as_fd()).expect("an option");
    let client = UdpSocket::bind("127.0.0.1:0").expect("bound");
    client.connect(socket.local_addr().expect("bound")).expect("connects");
    let mut inbox = Inbox::default();
    let mut read = || {
        let mut all = 0;
        while let Ok(count) = inbox.receive(socket.as_fd()) {
            all += count as u32;
        }
        (all, inbox.take_dropped())
    };
    for _ in 0..2 {
        (0..100).for_each(|_| _ = client.send(b"question"));
        let (received, _) = read();
        // The next one that arrives says how many were dropped before it.
        client.send(b"question").expect("sends");
        assert!(received < 100 && read() == (1, 100 - received));
    }
    client.send(b"question").expect("sends");
    assert_eq!(read(), (1, 0));
}

#[test]
fn a_reply_leaves_from_the_address_that_was_asked() {
    let server = socket2::Socket::new(socket2::Domain::IPV6, socket2::Type::DGRAM, None).expect("a socket");
    server.set_only_v6(false).expect("dual stack");
    let any: SocketAddr = "[::]:0".parse().expect("an address");
    if server.bind(&any.into()).is_err() {
        return; // no IPv6 here
    }
    want_local_address(server.as_fd(), true).expect("packet info");
    let port = server.local_addr().expect("bound").as_socket().expect("an IP address").port();
    for address in ["127.0.0.1", "127.0.0.7", "::1"] {
        let bind = if address.contains(':') { "[::1]:0" } else { "127.0.0.1:0" };
        let Ok(client) = UdpSocket::bind(bind) else { continue };
        let asked: IpAddr = address.parse().expect("an address");
        // A connected socket receives datagrams from its peer's address only.
        client.connect((asked, port)).expect("connects");
        client.send(b"question").expect("sends");
        client.set_read_timeout(Some(std::time::Duration::from_secs(5))).expect("a timeout");
        let mut inbox = Inbox::default();
        while inbox.receive(server.as_fd()).is_err() {}
        let got = inbox.get(0).expect("a datagram");
        assert_eq!(got.bytes, b"question");
        let reply = Transmit { bytes: b"answer", peer: got.peer, source: got.local };
        assert_eq!(send(server.as_fd(), &[reply]).expect("sent"), 1);
        let mut buffer = [0; 16];
        assert_eq!(client.recv(&mut buffer).expect("a reply"), 6);
    }
}
