//! The PROXY protocol: the client is the one that a header names, over datagrams and connections,
//! in Signpost as in a real CoreDNS.

use std::io::Write;
use std::net::{Shutdown, SocketAddr, TcpStream, UdpSocket};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::version::TLS13;
use rustls::{ClientConnection, StreamOwned};

use super::support::{PATIENCE, SIGNPOST, Server, connect, coredns, decode, free_port, query, receive, send};
use super::support_pages::get;
use super::support_tls::Pki;

// CoreDNS reads the headers of a block's first listener only.
const COREFILE: &str = ".:PORT {
    bind 127.0.0.1
    proxyproto {
        <OPTIONS>
    }
    whoami
}
tls://.:<TLS> {
    bind 127.0.0.1
    tls <CERT> <KEY>
    proxyproto {
        <OPTIONS>
    }
    whoami
}
";

/// How often CoreDNS is asked, whose replies to two datagrams may come in any order.
const TRIES: usize = 20;

const V2: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2 from 192.0.2.7, port 4000, with more behind its addresses.
fn v2(command: u8, family: u8, more: &[u8]) -> Vec<u8> {
    let addresses = [192, 0, 2, 7, 198, 51, 100, 1, 0x0F, 0xA0, 0, 53];
    let len = (addresses.len() + more.len()) as u16;
    [V2, &[command, family], &len.to_be_bytes(), &addresses, more].concat()
}

/// Returns the client's address in a reply of *whoami*.
fn client(reply: &[u8]) -> String {
    decode(reply)
        .additionals
        .iter()
        .find(|record| record.record_type().to_string() == "A")
        .map_or_else(|| "no address".to_owned(), |record| record.data.to_string())
}

/// Sends datagrams, each with two queries behind it, one after the other, whose replies show that
/// the server is done with it.
fn over_udp(server: SocketAddr, datagrams: &[Vec<u8>]) -> Vec<String> {
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    let mut buffer = [0; 2048];
    let mut ask = |datagram: &Vec<u8>| {
        socket.send_to(datagram, server).expect("sends");
        let mut got = "silence".to_owned();
        for id in [b"p1", b"p2"] {
            let mut probe = query("probe.example.", "A");
            probe[..2].copy_from_slice(id);
            socket.send_to(&probe, server).expect("sends");
            loop {
                let len = socket.recv(&mut buffer).expect("a reply");
                if &buffer[..2] == id {
                    break;
                }
                got = client(&buffer[..len]);
            }
        }
        got
    };
    datagrams.iter().map(&mut ask).collect()
}

/// Sends a header, in pieces, and a query; returns the client's address.
fn over_tcp(server: SocketAddr, header: &[&[u8]]) -> String {
    let mut stream = connect(server);
    for piece in header {
        stream.write_all(piece).expect("sends");
    }
    let mut message = Vec::new();
    send(&mut message, &query("a.example.", "A"));
    let _ = stream.write_all(&message);
    // What takes the header for a message does not wait for its end.
    let _ = stream.shutdown(Shutdown::Write);
    receive(&mut stream).map_or_else(|| "closed".to_owned(), |reply| client(&reply))
}

fn over_tls(server: SocketAddr, pki: &Pki, header: &[u8]) -> String {
    let mut stream: TcpStream = connect(server);
    stream.write_all(header).expect("sends");
    let name = ServerName::try_from("dns.example.org").expect("a name");
    let config = pki.client(None, &[&TLS13]);
    let mut stream = StreamOwned::new(ClientConnection::new(Arc::new(config), name).expect("a client"), stream);
    let mut message = Vec::new();
    send(&mut message, &query("a.example.", "A"));
    match stream.write_all(&message) {
        Ok(()) => receive(&mut stream).map_or_else(|| "closed".to_owned(), |reply| client(&reply)),
        Err(_) => "closed".to_owned(),
    }
}

/// Asks one program in all ways.
fn answers(program: &Path, pki: &Pki, options: &str) -> Vec<(String, String)> {
    let tls = free_port();
    let words = [
        ("<TLS>", tls.to_string()),
        ("<CERT>", pki.text("dns.pem")),
        ("<KEY>", pki.text("dns.key")),
        ("<OPTIONS>", options.to_owned()),
    ];
    let corefile = words.iter().fold(COREFILE.to_owned(), |text, (word, with)| text.replace(word, with));
    let server = Server::start_program(program, &corefile, &[]);
    let (at, plain) = (server.address(), query("a.example.", "A"));
    let (tcp, udp, local) = (v2(0x21, 0x11, b""), v2(0x21, 0x12, b"\xEA\0\x03abc"), v2(0x20, 0x11, b""));
    let line = b"PROXY TCP4 192.0.2.7 198.51.100.1 4000 53\r\n";
    let mut all = Vec::new();
    for (what, datagrams) in [
        ("no header", vec![plain.clone()]),
        ("a header of version 2", vec![[&udp[..], &plain].concat(), plain.clone()]),
        ("a header alone", vec![udp.clone(), plain.clone()]),
        ("version 1", vec![[&line[..], &plain].concat()]),
        ("of a stream", vec![[&tcp[..], &plain].concat()]),
        ("cut", vec![udp[..20].to_vec()]),
    ] {
        all.push((format!("UDP: {what}"), over_udp(at, &datagrams).join(", ")));
    }
    for (what, header) in [
        ("no header", vec![]),
        ("version 1", vec![&line[..]]),
        ("UNKNOWN", vec![&b"PROXY UNKNOWN\r\n"[..]]),
        ("version 2", vec![&tcp[..]]),
        ("of a datagram", vec![&udp[..]]),
        ("LOCAL", vec![&local[..]]),
        ("malformed", vec![&b"PROXY TCP4 192.0.2.7\r\n"[..]]),
    ] {
        all.push((format!("TCP: {what}"), over_tcp(at, &header)));
    }
    let tls = SocketAddr::new(at.ip(), tls);
    all.push(("TLS: version 2".to_owned(), over_tls(tls, pki, &tcp)));
    all.push(("TLS: no header".to_owned(), over_tls(tls, pki, b"")));
    all
}

#[test]
fn a_header_names_the_client() {
    let pki = Pki::new();
    pki.issue("dns", &["dns.example.org"]);
    const HERE: &str = "127.0.0.1";
    for options in [
        "",
        "allow 127.0.0.0/8",
        "allow 127.0.0.0/8\n udp_session_tracking 28s",
        "allow 192.0.2.0/24",
        "allow 192.0.2.0/24\n default use",
        "allow 192.0.2.0/24\n default reject",
        "allow 192.0.2.0/24\n default skip",
        "default ignore",
    ] {
        let ours = answers(Path::new(SIGNPOST), &pki, options);
        let named = ours.iter().any(|(_, client)| client == "192.0.2.7");
        assert_eq!(named, options.is_empty() || options.contains("127") || options.contains("use"), "{ours:?}");
        assert_eq!(ours[0].1, HERE, "{options}");
        if coredns().exists() {
            let mut theirs = Vec::new();
            let is_same = (0..TRIES).any(|_| {
                theirs = answers(&coredns(), &pki, options);
                theirs == ours
            });
            assert!(is_same, "{options}: {ours:?}, CoreDNS: {theirs:?}");
        }
    }
}

#[test]
fn what_else_a_header_says_is_metadata() {
    let corefile = ".:PORT {\n bind 127.0.0.1\n metadata\n log . \"{remote} {/proxyproto/tlv} {name}\"\n proxyproto {\n  \
                    allow 127.0.0.1/32\n  tlv_metadata\n }\n whoami\n}\n";
    let values = b"\xEA\0\x03abc";
    for program in [Path::new(SIGNPOST).to_owned(), coredns()].iter().filter(|program| program.exists()) {
        let server = Server::start_program(program, corefile, &[]);
        assert_eq!(over_tcp(server.address(), &[&v2(0x21, 0x11, values)]), "192.0.2.7");
        server.wait_for("192.0.2.7 ea0003616263 a.example.");
        let datagram = [&v2(0x21, 0x12, values)[..], &query("b.example.", "A")].concat();
        assert_eq!(over_udp(server.address(), &[datagram]), ["192.0.2.7"]);
        server.wait_for("192.0.2.7 ea0003616263 b.example.");
        server.wait_for("127.0.0.1 - probe.example.");
        assert_eq!(over_tcp(server.address(), &[&v2(0x21, 0x11, b"")]), "192.0.2.7");
        server.wait_for("192.0.2.7 - a.example.");
    }
}

#[test]
fn a_header_that_comes_in_pieces_is_waited_for_and_counted() {
    let pki = Pki::new();
    pki.issue("dns", &["dns.example.org"]);
    let pages = free_port();
    let corefile = format!(
        ".:PORT {{\n bind 127.0.0.1\n proxyproto {{\n  allow 127.0.0.1/32\n }}\n prometheus 127.0.0.1:{pages}\n whoami\n}}\n"
    );
    let server = Server::start(&corefile, &[]);
    let header = v2(0x21, 0x11, &[0; 4084]);
    let mut stream = connect(server.address());
    for piece in [&header[..3], &header[3..20], &header[20..]] {
        stream.write_all(piece).expect("sends");
        std::thread::sleep(Duration::from_millis(20));
    }
    send(&mut stream, &query("a.example.", "A"));
    assert_eq!(client(&receive(&mut stream).expect("a reply")), "192.0.2.7");
    assert_eq!(over_tcp(server.address(), &[&v2(0x21, 0x11, &[0; 4085])]), "closed");
    let pages = SocketAddr::new(server.address().ip(), pages);
    let (_, page) = get(pages, "/metrics", PATIENCE).expect("a page");
    for (result, count) in [("used", 1), ("malformed", 1), ("ignored", 0), ("rejected", 0)] {
        let line = format!("signpost_proxy_headers_total{{result=\"{result}\"}} {count}");
        assert!(page.contains(&line), "{line}:\n{page}");
    }
}
