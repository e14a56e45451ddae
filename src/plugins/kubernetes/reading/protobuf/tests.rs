//! What Kubernetes' own messages say, as generated from its definitions, is what is read of them.

use k8s_pb::api::{core::v1 as core, discovery::v1 as discovery};
use k8s_pb::apimachinery::pkg::apis::meta::v1 as meta;
use serde_json::json;

use super::super::decode::{Decoded, Keep, decode, identify};
use super::*;

const ALL: Keep = Keep { endpoint_pod_names: true, zonal: true, external: true };

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

/// Metadata with everything around what is read.
fn metadata(labels: &[(&str, &str)]) -> meta::ObjectMeta {
    let pairs = |pairs: &[(&str, &str)]| pairs.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
    meta::ObjectMeta {
        name: some("web-1"),
        generate_name: some("web-"),
        namespace: some("shop"),
        uid: some("1c0c8c1e"),
        resource_version: some("17"),
        generation: Some(-1),
        creation_timestamp: Some(meta::Time { seconds: Some(1_700_000_000), nanos: Some(7) }),
        labels: pairs(labels),
        annotations: pairs(&[("endpoints.kubernetes.io/last-change-trigger-time", "2026-11-01T08:12:39Z"), ("b", "")]),
        finalizers: vec!["a".to_owned()],
        managed_fields: vec![meta::ManagedFieldsEntry { manager: some("helm"), ..Default::default() }],
        ..Default::default()
    }
}

fn json_metadata() -> serde_json::Value {
    json!({"name": "web-1", "namespace": "shop", "resourceVersion": "17", "labels": {
            "kubernetes.io/service-name": "web", "multicluster.kubernetes.io/service-name": "far",
            "multicluster.kubernetes.io/source-cluster": "b"},
        "annotations": {"endpoints.kubernetes.io/last-change-trigger-time": "2026-11-01T08:12:39Z"}})
}

const LABELS: &[(&str, &str)] = &[
    ("kubernetes.io/service-name", "web"),
    ("app", "web"),
    ("multicluster.kubernetes.io/service-name", "far"),
    ("multicluster.kubernetes.io/source-cluster", "b"),
];

fn check(kind: Kind, message: &impl prost::Message, json: &serde_json::Value) {
    let octets = message.encode_to_vec();
    for keep in [ALL, Keep::default()] {
        let ours: Decoded = decode(kind, object(kind, &octets), keep).expect("a good object");
        assert_eq!(ours, decode(kind, json, keep).expect("a good object"));
    }
    let identity = identify(bare(&octets)).expect("metadata");
    assert_eq!(identity, identify(json).expect("metadata"));
    // Cut off anywhere it is no object, or one of which the rest is missing.
    for end in 0..octets.len() {
        let _ = decode(kind, object(kind, &octets[..end]), ALL);
    }
}

#[test]
fn namespaces_and_services_are_what_they_are_in_json() {
    let namespace = core::Namespace { metadata: Some(metadata(&[])), ..Default::default() };
    check(Kind::Namespace, &namespace, &json!({"metadata": json_metadata()}));

    let port = |name: &str, port, protocol: &str| core::ServicePort {
        name: some(name),
        port: Some(port),
        protocol: some(protocol),
        node_port: Some(30_080),
        ..Default::default()
    };
    let ingress = |ip: &str, hostname: &str| core::LoadBalancerIngress {
        ip: some(ip),
        hostname: some(hostname),
        ..Default::default()
    };
    let mut service = core::Service {
        metadata: Some(metadata(&[])),
        spec: Some(core::ServiceSpec {
            r#type: some("LoadBalancer"),
            cluster_ip: some("10.0.0.1"),
            cluster_ips: vec!["10.0.0.1".to_owned(), "fd00::1".to_owned()],
            external_ips: vec!["198.51.100.1".to_owned()],
            external_name: some(""),
            selector: [("app".to_owned(), "web".to_owned())].into(),
            ports: vec![
                port("http", 80, "TCP"),
                port("", 53, "UDP"),
                port("bad", 70_000, ""),
                port("none", -1, "SCTP"),
            ],
            session_affinity: some("None"),
            ..Default::default()
        }),
        status: Some(core::ServiceStatus {
            load_balancer: Some(core::LoadBalancerStatus {
                ingress: vec![ingress("198.51.100.2", ""), ingress("", "lb")],
            }),
            ..Default::default()
        }),
    };
    let json = json!({"metadata": json_metadata(), "spec": {"type": "LoadBalancer", "clusterIP": "10.0.0.1",
        "clusterIPs": ["10.0.0.1", "fd00::1"], "externalIPs": ["198.51.100.1"], "selector": {"app": "web"}, "ports": [
            {"name": "http", "port": 80, "protocol": "TCP"}, {"name": "", "port": 53, "protocol": "UDP"},
            {"name": "bad", "port": 70_000}, {"name": "none", "port": -1, "protocol": "SCTP"}]},
        "status": {"loadBalancer": {"ingress": [{"ip": "198.51.100.2"}, {"hostname": "lb"}]}}});
    check(Kind::Service, &service, &json);
    service.spec = Some(core::ServiceSpec {
        r#type: some("ExternalName"),
        external_name: some("x.example"),
        ..Default::default()
    });
    service.status = None;
    let spec = json!({"type": "ExternalName", "externalName": "x.example"});
    check(Kind::Service, &service, &json!({"metadata": json_metadata(), "spec": spec}));
}

#[test]
fn slices_and_pods_are_what_they_are_in_json() {
    let endpoint = |ready: Option<Option<bool>>, hostname: Option<&str>| discovery::Endpoint {
        addresses: vec!["10.1.0.1".to_owned(), "10.1.0.2".to_owned()],
        conditions: ready.map(|ready| discovery::EndpointConditions {
            ready,
            serving: Some(true),
            ..Default::default()
        }),
        hostname: hostname.map(str::to_owned),
        target_ref: Some(core::ObjectReference { kind: some("Pod"), name: some("web-1"), ..Default::default() }),
        node_name: some("node"),
        zone: some("a"),
        ..Default::default()
    };
    let slice = discovery::EndpointSlice {
        metadata: Some(metadata(LABELS)),
        address_type: some("IPv4"),
        endpoints: vec![
            endpoint(Some(Some(true)), Some("one")),
            endpoint(Some(Some(false)), None),
            endpoint(Some(None), None),
            endpoint(None, Some("")),
        ],
        ports: vec![
            discovery::EndpointPort { name: some("http"), port: Some(80), protocol: some("TCP"), ..Default::default() },
            discovery::EndpointPort::default(),
        ],
    };
    let json_endpoint = |conditions: serde_json::Value, hostname: serde_json::Value| {
        json!({"addresses": ["10.1.0.1", "10.1.0.2"], "conditions": conditions, "hostname": hostname,
            "targetRef": {"kind": "Pod", "name": "web-1"}, "zone": "a"})
    };
    let endpoints = [
        json_endpoint(json!({"ready": true}), json!("one")),
        json_endpoint(json!({"ready": false}), json!(null)),
        json_endpoint(json!({}), json!(null)),
        json_endpoint(json!(null), json!("")),
    ];
    let json = json!({"metadata": json_metadata(), "addressType": "IPv4", "endpoints": endpoints,
        "ports": [{"name": "http", "port": 80, "protocol": "TCP"}, {}]});
    check(Kind::Slice, &slice, &json);
    check(Kind::ImportSlice, &slice, &json);

    let mut pod = core::Pod {
        metadata: Some(metadata(LABELS)),
        spec: Some(core::PodSpec { node_name: some("node"), ..Default::default() }),
        status: Some(core::PodStatus {
            phase: some("Running"),
            pod_ip: some("10.1.0.1"),
            pod_ips: ["10.1.0.1", "fd00::9"].map(|ip| core::PodIp { ip: some(ip) }).into(),
            ..Default::default()
        }),
    };
    let status = json!({"phase": "Running", "podIPs": [{"ip": "10.1.0.1"}, {"ip": "fd00::9"}]});
    let mut json = json!({"metadata": json_metadata(), "status": status});
    check(Kind::Pod, &pod, &json);
    json["metadata"]["deletionTimestamp"] = "2026-11-01T08:12:39Z".into();
    pod.metadata.as_mut().expect("metadata").deletion_timestamp = Some(meta::Time::default());
    check(Kind::Pod, &pod, &json);
    json["status"]["phase"] = "Failed".into();
    pod.status.as_mut().expect("a status").phase = some("Failed");
    check(Kind::Pod, &pod, &json);
}

#[test]
fn fields_of_a_list_may_stand_apart() {
    // A label, the name, and another label.
    let label = |name: &str, value: &str| {
        let (name_len, len) = (name.len() as u8, (name.len() + value.len() + 4) as u8);
        [&[11 << 3 | 2, len, 10, name_len], name.as_bytes(), &[18, value.len() as u8], value.as_bytes()].concat()
    };
    let metadata = [
        label("kubernetes.io/service-name", "web"),
        b"\x0a\x03web".to_vec(),
        label("multicluster.kubernetes.io/source-cluster", "b"),
    ]
    .concat();
    let octets = [&[10, metadata.len() as u8], &*metadata].concat();
    let decoded = decode(Kind::Slice, object(Kind::Slice, &octets), ALL).expect("a good object");
    let json = json!({"metadata": {"name": "web", "labels": {"kubernetes.io/service-name": "web",
        "multicluster.kubernetes.io/source-cluster": "b"}}});
    assert_eq!(decoded, decode(Kind::Slice, &json, ALL).expect("a good object"));
}

#[test]
fn what_does_not_fit_is_an_error_and_not_another_object() {
    let error = |octets: &[u8]| decode(Kind::Pod, object(Kind::Pod, octets), ALL).expect_err("no object").to_string();
    assert!(error(b"").contains("metadata"));
    assert_eq!(error(b"\x0a\x02\x0a\x00"), "an object without a name");
    assert!(error(b"\x08\x01").starts_with("invalid type: integer `1`"));
    assert!(error(b"\x0a\x04\x0a\x02\xff\xfe").contains("utf-8"));
    assert_eq!(error(b"\x0a\x05\x0a"), "no protobuf");
    assert!(unwrap(b"json").is_err() && event(b"\x0a\x05ADDED").is_err());
}
