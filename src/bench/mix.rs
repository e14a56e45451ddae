//! Questions made from a cluster's own objects, in the proportions in which its pods ask them.

use std::fmt::Write;
use std::net::IpAddr;
use std::path::Path;

use fastrand::Rng;
use serde::Deserialize;

use super::args::Mix;

//----------- Objects --------------------------------------------------------

/// A Service, or a list of objects; other objects have no fields that matter.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
struct Object {
    kind: String,
    metadata: Metadata,
    spec: Spec,
    items: Vec<Object>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Metadata {
    name: String,
    namespace: Option<String>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Spec {
    #[serde(rename = "clusterIP")]
    cluster_ip: String,
    #[serde(rename = "clusterIPs")]
    cluster_ips: Vec<String>,
    #[serde(rename = "type")]
    kind: String,
    ports: Vec<Port>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Port {
    name: String,
    protocol: Option<String>,
}

/// What the questions are about.
#[derive(Debug, Default)]
struct Cluster {
    /// Services with addresses: NAME.NAMESPACE, and the addresses.
    services: Vec<(String, Vec<IpAddr>)>,
    headless: Vec<String>,
    /// Named ports: _PORT._PROTOCOL.NAME.NAMESPACE.
    ports: Vec<String>,
    namespaces: Vec<String>,
}

impl Cluster {
    fn read(&mut self, path: &Path) -> Result<(), String> {
        let at = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| at(&error))?;
        let objects: Vec<Object> = if text.trim_start().starts_with('{') {
            vec![serde_json::from_str(&text).map_err(|error| at(&error))?]
        } else {
            serde_saphyr::from_multiple(&text).map_err(|error| at(&error))?
        };
        objects.iter().for_each(|object| self.add(object));
        Ok(())
    }

    fn add(&mut self, object: &Object) {
        object.items.iter().for_each(|item| self.add(item));
        if object.kind != "Service" || object.spec.kind == "ExternalName" {
            return;
        }
        let namespace = object.metadata.namespace.as_deref().unwrap_or("default");
        let name = format!("{}.{namespace}", object.metadata.name);
        if !self.namespaces.iter().any(|known| known == namespace) {
            self.namespaces.push(namespace.to_owned());
        }
        for port in object.spec.ports.iter().filter(|port| !port.name.is_empty()) {
            let protocol = port.protocol.as_deref().unwrap_or("TCP").to_ascii_lowercase();
            self.ports.push(format!("_{}._{protocol}.{name}", port.name));
        }
        if object.spec.cluster_ip == "None" {
            return self.headless.push(name);
        }
        let all = object.spec.cluster_ips.iter().chain([&object.spec.cluster_ip]);
        let mut addresses: Vec<IpAddr> = all.filter_map(|text| text.parse().ok()).collect();
        addresses.sort_unstable();
        addresses.dedup();
        if !addresses.is_empty() {
            self.services.push((name, addresses));
        }
    }
}

//----------- Questions ------------------------------------------------------

/// A kind of question, as `--parts` names it.
type Make = fn(&Cluster, &Mix, &mut Rng) -> Option<String>;

/// All kinds.
const KINDS: [(&str, Make); 7] = [
    ("service", |cluster, mix, rng| service(cluster, mix, rng, "A", IpAddr::is_ipv4)),
    ("aaaa", |cluster, mix, rng| service(cluster, mix, rng, "AAAA", IpAddr::is_ipv6)),
    ("headless", |cluster, mix, rng| Some(format!("{}.svc.{} A NOERROR", rng.choice(&cluster.headless)?, mix.zone))),
    ("srv", |cluster, mix, rng| Some(format!("{}.svc.{} SRV NOERROR", rng.choice(&cluster.ports)?, mix.zone))),
    ("ptr", |cluster, _, rng| {
        let (_, addresses) = rng.choice(&cluster.services)?;
        let address = rng.choice(addresses)?;
        Some(format!("{} PTR NOERROR 1", reverse(*address)))
    }),
    ("nxdomain", |cluster, mix, rng| {
        let outside = rng.choice(&mix.external)?;
        let search = match rng.u8(..3) {
            0 => format!("{}.svc.", rng.choice(&cluster.namespaces)?),
            1 => "svc.".to_owned(),
            _ => String::new(),
        };
        Some(format!("{outside}.{search}{} {} NXDOMAIN 0", mix.zone, rng.choice(["A", "AAAA"])?))
    }),
    ("external", |_, mix, rng| Some(format!("{} {}", rng.choice(&mix.external)?, rng.choice(["A", "AAAA"])?))),
];

fn service(cluster: &Cluster, mix: &Mix, rng: &mut Rng, qtype: &str, is_wanted: fn(&IpAddr) -> bool) -> Option<String> {
    let (name, addresses) = rng.choice(&cluster.services)?;
    let answers = addresses.iter().filter(|address| is_wanted(address)).count();
    Some(format!("{name}.svc.{} {qtype} NOERROR {answers}", mix.zone))
}

/// Returns the reverse name of an address (RFC 1035 section 3.5, RFC 3596 section 2.5).
fn reverse(address: IpAddr) -> String {
    match address {
        IpAddr::V4(v4) => {
            let [a, b, c, d] = v4.octets();
            format!("{d}.{c}.{b}.{a}.in-addr.arpa")
        }
        IpAddr::V6(v6) => {
            let mut name = String::new();
            for octet in v6.octets().iter().rev() {
                _ = write!(name, "{:x}.{:x}.", octet & 15, octet >> 4);
            }
            name + "ip6.arpa"
        }
    }
}

/// Returns the questions, one a line.
///
/// # Errors
/// A file that cannot be read, an invalid part, or a kind without a suitable object in the cluster.
pub fn questions(mix: &Mix) -> Result<String, String> {
    let mut cluster = Cluster::default();
    mix.objects.iter().try_for_each(|path| cluster.read(path))?;
    let mut rng = Rng::with_seed(mix.seed);
    let mut bag = Vec::new();
    for part in mix.parts.split(',') {
        let wrong = || format!("{part:?} is not KIND=PARTS; kinds are {}", KINDS.map(|(kind, _)| kind).join(", "));
        let (kind, parts) = part.split_once('=').ok_or_else(wrong)?;
        let (_, make) = KINDS.iter().find(|(name, _)| *name == kind).ok_or_else(wrong)?;
        let parts: usize = parts.parse().map_err(|_| wrong())?;
        bag.extend(std::iter::repeat_n((kind, make), parts));
    }
    let mut out = String::new();
    for _ in 0..mix.count {
        let (kind, make) = rng.choice(&bag).ok_or("no parts at all")?;
        let line = make(&cluster, mix, &mut rng).ok_or_else(|| format!("nothing to ask for {kind:?} about"))?;
        _ = writeln!(out, "{line}");
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use clap::Parser;

    use super::*;
    use crate::bench::args::{Args, Command};

    const OBJECTS: &str = r#"{"kind": "List", "items": [
        {"kind": "Service", "metadata": {"name": "web", "namespace": "shop"},
         "spec": {"clusterIP": "10.96.0.7", "clusterIPs": ["10.96.0.7", "fd00::7"], "ports": [{"name": "http", "port": 80}]}},
        {"kind": "Service", "metadata": {"name": "db", "namespace": "shop"}, "spec": {"clusterIP": "None"}},
        {"kind": "Pod", "metadata": {"name": "web-1", "namespace": "shop"}, "spec": {"containers": []}}]}"#;

    fn made(parts: &str) -> Result<Vec<String>, String> {
        let file = tempfile::NamedTempFile::new().expect("a file");
        std::fs::write(file.path(), OBJECTS).expect("written");
        let path = file.path().display().to_string();
        let args = Args::parse_from(["signpost-bench", "mix", &path, "--count", "40", "--parts", parts]);
        let Command::Mix(mix) = args.command else { panic!("mix was asked for") };
        let mut lines: Vec<String> = questions(&mix)?.lines().map(str::to_owned).collect();
        assert_eq!(lines.len(), 40);
        lines.sort();
        lines.dedup();
        Ok(lines)
    }

    #[test]
    fn each_kind_knows_its_right_answer() {
        let web = "web.shop.svc.cluster.local";
        assert_eq!(made("service=1"), Ok(vec![format!("{web} A NOERROR 1")]));
        assert_eq!(made("aaaa=1"), Ok(vec![format!("{web} AAAA NOERROR 1")]));
        assert_eq!(made("headless=1"), Ok(vec!["db.shop.svc.cluster.local A NOERROR".to_owned()]));
        assert_eq!(made("srv=1"), Ok(vec![format!("_http._tcp.{web} SRV NOERROR")]));
        let pointers = made("ptr=1").expect("questions");
        assert_eq!(pointers[1], "7.0.96.10.in-addr.arpa PTR NOERROR 1");
        assert!(pointers[0].starts_with("7.0.0.0.") && pointers[0].ends_with(".d.f.ip6.arpa PTR NOERROR 1"));
        let names = made("nxdomain=1").expect("questions");
        assert!(names.contains(&"example.com.shop.svc.cluster.local A NXDOMAIN 0".to_owned()), "{names:?}");
    }

    #[test]
    fn an_unknown_part_is_named() {
        let error = made("service=1,srvs=2").expect_err("no such kind");
        assert!(error.starts_with("\"srvs=2\" is not KIND=PARTS; kinds are service, aaaa,"), "{error}");
    }
}
