//! The watches against a scripted API server: what an API server may do wrong, and what the index
//! shows then.
//!
//! Waiting times are short here; their real lengths and the back-off arithmetic are tested beside
//! the code.

#[path = "support/api.rs"]
#[allow(missing_docs, unreachable_pub)]
mod api;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use api::{Api, Fault};
use serde_json::{Value, json};
use signpost::host::Host;
use signpost::host::tasks::Tasks;
use signpost::plugins::kubernetes::known::index::{Index, service_key};
use signpost::plugins::kubernetes::reading::options::{ApiFrom, Origin, SourceOptions};
use signpost::plugins::kubernetes::reading::watch::timing::Timing;
use signpost::plugins::kubernetes::reading::{start, start_with};
use tokio::runtime::Handle;

//----------- Support --------------------------------------------------------

/// An index that is fed by an API server.
struct Room {
    api: Api,
    host: Arc<Host>,
    index: Arc<Index>,
    _tasks: Tasks,
}

fn quick() -> Timing {
    let millis = Duration::from_millis;
    let never = millis(3_600_000)..=millis(3_600_000);
    Timing {
        retry: millis(20)..=millis(60),
        backoff_max: millis(300),
        connect: millis(500),
        patience: millis(1000),
        bookmark: millis(400),
        sweep: never.clone(),
        recheck: never,
        sweep_patience: millis(400),
        hold: millis(200),
        hold_max: millis(2000),
        relist_every: millis(1000),
        missing: millis(300),
        renew: millis(100),
        ..Timing::default()
    }
}

/// Timing with frequent audits.
fn wary() -> Timing {
    let often = Duration::from_millis(200)..=Duration::from_millis(300);
    Timing { sweep: often.clone(), recheck: often, ..quick() }
}

impl Room {
    fn start(api: &Api, options: SourceOptions, timing: Timing) -> Self {
        let from = ApiFrom::Endpoint { url: api.address.to_string(), tls: None };
        let options = SourceOptions { origin: Origin::Api(from), ..options };
        let (host, index) = (Arc::new(Host::default()), Arc::new(Index::default()));
        let tasks = start_with(&options, timing, index.clone(), &host, &Handle::current()).expect("started");
        Self { api: api.clone(), host, index, _tasks: tasks }
    }

    async fn synced(&self) {
        until("synced", || self.index.is_synced()).await;
    }

    fn has(&self, name: &str) -> bool {
        let key = service_key("shop", name).expect("a key");
        self.index.services.with(&key, |entry| entry.service().is_some()) == Some(true)
    }

    fn owned(&self, address: &str) -> bool {
        let address: IpAddr = address.parse().expect("an address");
        self.index.owners.holders.with(&address, |_| ()).is_some()
    }

    /// Returns the value of a metric.
    fn metric(&self, name: &str) -> u64 {
        let page = self.host.metrics.text();
        let line = page.lines().find_map(|line| line.strip_prefix(name).map(str::trim));
        line.and_then(|value| value.parse().ok()).unwrap_or_default()
    }
}

async fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let end = Instant::now() + Duration::from_secs(8);
    while !holds() {
        assert!(Instant::now() < end, "not {what} in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn pass(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

fn service(name: &str, address: &str) -> Value {
    json!({"kind": "Service", "metadata": {"namespace": "shop", "name": name},
        "spec": {"clusterIP": address, "ports": [{"name": "http", "port": 80}]}})
}

/// Returns an API server with `count` services: `s0` at 10.0.0.0 and so on.
async fn with_services(count: usize) -> Api {
    let api = Api::start().await;
    let mut state = api.lock();
    state.put(json!({"kind": "Namespace", "metadata": {"name": "shop"}}));
    for n in 0..count {
        state.put(service(&format!("s{n}"), &address(n)));
    }
    drop(state);
    api
}

fn address(n: usize) -> String {
    format!("10.0.{}.{}", n / 256, n % 256)
}

//----------- Tests ----------------------------------------------------------

#[tokio::test]
async fn every_kind_is_listed_and_followed() {
    follow_every_kind(false).await;
}

#[tokio::test]
async fn every_kind_is_listed_and_followed_in_json() {
    follow_every_kind(true).await;
}

async fn follow_every_kind(json_only: bool) {
    let api = with_services(2).await;
    api.lock().json_only = json_only;
    let options = SourceOptions { pods_verified: true, multicluster: true, ..SourceOptions::default() };
    let slice = |name: &str, service: &str, address: &str| {
        json!({"kind": "EndpointSlice", "metadata": {"namespace": "shop", "name": name, "labels": {service: "s0"}},
            "addressType": "IPv4", "endpoints": [{"addresses": [address]}]})
    };
    api.lock().put(slice("s0-1", "kubernetes.io/service-name", "10.1.0.1"));
    api.lock().put(json!({"kind": "ServiceImport", "metadata": {"namespace": "shop", "name": "far"},
        "spec": {"type": "ClusterSetIP", "ips": ["10.9.0.1"]}}));
    let room = Room::start(&api, options, quick());
    room.synced().await;
    assert!(room.has("s0") && room.has("s1") && room.owned("10.1.0.1") && room.index.has_namespace(b"shop"));
    assert_eq!(room.index.imports.len(), 1);

    api.lock().put(service("late", "10.0.9.9"));
    api.lock().put(json!({"kind": "Pod", "metadata": {"namespace": "shop", "name": "p"},
        "status": {"phase": "Running", "podIPs": [{"ip": "10.1.0.9"}]}}));
    api.lock().take("Service", "shop", "s1");
    let pod: IpAddr = "10.1.0.9".parse().expect("an address");
    until("followed", || room.has("late") && !room.has("s1") && room.index.pods.with(&pod, |_| ()).is_some()).await;
    assert_eq!(room.api.asked("limit="), 0, "streaming lists need no pages");
    let host = api.address;
    let counted =
        format!("coredns_kubernetes_rest_client_requests_total{{code=\"200\",host=\"{host}\",method=\"GET\"}}");
    assert_eq!(room.metric(&counted), 6);
}

#[tokio::test]
async fn a_watch_that_ends_goes_on_where_it_was() {
    let api = with_services(1).await;
    let room = Room::start(&api, SourceOptions::default(), quick());
    room.synced().await;
    for n in 1..4 {
        pass(20).await;
        api.lock().end_watches();
        api.lock().put(service(&format!("s{n}"), &address(n)));
        until("taken up", || room.has(&format!("s{n}"))).await;
    }
    assert_eq!(api.asked("services?watch=true"), api.asked("services?"), "no pages");
    assert_eq!(api.asked("services?watch=true&allowWatchBookmarks=true") - api.asked("sendInitialEvents") / 3, 3);
}

#[tokio::test]
async fn a7_a_storm_of_expired_versions_is_met_with_few_lists() {
    let api = with_services(3).await;
    api.fault("sendInitialEvents", 3, Fault::Status(422, &[]));
    let room = Room::start(&api, SourceOptions::default(), quick());
    room.synced().await;
    api.fault("services?watch=true", 10_000, Fault::Expired);
    api.lock().end_watches();
    let lists = || api.asked("services?limit=500");
    let before = lists();
    pass(2500).await;
    // Three at once, then one per second.
    assert!((4..=6).contains(&(lists() - before)), "{} lists", lists() - before);
    assert!((0..3).all(|n| room.has(&format!("s{n}"))));
}

#[tokio::test]
async fn a8_a_silent_gap_is_repaired() {
    for bookmarks in [true, false] {
        let api = with_services(10).await;
        let room = Room::start(&api, SourceOptions::default(), wary());
        room.synced().await;
        (100..150).for_each(|n| api.lock().sneak(service(&format!("s{n}"), &address(n))));
        until("repaired", || {
            if bookmarks {
                api.lock().bookmark();
            }
            (100..150).all(|n| room.has(&format!("s{n}")))
        })
        .await;
        let repaired = || room.metric("signpost_kubernetes_watch_gap_repaired_total{resource=\"services\"}");
        until("counted", || repaired() == 50).await;
    }
}

#[tokio::test]
async fn a8_a_watch_that_keeps_up_is_not_listed_again() {
    let api = with_services(10).await;
    let room = Room::start(&api, SourceOptions::default(), wary());
    room.synced().await;
    for n in 0..40 {
        api.lock().put(service(&format!("t{n}"), &address(300 + n)));
        pass(40).await;
        api.lock().bookmark();
    }
    until("followed", || room.has("t39")).await;
    assert!(api.asked("services?limit=1") >= 3, "audits were made");
    assert_eq!(api.asked("services?watch=true"), 1);
    assert_eq!(room.metric("signpost_kubernetes_watch_gap_repaired_total{resource=\"services\"}"), 0);
}

#[tokio::test]
async fn a9_an_empty_list_is_not_believed_at_once_and_a_true_one_soon() {
    let api = with_services(100).await;
    api.fault("sendInitialEvents", 3, Fault::Status(400, &[]));
    let room = Room::start(&api, SourceOptions::default(), quick());
    room.synced().await;
    api.fault("services?limit=500", 1, Fault::Empty);
    api.fault("services?watch=true", 1, Fault::Expired);
    api.lock().end_watches();
    let held = || room.metric("signpost_kubernetes_list_held_total{resource=\"services\"}");
    until("held", || {
        assert!((0..100).all(|n| room.has(&format!("s{n}"))), "nothing is lost meanwhile");
        held() == 1
    })
    .await;
    api.lock().put(service("after", "10.0.8.8"));
    until("watched again", || room.has("after")).await;
    assert!((0..100).all(|n| room.has(&format!("s{n}"))) && held() == 1);

    api.fault("services?watch=true", 1, Fault::Expired);
    api.lock().end_watches();
    (10..100).for_each(|n| api.lock().take("Service", "shop", &format!("s{n}")));
    until("believed", || !room.has("s50")).await;
    assert!(room.has("s9") && room.has("after") && room.index.services.len() == 11);
}

#[tokio::test]
async fn a10_a_list_that_breaks_off_changes_nothing() {
    break_off_lists(false).await;
}

#[tokio::test]
async fn a10_a_list_in_json_that_breaks_off_changes_nothing() {
    break_off_lists(true).await;
}

async fn break_off_lists(json_only: bool) {
    let api = with_services(1200).await;
    api.lock().json_only = json_only;
    api.fault("sendInitialEvents", 3, Fault::Status(422, &[]));
    let room = Room::start(&api, SourceOptions::default(), quick());
    room.synced().await;
    assert_eq!(room.index.services.len(), 1200);
    api.fault("continue=1000", 1, Fault::Status(410, &[]));
    api.fault("services?watch=true", 1, Fault::Expired);
    let pages = api.asked("services?limit=500");
    api.lock().end_watches();
    until("listed twice", || {
        assert_eq!(room.index.services.len(), 1200);
        api.asked("services?limit=500") == pages + 6
    })
    .await;
    api.lock().put(service("after", "10.0.8.8"));
    until("watched again", || room.has("after")).await;
    assert_eq!(room.index.services.len(), 1201);
}

#[tokio::test]
async fn a11_a_streaming_list_without_end_is_given_up() {
    let api = with_services(3).await;
    api.fault("services?watch=true&allowWatchBookmarks", 1, Fault::NoBookmark);
    let room = Room::start(&api, SourceOptions::default(), quick());
    pass(200).await;
    assert!(!room.index.is_synced());
    room.synced().await;
    assert!(room.has("s2"));
    assert_eq!(api.asked("services?limit=500"), 1);
    api.fault("services?watch=true", 1, Fault::Expired);
    api.lock().end_watches();
    until("listed", || api.asked("services?limit=500") == 2).await;
}

#[tokio::test]
async fn a14_bad_objects_cost_themselves_alone() {
    let api = with_services(5).await;
    // Protobuf has no fields of the wrong type.
    api.lock().json_only = true;
    let huge = "x".repeat(10 << 20);
    let mut objects = vec![
        json!({"kind": "Service", "metadata": {"namespace": "shop", "name": "bad1"}, "spec": {"ports": 7}}),
        service("bad2", "300.1.1.1"),
        service("same", "10.0.0.1"),
        json!({"kind": "Service", "metadata": {"namespace": "shop", "name": "odd", "annotations": {"a": huge}},
            "spec": {"clusterIP": "10.0.7.7", "ports": null, "new": [{}]}, "more": {"a": [1, 2.5, null]}}),
    ];
    objects.drain(..).for_each(|object| api.lock().put(object));
    let truncated = "{\"type\":\"ADDED\",\"object\":{\"metadata\":{\"na".to_owned();
    api.fault("services?watch=true", 1, Fault::Line(truncated));
    let room = Room::start(&api, SourceOptions::default(), quick());
    room.synced().await;
    assert!((0..5).all(|n| room.has(&format!("s{n}"))) && room.has("odd") && room.has("same") && !room.has("bad1"));
    // The same three objects in pages.
    api.fault("sendInitialEvents", 3, Fault::Status(422, &[]));
    let pages = Room::start(&api, SourceOptions::default(), quick());
    pages.synced().await;
    assert!(pages.has("s4") && pages.has("odd") && pages.has("bad2") && !pages.has("bad1"));
    let bad = room.metric("signpost_kubernetes_bad_objects_total{resource=\"services\"}");
    assert_eq!((bad, pages.metric("signpost_kubernetes_bad_objects_total{resource=\"services\"}")), (3, 2));
    // An object that becomes invalid keeps its last valid state.
    api.lock().put(json!({"kind": "Service", "metadata": {"namespace": "shop", "name": "s0"}, "spec": {"ports": 7}}));
    api.lock().put(service("after", "10.0.8.8"));
    until("followed", || room.has("after")).await;
    assert!(room.has("s0") && room.owned("10.0.0.0"));
}

#[tokio::test]
async fn a14_bad_octets_cost_themselves_alone() {
    let api = with_services(5).await;
    api.lock().put(service("bad", "300.1.1.1"));
    let framed = |event: &[u8]| [&(event.len() as u32).to_be_bytes()[..], event].concat();
    // An empty event; an object that is cut off before its name; and one that is not a Kubernetes
    // message.
    let cut = b"\x0a\x05ADDED\x12\x0d\x0a\x0bk8s\0\x12\x05\x0a\x09\x0a\x07x";
    let foreign = b"\x0a\x05ADDED\x12\x06\x0a\x04json";
    let octets = [framed(b""), framed(b"\xff\xff"), framed(cut), framed(foreign)].concat();
    api.fault("services?watch=true", 1, Fault::Octets(octets));
    let room = Room::start(&api, SourceOptions::default(), quick());
    room.synced().await;
    assert!((0..5).all(|n| room.has(&format!("s{n}"))) && room.has("bad"));
    assert_eq!(room.metric("signpost_kubernetes_bad_objects_total{resource=\"services\"}"), 4);
    api.lock().put(service("after", "10.0.8.8"));
    until("followed", || room.has("after")).await;
}

#[tokio::test]
async fn a15_refusals_are_outlived_and_retry_after_is_kept() {
    let api = with_services(3).await;
    for (status, times) in [(401, 2), (403, 2), (500, 1), (503, 1)] {
        api.fault("services?", times, Fault::Status(status, &[]));
    }
    let room = Room::start(&api, SourceOptions::default(), quick());
    room.synced().await;
    assert!(room.has("s2"));
    api.fault("services?watch=true", 1, Fault::Status(429, &[("retry-after", "2")]));
    let asked = api.asked("services?");
    api.lock().end_watches();
    until("asked twice", || api.asked("services?") == asked + 2).await;
    let state = api.lock();
    let mut times = state.requests.iter().rev().filter(|(_, url)| url.contains("services?")).map(|(at, _)| *at);
    let waited = times.next().expect("two") - times.next().expect("two");
    assert!((2.0..2.4).contains(&waited.as_secs_f64()), "{waited:?}");
    assert!((0..3).all(|n| room.has(&format!("s{n}"))));
}

#[tokio::test]
async fn a17_a_server_that_went_back_in_time_is_read_anew() {
    let api = with_services(30).await;
    let room = Room::start(&api, SourceOptions::default(), Timing { recheck: wary().recheck, ..quick() });
    room.synced().await;
    api.down();
    pass(200).await;
    assert!((0..30).all(|n| room.has(&format!("s{n}"))), "answers stay");
    {
        let mut state = api.lock();
        (25..30).for_each(|n| state.take("Service", "shop", &format!("s{n}")));
        state.rewind(500);
        state.put(service("restored", "10.0.8.8"));
    }
    api.up().await;
    until("read anew", || room.has("restored") && !room.has("s27")).await;
    assert_eq!(room.index.services.len(), 26);
    assert_eq!(room.metric("signpost_kubernetes_watch_gap_repaired_total{resource=\"services\"}"), 6);
}

#[tokio::test]
async fn a18_what_changed_during_an_outage_is_seen_at_once() {
    let api = with_services(3).await;
    let room = Room::start(&api, SourceOptions::default(), quick());
    room.synced().await;
    for round in 0..5 {
        api.down();
        pass(100).await;
        assert!(room.has("s1"));
        api.lock().take("Service", "shop", "s1");
        let (old, new) = (if round == 0 { address(1) } else { address(1000 + round) }, address(1001 + round));
        api.lock().put(service("s1", &new));
        api.up().await;
        let back = Instant::now();
        until("caught up", || room.owned(&new) && !room.owned(&old)).await;
        assert!(back.elapsed() < Duration::from_secs(2), "{:?}", back.elapsed());
    }
}

#[tokio::test]
async fn answers_that_hang_or_break_off_are_given_up() {
    let api = with_services(3).await;
    api.fault("services?", 1, Fault::Hang);
    api.fault("namespaces?", 2, Fault::Cut);
    api.fault("endpointslices?", 1, Fault::Text("{\"items\": [".to_owned()));
    let room = Room::start(&api, SourceOptions::default(), quick());
    room.synced().await;
    api.fault("services?watch", 1, Fault::Hang);
    api.fault("services?watch", 2, Fault::Cut);
    api.lock().end_watches();
    api.lock().put(service("after", "10.0.8.8"));
    until("followed", || room.has("after")).await;
}

#[tokio::test]
async fn a_silent_hang_is_noticed() {
    let api = with_services(3).await;
    let room = Room::start(&api, SourceOptions::default(), Timing { silence: Duration::from_millis(300), ..quick() });
    room.synced().await;
    api.lock().sneak(service("unseen", "10.0.8.8"));
    api.fault("services?limit=1", 1, Fault::Hang);
    until("noticed", || room.has("unseen")).await;
}

/// A server that stops answering is noticed, even while the watch still waits for a bookmark.
#[tokio::test]
async fn a6_a_hang_after_the_last_answer_is_noticed() {
    let api = with_services(3).await;
    let silence = Duration::from_millis(300);
    let timing = Timing { silence, sweep_patience: Duration::from_secs(600), ..quick() };
    let room = Room::start(&api, SourceOptions::default(), timing);
    room.synced().await;
    api.lock().sneak(service("unseen", "10.0.8.8"));
    // The first request is answered, but no bookmark follows.
    until("asked", || room.api.asked("services?limit=1") > 0).await;
    api.fault("services?limit=1", 1, Fault::Hang);
    until("noticed", || room.has("unseen")).await;
}

#[tokio::test]
async fn a_cluster_without_imports_is_ready_and_gets_them_later() {
    let api = with_services(3).await;
    api.fault("serviceimports", 100, Fault::Status(404, &[]));
    let room = Room::start(&api, SourceOptions { multicluster: true, ..SourceOptions::default() }, quick());
    pass(150).await;
    assert!(!room.index.is_synced(), "the server may only be starting");
    room.synced().await;
    api.lock().put(json!({"kind": "ServiceImport", "metadata": {"namespace": "shop", "name": "far"},
        "spec": {"type": "Headless"}}));
    api.lock().faults.clear();
    until("found", || room.index.imports.len() == 1).await;
}

#[tokio::test]
async fn what_is_missing_at_start_is_said() {
    let host = Arc::new(Host::default());
    let error = |from: ApiFrom| {
        let options = SourceOptions { origin: Origin::Api(from), ..SourceOptions::default() };
        start(&options, Arc::default(), &host, &Handle::current()).expect_err("an error")
    };
    let text = error(ApiFrom::InCluster);
    assert!(text.contains("KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT must be defined"), "{text}");
    let tls = ["/no/cert", "/no/key", "/no/ca"].map(Into::into);
    let text = error(ApiFrom::Endpoint { url: "https://10.0.0.1".into(), tls: Some(tls) });
    assert!(text.starts_with("open /no/cert: no such file"), "{text}");
    let text = error(ApiFrom::Kubeconfig { file: "/no/config".into(), context: None });
    assert!(text.starts_with("kubeconfig /no/config: "), "{text}");
    let options = SourceOptions { origin: Origin::Manifests(vec!["/no/files".into()]), ..SourceOptions::default() };
    let text = start(&options, Arc::default(), &host, &Handle::current()).expect_err("an error");
    assert!(text.starts_with("manifests /no/files: no such file"), "{text}");
}

#[tokio::test]
async fn a_kubeconfig_names_the_server() {
    let api = with_services(1).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("config");
    let write = |token: &str| {
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: none,
              clusters: [{{name: c, cluster: {{server: \"http://{}\"}}}}],
              users: [{{name: u, user: {{token: {token}}}}}], contexts: [{{name: x, context: {{cluster: c, user: u}}}}]}}",
            api.address
        );
        std::fs::write(&file, text).expect("writable");
    };
    write("old");
    api.lock().credentials = Some("Bearer old");
    let origin = |context: Option<&str>| {
        Origin::Api(ApiFrom::Kubeconfig { file: file.clone(), context: context.map(str::to_owned) })
    };
    let (host, index) = (Arc::new(Host::default()), Arc::new(Index::default()));
    let options = SourceOptions { origin: origin(Some("x")), ..SourceOptions::default() };
    let _tasks = start_with(&options, quick(), index.clone(), &host, &Handle::current()).expect("started");
    until("synced", || index.is_synced()).await;
    // The credentials are replaced.
    write("new");
    api.lock().credentials = Some("Bearer new");
    api.lock().end_watches();
    api.lock().put(service("after", "10.0.8.8"));
    let key = service_key("shop", "after").expect("a key");
    until("followed", || index.services.with(&key, |_| ()).is_some()).await;
    let options = SourceOptions { origin: origin(None), ..SourceOptions::default() };
    let error = start_with(&options, quick(), index, &host, &Handle::current()).expect_err("no such context");
    assert!(error.contains("none"), "{error}");
}

#[tokio::test]
async fn a_token_file_may_end_in_a_newline_and_is_renewed() {
    let api = with_services(1).await;
    let folder = tempfile::tempdir().expect("a folder");
    let (file, token) = (folder.path().join("config"), folder.path().join("token"));
    let config = |user: &str| {
        let text = format!(
            "{{apiVersion: v1, kind: Config, current-context: x,
              clusters: [{{name: c, cluster: {{server: \"http://{}\"}}}}],
              users: [{{name: u, user: {{{user}}}}}], contexts: [{{name: x, context: {{cluster: c, user: u}}}}]}}",
            api.address
        );
        std::fs::write(&file, text).expect("writable");
    };
    let write = |text: &str| std::fs::write(&token, text).expect("writable");
    let host = Arc::new(Host::default());
    let start = |index: &Arc<Index>| {
        let origin = Origin::Api(ApiFrom::Kubeconfig { file: file.clone(), context: None });
        // Only the file itself can bring the new token.
        let timing = Timing { renew: Duration::from_secs(3600), ..quick() };
        start_with(
            &SourceOptions { origin, ..SourceOptions::default() },
            timing,
            index.clone(),
            &host,
            &Handle::current(),
        )
    };
    // As `kubectl create token` prints it; the path is relative to the kubeconfig.
    config("tokenFile: token");
    write("first\n");
    api.lock().credentials = Some("Bearer first");
    let index = Arc::default();
    let _tasks = start(&index).expect("started");
    until("synced", || index.is_synced()).await;
    // Renewed, with another line ending.
    write("  second\r\n");
    api.lock().credentials = Some("Bearer second");
    api.lock().end_watches();
    api.lock().put(service("after", "10.0.8.8"));
    let key = service_key("shop", "after").expect("a key");
    until("followed", || index.services.with(&key, |_| ()).is_some()).await;
    // A token in the kubeconfig itself.
    config("token: \"second\\n\"");
    let index = Arc::default();
    let _more = start(&index).expect("started");
    until("synced", || index.is_synced()).await;
    // No token at all.
    config("tokenFile: token");
    write("\n");
    let error = start(&Arc::default()).expect_err("an error");
    assert_eq!(error, format!("{}: there is no token in it", token.display()));
}

/// Lists are doubted, events are not: whoever deletes most of a cluster means it.
#[tokio::test]
async fn a9_a_deletion_of_most_by_events_is_followed_without_a_list() {
    let api = with_services(1000).await;
    let room = Room::start(&api, SourceOptions::default(), quick());
    room.synced().await;
    (50..1000).for_each(|n| api.lock().take("Service", "shop", &format!("s{n}")));
    until("followed", || room.index.services.len() == 50).await;
    assert!((0..50).all(|n| room.has(&format!("s{n}")) && room.owned(&address(n))));
    assert!((50..1000).all(|n| !room.owned(&address(n))), "no address stays behind");
    assert_eq!(room.metric("signpost_kubernetes_list_held_total{resource=\"services\"}"), 0);
    assert_eq!((api.asked("services?watch=true"), api.asked("services?limit=500")), (1, 0));
    // The namespace goes last, as in Kubernetes.
    (0..50).for_each(|n| api.lock().take("Service", "shop", &format!("s{n}")));
    api.lock().take("Namespace", "", "shop");
    until("empty", || room.index.services.is_empty() && !room.index.has_namespace(b"shop")).await;
}

/// Every one goes on at its version; what they ask for at once is 150 watches, and no list.
#[tokio::test]
async fn a16_fifty_replicas_that_come_back_read_no_list() {
    let api = with_services(100).await;
    let timing = Timing { retry: Timing::default().retry, ..quick() };
    let rooms: Vec<Room> = (0..50).map(|_| Room::start(&api, SourceOptions::default(), timing.clone())).collect();
    for room in &rooms {
        room.synced().await;
    }
    api.down();
    pass(500).await;
    api.lock().put(service("late", "10.0.9.9"));
    let before = api.lock().requests.len();
    api.up().await;
    for room in &rooms {
        until("caught up", || room.has("late")).await;
    }
    let state = api.lock();
    let back = &state.requests[before..];
    let is_list = |url: &str| url.contains("sendInitialEvents") || url.contains("limit=500");
    let lists = back.iter().filter(|(_, url)| is_list(url)).count();
    assert_eq!(lists, 0, "of {} requests", back.len());
    assert!(back.len() <= 4 * 150, "{} requests of 150 watches", back.len());
    // Times are printed and not judged: a busy machine delivers them at once.
    let first = back.first().expect("some").0;
    let mut tenths = [0; 20];
    back.iter().for_each(|(at, _)| tenths[((*at - first).as_millis() as usize / 100).min(19)] += 1);
    println!("requests by tenths of a second: {tenths:?}");
}
