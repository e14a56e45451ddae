//! A Kubernetes API server with one service, so that the names of a cluster can be watched while upstreams fail.

use serde_json::json;

use crate::api::Api;

/// The name of the service and its address.
pub(crate) const SERVICE: &str = "web.default.svc.cluster.local";
pub(crate) const ADDRESS: &str = "10.96.0.7";

/// The API server; it is gone when this is dropped.
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

    /// The lines of a Corefile that serve it.
    pub(crate) fn directive(&self) -> String {
        format!("kubernetes cluster.local {{\n        endpoint http://{}\n    }}", self.api.address)
    }
}
