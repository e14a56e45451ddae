//! The control runtime, as plugins reach it from queries.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::SetOnce;

/// The control runtime of the process, for work that no query waits for, on its own thread. It is
/// set when the configuration goes live.
#[derive(Debug, Clone, Default)]
pub struct Control(Arc<SetOnce<Handle>>);

impl Control {
    /// Returns the runtime, or `None` if the configuration is not live yet.
    #[must_use]
    pub fn get(&self) -> Option<&Handle> {
        self.0.get()
    }

    /// Waits until the configuration is live.
    pub async fn wait(&self) -> &Handle {
        self.0.wait().await
    }

    /// Sets the runtime when the configuration goes live.
    pub(super) fn set(&self, runtime: &Handle) {
        // A configuration goes live once.
        let _ = self.0.set(runtime.clone());
    }
}
