//! The data in etcd: services of SkyDNS, one for each key, with the labels of a name as a path from
//! the root (`/skydns/local/example/www` for `www.example.local.`).

use std::collections::HashMap;
use std::net::IpAddr;

use serde::Deserialize;

use super::client::Pair;
use crate::wire::name::Name;

/// TTL in seconds of a service without `ttl` and without a lease.
const TTL: u32 = 300;

const PRIORITY: u16 = 10;

/// A service as its value says it, and the key that it was found at.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(default)]
pub(super) struct Service {
    pub(super) host: String,
    pub(super) port: i64,
    pub(super) priority: u16,
    pub(super) weight: u32,
    pub(super) text: String,
    pub(super) mail: bool,
    pub(super) ttl: u32,
    #[serde(rename = "targetstrip")]
    pub(super) target_strip: u32,
    pub(super) group: String,
    #[serde(skip)]
    pub(super) key: String,
    #[serde(skip)]
    pub(super) lease: i64,
}

/// What a service's `host` is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(clippy::large_enum_variant, reason = "it lives for one comparison")]
pub(super) enum Kind {
    Address(IpAddr),
    /// A name, as which it is an alias.
    Alias(Name),
    /// It has a text, and no address.
    Text,
    /// The host is not a domain name.
    Invalid,
}

impl Service {
    /// Reads a pair.
    ///
    /// # Errors
    /// The value is not JSON of a service: key and reason.
    pub(super) fn read(pair: &Pair) -> Result<Self, String> {
        let read: Self = serde_json::from_slice(&pair.value).map_err(|error| format!("{}: {error}", pair.key))?;
        let priority = if read.priority == 0 { PRIORITY } else { read.priority };
        Ok(Self { key: pair.key.clone(), lease: pair.lease, priority, ..read })
    }

    pub(super) fn kind(&self) -> Kind {
        match self.host.parse() {
            Ok(IpAddr::V6(v6)) => Kind::Address(IpAddr::V6(v6).to_canonical()),
            Ok(v4) => Kind::Address(v4),
            Err(_) if !self.text.is_empty() => Kind::Text,
            Err(_) => Name::from_text(&self.host).map_or(Kind::Invalid, Kind::Alias),
        }
    }

    /// Returns the name that leads to an address: that of the key, or the host, without the first
    /// labels if there are as many as the service says.
    pub(super) fn target(&self) -> Option<Name> {
        let name = match self.kind() {
            Kind::Address(_) => name_of(&self.key)?,
            _ => Name::from_text(&self.host).ok()?,
        };
        let strip = self.target_strip as usize;
        if strip >= name.label_count() {
            return Some(name);
        }
        Some((0..strip).fold(name, |name, _| name.parent()))
    }

    /// Sets the TTL: the smaller of the service's own and that of its lease.
    pub(super) fn set_ttl(&mut self, lease: Option<u32>) {
        self.ttl = match (lease, self.ttl) {
            (None, 0) => TTL,
            (None, own) => own,
            (Some(lease), 0) => lease,
            (Some(lease), own) => own.min(lease),
        };
    }
}

//----------- Keys -----------------------------------------------------------

/// Returns the key of a name below a prefix. The second value is the key up to the first label that
/// stands for any, `*` or `any`, if there is one.
///
/// Returns `None` for a name with a label that cannot be a part of a path.
pub(super) fn key_of(name: &Name, prefix: &str) -> Option<(String, Option<String>)> {
    let labels: Vec<&[u8]> = name.labels().collect();
    let (mut key, mut any) = (format!("/{}", prefix.trim_matches('/')), None);
    for label in labels.into_iter().rev() {
        let is_plain = |octet: &u8| octet.is_ascii_graphic() && !matches!(octet, b'/' | b'.' | b'\\');
        let label = std::str::from_utf8(label).ok().filter(|label| label.bytes().all(|octet| is_plain(&octet)))?;
        if is_any(label) && any.is_none() {
            any = Some(key.clone());
        }
        key = key + "/" + label;
    }
    Some((key, any))
}

fn is_any(label: &str) -> bool {
    matches!(label, "*" | "any")
}

/// Returns whether a key is the one of a name with labels that stand for any, or below it.
pub(super) fn matches(key: &str, wanted: &str) -> bool {
    let mut parts = key.split('/');
    wanted.split('/').all(|wanted| parts.next().is_some_and(|part| is_any(wanted) || part == wanted))
}

/// Returns the name of a key; its first part is the prefix.
fn name_of(key: &str) -> Option<Name> {
    let labels: Vec<&str> = key.trim_matches('/').split('/').skip(1).collect();
    Name::from_text(&labels.into_iter().rev().collect::<Vec<_>>().join(".")).ok()
}

//----------- Groups ---------------------------------------------------------

/// Leaves out services of other groups than the one that the shortest key names. Those without a
/// group stay; so do all if the shortest keys disagree.
pub(super) fn grouped(services: Vec<Service>) -> Vec<Service> {
    let depth = |service: &Service| service.key.matches('/').count();
    let Some(first) = services.first() else { return services };
    let (mut group, mut least) = (first.group.clone(), depth(first));
    for service in &services {
        match (depth(service) < least, service.group.is_empty()) {
            (false, _) => {}
            (true, true) => break,
            (true, false) => (least, group) = (depth(service), service.group.clone()),
        }
    }
    let disagree = |service: &Service| !service.group.is_empty() && depth(service) == least && service.group != group;
    if group.is_empty() || services.iter().any(disagree) {
        return services;
    }
    services.into_iter().filter(|service| service.group.is_empty() || service.group == group).collect()
}

/// Returns the weight of each service among those of its priority, in percent; at least 1.
pub(super) fn weights(services: &[Service]) -> Vec<u16> {
    let own = |service: &Service| if service.weight == 0 { 100 } else { service.weight };
    let mut sums: HashMap<u16, u64> = HashMap::new();
    for service in services {
        *sums.entry(service.priority).or_default() += u64::from(own(service));
    }
    let share = |service: &Service| {
        let share = 100.0 / sums[&service.priority] as f64 * f64::from(own(service));
        (share.floor() as u16).max(1)
    };
    services.iter().map(share).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_text(text).expect("a name")
    }

    fn service(value: &str, key: &str) -> Service {
        let pair = Pair { key: key.to_owned(), value: value.into(), lease: 0 };
        Service::read(&pair).expect("a service")
    }

    #[test]
    fn names_are_paths() {
        let key = |text: &str| key_of(&name(text), "skydns");
        assert_eq!(key("www.example.local."), Some(("/skydns/local/example/www".to_owned(), None)));
        assert_eq!(key("a.*.local."), Some(("/skydns/local/*/a".to_owned(), Some("/skydns/local".to_owned()))));
        assert_eq!(key("any."), Some(("/skydns/any".to_owned(), Some("/skydns".to_owned()))));
        assert_eq!((key("a\\.b.local."), key("a/b.local.")), (None, None));
        assert!(matches("/skydns/local/x/a/1", "/skydns/local/*/a"));
        assert!(!matches("/skydns/local/x/b", "/skydns/local/*/a") && !matches("/skydns/local/x", "/skydns/local/*/a"));
    }

    #[test]
    fn what_a_value_says() {
        let address = service("{\"host\":\"10.0.0.1\",\"port\":8080,\"targetstrip\":1}", "/skydns/local/x/a");
        assert_eq!((address.kind(), address.priority), (Kind::Address([10, 0, 0, 1].into()), 10));
        assert_eq!(address.target(), Some(name("x.local.")));
        assert_eq!(service("{\"targetstrip\":9,\"host\":\"::1\"}", "/skydns/local/x").target(), Some(name("x.local.")));
        assert_eq!(service("{\"host\":\"a.example\"}", "").kind(), Kind::Alias(name("a.example.")));
        assert_eq!(service("{\"host\":\"a.example\",\"text\":\"b\"}", "").kind(), Kind::Text);
        assert_eq!(service("{\"host\":\"a..b\"}", "").kind(), Kind::Invalid);
        let wrong = Pair { key: "/k".to_owned(), value: b"x".to_vec(), lease: 0 };
        assert!(Service::read(&wrong).expect_err("no JSON").starts_with("/k: "));
        let ttl = |lease, own| {
            let mut service = Service { ttl: own, ..Service::default() };
            service.set_ttl(lease);
            service.ttl
        };
        assert_eq!([ttl(None, 0), ttl(None, 7), ttl(Some(9), 0), ttl(Some(9), 7), ttl(Some(5), 7)], [300, 7, 9, 7, 5]);
    }

    #[test]
    fn groups_and_weights() {
        let hosts = |all: &[(&str, &str, &str)]| {
            let one = |&(host, group, key): &(&str, &str, &str)| {
                service(&format!("{{\"host\":\"{host}\",\"group\":\"{group}\"}}"), key)
            };
            grouped(all.iter().map(one).collect()).into_iter().map(|service| service.host).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(hosts(&[("1", "g1", "/s/a/b"), ("2", "g2", "/s/a")]), "2");
        assert_eq!(hosts(&[("1", "g1", "/s/a"), ("2", "g2", "/s/b")]), "1 2");
        assert_eq!(hosts(&[("1", "g1", "/s/a"), ("2", "g2", "/s/b/c"), ("3", "", "/s/b/d")]), "1 3");
        assert_eq!(hosts(&[("1", "", "/s/a"), ("2", "g2", "/s/b/c")]), "1 2");
        let weighted = |all: &[(u16, u32)]| {
            let one = |&(priority, weight)| Service { priority, weight, ..Service::default() };
            weights(&all.iter().map(one).collect::<Vec<_>>())
        };
        assert_eq!(weighted(&[(10, 0), (10, 0), (20, 5)]), [50, 50, 100]);
        assert_eq!(weighted(&[(10, 1), (10, 1000)]), [1, 99]);
    }
}
