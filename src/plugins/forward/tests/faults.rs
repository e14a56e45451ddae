//! Upstreams that lose, delay, truncate and forge, row by row of the fault table. What is counted
//! is answers and packets, not seconds.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use super::{cause, live};
use crate::chain::Proto;
use crate::plugins::forward::Block;
use crate::plugins::forward::forwarded::Forwarded;
use crate::testing::live::{Got, Live};
use crate::testing::packet;
use crate::testing::upstream::{Act, Answer, Seen, Upstream};

const GOOD: &str = "NOERROR 192.0.2.1/60";
const TC: u16 = 0x0200;

/// Asks for `count` names, at most `at_a_time` at a time.
fn ask_many(live: &Live, count: usize, at_a_time: usize) -> Vec<Got> {
    let names: Vec<usize> = (0..count).collect();
    let chunk =
        |names: &[usize]| live.ask_all(names.iter().map(|n| packet(&format!("n{n}.example.org."), "A")).collect());
    names.chunks(at_a_time).flat_map(chunk).collect()
}

fn good(seen: &Seen) -> Act {
    Act::send(Answer::to(&seen.packet).a("192.0.2.1", 60))
}

/// How often each name came, probes left out.
fn by_name(upstream: &Upstream) -> HashMap<Vec<u8>, usize> {
    let mut counts = HashMap::new();
    for seen in upstream.seen().into_iter().filter(|seen| !seen.is_probe()) {
        *counts.entry(seen.packet[12..].to_ascii_lowercase()).or_default() += 1;
    }
    counts
}

#[test]
fn c2_all_are_silent_and_the_client_hears_why() {
    let silent = [Upstream::black_hole(), Upstream::black_hole()];
    let live = live(&silent.each_ref().map(|upstream| upstream.address), "");
    let got = live.ask("www.example.org.", "A");
    assert_eq!((got.text().as_str(), got.extended_error()), ("SERVFAIL", Some(22)));
    assert!(cause(&got.reply).ends_with("i/o timeout"), "{}", cause(&got.reply));
    for upstream in &silent {
        let ways = upstream.seen().into_iter().filter(|seen| !seen.is_probe()).map(|seen| seen.tcp);
        let (tcp, udp): (Vec<bool>, Vec<bool>) = ways.partition(|&tcp| tcp);
        assert!((1..=3).contains(&udp.len()) && tcp.len() <= 3, "{} {}", udp.len(), tcp.len());
    }
}

#[test]
fn c3_half_of_all_datagrams_are_lost_and_no_answer_is() {
    let upstream = Upstream::start(|seen| {
        let is_lost = !seen.tcp && !seen.is_probe() && seen.before % 2 == 0;
        if is_lost { vec![] } else { vec![good(seen)] }
    });
    let live = live(&[upstream.address], "");
    for (n, got) in ask_many(&live, 300, 10).iter().enumerate() {
        assert_eq!(got.text(), GOOD, "{n}: {}", cause(&got.reply));
    }
    let most = by_name(&upstream).into_values().max();
    assert!(most.is_some_and(|most| most <= 3), "{most:?} sends of one name");
}

#[test]
fn c4_what_is_as_slow_as_always_is_not_asked_twice() {
    let upstreams = [(); 2].map(|()| {
        Upstream::start(|seen| vec![Act::Wait(Duration::from_millis(150 + seen.before as u64 * 37 % 100)), good(seen)])
    });
    let live = live(&upstreams.each_ref().map(|upstream| upstream.address), "");
    assert!(ask_many(&live, 400, 50).iter().all(|got| got.text() == GOOD));
    let sent: usize = upstreams.iter().map(Upstream::count).sum();
    assert!(sent < 440, "{sent} sends for 400 questions");
}

/// A name whose datagrams all get lost, with two upstreams that answer everything else.
#[test]
fn c3_the_last_send_goes_over_tcp() {
    let upstreams = [(); 2].map(|()| {
        Upstream::start(|seen| {
            let is_lost = !seen.tcp && seen.packet[12..].starts_with(b"\x04lost");
            if is_lost { vec![] } else { vec![good(seen)] }
        })
    });
    let live = live(&upstreams.each_ref().map(|upstream| upstream.address), "");
    assert!(ask_many(&live, 50, 5).iter().all(|got| got.text() == GOOD));
    assert_eq!(live.ask("lost.example.org.", "A").text(), GOOD);
    let lost = |seen: &Seen| seen.packet[12..].starts_with(b"\x04lost");
    let ways: Vec<bool> = upstreams.iter().flat_map(Upstream::seen).filter(lost).map(|seen| seen.tcp).collect();
    assert_eq!((ways.len(), ways.iter().filter(|&&tcp| tcp).count()), (3, 1), "{ways:?}");
}

#[test]
fn c7_a_message_that_arrives_in_drips_delays_no_other() {
    let upstream = Upstream::start(|seen| {
        let answer = Answer::to(&seen.packet).a("192.0.2.1", 60);
        match seen.packet[12..].starts_with(b"\x04slow") {
            true => vec![Act::Drip(answer.message(), Duration::from_secs(1))],
            false => vec![Act::send(answer)],
        }
    });
    // One try: a query that is delayed has no other.
    let live = live(&[upstream.address], "force_tcp\nmax_connect_attempts 1");
    live.begin("slow.example.org.", "A");
    live.wait_until("the slow one is asked", || upstream.count() == 1);
    assert_eq!(live.ask("quick.example.org.", "A").text(), GOOD);
}

#[test]
fn c6_truncated_means_tcp_for_every_client_and_few_connections() {
    let upstream =
        Upstream::start(
            |seen| {
                if seen.tcp { vec![good(seen)] } else { vec![Act::send(Answer::to(&seen.packet).flags(TC))] }
            },
        );
    for options in ["", "prefer_udp"] {
        let (live, before) = (live(&[upstream.address], options), upstream.connections());
        assert!(ask_many(&live, 1000, 10).iter().all(|got| got.text() == GOOD));
        assert!(upstream.connections() - before <= 10, "{} connections", upstream.connections() - before);
        assert_eq!(live.ask_packet(packet("www.example.org.", "A"), Proto::Tcp).text(), GOOD);
    }
}

#[test]
fn c6_without_tcp_the_truncated_reply_is_passed_on() {
    let upstream = Upstream::start(|seen| match seen.tcp {
        true => vec![Act::Close],
        false => vec![Act::send(Answer::to(&seen.packet).flags(TC))],
    });
    let got = live(&[upstream.address], "").ask("www.example.org.", "A");
    assert!(got.message.metadata.truncation && got.text() == "NOERROR", "{}", got.text());
}

#[test]
fn c6_a_client_without_room_for_the_whole_answer_gets_the_truncated_one() {
    let upstream = Upstream::start(|seen| {
        let answer = Answer::to(&seen.packet).a("192.0.2.1", 60);
        let whole = (0..60).fold(answer.clone(), |answer, n| answer.a(&format!("192.0.2.{n}"), 60));
        vec![Act::send(if seen.tcp { whole } else { answer.flags(TC) })]
    });
    let live = live(&[upstream.address], "");
    let mut packet = packet("www.example.org.", "A");
    assert_eq!(live.ask_packet(packet.clone(), Proto::Udp).message.answers.len(), 61, "1232 octets");
    packet.truncate(packet.len() - 11);
    packet[11] = 0;
    let got = live.ask_packet(packet, Proto::Udp);
    assert!(got.message.metadata.truncation && got.text() == GOOD, "512 octets: {}", got.text());
}

#[test]
fn c9_failures_of_an_upstream_are_its_answer() {
    for (rcode, text) in [(1, "FORMERR"), (2, "SERVFAIL"), (4, "NOTIMP"), (5, "REFUSED")] {
        let failing = Upstream::start(move |seen| vec![Act::send(Answer::to(&seen.packet).rcode(rcode))]);
        let live = live(&[failing.address], "");
        assert_eq!(live.ask("www.example.org.", "A").text(), text);
        assert_eq!(failing.count(), 1);
    }
}

#[test]
fn a_failure_does_not_beat_an_answer_that_is_on_its_way() {
    let slow = Upstream::start(|seen| vec![Act::Wait(Duration::from_millis(450)), good(seen)]);
    let failing = Upstream::start(|seen| vec![Act::send(Answer::to(&seen.packet).rcode(2))]);
    let live = live(&[slow.address, failing.address], "policy sequential");
    assert_eq!(live.ask("www.example.org.", "A").text(), GOOD);
    assert_eq!((slow.count(), failing.count()), (1, 1));
}

#[test]
fn c17_a_name_that_is_never_answered_costs_three_sends() {
    let upstreams = [(); 2].map(|()| {
        Upstream::start(|seen| if seen.packet[12..].starts_with(b"\x05never") { vec![] } else { vec![good(seen)] })
    });
    let live = live(&upstreams.each_ref().map(|upstream| upstream.address), "");
    assert!(ask_many(&live, 100, 10).iter().all(|got| got.text() == GOOD));
    assert_eq!(live.ask("never.example.org.", "A").text(), "SERVFAIL");
    let key = &packet("never.example.org.", "A")[12..];
    let sends: usize = upstreams.iter().filter_map(|upstream| by_name(upstream).remove(key)).sum();
    assert!((2..=3).contains(&sends), "{sends}");
}

#[test]
fn d2_a_storm_of_forged_replies_makes_it_tcp() {
    let upstream = Upstream::start(|seen| {
        if seen.tcp || seen.is_probe() {
            return vec![good(seen)];
        }
        let wrong = Answer::to(&seen.packet).a("203.0.113.66", 60);
        // Every id but the right one.
        (1..=150).map(|n| Act::send(wrong.clone().id(wrong.query_id() ^ n))).collect()
    });
    let live = live(&[upstream.address], "read_timeout 1h\nmax_fails 0");
    for n in 0..10 {
        assert_eq!(live.ask(&format!("n{n}.example.org."), "A").text(), GOOD);
    }
    let (tcp, udp): (Vec<Seen>, Vec<Seen>) = upstream.seen().into_iter().partition(|seen| seen.tcp);
    assert_eq!((tcp.len(), udp.len()), (10, 10));
}

#[test]
fn d4_case_is_random_where_it_is_kept() {
    let upstream = Upstream::start(|seen| vec![good(seen)]);
    let live = live(&[upstream.address], "random_case");
    let got = live.ask("abcdefghijklmnopqrstuvwxyz.Example.org.", "A");
    assert_eq!(got.text(), GOOD);
    assert_eq!(got.message.queries[0].name().to_string(), "abcdefghijklmnopqrstuvwxyz.Example.org.");
    let asked = upstream.seen()[0].packet[13..39].to_vec();
    assert!(asked.iter().any(u8::is_ascii_uppercase) && asked.iter().any(u8::is_ascii_lowercase));
    assert!(ask_many(&live, 50, 10).iter().all(|got| got.text() == GOOD));
    assert_eq!(upstream.count(), 51);
}

#[test]
fn d4_an_upstream_that_does_not_keep_case_is_remembered() {
    let upstream = Upstream::start(|seen| {
        let lowered = [&seen.packet[..12], &seen.packet[12..].to_ascii_lowercase()].concat();
        vec![Act::send(Answer::to(&lowered).a("192.0.2.1", 60))]
    });
    let live = live(&[upstream.address], "random_case");
    for n in 0..3 {
        assert_eq!(live.ask(&format!("abcdefghijklm{n}.example.org."), "A").text(), GOOD);
    }
    let before = upstream.seen().len();
    assert!(ask_many(&live, 50, 10).iter().all(|got| got.text() == GOOD));
    for seen in upstream.seen().split_off(before) {
        let name = String::from_utf8_lossy(&seen.packet[12..24]).into_owned();
        assert!(!seen.tcp && !name.contains(char::is_uppercase), "{name:?} {}", seen.tcp);
    }
}

#[test]
fn d4_a_forger_does_not_switch_it_off() {
    let upstream = Upstream::start(|seen| {
        if seen.tcp {
            return vec![good(seen)];
        }
        // The forger knows everything but the case, and is quicker.
        let lowered = [&seen.packet[..12], &seen.packet[12..].to_ascii_lowercase()].concat();
        vec![Act::send(Answer::to(&lowered).a("203.0.113.66", 60)), good(seen)]
    });
    let live = live(&[upstream.address], "random_case");
    for n in 0..20 {
        assert_eq!(live.ask(&format!("abcdefghijklmnopqrstuvwxyz{n}.example.org."), "A").text(), GOOD);
    }
    assert!(upstream.seen().iter().any(|seen| seen.packet[12..40].iter().any(u8::is_ascii_uppercase)));
}

#[test]
fn d12_d14_what_is_between_neighbours_stays_there() {
    let upstream = Upstream::start(|seen| {
        vec![Act::send(Answer::to(&seen.packet).a("192.0.2.1", 60).option(8, &[0, 1, 24, 24, 192, 0, 2]))]
    });
    let live = live(&[upstream.address], "");
    let mut packet = packet("www.example.org.", "A");
    let opt = packet.len() - 11;
    packet[opt + 3..opt + 5].copy_from_slice(&4096u16.to_be_bytes());
    packet[opt + 9..].copy_from_slice(&[0, 11]);
    packet.extend_from_slice(&[0, 8, 0, 7, 0, 1, 24, 0, 192, 0, 2]);
    let got = live.ask_packet(packet, Proto::Udp);
    assert_eq!((got.text().as_str(), got.reply.answer.options.as_slice()), (GOOD, &[][..]));
    let seen = &upstream.seen()[0].packet;
    assert_eq!(seen[opt + 3..], [0x04, 0xD0, 0, 0, 0, 0, 0, 0], "1232 octets, no options");
}

/// Tens of thousands may be in flight, and what is larger than this is slow to get as well.
#[test]
fn a_question_in_flight_is_small() {
    let block = Arc::new(Block { all: Vec::new(), runtime: Default::default() });
    let future = block.resolve(0, None, Forwarded::of(".", 65_535), Proto::Udp, None);
    assert!(size_of_val(&future) < 1000, "{}", size_of_val(&future));
}
