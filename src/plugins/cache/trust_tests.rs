//! What the cache accepts, for how long, and for whom: rows C18, D5 to D7, D9 to D11 and D15 of the
//! fault table.

use std::collections::BTreeSet;

use hickory_proto::op::Message;

use crate::chain::Proto;
use crate::testing::live::Live;
use crate::testing::upstream::{Act, Answer, Upstream};
use crate::testing::{Server, packet};
use crate::wire::name::Name;

const CNAME: u16 = 5;
const DNAME: u16 = 39;

/// Starts a cache with `options` above an upstream.
fn live(upstream: &Upstream, cache: &str) -> Live {
    Live::new(&format!(". {{\n{cache}\nforward . {}\n}}", upstream.address))
}

fn always(answer: impl Fn(Answer) -> Answer + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |seen| vec![Act::send(answer(Answer::to(&seen.packet)))])
}

fn wire(name: &str) -> Vec<u8> {
    Name::from_text(name).expect("a name").wire().to_vec()
}

/// Returns how often the cache asked below, on a miss or in the background. On a busy machine the
/// upstream may see more, since queries that seem lost are sent again.
fn asked_below(live: &Live) -> usize {
    let count =
        |name: &str| live.metric(&format!("coredns_cache_{name}_total{{server=\"dns://:53\",zones=\".\",view=\"\"}}"));
    (count("misses") + count("prefetch")) as usize
}

/// Returns `owner TYPE` of all records.
fn owners(message: &Message) -> BTreeSet<String> {
    let all = message.answers.iter().chain(&message.authorities).chain(&message.additionals);
    all.map(|record| format!("{} {}", record.name, record.record_type())).collect()
}

/// Row D5: unrequested records go to the client that asked, and are not found again.
#[test]
fn records_that_do_not_belong_to_the_question_are_not_kept() {
    let upstream = always(|answer| {
        answer
            .cname("web.example.net", 60)
            .a_of("web.example.net", "192.0.2.1", 60)
            .a_of("www.victim.example", "192.0.2.66", 60)
            .record(0, &wire("victim.example"), (DNAME, 60), &wire("evil.example"))
            .ns("example.net", 60)
            .ns("victim.example", 60)
            .record(1, &wire("example.net"), (DNAME, 60), &wire("evil.example"))
            .record(2, &wire("ns.example.net"), (1, 60), &[192, 0, 2, 53])
            .record(2, &wire("ns.victim.example"), (1, 60), &[192, 0, 2, 66])
            .record(2, &wire("www.victim.example"), (1, 60), &[192, 0, 2, 66])
    });
    let live = live(&upstream, "cache");
    let came = owners(&live.ask("www.example.org.", "A").message);
    let kept = owners(&live.ask("wWw.example.org.", "A").message);
    assert_eq!((came.len(), asked_below(&live)), (9, 1), "relayed as it came");
    let belongs = ["ns.example.net. A", "example.net. NS", "wWw.example.org. CNAME", "web.example.net. A"];
    assert_eq!(kept, belongs.map(str::to_owned).into());
}

#[test]
fn what_goes_with_an_answer_is_kept() {
    let upstream = always(|answer| {
        let target = [&[0, 1, 0, 2, 0, 80][..], &wire("host.other.example")].concat();
        answer
            .record(0, &wire("example.org"), (DNAME, 60), &wire("example.net"))
            .cname("www.example.net", 60)
            .record(0, &wire("www.example.net"), (33, 60), &target)
            .record(2, &wire("host.other.example"), (1, 60), &[192, 0, 2, 7])
    });
    let live = live(&upstream, "cache");
    let came = owners(&live.ask("www.example.org.", "SRV").message);
    assert_eq!((came.len(), owners(&live.ask("www.example.org.", "SRV").message)), (4, came));
    assert_eq!(asked_below(&live), 1);
}

#[test]
fn a_denial_with_the_soa_of_another_zone_is_not_kept() {
    let upstream = always(|answer| answer.rcode(3).soa("victim.example", 60));
    let live = live(&upstream, "cache");
    assert_eq!(live.ask("www.example.org.", "A").text(), "NXDOMAIN");
    live.ask("www.example.org.", "A");
    assert_eq!(asked_below(&live), 2);
}

/// Row D6: each block has its own cache.
#[test]
fn what_one_server_block_has_fetched_never_answers_in_another() {
    let (first, second) = (Upstream::with_a("192.0.2.1"), Upstream::with_a("192.0.2.2"));
    let block = |key: &str, upstream: &Upstream| format!("{key} {{\ncache\nforward . {}\n}}\n", upstream.address);
    let mut live = Live::with(Server::new(&(block(".", &first) + &block(".:1053", &second))));
    for _ in 0..3 {
        assert_eq!(live.ask("www.example.org.", "A").text(), "NOERROR 192.0.2.1/60");
        live.server.configuration.listeners.swap(0, 1);
        assert_eq!(live.ask("www.example.org.", "A").text(), "NOERROR 192.0.2.2/60");
        live.server.configuration.listeners.swap(0, 1);
    }
    assert_eq!((first.count(), second.count()), (1, 1));
}

/// Row D7: two questions in each order, with all combinations of CD, DO, AD and class: 256 orders.
#[test]
fn no_order_of_flags_and_classes_leaks() {
    // The address says what was asked for; AD is always set.
    let upstream = Upstream::start(|seen| {
        let question_end = seen.packet.iter().skip(12).position(|&octet| octet == 0).map_or(0, |at| at + 17);
        let is_chaos = seen.packet[question_end - 1] == 3;
        let asks_do = seen.packet.len() > question_end && seen.packet[question_end + 7] & 0x80 != 0;
        let bits = seen.packet[3] >> 4 & 1 | u8::from(asks_do) << 1 | u8::from(is_chaos) << 2;
        let mut message = Answer::to(&seen.packet).flags(0x20).a(&format!("192.0.2.{bits}"), 60).message();
        let class = message.len() - 11;
        message[class] = if is_chaos { 3 } else { 1 };
        vec![Act::Send(message)]
    });
    let live = live(&upstream, "cache");
    let question = |name: &str, variant: u8| {
        let mut question = packet(name, "A");
        let end = question.len();
        question[3] |= (variant & 1) << 4 | (variant >> 3 & 1) << 5;
        question[end - 4] = (variant >> 1 & 1) << 7;
        question[end - 12] = if variant & 4 != 0 { 3 } else { 1 };
        question
    };
    for (first, second) in (0..16).flat_map(|first| (0..16).map(move |second| (first, second))) {
        for variant in [first, second, first] {
            let asked = question(&format!("n{first}-{second}.example.org."), variant);
            let got = live.ask_packet(asked, Proto::Udp).message;
            let data: Vec<_> = got.answers.iter().map(|record| record.data.to_string()).collect();
            let wants_ad = variant & 0b1010 != 0;
            assert_eq!(got.metadata.authentic_data, wants_ad, "{first:04b} then {second:04b}");
            if variant & 4 == 0 {
                assert_eq!(data, [format!("192.0.2.{}", variant & 7)], "{first:04b} then {second:04b}");
            } else {
                assert_eq!(got.answers[0].dns_class, hickory_proto::rr::DNSClass::CH);
            }
        }
    }
    // AD alone does not make another question: 8 names of 16 pairs each have both halves in one
    // entry.
    assert_eq!(asked_below(&live), 256 * 2 - 16 * 2);
}

/// Row D9: a denial that comes while an answer is still valid waits for its turn.
#[test]
fn a_denial_does_not_hide_an_answer_that_is_true() {
    let upstream = Upstream::start(|seen| {
        let answer = Answer::to(&seen.packet);
        let is_first = seen.before == 0;
        vec![Act::send(if is_first { answer.a("192.0.2.1", 100) } else { answer.rcode(3).soa("example.org", 600) })]
    });
    let live = live(&upstream, "cache {\nprefetch 1 1h 90%\nserve_stale 1h immediate\n}");
    live.ask("www.example.org.", "A");
    live.advance(20);
    for round in 0..20 {
        assert_eq!(live.ask("www.example.org.", "A").text(), "NOERROR 192.0.2.1/80", "{round}");
        let denials = "coredns_cache_entries{server=\"dns://:53\",type=\"denial\",zones=\".\",view=\"\"}";
        live.wait_until("the denial came", || live.metric(denials) > 0.0);
    }
    assert_eq!(asked_below(&live), 2, "nobody asked again meanwhile");
    live.advance(80);
    assert_eq!(live.ask("www.example.org.", "A").text(), "NXDOMAIN", "it came later, so it wins over a stale answer");
}

/// Row D10, with MINTTL 0: which TTLs become 0.
#[test]
fn odd_ttls() {
    let asked_twice = |ttl: u32| {
        let upstream = always(move |answer| answer.a("192.0.2.1", ttl));
        let live = live(&upstream, "cache {\nsuccess 1024 3600 0\n}");
        let shown = live.ask("www.example.org.", "A").message.answers[0].ttl;
        live.ask("www.example.org.", "A");
        (shown, asked_below(&live))
    };
    assert_eq!(asked_twice(0), (0, 2));
    assert_eq!(asked_twice(1), (1, 1));
    assert_eq!(asked_twice(i32::MAX as u32), (3600, 1));
    assert_eq!(asked_twice(1 << 31), (0, 2));
    assert_eq!(asked_twice(u32::MAX), (0, 2));
}

/// Row D11: hits do not extend the life of an answer.
#[test]
fn an_answer_expires_on_time_however_often_it_is_asked_for() {
    let upstream = always(|answer| answer.a("192.0.2.1", 60));
    let live = live(&upstream, "cache");
    for second in 0..60 {
        for _ in 0..70 {
            let left = 60 - second;
            assert_eq!(live.ask("www.example.org.", "A").text(), format!("NOERROR 192.0.2.1/{left}"));
        }
        live.advance(1);
    }
    assert_eq!(asked_below(&live), 1);
    live.ask("www.example.org.", "A");
    assert_eq!(asked_below(&live), 2);
}

/// Row D15: aliases come first and in order, for resolvers that only read forward.
#[test]
fn aliases_come_first_after_refreshes_and_shuffles() {
    let (b, c) = (wire("b.example.org"), wire("c.example.org"));
    let upstream = always(move |answer| {
        let answer = answer.a_of("c.example.org", "192.0.2.1", 60).a_of("c.example.org", "192.0.2.2", 60);
        answer.record(0, &b, (CNAME, 60), &c).cname("b.example.org", 60).a_of("c.example.org", "192.0.2.3", 60)
    });
    for above in ["", "loadbalance"] {
        let live = live(&upstream, &format!("{above}\ncache {{\nserve_stale 1h immediate 30s\n}}"));
        let mut orders = BTreeSet::new();
        live.ask("a.example.org.", "A");
        for round in 0..300 {
            if round % 50 == 49 {
                live.advance(61);
            }
            let got = live.ask("a.example.org.", "A").message;
            let owners: Vec<_> = got.answers.iter().map(|record| record.name.to_string()).collect();
            let names = ["a", "b", "c", "c", "c"].map(|name| format!("{name}.example.org."));
            assert_eq!(owners, names);
            orders.insert(got.answers[2].data.to_string());
        }
        assert_eq!(orders.len(), if above.is_empty() { 1 } else { 3 });
    }
}

/// Row C18: long chains, circles and forks are relayed, but neither followed nor kept.
#[test]
fn chains_without_an_end_are_not_kept() {
    let link = |answer: Answer, from: String, to: String| answer.record(0, &wire(&from), (CNAME, 60), &wire(&to));
    let chain = move |answer: Answer, length: usize| {
        let name = |n: usize| if n == 0 { "www.example.org".to_owned() } else { format!("n{n}.example.org") };
        let answer = (0..length).fold(answer, |answer, n| link(answer, name(n), name(n + 1)));
        answer.a_of(&name(length), "192.0.2.1", 60)
    };
    let asked_twice = |answer: Box<dyn Fn(Answer) -> Answer + Send + Sync>| {
        let upstream = always(answer);
        let live = Live::new(&format!(". {{\ncache\nforward . {} {{\nforce_tcp\n}}\n}}", upstream.address));
        let ask = || live.ask_packet(packet("www.example.org.", "A"), Proto::Tcp).message.answers.len();
        (ask(), ask(), asked_below(&live))
    };
    assert_eq!(asked_twice(Box::new(move |answer| chain(answer, 8))), (9, 9, 1));
    assert_eq!(asked_twice(Box::new(move |answer| chain(answer, 1000))), (1001, 1001, 2));
    assert_eq!(
        asked_twice(Box::new(move |answer| link(chain(answer, 9), "n9.example.org".into(), "n3.example.org".into()))).2,
        2
    );
    let fork =
        move |answer| (0..40).fold(answer, |a, n| link(a, "www.example.org".into(), format!("n{n}.example.org")));
    assert_eq!(asked_twice(Box::new(fork)), (40, 40, 2));
}
