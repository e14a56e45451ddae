//! Prefetch, stale answers, and preference between entries. Tests move the clock and do not wait.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use crate::testing::live::{Got, Live};
use crate::testing::upstream::{Act, Answer, Seen, Upstream};

const STALE: Option<u16> = Some(3);

/// Starts a cache above an upstream.
fn live(upstream: &Upstream, cache: &str) -> Live {
    Live::new(&format!(". {{\n{cache}\nforward . {}\n}}", upstream.address))
}

/// Answers with the number of the query, TTL 100, or with `rcode`.
fn numbered(rcode: &Arc<AtomicU16>) -> impl Fn(&Seen) -> Vec<Act> + Send + Sync + 'static {
    let rcode = rcode.clone();
    move |seen| {
        let answer = Answer::to(&seen.packet);
        match rcode.load(Ordering::Relaxed) {
            0 => vec![Act::send(answer.a(&format!("192.0.2.{}", seen.before + 1), 100))],
            3 => vec![Act::send(answer.rcode(3).soa("example.org", 100))],
            rcode => vec![Act::send(answer.rcode(rcode as u8))],
        }
    }
}

fn ask(live: &Live) -> Got {
    live.ask("www.example.org.", "A")
}

#[test]
fn what_is_asked_for_often_is_fetched_again_before_it_is_stale_once() {
    let rcode = Arc::new(AtomicU16::new(0));
    let upstream = Upstream::start(numbered(&rcode));
    let live = live(&upstream, "cache {\nprefetch 3 1h 20%\n}");
    for _ in 0..5 {
        ask(&live);
    }
    // Counted here, not at the upstream: on a busy machine, queries that seem lost are sent again.
    let asked = || live.metric("coredns_cache_prefetch_total{server=\"dns://:53\",zones=\".\",view=\"\"}");
    live.advance(79);
    ask(&live);
    assert_eq!(asked(), 0.0, "21 of 100 seconds are left");
    {
        let _pressure = crate::host::pressure::Pressure::begin();
        live.advance(1);
        ask(&live);
        assert_eq!(asked(), 0.0, "queries are being dropped");
    }
    upstream.script({
        let script = numbered(&rcode);
        move |seen| [vec![Act::Wait(Duration::from_millis(200))], script(seen)].concat()
    });
    for _ in 0..20 {
        assert_eq!(ask(&live).text(), "NOERROR 192.0.2.1/20");
    }
    live.wait_until("the fresh answer is there", || ask(&live).text().ends_with("/100"));
    assert_eq!(asked(), 1.0);
    assert!(upstream.seen().iter().any(|seen| seen.tcp), "no client waits: nothing shall be cut");
    live.advance(80);
    ask(&live);
    assert_eq!(asked(), 2.0, "it is still asked for often");
}

#[test]
fn stale_answers_are_served_at_once_and_refreshed_behind() {
    let rcode = Arc::new(AtomicU16::new(0));
    let upstream = Upstream::start(numbered(&rcode));
    let live = live(&upstream, "cache {\nserve_stale 1h immediate 30s\n}");
    ask(&live);
    live.advance(100);
    let stale = ask(&live);
    assert_eq!((stale.text().as_str(), stale.extended_error()), ("NOERROR 192.0.2.1/30", STALE));
    live.wait_until("a fresh one is there", || ask(&live).text() == "NOERROR 192.0.2.2/100");
    rcode.store(2, Ordering::Relaxed);
    live.advance(100 + 3599);
    assert_eq!(ask(&live).extended_error(), STALE, "the upstream fails, and the answer stays");
    live.wait_until("it was asked", || upstream.count() == 3);
    assert_eq!(ask(&live).text(), "NOERROR 192.0.2.2/30");
    live.advance(1);
    assert_eq!(ask(&live).text(), "SERVFAIL", "everything has an end");
    assert!(live.metric("coredns_cache_served_stale_total{server=\"dns://:53\",zones=\".\",view=\"\"}") >= 3.0);
}

#[test]
fn after_a_failure_there_is_no_attempt_for_a_while() {
    let rcode = Arc::new(AtomicU16::new(0));
    let upstream = Upstream::start(numbered(&rcode));
    let live = live(&upstream, "cache {\nserve_stale 1h immediate 0s 10s\n}");
    ask(&live);
    rcode.store(2, Ordering::Relaxed);
    live.advance(100);
    assert_eq!(ask(&live).text(), "NOERROR 192.0.2.1/0");
    let settle = || std::thread::sleep(Duration::from_millis(150));
    for (seconds, tried) in [(0, 2), (9, 2), (1, 3), (0, 3)] {
        live.advance(seconds);
        (0..20).for_each(|_| _ = ask(&live));
        live.wait_until("it was tried", || upstream.count() >= tried);
        settle();
        assert_eq!(upstream.count(), tried);
    }
}

#[test]
fn stale_answers_are_verified_first() {
    let rcode = Arc::new(AtomicU16::new(0));
    let upstream = Upstream::start(numbered(&rcode));
    let live = live(&upstream, "cache {\nserve_stale 1h verify\n}");
    ask(&live);
    live.advance(100);
    assert_eq!(ask(&live).text(), "NOERROR 192.0.2.2/100");
    for bad in [2, 5] {
        rcode.store(bad, Ordering::Relaxed);
        live.advance(100);
        let stale = ask(&live);
        assert_eq!((stale.text().as_str(), stale.extended_error()), ("NOERROR 192.0.2.2/0", STALE), "{bad}");
    }
    rcode.store(3, Ordering::Relaxed);
    assert_eq!((ask(&live).extended_error(), upstream.count()), (STALE, 4), "after a failure there is a pause");
    live.advance(5);
    assert_eq!(ask(&live).text(), "NXDOMAIN", "that there is no such name is news");
    assert_eq!((ask(&live).text().as_str(), upstream.count()), ("NXDOMAIN", 5));
}

#[test]
fn verifying_has_an_end_and_what_comes_late_is_for_the_next() {
    let rcode = Arc::new(AtomicU16::new(0));
    let upstream = Upstream::start(numbered(&rcode));
    let live = live(&upstream, "cache {\nserve_stale 1h verify 100ms 30s\n}");
    ask(&live);
    upstream.script({
        let script = numbered(&rcode);
        move |seen| [vec![Act::Wait(Duration::from_millis(600))], script(seen)].concat()
    });
    live.advance(100);
    assert_eq!(ask(&live).text(), "NOERROR 192.0.2.1/30");
    assert_eq!(ask(&live).text(), "NOERROR 192.0.2.1/30", "one asks at a time, the others get what there is");
    live.wait_until("the fresh one is there", || ask(&live).text() == "NOERROR 192.0.2.2/100");
    assert_eq!(upstream.count(), 2);
}

/// Row D9: a denial never hides an answer that is preferred, and a failure hides no answer at all.
#[test]
fn an_answer_is_preferred_to_a_later_denial() {
    let rcode = Arc::new(AtomicU16::new(0));
    let upstream = Upstream::start(numbered(&rcode));
    let live = live(&upstream, "cache {\nserve_stale 1h verify\nserve_stale_policy prefer_positive\n}");
    ask(&live);
    live.advance(100);
    for bad in [3, 2] {
        rcode.store(bad, Ordering::Relaxed);
        assert_eq!(ask(&live).text(), "NOERROR 192.0.2.1/0", "{bad}");
        live.advance(5);
    }
    rcode.store(0, Ordering::Relaxed);
    assert_eq!(ask(&live).text(), "NOERROR 192.0.2.4/100");
}

#[test]
fn a_fresh_answer_takes_the_place_of_a_denial() {
    let rcode = Arc::new(AtomicU16::new(3));
    let upstream = Upstream::start(numbered(&rcode));
    let live = live(&upstream, "cache {\nserve_stale 1h verify\n}");
    assert_eq!(ask(&live).text(), "NXDOMAIN");
    rcode.store(0, Ordering::Relaxed);
    live.advance(100);
    assert_eq!(ask(&live).text(), "NOERROR 192.0.2.2/100");
    assert_eq!((ask(&live).text().as_str(), upstream.count()), ("NOERROR 192.0.2.2/100", 2));
}

#[test]
fn a_denial_is_served_stale_with_a_mark_of_its_own() {
    let rcode = Arc::new(AtomicU16::new(3));
    let upstream = Upstream::start(numbered(&rcode));
    let live = live(&upstream, "cache {\nserve_stale 1h immediate 30s\n}");
    ask(&live);
    rcode.store(2, Ordering::Relaxed);
    live.advance(100);
    let stale = ask(&live);
    assert_eq!((stale.text().as_str(), stale.extended_error()), ("NXDOMAIN", Some(19)));
    let hits = "coredns_cache_hits_total{server=\"dns://:53\",type=\"denial\",zones=\".\",view=\"\"}";
    assert_eq!(live.metric(hits), 1.0);
}

/// `prefetch AMOUNT DURATION PERCENT%`: each word has an effect.
#[test]
fn prefetch_wants_enough_hits_without_a_gap_near_the_end() {
    let asked = |prefetch: &str, hits: usize, gap: u64, at: u64| {
        let upstream = Upstream::start(numbered(&Arc::new(AtomicU16::new(0))));
        let live = live(&upstream, &format!("cache {{\n{prefetch}\n}}"));
        ask(&live);
        live.advance(at - gap);
        (1..hits).for_each(|_| _ = ask(&live));
        live.advance(gap);
        ask(&live);
        let counted = live.metric("coredns_cache_prefetch_total{server=\"dns://:53\",zones=\".\",view=\"\"}");
        counted > 0.0
    };
    assert!(asked("prefetch 3", 3, 5, 90), "10% of 100 s are left");
    assert!(!asked("prefetch 3", 3, 5, 89));
    assert!(!asked("prefetch 3", 2, 5, 90), "too few");
    // Not 10 s: the clock also runs by itself during the test.
    assert!(asked("prefetch 3 10s", 3, 9, 90));
    assert!(!asked("prefetch 3 10s", 3, 11, 90), "the gap was too long");
    assert!(asked("prefetch 3 1m 40%", 3, 5, 60) && !asked("prefetch 3 1m 40%", 3, 5, 59));
    assert!(!asked("prefetch 0", 50, 5, 99), "0 is off");
}

/// While all upstreams are known to be down, clients do not wait for them: `verify` serves the
/// stale answer at once.
#[test]
fn clients_do_not_wait_for_upstreams_that_are_known_to_be_down() {
    let rcode = Arc::new(AtomicU16::new(0));
    let upstream = Upstream::start(numbered(&rcode));
    let live = Live::new(&format!(
        ". {{\ncache {{\nserve_stale 10h verify\n}}\nforward . {} {{\nhealth_check 20ms\n}}\n}}",
        upstream.address
    ));
    let names: Vec<_> = (0..20).map(|n| format!("n{n}.example.org.")).collect();
    names.iter().for_each(|name| _ = live.ask(name, "A"));
    upstream.script(|_| Vec::new());
    live.advance(100);
    let count = || upstream.seen().iter().filter(|seen| !seen.is_probe()).count();
    // The first queries detect the outage, and probes continue.
    live.wait_until("the upstream is known to be down", || {
        let before = count();
        names.iter().take(2).for_each(|name| _ = live.ask(name, "A"));
        live.advance(5);
        count() == before
    });
    let before = count();
    for _ in 0..5 {
        for name in &names {
            assert_eq!(live.ask(name, "A").extended_error(), STALE);
        }
        live.advance(1);
    }
    assert_eq!(count(), before, "of 100 questions none was sent, so none was waited for");
    upstream.script(numbered(&rcode));
    live.wait_until("its return is noticed", || {
        live.advance(1);
        live.ask("n19.example.org.", "A").extended_error().is_none()
    });
}

/// Row C2: while all upstreams are down, stale answers cost them only probes, and their return is
/// detected.
#[test]
fn upstreams_that_are_down_are_not_asked_until_a_probe_succeeds() {
    let rcode = Arc::new(AtomicU16::new(0));
    let upstream = Upstream::start(numbered(&rcode));
    let live = Live::new(&format!(
        ". {{\ncache {{\nserve_stale 10h\n}}\nforward . {} {{\nhealth_check 20ms\n}}\n}}",
        upstream.address
    ));
    ask(&live);
    upstream.script(|_| Vec::new());
    live.advance(100);
    let count = || upstream.seen().iter().filter(|seen| !seen.is_probe()).count();
    let look = || {
        live.advance(2);
        assert_eq!(ask(&live).extended_error(), STALE);
        std::thread::sleep(Duration::from_millis(50));
    };
    // The first background look-ups detect the outage.
    live.wait_until("nothing is asked for three seconds", || {
        let before = count();
        (0..60).for_each(|_| look());
        count() == before
    });
    upstream.script(numbered(&rcode));
    live.wait_until("fresh", || {
        live.advance(2);
        std::thread::sleep(Duration::from_millis(50));
        ask(&live).extended_error().is_none()
    });
}
