//! The API server, and what is shown to it, as messages and metrics name them.

use kube::config::Config;

use super::super::options::ApiFrom;
use super::cluster::Cluster;

/// The token of a Pod's service account.
pub(super) const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
/// The CA of the cluster, in a Pod.
pub(super) const CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// The API server and what is shown to it, as messages name them.
#[derive(Debug, Clone)]
pub(super) struct Server {
    /// Scheme, host and port: `https://10.96.0.1:443`. A password in the URL is not among them.
    pub(super) url: String,
    /// Host and port alone, as metrics have them.
    pub(super) host: String,
    /// Where the credentials come from.
    pub(super) credentials: String,
    /// Where the CA comes from.
    pub(super) ca: String,
    /// Whether this process runs in a Pod of the cluster, with a service account.
    pub(super) is_pod: bool,
    pub(super) cluster: Cluster,
}

impl Server {
    pub(super) fn new(from: &ApiFrom, config: &Config) -> Self {
        let url = &config.cluster_url;
        let host = url.authority().map(hyper::http::uri::Authority::as_str).unwrap_or_default();
        let host = host.rsplit('@').next().unwrap_or_default().to_owned();
        let (credentials, ca) = match from {
            ApiFrom::InCluster => (TOKEN.to_owned(), CA.to_owned()),
            ApiFrom::Endpoint { tls: Some([certificate, _, ca]), .. } => {
                (certificate.display().to_string(), ca.display().to_string())
            }
            ApiFrom::Endpoint { tls: None, .. } => ("nothing: `tls` is not given".to_owned(), String::new()),
            ApiFrom::Kubeconfig { file, .. } => (file.display().to_string(), format!("of {}", file.display())),
        };
        let scheme = url.scheme_str().unwrap_or("https");
        let url = format!("{scheme}://{host}");
        let (cluster, is_pod) = (cluster(&url, config), *from == ApiFrom::InCluster);
        Self { url, host, credentials, ca, is_pod, cluster }
    }
}

fn cluster(url: &str, config: &Config) -> Cluster {
    Cluster::new(url, config.root_cert_file.clone(), config.root_cert.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_password_of_the_url_is_not_told() {
        for from in [ApiFrom::InCluster, ApiFrom::Kubeconfig { file: "/f".into(), context: None }] {
            let config = Config::new("https://me:secret@10.96.0.1:443/x".parse().expect("a URL"));
            let Server { url, host, .. } = Server::new(&from, &config);
            assert_eq!((&*url, &*host), ("https://10.96.0.1:443", "10.96.0.1:443"));
        }
    }
}
