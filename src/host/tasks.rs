//! Named tasks that end with their owner.

use std::future::Future;

use tokio::runtime::Handle;
use tokio::task::AbortHandle;

use super::log;

/// The running tasks of one owner; dropping it stops them.
#[derive(Debug, Default)]
pub struct Tasks {
    handles: Vec<AbortHandle>,
}

impl Tasks {
    /// Starts `future` on `runtime`. A panic is logged and ends only this task.
    pub fn spawn(&mut self, runtime: &Handle, name: &'static str, future: impl Future<Output = ()> + Send + 'static) {
        let task = runtime.spawn(future);
        self.handles.push(task.abort_handle());
        runtime.spawn(async move {
            if let Err(error) = task.await
                && error.is_panic()
            {
                log::error("", format_args!("task {name} panicked: {error}"));
            }
        });
    }
}

impl Drop for Tasks {
    fn drop(&mut self) {
        for handle in &self.handles {
            handle.abort();
        }
    }
}
