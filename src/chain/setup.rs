//! The only interface between a plugin and everything else while a Corefile is built.

use std::collections::BTreeMap;
use std::fs::File;
use std::future::Future;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use super::address::{self, SiteAddress};
use super::control::Control;
use super::doc::Listed;
use super::external::{Externals, OfferedExternals};
use super::per_listener::PerListener;
use super::plugin::Plugin;
use super::probes::{Probe, Probes, Readiness};
use super::search::{Lists, Offered};
use super::secure::Secure;
use super::timeouts::Timeouts;
use crate::corefile::address::Key;
use crate::corefile::cursor::Cursor;
use crate::corefile::{Findings, ServerBlock, Severity, Word};
use crate::error::{Complaint, Result, words};
use crate::host::Host;
use crate::host::http::{Endpoints, Handler};
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

/// What the plugins of one server block have asked for so far.
#[derive(Default)]
pub(super) struct BlockDraft {
    pub(super) seats: Vec<(&'static str, Arc<dyn Plugin>)>,
    pub(super) bind: Vec<String>,
    /// The word that names each address of `bind`.
    pub(super) bound: BTreeMap<String, Complaint>,
    pub(super) root: Option<PathBuf>,
    pub(super) secure: Option<Arc<Secure>>,
    pub(super) timeouts: Timeouts,
    pub(super) from_memory: Vec<Name>,
    pub(super) memory: Arc<OnceLock<Vec<Name>>>,
    pub(super) search_offers: Vec<(&'static str, Lists)>,
    pub(super) search_wishes: Vec<SearchWish>,
    pub(super) externals: Option<Arc<dyn Externals>>,
    pub(super) external_wish: Option<(OfferedExternals, Complaint)>,
    pub(super) probes: Vec<(&'static str, Probe)>,
    /// A plugin of the block asks for the readiness of the others.
    pub(super) is_probed: bool,
    /// The block answers only some of the questions for its zones.
    pub(super) is_filtered: bool,
}

/// A plugin wants the search lists that another plugin knows.
pub(super) struct SearchWish {
    /// The other plugin's name, as it stands in the Corefile.
    pub(super) of: String,
    pub(super) offered: Offered,
    /// The error if the other plugin is present and has no lists.
    pub(super) complaint: Complaint,
}

/// What plugins have asked of the process, in any block.
#[derive(Default)]
pub(super) struct Common {
    pub(super) endpoints: Endpoints,
    pub(super) pages: BTreeMap<String, Complaint>,
    pub(super) lameduck: Option<Wish<Duration>>,
    pub(super) reload: Option<Wish<Looks>>,
    pub(super) debug: bool,
    pub(super) facts: Vec<Fact>,
    pub(super) starts: Vec<Start>,
    pub(super) preparations: Vec<Preparation>,
    pub(super) probes: Arc<Probes>,
    pub(super) control: Control,
}

/// A service of the process for a plugin, which its log lines name.
#[derive(Debug, Clone, Copy)]
pub struct Wish<T> {
    /// The plugin's name.
    pub plugin: &'static str,
    /// What the plugin asks for.
    pub what: T,
}

/// How often the Corefile is looked at for changes.
#[derive(Debug, Clone, Copy)]
pub struct Looks {
    /// The time from one look to the next.
    pub interval: Duration,
    /// How far looks are spread: each is up to half of it sooner or later.
    pub jitter: Duration,
}

/// A value outside of the Corefile that a configuration was made from, and that may change.
pub struct Fact {
    then: String,
    now: Box<dyn Fn() -> String + Send + Sync>,
}

impl Fact {
    /// Returns the fact whose value was `then`; `now` reads the current one.
    pub fn new(then: String, now: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self { then, now: Box::new(now) }
    }

    /// Returns whether the value has changed.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        (self.now)() != self.then
    }
}

/// A task that starts when the configuration goes live and ends with it.
pub(crate) struct Start {
    pub(crate) name: &'static str,
    pub(crate) make: Box<dyn FnOnce() -> Boxed<()> + Send>,
}

/// Work to be done before a reloaded configuration takes over.
pub(crate) struct Preparation {
    pub(crate) make: Box<dyn FnOnce(bool) -> Boxed<Result<()>> + Send>,
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

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
    ///
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
    /// [`Site::ordinal`](super::site::Site::ordinal).
    ///
    /// Complete for plugins after `bind`.
    ///
    /// # Errors
    /// A zone is not a domain name.
    pub fn addresses(&self) -> Result<Vec<SiteAddress>> {
        address::addresses(self.keys, &self.draft.bind)
    }

    /// Speaks TLS on the block's `tls://` listeners.
    pub fn secure(&mut self, secure: Arc<Secure>) {
        self.draft.secure = Some(secure);
    }

    /// Limits the connections of the block's listeners; a later block on one of them goes first.
    pub fn timeouts(&mut self, timeouts: Timeouts) {
        self.draft.timeouts = timeouts;
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

    /// Declares that all names of these zones are answered from memory: those below get none.
    pub fn answers_from_memory(&mut self, zones: impl IntoIterator<Item = Name>) {
        self.draft.from_memory.extend(zones);
    }

    /// Returns the zones that the block answers from memory; set when all plugins are set up.
    #[must_use]
    pub fn memory_zones(&self) -> Arc<OnceLock<Vec<Name>>> {
        self.draft.memory.clone()
    }

    /// Offers the search lists of clients, or the reason why there are none.
    pub fn offer_search_lists(&mut self, lists: Lists) {
        self.draft.search_offers.push((self.plugin, lists));
    }

    /// Returns the search lists that the plugin called `of` knows; set when all plugins are set up.
    ///
    /// If the block has that plugin and it knows none, the Corefile is refused with `complaint`.
    #[must_use]
    pub fn search_lists(&mut self, of: &str, complaint: Complaint) -> Offered {
        let offered = Offered::default();
        self.draft.search_wishes.push(SearchWish { of: of.to_owned(), offered: offered.clone(), complaint });
        offered
    }

    /// Returns what a plugin of the block knows of services as reached from outside; set when all
    /// plugins are set up.
    ///
    /// If no plugin does, the Corefile is refused with `complaint`.
    #[must_use]
    pub fn externals(&mut self, complaint: Complaint) -> OfferedExternals {
        let offered = OfferedExternals::default();
        self.draft.external_wish = Some((offered.clone(), complaint));
        offered
    }

    /// Returns whether a plugin above asks where services are reached from outside.
    #[must_use]
    pub fn wants_externals(&self) -> bool {
        self.draft.external_wish.is_some()
    }

    /// Offers what is known of services as reached from outside.
    pub fn offer_externals(&mut self, externals: Arc<dyn Externals>) {
        self.draft.externals = Some(externals);
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

    /// Returns the readiness of all plugins of the blocks that ask for it, as this one does now;
    /// complete once the configuration is live.
    #[must_use]
    pub fn probes(&mut self) -> Arc<Probes> {
        self.draft.is_probed = true;
        self.common.probes.clone()
    }

    /// Declares that the block answers only some questions for its zones: another block may have
    /// them too.
    pub fn filter(&mut self) {
        self.draft.is_filtered = true;
    }
}

/// What to do about a missing file.
const MISSING: &str = "the file has to be there when the server starts: in a Pod, a volume of a Secret or ConfigMap brings \
                       it; -validate looks on the machine that it runs on";
