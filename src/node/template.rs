//! Makes the Corefile from a template with `__PILLAR__` and `__PROMETHEUS__` words.
//!
//! node-cache writes the result to a file that CoreDNS reads. Here it stays in memory: the Corefile
//! is made from its sources at each check, so `reload` sees a change of any of them, and the file
//! system may be read-only. Lines keep their numbers, so that an error names the line of the
//! template.

use std::fmt::Write;
use std::net::IpAddr;

use super::kube_dns::KubeDns;
use crate::error::{Complaint, Position};

const CLUSTER_DNS: &str = "__PILLAR__CLUSTER__DNS__";
const UPSTREAM_SERVERS: &str = "__PILLAR__UPSTREAM__SERVERS__";
const LOCAL_DNS: &str = "__PILLAR__LOCAL__DNS__";
const DNS_SERVER: &str = "__PILLAR__DNS__SERVER__";
const PROMETHEUS: &str = "__PROMETHEUS__ENDPOINT__";

/// The beginnings of all template words.
const WORDS: [&str; 2] = ["__PILLAR__", "__PROMETHEUS__"];

/// The upstream of other names if the ConfigMap has none.
const RESOLV_CONF: &str = "/etc/resolv.conf";

/// The values of the words.
pub(super) struct Values<'a> {
    /// The addresses that the server listens on.
    pub(super) addresses: &'a [IpAddr],
    /// The port of the blocks for stub domains.
    pub(super) port: &'a str,
    /// The ClusterIP of the upstream Service, if the environment has it.
    pub(super) cluster_dns: Option<IpAddr>,
    /// The name of that Service and of its environment variable, for an error.
    pub(super) service: &'a str,
    /// Where *prometheus* listens.
    pub(super) prometheus: &'a str,
    /// Stub domains and upstreams.
    pub(super) kube_dns: &'a KubeDns,
}

/// Puts the values into a template; `file` is its name in errors.
///
/// # Errors
/// The first word without a value.
pub(super) fn render(file: &str, base: &str, values: &Values<'_>) -> Result<String, Box<Complaint>> {
    let addresses: Vec<String> = values.addresses.iter().map(IpAddr::to_string).collect();
    let upstreams = match values.kube_dns.upstreams.as_slice() {
        [] => RESOLV_CONF.to_owned(),
        servers => servers.join(" "),
    };
    let base = if values.kube_dns.upstreams.is_empty() { base.to_owned() } else { over_udp(base) };
    let mut text = String::with_capacity(base.len());
    for (at, line) in base.split_inclusive('\n').enumerate() {
        // A comment may contain unknown words.
        if line.trim_start().starts_with('#') {
            text.push_str(line);
            continue;
        }
        let mut line = line.replace(UPSTREAM_SERVERS, &upstreams).replace(LOCAL_DNS, &addresses.join(" "));
        line = line.replace(DNS_SERVER, "").replace(PROMETHEUS, values.prometheus);
        if let Some(address) = values.cluster_dns {
            line = line.replace(CLUSTER_DNS, &address.to_string());
        }
        if let Some(left) = WORDS.iter().filter_map(|word| line.find(word)).min() {
            return Err(Box::new(stands_for_nothing(file, at, &line, left, values.service)));
        }
        text.push_str(&line);
    }
    for (domain, servers) in &values.kube_dns.stub_domains {
        let (port, addresses, servers) = (values.port, addresses.join(" "), servers.join(" "));
        let block = format!(
            "\n{domain}:{port} {{\n    errors\n    cache 30\n    bind {addresses}\n    forward . {servers}\n}}\n"
        );
        let _ = text.write_str(&block);
    }
    Ok(text)
}

/// Makes the administrator's upstreams use UDP, although the template may say `force_tcp` for those
/// of the node. Removed lines become empty ones.
fn over_udp(base: &str) -> String {
    let lines: Vec<&str> = base.lines().collect();
    let is_forward = |line: &str| line.split_whitespace().eq(["forward", ".", UPSTREAM_SERVERS, "{"]);
    let (mut text, mut at) = (String::with_capacity(base.len()), 0);
    while at < lines.len() {
        let is_tcp = matches!(&lines[at..], [first, second, third, ..]
            if is_forward(first) && second.trim() == "force_tcp" && third.trim() == "}");
        if is_tcp {
            text.push_str(lines[at].trim_end().trim_end_matches('{').trim_end());
            text.push_str("\n\n\n");
        } else {
            text.push_str(lines[at]);
            text.push('\n');
        }
        at += if is_tcp { 3 } else { 1 };
    }
    text
}

fn stands_for_nothing(file: &str, at: usize, line: &str, left: usize, service: &str) -> Complaint {
    let word: String =
        line[left..].chars().take_while(|&c| c == '_' || c.is_ascii_uppercase() || c.is_ascii_digit()).collect();
    let hint = if word == CLUSTER_DNS {
        format!(
            "it is the ClusterIP of the Service {service} (-upstreamsvc), from the variable {}; the Service has to be there, in the namespace of the pod, before the pod starts, and enableServiceLinks must not be false",
            variable(service)
        )
    } else if word.starts_with(WORDS[1]) {
        format!("{PROMETHEUS} would be right: what -prometheus-listen-address says")
    } else {
        "it has to be replaced before the manifest is applied: __PILLAR__DNS__DOMAIN__ by the domain of the cluster, cluster.local".into()
    };
    Complaint::new(format!("{word} stands for nothing"))
        .at(Position {
            file: file.into(),
            line: at as u32 + 1,
            text: line.trim_end_matches('\n').to_owned(),
            column: line[..left].chars().count(),
            width: word.chars().count(),
        })
        .hint(hint)
}

/// Returns the variable that Kubernetes sets to the ClusterIP of a Service.
pub(super) fn variable(service: &str) -> String {
    format!("{}_SERVICE_HOST", service.replace('-', "_").to_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    const BASE: &str = "# __PILLAR__DNS__DOMAIN__ is yours
cluster.local:53 {
    bind __PILLAR__LOCAL__DNS__ __PILLAR__DNS__SERVER__
    forward . __PILLAR__CLUSTER__DNS__ {
            force_tcp
    }
}
.:53 {
    forward . __PILLAR__UPSTREAM__SERVERS__ {
            force_tcp
    }
    cache 30
}
";

    fn rendered(base: &str, cluster_dns: Option<&str>, kube_dns: &KubeDns) -> Result<String, String> {
        let addresses = ["169.254.20.10".parse().unwrap(), "10.96.0.10".parse().unwrap()];
        let cluster_dns = cluster_dns.map(|address| address.parse().unwrap());
        let (service, prometheus) = ("kube-dns-upstream", "127.0.0.1:9253");
        let values = Values { addresses: &addresses, port: "53", cluster_dns, service, prometheus, kube_dns };
        render("Corefile.base", base, &values).map_err(|complaint| complaint.to_string())
    }

    #[test]
    fn words_become_what_they_stand_for() {
        let text = rendered(BASE, Some("10.96.3.4"), &KubeDns::default()).unwrap();
        assert!(text.contains("    bind 169.254.20.10 10.96.0.10 \n"), "{text}");
        assert!(text.contains("    forward . 10.96.3.4 {\n            force_tcp\n"), "{text}");
        assert!(text.contains("    forward . /etc/resolv.conf {\n            force_tcp\n"), "{text}");
        let text = rendered("    prometheus __PROMETHEUS__ENDPOINT__\n", None, &KubeDns::default());
        assert_eq!(text.as_deref(), Ok("    prometheus 127.0.0.1:9253\n"));
        assert_eq!(rendered("nothing\nto do", None, &KubeDns::default()).as_deref(), Ok("nothing\nto do"));
    }

    #[test]
    fn upstreams_and_stub_domains_come_from_the_config_map_and_lines_keep_their_numbers() {
        let kube_dns = KubeDns {
            upstreams: vec!["8.8.8.8".into(), "8.8.4.4".into()],
            stub_domains: [
                ("b.test".to_owned(), vec!["10.0.0.2".to_owned()]),
                ("a.test".to_owned(), vec!["10.0.0.1".to_owned(), "10.0.0.3:54".to_owned()]),
            ]
            .into(),
        };
        let text = rendered(BASE, Some("10.96.3.4"), &kube_dns).unwrap();
        assert!(text.contains("    forward . 8.8.8.8 8.8.4.4\n\n\n    cache 30\n}\n"), "{text}");
        assert!(text.contains("forward . 10.96.3.4 {\n            force_tcp"), "{text}");
        let stub = "a.test:53 {\n    errors\n    cache 30\n    bind 169.254.20.10 10.96.0.10\n    forward . 10.0.0.1 10.0.0.3:54\n}\n";
        assert!(text.find(stub) < text.find("b.test:53 {") && text.contains(stub), "{text}");
        assert_eq!(text.lines().nth(11), Some("    cache 30"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_rendered_line_by_line_or_refused(parts in proptest::collection::vec(0_usize..11, 0..40)) {
            let words =
                ["a", " ", "\n", "#", "{", "}", "forward .", "force_tcp", UPSTREAM_SERVERS, CLUSTER_DNS, PROMETHEUS];
            let base: String = parts.into_iter().map(|part| words[part]).collect();
            let kube_dns = KubeDns { upstreams: vec!["9.9.9.9".into()], ..KubeDns::default() };
            let text = rendered(&base, Some("10.96.3.4"), &kube_dns).expect("every word stands for something");
            proptest::prop_assert_eq!(text.lines().count(), base.lines().count());
            proptest::prop_assert!(text.lines().all(|line| line.trim_start().starts_with('#') || !WORDS.iter().any(|word| line.contains(word))));
        }
    }

    #[test]
    fn a_word_that_stands_for_nothing_is_named() {
        let said = rendered(BASE, None, &KubeDns::default()).unwrap_err();
        assert!(said.starts_with("Corefile.base:4 - __PILLAR__CLUSTER__DNS__ stands for nothing"), "{said}");
        assert!(said.contains("KUBE_DNS_UPSTREAM_SERVICE_HOST") && said.contains("^^^^"), "{said}");
        let said = rendered("__PILLAR__DNS__DOMAIN__:53 {\n}\n", None, &KubeDns::default()).unwrap_err();
        assert!(said.contains("Corefile.base:1") && said.contains("cluster.local"), "{said}");
        let said = rendered("    prometheus __PROMETHEUS__PORT__\n", None, &KubeDns::default()).unwrap_err();
        assert!(
            said.contains("__PROMETHEUS__PORT__ stands for nothing") && said.contains("-prometheus-listen"),
            "{said}"
        );
    }
}
