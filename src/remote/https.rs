//! Queries over HTTPS (RFC 8484): one HTTP/2 connection to each server, a stream for each question.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::runtime::Handle;
use tokio::sync::SetOnce;

use super::failure::{Failure, Kind};
use super::link::{Link, idle};
use super::message::Sent;
use super::table::Outcome;
use super::term::{Carrier, Connections, Term};
use super::{tcp, tls};
use crate::host::permit::Permit;

/// The media type of a message.
const MESSAGE: &str = "application/dns-message";

/// Octets of a message, at most.
const LARGEST: usize = 65_535;

/// Questions that one connection takes, at most, before another one does.
const QUESTIONS: u32 = if cfg!(test) { 1_000 } else { 20_000 };

//----------- HttpsPool ------------------------------------------------------

/// The connection to one server. It is opened when it is needed, and replaced when its term is
/// over.
pub(super) struct HttpsPool {
    link: Link,
    tls: tls::TlsClient,
    /// The authority of requests: a host name, or address and port.
    authority: String,
    is_get: bool,
    connections: Mutex<Connections<Connection>>,
}

struct Connection {
    /// Set when the handshake is over: where requests go in, or why it failed.
    requests: SetOnce<Result<SendRequest<Full<Bytes>>, Failure>>,
    in_flight: Arc<AtomicUsize>,
    term: Term,
    /// Not to be used for further questions.
    retired: AtomicBool,
}

impl HttpsPool {
    /// With `is_get` a question stands in the URL of its request, so that caches on the way can
    /// keep the answer.
    pub(super) fn new(link: Link, tls: tls::TlsClient, authority: String, is_get: bool) -> Self {
        Self { link, tls, authority, is_get, connections: Mutex::default() }
    }

    /// Asks and waits for the answer for `patience`. A query that was lost with a connection that
    /// was open before is asked again over a new one, once.
    pub(super) async fn exchange(&self, sent: &Arc<Sent>, patience: Duration, runtime: &Handle) -> Outcome {
        let both = async {
            let (connection, was_open) = self.connection(runtime);
            match self.ask(&connection, sent).await {
                Err(Failure { kind: Kind::Closed, .. }) if was_open => {
                    connection.retire();
                    self.ask(&self.connection(runtime).0, sent).await
                }
                outcome => outcome,
            }
        };
        let outcome = tokio::time::timeout(patience, both).await;
        outcome.unwrap_or_else(|_| {
            // A connection that keeps a query waiting for too long is not used again.
            self.connections.lock().unwrap_or_else(PoisonError::into_inner).retire();
            Err(Failure::timeout("tcp", None, self.link.peer))
        })
    }

    /// Returns the connection, and whether it was there before.
    fn connection(&self, runtime: &Handle) -> (Arc<Connection>, bool) {
        let mut connections = self.connections.lock().unwrap_or_else(PoisonError::into_inner);
        let known = connections.choose(Instant::now(), |_| true, || Some(self.open(runtime)));
        let was_open = known.is_some();
        let connection = known.unwrap_or_else(|| {
            let opened = self.open(runtime);
            connections.add(opened.clone());
            opened
        });
        connection.term.count_down();
        (connection, was_open)
    }

    fn open(&self, runtime: &Handle) -> Arc<Connection> {
        let connection = Arc::new(Connection {
            requests: SetOnce::new(),
            in_flight: Arc::default(),
            term: Term::draw(&self.link, QUESTIONS, Instant::now()),
            retired: AtomicBool::new(false),
        });
        runtime.spawn(run(self.link.clone(), self.tls.clone(), connection.clone()));
        connection
    }

    async fn ask(&self, connection: &Connection, sent: &Sent) -> Outcome {
        // Counted from here, so that the connection does not end as idle.
        let _permit = Permit::take(&connection.in_flight, usize::MAX);
        let mut requests = connection.requests.wait().await.clone()?;
        let closed = |_| Failure::closed(self.link.peer);
        let response = requests.send_request(self.request(sent)?).await.map_err(closed)?;
        check(&response)?;
        let body =
            Limited::new(response.into_body(), LARGEST).collect().await.map_err(|_| Failure::closed(self.link.peer))?;
        let answer = sent.answer(&body.to_bytes());
        answer.ok_or_else(|| Failure::other("the upstream's message is no reply to the question"))
    }

    fn request(&self, sent: &Sent) -> Result<Request<Full<Bytes>>, Failure> {
        // The id is 0, as RFC 8484 asks for: equal questions are equal requests.
        let message = [&[0, 0], sent.behind_id()].concat();
        let uri = format!("https://{}/dns-query", self.authority);
        let request = if self.is_get {
            let uri = format!("{uri}?dns={}", URL_SAFE_NO_PAD.encode(&message));
            Request::get(uri).header(header::ACCEPT, MESSAGE).body(Full::default())
        } else {
            let head = Request::post(uri).header(header::ACCEPT, MESSAGE).header(header::CONTENT_TYPE, MESSAGE);
            head.body(Full::from(message))
        };
        request.map_err(|error| Failure::other(&format!("no HTTP request can be made for {}: {error}", self.authority)))
    }
}

/// Whether a response holds a message.
fn check<T>(response: &Response<T>) -> Result<(), Failure> {
    if response.status() != StatusCode::OK {
        return Err(Failure::other(&format!("the upstream answered with HTTP status {}", response.status())));
    }
    match response.headers().get(header::CONTENT_TYPE) {
        Some(kind) if kind.as_bytes().starts_with(MESSAGE.as_bytes()) => Ok(()),
        kind => Err(Failure::other(&format!("the upstream answered with content of type {kind:?}"))),
    }
}

//----------- Connection -----------------------------------------------------

impl Carrier for Connection {
    fn term(&self) -> &Term {
        &self.term
    }

    fn is_usable(&self) -> bool {
        let is_over = self.requests.get().is_some_and(|requests| match requests {
            Ok(requests) => requests.is_closed(),
            Err(_) => true,
        });
        !is_over && !self.retired.load(Ordering::Relaxed)
    }

    fn is_open(&self) -> bool {
        matches!(self.requests.get(), Some(Ok(_)))
    }

    fn load(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }

    fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }
}

/// The life of one connection: it ends when it is idle, or when the peer closes it.
async fn run(link: Link, tls: tls::TlsClient, connection: Arc<Connection>) {
    let opened = async {
        let stream = tcp::in_time(tcp::connect(&link), &link).await?;
        let stream = tcp::in_time(tls.handshake(stream, link.peer), &link).await?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(Failure::other("the upstream does not speak HTTP/2"));
        }
        let shaken = handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        shaken.map_err(|_| Failure::closed(link.peer))
    };
    let (requests, http) = match opened.await {
        Ok((requests, http)) => (Ok(requests), Some(http)),
        Err(failure) => (Err(failure), None),
    };
    // The cell is set once, here.
    let _ = connection.requests.set(requests);
    if let Some(http) = http {
        tokio::select! {
            // Queries that wait for an answer get the error of their stream.
            _ = http => {}
            () = idle(&connection.in_flight, &connection.retired, link.expire) => connection.retire(),
        }
    }
}
