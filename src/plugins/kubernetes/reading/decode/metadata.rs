//! The fields of an object's metadata that are read.

use serde::Deserialize;
use serde::de::{self, IgnoredAny};

use crate::plugins::kubernetes::known::model::ObjectKey;

/// An object of any kind, of which only the metadata are read.
#[derive(Deserialize)]
pub(super) struct Bare {
    pub(super) metadata: Meta,
}

/// The metadata of an object.
#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
pub(super) struct Meta {
    pub(super) namespace: Option<Box<str>>,
    pub(super) name: Option<Box<str>>,
    pub(super) resource_version: Option<Box<str>>,
    pub(super) deletion_timestamp: Option<IgnoredAny>,
    pub(super) labels: Option<SliceLabels>,
    pub(super) annotations: Option<Annotations>,
}

/// The labels that say something about EndpointSlices.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct SliceLabels {
    #[serde(rename = "kubernetes.io/service-name")]
    pub(super) service: Option<Box<str>>,
    #[serde(rename = "multicluster.kubernetes.io/service-name")]
    pub(super) imported_service: Option<Box<str>>,
    #[serde(rename = "multicluster.kubernetes.io/source-cluster")]
    pub(super) cluster: Option<Box<str>>,
}

/// The annotations that are read.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Annotations {
    #[serde(rename = "endpoints.kubernetes.io/last-change-trigger-time")]
    pub(super) triggered: Option<Box<str>>,
    #[serde(rename = "k8s.io/initial-events-end")]
    pub(super) initial_events_end: Option<Box<str>>,
}

impl Meta {
    /// Splits into what identifies the object, and its resourceVersion.
    ///
    /// # Errors
    /// When it has no name.
    pub(super) fn identify<E: de::Error>(self) -> Result<(ObjectKey, Box<str>), E> {
        let name = self.name.filter(|name| !name.is_empty()).ok_or_else(|| E::custom("an object without a name"))?;
        let key = ObjectKey { namespace: self.namespace.unwrap_or_default(), name };
        Ok((key, self.resource_version.unwrap_or_default()))
    }
}
