//! The API server is down, refuses, or cannot be trusted: what `/ready` and the log say.

use std::io::{Read as _, Write as _};
use std::time::{Duration, Instant};

use serde_json::json;

use super::stop::load;
use super::support::{PATIENCE, Server, connect, free_port, query};
use super::support_api::{Api, Fault};
use super::support_tls::{Front, Pki};

/// Starts a server that reads its data from `endpoint`; returns it and the port of `/ready`.
fn serve(endpoint: &str, tls: &str) -> (Server, u16) {
    let ready = free_port();
    let corefile = format!(
        ".:PORT {{\n bind 127.0.0.1\n ready 127.0.0.1:{ready}\n kubernetes cluster.local {{\n endpoint {endpoint}\n {tls}\n }}\n}}\n"
    );
    (Server::start(&corefile, &[]), ready)
}

/// Returns the body of `/ready`.
fn page(port: u16) -> String {
    body(port, "/ready")
}

/// Returns the body of a page.
pub(crate) fn body(port: u16, path: &str) -> String {
    let mut stream = connect(([127, 0, 0, 1], port).into());
    write!(stream, "GET {path} HTTP/1.0\r\n\r\n").expect("sends");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("a page");
    text.split_once("\r\n\r\n").expect("a body").1.to_owned()
}

/// Waits until `/ready` contains this text; returns the page.
pub(crate) fn page_with(port: u16, wanted: &str) -> String {
    let end = Instant::now() + PATIENCE;
    loop {
        let page = page(port);
        if page.contains(wanted) {
            return page;
        }
        assert!(Instant::now() < end, "{wanted:?} is not in: {page}");
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn count(text: &str, part: &str) -> usize {
    text.matches(part).count()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_away_is_told_once_and_so_is_its_return() {
    let api = Api::start().await;
    api.down();
    let (server, ready) = serve(&format!("http://{}", api.address), "");
    let page = page_with(ready, "connection refused");
    let wanted = format!(
        "kubernetes\nkubernetes: http://{} cannot be reached: connection refused; is the API server up, and this its address?",
        api.address
    );
    assert_eq!(page, wanted, "the first line is CoreDNS's");
    server.wait_for("waiting for Kubernetes API");
    // Several more attempts of each of three watches, and requests for the page.
    for _ in 0..20 {
        self::page(ready);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    let printed = server.output();
    for line in ["Failed to watch", "waiting for Kubernetes API", "Plugins not ready: \"kubernetes\""] {
        assert_eq!(count(&printed, line), 1, "{line}:\n{printed}");
    }
    api.up().await;
    page_with(ready, "OK");
    server.wait_for("is reached again, after ");
    server.wait_for("Kubernetes API is synced after ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_refused_is_named_until_it_is_granted() {
    let api = Api::start().await;
    api.fault("endpointslices", 10_000, Fault::Status(403, &[]));
    let (server, ready) = serve(&format!("http://{}", api.address), "");
    let page = page_with(ready, "(403 Forbidden)");
    assert_eq!(
        page,
        "kubernetes\nkubernetes: cannot watch endpointslices.discovery.k8s.io (403 Forbidden); grant the verbs list and \
         watch on endpointslices in API group \"discovery.k8s.io\" to our service account"
    );
    api.lock().faults.clear();
    page_with(ready, "OK");
    server.wait_for("The watch of *v1.EndpointSlice works, after ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_missing_verb_is_told_apart() {
    let api = Api::start().await;
    // No streaming lists, so that pages are read; then no right to watch.
    api.fault("services?watch=true&allowWatchBookmarks=true", 1, Fault::Status(400, &[]));
    api.fault("services?watch=true", 10_000, Fault::Status(403, &[]));
    let (server, _) = serve(&format!("http://{}", api.address), "");
    server.wait_for(
        "Failed to watch *v1.Service: scripted 403; grant the verbs list and watch on services in API group \"\"",
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_that_cannot_be_trusted_is_told_with_the_reason() {
    let (api, pki, other) = (Api::start().await, Pki::new(), Pki::new());
    pki.issue("good", &["127.0.0.1"]);
    pki.issue("elsewhere", &["api.example.org"]);
    pki.issue_expired("old", &["127.0.0.1"]);
    other.issue("client", &["client"]);
    let tls = |ca: &Pki| format!("tls {} {} {}", other.text("client.pem"), other.text("client.key"), ca.text("ca.pem"));
    let says = |config, ca: &Pki, wanted: &[&str]| {
        let front = Front::start(api.address, config);
        let (_server, ready) = serve(&format!("https://{}", front.address), &tls(ca));
        let page = page_with(ready, "cannot be reached");
        wanted.iter().for_each(|wanted| assert!(page.contains(wanted), "{wanted:?} is not in: {page}"));
    };
    let ca = format!("its certificate is not from the CA {}", other.text("ca.pem"));
    tokio::task::block_in_place(|| {
        says(pki.server("good"), &other, &["invalid peer certificate: ", &ca]);
        says(pki.server("old"), &pki, &["certificate expired", "set the clock of this node"]);
        says(pki.server("elsewhere"), &pki, &["not valid for name", "api.example.org", "a name or address that"]);
        let refused = format!("it does not accept our certificate, {}", other.text("client.pem"));
        says(pki.strict_server("good"), &pki, &["fatal alert", &refused]);
    });
    let (_server, ready) = serve(&format!("https://{}", api.address), &tls(&pki));
    page_with(ready, "it does not speak TLS there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn credentials_that_are_not_known_are_one_reason() {
    let api = Api::start().await;
    api.lock().credentials = Some("Bearer right");
    let (_server, ready) = serve(&format!("http://{}", api.address), "");
    let page = page_with(ready, "(401 Unauthorized)");
    assert_eq!(page.lines().count(), 2, "{page}");
}

/// Counts do not depend on how fast the machine is: a slow one asks less often.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_server_that_is_too_busy_costs_no_answer_and_is_left_in_peace() {
    let api = Api::start().await;
    let service = |name: &str, address: &str| {
        json!({"kind": "Service", "metadata": {"namespace": "shop", "name": name},
            "spec": {"clusterIP": address, "ports": [{"name": "http", "port": 80}]}})
    };
    api.lock().put(json!({"kind": "Namespace", "metadata": {"name": "shop"}}));
    api.lock().put(service("web", "10.96.0.7"));
    let (server, ready) = serve(&format!("http://{}", api.address), "");
    let answer = |name: &str, address: &str| format!("NOERROR aa\n{name}.shop.svc.cluster.local. 5 A {address}");
    server.ask_until("web.shop.svc.cluster.local.", "A", &answer("web", "10.96.0.7"));
    page_with(ready, "OK");
    let load = load(server.address(), &query("web.shop.svc.cluster.local.", "A"), 1_000.0);
    api.fault("", usize::MAX, Fault::Status(429, &[("retry-after", "1")]));
    let (start, before) = (Instant::now(), api.asked(""));
    api.lock().end_watches();
    // Each of the three watches asks at once, and then every second or a little later.
    while api.asked("") < before + 12 {
        assert!(start.elapsed() < 6 * PATIENCE, "it has given up: {} requests", api.asked("") - before);
        assert!(page(ready).starts_with("OK"), "old data are better than none");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let (asked, seconds) = (api.asked("") - before, start.elapsed().as_secs() as usize);
    assert!(asked <= 3 * (seconds + 2), "{asked} requests in {seconds} s");
    // What was changed meanwhile is seen when the server is well again.
    api.lock().put(service("late", "10.96.0.8"));
    api.lock().faults.clear();
    server.ask_until("late.shop.svc.cluster.local.", "A", &answer("late", "10.96.0.8"));
    load.finish("many refusals");
}

/// The files are replaced, as a Secret is; the old ones are trusted by nobody any more.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_authority_and_a_new_certificate_are_used_without_a_restart() {
    let (api, old, new) = (Api::start().await, Pki::new(), Pki::new());
    new.issue("good", &["127.0.0.1"]);
    for pki in [&old, &new] {
        pki.issue("client", &["client"]);
    }
    let folder = tempfile::tempdir().expect("a folder");
    let replace = |pki: &Pki| {
        for file in ["client.pem", "client.key", "ca.pem"] {
            std::fs::copy(pki.path(file), folder.path().join(file)).expect("copied");
        }
    };
    replace(&old);
    let path = |file: &str| folder.path().join(file).display().to_string();
    let tls = format!("tls {} {} {}", path("client.pem"), path("client.key"), path("ca.pem"));
    // The front has a runtime of its own, which must not start or end inside of this one.
    tokio::task::block_in_place(|| {
        let front = Front::start(api.address, new.strict_server("good"));
        let (server, ready) = serve(&format!("https://{}", front.address), &tls);
        page_with(ready, "its certificate is not from the CA");
        replace(&new);
        // The files are read again after 5 s at the earliest.
        let end = Instant::now() + 6 * PATIENCE;
        while page(ready) != "OK" {
            assert!(Instant::now() < end, "{}\n{}", page(ready), server.output());
            std::thread::sleep(Duration::from_millis(50));
        }
    });
}
