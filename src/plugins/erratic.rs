//! # erratic — answer badly on purpose
//!
//! Answers every question for an A record with 192.0.2.53 and every one for an AAAA record with
//! 2001:db8::53, TTL 0, and drops, delays or truncates some of them: for tests of clients. AXFR
//! gets a zone of five records; all other types get SERVFAIL.
//!
//! ## Syntax
//!
//! ```text
//! erratic {
//! }
//! ```
//!
//! Without a block, and with one that names none of `drop`, `delay` and `truncate` with a number,
//! every second query is dropped. An option without AMOUNT means 2, and 0 turns it off.
//!
//! For *ready*, this plugin is ready while it has seen three or four queries, and not ready at any
//! other time. For `autopath @erratic` the search list of every client is
//! `a.example.org b.example.org`.
//!
//! ## Examples
//!
//! ```corefile
//! example.org {
//!     erratic {
//!         drop 3
//!         delay 4 50ms
//!     }
//! }
//! ```

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::chain::doc::doc_of;
use crate::chain::options::{OptionOf, OptionsOf, unknown_property};
use crate::chain::search::SearchPath;
use crate::chain::setup::{Registration, Setup};
use crate::chain::{Here, Plugin, Query, Reply, Step};
use crate::corefile::{Cursor, Word, value};
use crate::error::Result;
use crate::wire::answer::{Answer, Section, scratch};
use crate::wire::encode::{Encoder, Owner, Tail};
use crate::wire::name::Name;
use crate::wire::request::flag;
use crate::wire::soa::Soa;
use crate::wire::types::{rcode, rtype};

/// The registration of this plugin.
pub const PLUGIN: Registration =
    Registration { name: "erratic", setup, doc: doc_of!("erratic.rs"), options: &[&OPTIONS] };

const ADDRESSES: (Ipv4Addr, Ipv6Addr) =
    (Ipv4Addr::new(192, 0, 2, 53), Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x53));

/// The search list that every client has, as names in wire form.
const SEARCH: [&[u8]; 2] = [b"\x01a\x07example\x03org\0", b"\x01b\x07example\x03org\0"];

/// Records of an answer with `large`: more than fit into 512 octets without compression.
const LARGE: usize = 30;

//----------- Setup ----------------------------------------------------------

/// Which queries are dropped, delayed or truncated; an amount of 0 means none.
#[derive(Debug, Clone, Copy)]
struct Options {
    drop: u64,
    delay: u64,
    truncate: u64,
    duration: Duration,
    large: bool,
    /// Whether `drop` has a number, which the other options then do not change.
    drops: bool,
}

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let (mut cursor, duration) = (s.cursor(), Duration::from_millis(100));
    let mut options = Options { drop: 2, delay: 0, truncate: 0, duration, large: false, drops: false };
    while cursor.next_occurrence() {
        OPTIONS.read(&mut cursor, &mut options, s)?;
    }
    if (options.delay > 0 || options.truncate > 0) && !options.drops {
        options.drop = 0;
    }
    let seen = Arc::new(AtomicU64::new(0));
    let probed = seen.clone();
    s.probe(move || match probed.load(Ordering::Relaxed) {
        3 | 4 => Ok(Vec::new()),
        seen => Err(vec![format!("it is ready after three and four queries; it has seen {seen}")]),
    });
    s.offer_search_lists(Ok(Arc::new(Search)));
    s.chain(Erratic { options, seen });
    Ok(())
}

static OPTIONS: OptionsOf<Options> = OptionsOf {
    all: &[
        OptionOf {
            name: "drop",
            form: "[AMOUNT]",
            about: "Drops one of AMOUNT queries.",
            read: |cursor, options, _| {
                if let Some(amount) = cursor.args_of(..2)?.first() {
                    (options.drop, options.drops) = (number(cursor, amount)?, true);
                }
                Ok(())
            },
        },
        OptionOf {
            name: "truncate",
            form: "[AMOUNT]",
            about: "Sets TC in answers to queries whose number has no bit of AMOUNT, as CoreDNS does: with \
                    the default of 2 in the first two of every four. A zone transfer then lacks its last record.",
            read: |cursor, options, _| {
                let args = cursor.args_of(..2)?;
                options.truncate = args.first().map_or(Ok(2), |amount| number(cursor, amount))?;
                Ok(())
            },
        },
        OptionOf {
            name: "delay",
            form: "[AMOUNT [DURATION]]",
            about: "Answers one of AMOUNT queries after DURATION (100ms).",
            read: |cursor, options, _| {
                let args = cursor.args_of(..3)?;
                (options.delay, options.duration) = (2, Duration::from_millis(100));
                if let Some(amount) = args.first() {
                    options.delay = number(cursor, amount)?;
                }
                if let Some(word) = args.get(1) {
                    let duration = value::duration(word.as_str()).map_err(|wrong| cursor.complain(word, wrong))?;
                    options.duration = duration.duration().unwrap_or_default();
                }
                Ok(())
            },
        },
        OptionOf {
            name: "large",
            form: "",
            about: "",
            read: |_, options, _| {
                options.large = true;
                Ok(())
            },
        },
    ],
    unknown: unknown_property,
};

/// Reads an amount of at most 32 bits, with CoreDNS's messages.
fn number(cursor: &Cursor<'_>, word: &Word) -> Result<u64> {
    let quoted = value::quote(word.as_str());
    let wrong = |why: &str| cursor.complain(word, format!("strconv.ParseInt: parsing {quoted}: {why}"));
    let number = value::integer(word.as_str())
        .map_err(|error| wrong(if error.ends_with("range") { "value out of range" } else { "invalid syntax" }))?;
    let number = i32::try_from(number).map_err(|_| wrong("value out of range"))?;
    let wrong = || cursor.complain(word, format!("illegal amount value given {quoted}")).hint("0 turns it off");
    Ok(u64::try_from(number).map_err(|_| wrong())?)
}

//----------- Erratic --------------------------------------------------------

struct Erratic {
    options: Options,
    /// Number of queries so far.
    seen: Arc<AtomicU64>,
}

impl Plugin for Erratic {
    fn ask(&self, query: &mut Query<'_>, _: &Here<'_>) -> Step {
        let number = self.seen.fetch_add(1, Ordering::Relaxed);
        let is_one_of = |amount: u64| amount > 0 && number.is_multiple_of(amount);
        if is_one_of(self.options.drop) {
            return Step::Drop;
        }
        let is_truncated = self.options.truncate > 0 && number & self.options.truncate == 0;
        let reply = self.reply(query, is_truncated);
        if !is_one_of(self.options.delay) {
            return Step::Answer(reply);
        }
        let duration = self.options.duration;
        Step::Wait(Box::pin(async move {
            tokio::time::sleep(duration).await;
            reply
        }))
    }
}

impl Erratic {
    fn reply(&self, query: &Query<'_>, is_truncated: bool) -> Reply {
        let (count, address): (_, IpAddr) = match query.question.qtype {
            rtype::A => (if self.options.large { LARGE } else { 1 }, ADDRESSES.0.into()),
            rtype::AAAA => (1, ADDRESSES.1.into()),
            rtype::AXFR => return Reply::memory(transfer(query.asked_now().len(), !is_truncated)),
            _ => return Reply::server(rcode::SERVFAIL),
        };
        Reply::memory(scratch(query.asked_now().len(), |answer| {
            let mut e = Encoder::new(answer);
            e.flags(flag::AA | if is_truncated { flag::TC } else { 0 });
            for _ in 0..count {
                e.address(Section::Answer, Owner::ASKED, 0, address);
            }
        }))
    }
}

/// Returns a small zone of the asked name, of `asked` octets. `is_whole` adds the SOA record that
/// ends a transfer.
fn transfer(asked: usize, is_whole: bool) -> Arc<Answer> {
    let (a, b) = (Owner::new(b"\x01a", Tail::Asked), Owner::new(b"\x01b", Tail::Asked));
    let icann = |labels| Owner::new(labels, Tail::Root);
    let soa = Soa {
        zone_len: asked,
        ttl: 0,
        name_server: icann(b"\x03sns\x03dns\x05icann\x03org"),
        hostmaster: icann(b"\x03noc\x03dns\x05icann\x03org"),
        serial: 2_018_050_825,
        timers: [7200, 3600, 1_209_600],
        minimum: 3600,
    };
    scratch(asked, |answer| {
        let e = &mut Encoder::new(answer);
        e.flags(flag::AA);
        soa.put(e, Section::Answer);
        e.pointer(Section::Answer, Owner::ASKED, rtype::NS, 0, b);
        e.pointer(Section::Answer, Owner::ASKED, rtype::NS, 0, a);
        e.address(Section::Answer, a, 0, Ipv6Addr::new(0x2001, 0xbd8, 0, 0, 0, 0, 0, 0x53).into());
        e.address(Section::Answer, b, 0, Ipv6Addr::new(0x2001, 0x500, 0, 0, 0, 0, 0, 0x54).into());
        if is_whole {
            soa.put(e, Section::Answer);
        }
    })
}

/// The same search list for every client.
struct Search;

impl SearchPath for Search {
    fn given(&self, query: &Query<'_>) -> Option<usize> {
        query.question.name.prefix_len(&self.domain(&Name::ROOT, 0)?).filter(|&given| given > 0)
    }

    fn domain(&self, _: &Name, place: usize) -> Option<Name> {
        if place == SEARCH.len() { Some(Name::ROOT) } else { Name::from_wire(SEARCH.get(place)?) }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Server, packet};

    /// What eight queries get: no reply, or whether it is truncated.
    fn eight(options: &str) -> String {
        let server = Server::new(&format!(". {{\nerratic {{\n{options}\n}}\n}}\n"));
        let asked = (0..8).map(|_| match server.ask("Example.org.", "A") {
            None => '-',
            Some(message) if message.metadata.truncation => 't',
            Some(_) => 'a',
        });
        asked.collect()
    }

    #[test]
    fn which_queries_are_dropped_and_truncated() {
        assert_eq!(eight(""), "-a-a-a-a");
        assert_eq!(eight("drop"), "-a-a-a-a");
        assert_eq!(eight("drop 3"), "-aa-aa-a");
        assert_eq!(eight("drop 0"), "aaaaaaaa");
        assert_eq!(eight("truncate"), "ttaattaa");
        assert_eq!(eight("truncate 1\ndrop 4"), "-ata-ata");
        assert_eq!(eight("delay 2 1ms"), "aaaaaaaa");
    }

    #[test]
    fn addresses_a_zone_and_nothing_else() {
        let server = Server::new(". {\nerratic {\ndrop 0\nlarge\n}\n}\n");
        let answers = |qtype: &str| {
            let message = server.ask("Example.org.", qtype).expect("a reply");
            assert_eq!(message.metadata.authoritative, !message.answers.is_empty());
            message.answers.iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(answers("A"), vec!["Example.org. 0 IN A 192.0.2.53"; 30]);
        assert_eq!(answers("AAAA"), ["Example.org. 0 IN AAAA 2001:db8::53"]);
        assert!(answers("MX").is_empty());
        let zone = answers("AXFR");
        assert_eq!((zone.len(), &zone[0], &zone[2]), (6, &zone[5], &"Example.org. 0 IN NS a.Example.org.".to_owned()));
    }

    #[test]
    fn it_is_ready_after_three_and_four_queries_and_has_a_search_list() {
        let server = Server::new(". {\nready :1\nautopath @erratic\nerratic {\ndrop 0\n}\n}\n");
        let ready = || server.configuration.endpoints[&(":1".to_owned(), "/ready".to_owned())].page().0;
        let asked = (0..6).map(|_| (ready(), server.outcome(&packet("a.test.", "A"), ([127, 0, 0, 1], 1).into())));
        assert_eq!(asked.map(|(status, _)| status).collect::<Vec<_>>(), [503, 503, 503, 200, 200, 200]);
        let once = Server::new(". {\nready :1 {\nmonitor continuously\n}\nerratic {\ndrop 0\n}\n}\n");
        let ready = || once.configuration.endpoints[&(":1".to_owned(), "/ready".to_owned())].page().0;
        let asked = (0..6).map(|_| (ready(), once.ask("a.test.", "A")));
        assert_eq!(asked.map(|(status, _)| status).collect::<Vec<_>>(), [503, 503, 503, 200, 200, 503]);
    }
}
