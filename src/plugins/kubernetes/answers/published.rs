//! What is published about a name of the cluster, and about the Pod that asks for it.

use std::borrow::Cow;
use std::sync::Arc;

use super::name::{Ask, Part, parse};
use super::zone::Zone;
use crate::chain::Query;
use crate::chain::metadata::Publisher;
use crate::plugins::kubernetes::known::index::Index;

/// Publishes the parts of names, as CoreDNS reads them, and the client's namespace.
pub(crate) struct Published {
    pub(crate) index: Arc<Index>,
    /// The longest names first.
    pub(crate) zones: Arc<[Zone]>,
    /// Whether Pods are known: `pods verified`.
    pub(crate) knows_pods: bool,
}

impl Publisher for Published {
    fn value<'a>(&'a self, label: &str, query: &'a Query<'_>) -> Option<Cow<'a, str>> {
        let label = label.strip_prefix("kubernetes/")?;
        if label == "client-namespace" {
            return self.namespace_of(query).map(Cow::Owned);
        }
        let name = query.request.name(query.packet());
        let zone = self.zones.iter().find(|zone| name.is_under(&zone.name))?;
        self.part(label, zone, &parse(&name, &zone.name, zone.schema)).map(Cow::Owned)
    }
}

impl Published {
    /// Returns the namespace of the Pod at the client's address; of several Pods that of one.
    fn namespace_of(&self, query: &Query<'_>) -> Option<String> {
        let address = query.client.peer.ip().to_canonical();
        if !self.knows_pods {
            return None;
        }
        self.index.pods.with(&address, |pods| pods.names().next().map(text)).flatten()
    }

    /// Returns one part of a name; empty if the name does not have it.
    fn part(&self, label: &str, zone: &Zone, ask: &Ask<'_>) -> Option<String> {
        let is_wrong =
            matches!(ask, Ask::Nothing | Ask::Reverse(_) | Ask::Version | Ask::NameServer | Ask::NameServerParent);
        if is_wrong {
            return (label == "parse-error").then(|| "invalid query name".to_owned());
        }
        let (kind, namespace, service, part): (_, &[u8], &[u8], _) = match ask {
            Ask::Namespace(namespace) => ("svc", namespace, &[], Part::Whole),
            Ask::PodNamespace(namespace) => ("pod", namespace, &[], Part::Whole),
            Ask::Pod { label, namespace } => ("pod", namespace, label, Part::Whole),
            // Two labels in wire form, of which the first is the service.
            Ask::Service { key, namespace, part } => ("svc", namespace, &key[1..1 + usize::from(key[0])], *part),
            _ => ("", &[], &[], Part::Whole),
        };
        let none: &[u8] = &[];
        let (endpoint, cluster, port, protocol) = match part {
            Part::Endpoint(endpoint) => (endpoint, none, none, none),
            Part::ClusterEndpoint { endpoint, cluster } => (endpoint, cluster, none, none),
            Part::Port { port, protocol } => (none, none, port, protocol),
            Part::Whole | Part::Zone { .. } | Part::ZoneParent => (none, none, none, none),
        };
        Some(match label {
            "kind" => kind.to_owned(),
            "namespace" => text(namespace),
            "service" => text(service),
            "endpoint" => text(endpoint),
            "port-name" => text(port),
            "protocol" => text(protocol),
            "cluster" if zone.schema.multicluster => text(cluster),
            "zone" if zone.schema.zonal => match part {
                Part::Zone { zone, .. } => joined(zone),
                _ => String::new(),
            },
            _ => return None,
        })
    }
}

fn text(label: &[u8]) -> String {
    String::from_utf8_lossy(label).into_owned()
}

/// Returns labels in wire form with dots between them.
fn joined(labels: &[u8]) -> String {
    let labels = crate::wire::name::labels(labels).map(text).collect::<Vec<_>>();
    labels.join(".")
}
