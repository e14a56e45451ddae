//! The page after some queries.

use std::sync::Arc;

use crate::host::Host;
use crate::plugins;
use crate::testing::Server;
use crate::testing::kit::built::built;

const COREFILE: &str =
    "cluster.local a.test:53 {\nprometheus :9153\nerrors\nwhoami\n}\n.:53 {\nprometheus :9153\nerrors\n}\n";

/// Returns the page's lines about `name`, without the labels `server` and `view`.
fn lines(page: &str, name: &str) -> Vec<String> {
    let line = |line: &str| {
        line.replace(",server=\"dns://:53\"", "")
            .replace(",view=\"\"", "")
            .replace("server=\"dns://:53\",view=\"\",", "")
    };
    let mut lines: Vec<_> =
        page.lines().filter(|line| line.starts_with(&format!("coredns_{name}{{"))).map(line).collect();
    lines.sort_by_key(|line| ["zone", "name", "type", "rcode"].map(|name| label(line, name).to_owned()));
    lines
}

fn page(server: &Server) -> String {
    let (status, kind, page) = server.configuration.endpoints[&(":9153".to_owned(), "/metrics".to_owned())].page();
    assert_eq!((status, kind), (200, "text/plain; version=0.0.4; charset=utf-8"));
    page
}

/// Returns the labels of a line in a fixed order, whatever the order on the page.
fn label<'a>(line: &'a str, name: &str) -> &'a str {
    let at = line.find(&format!("{name}=\"")).map(|at| at + name.len() + 2);
    at.and_then(|at| line[at..].split('"').next()).unwrap_or("none")
}

#[test]
fn queries_and_replies_are_counted_by_the_zone_that_routed_them() {
    let server = Server::new(COREFILE);
    for name in ["x.cluster.local.", "A.TEST.", "x.a.test.", "elsewhere."] {
        server.ask(name, "A");
    }
    server.ask("x.a.test.", "HINFO");
    let page = page(&server);
    let by_zone: Vec<_> = lines(&page, "dns_requests_total")
        .iter()
        .map(|l| format!("{} {} {}", label(l, "zone"), label(l, "type"), l.rsplit(' ').next().unwrap_or_default()))
        .collect();
    assert_eq!(by_zone, [". A 1", "a.test. A 2", "a.test. other 1", "cluster.local. A 1"]);
    let replies: Vec<_> = lines(&page, "dns_responses_total")
        .iter()
        .map(|l| format!("{} {} {:?}", label(l, "zone"), label(l, "rcode"), label(l, "plugin")))
        .collect();
    assert_eq!(replies, [". SERVFAIL \"\"", "a.test. NOERROR \"whoami\"", "cluster.local. NOERROR \"whoami\""]);
    // As in CoreDNS: 12 + 8 + 4 octets, an address of 8 + 10 + 4, an SRV record of 5 + 8 + 10 + 7.
    let sizes = lines(&page, "dns_response_size_bytes_sum");
    assert!(sizes.iter().any(|l| label(l, "zone") == "." && l.ends_with(" 0")), "{sizes:?}");
    assert!(
        sizes.iter().any(|l| label(l, "zone") == "a.test." && l.ends_with(&format!(" {}", 76 + 2 * 82))),
        "{sizes:?}"
    );
    assert!(page.contains("coredns_panics_total 0\n"), "{page}");
    assert!(page.contains("coredns_dns_request_duration_seconds_bucket{"), "{page}");
}

#[test]
fn build_info_says_both_versions() {
    let page = page(&Server::new(COREFILE));
    let info = page.lines().find(|line| line.starts_with("coredns_build_info{")).expect("a line");
    let ours = format!("signpost=\"{}\"", env!("CARGO_PKG_VERSION"));
    for label in ["{goversion=\"rust", ",revision=\"", ",version=\"1.15.0\"", &ours] {
        assert!(info.contains(label), "{label}: {info}");
    }
}

#[test]
fn what_no_block_takes_is_dropped() {
    let server = Server::new("a.test {\nprometheus :9153\nwhoami\n}\n");
    server.ask("elsewhere.", "AAAA");
    let page = page(&server);
    let replies = lines(&page, "dns_responses_total");
    assert_eq!(replies.len(), 1, "{replies:?}");
    assert_eq!((label(&replies[0], "zone"), label(&replies[0], "rcode")), ("dropped", "REFUSED"));
}

#[test]
fn plugins_with_a_seat_are_enabled() {
    let server = Server::new("b.test a.test {\nprometheus :9153\nready\nlog\nwhoami\n}\n");
    let page = page(&server);
    let names: Vec<_> =
        lines(&page, "plugin_enabled").iter().map(|l| format!("{} {}", label(l, "zone"), label(l, "name"))).collect();
    assert_eq!(names, ["b.test. log", "b.test. prometheus", "b.test. whoami"]);
}

#[test]
fn counts_continue_after_a_reload_and_end_with_the_zone() {
    let server = Server::new(COREFILE);
    server.ask("x.cluster.local.", "A");
    let again = |host: &Arc<Host>, text: &str| built(text, plugins::ALL, host).expect("a configuration");
    let count = |host: &Host| lines(&host.metrics.text(), "dns_requests_total").len();
    let second = again(&server.host, COREFILE);
    let Server { host, configuration } = server;
    drop(configuration);
    assert_eq!(count(&host), 1, "the new configuration goes on counting");
    let third = again(&host, "b.test {\nprometheus :9153\nwhoami\n}\n");
    drop(second);
    assert_eq!(count(&host), 0, "no configuration serves the zone any more");
    drop(third);
}

#[test]
fn names_that_coredns_dropped_can_be_switched_off() {
    let page = |options: &str| {
        let corefile = format!(".:53 {{\nprometheus :9153{options}\nforward . 127.0.0.1:1\n}}\n");
        page(&Server::new(&corefile))
    };
    let (all, current) = (page(""), page(" {\nlegacy_names off\n}"));
    // Those with an RCODE among their labels appear with the first reply.
    assert_eq!(super::LEGACY.iter().filter(|name| all.contains(**name)).count(), 2, "{all}");
    assert!(!super::LEGACY.iter().any(|name| current.contains(name)), "{current}");
    assert!(current.contains("coredns_forward_max_concurrent_rejects_total"));
}
