//! How the data of a block are read: from an API server or from files, into the store.
//!
//! [`options`] say what to read. [`watch`] and [`manifests`] are the two sources; both hand each
//! object to [`decode`], which keeps what DNS needs ([`protobuf`] presents the API server's
//! messages to it as JSON), and tell [`feed`](mod@feed) the result. The feed owns the store.
//! [`snapshot`] keeps what an API server told in a file. [`progress`] logs that the first lists are
//! waited for, and `latency` measures how old changes are when they show.

pub mod decode;
pub mod feed;
mod latency;
pub mod manifests;
pub mod options;
mod prefix;
pub mod progress;
pub mod protobuf;
pub mod selector;
pub mod snapshot;
pub mod watch;

use std::sync::Arc;

use tokio::runtime::Handle;

use self::feed::feed;
use self::latency::Latency;
use self::options::{Origin, SourceOptions};
use self::snapshot::Snapshot;
use self::watch::Source;
use self::watch::timing::Timing;
use crate::host::Host;
use crate::host::tasks::Tasks;
use crate::plugins::kubernetes::known::index::Index;
use crate::plugins::kubernetes::known::store::Store;

/// Starts to read into `index`; reading ends when the tasks are dropped.
///
/// # Errors
/// What CoreDNS takes as a reason not to start: no service account, a kubeconfig, certificate or
/// manifest path that cannot be read. An API server that does not answer is not an error.
pub fn start(options: &SourceOptions, index: Arc<Index>, host: &Arc<Host>, runtime: &Handle) -> Result<Tasks, String> {
    start_with(options, Timing::default(), index, host, runtime)
}

/// [`start`] with other waiting times, for tests.
///
/// # Errors
/// As for [`start`].
pub fn start_with(
    options: &SourceOptions,
    timing: Timing,
    index: Arc<Index>,
    host: &Arc<Host>,
    runtime: &Handle,
) -> Result<Tasks, String> {
    let latency = || Box::new(Latency::new(&host.metrics));
    let store = || Store::new(index.clone(), options.ttl, &options.kinds(), Some(latency()));
    let mut tasks = Tasks::default();
    match &options.origin {
        Origin::Api(from) => {
            let source = Source::new(from, timing, host, runtime)?;
            let snapshot = options.snapshot.as_ref();
            let snapshot = snapshot.map(|wanted| Snapshot::new(wanted, options, source.cluster(), host));
            let store = snapshot.as_ref().map_or_else(store, |snapshot| snapshot.restored(store));
            let (feed, intake) = feed(store);
            tasks.spawn(runtime, "kubernetes index", intake);
            let silence = source.start(options, feed, host, runtime, &mut tasks);
            if let Some(snapshot) = snapshot {
                tasks.spawn(runtime, "kubernetes snapshot", snapshot.keep(index, silence));
            }
        }
        Origin::Manifests(paths) => {
            let (feed, intake) = feed(store());
            manifests::start(paths.clone(), options, feed, runtime, &mut tasks)?;
            tasks.spawn(runtime, "kubernetes index", intake);
        }
    }
    Ok(tasks)
}
