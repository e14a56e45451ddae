//! Kubernetes objects as far as DNS needs them; everything else is dropped where it arrives.

use std::fmt::Write as _;
use std::net::IpAddr;
use std::sync::Arc;

use super::endpoints::Endpoints;
use crate::wire::name::MAX_LABEL;

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

/// A Service or a ServiceImport.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Service {
    /// The namespace.
    pub namespace: Box<str>,
    /// The name.
    pub name: Box<str>,
    /// What its name leads to.
    pub target: Target,
    /// Its ports. A service without any has one without a number: its name exists, SRV has no records.
    pub ports: Arc<[Port]>,
    /// Whether it has a selector: metrics tell the two apart.
    pub has_selector: bool,
    /// Where it is reached from outside of the cluster, each once, if anywhere. Kept only where somebody asks for it, and boxed:
    /// few services have one, and a slice would take a word more in all of them.
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
    /// When the change happened that made the controller write it (nanoseconds since 1970), from the annotation
    /// `endpoints.kubernetes.io/last-change-trigger-time`.
    pub triggered: Option<i64>,
}

/// One address of a ready endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    /// Where it is.
    pub address: Address,
    /// Its name below the service, if that is not made from the address.
    pub name: Option<Box<str>>,
    /// Its topology zone in lower case, kept with the option `zonal` only.
    pub zone: Option<Arc<str>>,
}

/// The address of an endpoint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Address {
    /// An IP address.
    Ip(IpAddr),
    /// A domain name: slices of `addressType: FQDN`.
    Name(Box<str>),
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

//----------- Names made from addresses ---------------------------------------

/// Room for a label that is made from an address.
#[derive(Default)]
pub struct LabelRoom {
    text: text::Text,
}

impl LabelRoom {
    /// The label that stands for `address`.
    pub fn dashed(&mut self, address: IpAddr) -> &str {
        self.text.clear();
        // The longest IPv6 text has 45 octets.
        let _ = write!(self.text, "{address}");
        self.text.replace_separators();
        self.text.as_str()
    }
}

/// The label for an endpoint address as it is spelled in the object, if that differs from our own spelling.
#[must_use]
pub fn odd_label(spelled: &str, address: IpAddr) -> Option<Box<str>> {
    let mut label: String = spelled.chars().map(|c| if matches!(c, '.' | ':') { '-' } else { c }).collect();
    if address.is_ipv6() && label.ends_with('-') {
        label.push('0');
    }
    (label != LabelRoom::default().dashed(address)).then(|| label.into_boxed_str())
}

/// Whether a pod's name can be a label: fewer than 64 octets (the usual limit) and no dots.
#[must_use]
pub fn is_label(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_LABEL && !name.contains('.')
}

mod text {
    //! A short text without an allocation.

    const ROOM: usize = 48;

    #[derive(Clone, Copy)]
    pub(super) struct Text {
        len: usize,
        octets: [u8; ROOM],
    }

    impl Default for Text {
        fn default() -> Self {
            Self { len: 0, octets: [0; ROOM] }
        }
    }

    impl Text {
        pub(super) fn clear(&mut self) {
            self.len = 0;
        }

        pub(super) fn as_str(&self) -> &str {
            std::str::from_utf8(&self.octets[..self.len]).unwrap_or_default()
        }

        pub(super) fn replace_separators(&mut self) {
            let mut v6 = false;
            for octet in &mut self.octets[..self.len] {
                v6 |= *octet == b':';
                if matches!(octet, b'.' | b':') {
                    *octet = b'-';
                }
            }
            if v6 && self.octets[self.len - 1] == b'-' {
                self.octets[self.len] = b'0';
                self.len += 1;
            }
        }
    }

    impl std::fmt::Write for Text {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            let room = self.octets.get_mut(self.len..self.len + text.len()).ok_or(std::fmt::Error)?;
            room.copy_from_slice(text.as_bytes());
            self.len += text.len();
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_shared_takes_no_more_for_what_few_have() {
        // With the two counts of its Arc and glibc's word it fills 112 octets, as it did without `external`.
        assert_eq!((size_of::<Service>() + 16 + 8).next_multiple_of(16), 112);
        assert_eq!(size_of_val(&None::<Box<Vec<Reached>>>), 8);
    }

    #[test]
    fn addresses_make_labels() {
        let mut room = LabelRoom::default();
        let mut label = |text: &str| room.dashed(text.parse().expect("an address")).to_owned();
        assert_eq!(label("10.244.1.5"), "10-244-1-5");
        assert_eq!(label("fd00:10:244::ab"), "fd00-10-244--ab");
        assert_eq!(label("fd00:10:244:9::"), "fd00-10-244-9--0");
        assert_eq!(label("::c0a8:1"), "--c0a8-1");
        let address = "fd00::1".parse().expect("an address");
        assert_eq!(odd_label("fd00::1", address), None);
        assert_eq!(odd_label("FD00:0::1", address).as_deref(), Some("FD00-0--1"));
    }
}
