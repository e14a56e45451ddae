//! The API server as a source: LIST and WATCH of each kind, nothing else. The only folder that
//! names `kube`.
//!
//! `kube` gives us the client: configuration, TLS, credentials that are read again. We do not use
//! its `watcher`. It cannot fall back from streaming lists to pages, hides `Retry-After`, fails a
//! whole page for one bad object, and begins a list before it knows whether there is an answer. It
//! passes on neither bookmarks nor its version, without which a silent watch is not noticed. So
//! [`stream`] is our own machine:
//!
//! 1. **List**: as a streaming list (a watch that begins with everything there is), or page by page
//!    where the server refuses that or never reports that it is complete. Objects go straight into
//!    the store, which notes what it has seen; only a complete list drops the rest.
//! 2. **Watch** from where the list ended. A watch that ends is begun again from the last version
//!    heard; one whose version has expired lists again, a few times at once and then twice a
//!    minute.
//! 3. **Audit** ([`audit`]): every few minutes, and after each outage, the server is asked for the
//!    version and size of the collection. A watch that does not come there is repaired by a list.
//!
//! Answers are asked for in protobuf, as CoreDNS does, and taken in JSON as well ([`form`]).
//!
//! While the API server cannot be reached, what is known stays. A list that lacks most of what is
//! known is read again from etcd itself before it is believed. A ServiceImport collection that does
//! not exist (no such CRD) counts as empty after ten seconds and is looked for every half minute:
//! unlike CoreDNS, which then never becomes ready.

mod api;
mod audit;
mod body;
mod changes;
pub(super) mod cluster;
mod connect;
mod event;
mod failure;
mod follow;
mod form;
mod list;
mod metrics;
mod pace;
mod phase;
mod probe;
mod recover;
mod resource;
mod server;
pub(super) mod silence;
mod stream;
pub mod timing;
mod token;
mod words;

use std::sync::Arc;

use tokio::runtime::Handle;

use self::api::Api;
use self::cluster::Cluster;
pub(crate) use self::connect::check;
use self::metrics::Counts;
use self::resource::Resource;
use self::silence::{Silence, watch_staleness};
use self::stream::Stream;
use self::timing::Timing;
use super::feed::Feed;
use super::options::{ApiFrom, SourceOptions};
use crate::host::Host;
use crate::host::tasks::Tasks;

/// An API server that is known and not asked yet.
pub(super) struct Source {
    api: Api,
}

impl Source {
    /// Reads what is needed to ask it.
    ///
    /// # Errors
    /// When something is missing or cannot be read.
    pub(super) fn new(from: &ApiFrom, timing: Timing, host: &Arc<Host>, runtime: &Handle) -> Result<Self, String> {
        let _entered = runtime.enter();
        Api::new(from.clone(), timing, host).map(|api| Self { api })
    }

    /// The cluster that it belongs to.
    pub(super) fn cluster(&self) -> Cluster {
        self.api.server.cluster.clone()
    }

    /// Starts a stream for each kind. Returns how long they have been silent.
    pub(super) fn start(
        self,
        options: &SourceOptions,
        feed: Feed,
        host: &Arc<Host>,
        runtime: &Handle,
        tasks: &mut Tasks,
    ) -> Arc<Silence> {
        let (api, mut heard) = (Arc::new(self.api), Vec::new());
        for kind in options.kinds() {
            let resource = Resource::new(kind, options);
            let counts = Counts::new(host, resource.plural);
            let stream = Stream::new(api.clone(), resource, options.keep(), feed.clone(), counts);
            heard.push(stream.heard.clone());
            tasks.spawn(runtime, "kubernetes watch", stream.run());
        }
        let silence = Arc::new(Silence(heard));
        tasks.spawn(runtime, "kubernetes staleness", watch_staleness(silence.clone(), metrics::staleness(host)));
        silence
    }
}
