//! The directive and its options.

use std::time::Duration;

use crate::chain::options::{OptionOf, OptionsOf, set, unknown_property};
use crate::chain::setup::Setup;
use crate::chain::zones::{self, Zones};
use crate::corefile::value::{self, Span};
use crate::corefile::{Cursor, Word};
use crate::error::Result;
use crate::wire::name::Name;

/// Maximum time to keep a SERVFAIL (RFC 2308 section 7.1).
const MOST_FAILURE: Duration = Duration::from_secs(300);

/// CoreDNS divides its capacity among this many shards, and gives each at least [`SHARD_MIN`].
const SHARDS: i64 = 256;
const SHARD_MIN: i64 = 4;

//----------- Options --------------------------------------------------------

/// The options of the directive.
#[derive(Debug)]
pub(super) struct Options {
    /// Zones whose names are looked up.
    pub(super) zones: Zones,
    /// The same zones for metrics, separated by commas.
    pub(super) label: String,
    /// Limits for answers.
    pub(super) success: Limits,
    /// Limits for denials; the TTLs are those of names and types that do not exist.
    pub(super) denial: Limits,
    /// How long a failure is kept, in seconds.
    pub(super) failure: u32,
    pub(super) prefetch: Option<Prefetch>,
    pub(super) stale: Stale,
    /// Whether an answer is preferred to a later denial.
    pub(super) prefer_positive: bool,
    /// Whether TTLs stay as they were stored.
    pub(super) keep_ttl: bool,
    /// Which of the interdependent options were given.
    given: Given,
}

/// Limits of one half of the cache.
#[derive(Debug)]
pub(super) struct Limits {
    /// Maximum number of entries.
    pub(super) capacity: u64,
    /// The highest TTL in seconds.
    pub(super) max: u32,
    /// The lowest TTL in seconds.
    pub(super) min: u32,
    /// Zones whose answers are neither kept nor given another TTL.
    pub(super) except: Vec<Name>,
}

/// When an entry is refreshed before it is stale.
#[derive(Debug, Clone, Copy)]
pub(super) struct Prefetch {
    /// Minimum number of hits.
    pub(super) hits: u32,
    /// The gap between two hits after which counting restarts.
    pub(super) gap: Duration,
    /// The remaining share of the TTL, in percent.
    pub(super) percent: u32,
}

/// How entries beyond their TTL are handled.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Stale {
    /// How long they may be served, in seconds; 0 disables this.
    pub(super) up_to: u64,
    /// Whether and how long to wait for a fresh answer; 0 means until the attempt ends.
    pub(super) verify: Option<Duration>,
    /// The TTL of stale answers, in seconds.
    pub(super) ttl: u32,
    /// The pause after a failure.
    pub(super) recheck: Duration,
}

impl Options {
    fn new() -> Self {
        let limits = |max| Limits { capacity: capacity(10_000), max, min: 5, except: Vec::new() };
        Self {
            zones: Zones::default(),
            label: String::new(),
            success: limits(3600),
            denial: limits(1800),
            failure: 5,
            prefetch: None,
            stale: Stale::default(),
            prefer_positive: false,
            keep_ttl: false,
            given: Given::default(),
        }
    }
}

fn capacity(written: i64) -> u64 {
    ((written / SHARDS).max(SHARD_MIN) * SHARDS).unsigned_abs()
}

//----------- Directive ------------------------------------------------------

/// Reads the directive, which may occur once in a block.
pub(super) fn read(s: &Setup<'_>) -> Result<Options> {
    let mut cursor = s.cursor();
    let mut options = Options::new();
    while cursor.only_occurrence()? {
        let directive = cursor.word();
        let mut arguments = cursor.args();
        if let Some(ttl) = arguments.first().and_then(|word| value::integer(&word.text).ok()) {
            let ttl = positive_ttl(&cursor, arguments[0], ttl)?;
            (options.success.max, options.denial.max) = (ttl, ttl);
            arguments.remove(0);
        }
        options.zones = Zones::read(&cursor, &arguments, s.keys);
        options.label = options.zones.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
        OPTIONS.read(&mut cursor, &mut options, s)?;
        if options.given.policy && !options.given.stale {
            return Err(cursor.error_at(directive, "serve_stale_policy requires serve_stale"));
        }
    }
    Ok(options)
}

/// See [`Options::given`].
#[derive(Debug, Default)]
struct Given {
    stale: bool,
    policy: bool,
}

pub(super) static OPTIONS: OptionsOf<Options> = OptionsOf {
    all: &[
        OptionOf {
            name: "success",
            form: "CAPACITY [TTL [MINTTL]]",
            about: "How many answers are kept (9984), and the highest and the lowest TTL that they get (3600 and 5 \
                    seconds). An answer that takes more than 1 KiB of memory counts once for each KiB, so CAPACITY is \
                    also the most KiB that all answers take.",
            read: |cursor, options, _| limits(cursor, &mut options.success),
        },
        OptionOf {
            name: "denial",
            form: "CAPACITY [TTL [MINTTL]]",
            about: "The same for denials: names and types that do not exist (9984, 1800, 5).",
            read: |cursor, options, _| limits(cursor, &mut options.denial),
        },
        OptionOf {
            name: "prefetch",
            form: "AMOUNT [DURATION [PERCENT%]]",
            about: "An answer that was asked for AMOUNT times, without a gap of DURATION (1m), is fetched anew once \
                    only PERCENT (10%) of its TTL is left.",
            read: |cursor, options, _| {
                options.prefetch = prefetch(cursor)?;
                Ok(())
            },
        },
        OptionOf {
            name: "serve_stale",
            form: "[DURATION [immediate [TTL [RECHECK]] | verify [TIMEOUT [TTL [RECHECK]]]]]",
            about: "Answers beyond their TTL are served for DURATION (1h). With `immediate` the stale answer is sent \
                    at once, and a fresh one is fetched for the next client; with `verify` the server waits for a \
                    fresh answer first, at most TIMEOUT (1.8s). Stale answers are served with TTL (0). After a failure \
                    the server does not try again for RECHECK, or for as long as `servfail` says if that is longer.",
            read: |cursor, options, _| {
                options.stale = serve_stale(cursor)?;
                options.given.stale = true;
                Ok(())
            },
        },
        OptionOf {
            name: "serve_stale_policy",
            form: "prefer_positive",
            about: "An answer is preferred to a later denial.",
            read: |cursor, options, _| serve_stale_policy(cursor, options),
        },
        OptionOf {
            name: "servfail",
            form: "DURATION",
            about: "How long failures are kept (5s, at most 5m, 0 for not at all).",
            read: |cursor, options, _| servfail(cursor, options),
        },
        OptionOf {
            name: "disable",
            form: "success|denial [ZONE...]",
            about: "Zones whose answers, or denials, are not changed and not kept (all zones).",
            read: |cursor, options, _| disable(cursor, options),
        },
        OptionOf {
            name: "keepttl",
            form: "",
            about: "Answers are given the TTL that they were stored with.",
            read: |cursor, options, _| set(cursor, &mut options.keep_ttl),
        },
    ],
    unknown: unknown_property,
};

//----------- Single options -------------------------------------------------

fn limits(cursor: &mut Cursor<'_>, limits: &mut Limits) -> Result<()> {
    let words = cursor.args_of(1..)?;
    limits.capacity = capacity(cursor.integer(words[0])?);
    if let Some(word) = words.get(1) {
        limits.max = positive_ttl(cursor, word, cursor.integer(word)?)?;
    }
    if let Some(word) = words.get(2) {
        let ttl = cursor.integer(word)?;
        if ttl < 0 {
            return Err(cursor.error_at(word, format!("cache min TTL can not be negative: {ttl}")));
        }
        limits.min = u32::try_from(ttl).unwrap_or(u32::MAX);
    }
    Ok(())
}

fn prefetch(cursor: &mut Cursor<'_>) -> Result<Option<Prefetch>> {
    let words = cursor.args_of(1..=3)?;
    let hits = cursor.integer(words[0])?;
    if hits < 0 {
        return Err(cursor.error_at(words[0], format!("prefetch amount should be positive: {hits}")));
    }
    let mut prefetch =
        Prefetch { hits: u32::try_from(hits).unwrap_or(u32::MAX), gap: Duration::from_secs(60), percent: 10 };
    if let Some(word) = words.get(1) {
        // With a negative gap every hit counts as the first.
        prefetch.gap = cursor.duration(word)?.duration().unwrap_or_default();
    }
    if let Some(word) = words.get(2) {
        let Some(number) = word.text.strip_suffix('%') else {
            let last = word.text.chars().next_back().unwrap_or_default();
            let message = format!("last character of percentage should be `%`, but is: {last:?}");
            return Err(cursor.error_at(word, message));
        };
        let percent = value::integer(number).map_err(|wrong| cursor.error_at(word, wrong))?;
        if !(10..=90).contains(&percent) {
            return Err(cursor.error_at(word, format!("percentage should fall in range [10, 90]: {percent}")));
        }
        prefetch.percent = percent.unsigned_abs() as u32;
    }
    Ok((hits > 0).then_some(prefetch))
}

fn serve_stale(cursor: &mut Cursor<'_>) -> Result<Stale> {
    let words = cursor.args_of(0..=5)?;
    let mut stale = Stale { up_to: 3600, ..Stale::default() };
    let mut words = words.into_iter();
    if let Some(word) = words.next() {
        stale.up_to = not_negative(cursor, word, "invalid negative duration for serve_stale")?.as_secs();
    }
    if let Some(word) = words.next() {
        stale.verify = match word.text.to_lowercase().as_str() {
            "immediate" => None,
            "verify" => Some(Duration::ZERO),
            mode => {
                let message = format!("Error during parsing: invalid value for serve_stale refresh mode: {mode}");
                return Err(cursor.unknown(word, message, &["immediate", "verify"]));
            }
        };
    }
    if let Some(timeout) = &mut stale.verify
        && let Some(word) = words.next()
    {
        *timeout = not_negative(cursor, word, "invalid negative timeout for serve_stale verify")?;
    }
    if words.len() > 2 {
        return Err(cursor.arg_err());
    }
    if let Some(word) = words.next() {
        stale.ttl = stale_ttl(cursor, word)?;
    }
    if let Some(word) = words.next() {
        stale.recheck = not_negative(cursor, word, "invalid negative failure recheck for serve_stale")?;
        if stale.recheck > Duration::from_secs(300) {
            return Err(cursor.error_at(word, "serve_stale failure recheck cannot exceed 5 minutes"));
        }
    }
    Ok(stale)
}

fn serve_stale_policy(cursor: &mut Cursor<'_>, options: &mut Options) -> Result<()> {
    if std::mem::replace(&mut options.given.policy, true) {
        return Err(cursor.error("serve_stale_policy can only be specified once"));
    }
    let policy = cursor.one_arg()?;
    if policy.text.to_lowercase() != "prefer_positive" {
        let message = format!("Error during parsing: invalid serve_stale_policy: {policy}");
        return Err(cursor.unknown(policy, message, &["prefer_positive"]));
    }
    options.prefer_positive = true;
    Ok(())
}

fn servfail(cursor: &mut Cursor<'_>, options: &mut Options) -> Result<()> {
    let word = cursor.one_arg()?;
    let time = not_negative(cursor, word, "invalid negative ttl for servfail")?;
    if time > MOST_FAILURE {
        return Err(cursor.error_at(word, "caching SERVFAIL responses over 5 minutes is not permitted"));
    }
    options.failure = time.as_secs() as u32;
    Ok(())
}

fn stale_ttl(cursor: &Cursor<'_>, word: &Word) -> Result<u32> {
    let ttl = not_negative(cursor, word, "invalid negative response TTL for serve_stale")?;
    if ttl.subsec_nanos() != 0 {
        return Err(cursor.error_at(word, "serve_stale response TTL must be a whole number of seconds"));
    }
    let wrong = |_| cursor.error_at(word, "serve_stale response TTL exceeds the DNS TTL range");
    u32::try_from(ttl.as_secs()).map_err(wrong)
}

fn disable(cursor: &mut Cursor<'_>, options: &mut Options) -> Result<()> {
    let words = cursor.args_of(1..)?;
    let zones = words[1..].iter().filter_map(|word| zones::name(cursor, word));
    let zones = if words.len() == 1 { vec![Name::ROOT] } else { zones.collect() };
    match words[0].as_str() {
        "success" => options.success.except = zones,
        "denial" => options.denial.except = zones,
        _ => {
            let message = "Error during parsing: cache type for disable must be \"success\" or \"denial\"";
            return Err(cursor.unknown(words[0], message, &["success", "denial"]));
        }
    }
    Ok(())
}

//----------- Values ---------------------------------------------------------

fn positive_ttl(cursor: &Cursor<'_>, word: &Word, ttl: i64) -> Result<u32> {
    if ttl <= 0 {
        return Err(cursor.error_at(word, format!("cache TTL can not be zero or negative: {ttl}")));
    }
    Ok(u32::try_from(ttl).unwrap_or(u32::MAX))
}

fn not_negative(cursor: &Cursor<'_>, word: &Word, complaint: &str) -> Result<Duration> {
    let span: Span = cursor.duration(word)?;
    span.duration().ok_or_else(|| cursor.error_at(word, complaint))
}
