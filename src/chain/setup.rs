//! The only interface between a plugin and everything else while a Corefile is built.

use std::fs::File;
use std::future::Future;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use super::address::{self, SiteAddress};
use super::caps::Caps;
use super::control::Control;
use super::doc::Listed;
use super::draft::{BlockDraft, Common, Preparation, Start};
pub use super::draft::{Fact, Looks, Wish};
use super::metadata::{Metadata, Publisher};
use super::per_listener::PerListener;
use super::plugin::Plugin;
use super::probes::{Probes, Readiness};
use super::proxies::Proxies;
use super::secure::Secure;
use super::signing::Secrets;
use super::site::Filter;
use super::timeouts::Timeouts;
use super::zones::Zones;
use crate::corefile::address::{Key, Transport};
use crate::corefile::cursor::Cursor;
use crate::corefile::{Findings, ServerBlock, Severity, Word};
use crate::error::{Result, words};
use crate::host::Host;
use crate::host::http::Handler;
use crate::wire::name::Name;

//----------- Registration ---------------------------------------------------

/// The definition of a plugin: one line in `plugins::ALL`.
#[derive(Clone, Copy)]
pub struct Registration {
    /// Its name in a Corefile.
    pub name: &'static str,
    /// Reads its directives and registers what they configure. It has no effect outside of
    /// [`Setup`]: it opens no socket, sends nothing and starts nothing, so a Corefile can be
    /// checked anywhere.
    pub setup: fn(&mut Setup<'_>) -> Result<()>,
    /// The doc comment of its file: the manual except for options and differences from CoreDNS.
    pub doc: &'static str,
    /// The options of each kind of block that the doc comment's `## Syntax` opens, in that order.
    pub options: &'static [&'static dyn Listed],
}

impl Registration {
    /// Returns a plugin without a manual, for tests.
    #[must_use]
    pub const fn bare(name: &'static str, setup: fn(&mut Setup<'_>) -> Result<()>) -> Self {
        Self { name, setup, doc: "", options: &[] }
    }
}

//----------- Setup ----------------------------------------------------------

/// One plugin of one server block while it is being set up.
pub struct Setup<'a> {
    /// The process.
    pub host: &'a Arc<Host>,
    /// The server block as in the Corefile.
    pub block: &'a ServerBlock,
    /// The keys of the block, with reverse ranges expanded.
    pub keys: &'a [Key],
    /// The zones of the block, lower case.
    pub zones: &'a [Name],
    pub(super) plugin: &'static str,
    pub(super) draft: &'a mut BlockDraft,
    pub(super) common: &'a mut Common,
    pub(super) findings: &'a Findings,
}

impl<'a> Setup<'a> {
    /// Returns a cursor over all directives of this plugin in this block.
    #[must_use]
    pub fn cursor(&self) -> Cursor<'a> {
        let directive = self.block.directive(self.plugin).expect("only plugins that the block names are set up");
        Cursor::new(directive).reporting(self.findings)
    }

    /// Takes the plugin's seat in the chain.
    pub fn chain(&mut self, plugin: impl Plugin) {
        self.draft.seats.push((self.plugin, Arc::new(plugin)));
    }

    /// Takes a seat for a plugin that is shared with another owner.
    pub fn chain_shared(&mut self, plugin: Arc<dyn Plugin>) {
        self.draft.seats.push((self.plugin, plugin));
    }

    /// Returns the names of the plugins that have a seat above this one.
    pub fn above(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.draft.seats.iter().map(|(name, _)| *name)
    }

    /// Starts a task when the configuration goes live. The task ends with the configuration.
    pub fn task<F>(&mut self, name: &'static str, make: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.common.starts.push(Start { name, make: Box::new(move || Box::pin(make())) });
    }

    /// Runs before this configuration goes live; an error keeps the older one, or ends the start.
    /// `make` gets whether this is the first start: then it should start its work without waiting
    /// for it, since waiting would keep the whole server from answering.
    pub fn prepare<F>(&mut self, make: impl FnOnce(bool) -> F + Send + 'static)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.common.preparations.push(Preparation { make: Box::new(move |first| Box::pin(make(first))) });
    }

    /// Answers GET `path` at `address`, as [`Cursor::page_address`] reads it. A later plugin
    /// replaces the handler of an earlier one. `written` is the word to name if nothing can listen
    /// there.
    pub fn http(&mut self, address: &str, written: &Word, path: &str, handler: Handler) {
        let blame = written.complain("").from_plugin(self.plugin);
        self.common.pages.insert(address.to_owned(), blame);
        self.common.endpoints.insert((address.to_owned(), path.to_owned()), handler);
    }

    /// Listens on these addresses only, in addition to those named before. An IPv6 address may end
    /// in `%INTERFACE`. `written` is the word to name if nothing can listen there.
    pub fn bind(&mut self, written: &Word, addresses: impl IntoIterator<Item = String>) {
        for address in addresses {
            if !self.draft.bind.contains(&address) {
                self.draft.bound.insert(address.clone(), written.complain(""));
                self.draft.bind.push(address);
            }
        }
    }

    /// Returns the addresses that the block listens on; empty means all.
    #[must_use]
    pub fn bound(&self) -> &[String] {
        &self.draft.bind
    }

    /// Returns room for one value for each listener. Complete for plugins after `bind`.
    #[must_use]
    pub fn per_listener<T>(&self) -> PerListener<T> {
        PerListener::new(self.keys.len() * self.draft.bind.len().max(1))
    }

    /// Returns the control runtime, for work that preparations and queries start without waiting
    /// for it.
    #[must_use]
    pub fn control(&self) -> Control {
        self.common.control.clone()
    }

    /// Returns the block's listeners, in the order of
    /// [`Site::ordinal`](super::site::Site::ordinal). Complete for plugins after `bind`.
    ///
    /// # Errors
    /// A zone is not a domain name.
    pub fn addresses(&self) -> Result<Vec<SiteAddress>> {
        address::addresses(self.keys, &self.draft.bind)
    }

    /// Speaks TLS on the block's `tls://`, `https://`, `grpc://` and `quic://` listeners.
    pub fn secure(&mut self, secure: Arc<Secure>) {
        self.draft.secure = Some(secure);
    }

    /// Limits how many connections the block's listeners for a transport take.
    pub fn cap(&mut self, transport: Transport, caps: Caps) {
        self.draft.caps.insert(transport, caps);
    }

    /// Limits the connections of the block's listeners; a later block on one of them goes first.
    pub fn timeouts(&mut self, timeouts: Timeouts) {
        self.draft.timeouts = timeouts;
    }

    /// Takes the clients of queries from proxies in front of the block's listeners; a later block
    /// on one of them goes first.
    pub fn proxies(&mut self, proxies: Arc<dyn Proxies>) {
        self.draft.proxies = Some(proxies);
    }

    /// Sets the folder that other plugins' relative paths start from.
    pub fn set_root(&mut self, path: PathBuf) {
        self.draft.root = Some(path);
    }

    /// Returns `path`, relative to the block's `root`.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        match &self.draft.root {
            Some(root) if Path::new(path).is_relative() => root.join(path),
            _ => PathBuf::from(path),
        }
    }

    /// Returns the path of a file that must exist at start, relative to the block's `root`. If the
    /// file cannot be opened here, returns `None` and adds an error that begins with `what` to the
    /// findings.
    #[must_use]
    pub fn file(&self, cursor: &Cursor<'_>, word: &Word, what: &str) -> Option<PathBuf> {
        let path = self.path(word.as_str());
        let is_folder = |file: &File| file.metadata().is_ok_and(|metadata| metadata.is_dir());
        let error = match File::open(&path) {
            Ok(file) if is_folder(&file) => ErrorKind::IsADirectory.into(),
            Ok(_) => return Some(path),
            Err(error) => error,
        };
        let message = format!("Error during parsing: {what}: open {}: {}", path.display(), words(&error));
        let hint = match error.kind() {
            ErrorKind::NotFound => MISSING,
            ErrorKind::PermissionDenied => "the user of the process must be able to read it",
            _ => "",
        };
        cursor.report(Severity::Error, cursor.complain(word, message).hint(hint));
        None
    }

    /// Claims a file that this plugin writes. Blocks that write it for the same purpose share it.
    ///
    /// # Errors
    /// A block claims it for another purpose.
    pub fn claim(&mut self, written: &Word, path: &Path, purpose: &str) -> Result<()> {
        let own = || (written.complain("").from_plugin(self.plugin), purpose.to_owned());
        let (first, known) = self.common.claims.entry(path.to_owned()).or_insert_with(own);
        if known == purpose {
            return Ok(());
        }
        let place = first.position.as_ref().map(|at| format!("{}:{}", at.file, at.line)).unwrap_or_default();
        let complaint = written.complain(format!("{} is written for {place} already", path.display()));
        Err(complaint.from_plugin(self.plugin).hint("give each directive a file of its own").into())
    }

    /// Serves this long after the signal to stop; the longest time of all blocks counts.
    pub fn lameduck(&mut self, duration: Duration) {
        let longest = self.common.lameduck.map_or(duration, |wish| wish.what.max(duration));
        self.common.lameduck = Some(Wish { plugin: self.plugin, what: longest });
    }

    /// Looks for a changed Corefile at this interval and jitter; the first block's count.
    pub fn watch_corefile(&mut self, interval: Duration, jitter: Duration) {
        self.common.reload.get_or_insert(Wish { plugin: self.plugin, what: Looks { interval, jitter } });
    }

    /// Declares that the configuration was made from a value outside of the Corefile, which was
    /// `then`. If `now` returns another value, a look for a changed Corefile treats it as a change.
    pub fn made_from(&mut self, then: String, now: impl Fn() -> String + Send + Sync + 'static) {
        self.common.facts.push(Fact::new(then, now));
    }

    /// Enables debug lines.
    pub fn debug(&mut self) {
        self.common.debug = true;
    }

    /// Registers how `ready` finds out whether this plugin is ready.
    pub fn probe(&mut self, ready: impl Fn() -> Readiness + Send + Sync + 'static) {
        self.draft.probes.push((self.plugin, Arc::new(ready)));
    }

    /// Returns the readiness of the plugins of all blocks that ask for it; complete once live.
    #[must_use]
    pub fn probes(&mut self) -> Arc<Probes> {
        self.draft.is_probed = true;
        self.common.probes.clone()
    }

    /// Takes only the queries that a filter chooses; another block may have the same zones.
    pub fn filter(&mut self, filter: Arc<dyn Filter>) {
        self.draft.filter = Some(filter);
    }

    /// Returns the label `view` of the block's metrics: the name behind `view`, empty without.
    #[must_use]
    pub fn view(&self) -> &'a str {
        let words = self.block.directive("view").map(|directive| &*directive.words);
        words.and_then(|words| words.get(1)).map_or("", Word::as_str)
    }

    /// Gives the block's listeners the secrets of clients that sign their queries.
    pub fn keep_secrets(&mut self, secrets: Secrets) {
        self.draft.secrets = Some(Arc::new(secrets));
    }

    /// Gives the block metadata, for the names of these zones.
    pub fn keep_metadata(&mut self, zones: Zones) {
        self.draft.metadata = Some(Metadata::of(zones));
    }

    /// Publishes the labels that begin with `prefix` and a slash. Without metadata in the block
    /// this has no effect.
    pub fn publish(&mut self, prefix: &'static str, publisher: Arc<dyn Publisher>) {
        if let Some(metadata) = &mut self.draft.metadata {
            metadata.add(prefix, publisher);
        }
    }

    /// Returns whether the block has metadata.
    #[must_use]
    pub fn has_metadata(&self) -> bool {
        self.draft.metadata.is_some()
    }

    /// Declares that this plugin reads a label of the metadata.
    pub fn read_label(&mut self, label: &str) {
        self.draft.read_labels.push(label.to_owned());
    }

    /// Returns whether a plugin above reads a label that the block may publish.
    #[must_use]
    pub fn is_read(&self, label: &str) -> bool {
        self.has_metadata() && self.draft.read_labels.iter().any(|read| read == label)
    }
}

/// What to do about a missing file.
const MISSING: &str = "the file has to be there when the server starts: in a Pod, a volume of a Secret or ConfigMap brings \
                       it; -validate looks on the machine that it runs on";
