//! Readiness: which plugins are asked, and what they report.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Whether a plugin is ready. Clients of `/ready` read the lines: what is to be known of a plugin
/// that is ready, or one for each known reason why it is not, with what to do.
pub type Readiness = Result<Vec<String>, Vec<String>>;

/// Plugins, sorted, and the lines of each.
pub type Lines = BTreeMap<&'static str, Vec<String>>;

pub(super) type Probe = Arc<dyn Fn() -> Readiness + Send + Sync>;

/// The plugins that may report that the server is not ready yet.
#[derive(Default)]
pub struct Probes {
    all: Mutex<Vec<(&'static str, Probe)>>,
}

impl Probes {
    pub(super) fn add(&self, probes: impl IntoIterator<Item = (&'static str, Probe)>) {
        self.all.lock().unwrap_or_else(PoisonError::into_inner).extend(probes);
    }

    /// Returns the plugins that are not ready, and why.
    #[must_use]
    pub fn waiting_for(&self) -> Lines {
        self.lines(Readiness::err)
    }

    /// Returns what is to be known of plugins that are ready; those without such a line are left
    /// out.
    #[must_use]
    pub fn remarks(&self) -> Lines {
        self.lines(|ready| ready.ok().filter(|lines| !lines.is_empty()))
    }

    /// Each plugin and each line once.
    fn lines(&self, pick: impl Fn(Readiness) -> Option<Vec<String>>) -> Lines {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let mut found = Lines::new();
        for (name, ready) in &*all {
            let Some(lines) = pick(ready()) else { continue };
            let known = found.entry(*name).or_default();
            for line in lines {
                if !known.contains(&line) {
                    known.push(line);
                }
            }
        }
        found
    }
}
