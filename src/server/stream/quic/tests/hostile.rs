//! Clients that do not keep to the protocol.

use super::super::super::session::IN_FLIGHT;
use super::*;

#[tokio::test(start_paused = true)]
async fn what_breaks_the_protocol_closes_the_connection() {
    local(async {
        let bed = Bed::new();
        let good = question("a.test.", "A");
        let mut id = good.clone();
        id[2] = 1;
        let mut response = good.clone();
        response[4] |= 0x80;
        let mut keepalive = [&good[..], &[0, 11, 0, 0]].concat();
        let (len, end) = (keepalive.len(), good.len());
        keepalive[..2].copy_from_slice(&(len as u16 - 2).to_be_bytes());
        keepalive[end - 1] = 4;
        let cases = [
            ("an id", id),
            ("a response", response),
            ("the option of TCP", keepalive),
            ("no message", Vec::new()),
            ("an empty message", vec![0, 0]),
            ("half a header", [&[0, 6], &good[2..8]].concat()),
            ("an end before its end", good[..good.len() - 1].to_vec()),
            ("the longest length", [&[0xFF, 0xFF], &good[2..]].concat()),
            ("two queries", good.repeat(2)),
        ];
        let count = cases.len() as u64;
        for (what, octets) in cases {
            let quic = bed.connect().await;
            let _ = ask(&quic, &octets).await;
            assert_eq!(closed_with(&quic).await, 2, "{what}");
        }
        let (_, failed, broken) = bed.responses();
        assert_eq!((failed, broken, bed.connections(), bed.worker.held()), (0, count, 0, 0));
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_query_without_the_end_of_its_stream_is_answered() {
    local(async {
        let bed = Bed::new();
        let quic = bed.connect().await;
        let (mut send, mut receive) = quic.open_bi().await.expect("open");
        send.write_all(&question("a.test.", "A")).await.expect("open");
        assert!(receive.read_to_end(1000).await.expect("a reply").len() > 20);
        assert!(ask(&quic, &question("a.test.", "A")).await.is_ok(), "the connection is good");
        // More after it is not good.
        send.write_all(b"x").await.expect("open");
        assert_eq!(closed_with(&quic).await, 2);
    })
    .await;
}

/// quinn notes each stream that we reset until the connection ends.
#[tokio::test(start_paused = true)]
async fn streams_without_a_query_end_the_connection_in_the_end() {
    local(async {
        let bed = Bed::new();
        let quic = bed.connect().await;
        for _ in 0..4_000 {
            let Ok((mut send, _receive)) = quic.open_bi().await else { break };
            let _ = send.write_all(&[0]).await;
            let _ = send.reset(VarInt::from_u32(0));
        }
        assert_eq!(closed_with(&quic).await, 4);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn half_a_query_costs_its_stream_only() {
    local(async {
        let bed = Bed::new();
        let quic = bed.connect().await;
        let octets = question("a.test.", "A");
        let (mut send, mut receive) = quic.open_bi().await.expect("open");
        send.write_all(&octets[..9]).await.expect("open");
        let start = tokio::time::Instant::now();
        let end = receive.read_to_end(1000).await;
        let reset = quinn::ReadToEndError::Read(quinn::ReadError::Reset(VarInt::from_u32(1)));
        assert_eq!(end.expect_err("no reply").to_string(), reset.to_string());
        assert!(start.elapsed() >= MESSAGE && start.elapsed() < MESSAGE * 2, "{:?}", start.elapsed());
        send.write_all(&octets[9..]).await.expect("it must not be told to stop");
        assert!(ask(&quic, &octets).await.is_ok(), "the connection is good");
        assert_eq!(bed.responses(), (1, 1, 0));
        sleep(Duration::from_millis(50)).await;
        assert_eq!(bed.worker.held(), 0);
    })
    .await;
}

/// Resets as fast as a client can: each stream that is given up is counted, queries that wait go on
/// to hold their places, and others are answered.
#[tokio::test(start_paused = true)]
async fn streams_that_are_given_up_hold_what_their_queries_hold() {
    local(async {
        let bed = Bed::new();
        let (quic, other) = (bed.connect().await, bed.connect().await);
        for _ in 0..1_000 {
            let Ok(Ok((mut send, mut receive))) = tokio::time::timeout(Duration::from_millis(20), quic.open_bi()).await
            else {
                break;
            };
            send.write_all(&question("wait.test.", "A")).await.expect("open");
            // The query arrives before its end does.
            sleep(Duration::from_micros(100)).await;
            let _ = send.reset(VarInt::from_u32(3));
            let _ = receive.stop(VarInt::from_u32(3));
        }
        sleep(Duration::from_millis(50)).await;
        assert!(ask(&other, &question("a.test.", "A")).await.is_ok());
        assert_eq!(bed.worker.local.waiting(), IN_FLIGHT, "no place is given back before its query is over");
        let abandoned = bed.worker.local.shared.quic.counts.abandoned.get();
        assert!(abandoned >= 500, "{abandoned} were given up");
        sleep(Duration::from_millis(50)).await;
        assert_eq!(bed.worker.held(), 0);
    })
    .await;
}

/// A million octets that are no QUIC, and packets whose octets are changed: nothing stays, and a
/// client is served.
#[tokio::test(start_paused = true)]
async fn garbage_has_no_effect() {
    local(async {
        let bed = Bed::new();
        let mut random = fastrand::Rng::with_seed(9250);
        let initial = initials(&bed.net, 1).await.remove(0);
        let mut sent = 0;
        while sent < 1_000_000 {
            let mut packet = initial.clone();
            match random.u8(..4) {
                0 => packet.iter_mut().for_each(|octet| *octet = random.u8(..)),
                1 => packet.truncate(random.usize(1..initial.len())),
                _ => (0..random.usize(1..20)).for_each(|_| packet[random.usize(..initial.len())] = random.u8(..)),
            }
            bed.net.send(([10, 0, 0, random.u8(..)], random.u16(1..)).into(), SERVER, &packet);
            sent += packet.len();
            if random.u8(..8) == 0 {
                sleep(Duration::from_millis(1)).await;
            }
        }
        let quic = bed.connect().await;
        assert!(ask(&quic, &question("a.test.", "A")).await.is_ok());
        sleep(2 * MESSAGE).await;
        assert_eq!((bed.connections(), bed.worker.held()), (1, 0));
    })
    .await;
}

/// First packets of clients that send nothing more.
pub(super) async fn initials(net: &Arc<Net>, count: u16) -> Vec<Vec<u8>> {
    let mut config = Pki::new().client(None, &[&TLS13]);
    config.alpn_protocols = vec![b"doq".to_vec()];
    let config = quinn::ClientConfig::new(Arc::new(QuicClientConfig::try_from(config).expect("a suite")));
    let endpoint = client(net, ([10, 0, 0, 9], 1).into());
    let mut packets = Vec::new();
    for port in 0..count {
        let nobody = ([10, 0, 0, 8], port + 1).into();
        let connecting = endpoint.connect_with(config.clone(), nobody, "dns.example.org").expect("begun");
        sleep(Duration::from_millis(1)).await;
        drop(connecting);
        packets.push(net.take(nobody).remove(0));
    }
    packets
}
