//! A worker that is asked for more than it can answer.

use std::collections::{HashMap, VecDeque};
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::time::Instant;

use super::backlog::{MOST, OCTETS, SPARE};
use super::*;

/// A socket's queue in the kernel.
#[derive(Default)]
struct Queue(VecDeque<(SocketAddr, Vec<u8>)>);

impl Queue {
    /// Adds a datagram of a client with its number as content.
    fn add(&mut self, client: u32, number: u32) {
        self.0.push_back((peer(client), number.to_be_bytes().to_vec()));
    }

    fn receive(&mut self, inbox: &mut Inbox) -> io::Result<usize> {
        let count = self.0.len().min(BATCH);
        let batch: Vec<_> = self.0.drain(..count).collect();
        inbox.fill(&batch);
        if count == 0 { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(count) }
    }
}

fn peer(client: u32) -> SocketAddr {
    (Ipv4Addr::from_bits(0x0A00_0000 + client), 1024).into()
}

/// An intake and its queue.
struct Worker {
    intake: Intake,
    queue: Queue,
    habits: Habits,
}

impl Worker {
    fn new() -> Self {
        Self { intake: Intake::default(), queue: Queue::default(), habits: Habits::new(Instant::now()) }
    }

    /// Answers what is next; returns the client and the number of each datagram.
    fn round(&mut self) -> Vec<(u32, u32)> {
        if self.intake.receive(|inbox| self.queue.receive(inbox), &self.habits).is_err() {
            return Vec::new();
        }
        let datagrams = self.intake.datagrams().map(|datagram| {
            let IpAddr::V4(client) = datagram.peer.ip() else { panic!("IPv4") };
            let number = datagram.bytes.first_chunk().copied().map(u32::from_be_bytes);
            (client.to_bits() - 0x0A00_0000, number.expect("a number"))
        });
        datagrams.collect()
    }

    /// Answers until nothing is left; returns the datagrams.
    fn rest(&mut self) -> Vec<(u32, u32)> {
        let mut all = Vec::new();
        while !self.queue.0.is_empty() || self.intake.is_late() {
            all.extend(self.round());
        }
        all
    }

    fn dropped(&mut self) -> u64 {
        self.intake.take_dropped().unwrap_or_default().by_share
    }
}

/// Lets client 0 flood with 300 datagrams each round, beside `fair` clients with one datagram
/// each round. Returns the answers that each of them got in 200 rounds at the end.
fn flood(worker: &mut Worker, fair: u32) -> HashMap<u32, u32> {
    let mut answers = HashMap::new();
    for round in 0..500 {
        (0..300).for_each(|number| worker.queue.add(0, number));
        (1..=fair).for_each(|client| worker.queue.add(client, round));
        for (client, _) in worker.round() {
            *answers.entry(client).or_default() += u32::from(round >= 300);
        }
    }
    answers
}

#[test]
fn what_can_be_answered_is_answered_as_it_comes() {
    let mut worker = Worker::new();
    for round in 0..100 {
        (0..20).for_each(|client| worker.queue.add(client, round));
        assert_eq!(worker.round(), (0..20).map(|client| (client, round)).collect::<Vec<_>>());
        assert!(!worker.intake.is_late());
    }
    assert!(worker.intake.take_dropped().is_none() && worker.intake.backlog.buffers.all.is_empty());
}

/// A worker that is never idle, and always keeps up: what arrives is as much as it answers.
#[test]
fn a_worker_that_keeps_up_is_not_late() {
    let mut worker = Worker::new();
    (0..200).for_each(|number| worker.queue.add(number % 9, number));
    let (mut number, mut late) = (200, 0);
    for _ in 0..2_000 {
        for _ in 0..worker.round().len() {
            worker.queue.add(number % 9, number);
            number += 1;
        }
        late += u32::from(worker.intake.is_late());
    }
    assert_eq!((late, worker.dropped()), (0, 0));
    assert!(!Pressure::is_high());
}

#[test]
fn a_flood_takes_what_the_others_leave() {
    let mut worker = Worker::new();
    let answers = flood(&mut worker, 20);
    assert!((1..=20).all(|client| answers[&client] == 200), "{answers:?}");
    assert_eq!(answers[&0], 200 * (ROUND as u32 - 20), "no round is wasted");
    assert_eq!(worker.intake.take_dropped().and_then(|dropped| dropped.heaviest), Some(peer(0).ip()));
    assert!(Pressure::is_high());
    // When the flood is over, little is kept of it.
    worker.rest();
    assert!(!Pressure::is_high());
    worker.queue.add(1, 1);
    assert_eq!(worker.round(), [(1, 1)]);
    let backlog = &worker.intake.backlog;
    assert!(backlog.buffers.all.len() <= SPARE && backlog.buffers.octets == 0 && backlog.clients() == 0);
}

#[test]
fn those_who_ask_too_much_have_equal_shares() {
    let mut worker = Worker::new();
    let mut answers: HashMap<u32, u32> = HashMap::new();
    for round in 0..500 {
        // 10, 20, and 40 to 100 datagrams a round, for a round of 64.
        for client in [1, 2, 4, 6, 8, 10] {
            (0..client * 10).for_each(|number| worker.queue.add(client, number));
        }
        for (client, _) in worker.round() {
            *answers.entry(client).or_default() += u32::from(round >= 300);
        }
    }
    let fair = 200 * ROUND as u32 / 6;
    assert!(answers.values().all(|&answers| answers.abs_diff(fair) < fair / 10), "{fair}: {answers:?}");
}

#[test]
fn an_address_of_many_clients_has_a_larger_share_if_it_had_before() {
    let mut worker = Worker::new();
    // 10,000 datagrams a second, as of a node behind SNAT, for two minutes without a flood.
    let start = Instant::now();
    for batch in 0..120_000 {
        let now = start + std::time::Duration::from_millis(1) * batch;
        worker.habits.note(|| Some(peer(1).ip()), 10, now);
    }
    let mut answers: HashMap<u32, u32> = HashMap::new();
    for round in 0..500 {
        (0..25).for_each(|number| worker.queue.add(1, number));
        // Without its habit, the address would have two or three datagrams a round.
        (2..32).for_each(|client| (0..4).for_each(|number| worker.queue.add(client, number)));
        for (client, _) in worker.round() {
            *answers.entry(client).or_default() += u32::from(round >= 300);
        }
    }
    assert_eq!(answers[&1], 200 * 25, "all of them");
}

#[test]
fn known_clients_come_before_forged_addresses() {
    let mut worker = Worker::new();
    (0..100).for_each(|_| worker.habits.note(|| Some(peer(1).ip()), 100, Instant::now()));
    let mut answers = 0;
    for round in 0..500 {
        (0..300).for_each(|number| worker.queue.add(1000 + round * 300 + number, number));
        worker.queue.add(1, round);
        let known = worker.round().iter().filter(|(client, _)| *client == 1).count();
        answers += if round >= 300 { known } else { 0 };
    }
    assert_eq!(answers, 200);
    assert!(worker.intake.backlog.clients() <= WINDOW as usize * 301 + MOST);
}

#[test]
fn a_burst_is_answered_as_a_whole() {
    let mut worker = Worker::new();
    for _ in 0..3 {
        let most = BURST as u32 + MOST as u32;
        (0..most).for_each(|number| worker.queue.add(0, number));
        let mut numbers: Vec<u32> = worker.rest().into_iter().map(|(_, number)| number).collect();
        numbers.sort_unstable();
        assert!(numbers.iter().copied().eq(0..most), "{} of {most}", numbers.len());
        assert_eq!(worker.dropped(), 0);
        // The socket is found empty.
        assert_eq!(worker.round(), []);
    }
}

/// Each datagram is either answered or counted as dropped.
#[test]
fn what_is_too_much_is_dropped_and_counted() {
    let mut worker = Worker::new();
    let most = 50_000;
    (0..most).for_each(|number| worker.queue.add(number % 7, number));
    let answered = worker.rest().len() as u64;
    assert!(answered < u64::from(most) / 2, "{answered}");
    assert_eq!(answered + worker.dropped(), u64::from(most));
}

#[test]
fn what_the_kernel_has_dropped_ends_the_patience() {
    let mut worker = Worker::new();
    worker.intake.inbox.lose(1);
    (0..4_000).for_each(|number| worker.queue.add(0, number));
    let answered = worker.rest().len();
    let dropped = worker.intake.take_dropped().expect("some");
    assert_eq!((dropped.by_kernel, answered as u64 + dropped.by_share), (1, 4_000));
    assert!(dropped.by_share > 0);
}

#[test]
fn long_datagrams_are_fewer() {
    let mut worker = Worker::new();
    for number in 0..50_000_u32 {
        worker.queue.0.push_back((peer(0), [&number.to_be_bytes()[..], &[0; 4000]].concat()));
    }
    let mut most = 0;
    while !worker.queue.0.is_empty() {
        worker.round();
        most = most.max(worker.intake.backlog.buffers.octets);
    }
    assert!(most <= OCTETS + BATCH * 4096, "{most}");
}
