//! What clients can make a worker hold and do.

use std::sync::atomic::Ordering;

use super::super::super::output::UNREAD;
use super::super::super::session::IN_FLIGHT;
use super::super::super::tests::several::{MESSAGES, OCTETS, worker};
use super::hostile::initials;
use super::*;

#[tokio::test(start_paused = true)]
async fn a_client_that_does_not_read_is_answered_up_to_a_bound_and_closed() {
    local(async {
        let bed = Bed::new();
        let quic = bed.connect_with(reads_nothing()).await.expect("a connection");
        let start = tokio::time::Instant::now();
        let mut streams = Vec::new();
        for _ in 0..200 {
            let (mut send, receive) = quic.open_bi().await.expect("open");
            send.write_all(&question("big.test.", "TXT")).await.expect("open");
            send.finish().expect("open");
            streams.push((send, receive));
        }
        sleep(Duration::from_millis(100)).await;
        assert!(bed.worker.held() > UNREAD && bed.worker.held() < 4 * UNREAD, "{} octets", bed.worker.held());
        assert_eq!(bed.worker.local.shared.paused.get(), 1);
        assert_eq!(closed_with(&quic).await, 4);
        assert!(start.elapsed() >= READING && start.elapsed() < 2 * READING, "{:?}", start.elapsed());
        assert_eq!((bed.worker.held(), bed.slow(), bed.connections()), (0, 1, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn queries_in_flight_and_long_messages_are_bounded() {
    local(async {
        let bed = Bed::new();
        let quic = bed.connect().await;
        let mut streams = Vec::new();
        for number in 0..250 {
            let (mut send, receive) = quic.open_bi().await.expect("open");
            if number % 10 == 0 {
                // Octets of messages that claim to be long.
                send.write_all(&[0xEA, 0x60]).await.expect("open");
                let _ = tokio::time::timeout(Duration::from_millis(5), send.write_all(&[0; 50_000])).await;
            } else {
                send.write_all(&question("wait.test.", "A")).await.expect("open");
            }
            streams.push((send, receive));
        }
        sleep(Duration::from_millis(100)).await;
        assert_eq!(bed.worker.local.waiting(), IN_FLIGHT);
        let held = bed.worker.held();
        assert!(held > 60_000 && held < 130_000, "one long message: {held}");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn when_all_hold_too_much_the_slowest_reader_goes() {
    local(async {
        let bed = Bed::of(Worker::with(|shared| shared.limits.held = 300_000), Caps::default());
        let mut clients = Vec::new();
        for _ in 0..8 {
            let quic = bed.connect_with(reads_nothing()).await.expect("a connection");
            for _ in 0..4 {
                let (mut send, receive) = quic.open_bi().await.expect("open");
                send.write_all(&question("big.test.", "TXT")).await.expect("open");
                clients.push((quic.clone(), send, receive));
            }
            sleep(Duration::from_millis(20)).await;
            assert!(bed.worker.held() <= 300_000, "{}", bed.worker.held());
        }
        assert!(bed.worker.local.shared.evicted.memory.get() >= 3);
        assert_eq!(closed_with(&clients[0].0).await, 4, "the first one");
        assert!(clients[31].0.close_reason().is_none(), "not the last one");
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn there_are_no_more_connections_than_the_corefile_allows() {
    local(async {
        let caps = Caps { connections: Some(3), streams: Some(2) };
        let bed = Bed::of(Worker::new(), caps);
        let mut all = Vec::new();
        for _ in 0..5 {
            all.push(bed.connect().await);
            ask(&all[all.len() - 1], &question("a.test.", "A")).await.expect("a reply");
            // Until it is idle.
            sleep(Duration::from_millis(50)).await;
        }
        assert_eq!((closed_with(&all[0]).await, closed_with(&all[1]).await), (4, 4));
        assert!(all[2..].iter().all(|quic| quic.close_reason().is_none()));
        assert_eq!((bed.connections(), bed.worker.local.shared.evicted.connections.get()), (3, 2));
        assert_eq!(bed.worker.local.shared.quic.counts.retries.get(), 2, "there was no place for an unproven address");
        assert!(!bed.worker.local.connections.make_room(|one| one.files() > 0), "none of them has a file");
        let streams: Vec<_> = [all[4].open_bi().await, all[4].open_bi().await].into_iter().collect();
        let third = tokio::time::timeout(Duration::from_millis(100), all[4].open_bi()).await;
        assert!(third.is_err() && streams.len() == 2, "two streams at once");
    })
    .await;
}

/// Forged addresses cannot answer: beyond 32 handshakes they get no place, and clients do.
#[tokio::test(start_paused = true)]
async fn half_handshakes_take_no_places() {
    local(async {
        let bed = Bed::new();
        for (number, packet) in initials(&bed.net, 100).await.iter().enumerate() {
            bed.net.send(([10, 1, 0, number as u8], 1).into(), SERVER, packet);
        }
        sleep(Duration::from_millis(1)).await;
        let retries = bed.worker.local.shared.quic.counts.retries.get();
        assert_eq!((bed.connections(), retries), (32, 68));
        let quic = bed.connect().await;
        assert!(ask(&quic, &question("a.test.", "A")).await.is_ok());
        assert_eq!(bed.worker.local.shared.quic.counts.retries.get(), 69);
        sleep(MESSAGE).await;
        assert_eq!((bed.connections(), bed.worker.local.shared.failed_handshakes.get()), (1, 32));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn transfers_are_made_as_they_are_read_and_one_at_a_time() {
    local(async {
        let (worker, count) = worker();
        let bed = Bed::of(worker, Caps::default());
        let quic = bed.connect().await;
        let whole = ask(&quic, &question("big.test.", "AXFR")).await.expect("all messages");
        let (mut rest, mut number) = (&whole[..], 0_u32);
        while let Some((len, behind)) = rest.split_first_chunk::<2>() {
            let (message, behind) = behind.split_at(usize::from(u16::from_be_bytes(*len)));
            let at = 12 + 10 + 4 + 12;
            assert_eq!(message[at..at + 4], number.to_be_bytes(), "in order");
            (rest, number) = (behind, number + 1);
        }
        assert_eq!(number as usize, MESSAGES);
        let before = count.made.load(Ordering::Relaxed);
        // Those of a client that does not read are not made.
        let quic = bed.connect_with(reads_nothing()).await.expect("a connection");
        let mut streams = Vec::new();
        for _ in 0..20 {
            let (mut send, receive) = quic.open_bi().await.expect("open");
            send.write_all(&question("big.test.", "AXFR")).await.expect("open");
            streams.push((send, receive));
        }
        sleep(Duration::from_millis(100)).await;
        let made = count.made.load(Ordering::Relaxed) - before;
        assert!(made <= 2 + 2 * UNREAD / OCTETS, "{made} messages");
        assert_eq!(count.open.load(Ordering::Relaxed), 1, "one at a time on a connection");
        assert!(bed.worker.held() < 4 * UNREAD, "{} octets are held", bed.worker.held());
        assert_eq!(closed_with(&quic).await, 4);
        assert_eq!((count.open.load(Ordering::Relaxed), bed.worker.held()), (0, 0));
    })
    .await;
}
