//! A Kubernetes API server with one service, to watch the names of a cluster while upstreams fail.

use serde_json::json;

use crate::api::Api;

/// The name of the service and its address.
pub(crate) const SERVICE: &str = "web.default.svc.cluster.local";
pub(crate) const ADDRESS: &str = "10.96.0.7";

/// The API server; it stops when this is dropped.
pub(crate) struct Cluster {
    api: Api,
    _runtime: tokio::runtime::Runtime,
}

impl Cluster {
    /// Starts it.
    pub(crate) fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build();
        let runtime = runtime.expect("a runtime");
        let api = runtime.block_on(Api::start());
        let metadata = |name: &str| json!({"name": name, "namespace": "default", "uid": name});
        let mut state = api.lock();
        state.put(json!({"kind": "Namespace", "apiVersion": "v1", "metadata": {"name": "default", "uid": "default"}}));
        state.put(json!({
            "kind": "Service", "apiVersion": "v1", "metadata": metadata("web"),
            "spec": {"type": "ClusterIP", "clusterIP": ADDRESS, "clusterIPs": [ADDRESS],
                     "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
        }));
        drop(state);
        Self { api, _runtime: runtime }
    }

    /// Adds a headless Service, `big.default.svc.cluster.local`, with `endpoints` endpoints.
    pub(crate) fn add_big(&self, endpoints: usize) {
        let ports = json!([{"name": "http", "port": 80, "protocol": "TCP"}]);
        let mut state = self.api.lock();
        state.put(json!({
            "kind": "Service", "apiVersion": "v1", "metadata": {"name": "big", "namespace": "default", "uid": "big"},
            "spec": {"type": "ClusterIP", "clusterIP": "None", "clusterIPs": ["None"], "ports": ports},
        }));
        let all: Vec<_> = (0..endpoints)
            .map(|at| json!({"addresses": [format!("10.1.{}.{}", at / 250, at % 250)], "conditions": {"ready": true}}))
            .collect();
        for (at, some) in all.chunks(100).enumerate() {
            let name = format!("big-{at}");
            state.put(json!({
                "kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1", "addressType": "IPv4", "ports": ports,
                "metadata": {"name": name, "namespace": "default", "uid": name,
                             "labels": {"kubernetes.io/service-name": "big"}},
                "endpoints": some,
            }));
        }
    }

    /// Adds Services, `s0.default.svc.cluster.local` and so on, at 10.97.0.0 and so on.
    pub(crate) fn add_services(&self, count: usize) {
        let mut state = self.api.lock();
        for at in 0..count {
            let (name, address) = (format!("s{at}"), format!("10.97.{}.{}", at / 256, at % 256));
            state.put(json!({
                "kind": "Service", "apiVersion": "v1", "metadata": {"name": name, "namespace": "default", "uid": name},
                "spec": {"type": "ClusterIP", "clusterIP": address, "clusterIPs": [address],
                         "ports": [{"name": "http", "port": 80, "protocol": "TCP"}]},
            }));
        }
    }

    /// Stops the API server.
    pub(crate) fn stop(&self) {
        self.api.down();
    }

    /// Returns the lines of a Corefile that serve it.
    pub(crate) fn directive(&self) -> String {
        self.directive_with("cluster.local", "")
    }

    /// Returns the same with these zones and options.
    pub(crate) fn directive_with(&self, zones: &str, options: &str) -> String {
        format!("kubernetes {zones} {{\n        endpoint http://{}\n        {options}\n    }}", self.api.address)
    }
}
