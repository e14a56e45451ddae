//! What one client can make a worker hold and do by requests, with a clock that the tests control.

mod calls;

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use base64::Engine;
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Bytes, Frame};
use hyper::client::conn::{http1, http2};
use hyper::{Request, Response, StatusCode};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream};
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::super::tests::{KERNEL, Worker, local};
use super::*;
use crate::chain::timeouts::{IDLE, MESSAGE, READING};
use crate::server::stream::output::UNREAD;
use crate::server::stream::session::IN_FLIGHT;
use crate::testing::packet;
use crate::wire::grpc;

/// A client's tasks run on the test's thread.
#[derive(Clone)]
struct Here;

impl<F: Future + 'static> Executor<F> for Here
where
    F::Output: 'static,
{
    fn execute(&self, task: F) {
        tokio::task::spawn_local(task);
    }
}

async fn http2<B>(stream: DuplexStream) -> http2::SendRequest<B>
where
    B: Body<Data = Bytes, Error = Infallible> + Unpin + 'static,
{
    let mut builder = http2::Builder::new(Here);
    // What the client does not read stays with the server.
    builder.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
    let (requests, connection) = builder.handshake(TokioIo::new(stream)).await.expect("HTTP/2");
    tokio::task::spawn_local(connection);
    requests
}

fn over_http1(session: Session, stream: DuplexStream) -> Task {
    Box::pin(run(session, stream, Dialect::Doh, false))
}

fn over_http2(session: Session, stream: DuplexStream) -> Task {
    Box::pin(run(session, stream, Dialect::Doh, true))
}

fn over_grpc(session: Session, stream: DuplexStream) -> Task {
    Box::pin(run(session, stream, Dialect::Grpc, true))
}

fn connect(worker: &Worker, is_http2: bool) -> (DuplexStream, JoinHandle<()>) {
    worker.connect_with(1, if is_http2 { over_http2 } else { over_http1 })
}

fn post(message: Vec<u8>) -> Request<Full<Bytes>> {
    Request::post("https://dns.test/dns-query").body(Full::from(message)).expect("a request")
}

fn get(path: &str) -> Request<Full<Bytes>> {
    Request::get(format!("https://dns.test{path}")).body(Full::default()).expect("a request")
}

fn call(path: &str, body: Vec<u8>) -> Request<Full<Bytes>> {
    let head = Request::post(format!("http://dns.test{path}")).header("content-type", "application/grpc+proto");
    head.body(Full::from(body)).expect("a request")
}

async fn body(response: Response<Incoming>) -> Vec<u8> {
    response.into_body().collect().await.expect("a body").to_bytes().to_vec()
}

//----------- Requests -------------------------------------------------------

#[tokio::test(start_paused = true)]
async fn what_is_no_query_has_the_status_of_coredns() {
    local(async {
        let worker = Worker::new();
        let (stream, _session) = connect(&worker, true);
        let mut requests = http2(stream).await;
        let question = packet("big.test.", "A");
        let mut response = question.clone();
        response[2] |= 0x80;
        let mut update = question.clone();
        update[2] |= 5 << 3;
        let put = Request::put("https://dns.test/dns-query").body(Full::from(question.clone())).expect("a request");
        let cases = [
            (get("/"), 404, "\n"),
            (get("/dns-query/"), 404, "\n"),
            (get("/dns-query"), 400, "invalid request\n"),
            (get("/dns-query?dns=AAAA"), 400, "invalid request\n"),
            (put, 400, "invalid request\n"),
            (post(Vec::new()), 400, "invalid request\n"),
            (post(vec![0; 65_536]), 400, "invalid request\n"),
            (post(question[..20].to_vec()), 400, "invalid request\n"),
            (post(response), 400, "invalid request\n"),
            (post(update), 400, "invalid request\n"),
        ];
        for (request, status, text) in cases {
            let what = format!("{request:?}");
            let response = requests.send_request(request).await.expect("a response");
            assert_eq!(response.status().as_u16(), status, "{what}");
            assert_eq!(body(response).await, text.as_bytes(), "{what}");
        }
        let count = |status| worker.local.shared.http.responses(Dialect::Doh, "dns://:53", status).get();
        assert_eq!((count("404"), count("400"), count("200")), (2, 8, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn both_methods_and_both_versions_answer() {
    local(async {
        let worker = Worker::new();
        let question = packet("big.test.", "TXT");
        let path = format!("/dns-query?dns={}", base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(&question));
        let (stream, _session) = connect(&worker, true);
        let mut requests = http2(stream).await;
        for request in [post(question.clone()), get(&path)] {
            let response = requests.send_request(request).await.expect("a response");
            assert_eq!(response.status(), StatusCode::OK);
            assert_eq!(response.headers()["content-type"], "application/dns-message");
            assert_eq!(response.headers()["cache-control"], "max-age=60");
            assert!(body(response).await.len() > 20_000);
        }
        let (stream, _session) = connect(&worker, false);
        let (mut requests, connection) = http1::handshake(TokioIo::new(stream)).await.expect("HTTP/1.1");
        tokio::task::spawn_local(connection);
        for _ in 0..3 {
            let response = requests.send_request(get(&path)).await.expect("a response");
            assert!(body(response).await.len() > 20_000);
        }
        assert_eq!(worker.held(), 0);
    })
    .await;
}

//----------- Clients that do not read ---------------------------------------

/// Windows of the client stay shut, or it does not read at all.
#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_answered_up_to_a_bound_and_closed() {
    local(async {
        for is_http2 in [true, false] {
            let worker = Worker::new();
            let (mut stream, session) = connect(&worker, is_http2);
            let start = Instant::now();
            let question = packet("big.test.", "TXT");
            if is_http2 {
                let mut requests = http2(stream).await;
                for _ in 0..200 {
                    let response = requests.send_request(post(question.clone()));
                    // Responses come; their bodies are kept and not read.
                    tokio::task::spawn_local(async move {
                        let _kept = response.await;
                        sleep(Duration::from_secs(3600)).await;
                    });
                }
                sleep(Duration::from_millis(100)).await;
            } else {
                let head = format!("POST /dns-query HTTP/1.1\r\nhost: a\r\ncontent-length: {}\r\n\r\n", question.len());
                let request = [head.as_bytes(), &question].concat();
                let all = request.repeat(500);
                let _ = tokio::time::timeout(Duration::from_millis(100), stream.write_all(&all)).await;
                // The stream stays open.
                tokio::task::spawn_local(async move {
                    sleep(Duration::from_secs(3600)).await;
                    drop(stream);
                });
            }
            let held = worker.held();
            assert!(held > KERNEL && held < 4 * UNREAD, "{held} octets are held, HTTP/2: {is_http2}");
            session.await.expect("no panic");
            assert!(start.elapsed() >= READING && start.elapsed() < 2 * READING, "{:?}", start.elapsed());
            assert_eq!((worker.held(), worker.local.shared.evicted.slow.get()), (0, 1), "HTTP/2: {is_http2}");
            assert_eq!(worker.local.shared.paused.get(), u64::from(is_http2));
        }
    })
    .await;
}

//----------- Clients that go on and on --------------------------------------

/// Streams that are reset give nothing back before their queries are over: neither places, nor the
/// right to more of them.
#[tokio::test(start_paused = true)]
async fn streams_that_are_reset_keep_their_places() {
    local(async {
        for dialect in [Dialect::Doh, Dialect::Grpc] {
            let worker = Worker::new();
            let (stream, _session) =
                worker.connect_with(1, if dialect == Dialect::Doh { over_http2 } else { over_grpc });
            let mut requests = http2(stream).await;
            for _ in 0..10 {
                let mut ask = |at: usize| {
                    let question = packet(&format!("{at}.wait.test."), "A");
                    requests.send_request(match dialect {
                        Dialect::Doh => post(question),
                        Dialect::Grpc => call(grpc::PATH, grpc::body(&question)),
                    })
                };
                let all: Vec<_> = (0..100).map(|at| tokio::task::spawn_local(ask(at))).collect();
                sleep(Duration::from_millis(10)).await;
                all.iter().for_each(JoinHandle::abort);
                sleep(Duration::from_millis(10)).await;
            }
            assert_eq!(worker.local.waiting(), IN_FLIGHT);
            assert_eq!(worker.local.shared.http.abandoned(dialect).get(), 1000);
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn incomplete_requests_are_counted_and_end() {
    local(async {
        let worker = Worker::new();
        let (mut stream, session) = connect(&worker, false);
        let start = Instant::now();
        stream.write_all(b"POST /dns-query HTTP/1.1\r\nhost: a\r\ncontent-length: 60000\r\n\r\n").await.expect("open");
        stream.write_all(&[0; 30_000]).await.expect("open");
        sleep(Duration::from_millis(10)).await;
        assert_eq!(worker.held(), 30_000);
        let mut response = [0; 12];
        stream.read_exact(&mut response).await.expect("a response");
        assert_eq!((&response[..], start.elapsed().as_secs()), (&b"HTTP/1.1 400"[..], MESSAGE.as_secs()));
        drop(stream);
        session.await.expect("no panic");
        assert_eq!(worker.held(), 0);
    })
    .await;
}

/// A body whose octets come a while after its head, and whose end never comes.
struct Late(Pin<Box<tokio::time::Sleep>>, Option<Bytes>);

impl Body for Late {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        std::task::ready!(self.0.as_mut().poll(cx));
        self.1.take().map_or(Poll::Pending, |octets| Poll::Ready(Some(Ok(Frame::data(octets)))))
    }
}

/// The room for what is read ahead counts for all streams of a connection together, also for those
/// that were open before it was full.
#[tokio::test(start_paused = true)]
async fn bodies_of_many_streams_share_one_room() {
    local(async {
        let worker = Worker::new();
        let (stream, _session) = connect(&worker, true);
        let mut requests = http2::<Late>(stream).await;
        for _ in 0..20 {
            let body = Late(Box::pin(sleep(Duration::from_secs(1))), Some(Bytes::from(vec![0; 60_000])));
            let request = Request::post("https://dns.test/dns-query").body(body).expect("a request");
            let response = requests.send_request(request);
            tokio::task::spawn_local(response);
        }
        sleep(Duration::from_millis(1_500)).await;
        let held = worker.held();
        assert!(held > 50_000 && held < 200_000, "{held} octets are held");
        // Each body has its time; then all is given back.
        sleep(MESSAGE).await;
        assert_eq!(worker.held(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_has_its_times() {
    local(async {
        let worker = Worker::new();
        for (octets, least) in [("", MESSAGE), ("GET / HT", MESSAGE), ("GET / HTTP/1.1\r\nhost: a\r\n\r\n", IDLE)] {
            let (mut stream, session) = connect(&worker, false);
            let start = Instant::now();
            stream.write_all(octets.as_bytes()).await.expect("open");
            session.await.expect("no panic");
            assert!(
                start.elapsed() >= least && start.elapsed() <= least + PARTING,
                "{octets:?}: {:?}",
                start.elapsed()
            );
        }
        let (stream, session) = connect(&worker, true);
        let start = Instant::now();
        let requests = http2::<Full<Bytes>>(stream).await;
        session.await.expect("no panic");
        assert!(start.elapsed() >= MESSAGE && start.elapsed() <= MESSAGE + PARTING, "{:?}", start.elapsed());
        assert!(requests.is_closed());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_listener_has_its_own_limit_of_connections() {
    local(async {
        let worker = Worker::new();
        let mut sessions = Vec::new();
        for client in 0..5 {
            // Each is idle for a shorter time than the one before.
            sleep(Duration::from_millis(10)).await;
            sessions.push(worker.connect_to(3, Some(3), client, over_http2));
        }
        let other = connect(&worker, true);
        sleep(Duration::from_millis(10)).await;
        let open: Vec<bool> = sessions.iter().map(|(_, session)| !session.is_finished()).collect();
        assert_eq!(open, [false, false, true, true, true]);
        assert!(!other.1.is_finished());
        assert_eq!(worker.local.shared.evicted.connections.get(), 2);
    })
    .await;
}

/// A drain ends idle connections, and others after their replies.
#[tokio::test(start_paused = true)]
async fn a_drain_waits_for_replies_only() {
    local(async {
        let worker = Worker::new();
        let (stream, idle) = connect(&worker, true);
        let _idle_client = http2::<Full<Bytes>>(stream).await;
        let (stream, busy) = connect(&worker, true);
        let mut requests = http2(stream).await;
        let response = tokio::task::spawn_local(requests.send_request(post(packet("x.wait.test.", "A"))));
        sleep(Duration::from_millis(10)).await;
        let start = Instant::now();
        worker.local.connections.close_when_quiet(None);
        idle.await.expect("no panic");
        assert!(start.elapsed() <= PARTING);
        assert!(!worker.local.connections.are_quiet() && !busy.is_finished() && !response.is_finished());
        response.abort();
        drop(requests);
        busy.await.expect("no panic");
        assert!(start.elapsed() <= 2 * PARTING);
    })
    .await;
}

//----------- Hostile octets -------------------------------------------------

/// A million octets, random and mutated, over both versions: every connection ends, and nothing
/// stays behind.
#[tokio::test(start_paused = true)]
async fn hostile_octets_end_a_connection_and_nothing_else() {
    local(async {
        let worker = Worker::new();
        let mut random = fastrand::Rng::with_seed(8484);
        let question = packet("big.test.", "A");
        let http1 = [b"POST /dns-query HTTP/1.1\r\nhost: a\r\ncontent-length: 30\r\n\r\n", &question[..]].concat();
        let preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";
        let http2 =
            [&preface[..], b"\0\0\x10\x01\x05\0\0\0\x01\x82\x87\x41\x01a\x44\x0a/dns-query", &[0; 400]].concat();
        let mut sent = 0;
        while sent < 1_000_000 {
            let (is_http2, is_grpc) = (random.bool(), random.bool());
            let mut octets = (if is_http2 { &http2 } else { &http1 }).repeat(8);
            for _ in 0..random.usize(0..40) {
                let at = random.usize(0..octets.len());
                octets[at] = random.u8(..);
            }
            if random.u8(..10) == 0 {
                octets.iter_mut().for_each(|octet| *octet = random.u8(..));
            }
            let (mut stream, session) =
                if is_grpc { worker.connect_with(1, over_grpc) } else { connect(&worker, is_http2) };
            let _ = tokio::time::timeout(Duration::from_millis(5), stream.write_all(&octets)).await;
            sent += octets.len();
            drop(stream);
            session.await.expect("no panic");
            assert_eq!(worker.held(), 0);
        }
    })
    .await;
}
