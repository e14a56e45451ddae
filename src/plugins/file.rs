//! # file — serve zones from files
//!
//! Answers for whole zones out of files in the form of RFC 1035 section 5: with delegations,
//! wildcards, aliases (CNAME, DNAME), and denials with the SOA. Answers are kept once they are
//! made. A zone that is signed with NSEC is served with its signatures; signing it again is up to
//! you.
//!
//! ## Syntax
//!
//! ```text
//! file DBFILE [ZONES...] {
//! }
//! ```
//!
//! - **DBFILE** is the file, relative to *root*. If it is missing, the log has a warning and
//!   questions for its zones get SERVFAIL. It is read as soon as a check finds it.
//! - **ZONES** default to those of the server block. Names without a dot at their end are relative
//!   to the zone, so one file may serve several. The SOA must be the zone's.
//!
//! The directive may stand several times in a block. The longest zone that holds a name answers.
//! `fallthrough` applies to all of them, and `reload` also to later ones that do not set it.
//!
//! If the target of an alias is outside of its zone, the server looks it up as for a client.
//!
//! Directives in files are `$ORIGIN`, `$TTL`, `$INCLUDE` (relative to the file) and `$GENERATE`.
//! Times may have units, as `1h30m`. A mistake is reported with file and line. A running server
//! keeps the older data until the file is right. What other servers refuse and CoreDNS does not (a
//! CNAME beside other data, a second SOA, a name out of the zone) is a warning.
//!
//! A changed file is taken if its SOA has another serial.
//!
//! ## Examples
//!
//! ```corefile
//! example.org {
//!     file db.example.org {
//!         reload 30s
//!     }
//! }
//! ```
//!
//! Two zones from one file, and names that are not in it from upstream:
//!
//! ```corefile
//! . {
//!     file db.shared example.org example.net {
//!         fallthrough
//!     }
//!     forward . 192.0.2.53
//! }
//! ```
//!
//! ## Metrics
//!
//! None of its own: `prometheus` counts its replies.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::chain::authority;
use crate::chain::doc::doc_of;
use crate::chain::options::{OptionOf, OptionsOf, unknown_property};
use crate::chain::setup::{Registration, Setup};
use crate::chain::transfer::{Offer, Transferable};
use crate::chain::zones::{Fallthrough, Zones};
use crate::chain::{Here, Plugin, Query, Step};
use crate::corefile::value::{Span, quote};
use crate::corefile::{Cursor, Word};
use crate::error::Result;
use crate::wire::name::Name;
use crate::wire::types::class;
use crate::zone::live::{LiveZone, Newer, Unread, follow};
use crate::zone::table::ZoneTable;

/// The registration of this plugin.
pub const PLUGIN: Registration =
    Registration { name: "file", setup: set_up, doc: doc_of!("file.rs"), options: &[&OPTIONS] };

/// The default of `reload`.
const RELOAD: Duration = Duration::from_secs(60);

//----------- Setup ----------------------------------------------------------

/// The options, which carry over from one directive to the next, as in CoreDNS.
struct Options {
    reload: Duration,
    newer: Newer,
    fallthrough: Fallthrough,
}

static OPTIONS: OptionsOf<Options> = OptionsOf {
    all: &[
        OptionOf {
            name: "reload",
            form: "DURATION",
            about: "How often the file is checked (1m); 0 for never. With 0 a missing file is an error.",
            read: |cursor, options, _| {
                let words = cursor.args();
                let word = words.first().ok_or_else(|| cursor.error("reload duration value is expected"))?;
                // A negative pause ends CoreDNS. Here it turns the checks off, as 0 does.
                options.reload = cursor.duration(word)?.duration().unwrap_or_default();
                Ok(())
            },
        },
        OptionOf {
            name: "reload_by_mtime",
            form: "",
            about: "Any change of the file is taken, not only a changed serial.",
            read: |_, options, _| {
                options.newer = Newer::ByTime;
                Ok(())
            },
        },
        OptionOf {
            name: "fallthrough",
            form: "[ZONES...]",
            about: "Names in these zones (all) that do not exist are passed to the next plugin.",
            read: |cursor, options, _| {
                let zones = cursor.args();
                options.fallthrough = Fallthrough::read(cursor, &zones);
                Ok(())
            },
        },
        OptionOf { name: "upstream", form: "", about: "", read: |cursor, _, _| cursor.args_of(..).map(drop) },
    ],
    unknown: unknown_property,
};

fn set_up(s: &mut Setup<'_>) -> Result<()> {
    let mut options = Options { reload: RELOAD, newer: Newer::BySerial, fallthrough: Fallthrough::default() };
    let (mut cursor, mut zones, mut missing) = (s.cursor(), ZoneTable::default(), None);
    while cursor.next_occurrence() {
        let word = cursor.expect_arg()?;
        let words = cursor.args();
        let origins = Zones::read(&cursor, &words, s.keys);
        // Without a name the path is that of the folder, which is refused.
        let path = s.path(if word.as_str().is_empty() { "." } else { word.as_str() });
        let mut read = Vec::new();
        for origin in origins.iter() {
            let zone = Arc::new(LiveZone::empty(origin, &path));
            missing = open(&cursor, word, &path, &zone)?.or(missing);
            // A later directive replaces the zone of an earlier one.
            zones.insert(zone.clone());
            read.push(zone);
        }
        OPTIONS.read(&mut cursor, &mut options, s)?;
        let (pause, newer, changes) = (options.reload, options.newer, s.zone_changes());
        s.task("file", move || follow(read, pause, newer, move |zone| changes.add(zone)));
    }
    if let Some((word, why)) = missing {
        if options.reload.is_zero() {
            return Err(cursor.error_at(word, why));
        }
        cursor.warn(word, format!("Failed to open {}: trying again in {}", quote(&why), Span::from(options.reload)));
    }
    // Secondaries are notified at the start too: they may have missed a change.
    let loaded = zones.iter().filter(|zone| zone.with(|_| ()).is_some());
    let (loaded, changes) = (loaded.map(|zone| *zone.origin()).collect::<Vec<_>>(), s.zone_changes());
    s.task("file start", move || async move { loaded.iter().for_each(|zone| changes.add(zone)) });
    let plugin = Arc::new(File { zones, fallthrough: options.fallthrough });
    s.chain_shared(plugin.clone());
    s.offer_transfer(plugin);
    Ok(())
}

/// Reads the file of a zone. Returns why it cannot be opened, if so.
fn open<'w>(cursor: &Cursor<'_>, word: &'w Word, path: &Path, zone: &LiveZone) -> Result<Option<(&'w Word, String)>> {
    let file = quote(&path.display().to_string());
    match zone.open() {
        Ok(doubts) => doubts.iter().for_each(|doubt| cursor.warn(word, doubt.to_string())),
        Err(Unread::Unopened(why)) => return Ok(Some((word, format!("open {}: {why}", path.display())))),
        Err(Unread::Mistake(mistake)) => {
            let origin = zone.origin();
            let message = format!("failed to parse file {file} for origin {origin} with error {mistake}");
            return Err(cursor.error_at(word, message));
        }
    }
    Ok(None)
}

//----------- The plugin -----------------------------------------------------

/// The zones of one server block.
struct File {
    zones: ZoneTable,
    fallthrough: Fallthrough,
}

impl Transferable for File {
    fn version(&self, zone: &Name) -> Offer {
        Offer::of(self.zones.get(zone).map(|zone| &**zone))
    }
}

impl Plugin for File {
    fn ask(&self, query: &mut Query<'_>, here: &Here<'_>) -> Step {
        match self.zones.holding(&query.question.name) {
            Some(zone) if query.question.qclass == class::IN => authority::answer(zone, &self.fallthrough, query, here),
            _ => Step::Next,
        }
    }
}
