//! Queries against scripted upstreams on loopback. What is counted is answers and packets, not
//! seconds.

mod faults;
mod grpc;
mod https;
mod names;
mod quic;
mod tls;

use std::net::SocketAddr;
use std::time::Duration;

use crate::chain::{Proto, Reply};
use crate::testing::live::Live;
use crate::testing::upstream::{Act, Answer, Upstream};
use crate::testing::{Server, packet};

fn live(to: &[SocketAddr], options: &str) -> Live {
    let to: Vec<String> = to.iter().map(SocketAddr::to_string).collect();
    Live::new(&format!(". {{\nforward . {} {{\n{options}\n}}\n}}", to.join(" ")))
}

fn cause(reply: &Reply) -> &str {
    reply.cause().unwrap_or_default()
}

#[test]
fn a_reply_is_passed_on_as_it_came() {
    let upstream = Upstream::start(|seen| {
        let answer =
            Answer::to(&seen.packet).flags(0x0420).a("192.0.2.1", 7).record(0, &[0xC0, 12], (65_400, 9), b"any");
        vec![Act::send(answer.option(15, &[0, 18]))]
    });
    let live = live(&[upstream.address], "");
    let got = live.ask("wWw.Example.org.", "A");
    assert_eq!((got.message.answers.len(), got.message.answers[1].ttl), (2, 9));
    assert!(got.message.metadata.authoritative && got.message.metadata.authentic_data);
    assert_eq!(got.message.queries[0].name().to_string(), "wWw.Example.org.");
    assert_eq!(got.reply.answer.options, [0, 15, 0, 2, 0, 18]);
    let seen = upstream.seen();
    assert_eq!(seen[0].packet[2..], packet("wWw.Example.org.", "A")[2..]);
    assert_ne!(seen[0].packet[..2], [0x12, 0x34], "an id of our own (once in 65,536 the same)");
}

#[test]
fn zones_exceptions_and_the_order_of_the_file() {
    let (a, b) = (Upstream::with_a("192.0.2.1"), Upstream::with_a("192.0.2.2"));
    let text = format!(
        ". {{\nforward example.org {0} {{\nexcept lab.example.org\n}}\nforward net {0} {{\nexcept net\n}}\nforward . {1} {{\nexcept com\n}}\n}}",
        a.address, b.address
    );
    let live = Live::new(&text);
    assert_eq!(live.ask("www.example.org.", "A").text(), "NOERROR 192.0.2.1/60");
    assert_eq!(live.ask("net.", "A").text(), "NOERROR 192.0.2.1/60", "FROM itself is never excepted");
    assert_eq!(live.ask("www.net.", "A").text(), "NOERROR 192.0.2.2/60");
    assert_eq!(live.ask("x.lab.example.org.", "A").text(), "NOERROR 192.0.2.2/60");
    let lost = live.ask("example.com.", "A");
    assert_eq!((lost.text().as_str(), cause(&lost.reply)), ("SERVFAIL", "plugin/forward: no next plugin found"));
}

/// Row C14: 1,000 clients ask the same at the same time.
#[test]
fn equal_questions_in_flight_are_one() {
    let upstream = Upstream::start(|seen| {
        vec![Act::Wait(Duration::from_millis(300)), Act::send(Answer::to(&seen.packet).a("192.0.2.1", 60))]
    });
    let live = live(&[upstream.address], "");
    let packets = (0..1000u16).map(|id| {
        let mut packet = packet(if id % 2 == 0 { "www.example.org." } else { "WWW.example.org." }, "A");
        packet[..2].copy_from_slice(&id.to_be_bytes());
        packet
    });
    let got = live.ask_all(packets.collect());
    assert!(got.iter().all(|got| got.text() == "NOERROR 192.0.2.1/60"));
    assert!(got.iter().enumerate().all(|(id, got)| usize::from(got.message.metadata.id) == id));
    assert_eq!(upstream.count(), 1);
}

#[test]
fn other_flags_are_another_question() {
    let upstream = Upstream::start(|seen| {
        vec![Act::Wait(Duration::from_millis(300)), Act::send(Answer::to(&seen.packet).a("192.0.2.1", 60))]
    });
    let live = live(&[upstream.address], "");
    let mut checking_disabled = packet("www.example.org.", "A");
    checking_disabled[3] |= 0x10;
    let got =
        live.ask_all(vec![packet("www.example.org.", "A"), checking_disabled, packet("www.example.org.", "AAAA")]);
    assert_eq!((got.len(), upstream.count()), (3, 3));
}

/// Row C13: forged and broken replies first, the right one 50 ms later.
#[test]
fn what_is_no_reply_is_ignored() {
    let upstream = Upstream::start(|seen| {
        let right = Answer::to(&seen.packet).a("192.0.2.1", 60);
        let wrong = Answer::to(&seen.packet).a("203.0.113.66", 60);
        let mut other = wrong.message();
        other[13] ^= 1;
        let mut broken = wrong.message();
        broken.truncate(broken.len() - 2);
        vec![
            Act::send(wrong.clone().id(wrong.query_id() ^ 1)),
            Act::Send(other),
            Act::Send(broken),
            Act::Send(seen.packet.clone()),
            Act::Send(vec![]),
            Act::Send(seen.packet[..11].to_vec()),
            Act::Elsewhere(wrong.message()),
            Act::Wait(Duration::from_millis(50)),
            Act::send(right),
        ]
    });
    let live = live(&[upstream.address], "max_connect_attempts 1");
    for n in 0..20 {
        assert_eq!(live.ask(&format!("n{n}.example.org."), "A").text(), "NOERROR 192.0.2.1/60");
    }
    assert_eq!(upstream.count(), 20);
}

/// Row C1: one of two takes everything and says nothing.
#[test]
fn one_silent_upstream_of_two_costs_no_answer() {
    let (silent, good) = (Upstream::black_hole(), Upstream::with_a("192.0.2.1"));
    let live = live(&[silent.address, good.address], "read_timeout 200ms\nhealth_check 50ms");
    let ask = |from: usize| {
        let got = live.ask_all((from..from + 100).map(|n| packet(&format!("n{n}.example.org."), "A")).collect());
        assert!(got.iter().all(|got| got.text() == "NOERROR 192.0.2.1/60"));
    };
    ask(0);
    let probes = || silent.seen().iter().filter(|seen| seen.is_probe()).count();
    live.wait_until("it is down after three probes, and a fourth has begun", || probes() >= 4);
    // On a busy machine the good one may look silent for a moment too, and then both are asked.
    let mut next = 100;
    live.wait_until("it is not asked any more", || {
        let before = silent.count() - probes();
        ask(next);
        next += 100;
        silent.count() - probes() == before
    });
    assert!(live.metric(&format!("coredns_forward_healthcheck_failures_total{{to=\"{}\"}}", silent.address)) >= 3.0);
    silent.script(|seen| vec![Act::send(Answer::to(&seen.packet).a("192.0.2.2", 60))]);
    live.wait_until("it is asked again", || live.ask("back.example.org.", "A").text() == "NOERROR 192.0.2.2/60");
}

/// Row C10: no process listens, and the system says so.
#[test]
fn a_closed_port_is_passed_at_once() {
    let good = Upstream::with_a("192.0.2.1");
    let live = live(&[Upstream::closed(), good.address], "policy sequential\nread_timeout 1h");
    let start = std::time::Instant::now();
    for n in 0..20 {
        assert_eq!(live.ask(&format!("n{n}.example.org."), "A").text(), "NOERROR 192.0.2.1/60");
        assert_eq!(live.ask_packet(packet("www.example.org.", "A"), Proto::Tcp).text(), "NOERROR 192.0.2.1/60");
    }
    assert!(start.elapsed() < Duration::from_secs(4), "nothing waited for a timeout");
}

#[test]
fn no_upstream_listens() {
    let live = live(&[Upstream::closed()], "");
    let got = live.ask("www.example.org.", "A");
    assert!(cause(&got.reply).ends_with("read: connection refused"), "{}", cause(&got.reply));
    assert_eq!((got.text().as_str(), got.extended_error()), ("SERVFAIL", Some(23)));
    let got = live.ask_packet(packet("www.example.org.", "A"), Proto::Tcp);
    assert!(cause(&got.reply).ends_with("connect: connection refused"), "{}", cause(&got.reply));
}

#[test]
fn no_upstream_answers_and_the_client_gets_servfail_in_time() {
    let silent = Upstream::black_hole();
    let live = live(&[silent.address], "read_timeout 100ms\nhealth_check 10ms\nmax_connect_attempts 3");
    let got = live.ask("www.example.org.", "A");
    assert!(cause(&got.reply).ends_with("i/o timeout"), "{}", cause(&got.reply));
    assert_eq!((got.text().as_str(), got.extended_error(), silent.count()), ("SERVFAIL", Some(22), 3));
}

#[test]
fn all_are_down_and_fail_fast() {
    let closed = [Upstream::closed(), SocketAddr::from(([127, 8, 8, 9], 8))];
    let live = live(&closed, "health_check 10ms\nfailfast_all_unhealthy_upstreams");
    live.wait_until("they are down", || cause(&live.ask("www.example.org.", "A").reply) == "no healthy proxies");
    assert!(live.metric("coredns_forward_healthcheck_broken_total") >= 1.0);
}

#[test]
fn one_connection_carries_many_queries_and_answers_in_any_order() {
    let upstream = Upstream::start(|seen| {
        let wait = Duration::from_millis(if seen.before % 2 == 0 { 60 } else { 0 });
        vec![Act::Wait(wait), Act::send(Answer::to(&seen.packet).a("192.0.2.1", 60))]
    });
    let live = live(&[upstream.address], "force_tcp");
    for round in 0..5 {
        let packets = (0..10).map(|n| packet(&format!("n{round}-{n}.example.org."), "A")).collect();
        assert!(live.ask_all(packets).iter().all(|got| got.text() == "NOERROR 192.0.2.1/60"));
    }
    assert_eq!((upstream.count(), upstream.seen().iter().all(|seen| seen.tcp)), (50, true));
    assert!(upstream.connections() <= 10, "{} connections", upstream.connections());
}

#[test]
fn a_connection_that_the_peer_closes_costs_no_answer() {
    let upstream = Upstream::start(|seen| {
        let answer = Act::send(Answer::to(&seen.packet).a("192.0.2.1", 60));
        // The second query on a connection finds it closed.
        if seen.before % 2 == 1 { vec![Act::Close] } else { vec![answer] }
    });
    let live = live(&[upstream.address], "force_tcp\nmax_connect_attempts 1");
    for n in 0..10 {
        assert_eq!(live.ask(&format!("n{n}.example.org."), "A").text(), "NOERROR 192.0.2.1/60", "{n}");
    }
}

#[test]
fn what_stalls_on_a_connection_is_left_there() {
    let upstream = Upstream::start(|seen| match seen.before {
        0 => vec![Act::Raw(vec![0, 200, 1]), Act::Wait(Duration::from_secs(1)), Act::Raw(vec![2])],
        _ => vec![Act::send(Answer::to(&seen.packet).a("192.0.2.1", 60))],
    });
    let live = live(&[upstream.address], "force_tcp\nread_timeout 200ms\nmax_fails 0");
    assert_eq!(live.ask("www.example.org.", "A").text(), "NOERROR 192.0.2.1/60");
    assert_eq!(upstream.connections(), 2);
}

#[test]
fn failover_asks_each_upstream_once() {
    let refusing = || Upstream::start(|seen| vec![Act::send(Answer::to(&seen.packet).rcode(5))]);
    let (a, b, c) = (refusing(), refusing(), Upstream::with_a("192.0.2.1"));
    let with_c = live(&[a.address, b.address, c.address], "policy sequential\nfailover REFUSED servfail");
    assert_eq!(with_c.ask("www.example.org.", "A").text(), "NOERROR 192.0.2.1/60");
    let without = live(&[a.address, b.address], "policy sequential\nfailover REFUSED");
    assert_eq!(without.ask("www.example.org.", "A").text(), "REFUSED");
    assert_eq!((a.count(), b.count(), c.count()), (2, 2, 1));
}

#[test]
fn the_next_forward_of_the_block_is_asked() {
    let missing = Upstream::start(|seen| vec![Act::send(Answer::to(&seen.packet).rcode(3))]);
    let empty = Upstream::start(|seen| vec![Act::send(Answer::to(&seen.packet))]);
    let good = Upstream::with_a("192.0.2.1");
    let text = format!(
        ". {{\nforward org {} {{\nnext NXDOMAIN\n}}\nforward com {}\nforward . {} {{\nnext_on_nodata\n}}\nforward example.org {} {{\nnext NOERROR\n}}\n}}",
        missing.address, missing.address, empty.address, good.address
    );
    let live = Live::new(&text);
    assert_eq!(live.ask("www.example.org.", "A").text(), "NOERROR 192.0.2.1/60", "the last one passes nothing on");
    assert_eq!(live.ask("www.example.com.", "A").text(), "NXDOMAIN");
    let lost = live.ask("other.org.", "A");
    assert_eq!((lost.text().as_str(), cause(&lost.reply)), ("SERVFAIL", "plugin/forward: no next plugin found"));
    assert_eq!((missing.count(), empty.count(), good.count()), (3, 2, 1));
}

#[test]
fn too_many_queries_at_a_time_are_refused() {
    let upstream = Upstream::start(|seen| {
        vec![Act::Wait(Duration::from_millis(300)), Act::send(Answer::to(&seen.packet).a("192.0.2.1", 60))]
    });
    let live = live(&[upstream.address], "max_concurrent 10");
    let got = live.ask_all((0..50).map(|n| packet(&format!("n{n}.example.org."), "A")).collect());
    let refused: Vec<_> = got.iter().filter(|got| got.text() == "REFUSED").collect();
    assert_eq!((refused.len(), upstream.count()), (40, 10));
    assert_eq!(cause(&refused[0].reply), "concurrent queries exceeded maximum 10");
    assert_eq!(live.metric("coredns_forward_max_concurrent_rejects_total"), 40.0);
    assert_eq!(live.ask("later.example.org.", "A").text(), "NOERROR 192.0.2.1/60", "places are given back");
}

/// Row C11: the file changes, is emptied, and is swapped.
#[test]
fn files_of_upstreams_are_read_again() {
    let (a, b) = (Upstream::with_a("192.0.2.1"), Upstream::with_a("192.0.2.2"));
    // Name servers in files have port 53, so the file's address stands for itself: what is used
    // shows in the metrics.
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("resolv.conf");
    std::fs::write(&path, "nameserver 127.0.0.2\n").expect("written");
    // Nor is it asked: another process may listen there.
    let text = format!(". {{\nforward . {} {} {} {{\npolicy sequential\n}}\n}}", a.address, b.address, path.display());
    let live = Live::new(&text);
    let failures = || live.metric(&format!("coredns_forward_file_failures_total{{file=\"{}\"}}", path.display()));
    let is_known = |to: &str| live.server.host.metrics.text().contains(&format!("to=\"{to}\""));
    assert!(is_known("127.0.0.2:53") && !is_known("127.0.0.3:53"));
    std::fs::write(&path, "").expect("written");
    live.wait_until("the empty file is noticed", || failures() == 1.0);
    assert_eq!(live.ask("www.example.org.", "A").text(), "NOERROR 192.0.2.1/60");
    let fresh = folder.path().join("fresh");
    std::fs::write(&fresh, "nameserver 127.0.0.3\n").expect("written");
    std::fs::rename(&fresh, &path).expect("swapped");
    live.wait_until("the new server is used", || is_known("127.0.0.3:53"));
    std::fs::remove_file(&path).expect("removed");
    live.wait_until("the missing file is noticed", || failures() == 2.0);
    assert_eq!(live.ask("www.example.com.", "A").text(), "NOERROR 192.0.2.1/60");
}

/// Row D1, in part: ports change, and ids are drawn at random.
#[test]
fn ports_and_ids_change() {
    let upstream = Upstream::with_a("192.0.2.1");
    let live = live(&[upstream.address], "");
    // Twenty ports with all the queries that one may send.
    for n in 0..320 {
        live.ask(&format!("n{n}.example.org."), "A");
    }
    let seen = upstream.seen();
    let ports: std::collections::HashSet<u16> = seen.iter().map(|seen| seen.from.port()).collect();
    let ids: std::collections::HashSet<&[u8]> = seen.iter().map(|seen| &seen.packet[..2]).collect();
    assert!(ports.len() >= 18, "{} ports", ports.len());
    assert!(ids.len() > 310, "{} ids", ids.len());
}

#[test]
fn an_error_without_a_question_is_passed_on() {
    let upstream = Upstream::start(|seen| {
        let id = &seen.packet[..2];
        vec![Act::Send([id, &[0x80, 0x84, 0, 0, 0, 0, 0, 0, 0, 0]].concat())]
    });
    let live = live(&[upstream.address], "");
    assert_eq!(live.ask("www.example.org.", "A").text(), "NOTIMP");
    assert_eq!(upstream.count(), 1);
}

#[test]
fn what_is_counted() {
    let upstream = Upstream::with_a("192.0.2.1");
    let live = live(&[upstream.address], "");
    for n in 0..3 {
        live.ask(&format!("n{n}.example.org."), "A");
    }
    let to = upstream.address;
    assert_eq!(live.metric(&format!("coredns_forward_requests_total{{to=\"{to}\"}}")), 3.0);
    assert_eq!(live.metric(&format!("coredns_forward_responses_total{{to=\"{to}\",rcode=\"NOERROR\"}}")), 3.0);
    let count =
        format!("coredns_proxy_request_duration_seconds_count{{proxy_name=\"forward\",to=\"{to}\",rcode=\"NOERROR\"}}");
    assert_eq!(live.metric(&count), 3.0, "{}", live.server.host.metrics.text());
    let misses = format!("coredns_proxy_conn_cache_misses_total{{proxy_name=\"forward\",to=\"{to}\",proto=\"udp\"}}");
    assert_eq!(live.metric(&misses), 3.0);
}

#[test]
fn a_query_of_another_class_is_passed_on() {
    let upstream = Upstream::start(|seen| vec![Act::send(Answer::to(&seen.packet).rcode(4))]);
    let live = live(&[upstream.address], "");
    let mut chaos = packet("version.bind.", "TXT");
    let at = 12 + 14 + 3;
    assert_eq!(chaos[at], 1);
    chaos[at] = 3;
    assert_eq!(live.ask_packet(chaos, Proto::Udp).text(), "NOTIMP");
    assert_eq!(upstream.seen()[0].packet[at], 3);
}

#[test]
fn what_is_refused_at_setup_and_where() {
    let refused = |lines: &str| match Server::try_new(&format!(". {{\n{lines}\n}}")) {
        Ok(_) => panic!("accepted: {lines}"),
        Err(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
    };
    let with = |option: &str| refused(&format!("forward . 192.0.2.1 {{\n{option}\n}}"));
    assert_eq!(
        refused("forward . grpc://192.0.2.1"),
        "plugin/forward: Corefile:2 - Error during parsing: 'grpc' is not supported as a destination protocol in forward: \
         grpc://192.0.2.1"
    );
    assert!(refused("forward . dns..example").contains("not an IP address, file, or valid domain"));
    assert!(refused("forward . /none").contains("no such file"));
    assert!(with("policy fastest").contains("unknown policy 'fastest'"));
    assert!(with("next TEAPOT").contains("TEAPOT is not a valid rcode"));
    assert!(with("health_check 1s soft").contains("health_check: unknown option soft"));
    assert!(with("read_timeout 0s").contains("read_timeout must be positive: 0s"));
    assert!(with("source_address here").contains("invalid IP address: here"));
    assert!(with("resolver dns.example").contains("resolver must be an IP address or IP:port"));
    assert!(with("max_idle_conns -1").contains("max_idle_conns can't be negative: -1"));
}
