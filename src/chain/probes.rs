//! Readiness: which plugins are asked, and what they report.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// Whether a plugin is ready; if not, one line for each known reason, with what to do. Clients of
/// `/ready` read them.
pub type Readiness = Result<(), Vec<String>>;

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

    /// Returns the plugins that are not ready, sorted, and why; each plugin and each reason once.
    #[must_use]
    pub fn waiting_for(&self) -> BTreeMap<&'static str, Vec<String>> {
        let all = self.all.lock().unwrap_or_else(PoisonError::into_inner);
        let mut waiting = BTreeMap::<_, Vec<_>>::new();
        for (name, ready) in &*all {
            let Err(reasons) = ready() else { continue };
            let known = waiting.entry(*name).or_default();
            for reason in reasons {
                if !known.contains(&reason) {
                    known.push(reason);
                }
            }
        }
        waiting
    }
}
