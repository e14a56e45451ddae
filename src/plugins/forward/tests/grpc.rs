//! Upstreams over gRPC, against a server of HTTP/2 that looks at every call.

use std::convert::Infallible;
use std::sync::{Arc, Mutex};

use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper::{HeaderMap, Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, UnixListener};
use tokio_rustls::TlsAcceptor;

use crate::testing::live::Live;
use crate::testing::packet;
use crate::testing::tls::Pki;
use crate::testing::upstream::Answer;
use crate::wire::grpc;
use crate::wire::types::rcode;

/// A server that answers every question with 192.0.2.1, and has a way to misbehave.
struct Server {
    to: String,
    seen: Arc<Mutex<Seen>>,
    _runtime: tokio::runtime::Runtime,
}

#[derive(Default)]
struct Seen {
    connections: usize,
    /// The name of the server in each call.
    calls: Vec<String>,
    does: Does,
}

/// What comes back.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Does {
    #[default]
    Answer,
    Say(u8),
    /// A status in front of the body, in place of one.
    Fail(&'static str),
    NoStatus,
    /// A body that is no packet.
    NoPacket,
    /// A message of so many octets.
    Long(usize),
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

impl Server {
    /// A server at a free port, inside TLS if there is a certificate.
    fn start(pki: Option<&Pki>) -> Self {
        let (runtime, seen) = (runtime(), Arc::<Mutex<Seen>>::default());
        let listener = runtime.block_on(TcpListener::bind("127.0.0.1:0")).expect("a port");
        let to = listener.local_addr().expect("an address").to_string();
        let acceptor = pki.map(|pki| {
            let mut config = pki.server("dns");
            config.alpn_protocols = vec![b"h2".to_vec()];
            TlsAcceptor::from(Arc::new(config))
        });
        let for_all = seen.clone();
        runtime.spawn(async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let (acceptor, seen) = (acceptor.clone(), for_all.clone());
                tokio::spawn(async move {
                    match acceptor {
                        None => serve(stream, seen).await,
                        Some(acceptor) => {
                            if let Ok(stream) = acceptor.accept(stream).await {
                                serve(stream, seen).await;
                            }
                        }
                    }
                });
            }
        });
        Self { to, seen, _runtime: runtime }
    }

    fn does(self, does: Does) -> Self {
        self.seen.lock().expect("no panic").does = does;
        self
    }

    fn live(&self, options: &str) -> Live {
        Live::new(&format!(". {{\ngrpc . {} {{\n{options}\n}}\n}}", self.to))
    }
}

async fn serve(stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static, seen: Arc<Mutex<Seen>>) {
    seen.lock().expect("no panic").connections += 1;
    let service = service_fn(move |request| answer(request, seen.clone()));
    let _ = http2::Builder::new(TokioExecutor::new()).serve_connection(TokioIo::new(stream), service).await;
}

async fn answer(
    request: Request<Incoming>,
    seen: Arc<Mutex<Seen>>,
) -> Result<Response<impl hyper::body::Body<Data = Bytes, Error = Infallible>>, Infallible> {
    let (head, body) = request.into_parts();
    assert_eq!((head.method.as_str(), head.uri.path()), ("POST", grpc::PATH));
    assert_eq!(head.headers["content-type"], "application/grpc");
    assert_eq!(head.headers["te"], "trailers");
    let body = body.collect().await.expect("a body").to_bytes();
    let message = grpc::message(&body).expect("a packet");
    let mut seen = seen.lock().expect("no panic");
    seen.calls.push(head.uri.authority().expect("an authority").to_string());
    let answer = Answer::to(message).a("192.0.2.1", 60).message();
    let body = match seen.does {
        Does::Answer | Does::NoStatus => grpc::body(&answer),
        Does::Say(rcode) => grpc::body(&Answer::to(message).rcode(rcode).message()),
        Does::Fail(_) => Vec::new(),
        Does::NoPacket => vec![0; 6],
        Does::Long(octets) => grpc::body(&[&answer[..], &vec![0; octets - answer.len()]].concat()),
    };
    let mut response = Response::builder().header("content-type", "application/grpc");
    let mut trailers = HeaderMap::new();
    match seen.does {
        Does::NoStatus => {}
        Does::Fail(status) => response = response.header("grpc-status", status),
        _ => _ = trailers.insert("grpc-status", "0".parse().expect("a number")),
    }
    let body = Full::<Bytes>::from(body).with_trailers(std::future::ready(Some(Ok(trailers))));
    Ok(response.body(body).expect("a response"))
}

#[test]
fn many_questions_share_one_connection() {
    let server = Server::start(None);
    let live = server.live("");
    let got = live.ask_all((0..300).map(|n| packet(&format!("n{n}.example.org."), "A")).collect());
    assert!(got.iter().all(|got| got.text() == "NOERROR 192.0.2.1/60"));
    let seen = server.seen.lock().expect("no panic");
    assert_eq!((seen.connections, seen.calls.len()), (1, 300));
    assert!(seen.calls.iter().all(|authority| *authority == server.to));
    let page = live.server.host.metrics.text();
    let counted = format!("coredns_grpc_responses_total{{rcode=\"NOERROR\",to=\"{}\"}} 300", server.to);
    assert!(page.contains(&counted) && !page.contains("coredns_forward_requests_total"), "{page}");
}

#[test]
fn a_status_is_an_answer_or_a_failure() {
    for (does, text, cause) in [
        (Does::Fail("5"), "NXDOMAIN", None),
        (Does::Say(rcode::SERVFAIL as u8), "SERVFAIL", None),
        (Does::Fail("14"), "SERVFAIL", Some("the upstream answered with gRPC status 14")),
        (Does::Fail("x"), "SERVFAIL", Some("the upstream answered without a gRPC status")),
        (Does::NoStatus, "SERVFAIL", Some("the upstream answered without a gRPC status")),
        (Does::NoPacket, "SERVFAIL", Some("the upstream's response holds no packet")),
    ] {
        let got = Server::start(None).does(does).live("").ask("www.example.org.", "A");
        assert_eq!((got.text().as_str(), got.reply.cause()), (text, cause), "{does:?}");
    }
}

#[test]
fn the_next_upstream_is_asked_after_a_failure() {
    let (bad, good) = (Server::start(None).does(Does::Fail("14")), Server::start(None));
    let live = Live::new(&format!(". {{\ngrpc . 127.0.0.1:9 {} {} {{\npolicy sequential\n}}\n}}", bad.to, good.to));
    assert_eq!(live.ask("www.example.org.", "A").text(), "NOERROR 192.0.2.1/60");
    assert_eq!(bad.seen.lock().expect("no panic").calls.len(), 1);
}

#[test]
fn what_has_no_answer_falls_through() {
    let text = |does: Does, option: &str, name: &str, below: &str| {
        let server = Server::start(None).does(does);
        let live = Live::new(&format!(". {{\ngrpc . {} {{\n{option}\n}}\n{below}\n}}", server.to));
        live.ask(name, "A").text()
    };
    let (missing, broken) = (Does::Say(rcode::NXDOMAIN as u8), Does::Fail("14"));
    let refuse = "erratic {\ndrop 0\ntruncate 0\ndelay 0\n}";
    let below = text(missing, "fallthrough", "a.example.org.", refuse);
    assert!(below.starts_with("NOERROR"), "{below}");
    assert_eq!(text(broken, "fallthrough example.org", "a.example.org.", refuse), below);
    assert_eq!(text(missing, "", "a.example.org.", refuse), "NXDOMAIN");
    assert_eq!(text(missing, "fallthrough example.org", "a.example.net.", refuse), "NXDOMAIN");
    assert_eq!(text(missing, "fallthrough", "a.example.org.", ""), "NXDOMAIN", "nothing is below");
    assert_eq!(text(Does::Answer, "fallthrough", "a.example.org.", refuse), "NOERROR 192.0.2.1/60");
    assert_eq!(text(Does::Answer, "except a.example.org", "a.example.org.", refuse), below);
}

#[test]
fn a_message_has_its_bound() {
    let text = |octets| Server::start(None).does(Does::Long(octets)).live("").ask("www.example.org.", "A").text();
    assert_eq!((text(65_535), text(65_536)), ("NOERROR 192.0.2.1/60".into(), "SERVFAIL".into()));
}

#[test]
fn a_server_inside_tls_shows_its_name() {
    let pki = Pki::new();
    pki.issue("dns", &["dns.example.org"]);
    let (server, ca) = (Server::start(Some(&pki)), pki.text("ca.pem"));
    let right = server.live(&format!("tls {ca}\ntls_servername dns.example.org")).ask("www.example.org.", "A");
    assert_eq!(right.text(), "NOERROR 192.0.2.1/60");
    let wrong = server.live(&format!("tls {ca}\ntls_servername other.example.org")).ask("www.example.org.", "A");
    assert_eq!((wrong.text().as_str(), wrong.extended_error()), ("SERVFAIL", Some(23)));
    let plain = server.live("").ask("www.example.org.", "A");
    assert_eq!(plain.text(), "SERVFAIL");
    assert_eq!(server.seen.lock().expect("no panic").calls, ["dns.example.org"]);
}

#[test]
fn a_server_may_be_a_socket_of_this_machine() {
    let (folder, runtime, seen) = (tempfile::tempdir().expect("a folder"), runtime(), Arc::<Mutex<Seen>>::default());
    let path = folder.path().join("dns.sock");
    let to = format!("unix://{}", path.display());
    let live = Live::new(&format!(". {{\ngrpc . {to}\n}}"));
    let missing = live.ask("a.example.org.", "A");
    let cause = format!("dial unix {}: connect: no such file or directory", path.display());
    assert_eq!((missing.text().as_str(), missing.reply.cause()), ("SERVFAIL", Some(cause.as_str())));
    let (listener, for_all) = {
        let _enter = runtime.enter();
        (UnixListener::bind(&path).expect("bound"), seen.clone())
    };
    runtime.spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            tokio::spawn(serve(stream, for_all.clone()));
        }
    });
    assert_eq!(live.ask("b.example.org.", "A").text(), "NOERROR 192.0.2.1/60");
    assert_eq!(seen.lock().expect("no panic").calls, ["localhost"]);
}
