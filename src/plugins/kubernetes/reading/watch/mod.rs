//! The API server as a source: LIST and WATCH of each kind, nothing else. The only room that names `kube`.
//!
//! `kube` gives us the client: configuration, TLS, credentials that are read again. Its `watcher` we do not use.
//! It cannot fall back from streaming lists to pages, hides `Retry-After`, fails a whole page for one bad
//! object, begins a list before it knows whether there is an answer, and tells neither bookmarks nor where it
//! stands, which is what it takes to notice that a watch has gone silent. So [`stream`] is our own machine:
//!
//! 1. **List**: as a streaming list (a watch that begins with everything there is), or page by page where the
//!    server refuses that or never says that it is through. Objects go straight into the store, which notes
//!    what it has seen; only a complete list drops the rest.
//! 2. **Watch** from where the list ended. A watch that ends is begun again from the last version heard; one
//!    whose version has expired lists again, a few times at once and then twice a minute.
//! 3. **Audit** ([`audit`]): every few minutes, and after each outage, the server is asked for the version and
//!    size of the collection. A watch that does not come there is repaired by a list.
//!
//! Answers are asked for in protobuf, as CoreDNS does, and taken in JSON as well ([`form`]).
//!
//! While the API server is away nothing that is known changes. A list that lacks most of what is known is read
//! again from etcd itself before it is believed. A ServiceImport collection that does not exist (no such CRD)
//! counts as empty after ten seconds and is looked for every half minute: unlike CoreDNS, which then never
//! becomes ready.

mod api;
mod audit;
mod connect;
mod event;
mod form;
mod list;
mod metrics;
mod pace;
mod reading;
mod recover;
mod resource;
mod stream;
mod token;
mod words;

use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;

use self::api::{Api, Heard};
pub(super) use self::connect::check;
use self::metrics::Counts;
use self::resource::Resource;
use self::stream::Stream;
use super::feed::Feed;
use super::source::{ApiFrom, SourceOptions};
use crate::host::Host;
use crate::host::metrics::Gauge;
use crate::host::tasks::Tasks;

/// How long things may take.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Between attempts to reach a server that is not there: least and most.
    pub retry: (Duration, Duration),
    /// The most between attempts after other failures.
    pub backoff_max: Duration,
    /// A server that could not be reached so long ago may still be starting.
    pub starting: Duration,
    /// For a connection to come about.
    pub connect: Duration,
    /// For an answer to begin, and between its parts.
    pub patience: Duration,
    /// For the bookmark that ends a streaming list, after its last object.
    pub bookmark: Duration,
    /// The life of one watch: least and most.
    pub watch: (Duration, Duration),
    /// Silence after which the server is asked whether it is alive; a bookmark comes every minute.
    pub silence: Duration,
    /// Between audits: least and most.
    pub sweep: (Duration, Duration),
    /// Until the audit after an outage.
    pub recheck: (Duration, Duration),
    /// For a watch to come to the version that an audit found.
    pub sweep_patience: Duration,
    /// Until a list that was not believed is read again.
    pub hold: Duration,
    /// After which a list is believed even if it keeps changing.
    pub hold_max: Duration,
    /// Lists for expired versions, beyond the first few: one in this time.
    pub relist_every: Duration,
    /// For a collection that clusters may lack to appear.
    pub missing: Duration,
    /// Between readings of credentials that are not accepted.
    pub renew: Duration,
    /// Between log lines of the same kind: at first and in the end.
    pub log_every: (Duration, Duration),
}

impl Default for Timing {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            retry: (Duration::from_millis(300), seconds(1)),
            backoff_max: seconds(30),
            starting: seconds(10),
            connect: seconds(5),
            patience: seconds(15),
            bookmark: seconds(25),
            watch: (seconds(300), seconds(600)),
            silence: seconds(25),
            sweep: (seconds(120), seconds(240)),
            recheck: (seconds(1), seconds(4)),
            sweep_patience: seconds(90),
            hold: seconds(4),
            hold_max: seconds(45),
            relist_every: seconds(30),
            missing: seconds(10),
            renew: seconds(5),
            log_every: (seconds(10), seconds(300)),
        }
    }
}

/// Starts a stream for each kind.
pub(super) fn start(
    from: &ApiFrom,
    options: &SourceOptions,
    timing: Timing,
    feed: Feed,
    host: &Arc<Host>,
    runtime: &Handle,
    tasks: &mut Tasks,
) -> Result<(), String> {
    let _entered = runtime.enter();
    let api = Arc::new(Api::new(from.clone(), timing, host)?);
    let mut heard = Vec::new();
    for kind in options.kinds() {
        let resource = Resource::new(kind, options);
        let counts = Counts::new(host, resource.plural);
        let stream = Stream::new(api.clone(), resource, options.keep(), feed.clone(), counts);
        heard.push(stream.heard.clone());
        tasks.spawn(runtime, "kubernetes watch", stream.run());
    }
    tasks.spawn(runtime, "kubernetes staleness", watch_staleness(heard, metrics::staleness(host)));
    Ok(())
}

/// Keeps the gauge of silence up to date.
async fn watch_staleness(heard: Vec<Arc<Heard>>, gauge: Gauge) {
    loop {
        gauge.set(heard.iter().map(|heard| heard.ago()).fold(0.0, f64::max));
        tokio::time::sleep(Duration::from_secs(1)).await;
    }
}
