//! Names of the cluster without an API server: from the snapshot of the process before.

use std::path::Path;
use std::time::{Duration, Instant};

use hickory_proto::op::Message;
use hickory_proto::rr::rdata::opt::{EdnsCode, EdnsOption};
use serde_json::json;

use super::api::{body, page_with};
use super::stop::load;
use super::support::{PATIENCE, Server, free_port, query, text};
use super::support_api::Api;
use super::support_upstream::Upstream;

/// The extended errors of RFC 8914: an answer that may be old, and one that cannot be given yet.
const STALE: u16 = 3;
const NOT_READY: u16 = 14;

async fn api() -> Api {
    let api = Api::start().await;
    let mut state = api.lock();
    state.put(json!({"kind": "Namespace", "metadata": {"name": "shop"}}));
    state.put(service("web", "10.96.0.7"));
    state.put(service("db", "None"));
    state.put(json!({"kind": "EndpointSlice", "metadata": {"namespace": "shop", "name": "db-1",
        "labels": {"kubernetes.io/service-name": "db"}}, "addressType": "IPv4",
        "endpoints": [{"addresses": ["10.1.0.1"], "hostname": "db-0"}], "ports": [{"name": "pg", "port": 5432}]}));
    state.put(json!({"kind": "Service", "metadata": {"namespace": "shop", "name": "docs"},
        "spec": {"type": "ExternalName", "externalName": "docs.example"}}));
    state.put(json!({"kind": "Pod", "metadata": {"namespace": "shop", "name": "db-0"},
        "status": {"phase": "Running", "podIP": "10.1.0.1", "podIPs": [{"ip": "10.1.0.1"}]}}));
    drop(state);
    api
}

fn service(name: &str, address: &str) -> serde_json::Value {
    json!({"kind": "Service", "metadata": {"namespace": "shop", "name": name},
        "spec": {"clusterIP": address, "clusterIPs": [address], "ports": [{"name": "http", "port": 80}]}})
}

struct Ports {
    ready: u16,
    metrics: u16,
}

fn serve(api: &Api, snapshot: &Path, upstream: &Upstream, more: &str) -> (Server, Ports) {
    let (endpoint, snapshot, to) = (api.address, snapshot.display(), upstream.address);
    let ports = Ports { ready: free_port(), metrics: free_port() };
    let corefile = format!(
        ".:PORT {{\n bind 127.0.0.1\n ready 127.0.0.1:{}\n prometheus 127.0.0.1:{}\n {more}\n kubernetes cluster.local \
         in-addr.arpa {{\n endpoint http://{endpoint}\n pods verified\n snapshot {snapshot}\n startup_timeout 0s\n \
         fallthrough in-addr.arpa\n }}\n forward . {to}\n}}\n",
        ports.ready, ports.metrics
    );
    (Server::start(&corefile, &[]), ports)
}

fn errors(reply: &Message) -> Vec<u16> {
    let all = reply.edns.iter().flat_map(|edns| edns.options().as_ref());
    let codes = all.filter_map(|(code, option)| match (code, option) {
        (EdnsCode::Unknown(15), EdnsOption::Unknown(15, octets)) => Some(u16::from_be_bytes([octets[0], octets[1]])),
        _ => None,
    });
    codes.collect()
}

/// Returns the first two lines of a reply, and its extended errors.
fn asked(server: &Server, name: &str, kind: &str) -> (Vec<String>, Vec<u16>) {
    let reply = server.ask(name, kind);
    (text(&reply).lines().take(2).map(str::to_owned).collect(), errors(&reply))
}

fn wait_for(path: &Path) {
    let end = Instant::now() + PATIENCE;
    while !path.exists() {
        assert!(Instant::now() < end, "{} is not written", path.display());
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_start_without_an_api_server_answers_what_was_known() {
    let (api, upstream, folder) = (api().await, Upstream::with_a("192.0.2.1"), tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("snapshot");
    let (server, _) = serve(&api, &path, &upstream, "");
    wait_for(&path);
    // Killed, not stopped.
    drop(server);
    api.down();
    let (server, ports) = serve(&api, &path, &upstream, "");
    let ask = |name: &str, kind: &str| asked(&server, name, kind);
    for (name, kind, record) in [
        ("web.shop.svc.cluster.local.", "A", "5 A 10.96.0.7"),
        ("db-0.db.shop.svc.cluster.local.", "A", "5 A 10.1.0.1"),
        ("_pg._tcp.db.shop.svc.cluster.local.", "SRV", "5 SRV 0 100 5432 db-0.db.shop.svc.cluster.local."),
        ("10-1-0-1.shop.pod.cluster.local.", "A", "5 A 10.1.0.1"),
        ("7.0.96.10.in-addr.arpa.", "PTR", "5 PTR web.shop.svc.cluster.local."),
        ("docs.shop.svc.cluster.local.", "A", "5 CNAME docs.example."),
    ] {
        assert_eq!(ask(name, kind), (vec!["NOERROR aa".to_owned(), format!("{name} {record}")], vec![STALE]), "{name}");
    }
    let (lines, codes) = ask("web.shop.svc.cluster.local.", "AAAA");
    assert_eq!((lines[0].as_str(), codes), ("NOERROR aa", vec![STALE]));
    let before = upstream.count();
    for (name, kind, rcode, code) in [
        ("new.shop.svc.cluster.local.", "A", "SERVFAIL aa", Some(NOT_READY)),
        ("9.0.96.10.in-addr.arpa.", "PTR", "SERVFAIL aa", Some(NOT_READY)),
        ("www.example.org.shop.svc.cluster.local.", "A", "NXDOMAIN aa", None),
        ("www.example.org.cluster.local.", "A", "NXDOMAIN aa", None),
    ] {
        let (lines, codes) = ask(name, kind);
        assert_eq!((lines[0].as_str(), codes), (rcode, code.into_iter().collect()), "{name}");
    }
    assert_eq!(upstream.count(), before, "nothing of the cluster is asked elsewhere");
    ask("8.8.8.8.in-addr.arpa.", "PTR");
    assert!(upstream.count() > before);
    let page = page_with(ports.ready, "connection refused");
    assert!(page.starts_with("OK\nkubernetes: answers come from a snapshot that is "), "{page}");
    assert!(body(ports.metrics, "/metrics").contains("signpost_kubernetes_snapshot_age_seconds "));
    server.wait_for("answers come from the snapshot ");

    // The API server comes back with other Services, and nothing is missing in between.
    let load = load(server.address(), &query("db.shop.svc.cluster.local.", "A"), 1_000.0);
    api.lock().take("Service", "shop", "web");
    api.lock().put(service("new", "10.96.0.9"));
    api.up().await;
    server.ask_until("new.shop.svc.cluster.local.", "A", "NOERROR aa\nnew.shop.svc.cluster.local. 5 A 10.96.0.9");
    let end = Instant::now() + PATIENCE;
    while page_with(ports.ready, "OK") != "OK" {
        assert!(Instant::now() < end, "the snapshot stays");
    }
    load.finish("the lists");
    assert_eq!(ask("web.shop.svc.cluster.local.", "A").0[0], "NXDOMAIN aa");
    assert_eq!(ask("db-0.db.shop.svc.cluster.local.", "A").1, Vec::<u16>::new());
    while body(ports.metrics, "/metrics").contains("signpost_kubernetes_snapshot_age_seconds ") {
        assert!(Instant::now() < end, "the metric stays");
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_last_state_is_kept_at_the_signal_to_stop() {
    let (api, upstream, folder) = (api().await, Upstream::with_a("192.0.2.1"), tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("snapshot");
    let (server, _) = serve(&api, &path, &upstream, "health 127.0.0.1:0 {\n lameduck 1m\n }");
    wait_for(&path);
    let first = std::fs::read(&path).expect("a snapshot");
    // The next one would be written a minute later.
    api.lock().put(service("late", "10.96.0.8"));
    server.ask_until("late.shop.svc.cluster.local.", "A", "NOERROR aa\nlate.shop.svc.cluster.local. 5 A 10.96.0.8");
    server.signal("TERM");
    let end = Instant::now() + PATIENCE;
    while std::fs::read(&path).expect("one or the other") == first {
        assert!(Instant::now() < end, "it is not written:\n{}", server.output());
        std::thread::sleep(Duration::from_millis(20));
    }
    drop(server);
    api.down();
    let (server, _) = serve(&api, &path, &upstream, "");
    assert_eq!(errors(&server.ask("late.shop.svc.cluster.local.", "A")), [STALE]);
    // What it knows is as old after a reload, so that one goes through.
    let corefile = std::fs::read_to_string(server.folder.path().join("Corefile")).expect("a Corefile");
    server.rewrite(&corefile.replace(" forward", " errors\n forward"));
    server.signal("USR1");
    server.wait_for("Reloading complete");
    assert_eq!(errors(&server.ask("late.shop.svc.cluster.local.", "A")), [STALE]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn blocks_with_equal_options_share_a_file_and_a_watch() {
    let (api, folder) = (api().await, tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("snapshot");
    let (endpoint, second) = (api.address, free_port());
    let block = |port: &str| {
        let snapshot = path.display();
        format!(
            ".:{port} {{\n bind 127.0.0.1\n kubernetes cluster.local {{\n endpoint http://{endpoint}\n snapshot {snapshot}\n }}\n}}\n"
        )
    };
    let server = Server::start(&(block("PORT") + &block(&second.to_string())), &[]);
    server.ask_until("web.shop.svc.cluster.local.", "A", "NOERROR aa\nweb.shop.svc.cluster.local. 5 A 10.96.0.7");
    wait_for(&path);
    assert_eq!(api.asked("/api/v1/services?watch"), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_turns_it_on_and_off() {
    let (api, folder) = (api().await, tempfile::tempdir().expect("a folder"));
    let path = folder.path().join("snapshot");
    let corefile = |ttl: u32, option: &str| {
        let endpoint = api.address;
        format!(
            ".:PORT {{\n bind 127.0.0.1\n kubernetes cluster.local {{\n endpoint http://{endpoint}\n ttl {ttl}\n {option}\n }}\n}}\n"
        )
    };
    let server = Server::start(&corefile(1, ""), &[]);
    let shown = |ttl: u32| format!("NOERROR aa\nweb.shop.svc.cluster.local. {ttl} A 10.96.0.7");
    server.ask_until("web.shop.svc.cluster.local.", "A", &shown(1));
    server.rewrite(&corefile(2, &format!("snapshot {}", path.display())));
    server.signal("USR1");
    server.ask_until("web.shop.svc.cluster.local.", "A", &shown(2));
    wait_for(&path);
    server.rewrite(&corefile(3, ""));
    server.signal("USR1");
    server.ask_until("web.shop.svc.cluster.local.", "A", &shown(3));
    assert_eq!(errors(&server.ask("web.shop.svc.cluster.local.", "A")), Vec::<u16>::new());
}
