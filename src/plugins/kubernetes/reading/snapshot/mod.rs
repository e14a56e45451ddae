//! What is known, kept in a file, so that a process that starts without an API server has names.
//!
//! [`mod@file`] makes the file whole or not at all, [`objects`] turns the index into records and
//! records into objects, [`octets`] has the forms of their fields.
//!
//! At the start the objects go into the store as those of a list do, and the lists then replace
//! them as later lists replace earlier ones: there is one way to build the index. The file is
//! written from the index, which any thread may read: the store and the workers are not held up.

mod file;
pub mod objects;
mod octets;

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::Instant;

use self::file::{About, Contents};
use super::options::{SnapshotOptions, SourceOptions};
use super::prefix::FROM;
use super::watch::cluster::Cluster;
use super::watch::silence::Silence;
use crate::error::words;
use crate::host::metrics::{Counter, Family};
use crate::host::{Host, log};
use crate::plugins::kubernetes::known::index::Index;
use crate::plugins::kubernetes::known::model::Kind;
use crate::plugins::kubernetes::known::store::Store;

/// From the first lists to the first file: what follows them at once is in it.
const FIRST: Duration = Duration::from_secs(1);
/// Between two files, changed at random by a quarter either way.
const EVERY: Duration = Duration::from_secs(60);
/// How much younger the data must be for a new file although they are the same, in seconds.
const CONFIRM: u64 = 600;
/// Between two looks at the signal to stop.
const LOOK: Duration = Duration::from_secs(1);

static AGE: Family = Family {
    name: "signpost_kubernetes_snapshot_age_seconds",
    help: "Age of the snapshot that answers come from; there only while they do.",
    labels: &[],
};
static WRITTEN: Family =
    Family { name: "signpost_kubernetes_snapshots_written_total", help: "Snapshots that were written.", labels: &[] };
static FAILED: Family = Family {
    name: "signpost_kubernetes_snapshots_failed_total",
    help: "Snapshots that were not used (read) or could not be written (write).",
    labels: &["action"],
};

/// The snapshot of one source.
pub(super) struct Snapshot {
    path: PathBuf,
    max_age: Duration,
    cluster: Cluster,
    kinds: Vec<Kind>,
    content: String,
    host: Arc<Host>,
    written: Counter,
    not_read: Counter,
    not_written: Counter,
}

impl Snapshot {
    pub(super) fn new(wanted: &SnapshotOptions, source: &SourceOptions, cluster: Cluster, host: &Arc<Host>) -> Self {
        Self {
            path: wanted.path.clone(),
            max_age: wanted.max_age,
            cluster,
            kinds: source.kinds(),
            content: source.content(),
            host: host.clone(),
            written: host.metrics.counter(&WRITTEN, &[]),
            not_read: host.metrics.counter(&FAILED, &["read"]),
            not_written: host.metrics.counter(&FAILED, &["write"]),
        }
    }

    //------- At the start ---------------------------------------------------

    /// Returns a store with the objects of the file. A file that is of no use is told and left
    /// alone; the store is then as `new` makes it.
    pub(super) fn restored(&self, new: impl Fn() -> Store) -> Store {
        let path = self.path.display();
        match self.usable().and_then(|found| found.map(|contents| self.filled(new(), &contents)).transpose()) {
            Ok(Some(store)) => store,
            Ok(None) => new(),
            Err(why) => {
                self.not_read.inc();
                log::warning(FROM, format_args!("the snapshot {path} is not used: {why}"));
                new()
            }
        }
    }

    fn usable(&self) -> Result<Option<Contents>, String> {
        let Some(contents) = file::read(&self.path)? else { return Ok(None) };
        let About { as_of, cluster, content } = &contents.about;
        if !self.cluster.is(cluster) {
            return Err("it is of another cluster".to_owned());
        }
        if *content != self.content {
            return Err("it was written with other options of kubernetes".to_owned());
        }
        let age = self.age(*as_of);
        if age > self.max_age {
            return Err(format!("it is {age:?} old, and may be {:?} old", self.max_age));
        }
        Ok(Some(contents))
    }

    /// Fills an empty store. Nothing of it shows until all objects are read.
    fn filled(&self, mut store: Store, contents: &Contents) -> Result<Store, String> {
        let mut is_foreign = false;
        let count = objects::read(contents.records(), |kind, object| {
            is_foreign |= !self.kinds.contains(&kind);
            store.apply(kind, object);
        });
        let Some(count) = count.filter(|_| !is_foreign) else { return Err("its objects cannot be read".to_owned()) };
        store.restored(contents.about.as_of);
        let (path, age) = (self.path.display(), self.age(contents.about.as_of));
        log::info(
            FROM,
            format_args!(
                "answers come from the snapshot {path} ({count} objects, {age:?} old) until all lists are read"
            ),
        );
        Ok(store)
    }

    /// The age of data that were right at `as_of`; none if the clock has gone back since.
    fn age(&self, as_of: u64) -> Duration {
        Duration::from_secs(self.host.clock.seconds_since_1970().saturating_sub(as_of))
    }

    //------- Later ----------------------------------------------------------

    /// Shows the age of the snapshot until the lists have come. Then writes the file when something
    /// has changed, and once more when the process is to stop.
    pub(super) async fn keep(self, index: Arc<Index>, silence: Arc<Silence>) {
        self.show_age(&index).await;
        let (own, mut last, mut due) = (Arc::new(self), State::default(), Instant::now() + FIRST);
        let mut complaint = String::new();
        loop {
            let ends = own.host.shutting_down.load(Ordering::Relaxed);
            let now = own.host.clock.seconds_since_1970();
            let state = State::new(now, index.serial(), silence.longest());
            if ends || (Instant::now() >= due && last.is_outdated_by(state)) {
                let (writer, index) = (own.clone(), index.clone());
                let wrote = tokio::task::spawn_blocking(move || writer.write(&index, state.as_of)).await;
                if let Ok(wrote) = wrote {
                    last = if wrote.is_ok() { state } else { last };
                    complaint = own.tell(&complaint, wrote);
                }
                due = Instant::now() + EVERY.mul_f64(0.75 + fastrand::f64() / 2.0);
            }
            if ends {
                return;
            }
            tokio::time::sleep(LOOK).await;
        }
    }

    async fn show_age(&self, index: &Index) {
        let mut gauge = None;
        while !index.is_synced() {
            if let Some(age) = index.snapshot_age() {
                gauge.get_or_insert_with(|| self.host.metrics.gauge(&AGE, &[])).set(age.as_secs_f64());
            }
            // Synced or not, it is looked at again.
            let _ = tokio::time::timeout(LOOK, index.wait_synced()).await;
        }
    }

    fn write(&self, index: &Index, as_of: u64) -> std::io::Result<()> {
        let about = About { as_of, cluster: self.cluster.marks(), content: self.content.clone() };
        file::write(&self.path, &about, |out| objects::write(index, out))
    }

    /// Counts a file, and logs what is new about it since the `complaint` of the one before.
    /// Returns the complaint of this one.
    fn tell(&self, complaint: &str, wrote: std::io::Result<()>) -> String {
        let path = self.path.display();
        let Err(error) = wrote else {
            self.written.inc();
            if !complaint.is_empty() {
                log::info(FROM, format_args!("the snapshot {path} is written again"));
            }
            return String::new();
        };
        self.not_written.inc();
        let now = words(&error);
        if now != complaint {
            log::warning(FROM, format_args!("the snapshot {path} cannot be written: {now}"));
        }
        now
    }
}

/// The data at some time, as far as a file depends on it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct State {
    serial: u32,
    /// When they were last known to be right, in seconds since 1970.
    as_of: u64,
}

impl State {
    /// The state `now`, with all watches heard within `silence`.
    fn new(now: u64, serial: u32, silence: Duration) -> Self {
        // More may come in this very second, and the serial will be the same.
        let serial = if u64::from(serial) < now { serial } else { 0 };
        Self { serial, as_of: now.saturating_sub(silence.as_secs()) }
    }

    fn is_outdated_by(self, later: Self) -> bool {
        later.serial != self.serial || later.as_of >= self.as_of + CONFIRM
    }
}

#[cfg(test)]
mod tests;
