//! What clients see while there is a loop, and a complete loop over sockets.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant as Clock;

use super::*;
use crate::testing::Server;

fn state() -> Arc<State> {
    let host = crate::host::Host::default();
    let gauge = host.metrics.gauge(&DETECTED, &["."]);
    Arc::new(State { detector: Detector::default(), passed: Block::new(1), gauge, zone: Name::ROOT })
}

#[test]
fn tokens_are_two_random_labels_below_the_zone() {
    let zone = Name::from_text("cluster.local.").expect("a name");
    let (one, other) = (token(&zone), token(&zone));
    assert!(one != other && one.is_under(&zone) && one.label_count() == 4, "{one}");
}

#[test]
fn likely_lines_are_named() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("resolv.conf").display().to_string();
    std::fs::write(&file, "search a\nnameserver 127.0.0.53\nnameserver 9.9.9.9\nnameserver  10.1.2.3 \n")
        .expect("a file");
    let own = ["10.1.2.3".parse().expect("an address")];
    let lines = suspects(&[file.clone(), "/nonexistent".into()], &own);
    assert_eq!(lines, [format!("'nameserver 127.0.0.53' in {file}:2"), format!("'nameserver  10.1.2.3' in {file}:4")]);
    assert!(stub_hint(&lines).contains("/run/systemd/resolve/resolv.conf"));
    assert_eq!(stub_hint(&lines[1..]), "");
    let text =
        b"\tnameserver\t127.0.0.53\t# the stub\r\n  nameserver ::1\n# nameserver 127.0.0.1\n;nameserver 127.0.0.1\n\
        nameservers 127.0.0.1\nnameserver127.0.0.1\nnameserver\n\xff\nnameserver 10.1.2.3%eth0 extra\n";
    std::fs::write(&file, text).expect("a file");
    let lines = suspects(std::slice::from_ref(&file), &own);
    let wanted =
        [("nameserver\t127.0.0.53\t# the stub", 1), ("nameserver ::1", 2), ("nameserver 10.1.2.3%eth0 extra", 9)];
    assert_eq!(lines, wanted.map(|(line, number)| format!("'{line}' in {file}:{number}")));
    assert!(!stub_hint(&lines).is_empty());
}

/// Answers HINFO queries on a socket as the chain would: each passes the plugin, and the upstream
/// sends it back here while `looping` is set.
async fn serve(socket: UdpSocket, plugin: Loop, looping: Arc<AtomicBool>) {
    let server = Server::new(". {\nwhoami\n}\n");
    let listener = &server.configuration.listeners[0];
    let here = Here { listener, site: &listener.sites()[0], seat: 0 };
    let mut packet = [0; 512];
    loop {
        let (len, peer) = socket.recv_from(&mut packet).await.expect("a query");
        let crate::wire::request::Gate::Pass(request) = crate::wire::request::gate(&packet[..len]) else { continue };
        let client = crate::chain::Client { peer, local: peer, proto: crate::chain::Proto::Udp };
        let mut query = Query::new(&packet[..len], request, client, Clock::now());
        while matches!(plugin.ask(&mut query, &here), Step::Next) && looping.load(Ordering::Relaxed) {}
        let reply = [&packet[..2], &[0x81, 0x82], &packet[4..len]].concat();
        socket.send_to(&reply, peer).await.expect("a client");
    }
}

#[test]
fn a_loop_is_found_over_sockets_and_queries_are_refused_until_it_ends() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let local = tokio::task::LocalSet::new();
    local.block_on(&runtime, async {
        let (state, looping) = (state(), Arc::new(AtomicBool::new(true)));
        let socket = UdpSocket::bind("127.0.0.1:0").await.expect("a socket");
        let port = socket.local_addr().expect("an address").port();
        tokio::task::spawn_local(serve(socket, Loop(state.clone()), looping.clone()));
        let address = SiteAddress { transport: Transport::Dns, port, host: String::new(), zones: vec![Name::ROOT] };
        let prober = Prober { state: state.clone(), address, files: Vec::new() };
        assert!(prober.probe().await);
        assert!(state.detector.is_broken() && state.gauge.get() > 0.0);
        let reply = refusal();
        assert_eq!((reply.rcode(), reply.cause().is_some()), (rcode::SERVFAIL, true));
        assert!(prober.probe().await && state.detector.is_broken(), "the loop is still there");
        looping.store(false, Ordering::Relaxed);
        assert!(prober.probe().await && !state.detector.is_broken(), "the loop is gone");
        assert!(state.gauge.get() < 1.0);
    });
}
