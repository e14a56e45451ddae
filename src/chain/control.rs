//! The control runtime, as plugins reach it from preparations and queries.

use std::sync::Arc;

use tokio::runtime::Handle;
use tokio::sync::SetOnce;

/// The control runtime of the process, for work that no query waits for, on its own threads. It is
/// known from the configuration's preparations on; a Corefile is set up without it.
#[derive(Debug, Clone, Default)]
pub struct Control(Arc<SetOnce<Handle>>);

impl Control {
    /// Returns the runtime, or `None` if the configuration is not prepared yet.
    #[must_use]
    pub fn get(&self) -> Option<&Handle> {
        self.0.get()
    }

    /// Waits until the configuration is prepared, and returns the runtime.
    pub async fn wait(&self) -> &Handle {
        self.0.wait().await
    }

    /// Sets the runtime. A configuration that is started without preparations sets it then.
    pub(super) fn set(&self, runtime: &Handle) {
        // The process has one control runtime: the second one is the same.
        let _ = self.0.set(runtime.clone());
    }
}
