//! The cache in a chain, above a scripted upstream. Tests move the clock and do not wait.

use hickory_proto::rr::RecordType;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use super::*;
use crate::chain::{Proto, setup::Setup};
use crate::testing::kit::built::built;
use crate::testing::live::Live;
use crate::testing::upstream::{Act, Answer, Upstream};
use crate::testing::{Server, packet};
use crate::wire::answer::Section;
use crate::wire::encode::{Encoder, Owner};

const AD: u16 = 0x20;

/// Starts a cache with `options` above an upstream.
fn live(upstream: &Upstream, cache: &str) -> Live {
    Live::new(&format!(". {{\n{cache}\nforward . {}\n}}", upstream.address))
}

fn always(answer: impl Fn(Answer) -> Answer + Send + Sync + 'static) -> Upstream {
    Upstream::start(move |seen| vec![Act::send(answer(Answer::to(&seen.packet)))])
}

/// Asks twice; returns whether the second answer came from the cache.
fn is_kept(upstream: &Upstream, live: &Live, name: &str, qtype: &str) -> bool {
    let before = upstream.count();
    let first = live.ask(name, qtype);
    let second = live.ask(name, qtype);
    assert_eq!(first.text(), second.text());
    assert_eq!(first.message.metadata.authoritative, second.message.metadata.authoritative);
    upstream.count() - before == 1
}

//----------- TTLs -----------------------------------------------------------

#[test]
fn an_answer_has_one_ttl_from_the_first_and_counts_down() {
    let upstream = always(|answer| answer.flags(0x0400).a("192.0.2.1", 300).a("192.0.2.2", 70).ns("example.org", 900));
    let live = live(&upstream, "cache 60");
    let first = live.ask("www.example.org.", "A");
    assert_eq!((first.ttls(RecordType::A), first.ttls(RecordType::NS)), (vec![60, 60], vec![60]));
    live.advance(17);
    let second = live.ask("WWW.example.org.", "A");
    assert_eq!(second.ttls(RecordType::A), [43, 43]);
    assert!(second.message.metadata.authoritative && second.message.metadata.recursion_available, "as stored");
    assert_eq!(second.message.queries[0].name().to_string(), "WWW.example.org.");
    live.advance(42);
    assert_eq!((live.ask("www.example.org.", "A").ttls(RecordType::A), upstream.count()), (vec![1, 1], 1));
    live.advance(1);
    assert_eq!((live.ask("www.example.org.", "A").ttls(RecordType::A), upstream.count()), (vec![60, 60], 2));
}

#[test]
fn ttls_have_limits() {
    let of = |ttl: u32, cache: &str| {
        let upstream = always(move |answer| answer.a("192.0.2.1", ttl));
        live(&upstream, cache).ask("www.example.org.", "A").ttls(RecordType::A)[0]
    };
    assert_eq!(of(0, "cache"), 5);
    assert_eq!(of(7, "cache"), 7);
    assert_eq!(of(90_000, "cache"), 3600);
    assert_eq!(of(1 << 31, "cache"), 5, "above 2^31 is 0 (RFC 2181 section 8)");
    assert_eq!(of(0, "cache {\nsuccess 100 20 0\n}"), 0);
    assert_eq!(of(3, "cache {\nsuccess 100 20 10\n}"), 10);
    assert_eq!(of(50, "cache {\nsuccess 100 20\n}"), 20);
}

#[test]
fn keepttl_shows_the_ttl_that_was_stored() {
    let upstream = always(|answer| answer.a("192.0.2.1", 60));
    let live = live(&upstream, "cache {\nkeepttl\n}");
    live.ask("www.example.org.", "A");
    live.advance(30);
    assert_eq!(live.ask("www.example.org.", "A").ttls(RecordType::A), [60]);
}

/// As CoreDNS, except that the old TTL does not pin a stale answer for an hour.
#[test]
fn keepttl_of_stale_answers() {
    let shown = |ttl: u32, cache: &str| {
        let upstream = always(move |answer| answer.a("192.0.2.1", ttl));
        let live = live(&upstream, cache);
        live.ask("www.example.org.", "A");
        upstream.script(|_| Vec::new());
        live.advance(u64::from(ttl));
        live.ask("www.example.org.", "A").ttls(RecordType::A)[0]
    };
    assert_eq!(shown(20, "cache {\nkeepttl\nserve_stale\n}"), 20);
    assert_eq!(shown(600, "cache {\nkeepttl\nserve_stale\n}"), 30);
    assert_eq!(shown(600, "cache {\nkeepttl\nserve_stale 1h immediate 45s\n}"), 45);
    assert_eq!(shown(600, "cache {\nserve_stale 1h immediate\n}"), 0);
}

#[test]
fn the_highest_ttl_wins_over_a_lowest_that_is_above_it() {
    for ttl in [1, 7, 600] {
        let upstream = always(move |answer| answer.a("192.0.2.1", ttl));
        let live = live(&upstream, "cache {\nsuccess 1000 5 10\n}");
        assert_eq!(live.ask("www.example.org.", "A").ttls(RecordType::A), [5]);
    }
}

//----------- What is kept ---------------------------------------------------

#[test]
fn denials_are_kept_for_as_long_as_their_soa_says() {
    let upstream = Upstream::start(|seen| {
        let answer = Answer::to(&seen.packet).soa("example.org", 40);
        vec![Act::send(if seen.packet[13] == b'n' { answer.rcode(3) } else { answer })]
    });
    let live = live(&upstream, "cache");
    let missing = live.ask("no.example.org.", "A");
    assert_eq!((missing.text().as_str(), missing.ttls(RecordType::SOA)), ("NXDOMAIN", vec![40]));
    live.ask("empty.example.org.", "A");
    live.advance(39);
    assert_eq!(live.ask("no.example.org.", "A").ttls(RecordType::SOA), [1]);
    assert_eq!((live.ask("empty.example.org.", "A").text().as_str(), upstream.count()), ("NOERROR", 2));
    live.advance(1);
    live.ask("no.example.org.", "A");
    assert_eq!(upstream.count(), 3);
    let hits = "coredns_cache_hits_total{server=\"dns://:53\",type=\"denial\",zones=\".\",view=\"\"}";
    assert_eq!(live.metric(hits), 2.0);
}

#[test]
fn a_failure_is_kept_for_five_seconds() {
    let upstream = always(|answer| answer.rcode(2));
    let live = live(&upstream, "cache");
    assert!(is_kept(&upstream, &live, "www.example.org.", "A"));
    live.advance(5);
    live.ask("www.example.org.", "A");
    assert_eq!(upstream.count(), 2);
}

#[test]
fn a_failure_without_a_reply_is_kept_with_its_reason() {
    let text = format!(". {{\ncache\nforward . {}\n}}", Upstream::closed());
    let live = Live::new(&text);
    let first = live.ask("www.example.org.", "A");
    let second = live.ask("www.example.org.", "A");
    assert!(first.reply.cause().is_some() && second.reply.cause().is_none(), "errors prints it once");
    assert_eq!((second.text().as_str(), second.extended_error()), ("SERVFAIL", Some(23)));
    let off = Live::new(&text.replace("cache", "cache {\nservfail 0\n}"));
    off.ask("www.example.org.", "A");
    assert!(off.ask("www.example.org.", "A").reply.cause().is_some());
}

#[test]
fn what_is_kept_and_what_is_not() {
    let kept = |qtype: &str, answer: fn(Answer) -> Answer| {
        let upstream = always(answer);
        is_kept(&upstream, &live(&upstream, "cache"), "www.example.org.", qtype)
    };
    assert!(kept("A", |answer| answer.a("192.0.2.1", 60)));
    assert!(kept("A", |answer| answer.cname("b.example", 60).a_of("B.example", "192.0.2.1", 60)));
    assert!(kept("A", |answer| answer.cname("b.example", 60).soa("example", 60)), "an alias to nothing, with SOA");
    assert!(kept("CNAME", |answer| answer.cname("b.example", 60)));
    assert!(kept("ANY", |answer| answer.cname("b.example", 60)));
    assert!(kept("A", |answer| answer.ns("example.org", 60)), "a delegation");
    assert!(kept("A", |answer| answer), "an empty answer");
    assert!(kept("A", |answer| answer.rcode(4)), "NOTIMP");
    assert!(!kept("A", |answer| answer.rcode(3)), "NXDOMAIN without SOA");
    assert!(!kept("A", |answer| answer.rcode(3).a("192.0.2.1", 60).soa("example.org", 60)), "NXDOMAIN with an answer");
    assert!(!kept("A", |answer| answer.rcode(5)), "REFUSED");
    assert!(!kept("A", |answer| answer.rcode(1)), "FORMERR");
    assert!(!kept("A", |answer| answer.flags(0x0200).a("192.0.2.1", 60)), "truncated");
    assert!(!kept("A", |answer| answer.cname("b.example", 60)), "an alias to nothing");
    assert!(!kept("A", |answer| answer.a_of("other.example", "192.0.2.1", 60)), "another name's address");
    assert!(!kept("A", |answer| answer.cname("www.example.org", 60)), "a circle");
    assert!(
        !kept("A", |a| a.cname("b.example", 60).cname("c.example", 60).a_of("b.example", "192.0.2.1", 60)),
        "a fork"
    );
    assert!(!kept("AXFR", |answer| answer.soa("example.org", 60)), "a transfer");
}

#[test]
fn expired_signatures_are_kept_only_for_clients_without_do() {
    let upstream = always(|answer| {
        let mut signature = vec![0, 1, 8, 2, 0, 0, 0, 60];
        signature.extend_from_slice(&1_000_000_000u32.to_be_bytes());
        signature.extend_from_slice(&900_000_000u32.to_be_bytes());
        signature.extend_from_slice(&[0, 1, 0, 7]);
        answer.a("192.0.2.1", 60).record(0, &[0xC0, 12], (46, 60), &signature)
    });
    let live = live(&upstream, "cache");
    let mut with_do = packet("www.example.org.", "A");
    let at = with_do.len() - 4;
    with_do[at] = 0x80;
    for _ in 0..2 {
        live.ask_packet(with_do.clone(), Proto::Udp);
        live.ask_packet(packet("www.example.org.", "A"), Proto::Udp);
    }
    assert_eq!(upstream.count(), 3);
}

/// Row D7, in part: the key has everything that makes answers differ.
#[test]
fn do_cd_and_class_are_other_questions() {
    let upstream = always(|answer| answer);
    let live = live(&upstream, "cache");
    let plain = packet("www.example.org.", "A");
    let mut variants = vec![plain.clone(); 4];
    variants[1][3] |= 0x10;
    let at = plain.len() - 4;
    variants[2][at] = 0x80;
    let class = 12 + 17 + 3;
    assert_eq!(plain[class], 1);
    variants[3][class] = 3;
    for _ in 0..2 {
        for variant in &variants {
            live.ask_packet(variant.clone(), Proto::Udp);
        }
    }
    assert_eq!(upstream.count(), 4);
}

#[test]
fn the_upstream_is_asked_for_ad_and_clients_get_it_if_they_ask() {
    let upstream = always(|answer| answer.flags(AD).option(15, &[0, 9]).a("192.0.2.1", 60));
    let live = live(&upstream, "cache");
    let mut with_ad = packet("www.example.org.", "A");
    with_ad[3] |= AD as u8;
    for round in 0..2 {
        let plain = live.ask("www.example.org.", "A");
        assert!(!plain.message.metadata.authentic_data, "{round}");
        assert!(
            plain.message.edns.as_ref().is_some_and(|edns| edns.options().as_ref().is_empty()),
            "options are stripped"
        );
        let asking = live.ask_packet(with_ad.clone(), Proto::Udp);
        assert!(asking.message.metadata.authentic_data && !plain.message.metadata.authentic_data, "{round}");
    }
    let seen = upstream.seen();
    assert_eq!((seen.len(), seen[0].flags() & AD), (1, AD));
}

#[test]
fn zones_and_exceptions() {
    let upstream = Upstream::start(|seen| {
        let answer = Answer::to(&seen.packet);
        vec![Act::send(if seen.packet[13] == b'n' { answer.rcode(3).soa("", 600) } else { answer.a("192.0.2.1", 600) })]
    });
    let live = live(
        &upstream,
        "cache 30 example.org example.com {\ndisable success lab.example.org\ndisable denial example.com\n}",
    );
    let kept = |name| is_kept(&upstream, &live, name, "A");
    let ttl = |name| live.ask(name, "A").message.answers[0].ttl;
    assert!(kept("www.example.org.") && !kept("www.example.net."));
    assert!(!kept("a.lab.example.org.") && kept("no.lab.example.org."));
    assert!(kept("www.example.com.") && !kept("no.example.com."));
    assert_eq!((ttl("www.example.org."), ttl("a.lab.example.org."), ttl("www.example.net.")), (30, 600, 600));
}

//----------- Memory ---------------------------------------------------------

/// Answers every name below `memory.` from memory, with a counter as address; `fails.memory.`
/// fails.
struct Memory(AtomicU16);

impl Plugin for Memory {
    fn ask(&self, query: &mut Query<'_>, _: &Here<'_>) -> Step {
        let zone = Name::from_text("memory.").expect("a name");
        if !query.question.name.is_under(&zone) {
            return Step::Next;
        }
        if query.question.name.to_string() == "fails.memory." {
            return Step::Answer(Reply::memory(Arc::new(crate::wire::answer::Answer::empty(2))));
        }
        let asked = query.question.name.len();
        let count = self.0.fetch_add(1, Ordering::Relaxed) as u8;
        let answer = Encoder::build(asked, |e| {
            e.address(Section::Answer, Owner::ASKED, 2, [192, 0, 2, count].into());
            e.address(Section::Answer, Owner::ASKED, 900, [192, 0, 2, count].into());
        });
        Step::Answer(Reply::memory(Arc::new(answer)))
    }
}

fn memory(cache: &str) -> Live {
    const PLUGINS: &[Registration] = &[PLUGIN, Registration::bare("whoami", setup_memory)];
    fn setup_memory(s: &mut Setup<'_>) -> Result<()> {
        s.chain(Memory(AtomicU16::new(1)));
        Ok(())
    }
    let text = format!(". {{\n{cache}\nwhoami\n}}");
    Live::with(Server::with_plugins(PLUGINS, &text).expect("a Corefile"))
}

#[test]
fn answers_from_memory_are_limited_and_never_kept() {
    let live = memory("cache 30 {\ndisable success left.memory\n}");
    assert_eq!(live.ask("a.memory.", "A").text(), "NOERROR 192.0.2.1/5 192.0.2.1/5");
    assert_eq!(live.ask("a.memory.", "A").text(), "NOERROR 192.0.2.2/5 192.0.2.2/5");
    assert_eq!(live.ask("left.memory.", "A").text(), "NOERROR 192.0.2.3/2 192.0.2.3/900");
    live.ask("fails.memory.", "A");
    assert_eq!(live.metric("coredns_cache_entries{server=\"dns://:53\",type=\"denial\",zones=\".\",view=\"\"}"), 0.0);
    live.ask("other.", "A");
    assert_eq!(live.metric("coredns_cache_entries{server=\"dns://:53\",type=\"denial\",zones=\".\",view=\"\"}"), 1.0);
}

//----------- Capacity, reload, setup ----------------------------------------

#[test]
fn the_cache_is_bounded_and_says_what_it_drove_out() {
    let upstream = always(|answer| answer.a("192.0.2.1", 60));
    let live = live(&upstream, "cache {\nsuccess 1\n}");
    for round in 0..15 {
        let packets = (0..100).map(|n| packet(&format!("n{round}-{n}.example.org."), "A")).collect();
        live.ask_all(packets);
    }
    let series =
        |name: &str| live.metric(&format!("{name}{{server=\"dns://:53\",type=\"success\",zones=\".\",view=\"\"}}"));
    // Counted here, not at the upstream: on a busy machine a question may be sent twice.
    assert_eq!(live.metric("coredns_cache_misses_total{server=\"dns://:53\",zones=\".\",view=\"\"}"), 1500.0);
    assert_eq!(series("coredns_cache_entries"), 1024.0);
    live.ask("www.example.org.", "A");
    assert!(series("coredns_cache_evictions_total") >= 400.0);
}

#[test]
fn the_cache_outlives_a_reload_of_the_same_block_alone() {
    let upstream = always(|answer| answer.a("192.0.2.1", 60));
    let text = format!(". {{\ncache\nforward . {}\n}}", upstream.address);
    let first = Live::new(&text);
    first.ask("www.example.org.", "A");
    let reload = |text: &str| {
        let host = first.server.host.clone();
        let configuration = built(text, crate::plugins::ALL, &host).expect("a configuration");
        Live::with(Server { host, configuration })
    };
    reload(&text).ask("www.example.org.", "A");
    assert_eq!(upstream.count(), 1);
    reload(&text.replace("cache", "cache 30")).ask("www.example.org.", "A");
    assert_eq!(upstream.count(), 2);
}

#[test]
fn what_is_refused_at_setup() {
    let refused = |cache: &str| match Server::try_new(&format!(". {{\n{cache}\n}}")) {
        Ok(_) => panic!("accepted: {cache}"),
        Err(error) => error.to_string().lines().next().unwrap_or_default().to_owned(),
    };
    let with = |option: &str| refused(&format!("cache {{\n{option}\n}}"));
    assert!(refused("cache 30\ncache 20").ends_with("this plugin can only be used once per Server Block"));
    assert!(with("ttl 30").starts_with("plugin/cache: Corefile:3 - Error during parsing: unknown property"));
    assert!(with("servfail 6m").contains("over 5 minutes is not permitted"));
    assert!(with("servfail -1s").contains("invalid negative ttl for servfail"));
    assert!(with("serve_stale 1h later").contains("invalid value for serve_stale refresh mode: later"));
    assert!(with("serve_stale 1h immediate 1500ms").contains("must be a whole number of seconds"));
    assert!(with("serve_stale 1h verify 1s 1s 6m").contains("cannot exceed 5 minutes"));
    assert!(with("serve_stale 1h immediate 1s 1s 1s").contains("Wrong argument count"));
    assert!(with("serve_stale_policy prefer_positive").contains("requires serve_stale"));
    assert!(with("serve_stale\nserve_stale_policy prefer_old").contains("invalid serve_stale_policy: prefer_old"));
    assert!(with("prefetch -1").contains("prefetch amount should be positive: -1"));
    assert!(with("disable failures").contains("must be \"success\" or \"denial\""));
}
