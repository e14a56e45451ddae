//! DNS over TLS: the same answers as over TCP, with a certificate, and limits for clients that
//! never finish a handshake.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::ServerName;
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, ClientConnection, StreamOwned};

use super::support::{Server, connect, decode, query, receive, run, send, text};
use super::support_tls::Pki;

const COREFILE: &str = "tls://.:PORT {
    bind 127.0.0.1
    tls <CERT> <KEY> <CA> {
        client_auth <AUTH>
    }
    whoami
}
";

fn pki() -> Pki {
    let pki = Pki::new();
    pki.issue("dns", &["dns.example.org"]);
    pki.issue("client", &["client.example.org"]);
    pki
}

fn corefile(pki: &Pki, auth: &str) -> String {
    let paths = [("<CERT>", "dns.pem"), ("<KEY>", "dns.key"), ("<CA>", "ca.pem")];
    let text = paths.iter().fold(COREFILE.to_owned(), |text, (word, file)| text.replacen(word, &pki.text(file), 1));
    text.replace("<AUTH>", auth)
}

type Stream = StreamOwned<ClientConnection, TcpStream>;

fn secured(server: &Server, config: ClientConfig) -> Stream {
    let name = ServerName::try_from("dns.example.org").expect("a name");
    let client = ClientConnection::new(Arc::new(config), name).expect("a client");
    StreamOwned::new(client, connect(server.address()))
}

/// Returns whether a client with these settings gets an answer.
fn answers(server: &Server, config: ClientConfig) -> bool {
    let mut stream = secured(server, config);
    let packet = query("a.example.", "A");
    let framed = [&(packet.len() as u16).to_be_bytes(), &packet[..]].concat();
    stream.write_all(&framed).is_ok() && stream.read_exact(&mut [0; 2]).is_ok()
}

#[test]
fn many_questions_in_one_write_are_answered_in_both_versions() {
    let pki = pki();
    let server = Server::start(&corefile(&pki, "nocert"), &[]);
    for version in [&TLS12, &TLS13] {
        let mut config = pki.client(None, &[version]);
        config.alpn_protocols = vec![b"dot".to_vec()];
        let mut stream = secured(&server, config);
        let packet = query("a.example.", "A");
        let frame = [&(packet.len() as u16).to_be_bytes(), &packet[..]].concat();
        stream.write_all(&frame.repeat(500)).expect("sends");
        for _ in 0..500 {
            let answer = decode(&receive(&mut stream).expect("an answer"));
            assert!(text(&answer).starts_with("NOERROR"), "{}", text(&answer));
        }
        assert_eq!(stream.conn.alpn_protocol(), Some(&b"dot"[..]));
    }
}

#[test]
fn a_session_is_taken_up_again() {
    let pki = pki();
    let server = Server::start(&corefile(&pki, "nocert"), &[]);
    let config = pki.client(None, &[&TLS13]);
    for expected in [rustls::HandshakeKind::Full, rustls::HandshakeKind::Resumed] {
        let mut stream = secured(&server, config.clone());
        send(&mut stream, &query("a.example.", "A"));
        assert!(receive(&mut stream).is_some());
        assert_eq!(stream.conn.handshake_kind(), Some(expected));
    }
}

#[test]
fn what_is_not_encrypted_is_not_answered() {
    let pki = pki();
    let server = Server::start(&corefile(&pki, "nocert"), &[]);
    let mut stream = connect(server.address());
    send(&mut stream, &query("a.example.", "A"));
    let mut octets = Vec::new();
    let _ = stream.read_to_end(&mut octets);
    // At most an alert, which says that this is not TLS.
    assert!(octets.is_empty() || octets[0] == 21, "{octets:?}");
}

#[test]
fn clients_are_asked_for_certificates_as_the_corefile_says() {
    let (pki, other) = (pki(), Pki::new());
    other.issue("client", &["client.example.org"]);
    let ours = |name| pki.client(name, &[&TLS13]);
    // Trusts us, but shows a certificate of another authority.
    let foreign = || {
        std::fs::copy(other.path("client.pem"), pki.path("foreign.pem")).expect("copied");
        std::fs::copy(other.path("client.key"), pki.path("foreign.key")).expect("copied");
        pki.client(Some("foreign"), &[&TLS13])
    };
    for (auth, [without, right, wrong]) in [
        ("nocert", [true, true, true]),
        ("request", [true, true, true]),
        ("require", [false, true, true]),
        ("verify_if_given", [true, true, false]),
        ("require_and_verify", [false, true, false]),
    ] {
        let server = Server::start(&corefile(&pki, auth), &[]);
        let seen = [answers(&server, ours(None)), answers(&server, ours(Some("client"))), answers(&server, foreign())];
        assert_eq!(seen, [without, right, wrong], "{auth}");
    }
}

#[test]
fn clients_that_never_shake_hands_keep_no_other_out_and_are_closed() {
    let pki = pki();
    let server = Server::start(&corefile(&pki, "nocert"), &[]);
    // More half-open connections than all workers allow.
    let mut silent: Vec<_> = (0..1500).map(|_| connect(server.address())).collect();
    silent[0].write_all(&[0x16, 3, 1]).expect("sends");
    assert!(answers(&server, pki.client(None, &[&TLS13])));
    for stream in &mut silent {
        stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a timeout");
        assert_eq!(stream.read(&mut [0; 64]).unwrap_or(0), 0);
    }
    assert!(answers(&server, pki.client(None, &[&TLS13])));
}

#[test]
fn blocks_on_one_port_must_agree() {
    let pki = pki();
    let other = corefile(&pki, "require").replace("tls://.", "tls://b");
    let (code, output) = run(&format!("{}{other}", corefile(&pki, "nocert").replace("tls://.", "tls://a")), &[], &[]);
    assert_eq!(code, 1);
    let expected = "conflicting TLS configuration for shared listener tls://127.0.0.1:";
    assert!(output.contains(expected) && output.contains("client authentication policies differ"), "{output}");
}
