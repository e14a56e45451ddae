//! Reads the hosts file and follows its changes.

use std::fs::{File, Metadata};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;

use super::parse::{Entry, Mistake, Parsed};
use super::table::Table;
use crate::chain::zones::Zones;
use crate::corefile::value::quote;
use crate::error::words;
use crate::host::log;
use crate::host::metrics::Gauge;
use crate::wire::name::Name;

pub(super) const FROM: &str = "hosts";

/// A file whose last write is more recent than this may still be changing.
const QUIET: Duration = Duration::from_millis(100);

/// How many times to wait for a file that is still changing before it is read as it is.
const WAITS: usize = 20;

/// Minimum of the pause, whatever `reload` says: shorter ones would only keep a core busy.
const LEAST_PAUSE: Duration = Duration::from_millis(10);

/// Maximum number of mistakes in one text that are reported individually.
const MOST_TOLD: usize = 10;

//----------- HostsFile ------------------------------------------------------

/// The settings, which do not change with the file.
pub(super) struct Source {
    pub(super) path: PathBuf,
    /// Names in other zones are skipped.
    pub(super) zones: Zones,
    /// Entries in the Corefile.
    pub(super) inline: Vec<Entry>,
    /// TTL in seconds.
    pub(super) ttl: u32,
    /// Whether addresses get PTR records.
    pub(super) reverse: bool,
}

/// A hosts file with the answers made from it.
pub(super) struct HostsFile {
    source: Source,
    table: ArcSwap<Table>,
    seen: Mutex<Seen>,
    pub(super) gauges: Gauges,
}

/// `coredns_hosts_entries` of this file, and `coredns_hosts_reload_timestamp_seconds`.
pub(super) struct Gauges {
    pub(super) entries: Gauge,
    pub(super) reloaded: Gauge,
}

/// What is known of the file so far.
#[derive(Default)]
struct Seen {
    /// The version that the answers are made from.
    taken: Option<Version>,
    /// A version that looks incomplete: it is accepted if it is unchanged at the next check.
    doubtful: Option<Version>,
    /// Whether the log already says that the file cannot be read.
    complained: bool,
}

/// One state of the file. The inode and the time of its last change detect what size and
/// modification time do not: another file in its place, or a modification time set by hand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    modified: Option<SystemTime>,
    size: u64,
    inode: (u64, u64),
    changed: (i64, i64),
}

impl Version {
    fn of(metadata: &Metadata) -> Self {
        Self {
            modified: metadata.modified().ok(),
            size: metadata.len(),
            inode: (metadata.dev(), metadata.ino()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }

    /// Whether the last write is long enough ago. A time in the future counts as quiet.
    fn is_quiet(&self) -> bool {
        let age = self.modified.and_then(|modified| modified.elapsed().ok());
        age.is_none_or(|age| age >= QUIET)
    }
}

impl HostsFile {
    /// Reads the file for the first time. A missing file may appear later.
    pub(super) fn open(source: Source, gauges: Gauges) -> Self {
        let table = Table::new(&[], &source.inline, source.ttl, source.reverse);
        let file = Self { source, table: ArcSwap::from_pointee(table), seen: Mutex::default(), gauges };
        if let Ok((version, text)) = read(&file.source.path) {
            file.take(&mut file.seen.lock().unwrap_or_else(PoisonError::into_inner), version, &text);
        }
        file
    }

    /// Returns the current answers.
    pub(super) fn table(&self) -> arc_swap::Guard<Arc<Table>> {
        self.table.load()
    }

    /// Returns whether the file differs from what was read, and whether it is still changing.
    fn state(&self) -> State {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match self.source.path.metadata().map(|metadata| Version::of(&metadata)) {
            Ok(version) if seen.taken == Some(version) => State::Known,
            Ok(version) if !version.is_quiet() => State::Written,
            Ok(_) => State::New,
            Err(error) => {
                self.complain(&mut seen, &error);
                State::Known
            }
        }
    }

    /// Reads the file and uses its contents if they are complete.
    fn look(&self) {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match read(&self.source.path) {
            Ok((version, text)) if is_whole(&text) || seen.taken.is_none() || seen.doubtful == Some(version) => {
                self.take(&mut seen, version, &text);
            }
            Ok((version, _)) => seen.doubtful = Some(version),
            Err(error) => self.complain(&mut seen, &error),
        }
    }

    fn take(&self, seen: &mut Seen, version: Version, text: &[u8]) {
        let source = &self.source;
        let is_wanted = |name: &Name| source.zones.iter().any(|zone| name.is_under(zone));
        let Parsed { entries, mistakes } = Parsed::read(text, is_wanted);
        let file = quote(&source.path.display().to_string());
        tell(&mistakes, |line| format!("Hosts file {file}, line {line}"));
        let table = Table::new(&entries, &source.inline, source.ttl, source.reverse);
        log::debug(FROM, format_args!("Parsed hosts file into {} entries", table.entries));
        self.table.store(Arc::new(table));
        *seen = Seen { taken: Some(version), ..Seen::default() };
    }

    /// Sets the gauges to what was read last.
    pub(super) fn show(&self) {
        self.gauges.entries.set(self.table.load().entries as f64);
        let seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        let modified = seen.taken.and_then(|version| version.modified?.duration_since(UNIX_EPOCH).ok());
        if let Some(modified) = modified {
            self.gauges.reloaded.set(modified.as_secs_f64());
        }
    }

    /// Logs once that a file that was there can no longer be read.
    fn complain(&self, seen: &mut Seen, error: &io::Error) {
        if seen.taken.is_some() && !std::mem::replace(&mut seen.complained, true) {
            let (file, why) = (quote(&self.source.path.display().to_string()), words(error));
            log::warning(FROM, format_args!("Hosts file {file} cannot be read, its last entries are kept: {why}"));
        }
    }
}

#[derive(PartialEq, Eq)]
enum State {
    /// There is nothing to read.
    Known,
    /// A write is in progress; there will be something to read.
    Written,
    /// There is something to read.
    New,
}

/// Checks the file every `pause`. If `pause` is 0, the contents read at the start stay.
pub(super) async fn follow(file: Arc<HostsFile>, pause: Duration) {
    file.show();
    if pause.is_zero() {
        return;
    }
    loop {
        tokio::time::sleep(pause.max(LEAST_PAUSE)).await;
        for _ in 0..WAITS {
            if file.state() != State::Written {
                break;
            }
            tokio::time::sleep(QUIET).await;
        }
        if file.state() == State::Known {
            continue;
        }
        let reader = file.clone();
        // Reading a long file takes time; other tasks use the runtime's threads meanwhile.
        let _ = tokio::task::spawn_blocking(move || reader.look()).await;
        file.show();
    }
}

/// Returns the text, and the version before the read: a write meanwhile makes a new version.
fn read(path: &Path) -> io::Result<(Version, Vec<u8>)> {
    let mut file = File::open(path)?;
    let version = Version::of(&file.metadata()?);
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    Ok((version, text))
}

/// Whether a text is complete: it is not empty, and its last line has an end. Programs often empty
/// a file just before they write it again.
fn is_whole(text: &[u8]) -> bool {
    text.ends_with(b"\n")
}

/// Logs a warning for each of the first mistakes, and the number of the others.
fn tell(mistakes: &[Mistake], place: impl Fn(usize) -> String) {
    for Mistake { line, what } in mistakes.iter().take(MOST_TOLD) {
        log::warning(FROM, format_args!("{}: {what}", place(*line)));
    }
    if let Some(more) = mistakes.len().checked_sub(MOST_TOLD).filter(|&more| more > 0) {
        log::warning(FROM, format_args!("{}: and {more} more such lines and names", place(mistakes[MOST_TOLD].line)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::plugins::hosts::{ENTRIES, RELOADED};

    fn open(path: &Path) -> HostsFile {
        let host = Host::default();
        let gauges =
            Gauges { entries: host.metrics.gauge(&ENTRIES, &["x"]), reloaded: host.metrics.gauge(&RELOADED, &[]) };
        let (path, inline) = (path.to_owned(), Vec::new());
        HostsFile::open(Source { path, zones: Zones::from_iter([Name::ROOT]), inline, ttl: 5, reverse: false }, gauges)
    }

    fn ago(seconds: u64) -> SystemTime {
        SystemTime::now() - Duration::from_secs(seconds)
    }

    /// Writes the file and sets its modification time to `then`.
    fn write(path: &Path, text: &str, then: SystemTime) {
        std::fs::write(path, text).expect("written");
        File::options().write(true).open(path).and_then(|file| file.set_modified(then)).expect("another time");
    }

    fn has(file: &HostsFile, name: &str) -> bool {
        file.table().name(&Name::from_text(name).expect("a name")).is_some()
    }

    #[test]
    fn a_change_is_seen_even_if_size_and_time_stay() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hosts");
        let then = ago(1000);
        write(&path, "10.0.0.1 a\n", then);
        let file = open(&path);
        assert!(file.state() == State::Known && has(&file, "a"));
        let other = folder.path().join("other");
        write(&other, "10.0.0.1 b\n", then);
        std::fs::rename(&other, &path).expect("renamed");
        assert!(file.state() == State::New);
        file.look();
        assert!(file.state() == State::Known && has(&file, "b") && !has(&file, "a"));
        file.show();
        assert_eq!(file.gauges.entries.get(), 1.0);
        let shown = UNIX_EPOCH + Duration::from_secs_f64(file.gauges.reloaded.get());
        assert!(shown.duration_since(then).unwrap_or_else(|early| early.duration()) < Duration::from_millis(1));
    }

    #[test]
    fn a_file_that_may_not_be_whole_is_believed_at_the_second_look() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hosts");
        for half in ["", "10.0.0.1 b\n10.0.0.2 c"] {
            write(&path, "10.0.0.1 a\n", ago(100));
            let file = open(&path);
            write(&path, half, ago(90));
            file.look();
            assert!(has(&file, "a"), "{half:?}");
            // Another version counts as doubtful again.
            write(&path, half, ago(80));
            file.look();
            assert!(has(&file, "a"), "{half:?}");
            file.look();
            assert!(!has(&file, "a"), "{half:?}");
            assert_eq!(has(&file, "b"), half.contains(" b"), "{half:?}");
            assert!(file.state() == State::Known);
        }
        std::fs::write(&path, "10.0.0.1 now\n").expect("written");
        assert!(open(&path).state() == State::Known);
    }

    #[test]
    fn a_file_that_goes_away_leaves_its_entries_and_one_that_comes_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("hosts");
        let file = open(&path);
        assert!(file.state() == State::Known && !has(&file, "a"));
        // The first version is used even if incomplete: it is better than none.
        write(&path, "10.0.0.1 a", ago(100));
        assert!(file.state() == State::New);
        file.look();
        assert!(has(&file, "a"));
        std::fs::remove_file(&path).expect("removed");
        assert!(file.state() == State::Known && has(&file, "a"));
        file.look();
        assert!(has(&file, "a"));
    }
}
