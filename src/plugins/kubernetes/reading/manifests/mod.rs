//! Manifests as a source: Services, EndpointSlices, Pods, Namespaces and ServiceImports out of
//! files.
//!
//! `.yaml`, `.yml` and `.json` files, with several documents and with `List`s; other kinds are
//! passed over, and so are hidden files. Folders are read with everything below them. All files
//! together are one list of each kind: an object that is in no file does not exist. They are
//! checked once a second, by their time of change, size and inode, so that ConfigMaps (which swap a
//! symbolic link) are followed too. If a file cannot be read, an error says where, and its
//! objects stay as they were.
//!
//! What the API server does, where the data need it: selectors are applied here; an object without
//! a namespace is in `default`; a namespace has the label `kubernetes.io/metadata.name`, and one
//! that only occurs as the namespace of an object exists, so that a file with one Service works.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::Value;
use tokio::runtime::Handle;

use super::decode::{decode, identify};
use super::feed::{Closed, Feed};
use super::options::SourceOptions;
use super::prefix::FROM;
use crate::error::words;
use crate::host::log;
use crate::host::tasks::Tasks;
use crate::plugins::kubernetes::known::model::{Kind, News, Object, ObjectKey};

/// Between two looks at the files.
const EVERY: Duration = Duration::from_secs(1);
/// Folders within folders.
const DEEPEST: usize = 16;

/// Starts to follow files and folders.
///
/// # Errors
/// When one of them cannot be read. What is wrong inside of a file is logged.
pub fn start(
    paths: Vec<PathBuf>,
    options: &SourceOptions,
    feed: Feed,
    runtime: &Handle,
    tasks: &mut Tasks,
) -> Result<(), String> {
    paths.iter().try_for_each(|path| check(path))?;
    tasks.spawn(runtime, "kubernetes manifests", follow(Files::new(paths), options.clone(), feed));
    Ok(())
}

/// Whether a file or folder can be read.
///
/// # Errors
/// A sentence that says why it cannot.
pub(crate) fn check(path: &Path) -> Result<(), String> {
    let metadata = std::fs::metadata(path);
    let readable = metadata.and_then(|m| if m.is_dir() { path.read_dir().map(drop) } else { open(path) });
    readable.map_err(|error| format!("manifests {}: {}", path.display(), words(&error)))
}

fn open(path: &Path) -> std::io::Result<()> {
    std::fs::File::open(path).map(drop)
}

async fn follow(mut files: Files, options: SourceOptions, feed: Feed) {
    loop {
        let looked = tokio::task::spawn_blocking(move || {
            let changed = files.look();
            (files, changed)
        });
        let Ok((back, changed)) = looked.await else { return };
        files = back;
        if changed && tell(&files, &options, &feed).await.is_err() {
            return;
        }
        tokio::time::sleep(EVERY).await;
    }
}

async fn tell(files: &Files, options: &SourceOptions, feed: &Feed) -> Result<(), Closed> {
    let mut lists = files.lists(options);
    for kind in options.kinds() {
        feed.begin(kind).await?;
        for (_, news) in lists.remove(&kind).unwrap_or_default() {
            feed.object(kind, news).await?;
        }
        // Files are believed as they are.
        let _ = feed.end(kind, true).await?;
    }
    Ok(())
}

//----------- Files ----------------------------------------------------------

/// The files and what they said when they could last be read.
struct Files {
    paths: Vec<PathBuf>,
    known: BTreeMap<PathBuf, File>,
    looked: bool,
}

#[derive(Default)]
struct File {
    stamp: Option<Stamp>,
    documents: Vec<Value>,
}

/// Differs when a file was changed or exchanged.
type Stamp = (i64, i64, u64, u64);

impl Files {
    fn new(paths: Vec<PathBuf>) -> Self {
        Self { paths, known: BTreeMap::new(), looked: false }
    }

    /// Reads what has changed; returns whether anything has.
    fn look(&mut self) -> bool {
        let mut changed = !std::mem::replace(&mut self.looked, true);
        let mut found = BTreeSet::new();
        for path in &self.paths {
            if let Err((below, error)) = collect(path, DEEPEST, &mut found) {
                // A folder that cannot be listed for the moment keeps its files.
                log::error(FROM, format_args!("manifests {}: {error}", below.display()));
                found.extend(self.known.keys().filter(|known| known.starts_with(&below)).cloned());
            }
        }
        let before = self.known.len();
        self.known.retain(|path, _| found.contains(path));
        changed |= self.known.len() < before;
        for path in found {
            changed |= self.known.entry(path.clone()).or_default().look(&path);
        }
        changed
    }
}

impl File {
    fn look(&mut self, path: &Path) -> bool {
        let stamp = std::fs::metadata(path).map(|m| (m.mtime(), m.mtime_nsec(), m.size(), m.ino())).ok();
        if stamp == self.stamp && stamp.is_some() {
            return false;
        }
        let first = std::mem::replace(&mut self.stamp, stamp).is_none();
        match read(path) {
            Ok(documents) => {
                self.documents = documents;
                true
            }
            Err(error) => {
                // A missing file is logged once, not every second.
                if stamp.is_some() || !first {
                    let stays = if self.documents.is_empty() { "" } else { "; what it said before stays" };
                    log::error(FROM, format_args!("manifests {}{error}{stays}", path.display()));
                }
                false
            }
        }
    }
}

/// Adds the files below `path`.
fn collect(path: &Path, depth: usize, found: &mut BTreeSet<PathBuf>) -> Result<(), (PathBuf, std::io::Error)> {
    let failed = |error| (path.to_owned(), error);
    if !std::fs::metadata(path).map_err(failed)?.is_dir() {
        found.insert(path.to_owned());
        return Ok(());
    }
    if depth == 0 {
        return Ok(());
    }
    for entry in path.read_dir().map_err(failed)? {
        let below = entry.map_err(failed)?.path();
        let name = below.file_name().unwrap_or_default().to_string_lossy();
        let fits = below.extension().is_some_and(|end| end == "yaml" || end == "yml" || end == "json");
        // ConfigMaps keep their files in hidden folders and show links to them. A link to nothing
        // is no file.
        let Ok(metadata) = std::fs::metadata(&below) else { continue };
        if !name.starts_with('.') && (metadata.is_dir() || fits) {
            collect(&below, depth - 1, found)?;
        }
    }
    Ok(())
}

/// Objects that a file may have: those of a cluster of 5,000 nodes, and more.
const OBJECTS: usize = 500_000;

/// The documents of a file, or where it is wrong: `:LINE:COLUMN: TEXT`.
fn read(path: &Path) -> Result<Vec<Value>, String> {
    let text = std::fs::read_to_string(path).map_err(|error| format!(": {error}"))?;
    if path.extension().is_some_and(|end| end == "json") {
        let document = serde_json::from_str(&text);
        return document.map(|document| vec![document]).map_err(|error| {
            let (line, column) = (error.line(), error.column());
            let text = error.to_string();
            format!(":{line}:{column}: {}", text.split(" at line ").next().unwrap_or_default())
        });
    }
    // The parser's own bounds are for files of strangers: 1,024 documents.
    let options = serde_saphyr::options! {
        budget: serde_saphyr::budget! {
            max_documents: OBJECTS,
            max_nodes: OBJECTS * 200,
            max_events: OBJECTS * 400,
            max_total_scalar_bytes: OBJECTS * 2_000,
        },
    };
    serde_saphyr::from_multiple_with_options(&text, options).map_err(|error| {
        let place = error.location().map(|place| format!(":{}:{}", place.line(), place.column()));
        let text = error.without_snippet().to_string();
        format!("{}: {}", place.unwrap_or_default(), text.lines().next().unwrap_or_default())
    })
}

//----------- Lists ----------------------------------------------------------

type Lists = BTreeMap<Kind, HashMap<ObjectKey, News>>;

impl Files {
    /// Returns one list of each kind. If two files have the same object, the last file's counts.
    fn lists(&self, options: &SourceOptions) -> Lists {
        let mut objects = Objects { options, lists: Lists::new(), declared: BTreeSet::new() };
        for (path, file) in &self.known {
            for document in &file.documents {
                objects.add(path, document, "");
            }
        }
        objects.add_namespaces();
        objects.lists
    }
}

struct Objects<'a> {
    options: &'a SourceOptions,
    lists: Lists,
    /// Namespaces that are in a file themselves, selected or not.
    declared: BTreeSet<Box<str>>,
}

impl Objects<'_> {
    /// Adds an object, or the items of a list. `kind` is the kind of an item that does not name its
    /// own.
    fn add(&mut self, path: &Path, document: &Value, kind: &str) {
        let text = |name: &str| document.get(name).and_then(Value::as_str);
        let (kind, group) = (text("kind").unwrap_or(kind), text("apiVersion").unwrap_or_default());
        if let (Some(of), Some(Value::Array(items))) = (kind.strip_suffix("List"), document.get("items")) {
            for item in items {
                self.add(path, item, of);
            }
            return;
        }
        let group = group.split_once('/').map_or("", |(group, _)| group);
        let kinds: &[Kind] = match kind {
            "Namespace" => &[Kind::Namespace],
            "Service" if group.is_empty() => &[Kind::Service],
            "EndpointSlice" => &[Kind::Slice, Kind::ImportSlice],
            "Pod" => &[Kind::Pod],
            "ServiceImport" => &[Kind::Import],
            _ => return,
        };
        let wanted = self.options.kinds();
        for &kind in kinds.iter().filter(|kind| wanted.contains(kind)) {
            if let Err(error) = self.add_object(kind, document) {
                let name = document.pointer("/metadata/name").and_then(Value::as_str).unwrap_or("without a name");
                log::error(FROM, format_args!("manifests {}: {kind:?} {name}: {error}", path.display()));
            }
        }
    }

    fn add_object(&mut self, kind: Kind, document: &Value) -> Result<(), serde_json::Error> {
        let mut document = document.clone();
        let mut labels = labels(&document);
        if kind == Kind::Namespace {
            let name = identify(&document)?.key.name;
            labels.insert("kubernetes.io/metadata.name".to_owned(), name.to_string());
            self.declared.insert(name);
        } else if let Some(Value::Object(metadata)) = document.get_mut("metadata") {
            let namespace = metadata.entry("namespace").or_insert(Value::Null);
            // `n` and `off` are no texts in YAML: what is neither a text nor nothing is an error.
            if namespace.is_null() || namespace.as_str() == Some("") {
                *namespace = "default".into();
            }
        }
        if !self.options.selector(kind).matches(&labels) {
            return Ok(());
        }
        let news = match decode(kind, &document, self.options.keep()) {
            Ok(decoded) => decoded.news,
            // What it said before stays, if it is known.
            Err(error) => {
                let mut key = identify(&document)?.key;
                if kind == Kind::Namespace {
                    key.namespace = Box::default();
                }
                self.lists.entry(kind).or_default().insert(key.clone(), News::Kept(key));
                return Err(error);
            }
        };
        self.lists.entry(kind).or_default().insert(news.key(), news);
        Ok(())
    }

    /// Adds the namespaces that only occur as those of objects.
    fn add_namespaces(&mut self) {
        let keys = self.lists.values().flat_map(HashMap::keys);
        let used: BTreeSet<Box<str>> = keys.map(|key| key.namespace.clone()).filter(|name| !name.is_empty()).collect();
        for name in used.difference(&self.declared) {
            let labels = BTreeMap::from([("kubernetes.io/metadata.name".to_owned(), name.to_string())]);
            if self.options.selector(Kind::Namespace).matches(&labels) {
                let object = Object::Namespace(name.clone());
                self.lists.entry(Kind::Namespace).or_default().insert(object.key(), News::Is(object));
            }
        }
    }
}

fn labels(document: &Value) -> BTreeMap<String, String> {
    let labels = document.pointer("/metadata/labels").and_then(Value::as_object);
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    labels.into_iter().flatten().map(|(name, value)| (name.clone(), text(value))).collect()
}

#[cfg(test)]
mod tests;
