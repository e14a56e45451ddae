//! What the plugins of a Corefile have asked for so far, while it is being built.

use std::collections::BTreeMap;
use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use super::caps::Caps;
use super::control::Control;
use super::metadata::Metadata;
use super::offers::Offers;
use super::plugin::Plugin;
use super::probes::{Probe, Probes};
use super::proxies::Proxies;
use super::secure::Secure;
use super::signing::Secrets;
use super::site::Filter;
use super::timeouts::Timeouts;
use crate::corefile::address::Transport;
use crate::error::{Complaint, Result};
use crate::host::http::Endpoints;

/// What the plugins of one server block have asked for so far.
#[derive(Default)]
pub(super) struct BlockDraft {
    pub(super) seats: Vec<(&'static str, Arc<dyn Plugin>)>,
    pub(super) bind: Vec<String>,
    /// The word that names each address of `bind`.
    pub(super) bound: BTreeMap<String, Complaint>,
    pub(super) root: Option<PathBuf>,
    pub(super) secure: Option<Arc<Secure>>,
    pub(super) caps: BTreeMap<Transport, Caps>,
    pub(super) timeouts: Timeouts,
    /// The proxies in front of its listeners, if there are any.
    pub(super) proxies: Option<Arc<dyn Proxies>>,
    /// What its plugins offer to each other.
    pub(super) offers: Offers,
    pub(super) probes: Vec<(&'static str, Probe)>,
    /// A plugin of the block asks for the readiness of the others.
    pub(super) is_probed: bool,
    /// Which of the queries for its zones the block takes, if not all.
    pub(super) filter: Option<Arc<dyn Filter>>,
    /// What its plugins publish, if it has metadata.
    pub(super) metadata: Option<Metadata>,
    pub(super) secrets: Option<Arc<Secrets>>,
    /// The labels that its plugins read, as far as they are known.
    pub(super) read_labels: Vec<String>,
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
    /// Files that a plugin writes, the word that names each, and what it is written for.
    pub(super) claims: BTreeMap<PathBuf, (Complaint, String)>,
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

/// How often the Corefile is checked for changes.
#[derive(Debug, Clone, Copy)]
pub struct Looks {
    /// The time from one check to the next.
    pub interval: Duration,
    /// The jitter: each check comes up to half of it sooner or later.
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

pub(super) type Boxed<T> = Pin<Box<dyn Future<Output = T> + Send>>;
