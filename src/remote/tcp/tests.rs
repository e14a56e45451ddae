//! Connections over TCP change hands: against a server that counts them, and those that have ended.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use super::TcpPool;
use crate::host::Host;
use crate::host::metrics::Family;
use crate::remote::link::{Link, Reuse};
use crate::remote::message::Sent;
use crate::wire::name::Name;

/// A server that repeats every question as the answer to it; the one for `slow.` when it is told
/// to.
#[derive(Default)]
struct Server {
    opened: AtomicUsize,
    ended: AtomicUsize,
    /// Questions on the connection that had the most.
    most: AtomicUsize,
    slow: Mutex<Option<(TcpStream, Vec<u8>)>>,
}

impl Server {
    fn start() -> (Arc<Self>, SocketAddr) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let (address, server) = (listener.local_addr().expect("bound"), Arc::<Self>::default());
        let shared = server.clone();
        // It ends with the process.
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, server) = (stream.expect("a connection"), shared.clone());
                server.opened.fetch_add(1, Ordering::SeqCst);
                std::thread::spawn(move || {
                    server.serve(stream);
                    server.ended.fetch_add(1, Ordering::SeqCst);
                });
            }
        });
        (server, address)
    }

    fn serve(&self, mut stream: TcpStream) {
        let mut len = [0; 2];
        for count in 1.. {
            if stream.read_exact(&mut len).is_err() {
                return;
            }
            self.most.fetch_max(count, Ordering::SeqCst);
            let mut message = vec![0; usize::from(u16::from_be_bytes(len))];
            stream.read_exact(&mut message).expect("the rest");
            message[2] |= 0x80;
            let reply = [&len[..], &message].concat();
            if message[12..].starts_with(b"\x04slow") {
                *self.slow.lock().expect("no panic") = Some((stream.try_clone().expect("a stream"), reply));
            } else {
                stream.write_all(&reply).expect("written");
            }
        }
    }

    fn is_within(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let start = Instant::now();
        while !done(self) {
            assert!(start.elapsed() < Duration::from_secs(20), "waited too long: {what}");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

static COUNTS: Family = Family { name: "connections_total", help: "Connections.", labels: &["how"] };

fn reuse() -> Reuse {
    let host = Host::default();
    Reuse { hits: host.metrics.counter(&COUNTS, &["hit"]), misses: host.metrics.counter(&COUNTS, &["miss"]) }
}

fn sent(name: &str) -> Arc<Sent> {
    Arc::new(Sent::probe(&Name::from_text(name).expect("a name"), true))
}

/// Issue 13: one TCP connection to an upstream took all questions for ever.
#[test]
fn a_connection_takes_so_many_questions_and_ends_with_its_last_answer() {
    let (server, peer) = Server::start();
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    // No connection is idle for so long.
    let (expire, patience) = (Duration::from_secs(3600), Duration::from_secs(20));
    let link = Link { peer, source: None, expire, max_age: None, max_idle: None, random_case: false };
    let pool = Arc::new(TcpPool::new(link, None, reuse()));
    let (slow_pool, handle) = (pool.clone(), runtime.handle().clone());
    let slow = runtime.spawn(async move { slow_pool.exchange(&sent("slow."), patience, &handle).await });
    server.is_within("the slow one is asked", |server| server.slow.lock().expect("no panic").is_some());
    for n in 0..4_100 {
        let outcome = runtime.block_on(pool.exchange(&sent(&format!("n{n}.")), patience, runtime.handle()));
        if let Err(failure) = outcome {
            panic!("{n}: {}", failure.text);
        }
    }
    let opened = server.opened.load(Ordering::SeqCst);
    assert!((3..=6).contains(&opened), "{opened} connections for 4,100 questions");
    // A few more go over the old one until its successor is open.
    assert!(server.most.load(Ordering::SeqCst) < 2_200, "{:?} on one", server.most);
    server.is_within("all end but two: the last, and the first, which owes an answer", |server| {
        server.ended.load(Ordering::SeqCst) + 2 >= server.opened.load(Ordering::SeqCst)
    });
    assert!(!slow.is_finished());
    let (mut stream, reply) = server.slow.lock().expect("no panic").take().expect("a question");
    stream.write_all(&reply).expect("written");
    drop(stream);
    assert!(runtime.block_on(slow).expect("no panic").is_ok(), "what was asked before is answered");
    server.is_within("the first one ends", |server| {
        server.ended.load(Ordering::SeqCst) + 1 >= server.opened.load(Ordering::SeqCst)
    });
    drop(pool);
    server.is_within("the last one ends with its configuration", |server| {
        server.ended.load(Ordering::SeqCst) == server.opened.load(Ordering::SeqCst)
    });
}

/// A peer that takes no new connection: questions go on over the old one.
#[test]
fn without_a_successor_no_question_is_lost() {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let peer = listener.local_addr().expect("bound");
    let (server, over) = (Arc::<Server>::default(), Arc::<AtomicBool>::default());
    let (shared, is_over) = (server.clone(), over.clone());
    std::thread::spawn(move || {
        let (stream, _) = listener.accept().expect("a connection");
        drop(listener);
        shared.serve(stream);
        is_over.store(true, Ordering::SeqCst);
    });
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime");
    let expire = Duration::from_secs(3600);
    let link = Link { peer, source: None, expire, max_age: None, max_idle: None, random_case: false };
    let pool = TcpPool::new(link, None, reuse());
    for n in 0..2_500 {
        let outcome = runtime.block_on(pool.exchange(&sent(&format!("n{n}.")), expire, runtime.handle()));
        assert!(outcome.is_ok(), "{n}");
    }
    assert!(server.most.load(Ordering::SeqCst) == 2_500 && !over.load(Ordering::SeqCst));
}
