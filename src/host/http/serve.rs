//! Connections to pages. Accepting never waits for a client, and no client keeps a place beyond its
//! limits.

use std::future::poll_fn;
use std::io::{self, Read, Write};
use std::net::TcpListener;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use arc_swap::ArcSwap;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{CONNECTION, CONTENT_TYPE, HOST, HeaderValue};
use hyper::{Request, Response, StatusCode, Version};
use hyper_util::rt::TokioIo;
use socket2::SockRef;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep_until};

use super::places::{Ending, LIMITS, Limits, Place, Places, Visit};
use super::press::Sheet;
use super::{Endpoints, Handler, Kind, TEXT};

/// The longest head of a request, in octets: the request line and all headers.
const HEAD: usize = 32 << 10;

/// How much the kernel may buffer for a connection, in octets. It uses twice as much, and charges
/// all of it to the container.
const SEND_BUFFER: usize = 16 << 10;
const RECEIVE_BUFFER: usize = 8 << 10;

/// Pause before the next attempt to accept, if no file is free for a connection.
const PAUSE: Duration = Duration::from_millis(50);

/// A time that is never reached.
const NEVER: Duration = Duration::from_secs(86_400);

//----------- Accepting ------------------------------------------------------

/// Serves the pages of one address. When this future is dropped, the connections end.
pub(super) async fn serve(listener: TcpListener, address: String, live: Arc<ArcSwap<Endpoints>>, places: Arc<Places>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let (door, pages) = (places.door(), Arc::new(Pages { address, live }));
    loop {
        match listener.accept().await {
            Ok((stream, client)) => {
                let place = door.take(client.ip().to_canonical(), Instant::now());
                let mut conversation = Box::pin(converse(Eager(prepared(stream)), place, pages.clone(), LIMITS));
                // A complete request is answered before anything else happens: a thousand newer
                // connections might want its place.
                if poll_fn(|context| Poll::Ready(conversation.as_mut().poll(context))).await.is_pending() {
                    tokio::spawn(conversation);
                }
            }
            Err(error) if is_of_the_client(&error) => {}
            // Most likely out of files.
            Err(_) => {
                if !door.free_a_file().await {
                    tokio::time::sleep(PAUSE).await;
                }
            }
        }
    }
}

/// Returns whether accepting failed because of this one connection, and would work for others.
fn is_of_the_client(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::ConnectionAborted | io::ErrorKind::ConnectionReset)
}

/// Limits what the kernel buffers for a connection. It also works without these options.
fn prepared(stream: TcpStream) -> TcpStream {
    let socket = SockRef::from(&stream);
    let _ = socket.set_send_buffer_size(SEND_BUFFER);
    let _ = socket.set_recv_buffer_size(RECEIVE_BUFFER);
    let _ = socket.set_tcp_nodelay(true);
    stream
}

//----------- One connection -------------------------------------------------

/// The pages of one address.
pub(super) struct Pages {
    pub(super) address: String,
    pub(super) live: Arc<ArcSwap<Endpoints>>,
}

/// Answers one request after another until the connection ends. Returns why, if the server ends it.
pub(super) async fn converse(
    stream: impl AsyncRead + AsyncWrite + Unpin,
    place: Place,
    pages: Arc<Pages>,
    limits: Limits,
) -> Option<Ending> {
    let (place, visit) = (&place, place.visit.clone());
    let service = hyper::service::service_fn(|request| {
        let pages = pages.clone();
        async move { Ok::<_, std::convert::Infallible>(answer(&request, &pages, place, &limits).await) }
    });
    let mut connection = pin!(
        hyper::server::conn::http1::Builder::new()
            // A client that closes its side after the request still gets its reply, as from
            // CoreDNS.
            .half_close(true)
            .max_buf_size(HEAD)
            .serve_connection(TokioIo::new(Watched { stream, visit: visit.clone(), limits }), service)
    );
    let mut leave = pin!(visit.leave());
    let mut clock = pin!(sleep_until(Instant::now() + NEVER));
    let ending = poll_fn(|context| {
        if leave.as_mut().poll(context).is_ready() {
            return Poll::Ready(None);
        }
        if let Poll::Ready(ended) = connection.as_mut().poll(context) {
            return Poll::Ready(ended.is_err_and(|error| error.is_parse()).then_some(Ending::Bad));
        }
        let Some((deadline, why)) = visit.deadline(&limits) else { return Poll::Pending };
        if clock.deadline() != deadline {
            clock.as_mut().reset(deadline);
        }
        clock.as_mut().poll(context).map(|()| Some(why))
    });
    ending.await.inspect(|ending| ending.count())
}

async fn answer(request: &Request<Incoming>, pages: &Pages, place: &Place, limits: &Limits) -> Response<Full<Bytes>> {
    let now = Instant::now();
    let (not_before, requests) = place.visit.asked(now);
    if not_before > now {
        sleep_until(not_before).await;
    }
    let is_bad = !names_one_host(request);
    let sheet = if is_bad {
        Ending::Bad.count();
        (400, TEXT, Bytes::from_static(b"400 Bad Request: not one Host header\n"))
    } else {
        pages.sheet(request.uri().path(), place).await
    };
    let (status, kind, body) = sheet;
    place.reply(body.len(), Instant::now());
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    if is_bad || requests >= limits.requests {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// Returns whether the request has one Host. RFC 9112 section 3.2: anything else is bad. CoreDNS
/// refuses it as well.
fn names_one_host(request: &Request<Incoming>) -> bool {
    match request.headers().get_all(HOST).iter().count() {
        0 => request.version() < Version::HTTP_11,
        count => count == 1,
    }
}

impl Pages {
    async fn sheet(&self, path: &str, place: &Place) -> Sheet {
        let handler = self.live.load().get(&(self.address.clone(), path.to_owned())).cloned();
        match handler {
            Some(handler) => handler.sheet(place.is_wanted()).await,
            None => (404, TEXT, Bytes::from_static(b"404 page not found\n")),
        }
    }
}

impl Handler {
    async fn sheet(&self, at_once: bool) -> Sheet {
        match &self.0 {
            Kind::Light(make) => {
                let (status, kind, body) = make();
                (status, kind, body.into())
            }
            Kind::Heavy(press) => press
                .sheet(at_once)
                .await
                .unwrap_or_else(|| (500, TEXT, Bytes::from_static(b"500 the page cannot be made: see the log\n"))),
        }
    }
}

//----------- Eager ----------------------------------------------------------

/// A stream that reads from the kernel at once. tokio's own first waits until the kernel reports
/// data, even if there is some from the start.
struct Eager(TcpStream);

fn is_to_be_waited_for<T>(result: &io::Result<T>) -> bool {
    result.as_ref().is_err_and(|error| matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::Interrupted))
}

impl AsyncRead for Eager {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let read = (&*SockRef::from(&self.0)).read(into.initialize_unfilled());
        if is_to_be_waited_for(&read) {
            return Pin::new(&mut self.0).poll_read(context, into);
        }
        into.advance(read?);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Eager {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        let written = (&*SockRef::from(&self.0)).write(octets);
        if is_to_be_waited_for(&written) {
            return Pin::new(&mut self.0).poll_write(context, octets);
        }
        Poll::Ready(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = (&*SockRef::from(&self.0)).write_vectored(octets);
        if is_to_be_waited_for(&written) {
            return Pin::new(&mut self.0).poll_write_vectored(context, octets);
        }
        Poll::Ready(written)
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(context)
    }
}

//----------- Watched --------------------------------------------------------

/// A stream that tells a visit when its client has sent something, and when all that was written is
/// accepted.
struct Watched<S> {
    stream: S,
    visit: Arc<Visit>,
    limits: Limits,
}

impl<S: AsyncRead + Unpin> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let before = into.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(context, into))?;
        if into.filled().len() > before {
            self.visit.heard(Instant::now());
        }
        Poll::Ready(Ok(()))
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(context, octets)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(context, octets)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    /// hyper flushes when it has written everything.
    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.visit.flushed(Instant::now(), &self.limits);
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
#[path = "serve_tests.rs"]
mod tests;
