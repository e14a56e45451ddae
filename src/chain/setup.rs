//! The only door between a plugin and everything else while a Corefile is built.

use std::collections::BTreeMap;
use std::fs::File;
use std::future::Future;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use tokio::runtime::Handle;

use super::control::Control;
use super::doc::Listed;
use super::external::{Externals, OfferedExternals};
use super::per_listener::PerListener;
use super::place::{self, Place};
use super::plugin::Plugin;
use super::probes::{Probe, Probes, Readiness};
use super::search::{Lists, Offered};
use super::secure::Secure;
use crate::corefile::address::Key;
use crate::corefile::cursor::Cursor;
use crate::corefile::{Findings, ServerBlock, Severity, Word};
use crate::error::{Complaint, Result, words};
use crate::host::Host;
use crate::host::http::{Endpoints, Handler};
use crate::wire::name::Name;

//----------- Registration ---------------------------------------------------

/// How the house knows a plugin: one line in `plugins::ALL`.
pub struct Registration {
    /// Its name in a Corefile.
    pub name: &'static str,
    /// Reads its directives and registers what they ask for. It has no effect outside of [`Setup`]: it opens no
    /// socket, asks no network and starts nothing, so that a Corefile can be checked anywhere.
    pub setup: fn(&mut Setup<'_>) -> Result<()>,
    /// The doc comment of its file: the manual but for options and differences from CoreDNS.
    pub doc: &'static str,
    /// The options of each kind of block that the doc comment's `## Syntax` opens, in its order.
    pub options: &'static [&'static dyn Listed],
}

impl Registration {
    /// A plugin without a manual, as tests have them.
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
    /// The server block as it stands in the Corefile.
    pub block: &'a ServerBlock,
    /// The keys of the block, reverse ranges expanded.
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
    /// The word that names each of them.
    pub(super) bound: BTreeMap<String, Complaint>,
    pub(super) root: Option<PathBuf>,
    pub(super) secure: Option<Arc<Secure>>,
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

/// A plugin wants the search lists that another one knows.
pub(super) struct SearchWish {
    /// The other plugin's name, as it stands in the Corefile.
    pub(super) of: String,
    pub(super) offered: Offered,
    /// What is wrong if the other one is there and has nothing to offer.
    pub(super) complaint: Complaint,
}

/// What plugins have asked of the process, whichever block they stand in.
#[derive(Default)]
pub(super) struct Common {
    pub(super) endpoints: Endpoints,
    pub(super) pages: BTreeMap<String, Complaint>,
    pub(super) lameduck: Option<Wish<Duration>>,
    pub(super) reload: Option<Wish<(Duration, Duration)>>,
    pub(super) debug: bool,
    pub(super) facts: Vec<Fact>,
    pub(super) starts: Vec<Start>,
    pub(super) preparations: Vec<Preparation>,
    pub(super) probes: Arc<Probes>,
    pub(super) control: Control,
}

/// What the server does for a plugin, which its log lines name.
#[derive(Debug, Clone, Copy)]
pub struct Wish<T> {
    /// The plugin's name.
    pub plugin: &'static str,
    /// What it asks for.
    pub what: T,
}

/// Something outside of the Corefile that a configuration was made from, and that may change.
pub struct Fact {
    then: String,
    now: Box<dyn Fn() -> String + Send + Sync>,
}

impl Fact {
    /// What was `then`, and what tells it `now`.
    pub fn new(then: String, now: impl Fn() -> String + Send + Sync + 'static) -> Self {
        Self { then, now: Box::new(now) }
    }

    /// Whether it is not what it was any more.
    #[must_use]
    pub fn has_changed(&self) -> bool {
        (self.now)() != self.then
    }
}

/// A task to be started when the configuration goes live; it ends with the configuration.
pub(crate) struct Start {
    pub(crate) name: &'static str,
    pub(crate) make: Box<dyn FnOnce() -> Boxed<()> + Send>,
}

/// Something to be done before a reloaded configuration takes over.
pub(crate) struct Preparation {
    pub(crate) make: Box<dyn FnOnce(Handle, bool) -> Boxed<Result<()>> + Send>,
}

type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;

impl<'a> Setup<'a> {
    /// A cursor over all directives of this plugin in this block.
    #[must_use]
    pub fn cursor(&self) -> Cursor<'a> {
        let directive = self.block.directive(self.plugin).expect("only plugins that the block names are set up");
        Cursor::new(directive).reporting(self.findings)
    }

    /// Takes the plugin's seat in the chain.
    pub fn chain(&mut self, plugin: impl Plugin) {
        self.draft.seats.push((self.plugin, Arc::new(plugin)));
    }

    /// Takes a seat for a plugin that somebody else knows as well.
    pub fn chain_shared(&mut self, plugin: Arc<dyn Plugin>) {
        self.draft.seats.push((self.plugin, plugin));
    }

    /// Names of the plugins that have a seat above this one.
    pub fn above(&self) -> impl Iterator<Item = &'static str> + '_ {
        self.draft.seats.iter().map(|(name, _)| *name)
    }

    /// Starts a task when the configuration goes live; it ends when the configuration does.
    pub fn task<F>(&mut self, name: &'static str, make: impl FnOnce() -> F + Send + 'static)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        self.common.starts.push(Start { name, make: Box::new(move || Box::pin(make())) });
    }

    /// Runs before this configuration goes live; an error keeps the older one, or ends the first start.
    ///
    /// `make` gets the runtime, and whether this is the first start: then it should start what has to run and
    /// not wait for it, since waiting would keep the whole server from answering.
    pub fn prepare<F>(&mut self, make: impl FnOnce(Handle, bool) -> F + Send + 'static)
    where
        F: Future<Output = Result<()>> + Send + 'static,
    {
        self.common
            .preparations
            .push(Preparation { make: Box::new(move |runtime, first| Box::pin(make(runtime, first))) });
    }

    /// Answers GET `path` at `address`, as [`Cursor::page_address`] reads it; a later plugin that wants the same wins.
    /// `written` is the word to blame if nothing can listen there.
    pub fn http(&mut self, address: &str, written: &Word, path: &str, handler: Handler) {
        let blame = written.complain("").from_plugin(self.plugin);
        self.common.pages.insert(address.to_owned(), blame);
        self.common.endpoints.insert((address.to_owned(), path.to_owned()), handler);
    }

    /// Listens on these addresses only, in addition to those named before. An IPv6 address may end in `%INTERFACE`.
    /// `written` is the word to blame if nothing can listen there.
    pub fn bind(&mut self, written: &Word, addresses: impl IntoIterator<Item = String>) {
        for address in addresses {
            if !self.draft.bind.contains(&address) {
                self.draft.bound.insert(address.clone(), written.complain(""));
                self.draft.bind.push(address);
            }
        }
    }

    /// The addresses that the block listens on; empty means all.
    #[must_use]
    pub fn bound(&self) -> &[String] {
        &self.draft.bind
    }

    /// Room for something that is kept once for each listener. Complete for plugins behind `bind`.
    #[must_use]
    pub fn per_listener<T>(&self) -> PerListener<T> {
        PerListener::new(self.keys.len() * self.draft.bind.len().max(1))
    }

    /// The control runtime, for what queries start and do not wait for.
    #[must_use]
    pub fn control(&self) -> Control {
        self.common.control.clone()
    }

    /// The listeners that the block takes part in, in the order of [`Site::ordinal`](super::site::Site::ordinal).
    ///
    /// Complete for plugins behind `bind`.
    ///
    /// # Errors
    /// A zone that is no domain name.
    pub fn places(&self) -> Result<Vec<Place>> {
        place::places(self.keys, &self.draft.bind)
    }

    /// Speaks TLS on the block's `tls://` listeners.
    pub fn secure(&mut self, secure: Arc<Secure>) {
        self.draft.secure = Some(secure);
    }

    /// Makes `path` the folder that other plugins' relative paths start from.
    pub fn set_root(&mut self, path: PathBuf) {
        self.draft.root = Some(path);
    }

    /// `path` as the block's `root` makes it.
    #[must_use]
    pub fn path(&self, path: &str) -> PathBuf {
        match &self.draft.root {
            Some(root) if Path::new(path).is_relative() => root.join(path),
            _ => PathBuf::from(path),
        }
    }

    /// The path of a file that has to be there when the server starts, as the block's `root` makes it. `None`, with an error
    /// among the findings that begins with `what`, if the file cannot be opened here.
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

    /// Says that this plugin answers every name of these zones from memory: nothing below it is ever asked for one.
    pub fn answers_from_memory(&mut self, zones: impl IntoIterator<Item = Name>) {
        self.draft.from_memory.extend(zones);
    }

    /// The zones that some plugin of the block answers from memory; there when all plugins are set up.
    #[must_use]
    pub fn memory_zones(&self) -> Arc<OnceLock<Vec<Name>>> {
        self.draft.memory.clone()
    }

    /// Offers the search lists of clients, or says why there are none.
    pub fn offer_search_lists(&mut self, lists: Lists) {
        self.draft.search_offers.push((self.plugin, lists));
    }

    /// The search lists that the plugin called `of` knows; there when all plugins are set up.
    ///
    /// If that plugin stands in the block and does not know any, the Corefile is refused with `complaint`.
    #[must_use]
    pub fn search_lists(&mut self, of: &str, complaint: Complaint) -> Offered {
        let offered = Offered::default();
        self.draft.search_wishes.push(SearchWish { of: of.to_owned(), offered: offered.clone(), complaint });
        offered
    }

    /// What some plugin of the block knows of services as they are reached from outside; there when all plugins are set up.
    ///
    /// If none does, the Corefile is refused with `complaint`.
    #[must_use]
    pub fn externals(&mut self, complaint: Complaint) -> OfferedExternals {
        let offered = OfferedExternals::default();
        self.draft.external_wish = Some((offered.clone(), complaint));
        offered
    }

    /// Whether a plugin above asks where services are reached from outside.
    #[must_use]
    pub fn wants_externals(&self) -> bool {
        self.draft.external_wish.is_some()
    }

    /// Offers what is known of services as they are reached from outside.
    pub fn offer_externals(&mut self, externals: Arc<dyn Externals>) {
        self.draft.externals = Some(externals);
    }

    /// Keeps serving for so long after the signal to stop; the longest of all blocks counts.
    pub fn lameduck(&mut self, duration: Duration) {
        let longest = self.common.lameduck.map_or(duration, |wish| wish.what.max(duration));
        self.common.lameduck = Some(Wish { plugin: self.plugin, what: longest });
    }

    /// Looks for a changed Corefile at this interval, with this jitter; the first block that says so counts.
    pub fn watch_corefile(&mut self, interval: Duration, jitter: Duration) {
        self.common.reload.get_or_insert(Wish { plugin: self.plugin, what: (interval, jitter) });
    }

    /// Says that the configuration was made from something outside of the Corefile, which was `then`. When `now` tells
    /// something else, a look for a changed Corefile takes it for a change.
    pub fn made_from(&mut self, then: String, now: impl Fn() -> String + Send + Sync + 'static) {
        self.common.facts.push(Fact::new(then, now));
    }

    /// Lets debug lines through.
    pub fn debug(&mut self) {
        self.common.debug = true;
    }

    /// Lets `ready` ask whether this plugin is ready.
    /// Says how to find out whether this plugin is ready.
    pub fn probe(&mut self, ready: impl Fn() -> Readiness + Send + Sync + 'static) {
        self.draft.probes.push((self.plugin, Arc::new(ready)));
    }

    /// The readiness of all plugins of the blocks that ask for it, as this one does now; complete once the
    /// configuration is live.
    #[must_use]
    pub fn probes(&mut self) -> Arc<Probes> {
        self.draft.is_probed = true;
        self.common.probes.clone()
    }

    /// Says that the block answers only some of the questions for its zones: another block may have the same zones.
    pub fn filter(&mut self) {
        self.draft.is_filtered = true;
    }
}

/// What to do about a file that is not there.
const MISSING: &str = "the file has to be there when the server starts: in a Pod, a volume of a Secret or ConfigMap brings \
                       it; -validate looks on the machine that it runs on";
