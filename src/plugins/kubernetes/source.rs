//! Where the data of a `kubernetes` block come from, and how to start reading them.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::Handle;
use tokio::time::Instant;

use super::decode::Keep;
use super::feed::feed;
use super::index::Index;
use super::manifests;
use super::model::{Kind, Service, Target};
use super::selector::Selector;
use super::store::{Observe, Store};
use super::watch::{self, Timing};
use crate::host::metrics::{Family, Histogram, Metrics};
use crate::host::tasks::Tasks;
use crate::host::{Host, log};

//----------- Options --------------------------------------------------------

/// Everything that the data of a block depend on. Blocks with equal options share them; `Debug` is the key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SourceOptions {
    /// The API server or files.
    pub origin: Origin,
    /// `labels`: which Services, EndpointSlices and Pods count.
    pub labels: Selector,
    /// `namespace_labels`: which Namespaces (and ServiceImports) count.
    pub namespace_labels: Selector,
    /// `pods verified`: Pods are read.
    pub pods_verified: bool,
    /// EndpointSlices are read: not `noendpoints`.
    pub endpoints: bool,
    /// `endpoint_pod_names`.
    pub endpoint_pod_names: bool,
    /// `zonal`.
    pub zonal: bool,
    /// Somebody asks where Services are reached from outside of the cluster.
    pub external: bool,
    /// There are `multicluster` zones: ServiceImports and imported EndpointSlices are read.
    pub multicluster: bool,
    /// `ttl`, in seconds: it stands in the answers that are encoded when the data change.
    pub ttl: u32,
}

/// A source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Origin {
    /// LIST and WATCH of an API server.
    Api(ApiFrom),
    /// Files and folders of manifests, followed for changes.
    Manifests(Vec<PathBuf>),
}

/// How to find an API server and what to show it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ApiFrom {
    /// Environment and service account of a pod.
    InCluster,
    /// `endpoint URL`, perhaps with `tls CERT KEY CACERT`.
    Endpoint {
        /// The URL; without a scheme it is https with `tls` and http without.
        url: String,
        /// Files of certificate, key and CA.
        tls: Option<[PathBuf; 3]>,
    },
    /// `kubeconfig FILE [CONTEXT]`.
    Kubeconfig {
        /// The file.
        file: PathBuf,
        /// The context, if not the current one.
        context: Option<String>,
    },
}

impl Default for SourceOptions {
    fn default() -> Self {
        Self {
            origin: Origin::Api(ApiFrom::InCluster),
            labels: Selector::default(),
            namespace_labels: Selector::default(),
            pods_verified: false,
            endpoints: true,
            endpoint_pod_names: false,
            zonal: false,
            external: false,
            multicluster: false,
            ttl: 5,
        }
    }
}

impl SourceOptions {
    /// The key under which blocks with equal options share one source.
    #[must_use]
    pub fn key(&self) -> String {
        format!("{self:?}")
    }

    /// The kinds that are read.
    #[must_use]
    pub fn kinds(&self) -> Vec<Kind> {
        let mut kinds = vec![Kind::Namespace, Kind::Service];
        kinds.extend(self.endpoints.then_some(Kind::Slice));
        kinds.extend(self.pods_verified.then_some(Kind::Pod));
        kinds.extend(self.multicluster.then_some(Kind::Import));
        kinds.extend((self.multicluster && self.endpoints).then_some(Kind::ImportSlice));
        kinds
    }

    /// What is kept of objects.
    #[must_use]
    pub fn keep(&self) -> Keep {
        Keep { endpoint_pod_names: self.endpoint_pod_names, zonal: self.zonal, external: self.external }
    }

    /// The labels that objects of a kind must have.
    #[must_use]
    pub fn selector(&self, kind: Kind) -> Selector {
        match kind {
            Kind::Namespace | Kind::Import => self.namespace_labels.clone(),
            Kind::Service | Kind::Slice | Kind::Pod => self.labels.clone(),
            Kind::ImportSlice => self.labels.with_label(super::selector::IMPORTED),
        }
    }
}

//----------- Starting -------------------------------------------------------

/// Starts to read into `index`; reading ends when the tasks are dropped.
///
/// # Errors
/// What CoreDNS takes as a reason not to start: no service account, a kubeconfig, certificate or manifest path
/// that cannot be read. That the API server does not answer is none.
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
    let latency = Box::new(Latency::new(&host.metrics));
    let store = Store::new(index, options.ttl, &options.kinds(), Some(latency));
    let (feed, intake) = feed(store);
    let mut tasks = Tasks::default();
    match &options.origin {
        Origin::Api(from) => watch::start(from, options, timing, feed, host, runtime, &mut tasks)?,
        Origin::Manifests(paths) => manifests::start(paths.clone(), options, feed, runtime, &mut tasks)?,
    }
    tasks.spawn(runtime, "kubernetes index", intake);
    Ok(tasks)
}

/// Says that the data are waited for, and when they are there: nothing if they come at once, then ever more seldom. What is
/// in the way says who meets it. Questions wait for `patience`; that its end has come is said too.
pub async fn tell_until_synced(index: Arc<Index>, patience: Duration) {
    let (began, mut pause, mut told) = (Instant::now(), FIRST_WORD, false);
    let mut next = began + FIRST_WORD;
    let mut end = Some(began + patience);
    loop {
        let wake = end.map_or(next, |end| end.min(next));
        if tokio::time::timeout_at(wake, index.wait_synced()).await.is_ok() {
            if told {
                log::info(FROM, format_args!("Kubernetes API is synced after {:.1?}", began.elapsed()));
            }
            return;
        }
        told = true;
        if end.is_some_and(|end| wake == end) {
            end = None;
            log::warning(
                FROM,
                format_args!(
                    "serving with unsynced Kubernetes API: cluster names that are not known yet are SERVFAIL until it answers"
                ),
            );
        } else {
            log::info(FROM, format_args!("waiting for Kubernetes API before answering cluster names"));
        }
        if wake == next {
            pause = (pause * 2).clamp(AGAIN.0, AGAIN.1);
            next += pause;
        }
    }
}

/// How long the data may take before anything is said.
const FIRST_WORD: Duration = Duration::from_millis(500);
/// From one line that says the same to the next: at first and in the end.
const AGAIN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(60));

/// The plugin, as log lines name it.
pub(super) const FROM: &str = super::PLUGIN.name;

//----------- Programming latency --------------------------------------------

static PROGRAMMING: Family = Family {
    name: "coredns_kubernetes_dns_programming_duration_seconds",
    help: "Histogram of the time (in seconds) it took to program a dns instance.",
    labels: &["service_kind"],
};

/// 1 ms to 524 s.
const LATENCIES: &[f64] = &[
    0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128, 0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384, 32.768,
    65.536, 131.072, 262.144, 524.288,
];

struct Latency {
    cluster_ip: Histogram,
    headless_with_selector: Histogram,
    headless_without_selector: Histogram,
}

impl Latency {
    fn new(metrics: &Metrics) -> Self {
        let histogram = |kind| metrics.histogram(&PROGRAMMING, LATENCIES, &[kind]);
        Self {
            cluster_ip: histogram("cluster_ip"),
            headless_with_selector: histogram("headless_with_selector"),
            headless_without_selector: histogram("headless_without_selector"),
        }
    }
}

impl Observe for Latency {
    fn observe(&self, service: &Service, since: Duration) {
        let histogram = match (&service.target, service.has_selector) {
            (Target::Endpoints, true) => &self.headless_with_selector,
            (Target::Endpoints, false) => &self.headless_without_selector,
            (Target::Addresses(_) | Target::Alias(_), _) => &self.cluster_ip,
        };
        histogram.observe(since);
    }
}
