//! The flags of node-cache: addresses, interface, rules and the Corefile's template.

use std::net::IpAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::Refusal;

/// Flags that are true or false.
pub(super) const SWITCHES: &[&str] =
    &["setupinterface", "setupiptables", "setupebtables", "skipteardown", "reloadwithsignal"];

/// Flags with a value.
pub(super) const VALUES: &[&str] = &[
    "localip",
    "interfacename",
    "syncinterval",
    "initialdelay",
    "metrics-listen-address",
    "prometheus-listen-address",
    "basecorefile",
    "corefile",
    "kubednscm",
    "upstreamsvc",
    "health-port",
];

/// The settings of a node cache.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NodeFlags {
    /// The addresses to answer on; at least one. They may be of both families.
    pub addresses: Vec<IpAddr>,
    /// Whether to add the addresses to an interface.
    pub setup_interface: bool,
    /// The name of that interface.
    pub interface: String,
    /// Whether to add rules that keep connection tracking away from the addresses.
    pub setup_rules: bool,
    /// Whether ebtables rules are asked for; Signpost has none.
    pub setup_ebtables: bool,
    /// Whether interface and rules stay when the process ends.
    pub skip_teardown: bool,
    /// Whether changed files are loaded without the *reload* plugin.
    pub reload_unasked: bool,
    /// Interval between checks of interface and rules.
    pub sync_interval: Duration,
    /// Where the metrics of the node cache are served, as `HOST:PORT`.
    pub metrics: String,
    /// The value of `__PROMETHEUS__ENDPOINT__` in the template, as `[HOST]:PORT`.
    pub prometheus: String,
    /// The template of the Corefile.
    pub base: PathBuf,
    /// The Corefile that is used without a template and without `-conf`.
    pub corefile: String,
    /// The folder of the ConfigMap kube-dns; `None` means the usual one, if it exists.
    pub kube_dns: Option<PathBuf>,
    /// The Service whose ClusterIP is the upstream of cluster names.
    pub upstream_service: String,
    /// The port of the *health* plugin.
    pub health_port: u16,
}

impl Default for NodeFlags {
    fn default() -> Self {
        Self {
            addresses: Vec::new(),
            setup_interface: true,
            interface: "nodelocaldns".into(),
            setup_rules: true,
            setup_ebtables: false,
            skip_teardown: false,
            reload_unasked: false,
            sync_interval: Duration::from_secs(60),
            metrics: "0.0.0.0:9353".into(),
            prometheus: ":9253".into(),
            base: "/etc/coredns/Corefile.base".into(),
            corefile: "/etc/Corefile".into(),
            kube_dns: None,
            upstream_service: "kube-dns".into(),
            health_port: 8080,
        }
    }
}

impl NodeFlags {
    /// Sets one of the [`SWITCHES`].
    pub(super) fn switch(&mut self, name: &str, on: bool) {
        match name {
            "setupinterface" => self.setup_interface = on,
            "setupiptables" => self.setup_rules = on,
            "setupebtables" => self.setup_ebtables = on,
            "skipteardown" => self.skip_teardown = on,
            _ => self.reload_unasked = on,
        }
    }

    /// Sets one of the [`VALUES`].
    pub(super) fn set(&mut self, name: &str, value: String) -> Result<(), Refusal> {
        match name {
            "localip" => self.addresses = addresses(&value)?,
            "interfacename" if (1..16).contains(&value.len()) => self.interface = value,
            "interfacename" => return Err(refusal(name, &value, "a name of 1 to 15 characters, nodelocaldns")),
            "syncinterval" => self.sync_interval = interval(name, &value)?,
            "initialdelay" => drop(interval(name, &value)?),
            "metrics-listen-address" => self.metrics = value,
            "prometheus-listen-address" if is_listen_address(&value) => self.prometheus = value,
            "prometheus-listen-address" => {
                return Err(refusal(name, &value, ":9253, 127.0.0.1:9253 or [fd00::10]:9253"));
            }
            "basecorefile" => self.base = value.into(),
            "corefile" => self.corefile = value,
            "kubednscm" => self.kube_dns = (!value.is_empty()).then(|| value.into()),
            "upstreamsvc" => self.upstream_service = value,
            _ => self.health_port = value.parse().map_err(|_| refusal(name, &value, "a port number, 8080"))?,
        }
        Ok(())
    }

    /// Checks what depends on several flags.
    pub(super) fn check(&self, port: &str) -> Result<(), Refusal> {
        if self.addresses.is_empty() {
            return Err((
                1,
                "flags of node-cache need -localip: the addresses to answer on, 169.254.20.10,10.96.0.10".into(),
            ));
        }
        port.parse::<u16>().map(drop).map_err(|_| refusal("dns.port", port, "a port number, 53"))
    }
}

fn refusal(name: &str, value: &str, right: &str) -> Refusal {
    (1, format!("invalid value \"{value}\" for -{name}\nhelp: {right} would be right"))
}

/// Returns whether a text is `[HOST]:PORT` and would be one word in a Corefile.
fn is_listen_address(value: &str) -> bool {
    let is_host = |host: &str| host.bytes().all(|octet| octet.is_ascii_alphanumeric() || b".-_:[]%".contains(&octet));
    value.rsplit_once(':').is_some_and(|(host, port)| is_host(host) && port.parse::<u16>().is_ok())
}

fn addresses(value: &str) -> Result<Vec<IpAddr>, Refusal> {
    let mut all = Vec::new();
    for word in value.split(',') {
        let address = word.trim().parse();
        let address: IpAddr = address
            .map_err(|_| refusal("localip", word, "addresses with a comma between, 169.254.20.10,10.96.0.10"))?;
        if !all.contains(&address) {
            all.push(address);
        }
    }
    Ok(all)
}

/// Reads an interval: `60s`, `1m` or `60`; also `60ns`, which node-cache needs for 60 s because it
/// counts nanoseconds as seconds.
fn interval(name: &str, value: &str) -> Result<Duration, Refusal> {
    let digits = value.trim_end_matches(|c: char| c.is_ascii_lowercase());
    let scale = match &value[digits.len()..] {
        "" | "s" | "ns" => 1,
        "m" => 60,
        "h" => 3600,
        _ => 0,
    };
    let seconds =
        digits.parse::<u32>().ok().and_then(|number| number.checked_mul(scale)).filter(|&seconds| seconds > 0);
    seconds
        .map(|seconds| Duration::from_secs(seconds.into()))
        .ok_or_else(|| refusal(name, value, "a whole number of seconds or minutes, 60s or 5m"))
}

#[cfg(test)]
mod tests {
    use super::super::{Args, Command, Refusal, parse};
    use super::*;

    fn read(line: &str) -> Result<Args, Refusal> {
        parse(line.split_whitespace().map(str::to_owned)).map(|command| match command {
            Command::Serve(args) => args,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn the_usual_command_lines_are_taken() {
        let args =
            read("-localip 169.254.20.10,10.96.0.10 -conf /etc/Corefile -upstreamsvc kube-dns-upstream").unwrap();
        let wanted = NodeFlags {
            addresses: vec!["169.254.20.10".parse().unwrap(), "10.96.0.10".parse().unwrap()],
            upstream_service: "kube-dns-upstream".into(),
            ..NodeFlags::default()
        };
        assert_eq!((args.conf.as_deref(), args.node), (Some("/etc/Corefile"), Some(wanted)));
        let node = read(
            "-localip fd00::10 -setupinterface=false -setupiptables=false -skipteardown=true -syncinterval=30ns \
             -interfacename x -health-port 3989 -metrics-listen-address 127.0.0.1:9353 \
             -prometheus-listen-address 169.254.20.10:9253 -basecorefile /b -corefile /c \
             -kubednscm /k -reloadwithsignal -setupebtables -initialdelay 10ns -pidfile /tmp/p",
        );
        let wanted = NodeFlags {
            addresses: vec!["fd00::10".parse().unwrap()],
            setup_interface: false,
            interface: "x".into(),
            setup_rules: false,
            setup_ebtables: true,
            skip_teardown: true,
            reload_unasked: true,
            sync_interval: Duration::from_secs(30),
            metrics: "127.0.0.1:9353".into(),
            prometheus: "169.254.20.10:9253".into(),
            base: "/b".into(),
            corefile: "/c".into(),
            kube_dns: Some("/k".into()),
            upstream_service: "kube-dns".into(),
            health_port: 3989,
        };
        assert_eq!(node.unwrap().node, Some(wanted));
        assert_eq!(read("-conf a").unwrap().node, None);
    }

    #[test]
    fn wrong_values_say_what_would_be_right() {
        for (line, text) in [
            ("-localip 10.0.0", "169.254.20.10,10.96.0.10 would be right"),
            ("-localip 10.0.0.1,", "invalid value \"\" for -localip"),
            ("-upstreamsvc kube-dns-upstream", "need -localip"),
            ("-localip 10.0.0.1 -health-port web", "a port number"),
            ("-localip 10.0.0.1 -dns.port domain", "-dns.port"),
            ("-localip 10.0.0.1 -syncinterval soon", "60s or 5m"),
            ("-localip 10.0.0.1 -syncinterval 0", "60s or 5m"),
            ("-localip 10.0.0.1 -prometheus-listen-address 9253", ":9253, 127.0.0.1:9253"),
            ("-localip 10.0.0.1 -prometheus-listen-address :metrics", "for -prometheus-listen-address"),
            ("-localip 10.0.0.1 -prometheus-listen-address a{b:1", "for -prometheus-listen-address"),
            ("-localip 10.0.0.1 -interfacename nodelocaldns-second", "1 to 15 characters"),
        ] {
            let (status, said) = read(line).unwrap_err();
            assert!(status == 1 && said.contains(text), "{line}: {said}");
        }
    }
}
