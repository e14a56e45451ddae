//! Kubernetes objects as they come over the wire or out of a manifest, trimmed to the model while they are read.
//!
//! A field that we do not know is skipped without a copy. What is wrong with an object costs as little as
//! possible: one unusable address costs that address, a field of the wrong type costs the object, and neither
//! costs another object.

mod services;

use std::net::IpAddr;
use std::sync::Arc;

use serde::de::{Deserializer, IgnoredAny};
use serde::{Deserialize, de};

use super::model::{self, Address, Endpoint, Kind, Object, ObjectKey, Pod, Port, Slice};

/// What is kept of objects, as the options of the plugin say.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Keep {
    /// Endpoints without a hostname are named after their pods.
    pub endpoint_pod_names: bool,
    /// Topology zones of endpoints are kept.
    pub zonal: bool,
    /// The addresses under which Services are reached from outside are kept.
    pub external: bool,
}

/// An object that was read.
#[derive(Debug, PartialEq, Eq)]
pub struct Decoded {
    /// What it means for what is known.
    pub found: Found,
    /// What is wrong with it, where something had to be left out.
    pub flaw: Option<String>,
    /// Its resourceVersion; empty in manifests.
    pub version: Box<str>,
}

/// What an object means for what is known.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// It is so from now on.
    Is(Object),
    /// It exists, and what is known of it stays: a pod that is being deleted, or an object that cannot be read.
    Kept(ObjectKey),
    /// It does not count any more: a pod that has ended.
    Gone(ObjectKey),
}

/// The metadata that every object has.
#[derive(Debug, PartialEq, Eq)]
pub struct Identity {
    /// What it is.
    pub key: ObjectKey,
    /// Its resourceVersion.
    pub version: Box<str>,
    /// Whether it is the bookmark that ends the initial events of a streaming list.
    pub ends_initial_events: bool,
}

/// Reads an object of `kind`.
///
/// # Errors
/// When it has no name, or a field that matters has the wrong type.
pub fn decode<'de, D: Deserializer<'de>>(kind: Kind, from: D, keep: Keep) -> Result<Decoded, D::Error> {
    let mut flaw = None;
    let (found, version) = match kind {
        Kind::Namespace => {
            let Bare { metadata } = Bare::deserialize(from)?;
            let (key, version) = metadata.identify()?;
            (Found::Is(Object::Namespace(key.name)), version)
        }
        Kind::Service if keep.external => services::exposed(from, &mut flaw)?,
        Kind::Service => services::service(from, &mut flaw)?,
        Kind::Import => services::import(from, &mut flaw)?,
        Kind::Slice | Kind::ImportSlice => slice(kind, RawSlice::deserialize(from)?, keep, &mut flaw)?,
        Kind::Pod => pod(RawPod::deserialize(from)?, &mut flaw)?,
    };
    Ok(Decoded { found, flaw, version })
}

/// Reads the metadata of an object of any kind and nothing else.
///
/// # Errors
/// When that has the wrong shape.
pub fn identify<'de, D: Deserializer<'de>>(from: D) -> Result<Identity, D::Error> {
    let Bare { metadata } = Bare::deserialize(from)?;
    let annotations = metadata.annotations.unwrap_or_default();
    Ok(Identity {
        key: ObjectKey { namespace: metadata.namespace.unwrap_or_default(), name: metadata.name.unwrap_or_default() },
        version: metadata.resource_version.unwrap_or_default(),
        ends_initial_events: annotations.initial_events_end.as_deref() == Some("true"),
    })
}

//----------- Metadata -------------------------------------------------------

#[derive(Deserialize)]
struct Bare {
    metadata: Meta,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct Meta {
    namespace: Option<Box<str>>,
    name: Option<Box<str>>,
    resource_version: Option<Box<str>>,
    deletion_timestamp: Option<IgnoredAny>,
    labels: Option<Labels>,
    annotations: Option<Annotations>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Labels {
    #[serde(rename = "kubernetes.io/service-name")]
    service: Option<Box<str>>,
    #[serde(rename = "multicluster.kubernetes.io/service-name")]
    imported_service: Option<Box<str>>,
    #[serde(rename = "multicluster.kubernetes.io/source-cluster")]
    cluster: Option<Box<str>>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Annotations {
    #[serde(rename = "endpoints.kubernetes.io/last-change-trigger-time")]
    triggered: Option<Box<str>>,
    #[serde(rename = "k8s.io/initial-events-end")]
    initial_events_end: Option<Box<str>>,
}

impl Meta {
    fn identify<E: de::Error>(self) -> Result<(ObjectKey, Box<str>), E> {
        let name = self.name.filter(|name| !name.is_empty()).ok_or_else(|| E::custom("an object without a name"))?;
        let key = ObjectKey { namespace: self.namespace.unwrap_or_default(), name };
        Ok((key, self.resource_version.unwrap_or_default()))
    }
}

//----------- Ports and addresses ---------------------------------------------

#[derive(Deserialize)]
struct RawPort {
    name: Option<Box<str>>,
    protocol: Option<Box<str>>,
    port: Option<i64>,
}

fn ports(raw: Option<Vec<RawPort>>, flaw: &mut Option<String>) -> Arc<[Port]> {
    let raw = raw.unwrap_or_default();
    if raw.is_empty() {
        return Port::none();
    }
    let lower = |text: Box<str>| text.to_ascii_lowercase().into_boxed_str();
    let ports = raw.into_iter().map(|port| Port {
        name: port.name.map(lower).unwrap_or_default(),
        protocol: port.protocol.filter(|text| !text.is_empty()).map_or_else(|| "tcp".into(), lower),
        number: port.port.and_then(|number| match u16::try_from(number) {
            Ok(number) if number != 0 => Some(number),
            _ => {
                note(flaw, || format!("{number} is no port"));
                None
            }
        }),
    });
    ports.collect()
}

fn addresses(texts: &[Box<str>], flaw: &mut Option<String>) -> Box<[IpAddr]> {
    // An address that has not been given out yet is empty.
    texts.iter().filter(|text| !text.is_empty()).filter_map(|text| address(text, flaw)).collect()
}

fn address(text: &str, flaw: &mut Option<String>) -> Option<IpAddr> {
    let address = text.parse().ok();
    if address.is_none() {
        note(flaw, || format!("{text:?} is no IP address"));
    }
    address
}

fn note(flaw: &mut Option<String>, text: impl FnOnce() -> String) {
    flaw.get_or_insert_with(text);
}

//----------- EndpointSlices -------------------------------------------------

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawSlice {
    metadata: Meta,
    #[serde(default)]
    address_type: Option<Box<str>>,
    #[serde(default)]
    endpoints: Option<Vec<RawEndpoint>>,
    #[serde(default)]
    ports: Option<Vec<RawPort>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawEndpoint {
    addresses: Option<Vec<Box<str>>>,
    conditions: Option<Conditions>,
    hostname: Option<Box<str>>,
    target_ref: Option<TargetRef>,
    zone: Option<Box<str>>,
}

#[derive(Deserialize)]
struct Conditions {
    ready: Option<bool>,
}

#[derive(Deserialize)]
struct TargetRef {
    name: Option<Box<str>>,
}

fn slice<E: de::Error>(
    kind: Kind,
    mut raw: RawSlice,
    keep: Keep,
    flaw: &mut Option<String>,
) -> Result<(Found, Box<str>), E> {
    let labels = raw.metadata.labels.take().unwrap_or_default();
    let annotations = raw.metadata.annotations.take().unwrap_or_default();
    let (key, version) = raw.metadata.identify()?;
    let (service, cluster) = match kind {
        Kind::ImportSlice => (labels.imported_service, labels.cluster),
        _ => (labels.service, None),
    };
    let names = raw.address_type.as_deref() == Some("FQDN");
    let (mut endpoints, mut zones) = (Vec::new(), Vec::new());
    for raw in raw.endpoints.unwrap_or_default() {
        if raw.conditions.as_ref().is_none_or(|conditions| conditions.ready != Some(false)) {
            add_endpoints(&mut endpoints, raw, names, keep, &mut zones, flaw);
        }
    }
    let triggered = annotations.triggered.and_then(|text| text.parse::<jiff::Timestamp>().ok());
    let slice = Slice {
        namespace: key.namespace,
        name: key.name,
        service: service.unwrap_or_default(),
        cluster: cluster.unwrap_or_default(),
        endpoints: endpoints.into(),
        ports: ports(raw.ports, flaw),
        triggered: triggered.and_then(|time| time.as_nanosecond().try_into().ok()),
    };
    Ok((Found::Is(Object::Slice(slice)), version))
}

/// Adds an endpoint once for each of its addresses.
fn add_endpoints(
    endpoints: &mut Vec<Endpoint>,
    raw: RawEndpoint,
    names: bool,
    keep: Keep,
    zones: &mut Vec<Arc<str>>,
    flaw: &mut Option<String>,
) {
    let pod = raw.target_ref.and_then(|target| target.name);
    let pod = pod.filter(|name| keep.endpoint_pod_names && model::is_label(name));
    let name = raw.hostname.filter(|name| !name.is_empty()).or(pod);
    let zone = raw.zone.filter(|zone| keep.zonal && !zone.is_empty()).map(|zone| interned(zones, &zone));
    for text in raw.addresses.unwrap_or_default() {
        let (address, odd) = match text.parse() {
            Ok(ip) => (Address::Ip(ip), model::odd_label(&text, ip)),
            // Its label is made as that of an address.
            Err(_) if names => (Address::Name(text.clone()), Some(text.replace('.', "-").into_boxed_str())),
            Err(_) => {
                note(flaw, || format!("{text:?} is no IP address"));
                continue;
            }
        };
        endpoints.push(Endpoint { address, name: name.clone().or(odd), zone: zone.clone() });
    }
}

/// The endpoints of a slice are in few zones, and share their names.
fn interned(zones: &mut Vec<Arc<str>>, zone: &str) -> Arc<str> {
    if let Some(known) = zones.iter().find(|known| known.eq_ignore_ascii_case(zone)) {
        return known.clone();
    }
    let zone: Arc<str> = zone.to_ascii_lowercase().into();
    zones.push(zone.clone());
    zone
}

//----------- Pods -----------------------------------------------------------

#[derive(Deserialize)]
struct RawPod {
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

fn pod<E: de::Error>(mut raw: RawPod, flaw: &mut Option<String>) -> Result<(Found, Box<str>), E> {
    let leaving = raw.metadata.deletion_timestamp.take().is_some();
    let (key, version) = raw.metadata.identify()?;
    let status = raw.status.unwrap_or_default();
    let found = if matches!(status.phase.as_deref(), Some("Succeeded" | "Failed" | "Unknown")) {
        Found::Gone(key)
    } else if leaving {
        Found::Kept(key)
    } else {
        let texts: Vec<_> = status.pod_ips.unwrap_or_default().into_iter().filter_map(|ip| ip.ip).collect();
        let addresses = addresses(&texts, flaw);
        Found::Is(Object::Pod(Pod { namespace: key.namespace, name: key.name, addresses }))
    };
    Ok((found, version))
}

#[cfg(test)]
#[path = "decode_tests.rs"]
mod tests;
