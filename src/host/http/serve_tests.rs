//! Connections over streams in memory. Limits are short, and tests wait for their effects.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;

use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::runtime::{Builder, Runtime};
use tokio::task::JoinHandle;

use super::super::Handler;
use super::*;

const GET: &str = "GET /page HTTP/1.1\r\nHost: x\r\n\r\n";

/// Longer than any test takes.
const LONG: Duration = Duration::from_secs(600);

/// A limit whose end a test waits for.
const SHORT: Duration = Duration::from_millis(30);

const PATIENT: Limits = Limits { request: LONG, reply: LONG, idle: LONG, pace: Duration::ZERO, requests: 1000 };

fn runtime() -> Runtime {
    Builder::new_current_thread().enable_all().build().expect("a runtime")
}

/// The pages of an address and its connections.
struct House {
    pages: Arc<Pages>,
    places: Arc<Places>,
    made: Arc<AtomicUsize>,
}

impl House {
    /// `/page` is light and says so; `/heavy` runs the given function.
    fn new(heavy: impl Fn() -> super::super::Page + Send + Sync + 'static) -> Self {
        let made = Arc::new(AtomicUsize::new(0));
        let count = made.clone();
        let light = Handler::light(move || {
            count.fetch_add(1, Ordering::Relaxed);
            (200, TEXT, "light".to_owned())
        });
        let address = ":1".to_owned();
        let endpoints = Endpoints::from([
            ((address.clone(), "/page".to_owned()), light),
            ((address.clone(), "/heavy".to_owned()), Handler::heavy(heavy)),
        ]);
        let pages = Arc::new(Pages { address, live: Arc::new(ArcSwap::from_pointee(endpoints)) });
        Self { pages, places: Arc::default(), made }
    }

    fn light() -> Self {
        Self::new(|| (200, TEXT, "heavy".to_owned()))
    }

    /// Connects a client whose stream buffers so many octets in each direction.
    fn enter(&self, limits: Limits, buffer: usize) -> (DuplexStream, JoinHandle<Option<Ending>>) {
        let (client, server) = duplex(buffer);
        let place = self.places.door();
        let visit = place.take([127, 0, 0, 1].into(), Instant::now());
        // Dropping the door would end the connection.
        let (pages, door) = (self.pages.clone(), place);
        let task = async move {
            let ending = converse(server, visit, pages, limits).await;
            drop(door);
            ending
        };
        (client, tokio::spawn(task))
    }

    /// Sends octets, closes the client's side, and reads the whole reply.
    async fn say(&self, octets: &str) -> String {
        let (mut client, _connection) = self.enter(PATIENT, 64 << 10);
        // The server may have ended the connection by now.
        let _ = client.write_all(octets.as_bytes()).await;
        let _ = client.shutdown().await;
        rest(&mut client).await
    }
}

async fn rest(client: &mut DuplexStream) -> String {
    let mut all = Vec::new();
    // Of a broken connection, what arrived counts.
    let _ = client.read_to_end(&mut all).await;
    String::from_utf8(all).expect("text")
}

#[test]
fn requests_are_answered_in_turn_also_by_a_client_that_has_closed_its_side() {
    runtime().block_on(async {
        let replies = House::light().say(&GET.repeat(3)).await;
        assert_eq!(replies.matches("HTTP/1.1 200 OK").count(), 3, "{replies}");
        assert_eq!(replies.matches("light").count(), 3, "{replies}");
    });
}

#[test]
fn invalid_and_too_long_requests_get_the_status_for_it() {
    let long = |octets: usize| "x".repeat(octets);
    let cases = [
        ("nonsense\r\n\r\n".to_owned(), "HTTP/1.1 400 Bad Request"),
        ("GET /page HTTP/1.1\r\nno colon\r\n\r\n".to_owned(), "HTTP/1.1 400 Bad Request"),
        (format!("GET /page HTTP/1.1\r\nA: {}\r\n\r\n", long(2 * HEAD)), "HTTP/1.1 431 "),
        ("GET /page HTTP/1.1\r\nContent-Length: x\r\n\r\n".to_owned(), "HTTP/1.1 400 Bad Request"),
        ("GET /page HTTP/1.1\r\n\r\n".to_owned(), "HTTP/1.1 400 Bad Request"),
        ("GET /page HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n".to_owned(), "HTTP/1.1 400 Bad Request"),
        ("GET /other HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "HTTP/1.1 404 Not Found"),
        ("HEAD /page HTTP/1.1\r\nHost: x\r\n\r\n".to_owned(), "HTTP/1.1 200 OK"),
        ("GET /page HTTP/1.0\r\n\r\n".to_owned(), "HTTP/1.0 200 OK"),
    ];
    runtime().block_on(async {
        for (octets, wanted) in cases {
            let reply = House::light().say(&octets).await;
            assert!(reply.starts_with(wanted), "{octets:.60}: {reply}");
        }
    });
}

#[test]
fn a_client_that_does_not_read_has_one_reply_made_beyond_what_was_taken() {
    runtime().block_on(async {
        let house = House::light();
        let (mut client, connection) = house.enter(Limits { reply: SHORT, ..PATIENT }, 1 << 10);
        // Either all is sent or the connection has ended.
        let _ = client.write_all(GET.repeat(1_000).as_bytes()).await;
        assert_eq!(connection.await.expect("no panic"), Some(Ending::Reply));
        let (made, taken) = (house.made.load(Ordering::Relaxed), rest(&mut client).await.matches("HTTP/1.1").count());
        assert!(made <= taken + 1, "{made} made, {taken} taken");
    });
}

#[test]
fn a_request_that_does_not_come_in_time_ends_the_connection() {
    runtime().block_on(async {
        let house = House::light();
        let limits = Limits { request: SHORT, ..PATIENT };
        for begun in ["", "GET /page HTTP/1.1\r\nHost: x\r\n"] {
            let (mut client, connection) = house.enter(limits, 1 << 10);
            client.write_all(begun.as_bytes()).await.expect("sends");
            assert_eq!(connection.await.expect("no panic"), Some(Ending::Request), "{begun}");
        }
        // Sending all the time does not help.
        let (mut client, connection) = house.enter(limits, 1 << 10);
        client.write_all(b"GET /page HTTP/1.1\r\nA: ").await.expect("sends");
        while client.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        assert_eq!(connection.await.expect("no panic"), Some(Ending::Request));
        assert_eq!(house.made.load(Ordering::Relaxed), 0);
    });
}

#[test]
fn idle_connections_end_and_so_do_those_with_many_requests() {
    runtime().block_on(async {
        let house = House::light();
        let (mut client, connection) = house.enter(Limits { idle: SHORT, ..PATIENT }, 1 << 10);
        client.write_all(GET.as_bytes()).await.expect("sends");
        assert_eq!(connection.await.expect("no panic"), Some(Ending::Idle));
        assert!(rest(&mut client).await.contains("200 OK"));
        let (mut client, connection) = house.enter(Limits { requests: 3, ..PATIENT }, 64 << 10);
        client.write_all(GET.repeat(5).as_bytes()).await.expect("sends");
        let replies = rest(&mut client).await;
        assert_eq!(replies.matches("200 OK").count(), 3, "{replies}");
        assert_eq!(replies.matches("connection: close").count(), 1, "{replies}");
        assert_eq!(connection.await.expect("no panic"), None, "that was announced");
    });
}

#[test]
fn a_body_is_not_read() {
    runtime().block_on(async {
        let (mut client, connection) = House::light().enter(PATIENT, 1 << 10);
        client.write_all(b"POST /page HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\nx").await.expect("sends");
        assert!(rest(&mut client).await.starts_with("HTTP/1.1 200 OK"));
        connection.await.expect("no panic");
    });
}

#[test]
fn an_evicted_connection_closes_at_once() {
    runtime().block_on(async {
        let house = House::light();
        let (mut client, connection) = house.enter(PATIENT, 1 << 10);
        let door = house.places.door();
        let held: Vec<Place> =
            (0..super::super::places::PLACES).map(|_| door.take([127, 0, 0, 2].into(), Instant::now())).collect();
        assert!(!connection.is_finished(), "the other client held more");
        drop(held);
        while !door.free_a_file().await && !connection.is_finished() {}
        assert_eq!(connection.await.expect("no panic"), None);
        assert_eq!(rest(&mut client).await, "");
    });
}

#[test]
fn a_heavy_page_is_made_once_for_all_waiters_and_a_light_one_does_not_wait_for_it() {
    let (begun, has_begun) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = std::sync::Mutex::new(may_go_on);
    let house = House::new(move || {
        begun.send(()).expect("the test waits");
        may_go_on.lock().expect("no panic").recv().expect("the test lets it go on");
        (200, TEXT, "heavy".to_owned())
    });
    let heavy = GET.replace("/page", "/heavy");
    runtime().block_on(async {
        let mut clients = vec![house.enter(PATIENT, 64 << 10).0];
        clients[0].write_all(heavy.as_bytes()).await.expect("sends");
        while has_begun.try_recv().is_err() {
            tokio::task::yield_now().await;
        }
        for _ in 0..50 {
            let (mut client, _) = house.enter(PATIENT, 64 << 10);
            client.write_all(heavy.as_bytes()).await.expect("sends");
            clients.push(client);
        }
        // The first client's page is not ready yet, and these are answered; by then all others have
        // asked.
        assert!(house.say(GET).await.contains("light"));
        assert!(has_begun.try_recv().is_err(), "one at a time");
        // One page for the first client, and one for all that came meanwhile.
        go_on.send(()).expect("it waits");
        go_on.send(()).expect("it will wait");
        for client in &mut clients {
            client.shutdown().await.expect("shuts down");
            assert!(rest(client).await.ends_with("heavy"));
        }
        assert_eq!(has_begun.try_iter().count(), 1);
    });
}

#[test]
fn while_all_places_are_taken_the_newest_heavy_page_goes_out_at_once() {
    let made = AtomicUsize::new(0);
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = std::sync::Mutex::new(may_go_on);
    let house = House::new(move || {
        if made.fetch_add(1, Ordering::Relaxed) > 0 {
            let _ = may_go_on.lock().expect("no panic").recv();
        }
        (200, TEXT, "heavy".to_owned())
    });
    let heavy = GET.replace("/page", "/heavy");
    runtime().block_on(async {
        assert!(house.say(&heavy).await.ends_with("heavy"));
        let door = house.places.door();
        let take = |_| door.take([127, 0, 0, 2].into(), Instant::now());
        let held: Vec<Place> = (0..super::super::places::PLACES).map(take).collect();
        // No other page is made before the test allows it.
        assert!(house.say(&heavy).await.ends_with("heavy"));
        drop(held);
        drop(go_on);
        assert!(house.say(&heavy).await.ends_with("heavy"));
    });
}

#[test]
fn a_heavy_page_without_a_waiter_is_not_made() {
    let made = Arc::new(AtomicUsize::new(0));
    let count = made.clone();
    let (go_on, may_go_on) = mpsc::channel::<()>();
    let may_go_on = std::sync::Mutex::new(may_go_on);
    let house = House::new(move || {
        count.fetch_add(1, Ordering::Relaxed);
        may_go_on.lock().expect("no panic").recv().expect("the test lets it go on");
        (200, TEXT, "heavy".to_owned())
    });
    let heavy = GET.replace("/page", "/heavy");
    runtime().block_on(async {
        let (mut first, _) = house.enter(PATIENT, 64 << 10);
        first.write_all(heavy.as_bytes()).await.expect("sends");
        while made.load(Ordering::Relaxed) == 0 {
            tokio::task::yield_now().await;
        }
        let gone: Vec<_> = (0..20).map(|_| house.enter(PATIENT, 64 << 10)).collect();
        for (mut client, connection) in gone {
            client.write_all(heavy.as_bytes()).await.expect("sends");
            tokio::task::yield_now().await;
            connection.abort();
        }
        go_on.send(()).expect("it waits");
        first.shutdown().await.expect("shuts down");
        assert!(rest(&mut first).await.ends_with("heavy"));
        go_on.send(()).expect("it will wait");
        assert!(house.say(&heavy).await.ends_with("heavy"));
        assert_eq!(made.load(Ordering::Relaxed), 2, "none for the twenty that went away");
    });
}

#[test]
fn a_page_that_panics_is_an_error_and_the_next_one_is_made() {
    let made = AtomicUsize::new(0);
    let house = House::new(move || match made.fetch_add(1, Ordering::Relaxed) {
        0 => panic!("for the test"),
        _ => (200, TEXT, "heavy".to_owned()),
    });
    let heavy = GET.replace("/page", "/heavy");
    runtime().block_on(async {
        assert!(house.say(&heavy).await.starts_with("HTTP/1.1 500 "));
        assert!(house.say(&heavy).await.ends_with("heavy"));
    });
}
