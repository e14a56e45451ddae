//! Tests each cell of the table in `ruling.rs` through the whole plugin, without sockets. Tests
//! move the clock and complete all background work.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tokio::runtime::Runtime;

use crate::chain::setup::{Registration, Setup};
use crate::chain::{Here, Plugin, Proto, Query, Reply, Step};
use crate::error::Result;
use crate::host::tasks::Tasks;
use crate::testing::live::{Got, resolve};
use crate::testing::{Server, packet};
use crate::wire::answer::{Answer, Section};
use crate::wire::encode::{Encoder, Owner};
use crate::wire::name::Name;
use crate::wire::reply::ede;
use crate::wire::request::flag;
use crate::wire::types::{rcode, rtype};

const NAME: &str = "www.example.org.";

//----------- What is said below the cache -----------------------------------

/// The scripted plugin below the cache, with a count of its queries.
#[derive(Default)]
struct Script {
    says: Mutex<Option<Reply>>,
    asked: AtomicUsize,
}

struct Scripted(Arc<Script>);

impl Plugin for Scripted {
    fn ask(&self, _: &mut Query<'_>, _: &Here<'_>) -> Step {
        self.0.asked.fetch_add(1, Ordering::Relaxed);
        Step::Answer(self.0.says.lock().expect("no panic").clone().expect("something to say"))
    }
}

fn setup(s: &mut Setup<'_>) -> Result<()> {
    s.chain(Scripted(s.host.shared.get_or_make("script", Script::default)));
    Ok(())
}

fn made(fill: impl FnOnce(&mut Encoder<'_>)) -> Reply {
    let len = Name::from_text(NAME).expect("a name").len();
    Reply::fetched(Arc::new(Encoder::build(len, fill)))
}

fn address(last: u8, ttl: u32) -> Reply {
    made(|e| e.address(Section::Answer, Owner::ASKED, ttl, [192, 0, 2, last].into()))
}

/// Returns a denial with the SOA of a zone.
fn denial(code: u16, zone: &str, ttl: u32) -> Reply {
    let zone = Name::from_text(zone).expect("a name");
    made(|e| {
        e.rcode(code);
        e.record(Section::Authority, Owner::name(&zone), rtype::SOA, ttl, |e| e.put(&[0; 22]));
    })
}

fn bare(code: u16) -> Reply {
    Reply::fetched(Arc::new(Answer::empty(code)))
}

fn alias(code: u16) -> Reply {
    let target = Name::from_text("gone.example.org.").expect("a name");
    made(|e| {
        e.rcode(code);
        e.record(Section::Answer, Owner::ASKED, rtype::CNAME, 50, |e| e.put(target.wire()));
    })
}

/// Returns the reply for a word of the tables.
fn said(word: &str) -> Reply {
    match word {
        "an answer" => address(2, 50),
        "an answer, TTL 0" => address(2, 0),
        "NXDOMAIN" => denial(rcode::NXDOMAIN, "example.org", 50),
        "no data" => denial(rcode::NOERROR, "example.org", 50),
        "NXDOMAIN without SOA" => bare(rcode::NXDOMAIN),
        "NXDOMAIN, other zone" => denial(rcode::NXDOMAIN, "example.net", 50),
        "NXDOMAIN of an alias" => alias(rcode::NXDOMAIN),
        "an alias alone" => alias(rcode::NOERROR),
        "nothing" => bare(rcode::NOERROR),
        "from memory" => Reply::memory(address(2, 50).answer),
        "SERVFAIL" => bare(rcode::SERVFAIL),
        "REFUSED" => bare(rcode::REFUSED),
        "cut" => made(|e| e.flags(flag::TC)),
        "silence" => Reply::failure(rcode::SERVFAIL, "i/o timeout"),
        "all down" => Reply::failure(rcode::SERVFAIL, "no healthy proxies").with_error(ede::NO_REACHABLE_AUTHORITY, ""),
        other => panic!("{other}?"),
    }
}

//----------- A cache above it -----------------------------------------------

struct Rig {
    server: Server,
    script: Arc<Script>,
    runtime: Runtime,
    _tasks: Tasks,
}

impl Rig {
    fn new(options: &str) -> Self {
        const PLUGINS: &[Registration] = &[super::PLUGIN, Registration::bare("whoami", setup)];
        let limits = "success 1024 3600 0\ndenial 1024 1800 0";
        let text = format!(". {{\ncache {{\n{limits}\n{options}\n}}\nwhoami\n}}");
        let mut server = Server::with_plugins(PLUGINS, &text).expect("a Corefile");
        let script = server.host.shared.get_or_make("script", Script::default);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let tasks = server.configuration.start(runtime.handle());
        let rig = Self { server, script, runtime, _tasks: tasks };
        rig.settle();
        rig
    }

    fn say(&self, reply: Reply) {
        *self.script.says.lock().expect("no panic") = Some(reply);
    }

    fn ask(&self) -> Got {
        let listener = self.server.configuration.listeners[0].clone();
        let got = self.runtime.block_on(resolve(listener, packet(NAME, "A"), Proto::Udp));
        self.settle();
        got
    }

    /// Completes all background work, none of which waits for anything.
    fn settle(&self) {
        self.runtime.block_on(async {
            for _ in 0..20 {
                tokio::task::yield_now().await;
            }
        });
    }

    fn advance(&self, seconds: u64) {
        self.server.host.clock.advance(std::time::Duration::from_secs(seconds));
    }

    fn asked(&self) -> usize {
        self.script.asked.load(Ordering::Relaxed)
    }
}

/// Returns a word for the client's reply: `old` and `stale` are the entry that was there first.
fn word(got: &Got) -> &'static str {
    let [answers, authority] = [&got.message.answers, &got.message.authorities];
    match (got.text().split(['/', ' ']).next().unwrap_or_default(), answers.first(), authority.first()) {
        _ if got.extended_error().is_some_and(|code| [ede::STALE_ANSWER, ede::STALE_NXDOMAIN].contains(&code)) => {
            "stale"
        }
        ("NOERROR", Some(record), _) if record.record_type() == hickory_proto::rr::RecordType::CNAME => "alias",
        ("NOERROR", Some(record), _) if record.data.to_string() == "192.0.2.1" => "old",
        ("NOERROR", Some(_), _) => "new",
        ("NXDOMAIN", _, Some(soa)) if soa.name.to_string() == "org." => "old",
        ("NXDOMAIN", ..) => "nx",
        ("NOERROR", None, Some(_)) => "nodata",
        ("NOERROR", None, None) => "empty",
        ("SERVFAIL", ..) => "servfail",
        _ => "?",
    }
}

/// Asks about the entry `old` when it is `after` seconds old, while the plugin below gives `news`.
/// Returns what this client gets, what the next one gets, and at which of 0, 1 and 5 s after that
/// the question was sent below again.
fn cell(options: &str, old: Reply, after: u64, news: &str) -> String {
    let rig = Rig::new(options);
    rig.say(old);
    rig.ask();
    rig.advance(after);
    rig.say(said(news));
    let first = rig.ask();
    assert_eq!(rig.asked(), 2, "{options}: it was asked again, once");
    let (mut next, mut again) = (None, String::new());
    for wait in [0, 1, 4] {
        rig.advance(wait);
        let before = rig.asked();
        let got = rig.ask();
        next.get_or_insert(word(&got));
        again.push(if rig.asked() > before { '+' } else { '-' });
    }
    format!("{} {} {again}", word(&first), next.unwrap_or_default())
}

const PREFETCH: &str = "prefetch 1 1h 30%";
const IMMEDIATE: &str = "serve_stale 1h immediate";
const VERIFY: [&str; 2] = ["serve_stale 1h verify", "serve_stale 1h verify 1s"];
const PREFER: &str = "serve_stale_policy prefer_positive";

/// The three columns: `prefetch` of a valid entry, and a stale one with `immediate` and with
/// `verify`.
fn row(old: impl Fn() -> Reply, more: &str, news: &str) -> [String; 3] {
    let stale = if more.is_empty() { "" } else { "\nserve_stale 1h" };
    let prefetch = cell(&format!("{PREFETCH}{stale}\n{more}"), old(), 80, news);
    let immediate = cell(&format!("{IMMEDIATE}\n{more}"), old(), 100, news);
    let [verify, bounded] = VERIFY.map(|verify| cell(&format!("{verify}\n{more}"), old(), 100, news));
    assert_eq!(verify, bounded, "{news}: with TIMEOUT and without");
    [prefetch, immediate, verify]
}

fn hold(table: &[(&str, [&str; 3])], old: impl Fn() -> Reply, more: &str) {
    let found: Vec<_> = table.iter().map(|(news, _)| (*news, row(&old, more, news))).collect();
    let shown: String = found.iter().map(|(news, cells)| format!("        (\"{news}\", {cells:?}),\n")).collect();
    for ((news, wanted), (_, cells)) in table.iter().zip(&found) {
        assert!(wanted == cells, "{news}: {wanted:?} wanted, but:\n{shown}");
    }
}

//----------- The table ------------------------------------------------------

#[test]
fn an_answer_that_was_there() {
    let table = [
        ("an answer", ["old new ---", "stale new ---", "new new ---"]),
        ("an answer, TTL 0", ["old old --+", "stale new +++", "new new +++"]),
        ("NXDOMAIN", ["old old --+", "stale nx ---", "nx nx ---"]),
        ("no data", ["old old --+", "stale nodata ---", "nodata nodata ---"]),
        ("NXDOMAIN without SOA", ["old old --+", "stale nx +++", "nx nx +++"]),
        ("NXDOMAIN, other zone", ["old old --+", "stale nx +++", "nx nx +++"]),
        ("NXDOMAIN of an alias", ["old old --+", "stale nx +++", "nx nx +++"]),
        ("an alias alone", ["old old --+", "stale alias +++", "alias alias +++"]),
        ("nothing", ["old old --+", "stale empty --+", "empty empty --+"]),
        ("from memory", ["old new +++", "stale new +++", "new new +++"]),
        ("SERVFAIL", ["old old --+", "stale stale --+", "stale stale --+"]),
        ("REFUSED", ["old old --+", "stale stale --+", "stale stale --+"]),
        ("cut", ["old old --+", "stale stale --+", "stale stale --+"]),
        ("silence", ["old old -++", "stale stale -++", "stale stale --+"]),
        ("all down", ["old old -++", "stale stale -++", "stale stale -++"]),
    ];
    hold(&table, || address(1, 100), "");
}

#[test]
fn a_denial_that_was_there() {
    let table = [
        ("an answer", ["old new ---", "stale new ---", "new new ---"]),
        ("an answer, TTL 0", ["old old --+", "stale new +++", "new new +++"]),
        ("NXDOMAIN", ["old nx ---", "stale nx ---", "nx nx ---"]),
        ("no data", ["old nodata ---", "stale nodata ---", "nodata nodata ---"]),
        ("NXDOMAIN without SOA", ["old old --+", "stale nx +++", "nx nx +++"]),
        ("nothing", ["old old --+", "stale empty --+", "empty empty --+"]),
        ("from memory", ["old new +++", "stale new +++", "new new +++"]),
        ("SERVFAIL", ["old old --+", "stale stale --+", "stale stale --+"]),
        ("silence", ["old old -++", "stale stale -++", "stale stale --+"]),
        ("all down", ["old old -++", "stale stale -++", "stale stale -++"]),
    ];
    hold(&table, || denial(rcode::NXDOMAIN, "org", 100), "");
}

#[test]
fn an_answer_that_is_preferred() {
    let table = [
        ("an answer", ["old new ---", "stale new ---", "new new ---"]),
        ("an answer, TTL 0", ["old old --+", "stale new +++", "new new +++"]),
        ("NXDOMAIN", ["old old --+", "stale stale --+", "stale stale --+"]),
        ("NXDOMAIN without SOA", ["old old --+", "stale stale --+", "stale stale --+"]),
        ("an alias alone", ["old old --+", "stale stale --+", "stale stale --+"]),
        ("nothing", ["old old --+", "stale stale --+", "stale stale --+"]),
        ("from memory", ["old new +++", "stale new +++", "new new +++"]),
        ("SERVFAIL", ["old old --+", "stale stale --+", "stale stale --+"]),
        ("silence", ["old old -++", "stale stale -++", "stale stale --+"]),
        ("all down", ["old old -++", "stale stale -++", "stale stale -++"]),
    ];
    hold(&table, || address(1, 100), PREFER);
}

/// The column without an entry: what is kept of a first answer.
#[test]
fn nothing_that_was_there() {
    for (news, wanted) in [
        ("an answer", "new"),
        ("NXDOMAIN", "nx"),
        ("no data", "nodata"),
        ("nothing", "empty"),
        ("SERVFAIL", "servfail"),
        ("silence", "servfail"),
        ("all down", "servfail"),
    ] {
        let rig = Rig::new("");
        rig.say(said(news));
        assert_eq!([word(&rig.ask()), word(&rig.ask())], [wanted; 2], "{news}");
        assert_eq!(rig.asked(), 1, "{news}");
    }
    for news in
        ["an answer, TTL 0", "NXDOMAIN without SOA", "NXDOMAIN, other zone", "NXDOMAIN of an alias", "REFUSED", "cut"]
    {
        let rig = Rig::new("");
        rig.say(said(news));
        (0..3).for_each(|_| _ = rig.ask());
        assert_eq!(rig.asked(), 3, "{news} is not kept");
    }
}

//----------- Over a while ---------------------------------------------------

/// A removed name stays removed, even if the upstream fails afterwards.
#[test]
fn a_deleted_name_does_not_come_back() {
    for options in [IMMEDIATE, VERIFY[0], VERIFY[1], "serve_stale 1h verify 1s 0s 5s"] {
        for news in ["NXDOMAIN without SOA", "NXDOMAIN, other zone"] {
            let rig = Rig::new(options);
            rig.say(address(1, 1));
            rig.ask();
            rig.advance(1);
            rig.say(said(news));
            rig.ask();
            for second in 0..30 {
                assert_eq!(word(&rig.ask()), "nx", "{options}: {news} at {second}");
                rig.advance(1);
            }
            rig.say(said("SERVFAIL"));
            assert_eq!(word(&rig.ask()), "servfail", "{options}: {news}");
        }
    }
}

/// A denial that waits beside a valid answer expires with its own TTL, and so does a preferred
/// answer.
#[test]
fn a_denial_that_waited_takes_its_turn() {
    let rig = Rig::new(PREFETCH);
    rig.say(address(1, 100));
    rig.ask();
    rig.advance(80);
    rig.say(said("NXDOMAIN"));
    assert_eq!([word(&rig.ask()), word(&rig.ask())], ["old"; 2]);
    rig.advance(19);
    assert_eq!((word(&rig.ask()), rig.asked()), ("old", 3));
    rig.advance(1);
    assert_eq!((word(&rig.ask()), rig.asked()), ("nx", 3));
}
