//! Objects in JSON and what is kept of them.

use serde_json::json;

use super::*;
use crate::plugins::kubernetes::known::endpoints::{Address, Endpoint};
use crate::plugins::kubernetes::known::model::{Port, Reached, Service, Slice, Target};

const POD_NAMES: Keep = Keep { endpoint_pod_names: true, zonal: true, external: false };

fn read(kind: Kind, json: &serde_json::Value) -> Decoded {
    decode(kind, json, Keep::default()).expect("a good object")
}

fn service_of(json: &serde_json::Value) -> Service {
    match read(Kind::Service, json).news {
        News::Is(Object::Service(service)) => service,
        other => panic!("{other:?}"),
    }
}

fn slice_of(kind: Kind, json: &serde_json::Value, keep: Keep) -> (Slice, Option<String>) {
    let decoded = decode(kind, json, keep).expect("a good object");
    match decoded.news {
        News::Is(Object::Slice(slice)) => (slice, decoded.flaw),
        other => panic!("{other:?}"),
    }
}

#[test]
fn services_lead_to_addresses_endpoints_or_names() {
    let meta = json!({"namespace": "shop", "name": "web", "resourceVersion": "17", "labels": null});
    let web = json!({"metadata": meta, "spec": {
        "clusterIP": "10.0.0.1", "clusterIPs": ["10.0.0.1", "fd00::1"], "selector": {"app": "web"},
        "ports": [{"name": "HTTP", "protocol": "TCP", "port": 80}, {"port": 53, "protocol": "UDP"}]}});
    assert_eq!(&*read(Kind::Service, &web).version, "17");
    let web = service_of(&web);
    let addresses = ["10.0.0.1", "fd00::1"].map(|text| text.parse().expect("an address"));
    assert_eq!(web.target, Target::Addresses(addresses.into()));
    assert!(web.has_selector);
    let port = |name: &str, protocol: &str, number| Port { name: name.into(), protocol: protocol.into(), number };
    assert_eq!(*web.ports, [port("http", "tcp", Some(80)), port("", "udp", Some(53))]);

    let headless = service_of(&json!({"metadata": meta, "spec": {"clusterIP": "None", "selector": {}}}));
    assert_eq!((&headless.target, headless.has_selector), (&Target::Endpoints, false));
    assert_eq!(headless.ports, Port::none());

    let alias = json!({"metadata": meta, "spec": {"type": "ExternalName", "externalName": "x.example"}});
    assert_eq!(service_of(&alias).target, Target::Alias("x.example".into()));
    let pending = service_of(&json!({"metadata": meta, "spec": {"clusterIP": ""}}));
    assert_eq!(pending.target, Target::Addresses(Box::default()));
}

#[test]
fn what_is_seen_from_outside_is_kept_where_it_is_asked_for() {
    let service = json!({"metadata": {"namespace": "shop", "name": "web"},
        "spec": {"clusterIP": "10.0.0.1", "externalIPs": ["198.51.100.1"]},
        "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.1"}, {"hostname": "lb.example"}, {}]}}});
    assert_eq!(service_of(&service).external, None);
    let keep = Keep { external: true, ..Keep::default() };
    let reached = |json: &serde_json::Value| match decode(Kind::Service, json, keep).expect("a good object").news {
        News::Is(Object::Service(service)) => service.external.map(|all| *all),
        other => panic!("{other:?}"),
    };
    let address = Reached::Ip("198.51.100.1".parse().expect("an address"));
    assert_eq!(reached(&service), Some(vec![address, Reached::Name("lb.example".into())]));
    assert_eq!(reached(&json!({"metadata": {"name": "web"}, "status": {"loadBalancer": {}}})), None);
    // It is not asked for, so its form does not matter.
    let odd = json!({"metadata": {"name": "web"}, "spec": {"externalIPs": 7}, "status": []});
    assert_eq!(service_of(&odd).external, None);
    assert!(decode(Kind::Service, &odd, keep).is_err());
}

#[test]
fn imports_are_services() {
    let meta = json!({"namespace": "shop", "name": "web"});
    let set = json!({"metadata": meta, "spec": {"type": "ClusterSetIP", "ips": ["10.9.0.1"], "ports": [{"port": 80}]}});
    let News::Is(Object::Service(service)) = read(Kind::Import, &set).news else { panic!("no service") };
    assert_eq!(service.target, Target::Addresses(["10.9.0.1".parse().expect("an address")].into()));
    let headless = json!({"metadata": meta, "spec": {"type": "Headless"}});
    let News::Is(Object::Service(service)) = read(Kind::Import, &headless).news else { panic!("no service") };
    assert_eq!((service.target, service.ports), (Target::Endpoints, Port::none()));
}

#[test]
fn slices_keep_ready_endpoints_with_their_names() {
    let json = json!({
        "metadata": {"namespace": "shop", "name": "web-1", "labels": {"kubernetes.io/service-name": "web", "x": "y"},
            "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2026-01-02T03:04:05.5Z"}},
        "addressType": "IPv4",
        "endpoints": [
            {"addresses": ["10.1.0.1", "10.1.0.2"], "conditions": {"ready": true}, "hostname": "a", "zone": "EU-1"},
            {"addresses": ["10.1.0.3"], "conditions": {}, "targetRef": {"kind": "Pod", "name": "web-x"}, "zone": "eu-1"},
            {"addresses": ["10.1.0.4"], "targetRef": {"name": "not.a.label"}},
            {"addresses": ["10.1.0.5"], "conditions": {"ready": false, "serving": true}}],
        "ports": [{"name": "", "port": null}]});
    let (slice, flaw) = slice_of(Kind::Slice, &json, POD_NAMES);
    assert_eq!((&*slice.service, &*slice.cluster, flaw), ("web", "", None));
    let names: Vec<_> = slice.endpoints.iter().map(|e| e.name.unwrap_or("-")).collect();
    assert_eq!(names, ["a", "a", "web-x", "-"]);
    let zones: Vec<_> = slice.endpoints.iter().map(|e| e.zone).collect();
    assert_eq!((zones[0], zones[2]), (Some("eu-1"), Some("eu-1")));
    assert!(std::ptr::eq(zones[0].expect("a zone"), zones[2].expect("a zone")), "in memory once");
    assert_eq!(slice.triggered, Some(1_767_323_045_500_000_000));
    assert_eq!((slice.ports.len(), slice.ports[0].number), (1, None));

    let (plain, _) = slice_of(Kind::Slice, &json, Keep::default());
    assert!(plain.endpoints.iter().skip(2).all(|e| (e.name, e.zone) == (None, None)));
}

#[test]
fn slices_of_names_and_of_other_clusters() {
    let json = json!({
        "metadata": {"namespace": "shop", "name": "web-1", "labels": {
            "multicluster.kubernetes.io/service-name": "web", "multicluster.kubernetes.io/source-cluster": "east"}},
        "addressType": "FQDN", "endpoints": [{"addresses": ["db.example.com"]}], "ports": null});
    let (slice, flaw) = slice_of(Kind::ImportSlice, &json, Keep::default());
    assert_eq!((&*slice.service, &*slice.cluster, flaw), ("web", "east", None));
    let endpoint =
        Endpoint { address: Address::Name("db.example.com".into()), name: Some("db-example-com".into()), zone: None };
    assert_eq!((slice.endpoints, slice.ports), (vec![endpoint].into(), Port::none()));
    let (nothing, _) = slice_of(Kind::Slice, &json!({"metadata": {"name": "n"}, "endpoints": null}), Keep::default());
    assert_eq!((&*nothing.service, nothing.endpoints.len()), ("", 0));
}

#[test]
fn pods_count_while_they_run() {
    let pod = |phase: &str, more: &str| {
        let text = format!(
            r#"{{"metadata": {{"namespace": "shop", "name": "p"{more}}},
                "status": {{"phase": "{phase}", "podIPs": [{{"ip": "10.1.0.1"}}, {{"ip": "fd00::1"}}, {{}}]}}}}"#
        );
        read(Kind::Pod, &serde_json::from_str(&text).expect("JSON")).news
    };
    let News::Is(Object::Pod(running)) = pod("Running", "") else { panic!("not running") };
    assert_eq!(running.addresses.len(), 2);
    let key = ObjectKey { namespace: "shop".into(), name: "p".into() };
    assert_eq!(pod("Running", r#", "deletionTimestamp": "2026-01-01T00:00:00Z""#), News::Kept(key.clone()));
    assert_eq!(pod("Failed", ""), News::Gone(key));
}

#[test]
fn bad_parts_cost_themselves_alone() {
    let json = json!({"metadata": {"namespace": "n", "name": "s"},
        "spec": {"clusterIPs": ["10.0.0.300", "10.0.0.1"], "ports": [{"name": "big", "port": 70000}]}});
    let decoded = read(Kind::Service, &json);
    assert_eq!(decoded.flaw.as_deref(), Some("\"10.0.0.300\" is no IP address"));
    let service = service_of(&json);
    assert_eq!(service.target, Target::Addresses(["10.0.0.1".parse().expect("an address")].into()));
    assert_eq!(service.ports[0].number, None);

    let wrong = json!({"metadata": {"namespace": "n", "name": "s"}, "spec": {"ports": "http"}});
    assert!(decode(Kind::Service, &wrong, Keep::default()).is_err());
    assert_eq!(&*identify(&wrong).expect("metadata").key.name, "s");
    for text in [r#"{"metadata": {}}"#, r#"{"metadata": null}"#, "{}", "[]", "null", "3"] {
        let json: serde_json::Value = serde_json::from_str(text).expect("JSON");
        for kind in [Kind::Namespace, Kind::Service, Kind::Slice, Kind::Pod, Kind::Import, Kind::ImportSlice] {
            assert!(decode(kind, &json, Keep::default()).is_err(), "{text}");
        }
    }
}

#[test]
fn bookmarks_tell_their_version() {
    let json = json!({"kind": "Service", "metadata": {"resourceVersion": "99", "creationTimestamp": null,
        "annotations": {"k8s.io/initial-events-end": "true"}}});
    let bookmark = identify(&json).expect("metadata");
    assert_eq!((&*bookmark.version, bookmark.ends_initial_events), ("99", true));
}
