//! Kubernetes objects with the fields that DNS needs. Everything else is dropped while objects are
//! decoded.

use std::net::IpAddr;
use std::sync::Arc;

use super::endpoints::Endpoints;

//----------- Objects --------------------------------------------------------

/// One object of any kind that is watched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Object {
    /// A Namespace exists.
    Namespace(Box<str>),
    /// A Service, or a ServiceImport of a multicluster zone.
    Service(Service),
    /// An EndpointSlice.
    Slice(Slice),
    /// A Pod, with `pods verified` only.
    Pod(Pod),
}

/// The kinds that are watched, each by a watch of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// v1 Namespaces.
    Namespace,
    /// v1 Services.
    Service,
    /// discovery.k8s.io/v1 EndpointSlices of Services.
    Slice,
    /// v1 Pods.
    Pod,
    /// multicluster.x-k8s.io/v1alpha1 ServiceImports.
    Import,
    /// EndpointSlices that were imported from other clusters.
    ImportSlice,
}

/// Identifies one object of a kind: its namespace (empty for Namespaces) and name.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct ObjectKey {
    /// The namespace.
    pub namespace: Box<str>,
    /// The name.
    pub name: Box<str>,
}

/// What was read of an object: how it changes what is known.
#[derive(Debug, PartialEq, Eq)]
pub enum News {
    /// The object is like this from now on.
    Is(Object),
    /// The object exists, and what is known of it stays: a Pod that is being deleted, or an object
    /// that cannot be read.
    Kept(ObjectKey),
    /// The object does not count any more: it was deleted, or it is a Pod that has ended.
    Gone(ObjectKey),
}

/// A Service or a ServiceImport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The namespace.
    pub namespace: Box<str>,
    /// The name.
    pub name: Box<str>,
    /// What its name leads to.
    pub target: Target,
    /// Its ports. A service without any has one without a number: its name exists, SRV has no
    /// records.
    pub ports: Arc<[Port]>,
    /// Whether it has a selector: metrics tell the two apart.
    pub has_selector: bool,
    /// Where it is reached from outside of the cluster, each once, if anywhere. Kept only if a
    /// plugin asks for it, and boxed: few services have one, and a slice would take a word more in
    /// all of them.
    pub external: Option<Box<Vec<Reached>>>,
}

/// Where a service is reached from outside: `externalIPs`, and what its load balancer says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reached {
    /// An IP address.
    Ip(IpAddr),
    /// A host name, as it is in the object.
    Name(Box<str>),
}

/// What the name of a service leads to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Target {
    /// To its ClusterIPs (or clusterset IPs).
    Addresses(Box<[IpAddr]>),
    /// To its ready endpoints: `clusterIP: None`.
    Endpoints,
    /// To a name somewhere else: `type: ExternalName`. As it is in the object.
    Alias(Box<str>),
}

/// A port of a service or of a slice.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Port {
    /// Its name in lower case; empty if it has none.
    pub name: Box<str>,
    /// `tcp`, `udp` or `sctp`.
    pub protocol: Box<str>,
    /// Its number; without one there is no SRV record for it.
    pub number: Option<u16>,
}

/// An EndpointSlice: ready endpoints only.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Slice {
    /// The namespace.
    pub namespace: Box<str>,
    /// The name of the slice itself.
    pub name: Box<str>,
    /// The service it belongs to, by its label; empty if it has none.
    pub service: Box<str>,
    /// The cluster it was imported from; empty for slices of this one.
    pub cluster: Box<str>,
    /// The ready endpoints, one for each address.
    pub endpoints: Endpoints,
    /// Its ports; as with [`Service::ports`], one without a number stands for none.
    pub ports: Arc<[Port]>,
    /// When the change happened that made the controller write it (nanoseconds since 1970), from
    /// the annotation `endpoints.kubernetes.io/last-change-trigger-time`.
    pub triggered: Option<i64>,
}

/// A Pod.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Pod {
    /// The namespace.
    pub namespace: Box<str>,
    /// The name.
    pub name: Box<str>,
    /// Its addresses of both families.
    pub addresses: Box<[IpAddr]>,
}

impl Service {
    /// Its ClusterIPs; none unless its name leads to them.
    #[must_use]
    pub fn cluster_ips(&self) -> &[IpAddr] {
        match &self.target {
            Target::Addresses(addresses) => addresses,
            Target::Endpoints | Target::Alias(_) => &[],
        }
    }

    /// The addresses under which it is reached from outside.
    pub fn external_ips(&self) -> impl Iterator<Item = IpAddr> {
        self.external.iter().flat_map(|all| all.iter()).filter_map(|one| match one {
            Reached::Ip(address) => Some(*address),
            Reached::Name(_) => None,
        })
    }
}

impl Port {
    /// Stands for "no ports": the name exists, SRV has nothing to say.
    #[must_use]
    pub fn none() -> Arc<[Self]> {
        Arc::new([Self { name: Box::default(), protocol: Box::default(), number: None }])
    }
}

impl News {
    /// What identifies the object among those of its kind.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        match self {
            Self::Is(object) => object.key(),
            Self::Kept(key) | Self::Gone(key) => key.clone(),
        }
    }
}

impl Object {
    /// Its namespace (empty for Namespaces) and name.
    #[must_use]
    pub fn names(&self) -> (&str, &str) {
        match self {
            Self::Namespace(name) => ("", name),
            Self::Service(service) => (&service.namespace, &service.name),
            Self::Slice(slice) => (&slice.namespace, &slice.name),
            Self::Pod(pod) => (&pod.namespace, &pod.name),
        }
    }

    /// What identifies it among those of its kind.
    #[must_use]
    pub fn key(&self) -> ObjectKey {
        let (namespace, name) = self.names();
        ObjectKey { namespace: namespace.into(), name: name.into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_shared_takes_no_more_for_what_few_have() {
        // With the two counts of its Arc and glibc's word it fills 112 octets, as it did without
        // `external`.
        assert_eq!((size_of::<Service>() + 16 + 8).next_multiple_of(16), 112);
        assert_eq!(size_of_val(&None::<Box<Vec<Reached>>>), 8);
    }
}
