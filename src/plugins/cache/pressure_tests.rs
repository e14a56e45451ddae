//! Floods, dead upstreams and mass expiry: rows C2 and C17 of docs/faults.md, and names that could
//! evict others.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::sync::watch;

use crate::chain::setup::{Registration, Setup};
use crate::chain::{Here, Plugin, Proto, Query, Reply, Step};
use crate::error::Result;
use crate::host::Host;
use crate::testing::live::{Got, Live};
use crate::testing::upstream::{Act, Answer, Seen, Upstream};
use crate::testing::{Server, packet};
use crate::wire::answer::Section;
use crate::wire::encode::{Encoder, Owner};

/// Starts a cache with `options` above an upstream.
fn live(upstream: &Upstream, cache: &str) -> Live {
    Live::new(&format!(". {{\n{cache}\nforward . {}\n}}", upstream.address))
}

fn series(live: &Live, name: &str, kind: &str) -> f64 {
    live.metric(&format!("{name}{{server=\"dns://:53\",type=\"{kind}\",zones=\".\",view=\"\"}}"))
}

/// Returns the first letter of the name in the question.
fn letter(seen: &Seen) -> u8 {
    seen.packet[13]
}

/// Asks for `count` names that begin with `letter`, a hundred at a time.
fn flood(live: &Live, letter: char, count: usize, mut between: impl FnMut()) -> Vec<Got> {
    let names: Vec<_> = (0..count).map(|n| packet(&format!("{letter}{n}.example.org."), "A")).collect();
    let mut all = Vec::new();
    for chunk in names.chunks(100) {
        all.extend(live.ask_all(chunk.to_vec()));
        between();
    }
    all
}

/// Popular names survive a flood of other names, existing or not.
#[test]
fn hot_names_survive_a_flood() {
    let upstream = Upstream::start(|seen| {
        let answer = Answer::to(&seen.packet);
        vec![Act::send(match letter(seen) {
            b'x' => answer.rcode(3).soa("example.org", 600),
            _ => answer.a("192.0.2.1", 600),
        })]
    });
    let live = live(&upstream, "cache {\nsuccess 1024\ndenial 1024\n}");
    let hot = || (0..50).for_each(|n| _ = live.ask(&format!("h{n}.example.org."), "A"));
    let misses = || live.metric("coredns_cache_misses_total{server=\"dns://:53\",zones=\".\",view=\"\"}");
    (0..20).for_each(|_| hot());
    flood(&live, 'x', 4000, hot);
    assert_eq!(misses(), 4050.0, "denials have a place of their own");
    assert!(series(&live, "coredns_cache_entries", "denial") <= 1024.0);
    flood(&live, 'p', 4000, hot);
    let again = misses() - 8050.0;
    assert!(again <= 20.0, "of 2,000 hits during the flood {again} were lost");
    assert!(series(&live, "coredns_cache_entries", "success") <= 1024.0);
}

/// A store of 1,024 takes 1 MiB, with small answers or large ones.
#[test]
fn big_answers_count_for_what_they_take() {
    let upstream = Upstream::start(|seen| {
        let answer = (0..=u8::MAX).fold(Answer::to(&seen.packet), |answer, n| {
            answer.record(0, &[0xC0, 12], (16, 60), &[&[109][..], &[n; 109]].concat())
        });
        vec![Act::send(answer)]
    });
    let live =
        Live::new(&format!(". {{\ncache {{\nsuccess 1024\n}}\nforward . {} {{\nforce_tcp\n}}\n}}", upstream.address));
    let big = live.ask_packet(packet("a.example.org.", "TXT"), Proto::Tcp).message.answers.len();
    assert_eq!(big, 256);
    let names = (0..200).map(|n| packet(&format!("c{n}.example.org."), "TXT"));
    names.for_each(|name| _ = live.ask_packet(name, Proto::Tcp));
    let entries = series(&live, "coredns_cache_entries", "success");
    // 256 × (12 + 110) octets and the marks of the records.
    assert!((20.0..=34.0).contains(&entries), "{entries} entries of 32 KiB");
}

/// Row C17: a failing name costs the upstream almost nothing, with a stale answer and without one.
#[test]
fn a_name_that_fails_is_asked_for_once_in_five_seconds() {
    for stale in
        ["", "serve_stale 1h immediate", "serve_stale 1h verify", "serve_stale 1h verify 1s", "prefetch 1 1h 90%"]
    {
        let fails = Arc::new(AtomicBool::new(false));
        let upstream = Upstream::start({
            let fails = fails.clone();
            move |seen| {
                let answer = Answer::to(&seen.packet);
                vec![Act::send(if fails.load(Ordering::Relaxed) { answer.rcode(2) } else { answer.a("192.0.2.1", 60) })]
            }
        });
        let live = live(&upstream, &format!("cache {{\n{stale}\n}}"));
        let name = "www.example.org.";
        live.ask(name, "A");
        fails.store(true, Ordering::Relaxed);
        live.advance(if stale.starts_with("prefetch") { 20 } else { 60 });
        for second in 0..5 {
            for _ in 0..200 {
                let got = live.ask(name, "A").text();
                assert_eq!(got.starts_with("NOERROR"), !stale.is_empty(), "{stale}: {got}");
            }
            std::thread::sleep(Duration::from_millis(20));
            assert!(upstream.count() <= 1 + 3, "{stale}: {} at second {second}", upstream.count() - 1);
            live.advance(1);
        }
        assert!(upstream.count() > 1, "{stale}: it was tried");
    }
}

/// Row C2: the upstream does not answer for an hour.
#[test]
fn an_hour_without_an_upstream() {
    let upstream = Upstream::with_a("192.0.2.1");
    let live = live(&upstream, "cache {\nserve_stale 2h immediate 30s\n}");
    let names: Vec<_> = (0..40).map(|n| format!("n{n}.example.org.")).collect();
    names.iter().for_each(|name| _ = live.ask(name, "A"));
    upstream.script(|_| Vec::new());
    live.advance(61);
    for minute in 0..60 {
        for name in &names {
            let got = live.ask(name, "A");
            assert_eq!((got.text().as_str(), got.extended_error()), ("NOERROR 192.0.2.1/30", Some(3)), "{minute}");
        }
        live.advance(60);
    }
    upstream.script(|seen| vec![Act::send(Answer::to(&seen.packet).a("192.0.2.2", 60))]);
    for name in &names {
        live.wait_until("a fresh answer is there", || {
            live.advance(1);
            live.ask(name, "A").text().starts_with("NOERROR 192.0.2.2/")
        });
    }
}

#[test]
fn the_first_look_up_after_an_outage_is_fresh() {
    let upstream = Upstream::with_a("192.0.2.0");
    let live = live(&upstream, "cache {\nserve_stale 2h verify 1s 30s\n}");
    live.ask("www.example.org.", "A");
    upstream.script(|seen| vec![Act::send(Answer::to(&seen.packet).rcode(2))]);
    live.advance(60);
    for _ in 0..120 {
        let got = live.ask("www.example.org.", "A");
        assert_eq!((got.text().as_str(), got.extended_error()), ("NOERROR 192.0.2.0/30", Some(3)));
        live.advance(30);
    }
    upstream.script(|seen| vec![Act::send(Answer::to(&seen.packet).a("192.0.2.121", 60))]);
    let back = live.ask("www.example.org.", "A");
    assert_eq!((back.text().as_str(), back.extended_error()), ("NOERROR 192.0.2.121/60", None));
}

/// Answers the first question and no others.
struct Silent(AtomicBool);

impl Plugin for Silent {
    fn ask(&self, query: &mut Query<'_>, _: &Here<'_>) -> Step {
        if self.0.swap(true, Ordering::Relaxed) {
            return Step::Wait(Box::pin(std::future::pending()));
        }
        let answer = Encoder::build(query.question.name.len(), |e| {
            e.address(Section::Answer, Owner::ASKED, 60, [192, 0, 2, 1].into());
        });
        Step::Answer(Reply::fetched(Arc::new(answer)))
    }
}

/// RFC 8767 section 5: a client does not wait long if there is an answer to give.
#[test]
fn verifying_has_an_end_without_a_timeout() {
    const PLUGINS: &[Registration] = &[super::PLUGIN, Registration::bare("whoami", setup)];
    fn setup(s: &mut Setup<'_>) -> Result<()> {
        s.chain(Silent(AtomicBool::new(false)));
        Ok(())
    }
    let text = ". {\ncache {\nserve_stale 1h verify\n}\nwhoami\n}";
    let live = Live::with(Server::with_plugins(PLUGINS, text).expect("a Corefile"));
    live.ask("www.example.org.", "A");
    live.advance(60);
    // A client that waited for the answer would wait for ever.
    for _ in 0..2 {
        assert_eq!(live.ask("www.example.org.", "A").text(), "NOERROR 192.0.2.1/0");
    }
}

/// Answers while it is open; earlier questions wait.
struct Door {
    open: watch::Sender<bool>,
    asked: AtomicUsize,
}

struct Doorway(Arc<Door>);

impl Plugin for Doorway {
    fn ask(&self, query: &mut Query<'_>, _: &Here<'_>) -> Step {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        let (mut open, len) = (self.0.open.subscribe(), query.question.name.len());
        Step::Wait(Box::pin(async move {
            let _ = open.wait_for(|open| *open).await;
            let answer = Encoder::build(len, |e| {
                e.address(Section::Answer, Owner::ASKED, 60, [192, 0, 2, 1].into());
            });
            Reply::fetched(Arc::new(answer))
        }))
    }
}

/// All entries expire in the same second, and all are asked for.
#[test]
fn a_mass_expiry_makes_no_burst() {
    const PLUGINS: &[Registration] = &[super::PLUGIN, Registration::bare("whoami", setup)];
    fn door(host: &Host) -> Arc<Door> {
        host.shared.get_or_make("door", || Door { open: watch::Sender::new(true), asked: AtomicUsize::new(0) })
    }
    fn setup(s: &mut Setup<'_>) -> Result<()> {
        s.chain(Doorway(door(s.host)));
        Ok(())
    }
    let text = ". {\ncache {\nserve_stale 1h immediate\n}\nwhoami\n}";
    let live = Live::with(Server::with_plugins(PLUGINS, text).expect("a Corefile"));
    let door = door(&live.server.host);
    let asked = || door.asked.load(Ordering::Relaxed);
    let names = || flood(&live, 'n', 500, || ());
    names();
    live.advance(60);
    door.open.send_replace(false);
    assert!(names().iter().all(|got| got.extended_error() == Some(3)));
    live.wait_until("as many as may be are asked for", || asked() == 564);
    names();
    assert_eq!(asked(), 564, "the others wait for their next hit");
    door.open.send_replace(true);
    live.wait_until("all are fresh", || names().iter().all(|got| got.extended_error().is_none()));
}
