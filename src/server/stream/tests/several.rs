//! Replies of several messages: who reads slowly makes the worker hold little and make no more.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use tokio::io::AsyncWriteExt;
use tokio::time::Instant;

use super::super::output::UNREAD;
use super::{Worker, frame, local, push, receive};
use crate::chain::setup::{Registration, Setup};
use crate::chain::timeouts::READING;
use crate::chain::{Here, Plugin, Query, Reply, Step};
use crate::error::Result;
use crate::testing::kit::desk::Desk;
use crate::testing::kit::message::client;
use crate::testing::{Server, packet};
use crate::wire::answer::{Answer, Section};
use crate::wire::encode::{Encoder, Owner};
use crate::wire::types::{rcode, rtype};

/// Messages of a reply, and octets of each.
pub(in super::super) const MESSAGES: usize = 1_000;
pub(in super::super) const OCTETS: usize = 16_000;

/// Messages that were made, and replies that are not complete and not given up.
#[derive(Default)]
pub(in super::super) struct Count {
    pub(in super::super) made: AtomicUsize,
    pub(in super::super) open: AtomicUsize,
}

/// A plugin that answers AXFR with [`MESSAGES`] messages.
const PLUGINS: &[Registration] = &[Registration::bare("many", set_up)];

fn set_up(s: &mut Setup<'_>) -> Result<()> {
    s.chain(Many(s.host.shared.get_or_make("count", Count::default)));
    Ok(())
}

struct Many(Arc<Count>);

impl Plugin for Many {
    fn ask(&self, query: &mut Query<'_>, _: &Here<'_>) -> Step {
        let mut messages = Making::new(self.0.clone());
        let first = Reply::memory(messages.next().expect("a first one"));
        Step::Answer(if query.question.qtype == rtype::AXFR { first.with_more(messages) } else { first })
    }
}

/// Makes messages, each with its number in the first octets of its record.
struct Making {
    count: Arc<Count>,
    next: usize,
}

impl Making {
    fn new(count: Arc<Count>) -> Self {
        count.open.fetch_add(1, Ordering::Relaxed);
        Self { count, next: 0 }
    }
}

impl Iterator for Making {
    type Item = Arc<Answer>;

    fn next(&mut self) -> Option<Arc<Answer>> {
        let data = [&(self.next as u32).to_be_bytes()[..], &[0; OCTETS]].concat();
        self.next += 1;
        self.count.made.fetch_add(1, Ordering::Relaxed);
        let answer = Encoder::build(10, |e| {
            e.record(Section::Answer, Owner::ASKED, rtype::TXT, 60, |e| e.put(&data));
        });
        (self.next <= MESSAGES).then(|| Arc::new(answer))
    }
}

impl Drop for Making {
    fn drop(&mut self) {
        self.count.open.fetch_sub(1, Ordering::Relaxed);
    }
}

pub(in super::super) fn worker() -> (Worker, Arc<Count>) {
    let server = Server::with_plugins(PLUGINS, ". {\n many\n}\n").expect("a good Corefile");
    let count = server.host.shared.get_or_make("count", Count::default);
    (Worker::serving(server), count)
}

#[tokio::test(start_paused = true)]
async fn messages_are_made_as_they_are_read() {
    local(async {
        let (worker, count) = worker();
        let (mut client, _session) = worker.connect(1);
        push(&mut client, &[frame("big.test.", "AXFR"), frame("big.test.", "TXT")].concat()).await;
        let (made, held) = (count.made.load(Ordering::Relaxed), worker.held());
        assert!(made <= 2 + 2 * UNREAD / OCTETS, "{made} messages are made for a client that reads none");
        assert!(held < 4 * UNREAD, "{held} octets are held");
        for number in 0..MESSAGES {
            let message = receive(&mut client).await.expect("a message");
            assert!(message.len() > OCTETS);
            let at = 12 + 10 + 4 + 12;
            assert_eq!(message[at..at + 4], (number as u32).to_be_bytes(), "in order");
        }
        assert!(receive(&mut client).await.is_some(), "the next question is answered after it");
        assert_eq!(count.open.load(Ordering::Relaxed), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_thousand_of_them_that_nobody_reads_cost_no_more_than_one() {
    local(async {
        let (worker, count) = worker();
        let ((mut client, session), start) = (worker.connect(1), Instant::now());
        push(&mut client, &frame("big.test.", "AXFR").repeat(1_000)).await;
        assert_eq!(count.open.load(Ordering::Relaxed), 1, "one at a time on a connection");
        assert!(count.made.load(Ordering::Relaxed) <= 2 + 2 * UNREAD / OCTETS);
        assert!(worker.held() < 4 * UNREAD, "{} octets are held", worker.held());
        session.await.expect("no panic");
        assert!(start.elapsed() >= READING && start.elapsed() < 2 * READING, "{:?}", start.elapsed());
        assert_eq!((count.open.load(Ordering::Relaxed), worker.held()), (0, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn who_leaves_in_the_middle_leaves_nothing_behind() {
    local(async {
        let (worker, count) = worker();
        let (mut client, session) = worker.connect(1);
        client.write_all(&frame("big.test.", "AXFR")).await.expect("open");
        for _ in 0..20 {
            receive(&mut client).await.expect("a message");
        }
        drop(client);
        session.await.expect("no panic");
        assert_eq!((count.open.load(Ordering::Relaxed), worker.held()), (0, 0));
        assert!(count.made.load(Ordering::Relaxed) < 40);
    })
    .await;
}

#[tokio::test]
async fn a_transport_that_sends_one_message_refuses_several() {
    let server = Server::with_plugins(PLUGINS, ". {\n many\n}\n").expect("a good Corefile");
    let (mut desk, listener) = (Desk::default(), &server.configuration.listeners[0]);
    let mut code = |qtype| {
        let now = std::time::Instant::now();
        let reply = desk.ask(&packet("big.test.", qtype), client(), listener, now).expect("a reply");
        u16::from(reply[3] & 0xF)
    };
    assert_eq!((code("AXFR"), code("TXT")), (rcode::REFUSED, rcode::NOERROR));
}
