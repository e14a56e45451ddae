//! Reload: nothing is lost, and a failed reload changes nothing.

use std::time::{Duration, Instant};

use serde_json::json;

use super::stop::load;
use super::support::{PATIENCE, Server, free_port, query};
use super::support_api::Api;
use super::support_upstream::Upstream;

const COREFILE: &str = ".:PORT {
    bind 127.0.0.1
    errors
    health HEALTH
    kubernetes cluster.local {
        manifests objects.yaml
        ttl TTL
    }
    reload 2s 0s
}
";

const OBJECTS: &str = "
apiVersion: v1
kind: Service
metadata: {name: web, namespace: default}
spec: {clusterIP: 10.96.0.7, ports: [{name: http, port: 80}]}
";

fn corefile(ttl: &str, health: u16) -> String {
    COREFILE.replace("TTL", ttl).replace("HEALTH", &format!("127.0.0.1:{health}"))
}

fn answer(ttl: u32) -> String {
    format!("NOERROR aa\nweb.default.svc.cluster.local. {ttl} A 10.96.0.7")
}

const NAME: &str = "web.default.svc.cluster.local.";

#[test]
fn reloads_under_load_lose_nothing() {
    let health = free_port();
    let server = Server::start(&corefile("5", health), &[("objects.yaml", OBJECTS)]);
    server.ask_until(NAME, "A", &answer(5));
    let load = load(server.address(), &query(NAME, "A"), 5_000.0);
    let mut ttl = 5;
    while load.asked() < 10_000 {
        ttl += 1;
        server.rewrite(&corefile(&ttl.to_string(), health));
        server.signal("USR1");
        server.ask_until(NAME, "A", &answer(ttl));
    }
    assert!(ttl > 8, "some reloads happened meanwhile");
    load.finish("reloads");
}

#[test]
fn a_changed_corefile_is_found() {
    let health = free_port();
    let server = Server::start(&corefile("5", health), &[("objects.yaml", OBJECTS)]);
    server.rewrite(&corefile("9", health));
    server.ask_until(NAME, "A", &answer(9));
    server.wait_for("Running configuration SHA512 = ");
}

#[test]
fn a_reload_that_fails_changes_nothing() {
    let health = free_port();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("binds");
    let taken = taken.local_addr().expect("bound").port();
    let other = free_port();
    let broken = [
        (corefile("many", health), "many"),
        (corefile("5", health) + "nonsense.example:PORT {\n    nonsense\n}\n", "nonsense"),
        (corefile("5", taken), "address already in use"),
        (format!("{}.:{other} {{\n    bind 203.0.113.9\n    whoami\n}}\n", corefile("5", health)), "203.0.113.9"),
        ("import nowhere\n".into(), "nowhere"),
    ];
    let _keep = std::net::TcpListener::bind(("127.0.0.1", taken));
    let server = Server::start(&corefile("5", health), &[("objects.yaml", OBJECTS)]);
    server.ask_until(NAME, "A", &answer(5));
    for (corefile, said) in broken {
        server.rewrite(&corefile);
        server.signal("USR1");
        server.wait_for(said);
        server.ask_until(NAME, "A", &answer(5));
        assert_eq!(page(health, "/health"), "OK", "after {said}");
    }
}

#[test]
fn a_reload_says_what_is_new_about_the_corefile_once() {
    let corefile = |zone: &str| format!(".:PORT {{\n    bind 127.0.0.1\n    cache {zone}\n    whoami\n}}\n");
    let server = Server::start(&corefile("one..two"), &[]);
    let warning = |zone: &str| format!("zone is not a valid domain name: {zone}; it is ignored");
    server.wait_for(&warning("one..two"));
    server.signal("USR1");
    server.wait_for("Reloading complete");
    server.rewrite(&corefile("one..two three..four"));
    server.signal("USR1");
    server.wait_for(&warning("three..four"));
    server.rewrite(&corefile("five..six {\nnonsense\n}"));
    server.signal("USR1");
    server.wait_for("Restart failed: plugin/cache: Corefile:4 - ");
    let output = server.output();
    assert_eq!(output.matches(&warning("three..four")).count(), 1, "{output}");
    // Once at the start; the second time its line says that another zone is invalid as well.
    assert!(output.matches(&warning("one..two")).count() <= 2, "{output}");
}

/// Returns the body of a page of the server.
fn page(port: u16, path: &str) -> String {
    use std::io::{Read, Write};
    let mut stream = std::net::TcpStream::connect(("127.0.0.1", port)).expect("connects");
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("sends");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("a page");
    text.split("\r\n\r\n").nth(1).unwrap_or_default().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_storm_of_reloads_keeps_watch_and_cache_and_no_file_stays_open() {
    let (api, upstream) = (Api::start().await, Upstream::with_a("192.0.2.1"));
    api.lock().put(json!({"kind": "Namespace", "metadata": {"name": "default"}}));
    api.lock().put(json!({"kind": "Service", "metadata": {"namespace": "default", "name": "web"},
        "spec": {"clusterIP": "10.96.0.7", "ports": [{"name": "http", "port": 80}]}}));
    // Only the second block changes: a cache outlives a reload of its own block alone.
    let corefile = |ttl: usize| {
        format!(
            ".:PORT {{\n bind 127.0.0.1\n kubernetes cluster.local {{\n endpoint http://{}\n }}\n cache\n forward . {}\n}}\n\
             other.test:PORT {{\n bind 127.0.0.1\n template IN TXT {{\n answer \"{{{{ .Name }}}} {ttl} IN TXT x\"\n }}\n}}\n",
            api.address, upstream.address
        )
    };
    let server = Server::start(&corefile(0), &[]);
    server.ask_until(NAME, "A", &answer(5));
    server.ask("www.example.org.", "A");
    let files = || std::fs::read_dir(format!("/proc/{}/fd", server.process())).expect("a process").count();
    let load = load(server.address(), &query("www.example.org.", "A"), 1_000.0);
    let mut before = 0;
    for round in 1..=60 {
        server.rewrite(&corefile(round));
        server.signal("USR1");
        server.ask_until("a.other.test.", "TXT", &format!("NOERROR aa\na.other.test. {round} TXT x"));
        if round == 10 {
            before = files();
        }
    }
    load.finish("reloads");
    // What a reload has opened is closed a moment later.
    let end = Instant::now() + PATIENCE;
    while files() > before {
        assert!(Instant::now() < end, "{} open files, {before} after ten reloads", files());
        std::thread::sleep(Duration::from_millis(20));
    }
    assert_eq!(api.asked("sendInitialEvents"), 3, "nothing is listed again");
    assert_eq!(upstream.count(), 1, "what was cached stays");
}
