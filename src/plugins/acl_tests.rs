//! Which clients `acl` admits.

use super::PLUGIN;
use crate::testing::{Server, packet};

/// Returns RCODE and extended error of the reply, if there is one. `whoami` answers what passes.
fn outcome(rules: &str, peer: &str, name: &str, qtype: &str) -> Option<(u16, Option<u16>)> {
    let server = Server::new(&format!(". {{\n{rules}\nwhoami\n}}\n"));
    let peer = format!("{peer}:5353").parse().expect("an address");
    let (_, reply) = server.outcome(&packet(name, qtype), peer)?;
    assert_eq!(reply.answer.counts, if reply.note.is_none() { [0, 0, 2] } else { [0; 3] });
    Some((reply.rcode(), reply.note.and_then(|note| note.error).map(|(code, _)| code)))
}

const PASSED: Option<(u16, Option<u16>)> = Some((0, None));
const BLOCKED: Option<(u16, Option<u16>)> = Some((5, Some(15)));
const FILTERED: Option<(u16, Option<u16>)> = Some((0, Some(17)));

#[test]
fn the_first_line_that_holds_decides() {
    assert_eq!(PLUGIN.name, "acl");
    for (rules, peer, name, qtype, wanted) in [
        ("acl {\nblock\n}", "10.0.0.1", "a.example.", "A", BLOCKED),
        ("acl {\nFilter Type A\n}", "10.0.0.1", "a.example.", "A", FILTERED),
        ("acl {\nfilter type A AAAA\n}", "10.0.0.1", "a.example.", "TXT", PASSED),
        ("acl {\ndrop net 10.0.0.0/8\n}", "10.255.0.1", "a.example.", "A", None),
        ("acl {\ndrop net 10.0.0.0/8\n}", "[::ffff:10.255.0.1]", "a.example.", "A", None),
        ("acl {\ndrop net 10.0.0.0/8\n}", "11.0.0.1", "a.example.", "A", PASSED),
        ("acl {\nblock net 10.0.0.7/30\n}", "10.0.0.4", "a.example.", "A", BLOCKED),
        ("acl {\nblock net 10.0.0.7\n}", "10.0.0.6", "a.example.", "A", PASSED),
        ("acl {\nblock net 2001:db8::/33\n}", "[2001:db8:7fff::1]", "a.example.", "A", BLOCKED),
        ("acl {\nblock net 2001:db8::/33\n}", "[2001:db8:8000::1]", "a.example.", "A", PASSED),
        ("acl {\nblock net 0.0.0.0/0\n}", "10.0.0.1", "a.example.", "A", BLOCKED),
        ("acl {\nblock net 0.0.0.0/0\n}", "[2001:db8::1]", "a.example.", "A", PASSED),
        ("acl {\nblock net *\n}", "[2001:db8::1]", "a.example.", "A", BLOCKED),
        ("acl {\nblock type * net 10.0.0.1 11.0.0.0/8\n}", "11.0.0.1", "a.example.", "A", BLOCKED),
        ("acl {\nallow net 10.0.0.0/8\nblock\n}", "10.0.0.1", "a.example.", "A", PASSED),
        ("acl {\nallow net 10.0.0.0/8\n}\nacl {\nblock\n}", "10.0.0.1", "a.example.", "A", PASSED),
        ("acl {\nallow net 10.0.0.0/8\n}\nacl {\nblock\n}", "11.0.0.1", "a.example.", "A", BLOCKED),
        ("acl example {\nblock\n}", "10.0.0.1", "a.test.", "A", PASSED),
        ("acl", "10.0.0.1", "a.example.", "A", PASSED),
    ] {
        assert_eq!(outcome(rules, peer, name, qtype), wanted, "{rules} {peer} {name} {qtype}");
    }
}

#[test]
fn each_outcome_is_counted() {
    let rules = "acl example {\nblock type A\nfilter type TXT\ndrop type MX\n}";
    let server = Server::new(&format!(". {{\n{rules}\nwhoami\n}}\n"));
    for qtype in ["A", "TXT", "MX", "AAAA"] {
        let _ = server.ask("a.example.", qtype);
    }
    let text = server.host.metrics.text();
    for outcome in ["blocked", "filtered", "dropped"] {
        let line = format!(r#"coredns_acl_{outcome}_requests_total{{server="dns://:53",view="",zone="example."}} 1"#);
        assert!(text.contains(&line), "{text}");
    }
    assert!(text.contains(r#"coredns_acl_allowed_requests_total{server="dns://:53",view=""} 1"#), "{text}");
}

/// CoreDNS counts them so: a query, and a reply of no plugin with NOERROR and a size of 0.
#[test]
fn what_is_dropped_is_counted_as_a_query() {
    let text = ". {\nprometheus\nlog\nacl example {\ndrop\n}\nwhoami\n}\n";
    let server = Server::new(text);
    assert!(server.ask("a.example.", "A").is_none() && server.ask("a.test.", "A").is_some());
    let text = server.host.metrics.text();
    for line in [
        r#"coredns_dns_requests_total{family="1",proto="udp",server="dns://:53",type="A",view="",zone="."} 2"#,
        r#"coredns_dns_responses_total{plugin="",rcode="NOERROR",server="dns://:53",view="",zone="."} 1"#,
        r#"coredns_dns_responses_total{plugin="whoami",rcode="NOERROR",server="dns://:53",view="",zone="."} 1"#,
        r#"coredns_dns_response_size_bytes_bucket{proto="udp",server="dns://:53",view="",zone=".",le="0"} 1"#,
        r#"coredns_dns_request_duration_seconds_count{server="dns://:53",view="",zone="."} 2"#,
    ] {
        assert!(text.contains(line), "{line} is missing in {text}");
    }
}
