//! Pods, trimmed to the model.

use serde::{Deserialize, de};

use super::metadata::Meta;
use super::parts::addresses;
use crate::plugins::kubernetes::known::model::{News, Object, Pod};

/// A Pod as it is in the cluster.
#[derive(Deserialize)]
pub(super) struct RawPod {
    metadata: Meta,
    status: Option<PodStatus>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct PodStatus {
    phase: Option<Box<str>>,
    #[serde(rename = "podIPs")]
    pod_ips: Option<Vec<PodIp>>,
}

#[derive(Deserialize)]
struct PodIp {
    ip: Option<Box<str>>,
}

/// A Pod: one that has ended does not count any more, and one that is being deleted stays as it
/// was.
pub(super) fn pod<E: de::Error>(mut raw: RawPod, flaw: &mut Option<String>) -> Result<(News, Box<str>), E> {
    let leaving = raw.metadata.deletion_timestamp.take().is_some();
    let (key, version) = raw.metadata.identify()?;
    let status = raw.status.unwrap_or_default();
    let news = if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed" | "Unknown")) {
        News::Gone(key)
    } else if leaving {
        News::Kept(key)
    } else {
        let texts: Vec<_> = status.pod_ips.unwrap_or_default().into_iter().filter_map(|ip| ip.ip).collect();
        let addresses = addresses(&texts, flaw);
        News::Is(Object::Pod(Pod { namespace: key.namespace, name: key.name, addresses }))
    };
    Ok((news, version))
}
