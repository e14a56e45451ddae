//! Queries over HTTP/2, as DNS over HTTPS or as calls of gRPC: one connection to each server, a
//! stream for each question.

mod doh;
mod grpc;

use std::path::PathBuf;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use http_body_util::Full;
use hyper::body::Bytes;
use hyper::client::conn::http2::{SendRequest, handshake};
use hyper_util::rt::{TokioExecutor, TokioIo};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio::sync::SetOnce;

use super::failure::{Failure, Kind};
use super::link::{Link, idle};
use super::message::Sent;
use super::table::Outcome;
use super::term::{Carrier, Connections, Term};
use super::{tcp, tls};
use crate::host::permit::Permit;
use crate::wire::answer::Answer;
use crate::wire::types::rcode;

/// Questions that one connection takes, at most, before another one does.
const QUESTIONS: u32 = if cfg!(test) { 1_000 } else { 20_000 };

//----------- HttpPool -------------------------------------------------------

/// How messages travel in requests.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Dialect {
    /// DNS over HTTPS. With `is_get` a question stands in the URL of its request, so that caches on
    /// the way can keep the answer.
    Doh { is_get: bool },
    /// Calls of gRPC.
    Grpc,
}

/// The server, and how it is reached.
#[derive(Clone)]
pub(super) struct Server {
    pub(super) link: Link,
    /// The socket of a server on this machine, which is reached through it and not through the
    /// link's address.
    pub(super) path: Option<PathBuf>,
    /// Our side of TLS, if there is any.
    pub(super) tls: Option<tls::TlsClient>,
}

/// The connection to one server. It is opened when it is needed, and replaced when its term is
/// over.
pub(super) struct HttpPool {
    server: Server,
    /// Scheme and authority of requests. The latter is a host name, or address and port.
    url: String,
    dialect: Dialect,
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

impl HttpPool {
    /// `authority` is how requests name the server.
    pub(super) fn new(server: Server, authority: &str, dialect: Dialect) -> Self {
        let scheme = if server.tls.is_some() { "https" } else { "http" };
        let url = format!("{scheme}://{authority}");
        Self { server, url, dialect, connections: Mutex::default() }
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
            Err(self.server.late())
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
            term: Term::draw(&self.server.link, QUESTIONS, Instant::now()),
            retired: AtomicBool::new(false),
        });
        runtime.spawn(run(self.server.clone(), connection.clone()));
        connection
    }

    async fn ask(&self, connection: &Connection, sent: &Sent) -> Outcome {
        // Counted from here, so that the connection does not end as idle.
        let _permit = Permit::take(&connection.in_flight, usize::MAX);
        let mut requests = connection.requests.wait().await.clone()?;
        let closed = || self.server.closed();
        // The id is 0, as RFC 8484 asks for: equal questions are equal requests.
        let message = [&[0, 0], sent.behind_id()].concat();
        let request = match self.dialect {
            Dialect::Doh { is_get } => doh::request(&self.url, message, is_get),
            Dialect::Grpc => grpc::request(&self.url, &message),
        };
        let wrong = |error| Failure::other(&format!("no HTTP request can be made for {}: {error}", self.url));
        let response = requests.send_request(request.map_err(wrong)?).await.map_err(|_| closed())?;
        let message = match self.dialect {
            Dialect::Doh { .. } => Some(doh::message(response, closed).await?),
            Dialect::Grpc => grpc::message(response, closed).await?,
        };
        let Some(message) = message else { return Ok(Answer::empty(rcode::NXDOMAIN)) };
        sent.answer(&message).ok_or_else(|| Failure::other("the upstream's message is no reply to the question"))
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
async fn run(server: Server, connection: Arc<Connection>) {
    let (requests, exchanges) = match server.open().await {
        Ok((requests, exchanges)) => (Ok(requests), Some(exchanges)),
        Err(failure) => (Err(failure), None),
    };
    // The cell is set once, here.
    let _ = connection.requests.set(requests);
    if let Some(exchanges) = exchanges {
        tokio::select! {
            // Queries that wait for an answer get the error of their stream.
            () = exchanges => {}
            () = idle(&connection.in_flight, &connection.retired, server.link.expire) => connection.retire(),
        }
    }
}

/// An open connection: where requests go in, and what carries them until it ends.
type Opened = (SendRequest<Full<Bytes>>, Pin<Box<dyn Future<Output = ()> + Send>>);

impl Server {
    async fn open(&self) -> Result<Opened, Failure> {
        let Some(path) = &self.path else {
            return self.secure(tcp::in_time(tcp::connect(&self.link), &self.link).await?).await;
        };
        let stream = UnixStream::connect(path).await;
        self.secure(stream.map_err(|error| Failure::dial("unix", path.display(), &error))?).await
    }

    /// Performs the handshake of TLS, if it is needed, and begins with HTTP/2.
    async fn secure<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S) -> Result<Opened, Failure> {
        let Some(tls) = &self.tls else { return self.begin(stream).await };
        let stream = tcp::in_time(tls.handshake(stream, self.link.peer), &self.link).await?;
        if stream.get_ref().1.alpn_protocol() != Some(b"h2") {
            return Err(Failure::other("the upstream does not speak HTTP/2"));
        }
        self.begin(stream).await
    }

    async fn begin<S: AsyncRead + AsyncWrite + Unpin + Send + 'static>(&self, stream: S) -> Result<Opened, Failure> {
        let shaken = handshake(TokioExecutor::new(), TokioIo::new(stream)).await;
        let (requests, http) = shaken.map_err(|_| self.closed())?;
        let exchanges = async move {
            let _ = http.await;
        };
        Ok((requests, Box::pin(exchanges)))
    }

    /// The peer has closed the connection before it answered.
    fn closed(&self) -> Failure {
        match &self.path {
            Some(path) => Failure::ended("unix", path.display(), "EOF"),
            None => Failure::closed(self.link.peer),
        }
    }

    /// Nothing came in time.
    fn late(&self) -> Failure {
        match &self.path {
            Some(path) => Failure::late("unix", &path.display().to_string()),
            None => Failure::timeout("tcp", None, self.link.peer),
        }
    }
}
