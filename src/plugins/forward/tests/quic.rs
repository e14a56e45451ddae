//! Upstreams over QUIC, against a server that looks at every stream.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use quinn::crypto::rustls::{HandshakeData, QuicServerConfig};
use quinn::{ConnectionError, Endpoint, RecvStream, SendStream, VarInt};
use rustls::ServerConfig;
use rustls::server::{ServerSessionMemoryCache, StoresServerSessions};

use crate::testing::live::Live;
use crate::testing::packet;
use crate::testing::tls::Pki;
use crate::testing::upstream::Answer;

const NETWORK_ERROR: u16 = 23;

//----------- Server ---------------------------------------------------------

/// A server that answers every question with 192.0.2.1, and has ways to misbehave.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct Seen {
    /// Connections whose handshake the server thought good.
    connections: usize,
    /// Handshakes that took up an older session.
    resumed: usize,
    names: Vec<Option<String>>,
    /// What came on each stream until its end.
    streams: Vec<Vec<u8>>,
    /// Codes with which we closed.
    closed_with: Vec<u64>,
    manner: Manner,
}

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Manner {
    #[default]
    Good,
    /// One answer for each connection, which ends when the next question comes.
    OneAnswer,
    /// An answer with an id.
    Id,
    /// Two answers on a stream.
    Twice,
    /// The stream is reset.
    Reset,
    /// No answer at all.
    Silent,
}

impl Server {
    fn start(config: ServerConfig, protocol: &[u8]) -> Self {
        Self::start_at(SocketAddr::from(([127, 0, 0, 1], 0)), config, protocol)
    }

    fn start_at(address: SocketAddr, mut config: ServerConfig, protocol: &[u8]) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let seen = Arc::<Mutex<Seen>>::default();
        config.alpn_protocols = vec![protocol.to_vec()];
        config.session_storage = Arc::new(Sessions(ServerSessionMemoryCache::new(64), seen.clone()));
        let config = QuicServerConfig::try_from(config).expect("TLS 1.3");
        let config = quinn::ServerConfig::with_crypto(Arc::new(config));
        let endpoint = runtime.block_on(async { Endpoint::server(config, address) });
        let endpoint = endpoint.expect("a port");
        let (address, for_all) = (endpoint.local_addr().expect("an address"), seen.clone());
        runtime.spawn(async move {
            while let Some(incoming) = endpoint.accept().await {
                let seen = for_all.clone();
                tokio::spawn(async move {
                    if let Ok(connection) = incoming.await {
                        serve(connection, seen).await;
                    }
                });
            }
        });
        Self { address, seen, _runtime: runtime }
    }

    fn good(pki: &Pki) -> Self {
        Self::start(pki.server("dns"), b"doq")
    }

    fn mannered(pki: &Pki, manner: Manner) -> Self {
        let server = Self::good(pki);
        server.seen().manner = manner;
        server
    }

    fn live(&self, pki: &Pki, options: &str) -> Live {
        live(&format!("quic://{}", self.address), pki, options)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("no panic")
    }
}

fn live(to: &str, pki: &Pki, options: &str) -> Live {
    let ca = pki.text("ca.pem");
    Live::new(&format!(". {{\nforward . {to} {{\ntls {ca}\nhealth_check 1h\n{options}\n}}\n}}"))
}

async fn serve(connection: quinn::Connection, seen: Arc<Mutex<Seen>>) {
    let shaken = connection.handshake_data().and_then(|data| data.downcast::<HandshakeData>().ok());
    {
        let mut seen = seen.lock().expect("no panic");
        seen.connections += 1;
        seen.names.push(shaken.expect("TLS").server_name);
    }
    for n in 0.. {
        match connection.accept_bi().await {
            Ok(_) if n == 1 && seen.lock().expect("no panic").manner == Manner::OneAnswer => {
                return connection.close(VarInt::from_u32(0), b"enough");
            }
            Ok((send, receive)) => drop(tokio::spawn(answer(send, receive, seen.clone()))),
            Err(ConnectionError::ApplicationClosed(close)) => {
                return seen.lock().expect("no panic").closed_with.push(close.error_code.into_inner());
            }
            Err(_) => return,
        }
    }
}

async fn answer(mut send: SendStream, mut receive: RecvStream, seen: Arc<Mutex<Seen>>) {
    let Ok(octets) = receive.read_to_end(1 << 16).await else { return };
    let mut reply = Answer::to(&octets[2..]).a("192.0.2.1", 60).message();
    let manner = {
        let mut seen = seen.lock().expect("no panic");
        seen.streams.push(octets);
        seen.manner
    };
    let framed = |reply: &[u8]| [&(reply.len() as u16).to_be_bytes(), reply].concat();
    let octets = match manner {
        Manner::Good | Manner::OneAnswer => framed(&reply),
        Manner::Twice => framed(&reply).repeat(2),
        Manner::Id => {
            reply[1] = 7;
            framed(&reply)
        }
        Manner::Reset => return send.reset(VarInt::from_u32(1)).expect("open"),
        Manner::Silent => return std::future::pending().await,
    };
    let _ = send.write_all(&octets).await;
    let _ = send.finish();
    // Dropped at once, the stream would still end well; this keeps the test's server to the letter.
    let _ = send.stopped().await;
}

/// Sessions, and how many of them were taken up again.
#[derive(Debug)]
struct Sessions(Arc<ServerSessionMemoryCache>, Arc<Mutex<Seen>>);

impl std::fmt::Debug for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Seen")
    }
}

impl StoresServerSessions for Sessions {
    fn put(&self, key: Vec<u8>, value: Vec<u8>) -> bool {
        self.0.put(key, value)
    }

    fn get(&self, key: &[u8]) -> Option<Vec<u8>> {
        self.0.get(key)
    }

    fn take(&self, key: &[u8]) -> Option<Vec<u8>> {
        let taken = self.0.take(key)?;
        self.1.lock().expect("no panic").resumed += 1;
        Some(taken)
    }

    fn can_cache(&self) -> bool {
        true
    }
}

fn pki() -> Pki {
    let pki = Pki::new();
    pki.issue("dns", &["127.0.0.1", "dns.example.org"]);
    pki
}

/// Issue 13: one connection took all questions for ever.
#[test]
fn another_connection_takes_over() {
    let pki = pki();
    let server = Server::good(&pki);
    let live = server.live(&pki, "");
    let connections = || server.seen().connections;
    let mut asked = 0;
    while connections() < 3 {
        assert!(asked < 20_000, "{} connections for {asked} questions, 1,000 at most on one", connections());
        let got = live.ask_all((0..100).map(|n| packet(&format!("n{n}.r{asked}.example.org."), "A")).collect());
        assert!(got.iter().all(|got| got.text() == "NOERROR 192.0.2.1/60"), "{asked}");
        asked += 100;
    }
    assert!(asked >= 1_000, "two connections took {asked} questions, at least 500 each");
}

//----------- Questions ------------------------------------------------------

#[test]
fn many_questions_share_one_connection() {
    let pki = pki();
    let server = Server::good(&pki);
    let live = server.live(&pki, "");
    let got = live.ask_all((0..300).map(|n| packet(&format!("n{n}.example.org."), "A")).collect());
    assert!(got.iter().all(|got| got.text() == "NOERROR 192.0.2.1/60"));
    let seen = server.seen();
    assert_eq!((seen.connections, seen.streams.len()), (1, 300));
    for octets in &seen.streams {
        assert_eq!(usize::from(u16::from_be_bytes([octets[0], octets[1]])), octets.len() - 2);
        assert_eq!(octets[2..4], [0, 0], "the id");
    }
    let count = |what: &str| {
        let labels = format!("proxy_name=\"forward\",to=\"{}\",proto=\"quic\"", server.address);
        live.metric(&format!("coredns_proxy_conn_cache_{what}_total{{{labels}}}"))
    };
    assert_eq!((count("misses"), count("hits")), (1.0, 299.0));
}

#[test]
fn the_name_may_be_given_for_all_or_with_each() {
    let pki = Pki::new();
    pki.issue("dns", &["dns.example.org"]);
    let server = Server::good(&pki);
    let port = server.address.port();
    for (to, options) in [
        (format!("quic://127.0.0.1%dns.example.org:{port}"), ""),
        (format!("quic://127.0.0.1:{port}%dns.example.org"), ""),
        (format!("quic://127.0.0.1:{port}"), "tls_servername dns.example.org"),
    ] {
        let got = live(&to, &pki, options).ask("www.example.org.", "A");
        assert_eq!(got.text(), "NOERROR 192.0.2.1/60", "{to} {options}");
    }
    assert!(server.seen().names.iter().all(|name| name.as_deref() == Some("dns.example.org")));
}

#[test]
fn transfers_are_not_asked_for() {
    let pki = pki();
    let server = Server::good(&pki);
    assert_eq!(server.live(&pki, "").ask("example.org.", "AXFR").text(), "NOTIMP");
    assert_eq!(server.seen().connections, 0);
}

//----------- Trust ----------------------------------------------------------

/// Row C16: an upstream without the right certificate gets no query, and the client is told why.
#[test]
fn c16_a_wrong_certificate_gets_no_query() {
    let (pki, other) = (Pki::new(), Pki::new());
    pki.issue("name", &["other.example.org", "192.0.2.9"]);
    pki.issue_expired("expired", &["127.0.0.1"]);
    pki.self_signed("unknown", &["127.0.0.1"], false);
    for (certificate, trusted, short, long) in [
        ("name", &pki, "is for another name", "valid for other.example.org, 192.0.2.9, not 127.0.0.1"),
        ("expired", &pki, "has expired", "certificate has expired or is not yet valid"),
        ("unknown", &other, "an authority that is not trusted", "certificate signed by unknown authority"),
    ] {
        let server = Server::start(pki.server(certificate), b"doq");
        let got = server.live(trusted, "").ask("www.example.org.", "A");
        assert_eq!((got.text().as_str(), got.extended_error()), ("SERVFAIL", Some(NETWORK_ERROR)), "{certificate}");
        let cause = got.reply.cause().unwrap_or_default();
        assert!(cause.starts_with("tls: failed to verify certificate: x509: ") && cause.contains(long), "{cause}");
        let words = got.reply.note.as_ref().and_then(|note| note.error.clone()).map(|error| error.1);
        assert!(words.as_deref().is_some_and(|words| words.ends_with(short)), "{words:?}");
        let seen = server.seen();
        assert_eq!((seen.connections, seen.streams.len()), (0, 0), "{certificate}");
    }
}

#[test]
fn a_server_of_something_else_gets_no_query() {
    let pki = pki();
    let server = Server::start(pki.server("dns"), b"h3");
    let got = server.live(&pki, "").ask("www.example.org.", "A");
    assert_eq!((got.text().as_str(), got.extended_error()), ("SERVFAIL", Some(NETWORK_ERROR)));
    assert_eq!(got.reply.cause(), Some("tls: no application protocol in common"));
    assert_eq!(server.seen().streams.len(), 0);
}

#[test]
fn we_show_a_certificate_where_one_is_asked_for() {
    let pki = pki();
    pki.issue("we", &["client.example.org"]);
    let server = Server::start(pki.strict_server("dns"), b"doq");
    let with = format!("tls {} {} {}", pki.text("we.pem"), pki.text("we.key"), pki.text("ca.pem"));
    assert_eq!(server.live(&pki, &with).ask("www.example.org.", "A").text(), "NOERROR 192.0.2.1/60");
    let without = server.live(&pki, "").ask("www.example.org.", "A");
    assert_eq!((without.text().as_str(), without.extended_error()), ("SERVFAIL", Some(NETWORK_ERROR)));
    let cause = without.reply.cause().unwrap_or_default();
    assert!(cause.starts_with("remote error: tls: "), "{cause}");
}

//----------- Ends -----------------------------------------------------------

#[test]
fn an_idle_connection_ends_and_its_session_is_taken_up_again() {
    let pki = pki();
    let server = Server::good(&pki);
    let live = server.live(&pki, "expire 50ms");
    live.ask("a.example.org.", "A");
    live.wait_until("it is over, and the next question opens another", || {
        std::thread::sleep(Duration::from_millis(150));
        assert_eq!(live.ask("b.example.org.", "A").text(), "NOERROR 192.0.2.1/60");
        server.seen().connections > 1
    });
    let seen = server.seen();
    assert_eq!(seen.resumed, seen.connections - 1, "all but the first were short");
    assert!(!seen.closed_with.is_empty() && seen.closed_with.iter().all(|&code| code == 0), "we said why");
}

#[test]
fn what_is_lost_with_an_open_connection_is_asked_again_over_another() {
    let pki = pki();
    let server = Server::mannered(&pki, Manner::OneAnswer);
    let live = server.live(&pki, "max_fails 0\nmax_connect_attempts 1");
    for n in 0..4 {
        assert_eq!(live.ask(&format!("n{n}.example.org."), "A").text(), "NOERROR 192.0.2.1/60", "{n}");
    }
    let seen = server.seen();
    assert_eq!((seen.connections, seen.streams.len()), (4, 4));
}

#[test]
fn what_is_no_answer_is_a_failure_and_ends_the_connection_where_it_must() {
    let pki = pki();
    let no_doq = "the upstream does not keep to DNS over QUIC: a stream is not one message with id 0";
    for (manner, cause, code) in [
        (Manner::Id, no_doq, Some(2)),
        (Manner::Twice, no_doq, Some(2)),
        (Manner::Reset, "the upstream gave the question up: DoQ error 1", None),
    ] {
        let server = Server::mannered(&pki, manner);
        let live = server.live(&pki, "");
        let got = live.ask("www.example.org.", "A");
        assert_eq!((got.text().as_str(), got.reply.cause()), ("SERVFAIL", Some(cause)), "{manner:?}");
        if let Some(code) = code {
            live.wait_until("the server hears it", || server.seen().closed_with.contains(&code));
        }
    }
}

#[test]
fn a_question_without_an_answer_does_not_hold_up_the_others() {
    let pki = pki();
    let server = Server::mannered(&pki, Manner::Silent);
    let live = server.live(&pki, "max_fails 0\nmax_connect_attempts 1\nread_timeout 600ms");
    let got = live.ask("slow.example.org.", "A");
    assert_eq!((got.text().as_str(), got.extended_error()), ("SERVFAIL", Some(22)));
    server.seen().manner = Manner::Good;
    assert_eq!(live.ask("www.example.org.", "A").text(), "NOERROR 192.0.2.1/60");
    assert_eq!(server.seen().connections, 1, "it was acknowledged, so the connection is good");
}

#[test]
fn a_server_that_begins_anew_costs_no_answer() {
    let pki = pki();
    let server = Server::good(&pki);
    let live = server.live(&pki, "max_fails 0\nmax_connect_attempts 1\nread_timeout 60s");
    assert_eq!(live.ask("a.example.org.", "A").text(), "NOERROR 192.0.2.1/60");
    let address = server.address;
    // It knows nothing of its older connections, and has no way to say so.
    drop(server);
    let server = Server::start_at(address, pki.server("dns"), b"doq");
    assert_eq!(live.ask("b.example.org.", "A").text(), "NOERROR 192.0.2.1/60");
    assert_eq!(live.ask("c.example.org.", "A").text(), "NOERROR 192.0.2.1/60");
    assert_eq!(server.seen().connections, 1);
}
