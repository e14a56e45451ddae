//! Connections whose messages come in requests: DNS over HTTPS (RFC 8484), over HTTP/1.1 or HTTP/2,
//! and calls of gRPC, over HTTP/2.
//!
//! hyper reads requests and writes responses. All of it, and the work of every request, is polled
//! by the task of the connection, so it runs in shifts and ends with the connection. What hyper
//! holds is bounded: by its options here, and because replies are counted until it has handed them
//! on.
//!
//! - [`dialect`]: how messages travel in requests
//! - [`exchange`]: the requests and responses of each dialect: [`doh`], [`grpc`]
//! - [`conversation`]: the message is served, while the client reads its replies
//! - [`content`]: the octets of a response, until the client has taken them
//! - [`line`](mod@line): the carrier, which stops while other clients are served
//! - [`counts`]: what metrics show of all this

mod content;
mod conversation;
mod counts;
mod dialect;
mod doh;
mod exchange;
mod grpc;
mod line;
#[cfg(test)]
mod tests;

use std::cell::RefCell;
use std::convert::Infallible;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::Poll;
use std::time::Duration;

use futures_util::stream::{FuturesUnordered, StreamExt};
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::{http1, http2};
use hyper::service::Service;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::time::{Instant, sleep_until};

use self::content::Content;
use self::conversation::{Conversation, Overdue};
pub(in crate::server) use self::counts::HttpCounts;
pub(in crate::server) use self::dialect::Dialect;
use self::line::Line;
use super::carrier::Carrier;
use super::session::Session;

/// Requests of one connection at most, whatever the Corefile says. Each holds memory.
const MOST_STREAMS: usize = 1000;

/// Octets of the head of a request. A message in a GET is a third longer than on the wire.
const HEAD: usize = 16 << 10;

/// Octets of requests that a client may send before the worker reads them, over all streams.
const WINDOW: u32 = 64 << 10;

/// How long a client may take to close an idle connection that it was asked to close.
const PARTING: Duration = Duration::from_secs(1);

/// How a connection ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// All replies have been written.
    Done,
    /// The rest is not sent.
    Abort,
}

/// Serves the requests of a connection until the client, a limit or a server shutdown ends it.
pub(super) async fn run<S: Carrier + 'static>(session: Session, stream: S, dialect: Dialect, is_http2: bool) {
    let streams = session.last.caps.streams.filter(|&streams| streams > 0);
    let streams = streams.unwrap_or(dialect.caps().1).min(MOST_STREAMS);
    let (stream, talk) = (Rc::new(RefCell::new(stream)), Rc::new(Conversation::new(session, dialect)));
    let io = TokioIo::new(Line::new(stream.clone(), talk.clone()));
    let (service, spawned) = (Requests(talk.clone()), Spawned::default());
    let end = if is_http2 {
        let mut builder = http2::Builder::new(spawned.clone());
        builder
            .max_concurrent_streams(streams as u32)
            .initial_stream_window_size(WINDOW)
            .initial_connection_window_size(WINDOW)
            .max_header_list_size(HEAD as u32);
        let connection = builder.serve_connection(io, service);
        converse(&talk, &spawned, S::KEEPS, connection, http2::Connection::graceful_shutdown).await
    } else {
        // A client that closes its side after the request still gets its reply, as from CoreDNS.
        let connection = http1::Builder::new().half_close(true).max_buf_size(HEAD).serve_connection(io, service);
        converse(&talk, &spawned, S::KEEPS, connection, http1::Connection::graceful_shutdown).await
    };
    // Tasks that never ran would keep the connection alive.
    drop(spawned.take());
    let (Some(stream), Some(talk)) = (Rc::into_inner(stream), Rc::into_inner(talk)) else { return };
    let (mut stream, session) = (stream.into_inner(), talk.into_session());
    if end == End::Abort || session.part(&mut stream).await.is_none() {
        stream.abort();
    }
}

/// Runs a connection and its streams. `part` asks the client to close it.
async fn converse<C: Future<Output = hyper::Result<()>>>(
    talk: &Conversation,
    spawned: &Spawned,
    keeps: usize,
    connection: C,
    part: impl Fn(Pin<&mut C>),
) -> End {
    let mut connection = pin!(connection);
    let mut running = FuturesUnordered::new();
    let mut parting = None;
    let shared = talk.connection();
    loop {
        talk.tell(keeps);
        if shared.is_given_up() {
            return End::Abort;
        }
        if shared.closing.get() && parting.is_none() {
            part(connection.as_mut());
            parting = Some(Instant::now());
        }
        let due = || {
            talk.deadline().map(|(at, why)| match parting {
                Some(since) if why == Overdue::Idle => (shared.active.get().max(since) + PARTING, why),
                _ => (at, why),
            })
        };
        let deadline = due();
        let streams = poll_fn(|context| {
            running.extend(spawned.take());
            while let Poll::Ready(Some(())) = running.poll_next_unpin(context) {
                running.extend(spawned.take());
            }
            Poll::<Infallible>::Pending
        });
        tokio::select! {
            biased;
            () = shared.wake.notified() => {}
            () = talk.has_changed() => {}
            _ = connection.as_mut() => return End::Done,
            _ = streams => {}
            () = async { sleep_until(deadline.map_or_else(Instant::now, |(at, _)| at)).await }, if deadline.is_some() => {
                match due() {
                    Some((at, _)) if at > Instant::now() => {}
                    Some((_, Overdue::Slow)) => {
                        talk.count_slow();
                        return End::Abort;
                    }
                    Some((_, Overdue::Idle)) if parting.is_some() => return End::Abort,
                    Some((_, Overdue::Idle)) => shared.close(),
                    None => {}
                }
            }
        }
    }
}

//----------- For hyper ------------------------------------------------------

/// Answers the requests of a connection.
struct Requests(Rc<Conversation>);

impl Service<Request<Incoming>> for Requests {
    type Response = Response<Content>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Content>, Infallible>>>>;

    fn call(&self, request: Request<Incoming>) -> Self::Future {
        let response = self.0.respond(request);
        Box::pin(async move { Ok(response.await) })
    }
}

/// Tasks of HTTP/2 streams that the connection has not begun yet.
#[derive(Clone, Default)]
struct Spawned(Rc<RefCell<Vec<Task>>>);

type Task = Pin<Box<dyn Future<Output = ()>>>;

impl Spawned {
    fn take(&self) -> Vec<Task> {
        self.0.take()
    }
}

impl<F: Future<Output = ()> + 'static> Executor<F> for Spawned {
    fn execute(&self, task: F) {
        self.0.borrow_mut().push(Box::pin(task));
    }
}
