//! EndpointSlices, trimmed to the model: ready endpoints only.

use std::sync::Arc;

use serde::{Deserialize, de};

use super::keep::Keep;
use super::metadata::Meta;
use super::parts::{RawPort, note, ports};
use crate::plugins::kubernetes::known::endpoints::{Address, Endpoint};
use crate::plugins::kubernetes::known::label::{is_label, odd_label};
use crate::plugins::kubernetes::known::model::Slice;

/// An EndpointSlice as it is in the cluster.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct RawSlice {
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

/// An EndpointSlice of a Service of this cluster, or of one that was imported.
pub(super) fn slice<E: de::Error>(
    mut raw: RawSlice,
    imported: bool,
    keep: Keep,
    flaw: &mut Option<String>,
) -> Result<(Slice, Box<str>), E> {
    let labels = raw.metadata.labels.take().unwrap_or_default();
    let annotations = raw.metadata.annotations.take().unwrap_or_default();
    let (key, version) = raw.metadata.identify()?;
    let (service, cluster) = match imported {
        true => (labels.imported_service, labels.cluster),
        false => (labels.service, None),
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
    Ok((slice, version))
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
    let pod = pod.filter(|name| keep.endpoint_pod_names && is_label(name));
    let name = raw.hostname.filter(|name| !name.is_empty()).or(pod);
    let zone = raw.zone.filter(|zone| keep.zonal && !zone.is_empty()).map(|zone| interned(zones, &zone));
    for text in raw.addresses.unwrap_or_default() {
        let (address, odd) = match text.parse() {
            Ok(ip) => (Address::Ip(ip), odd_label(&text, ip)),
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
