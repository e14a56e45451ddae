//! The values of the cache's metrics, and when the series exist.

use crate::testing::Server;
use crate::testing::kit::built::built;
use crate::testing::live::Live;
use crate::testing::upstream::{Act, Answer, Upstream};

/// Dashboards show hits per request, so answers from memory do not count as requests to the cache.
#[test]
fn what_is_answered_from_memory_is_not_counted() {
    let upstream = Upstream::with_a("192.0.2.1");
    let zones = "hosts {\n192.0.2.7 a.memory\nfallthrough\n}\ntemplate IN A b.memory {\nanswer \"{{ .Name }} 60 IN A 192.0.2.8\"\n}";
    let live = Live::new(&format!(". {{\ncache 30\n{zones}\nforward . {}\n}}", upstream.address));
    for name in ["a.memory.", "b.memory.", "www.example.org."] {
        (0..10).for_each(|_| _ = live.ask(name, "A"));
    }
    let count =
        |name: &str| live.metric(&format!("coredns_cache_{name}{{server=\"dns://:53\",zones=\".\",view=\"\"}}"));
    let hits = live.metric("coredns_cache_hits_total{server=\"dns://:53\",type=\"success\",zones=\".\",view=\"\"}");
    assert_eq!((count("requests_total"), count("misses_total"), hits), (10.0, 1.0, 9.0));
    // A question that went upstream is a miss, whether its reply may be kept or not.
    upstream.script(|seen| vec![Act::send(Answer::to(&seen.packet).rcode(5))]);
    (0..3).for_each(|_| _ = live.ask("refused.example.org.", "A"));
    assert_eq!((count("requests_total"), count("misses_total")), (13.0, 4.0));
}

/// Kubeadm's Corefile in short: 100 questions for the cluster and 10 for one external name give 9
/// hits of 10.
#[test]
fn names_of_the_cluster_do_not_spoil_the_ratio() {
    let upstream = Upstream::with_a("192.0.2.1");
    let folder = tempfile::tempdir().expect("a folder");
    let service = "apiVersion: v1\nkind: Service\nmetadata: {name: web, namespace: default}\n\
                   spec: {clusterIP: 10.96.0.9, clusterIPs: [10.96.0.9], ports: [{name: http, port: 80, protocol: TCP}]}\n";
    let namespace = "apiVersion: v1\nkind: Namespace\nmetadata: {name: default}\n";
    std::fs::write(folder.path().join("a.yaml"), format!("{namespace}---\n{service}")).expect("written");
    let kubernetes = format!("kubernetes cluster.local {{\nmanifests {}\n}}", folder.path().display());
    let text = format!(". {{\n{kubernetes}\nforward . {}\ncache 30\n}}", upstream.address);
    let live = Live::prepared(&text, true).expect("a server");
    let is_there = || live.ask("web.default.svc.cluster.local.", "A").text() == "NOERROR 10.96.0.9/5";
    live.wait_until("the data is there", is_there);
    for n in 0..100 {
        let name = if n % 2 == 0 { "web.default.svc.cluster.local." } else { "none.default.svc.cluster.local." };
        live.ask(name, "A");
    }
    (0..10).for_each(|_| _ = live.ask("www.example.org.", "A"));
    let count = |name: &str| live.metric(&format!("coredns_cache_{name}"));
    let hits = count("hits_total{server=\"dns://:53\",type=\"success\",zones=\".\",view=\"\"}");
    let [requests, misses] = ["requests", "misses"]
        .map(|name| count(&format!("{name}_total{{server=\"dns://:53\",zones=\".\",view=\"\"}}")));
    assert_eq!((requests, hits, misses), (10.0, 9.0, 1.0));
}

/// All series exist before the first query, once each, and a reload does not remove them.
#[test]
fn the_metrics_are_there_from_the_start_and_after_a_reload() {
    let series = |live: &Live| -> Vec<String> {
        let page = live.server.host.metrics.text();
        page.lines().filter(|line| line.starts_with("coredns_cache_")).map(str::to_owned).collect()
    };
    let upstream = Upstream::with_a("192.0.2.1");
    let text = format!(". a.test:54 {{\nbind 127.0.0.1 ::1\ncache\nforward . {}\n}}", upstream.address);
    let first = Live::new(&text);
    // Four listeners; each has 2 entries, 2 hits, 2 evictions, and 5 series without a type.
    first.wait_until("all are there", || series(&first).len() == 4 * 11);
    let host = first.server.host.clone();
    first.ask("www.example.org.", "A");
    drop(first);
    for (text, entries) in [(text.clone(), 0.0), (text.replace("cache", "cache 30"), 0.0)] {
        let configuration = built(&text, crate::plugins::ALL, &host).expect("a configuration");
        let live = Live::with(Server { host: host.clone(), configuration });
        live.wait_until("all are there", || series(&live).len() == 4 * 11);
        let shown =
            "coredns_cache_entries{server=\"dns://127.0.0.1:53\",type=\"success\",zones=\".,a.test.\",view=\"\"}";
        assert!(
            series(&live).iter().any(|line| line.starts_with("coredns_cache_entries{server=\"dns://[::1]:54\"")),
            "{:?}",
            series(&live)
        );
        assert_eq!(live.metric(shown), entries);
    }
}
