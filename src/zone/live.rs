//! A zone that is served: replaced as a whole when its file changes.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use arc_swap::ArcSwapOption;

use super::data::Zone;
use super::read::{Mistake, contents, read};
use crate::error::words;
use crate::host::log;
use crate::wire::name::Name;

/// The plugin in log lines: in CoreDNS *file* reads the zones of all plugins.
const FROM: &str = "file";

/// A file whose last write is more recent than this when it is read may still be changing: it is
/// read once more, whatever its serial says.
const QUIET: Duration = Duration::from_secs(2);

/// Minimum pause between two checks, whatever `reload` says. A shorter one would only keep a core
/// busy.
pub const LEAST_PAUSE: Duration = Duration::from_millis(10);

//----------- LiveZone -------------------------------------------------------

/// One zone and where it comes from. Queries load the current data without a lock.
pub struct LiveZone {
    origin: Name,
    data: ArcSwapOption<Zone>,
    source: Mutex<Source>,
}

struct Source {
    path: PathBuf,
    /// The state of the file when it was last read.
    read: Option<Version>,
    /// Whether the file was quiet then.
    is_settled: bool,
    /// The last complaint. A check with the same one does not repeat it.
    complaint: String,
}

/// One state of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    modified: Option<SystemTime>,
    size: u64,
    inode: (u64, u64),
    changed: (i64, i64),
}

/// What decides whether a changed file is taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Newer {
    /// A SOA with another serial.
    BySerial,
    /// Any change of the file.
    ByTime,
}

/// Why a file could not be read at the start.
pub enum Unread {
    /// It cannot be opened; says why.
    Unopened(String),
    /// It is not the zone.
    Mistake(Mistake),
}

impl LiveZone {
    /// Returns a zone without data yet.
    #[must_use]
    pub fn empty(origin: &Name, path: &Path) -> Self {
        let source = Source { path: path.to_owned(), read: None, is_settled: false, complaint: String::new() };
        Self { origin: origin.lowered(), data: ArcSwapOption::empty(), source: Mutex::new(source) }
    }

    /// Reads the file for the first time. Returns what other servers would refuse.
    ///
    /// # Errors
    /// The file cannot be opened, or is not the zone.
    pub fn open(&self) -> Result<Vec<Mistake>, Unread> {
        let mut source = self.source();
        let version = Version::of(&source.path).map_err(Unread::Unopened)?;
        if source.path.is_dir() {
            let (file, what) = (source.path.clone(), "is a directory".to_owned());
            return Err(Unread::Mistake(Mistake { file, line: 0, what }));
        }
        let text = contents(&source.path).map_err(Unread::Unopened)?;
        let read = read(&source.path, &text, &self.origin, None).map_err(Unread::Mistake)?;
        let read = read.expect("no serial was known");
        self.take(&mut source, version, read.zone);
        Ok(read.doubts)
    }

    /// Returns the zone's own name, in lower case.
    #[must_use]
    pub fn origin(&self) -> &Name {
        &self.origin
    }

    /// Returns the current data; `None` if there are none yet.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Zone>> {
        self.data.load_full()
    }

    /// Answers from the current data, if there are any, without taking a reference to them.
    pub fn with<T>(&self, use_zone: impl FnOnce(&Zone) -> T) -> Option<T> {
        self.data.load().as_ref().map(|zone| use_zone(zone))
    }

    /// Replaces the data.
    pub fn set(&self, zone: Option<Arc<Zone>>) {
        self.data.store(zone);
    }

    /// Changes the path of the file.
    pub fn set_path(&self, path: &Path) {
        let mut source = self.source();
        if source.path != path {
            source.path = path.to_owned();
        }
    }

    /// Returns the path of the file.
    #[must_use]
    pub fn path(&self) -> PathBuf {
        self.source().path.clone()
    }

    /// Checks the file, and takes it if it is newer. Returns whether it did. If the file has a
    /// mistake, the data stay, and the log says so once.
    pub fn look(&self, newer: Newer) -> bool {
        let mut source = self.source();
        let path = source.path.clone();
        let name = format!("zone \"{}\" in {:?}", self.origin, path.display().to_string());
        let unopened = |why: String| format!("Failed to open {name}: {why}");
        let version = match Version::of(&path) {
            Ok(version) if source.is_settled && source.read == Some(version) => return false,
            Ok(version) => version,
            Err(why) => return source.complain(unopened(why)),
        };
        let text = match contents(&path) {
            Ok(text) => text,
            Err(why) => return source.complain(unopened(why)),
        };
        let serial = self.data.load().as_ref().map(|zone| zone.soa().serial);
        let known = serial.filter(|_| newer == Newer::BySerial && (source.is_settled || source.read == Some(version)));
        match read(&path, &text, &self.origin, known) {
            Err(mistake) => source.complain(format!("Parsing zone \"{}\": {mistake}", self.origin)),
            Ok(None) => {
                source.note(version);
                false
            }
            Ok(Some(read)) => {
                for doubt in &read.doubts {
                    log::warning(FROM, format_args!("{doubt}"));
                }
                let serial = read.zone.soa().serial;
                self.take(&mut source, version, read.zone);
                log::info(FROM, format_args!("Successfully reloaded {name} with {serial} SOA serial"));
                true
            }
        }
    }

    fn take(&self, source: &mut Source, version: Version, zone: Zone) {
        source.note(version);
        self.data.store(Some(Arc::new(zone)));
    }

    fn source(&self) -> MutexGuard<'_, Source> {
        self.source.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Source {
    /// Notes that this state of the file was read.
    fn note(&mut self, version: Version) {
        self.is_settled = version.is_quiet();
        self.read = Some(version);
        self.complaint.clear();
    }

    /// Logs why the file is not taken, unless the last check had the same reason.
    fn complain(&mut self, why: String) -> bool {
        if self.complaint != why {
            log::error(FROM, format_args!("{why}"));
            self.complaint = why;
        }
        false
    }
}

impl Version {
    fn of(path: &Path) -> Result<Self, String> {
        path.metadata().map(|metadata| Self::from(&metadata)).map_err(|error| words(&error))
    }

    /// Returns whether the last write is long enough ago. A time in the future counts as quiet.
    fn is_quiet(&self) -> bool {
        let age = self.modified.and_then(|modified| modified.elapsed().ok());
        age.is_none_or(|age| age >= QUIET)
    }
}

impl From<&Metadata> for Version {
    fn from(metadata: &Metadata) -> Self {
        Self {
            modified: metadata.modified().ok(),
            size: metadata.len(),
            inode: (metadata.dev(), metadata.ino()),
            changed: (metadata.ctime(), metadata.ctime_nsec()),
        }
    }
}

/// Checks the file of each zone every `pause`, and calls `tell` for each new version. If `pause` is
/// 0, the data stay as they are.
pub async fn follow(zones: Vec<Arc<LiveZone>>, pause: Duration, newer: Newer, tell: impl Fn(&Name)) {
    if pause.is_zero() {
        return;
    }
    loop {
        tokio::time::sleep(pause.max(LEAST_PAUSE)).await;
        for zone in &zones {
            let looking = zone.clone();
            // Reading a long file takes time; other tasks use the runtime's threads meanwhile.
            if tokio::task::spawn_blocking(move || looking.look(newer)).await.unwrap_or_default() {
                tell(zone.origin());
            }
        }
    }
}
