//! # auto — serve all zones of a folder
//!
//! Finds zone files by their names in a folder and in those below it, and serves them as *file*
//! does. New files are picked up, changed ones read again, and zones whose file is gone are
//! dropped.
//!
//! ## Syntax
//!
//! ```text
//! auto [ZONES...] {
//! }
//! ```
//!
//! - **ZONES** default to those of the server block: only names in them are answered. Zones
//!   elsewhere are read all the same.
//!
//! A file whose contents are not a zone is skipped with a warning. Folders whose names begin with
//! `..` are skipped: a mounted ConfigMap keeps its versions there.
//!
//! ## Examples
//!
//! ```corefile
//! org {
//!     auto {
//!         directory /etc/coredns/zones
//!         reload 30s
//!     }
//! }
//! ```
//!
//! Files such as `example.org.zone`, and not `example.org.zone.bak`:
//!
//! ```corefile
//! org {
//!     auto {
//!         directory /etc/coredns/zones ^(.*)\.zone$ {1}
//!     }
//! }
//! ```
//!
//! ## Metrics
//!
//! None of its own: `prometheus` counts its replies.

use std::collections::HashSet;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use regex::Regex;

use crate::chain::authority;
use crate::chain::doc::doc_of;
use crate::chain::options::{OptionOf, OptionsOf, unknown_property};
use crate::chain::setup::{Registration, Setup};
use crate::chain::transfer::{Changes, Offer, Transferable};
use crate::chain::zones::{Fallthrough, Zones};
use crate::chain::{Here, Plugin, Query, Step};
use crate::corefile::Cursor;
use crate::error::{Result, words};
use crate::host::log;
use crate::wire::name::Name;
use crate::wire::types::class;
use crate::zone::live::{LEAST_PAUSE, LiveZone, Newer, Unread};
use crate::zone::table::ZoneTable;

/// The registration of this plugin.
pub const PLUGIN: Registration =
    Registration { name: "auto", setup: set_up, doc: doc_of!("auto.rs"), options: &[&OPTIONS] };

const FROM: &str = "auto";

/// The default of `reload`.
const RELOAD: Duration = Duration::from_secs(60);

/// The longest expression, as in CoreDNS.
const LONGEST: usize = 10_000;

/// Maximum depth of folders, counted from the one that is named.
const DEEPEST: usize = 32;

/// Maximum number of files in a folder and those below it.
const MOST_FILES: usize = 100_000;

//----------- Setup ----------------------------------------------------------

/// One directive.
struct Directive {
    directory: PathBuf,
    pattern: Regex,
    template: String,
    reload: Duration,
}

static OPTIONS: OptionsOf<Directive> = OptionsOf {
    all: &[
        OptionOf {
            name: "directory",
            form: "DIR [REGEXP TEMPLATE]",
            about: "The folder, relative to *root*. A file whose name matches **REGEXP** (`db\\.(.*)`) anywhere is the zone \
                    that **TEMPLATE** (`{1}`) makes of it: `{1}` stands for the first group.",
            read: directory,
        },
        OptionOf {
            name: "reload",
            form: "DURATION",
            about: "How often the folder and its files are checked (1m); 0 for never.",
            read: |cursor, directive, _| {
                let words = cursor.args();
                let word = words.first().ok_or_else(|| cursor.error("reload duration value is expected"))?;
                let pause = cursor.duration(word)?.duration();
                directive.reload = pause.ok_or_else(|| cursor.error_at(word, "invalid duration"))?;
                Ok(())
            },
        },
        OptionOf { name: "upstream", form: "", about: "", read: |cursor, _, _| cursor.args_of(..).map(drop) },
    ],
    unknown: unknown_property,
};

fn directory(cursor: &mut Cursor<'_>, directive: &mut Directive, s: &Setup<'_>) -> Result<()> {
    let word = cursor.expect_arg()?;
    directive.directory = s.path(word.as_str());
    let shown = directive.directory.display();
    match directive.directory.metadata() {
        Ok(_) => {}
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            cursor.warn(word, format!("Directory does not exist: {shown}"));
        }
        Err(error) => {
            let message = format!("Unable to access root path '{shown}': {}", words(&error));
            return Err(cursor.error_at(word, message));
        }
    }
    if let Some(pattern) = cursor.next_arg() {
        if pattern.as_str().len() > LONGEST {
            return Err(cursor.error_at(pattern, "regexp too large"));
        }
        let invalid = |error| cursor.error_at(pattern, format!("invalid regexp '{pattern}': {error}"));
        directive.pattern = Regex::new(pattern.as_str()).map_err(invalid)?;
        if directive.pattern.captures_len() < 2 {
            return Err(cursor.error_at(pattern, "Need at least one sub expression"));
        }
        directive.template = cursor.expect_arg()?.as_str().replace('{', "${");
    }
    cursor.expect_no_arg()
}

fn set_up(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    let (mut folders, mut zones) = (Vec::new(), Zones::default());
    let default = Regex::new(r"db\.(.*)").expect("a valid expression");
    while cursor.next_occurrence() {
        let (word, args) = (cursor.word(), cursor.args());
        zones.add(Zones::read(&cursor, &args, s.keys));
        let pattern = default.clone();
        let mut directive =
            Directive { directory: PathBuf::new(), pattern, template: "${1}".to_owned(), reload: RELOAD };
        OPTIONS.read(&mut cursor, &mut directive, s)?;
        let folder = Arc::new(Folder { directive, zones: ArcSwap::default(), changes: s.zone_changes() });
        let (mut wrong, mut news) = (HashSet::new(), Vec::new());
        let path = &folder.directive.directory;
        if path.as_os_str().is_empty() {
            cursor.warn(word, "without 'directory' no zone is served");
        } else if path.exists() {
            folder.walk(&mut |what, is_wrong| match is_wrong {
                true => _ = wrong.insert(what),
                false => news.push(what),
            });
        }
        wrong.iter().for_each(|what: &String| cursor.warn(word, what.clone()));
        folders.push(folder.clone());
        s.task("auto", move || {
            news.iter().for_each(|what| log::info(FROM, format_args!("{what}")));
            // Secondaries are notified at the start too: they may have missed a change.
            folder.zones.load().iter().for_each(|zone| folder.changes.add(zone.origin()));
            follow(folder, wrong)
        });
    }
    let plugin = Arc::new(Auto { zones, folders });
    s.chain_shared(plugin.clone());
    s.offer_transfer(plugin);
    Ok(())
}

//----------- Folder ---------------------------------------------------------

/// A folder and the zones that are found in it.
struct Folder {
    directive: Directive,
    zones: ArcSwap<ZoneTable>,
    /// Where new and changed zones are reported.
    changes: Arc<Changes>,
}

impl Folder {
    /// Finds the files. Calls `tell` with each event, and whether it is a mistake.
    fn walk(&self, tell: &mut dyn FnMut(String, bool)) {
        let mut files = Vec::new();
        list(&self.directive.directory, DEEPEST, &mut files, tell);
        let (known, mut found) = (self.zones.load_full(), ZoneTable::default());
        for path in files {
            let Some(origin) = self.origin(&path) else { continue };
            if let Some(other) = found.get(&origin) {
                let other = other.path();
                let (used, unused) = (other.display(), path.display());
                tell(
                    format!("Multiple zone files match origin \"{origin}\": using \"{used}\" instead of \"{unused}\""),
                    true,
                );
            } else if let Some(zone) = known.get(&origin) {
                zone.set_path(&path);
                found.insert(zone.clone());
            } else {
                let zone = LiveZone::empty(&origin, &path);
                match zone.open() {
                    Ok(doubts) => {
                        doubts.iter().for_each(|doubt| tell(doubt.to_string(), true));
                        tell(format!("Inserting zone `{origin}' from: {}", path.display()), false);
                        found.insert(Arc::new(zone));
                    }
                    Err(Unread::Unopened(why)) => tell(format!("Opening {} failed: {why}", path.display()), true),
                    Err(Unread::Mistake(mistake)) => tell(format!("Parse zone `{origin}': {mistake}"), true),
                }
            }
        }
        for zone in known.iter().filter(|zone| found.get(zone.origin()).is_none()) {
            tell(format!("Deleting zone `{}'", zone.origin()), false);
        }
        self.zones.store(Arc::new(found));
    }

    /// Checks all files. Returns the mistakes, and logs those that are not in `told`.
    fn look(&self, told: &HashSet<String>) -> HashSet<String> {
        let (mut wrong, known) = (HashSet::new(), self.zones.load_full());
        self.walk(&mut |what, is_wrong| match is_wrong {
            true if told.contains(&what) => _ = wrong.insert(what),
            true => {
                log::warning(FROM, format_args!("{what}"));
                wrong.insert(what);
            }
            false => log::info(FROM, format_args!("{what}")),
        });
        for zone in self.zones.load().iter() {
            if known.get(zone.origin()).is_none() || zone.look(Newer::BySerial) {
                self.changes.add(zone.origin());
            }
        }
        wrong
    }

    /// Returns the zone that the name of a file gives.
    fn origin(&self, path: &Path) -> Option<Name> {
        let file = path.file_name()?.to_str()?;
        let groups = self.directive.pattern.captures(file)?;
        let mut origin = String::new();
        groups.expand(&self.directive.template, &mut origin);
        Name::from_text(&origin).ok().map(Name::lowered)
    }
}

/// Lists the files of a folder and of those below it, in order.
fn list(folder: &Path, depth: usize, files: &mut Vec<PathBuf>, tell: &mut dyn FnMut(String, bool)) {
    if folder.as_os_str().is_empty() || depth == 0 {
        return;
    }
    let entries = match fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) => return tell(format!("error reading {}: {}", folder.display(), words(&error)), true),
    };
    let mut entries: Vec<_> = entries.filter_map(io::Result::ok).collect();
    entries.sort_by_key(fs::DirEntry::file_name);
    for entry in entries {
        let (path, is_versions) = (entry.path(), entry.file_name().as_encoded_bytes().starts_with(b".."));
        match entry.file_type() {
            _ if is_versions => {}
            Ok(kind) if kind.is_dir() => list(&path, depth - 1, files, tell),
            // A link to a file is a file; one to a folder could lead in a circle.
            Ok(_) if files.len() == MOST_FILES => {
                return tell(format!("more than {MOST_FILES} files in {}", folder.display()), true);
            }
            Ok(_) if path.is_file() => files.push(path),
            _ => {}
        }
    }
}

/// Checks the folder and then the files of its zones, at each interval. A mistake that the last
/// check has logged is not logged again.
async fn follow(folder: Arc<Folder>, mut wrong: HashSet<String>) {
    if folder.directive.reload.is_zero() {
        return;
    }
    loop {
        tokio::time::sleep(folder.directive.reload.max(LEAST_PAUSE)).await;
        let folder = folder.clone();
        // Reading files takes time; other tasks use the runtime's threads meanwhile.
        let look = tokio::task::spawn_blocking(move || folder.look(&wrong)).await;
        wrong = look.unwrap_or_default();
    }
}

//----------- The plugin -----------------------------------------------------

/// The folders of one server block.
struct Auto {
    /// Names elsewhere are not answered.
    zones: Zones,
    folders: Vec<Arc<Folder>>,
}

impl Transferable for Auto {
    fn version(&self, zone: &Name) -> Offer {
        let zones = self.folders.iter().filter(|_| self.zones.holds(zone));
        // The last one, as for a question.
        Offer::of(zones.filter_map(|folder| folder.zones.load().get(zone).cloned()).next_back().as_deref())
    }
}

impl Plugin for Auto {
    fn ask(&self, query: &mut Query<'_>, here: &Here<'_>) -> Step {
        let name = &query.question.name;
        if query.question.qclass != class::IN || !self.zones.holds(name) {
            return Step::Next;
        }
        let tables = self.folders.iter().map(|folder| folder.zones.load());
        let table = tables.max_by_key(|table| table.holding(name).map(|zone| zone.origin().len()));
        match table.as_ref().and_then(|table| table.holding(name)) {
            Some(zone) => authority::answer(zone, &Fallthrough::default(), query, here),
            None => Step::Next,
        }
    }
}
