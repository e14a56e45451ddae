//! A panic in a plugin costs one query: SERVFAIL, counted once, and nothing stays behind.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Instant;

use signpost::chain::listener::Listener;
use signpost::chain::setup::{Registration, Setup};
use signpost::chain::walk::panics;
use signpost::chain::{Here, Plugin, Query, Reply, Step, Turn};
use signpost::error::Result;
use signpost::host::{Host, http};
use signpost::server::publish::Stage;
use signpost::wire::name::Name;
use signpost::wire::question::Question;
use signpost::wire::types::{rcode, rtype};
use tokio::runtime::{Builder, Runtime};

use super::built::built;
use super::support::{PATIENCE, connect, decode, exchange, free_port, query, receive, send, text};

/// The first labels that make a plugin panic, each in another place.
const PLACES: [&str; 9] =
    ["down", "up", "wait", "up-wait", "again-down", "again-up", "again-wait", "lookup", "lookup-wait"];

//----------- A plugin that panics -------------------------------------------

const COUNTS: Registration = Registration::bare("counts", |s| seat(s, Counts));
const AGAIN: Registration = Registration::bare("again", |s| seat(s, Again));
const PANICS: Registration = Registration::bare("panics", |s| seat(s, Panics));
const ANSWERS: Registration = Registration::bare("answers", |s| seat(s, Answers));

fn seat(s: &mut Setup<'_>, plugin: impl Plugin) -> Result<()> {
    s.chain(plugin);
    Ok(())
}

/// Replies that it saw or was told of, as `prometheus` counts them.
static COUNTED: AtomicU64 = AtomicU64::new(0);

/// The top plugin, which counts.
struct Counts;

impl Plugin for Counts {
    fn reply(&self, _: &mut Query<'_>, _: &mut Reply, _: &Here<'_>) -> Turn {
        COUNTED.fetch_add(1, Ordering::Relaxed);
        Turn::Up
    }

    fn refused(&self, query: &Query<'_>, _: &Reply, _: &Listener) -> bool {
        assert!(label(query) != "beside", "for the test, outside of any walk");
        COUNTED.fetch_add(1, Ordering::Relaxed);
        true
    }
}

/// Does what the first label of the name says.
struct Panics;

/// Answers that every name exists.
struct Answers;

impl Plugin for Answers {
    fn ask(&self, _: &mut Query<'_>, _: &Here<'_>) -> Step {
        Step::Answer(Reply::failure(rcode::NOERROR, ""))
    }
}

fn label(query: &Query<'_>) -> String {
    let wire = query.question.name.wire();
    String::from_utf8_lossy(&wire[1..=usize::from(wire[0])]).into_owned()
}

/// A future that panics when it is polled for the second time.
async fn later() -> Reply {
    tokio::task::yield_now().await;
    panic!("for the test, in a future")
}

impl Plugin for Panics {
    fn ask(&self, query: &mut Query<'_>, here: &Here<'_>) -> Step {
        let walks = query.mark(here.seat) + 1;
        query.set_mark(here.seat, walks);
        match (&*label(query), walks) {
            ("down", _) => panic!("for the test, on the way down"),
            ("again-down", 2) => panic!("for the test, on the second way down"),
            ("wait", _) | ("again-wait", 2) => Step::Wait(Box::pin(later())),
            (kind @ ("lookup" | "lookup-wait"), _) => {
                let inner = if kind == "lookup" { "down.test." } else { "wait.test." };
                Step::Wait(here.lookup(query.inner(&Question::new(Name::from_text(inner).expect("a name"), rtype::A))))
            }
            _ => Step::Next,
        }
    }

    fn reply(&self, query: &mut Query<'_>, _: &mut Reply, here: &Here<'_>) -> Turn {
        match (&*label(query), query.mark(here.seat)) {
            ("up", _) => panic!("for the test, on the way up"),
            ("again-up", 2) => panic!("for the test, on the second way up"),
            ("up-wait", _) => Turn::Wait(Box::pin(later())),
            _ => Turn::Up,
        }
    }
}

/// Asks the plugins below it twice.
struct Again;

impl Plugin for Again {
    fn reply(&self, query: &mut Query<'_>, _: &mut Reply, here: &Here<'_>) -> Turn {
        if !label(query).starts_with("again-") || query.mark(here.seat) > 0 {
            return Turn::Up;
        }
        query.set_mark(here.seat, 1);
        Turn::Again
    }
}

//----------- The server -----------------------------------------------------

/// A server of two workers in this process, with test plugins.
struct Served {
    stage: Stage,
    runtime: Runtime,
    address: SocketAddr,
}

impl Served {
    fn start() -> Self {
        let plugins = [COUNTS, AGAIN, PANICS, ANSWERS];
        let address = SocketAddr::from(([127, 0, 0, 1], free_port()));
        let text = format!("test:{} {{\ncounts\nagain\npanics\nanswers\n}}\n", address.port());
        let host = Arc::new(Host::default());
        let configuration = built(&text, &plugins, &host).expect("a configuration");
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
        let stage = Stage::new(host, runtime.handle().clone(), 2).expect("workers");
        let pages = http::resolve(&configuration.endpoints).expect("addresses");
        stage.publish(configuration, &pages).expect("opens");
        Self { stage, runtime, address }
    }
}

/// Both tests count the panics of the process.
fn alone() -> MutexGuard<'static, ()> {
    static ALONE: Mutex<()> = Mutex::new(());
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn a_panic_costs_one_query_wherever_it_is() {
    let _alone = alone();
    let server = Served::start();
    let mut stream = connect(server.address);
    for place in PLACES {
        for over_tcp in [false, true] {
            let mut ask = |name: &str| {
                let packet = query(name, "A");
                if !over_tcp {
                    return exchange(server.address, &packet);
                }
                send(&mut stream, &packet);
                receive(&mut stream)
            };
            let (before, counted) = (panics(), COUNTED.load(Ordering::Relaxed));
            let reply = ask(&format!("{place}.test.")).expect("a reply");
            let asked = format!("{place}, over TCP: {over_tcp}");
            assert_eq!(text(&decode(&reply)).lines().next(), Some("SERVFAIL"), "{asked}");
            assert_eq!(panics() - before, 1, "{asked}");
            // The client's question, and the one that a plugin asks the server.
            let questions = 1 + u64::from(place.starts_with("lookup"));
            assert_eq!(COUNTED.load(Ordering::Relaxed) - counted, questions, "{asked}");
            let next = ask("fine.test.").expect("a reply");
            assert_eq!(text(&decode(&next)).lines().next(), Some("NOERROR"), "after {asked}");
            assert_eq!(panics() - before, 1, "{asked}");
        }
    }
    // No query waits any more: a worker is drained when all its waiting places are free.
    drop(stream);
    let start = Instant::now();
    server.runtime.block_on(server.stage.drain(PATIENCE));
    assert!(start.elapsed() < PATIENCE, "a query holds its waiting place");
}

/// A panic outside of the walks costs what waits at that socket, and not the socket.
#[test]
fn a_panic_outside_of_a_walk_ends_no_socket() {
    let _alone = alone();
    let server = Served::start();
    for round in 1..20 {
        let (before, socket) = (panics(), std::net::UdpSocket::bind("127.0.0.1:0").expect("bound"));
        socket.send_to(&query("beside.elsewhere.", "A"), server.address).expect("sent");
        let start = Instant::now();
        while panics() == before {
            assert!(start.elapsed() < PATIENCE, "the datagram is not read, round {round}");
            std::thread::sleep(std::time::Duration::from_millis(1));
        }
        let reply = exchange(server.address, &query("fine.test.", "A")).expect("a reply");
        assert_eq!(text(&decode(&reply)).lines().next(), Some("NOERROR"), "round {round}");
    }
}
