//! Services and ServiceImports as they are in the cluster, trimmed to the model.

use std::collections::BTreeMap;

use serde::Deserialize;
use serde::de::{self, Deserializer, IgnoredAny};

use super::metadata::Meta;
use super::parts::{RawPort, addresses, ports};
use crate::plugins::kubernetes::known::model::{Reached, Service, Target};

//----------- Services -------------------------------------------------------

/// A Service. Fields that are not asked for are skipped: `I` and `S` are then [`IgnoredAny`].
#[derive(Deserialize)]
struct RawService<I, S> {
    metadata: Meta,
    spec: Option<ServiceSpec<I>>,
    status: Option<S>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceSpec<I> {
    r#type: Option<Box<str>>,
    #[serde(rename = "clusterIP")]
    cluster_ip: Option<Box<str>>,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Option<Vec<Box<str>>>,
    external_name: Option<Box<str>>,
    #[serde(rename = "externalIPs")]
    external_ips: Option<I>,
    ports: Option<Vec<RawPort>>,
    selector: Option<BTreeMap<Box<str>, IgnoredAny>>,
}

impl<I> Default for ServiceSpec<I> {
    fn default() -> Self {
        Self {
            r#type: None,
            cluster_ip: None,
            cluster_ips: None,
            external_name: None,
            external_ips: None,
            ports: None,
            selector: None,
        }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ServiceStatus {
    load_balancer: Option<LoadBalancer>,
}

#[derive(Deserialize)]
struct LoadBalancer {
    ingress: Option<Vec<Ingress>>,
}

#[derive(Deserialize)]
struct Ingress {
    ip: Option<Box<str>>,
    hostname: Option<Box<str>>,
}

/// A Service, without what is seen of it from outside.
pub(super) fn service<'de, D: Deserializer<'de>>(
    from: D,
    flaw: &mut Option<String>,
) -> Result<(Service, Box<str>), D::Error> {
    let raw = RawService::<IgnoredAny, IgnoredAny>::deserialize(from)?;
    trimmed(raw.metadata, raw.spec.unwrap_or_default(), flaw)
}

/// A Service, with the addresses and names under which it is reached from outside.
pub(super) fn exposed<'de, D: Deserializer<'de>>(
    from: D,
    flaw: &mut Option<String>,
) -> Result<(Service, Box<str>), D::Error> {
    let raw = RawService::<Vec<Box<str>>, ServiceStatus>::deserialize(from)?;
    let mut spec = raw.spec.unwrap_or_default();
    let external_ips = spec.external_ips.take().unwrap_or_default();
    let ingress = raw.status.and_then(|status| status.load_balancer).and_then(|balancer| balancer.ingress);
    let ingress = ingress.unwrap_or_default().into_iter();
    let ingress = ingress.filter_map(|one| one.ip.filter(|ip| !ip.is_empty()).or(one.hostname));
    let mut reached = Vec::new();
    for text in external_ips.into_iter().chain(ingress).filter(|text| !text.is_empty()) {
        // What a load balancer says is an address or a name: whatever is no address is taken for a
        // name, as in CoreDNS.
        let one = text.parse().map_or_else(|_| Reached::Name(text), Reached::Ip);
        if !reached.contains(&one) {
            reached.push(one);
        }
    }
    let (mut service, version) = trimmed(raw.metadata, spec, flaw)?;
    service.external = (!reached.is_empty()).then(|| Box::new(reached));
    Ok((service, version))
}

fn trimmed<I, E: de::Error>(
    metadata: Meta,
    spec: ServiceSpec<I>,
    flaw: &mut Option<String>,
) -> Result<(Service, Box<str>), E> {
    let (key, version) = metadata.identify()?;
    let cluster_ips = spec.cluster_ips.filter(|ips| !ips.is_empty());
    let cluster_ips = cluster_ips.unwrap_or_else(|| spec.cluster_ip.into_iter().collect());
    let target = if spec.r#type.as_deref() == Some("ExternalName") {
        Target::Alias(spec.external_name.unwrap_or_default())
    } else if cluster_ips.first().map(AsRef::as_ref) == Some("None") {
        Target::Endpoints
    } else {
        Target::Addresses(addresses(&cluster_ips, flaw))
    };
    let service = Service {
        namespace: key.namespace,
        name: key.name,
        target,
        ports: ports(spec.ports, flaw),
        has_selector: spec.selector.is_some_and(|selector| !selector.is_empty()),
        external: None,
    };
    Ok((service, version))
}

//----------- Imports --------------------------------------------------------

#[derive(Deserialize)]
struct RawImport {
    metadata: Meta,
    spec: Option<ImportSpec>,
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "camelCase", default)]
struct ImportSpec {
    r#type: Option<Box<str>>,
    ips: Option<Vec<Box<str>>>,
    ports: Option<Vec<RawPort>>,
}

/// A ServiceImport.
pub(super) fn import<'de, D: Deserializer<'de>>(
    from: D,
    flaw: &mut Option<String>,
) -> Result<(Service, Box<str>), D::Error> {
    let raw = RawImport::deserialize(from)?;
    let (key, version) = raw.metadata.identify()?;
    let spec = raw.spec.unwrap_or_default();
    let target = if spec.r#type.as_deref() == Some("Headless") {
        Target::Endpoints
    } else {
        Target::Addresses(addresses(&spec.ips.unwrap_or_default(), flaw))
    };
    let ports = ports(spec.ports, flaw);
    let service =
        Service { namespace: key.namespace, name: key.name, target, ports, has_selector: false, external: None };
    Ok((service, version))
}
