//! Upstreams over HTTPS, against a server of HTTP/2 that looks at every request.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

use crate::testing::live::Live;
use crate::testing::packet;
use crate::testing::tls::Pki;
use crate::testing::upstream::Answer;

/// A server that answers every question with 192.0.2.1, and has a way to misbehave.
struct Server {
    address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    /// Method, authority, and whether there was anything in the address.
    requests: Vec<(Method, String, bool)>,
    ids: Vec<[u8; 2]>,
    status: Option<u16>,
}

impl Server {
    fn start(pki: &Pki) -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let (address, seen) = (listener.local_addr().expect("an address"), Arc::<Mutex<Seen>>::default());
        let mut config = pki.server("dns");
        config.alpn_protocols = vec![b"h2".to_vec()];
        let (acceptor, for_all) = (TlsAcceptor::from(Arc::new(config)), seen.clone());
        runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let (acceptor, seen) = (acceptor.clone(), for_all.clone());
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    seen.lock().expect("no panic").connections += 1;
                    let service = service_fn(move |request| answer(request, seen.clone()));
                    let _ =
                        http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
                });
            }
        });
        Self { address, seen, _runtime: runtime }
    }

    fn live(&self, pki: &Pki, options: &str) -> Live {
        let (address, ca) = (self.address, pki.text("ca.pem"));
        Live::new(&format!(". {{\nforward . https://{address} {{\ntls {ca}\nhealth_check 1h\n{options}\n}}\n}}"))
    }
}

async fn answer(request: Request<Incoming>, seen: Arc<Mutex<Seen>>) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let in_address = head.uri.query().and_then(|query| query.strip_prefix("dns=")).map(ToOwned::to_owned);
    assert_eq!(head.uri.path(), "/dns-query");
    let message = match &in_address {
        Some(text) => URL_SAFE_NO_PAD.decode(text).expect("base64url"),
        None => body.collect().await.expect("a body").to_bytes().to_vec(),
    };
    let authority = head.uri.authority().expect("an authority").to_string();
    let mut seen = seen.lock().expect("no panic");
    seen.ids.push([message[0], message[1]]);
    seen.requests.push((head.method, authority, in_address.is_some()));
    let response = Response::builder().header("content-type", "application/dns-message");
    let body = Full::from(Answer::to(&message).a("192.0.2.1", 60).message());
    Ok(response.status(seen.status.unwrap_or(200)).body(body).expect("a response"))
}

fn pki() -> Pki {
    let pki = Pki::new();
    pki.issue("dns", &["127.0.0.1", "dns.example.org"]);
    pki
}

#[test]
fn many_questions_share_one_connection() {
    let pki = pki();
    let server = Server::start(&pki);
    let got = server.live(&pki, "").ask_all((0..300).map(|n| packet(&format!("n{n}.example.org."), "A")).collect());
    assert!(got.iter().all(|got| got.text() == "NOERROR 192.0.2.1/60"));
    let seen = server.seen.lock().expect("no panic");
    assert_eq!((seen.connections, seen.requests.len()), (1, 300));
    assert!(seen.requests.contains(&(Method::POST, server.address.to_string(), false)));
    assert!(seen.ids.iter().all(|id| *id == [0, 0]));
}

/// Issue 13: one connection took all questions for ever.
#[test]
fn another_connection_takes_over() {
    let pki = pki();
    let server = Server::start(&pki);
    let live = server.live(&pki, "");
    let connections = || server.seen.lock().expect("no panic").connections;
    let mut asked = 0;
    while connections() < 3 {
        assert!(asked < 20_000, "{} connections for {asked} questions, 1,000 at most on one", connections());
        let got = live.ask_all((0..100).map(|n| packet(&format!("n{n}.r{asked}.example.org."), "A")).collect());
        assert!(got.iter().all(|got| got.text() == "NOERROR 192.0.2.1/60"), "{asked}");
        asked += 100;
    }
    assert!(asked >= 1_000, "two connections took {asked} questions, at least 500 each");
}

#[test]
fn a_question_may_stand_in_the_address_and_a_server_may_have_a_name() {
    let pki = pki();
    let server = Server::start(&pki);
    let live = server.live(&pki, "doh_method GET\ntls_servername dns.example.org");
    assert_eq!(live.ask("www.example.org.", "A").text(), "NOERROR 192.0.2.1/60");
    let seen = server.seen.lock().expect("no panic");
    assert_eq!(seen.requests, [(Method::GET, "dns.example.org".to_owned(), true)]);
}

#[test]
fn what_is_no_answer_is_a_failure() {
    let pki = pki();
    let server = Server::start(&pki);
    server.seen.lock().expect("no panic").status = Some(503);
    let got = server.live(&pki, "").ask("www.example.org.", "A");
    assert_eq!(got.text(), "SERVFAIL");
    assert_eq!(got.reply.cause(), Some("the upstream answered with HTTP status 503 Service Unavailable"));
}

#[test]
fn a_wrong_certificate_gets_no_question() {
    let pki = pki();
    let server = Server::start(&pki);
    let got = server.live(&pki, "tls_servername other.example.org").ask("www.example.org.", "A");
    assert_eq!((got.text().as_str(), got.extended_error()), ("SERVFAIL", Some(23)));
    assert_eq!(server.seen.lock().expect("no panic").requests.len(), 0);
}

#[test]
fn an_idle_connection_ends() {
    let pki = pki();
    let server = Server::start(&pki);
    let live = server.live(&pki, "expire 50ms");
    live.ask("a.example.org.", "A");
    live.wait_until("it is over, and the next question opens another", || {
        std::thread::sleep(std::time::Duration::from_millis(150));
        live.ask("b.example.org.", "A");
        server.seen.lock().expect("no panic").connections > 1
    });
}
