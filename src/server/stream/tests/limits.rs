//! What one client can make a worker hold and do, with a clock that the tests control.

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::{spawn_local, yield_now};
use tokio::time::{Instant, sleep};

use super::super::output::UNREAD;
use super::super::session::IN_FLIGHT;
use super::*;
use crate::chain::timeouts::{IDLE, MESSAGE, READING};
use crate::server::shifts::Shifts;

//----------- Clients that do not read ---------------------------------------

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_answered_up_to_a_bound_and_closed() {
    local(async {
        let worker = Worker::new();
        let ((mut client, session), start) = (worker.connect(1), Instant::now());
        let questions = frame("big.test.", "TXT").repeat(5_000);
        let taken = push(&mut client, &questions).await;
        assert!(taken < 40_000, "{taken} octets were read of a client that does not read");
        assert!(worker.held() > UNREAD && worker.held() < 4 * UNREAD, "{} octets are held", worker.held());
        assert_eq!(worker.local.shared.paused.get(), 1);
        session.await.expect("no panic");
        assert!(start.elapsed() >= READING && start.elapsed() < 2 * READING, "{:?}", start.elapsed());
        assert_eq!((worker.held(), worker.local.shared.evicted.slow.get()), (0, 1));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_client_that_reads_gets_all_answers_in_order_of_arrival() {
    local(async {
        let worker = Worker::new();
        let (mut client, session) = worker.connect(1);
        let (mut reader, mut writer) = tokio::io::split(client);
        let write = async {
            for id in 0..500_u16 {
                let mut question = frame("big.test.", "TXT");
                question[2..4].copy_from_slice(&id.to_be_bytes());
                writer.write_all(&question).await.expect("open");
            }
            writer.shutdown().await.expect("open");
        };
        let read = async {
            let mut ids = Vec::new();
            while let Some(message) = receive(&mut reader).await {
                assert!(message.len() > 20_000);
                ids.push(u16::from_be_bytes([message[0], message[1]]));
            }
            ids
        };
        let ((), ids) = tokio::join!(write, read);
        assert!(ids.iter().copied().eq(0..500), "{ids:?}");
        session.await.expect("no panic");
        client = reader.unsplit(writer);
        drop(client);
        assert_eq!((worker.held(), worker.local.connections.count()), (0, 0));
    })
    .await;
}

/// Reads octet by octet: some progress each time, but never enough.
#[tokio::test(start_paused = true)]
async fn a_client_that_reads_in_drips_is_closed_in_the_end() {
    local(async {
        let worker = Worker::new();
        let ((mut client, session), start) = (worker.connect(1), Instant::now());
        push(&mut client, &frame("big.test.", "TXT").repeat(100)).await;
        while !session.is_finished() {
            let _ = client.read_u8().await;
            sleep(Duration::from_millis(10)).await;
            assert!(start.elapsed() < 4 * READING, "it lives on");
        }
        assert_eq!(worker.local.shared.evicted.slow.get(), 1);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn when_all_hold_too_much_the_slowest_reader_goes() {
    local(async {
        let worker = Worker::with(|shared| shared.limits.held = 1 << 20);
        // This client reads and asks all the time.
        let (client, busy) = worker.connect(1);
        let (mut reader, mut writer) = tokio::io::split(client);
        spawn_local(async move { while writer.write_all(&frame("big.test.", "TXT")).await.is_ok() {} });
        let reading = spawn_local(async move {
            while receive(&mut reader).await.is_some() {
                sleep(Duration::from_millis(1)).await;
            }
        });
        let mut silent = Vec::new();
        for last in 2..30 {
            let (mut client, session) = worker.connect(last);
            push(&mut client, &frame("big.test.", "TXT").repeat(20)).await;
            silent.push((client, session));
            assert!(worker.held() <= 1 << 20, "{} octets are held", worker.held());
        }
        let gone: Vec<bool> = silent.iter().map(|(_, session)| session.is_finished()).collect();
        let first_kept = gone.iter().position(|gone| !gone).expect("the last one is there");
        assert!(first_kept > 5 && gone[first_kept..].iter().all(|gone| !gone), "oldest first: {gone:?}");
        assert_eq!(worker.local.shared.evicted.memory.get(), first_kept as u64);
        assert!(!busy.is_finished(), "the one that reads stays");
        reading.abort();
    })
    .await;
}

/// However many ask at the same moment, those that are given up free what they hold before others
/// are answered.
#[tokio::test(start_paused = true)]
async fn what_all_hold_is_bounded_at_every_moment() {
    local(async {
        let worker = Worker::with(|shared| shared.limits.held = 1 << 20);
        let mut clients = Vec::new();
        for last in 1..100 {
            let (mut client, session) = worker.connect(last);
            client.write_all(&frame("big.test.", "TXT").repeat(20)).await.expect("open");
            clients.push((client, session));
        }
        let mut most = 0;
        for _ in 0..1_000 {
            yield_now().await;
            most = most.max(worker.held());
        }
        assert!(most <= (1 << 20) + 3 * UNREAD, "{most} octets are held");
        assert!(worker.local.shared.evicted.memory.get() > 50);
    })
    .await;
}

//----------- Clients that ask without end -----------------------------------

/// With slices of zero length, the worker looks for datagrams after each answer, however many
/// questions arrived at once.
#[tokio::test(start_paused = true)]
async fn datagrams_are_looked_for_between_answers() {
    local(async {
        let worker = Worker::with_shifts(Shifts::new(Duration::ZERO), |_| {});
        let looks = Rc::new(Cell::new(0));
        let looking = looks.clone();
        spawn_local(async move {
            loop {
                yield_now().await;
                looking.set(looking.get() + 1);
            }
        });
        let (mut client, _session) = worker.connect(1);
        client.write_all(&frame("a.test.", "A").repeat(50)).await.expect("open");
        for answered in 0..50 {
            assert!(receive(&mut client).await.is_some());
            assert!(looks.get() >= answered, "{} looks before answer {answered}", looks.get());
        }
    })
    .await;
}

//----------- Queries that wait ----------------------------------------------

#[tokio::test(start_paused = true)]
async fn one_read_brings_no_more_than_128_queries_in_flight() {
    local(async {
        let worker = Worker::new();
        let (mut client, _session) = worker.connect(1);
        let question = frame("wait.test.", "A");
        let taken = push(&mut client, &question.repeat(9_000)).await;
        // Answered messages, those that the session has read, and those that the "kernel" holds.
        assert!(taken <= IN_FLIGHT * question.len() + 4096 + KERNEL, "{taken}");
        assert_eq!(worker.local.waiting(), IN_FLIGHT);
    })
    .await;
}

/// Late replies count until they are taken: in flight, among the places, and as held octets.
#[tokio::test(start_paused = true)]
async fn late_replies_that_are_not_read_count_on() {
    local(async {
        let worker = Worker::new();
        let (mut client, session) = worker.connect(1);
        push(&mut client, &frame("big.test.", "TXT").repeat(4)).await;
        push(&mut client, &frame("wait.test.", "A").repeat(20)).await;
        let waiting = worker.local.waiting();
        sleep(Duration::from_millis(4_500)).await;
        assert_eq!(worker.local.waiting(), waiting, "nobody has read");
        session.await.expect("no panic");
        sleep(Duration::from_secs(10)).await;
        assert_eq!((worker.local.waiting(), worker.held()), (0, 0));
    })
    .await;
}

//----------- Connections ----------------------------------------------------

#[tokio::test(start_paused = true)]
async fn the_idlest_connection_of_the_busiest_address_is_closed_first() {
    local(async {
        let worker = Worker::with(|shared| shared.limits.connections = 8);
        let mut honest = Vec::new();
        for last in 1..4 {
            honest.push(worker.connect(last));
            sleep(Duration::from_millis(10)).await;
        }
        let mut greedy = Vec::new();
        for _ in 0..20 {
            greedy.push(worker.connect(99));
            sleep(Duration::from_millis(10)).await;
        }
        assert!(honest.iter().all(|(_, session)| !session.is_finished()), "though they are older");
        let gone: Vec<bool> = greedy.iter().map(|(_, session)| session.is_finished()).collect();
        assert_eq!(gone, [[true; 15].as_slice(), &[false; 5]].concat());
        assert_eq!(worker.local.shared.evicted.connections.get(), 15);
    })
    .await;
}

/// All are busy, but the limit still applies.
#[tokio::test(start_paused = true)]
async fn busy_ones_go_when_there_are_no_others() {
    local(async {
        let worker = Worker::with(|shared| shared.limits.connections = 4);
        let mut all = Vec::new();
        for _ in 0..6 {
            let (mut client, session) = worker.connect(1);
            push(&mut client, &frame("wait.test.", "A")).await;
            all.push((client, session));
        }
        let gone: Vec<bool> = all.iter().map(|(_, session)| session.is_finished()).collect();
        assert_eq!(gone, [true, true, false, false, false, false]);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_message_and_a_pause_have_their_times() {
    local(async {
        let worker = Worker::new();
        let lives = async |octets: &[u8]| {
            let ((mut client, session), start) = (worker.connect(1), Instant::now());
            client.write_all(octets).await.expect("open");
            session.await.expect("no panic");
            start.elapsed()
        };
        let question = frame("big.test.", "A");
        for (octets, time) in [(&question[..0], MESSAGE), (&question[..9], MESSAGE), (&question, IDLE)] {
            let lived = lives(octets).await;
            assert!(lived >= time && lived < time + MESSAGE / 2, "{} octets: {lived:?}", octets.len());
        }
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_server_block_sets_the_times_and_how_many_messages_there_may_be() {
    local(async {
        let limits = "timeouts {\nread 1\nwrite 2\nidle 7\nmaxtcpqueries 3\n}\n";
        let worker = Worker::configured(limits, Shifts::default(), |_| {});
        let question = frame("big.test.", "A");
        for (octets, seconds) in [(&question[..9], 1), (&*question, 7), (&question.repeat(5), 0)] {
            let ((mut client, session), start) = (worker.connect(1), Instant::now());
            client.write_all(octets).await.expect("open");
            session.await.expect("no panic");
            assert_eq!(start.elapsed().as_secs(), seconds);
            let mut answers = 0;
            while receive(&mut client).await.is_some() {
                answers += 1;
            }
            assert_eq!(answers, [(octets.len() / question.len()), 3].into_iter().min().expect("two"));
        }
        let ((mut client, session), start) = (worker.connect(1), Instant::now());
        push(&mut client, &frame("big.test.", "TXT").repeat(2)).await;
        session.await.expect("no panic");
        assert_eq!(start.elapsed().as_secs(), 2, "nobody reads");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_stalled_reader_does_not_hold_up_the_end_for_longer_than_its_time() {
    local(async {
        let worker = Worker::new();
        let ((mut client, session), start) = (worker.connect(1), Instant::now());
        push(&mut client, &frame("big.test.", "TXT").repeat(100)).await;
        let (_idle, idle) = worker.connect(2);
        sleep(Duration::from_millis(10)).await;
        worker.local.connections.close_when_quiet(None);
        idle.await.expect("no panic");
        assert!(!worker.local.connections.are_quiet() && start.elapsed() < READING);
        session.await.expect("no panic");
        assert!(worker.local.connections.are_quiet() && start.elapsed() < READING + MESSAGE);
    })
    .await;
}
