//! # etcd — names from etcd
//!
//! Answers from services that etcd holds in the layout of SkyDNS, as external-dns writes them: one
//! key for each, with the labels of its name as a path from the root. `www.example.org` is at
//! `/skydns/org/example/www` or at any key below it, such as `/skydns/org/example/www/1`. The value
//! is a JSON object:
//!
//! ```json
//! {"host": "10.0.0.1", "port": 8080, "priority": 10, "weight": 100, "ttl": 60,
//!  "text": "a text", "mail": false, "targetstrip": 0, "group": "a"}
//! ```
//!
//! - A `host` that is an address makes A or AAAA records. Any other host makes an alias (CNAME),
//!   which is followed in the zone and outside of it, or a PTR record. Every host makes an SRV
//!   record, one with `mail` an MX record, one with `text` a TXT record.
//! - The label `*` or `any` in a question stands for any label.
//! - The TTL is the smaller of `ttl` and what the key's lease has left; 300 s without either.
//! - The services of the zone's own name are at `apex.dns` in the zone, its name servers at
//!   `ns.dns`.
//! - A name does not exist if one of its labels has a `/`, a `.`, a `\` or anything but visible
//!   ASCII characters.
//!
//! Every question causes requests to etcd, so put *cache* into the block. Keys are read through the
//! JSON gateway of etcd's v3 API, which etcd serves on its client port unless it runs with
//! `--enable-grpc-gateway=false`. At most 256 requests are sent at a time, and 64 for a question;
//! an endpoint that does not answer in 1.5 s is passed over for the next one.
//!
//! ## Syntax
//!
//! ```text
//! etcd [ZONES...] {
//! }
//! ```
//!
//! ZONES default to those of the server block.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     etcd example.org {
//!         path /skydns
//!         endpoint http://10.0.0.9:2379 http://10.0.0.10:2379
//!         fallthrough
//!     }
//!     cache 30
//!     forward . 192.0.2.53
//! }
//! ```
//!
//! ## Metrics
//!
//! - `signpost_etcd_requests_total{result}`: requests that etcd answered (`answered`) or not
//!   (`failed`).

mod answer;
mod client;
mod directive;
mod lookup;
mod service;
#[cfg(test)]
mod tests;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::AtomicUsize;
use std::time::Duration;

use hyper::Uri;

use self::client::{Client, Credentials};
use self::directive::{Directive, TOLD_AGAIN};
use self::lookup::{Lookup, Miss};
use crate::chain::doc::doc_of;
use crate::chain::options::{OptionOf, OptionsOf, set, unknown_property};
use crate::chain::setup::{Registration, Setup};
use crate::chain::zones::{Fallthrough, Zones};
use crate::chain::{Here, Later, Plugin, Query, Reply, Step};
use crate::corefile::{Cursor, Word, value};
use crate::error::Result;
use crate::host::repeats::Repeats;
use crate::remote::TlsOptions;
use crate::wire::name::Name;
use crate::wire::question::Question;
use crate::wire::types::{class, rcode, rtype};

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "etcd", setup, doc: doc_of!("mod.rs"), options: &[&OPTIONS] };

//----------- Setup ----------------------------------------------------------

/// What the options of a block say.
struct Options {
    fallthrough: Fallthrough,
    path: String,
    no_apex_fallback: bool,
    lease_ttls: (u32, u32),
    endpoints: Vec<(String, Option<Word>)>,
    tls: Option<TlsOptions>,
    user: Option<Credentials>,
}

/// The TTLs that leases give at least and at most, in seconds, if no option says so.
const LEASE_TTLS: (u32, u32) = (30, 86_400);

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    // Only the first occurrence is read, as in CoreDNS.
    cursor.next_occurrence();
    let words = cursor.args();
    let zones = Zones::read(&cursor, &words, s.keys);
    let mut options = Options {
        fallthrough: Fallthrough::default(),
        path: "skydns".to_owned(),
        no_apex_fallback: false,
        lease_ttls: LEASE_TTLS,
        endpoints: vec![("http://localhost:2379".to_owned(), None)],
        tls: None,
        user: None,
    };
    OPTIONS.read(&mut cursor, &mut options, s)?;
    let endpoints =
        options.endpoints.iter().map(|(text, word)| endpoint(&cursor, text, word.as_ref(), options.tls.is_some()));
    let endpoints = endpoints.collect::<Result<Vec<_>>>()?;
    let tls = options.tls.unwrap_or_default().config(None);
    let client = Client::new(endpoints, (*tls).clone(), options.user, s.control(), &s.host.metrics);
    s.chain(Etcd(Arc::new(Directive {
        zones,
        fallthrough: options.fallthrough,
        path: options.path,
        no_apex_fallback: options.no_apex_fallback,
        lease_ttls: options.lease_ttls,
        client: Arc::new(client),
        host: s.host.clone(),
        told: Repeats::new(TOLD_AGAIN.0, TOLD_AGAIN.1),
    })));
    Ok(())
}

/// Returns the URL of an endpoint without a slash at the end.
fn endpoint(cursor: &Cursor<'_>, text: &str, word: Option<&Word>, has_tls: bool) -> Result<String> {
    let scheme = if has_tls { "https" } else { "http" };
    let text = if text.contains("://") { text.to_owned() } else { format!("{scheme}://{text}") };
    let is_usable = |url: &Uri| matches!(url.scheme_str(), Some("http" | "https")) && url.host().is_some();
    if text.parse().is_ok_and(|url| is_usable(&url)) {
        return Ok(text.trim_end_matches('/').to_owned());
    }
    let word = word.unwrap_or_else(|| cursor.word());
    let complaint = cursor.complain(word, format!("endpoint {} is no URL of http or https", value::quote(&text)));
    Err(complaint.hint("write http://HOST:2379, or https://HOST:2379").into())
}

static OPTIONS: OptionsOf<Options> = OptionsOf {
    all: &[
        OptionOf {
            name: "fallthrough",
            form: "[ZONES...]",
            about: "Names that do not exist here go to the next plugin, in these zones or in all.",
            read: |cursor, options, _| {
                let words = cursor.args();
                options.fallthrough = Fallthrough::read(cursor, &words);
                Ok(())
            },
        },
        OptionOf {
            name: "path",
            form: "PATH",
            about: "Where the names begin in etcd (`/skydns`).",
            read: |cursor, options, _| {
                options.path = cursor.expect_arg()?.as_str().to_owned();
                Ok(())
            },
        },
        OptionOf {
            name: "endpoint",
            form: "URL...",
            about: "The members of the etcd cluster (`http://localhost:2379`). The one that answered last is \
                    asked first.",
            read: |cursor, options, _| {
                let words = cursor.args_of(1..)?;
                options.endpoints = words.iter().map(|&word| (word.as_str().to_owned(), Some(word.clone()))).collect();
                Ok(())
            },
        },
        OptionOf {
            name: "credentials",
            form: "USERNAME PASSWORD",
            about: "The user whose role may read the path, if etcd asks for one.",
            read: |cursor, options, _| {
                let words = cursor.args_of(1..)?;
                let [name, password] = words[..] else {
                    return Err(cursor.error("credentials requires 2 arguments, username and password"));
                };
                let (name, password) = (name.as_str().to_owned(), password.as_str().to_owned());
                let is_set = !name.is_empty() && !password.is_empty();
                options.user = is_set.then_some(Credentials { name, password });
                Ok(())
            },
        },
        OptionOf {
            name: "tls",
            form: "[CERT KEY] [CA]",
            about: "PEM files for `https` endpoints: a certificate of our own and its key, if etcd asks for \
                    one, and the authorities to trust (those of the machine).",
            read: tls,
        },
        OptionOf {
            name: "min-lease-ttl",
            form: "DURATION",
            about: "A lease with less time left counts as this much (30s). A number alone is seconds.",
            read: |cursor, options, _| {
                options.lease_ttls.0 = lease_ttl(cursor, LEASE_TTLS.0)?;
                Ok(())
            },
        },
        OptionOf {
            name: "max-lease-ttl",
            form: "DURATION",
            about: "A lease with more time left counts as this much (24h).",
            read: |cursor, options, _| {
                options.lease_ttls.1 = lease_ttl(cursor, LEASE_TTLS.1)?;
                Ok(())
            },
        },
        OptionOf {
            name: "no_apex_fallback",
            form: "",
            about: "If there are no services at `apex.dns`, the zone's own name has none. Without this option it then \
                    has all services of the zone.",
            read: |cursor, options, _| set(cursor, &mut options.no_apex_fallback),
        },
        OptionOf { name: "stubzones", form: "", about: "", read: |_, _, _| Ok(()) },
        OptionOf { name: "debug", form: "", about: "", read: |_, _, _| Ok(()) },
        OptionOf { name: "upstream", form: "", about: "", read: |cursor, _, _| cursor.args_of(..).map(drop) },
    ],
    unknown: unknown_property,
};

fn tls(cursor: &mut Cursor<'_>, options: &mut Options, s: &Setup<'_>) -> Result<()> {
    let (words, mut tls) = (cursor.args_of(..=3)?, TlsOptions::default());
    let what = |word: &Word| format!("error reading {word}");
    let files: Vec<PathBuf> = words.iter().filter_map(|word| s.file(cursor, word, &what(word))).collect();
    if files.len() == words.len() {
        tls.read(&files).map_err(|wrong| cursor.error(wrong))?;
    }
    options.tls = Some(tls);
    Ok(())
}

/// Reads a TTL, with CoreDNS's messages; 0 means the default.
fn lease_ttl(cursor: &mut Cursor<'_>, default: u32) -> Result<u32> {
    let option = cursor.word().as_str().to_owned();
    let text = cursor.expect_arg()?.as_str().trim();
    let wrong = |why: &str| cursor.error(format!("invalid {option} value: {why}"));
    let text = if text.is_empty() || value::unsigned(text, 64).is_ok() { format!("{text}s") } else { text.to_owned() };
    if text == "s" {
        return Ok(default);
    }
    let form = "invalid TTL format, use format like '30', '30s', '5m', '1h', or '2h30m'";
    let span = value::duration(&text).map_err(|_| wrong(form))?;
    let seconds = span.duration().ok_or_else(|| wrong("TTL must be non-negative"))?.as_secs();
    let seconds = u32::try_from(seconds).map_err(|_| wrong("TTL too large, maximum is 4294967295 seconds"))?;
    Ok(if seconds == 0 { default } else { seconds })
}

//----------- Etcd -----------------------------------------------------------

struct Etcd(Arc<Directive>);

impl Plugin for Etcd {
    fn ask(&self, query: &mut Query<'_>, here: &Here<'_>) -> Step {
        let directive = &self.0;
        let Some(zone) = directive.zones.longest(&query.question.name).copied() else { return Step::Next };
        let is_apex = query.question.name == zone;
        match (query.question.qclass, query.question.qtype) {
            (class::IN, rtype::AXFR | rtype::IXFR) => return Step::Answer(Reply::server(rcode::REFUSED)),
            (class::IN, rtype::SOA) if is_apex => return Step::Answer(directive.with_soa(query, zone, None)),
            (class::IN, _) => {}
            // Each class has its own data; this plugin serves class IN.
            _ => return Step::Answer(Reply::server(rcode::REFUSED)),
        }
        let falls = directive.fallthrough.holds(&query.question.name);
        let below = falls.then(|| here.below(query.clone().into_owned()));
        let lookup = Lookup {
            directive: directive.clone(),
            listener: here.listener.clone(),
            site: here.site.clone(),
            seat: here.seat,
            asked: Name::from_wire(query.asked_now()).unwrap_or(query.question.name),
            query: query.clone().into_owned(),
            zone,
            requests: AtomicUsize::new(0),
        };
        Step::Wait(Box::pin(settle(lookup, below)))
    }
}

/// How long the requests of one question may take together. Most clients give up after 5 seconds.
const LONGEST: Duration = Duration::from_millis(4_500);

/// Returns the reply to a question; `below` asks the next plugin.
async fn settle(lookup: Lookup, below: Option<Later>) -> Reply {
    let (directive, query) = (&lookup.directive, &lookup.query);
    let denied = |code| directive.with_soa(query, lookup.zone, Some(code));
    let records = tokio::time::timeout(LONGEST, lookup.records()).await;
    match records.unwrap_or_else(|_| Err(Miss::Failed("etcd takes too long".to_owned()))) {
        Ok(pieces) if pieces.all.is_empty() => denied(rcode::NOERROR),
        Ok(pieces) => pieces.reply(&Question { name: lookup.asked, ..query.question }),
        Err(Miss::NoName) => match below {
            Some(below) => below.await,
            None => denied(rcode::NXDOMAIN),
        },
        Err(Miss::Failed(why)) => denied(rcode::SERVFAIL).with_cause(why),
    }
}
