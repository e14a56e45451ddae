//! What the data of a block depend on: where they are read from, which objects count, and what is
//! kept of them.

use std::path::PathBuf;
use std::time::Duration;

use super::decode::Keep;
use super::selector::{IMPORTED, Selector};
use crate::plugins::kubernetes::known::model::Kind;

/// Everything that the data of a block depend on. Blocks with equal options share them; `Debug` is
/// the key.
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
    /// A plugin asks where Services are reached from outside of the cluster.
    pub external: bool,
    /// There are `multicluster` zones: ServiceImports and imported EndpointSlices are read.
    pub multicluster: bool,
    /// `ttl`, in seconds: it stands in the answers that are encoded when the data change.
    pub ttl: u32,
    /// `snapshot`: what is known is kept in a file. With an API server only.
    pub snapshot: Option<SnapshotOptions>,
}

/// `snapshot PATH [MAX_AGE]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SnapshotOptions {
    /// The file.
    pub path: PathBuf,
    /// How old it may be to be used.
    pub max_age: Duration,
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
            snapshot: None,
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

    /// Which objects are known, and what is kept of them: a snapshot is used where this is equal.
    #[must_use]
    pub fn content(&self) -> String {
        let Self { labels, namespace_labels, .. } = self;
        let (kinds, keep) = (self.kinds(), self.keep());
        format!("{kinds:?} with labels ({labels}) and namespaces with ({namespace_labels}), {keep:?}")
    }

    /// The labels that objects of a kind must have.
    #[must_use]
    pub fn selector(&self, kind: Kind) -> Selector {
        match kind {
            Kind::Namespace | Kind::Import => self.namespace_labels.clone(),
            Kind::Service | Kind::Slice | Kind::Pod => self.labels.clone(),
            Kind::ImportSlice => self.labels.with_label(IMPORTED),
        }
    }
}
