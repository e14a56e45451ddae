//! A client for the API server that the options name.

use std::path::{Path, PathBuf};
use std::time::Duration;

use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use tower::{BoxError, ServiceExt as _};

use super::super::source::{ApiFrom, FROM};
use crate::host::log;

const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";
const CA: &str = "/var/run/secrets/kubernetes.io/serviceaccount/ca.crt";

/// Makes the client, and says which host it talks to. Nothing is sent yet.
///
/// Must be called within a runtime.
///
/// # Errors
/// When something is missing or cannot be read: environment, token, kubeconfig, certificates.
pub(super) fn connect(from: &ApiFrom, connect_timeout: Duration) -> Result<(Client, String), String> {
    // There may be one already; it is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut config = match from {
        ApiFrom::InCluster => in_cluster()?,
        ApiFrom::Endpoint { url, tls } => endpoint(url, tls.as_ref())?,
        ApiFrom::Kubeconfig { file, context } => kubeconfig(file, context.clone())?,
    };
    if let Some(proxy) = &config.proxy_url {
        let host = proxy.host().unwrap_or_default();
        log::warning(FROM, format_args!("the proxy {host} is not used: the Kubernetes API is reached directly"));
    }
    // Waiting and trying again is our business, and is seen in the log.
    config.default_retry = false;
    let host = config.cluster_url.authority().map(ToString::to_string).unwrap_or_default();
    let client = client(&config, connect_timeout).map_err(|error| format!("Kubernetes API client: {error}"))?;
    Ok((client, host))
}

/// kube's own stack without its retries, on connections that notice when their peer is gone.
///
/// kube sets no keepalive: a watch whose packets are silently dropped would hang for ever.
fn client(config: &Config, connect_timeout: Duration) -> Result<Client, kube::Error> {
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(connect_timeout));
    // Silence is noticed after 15 s + 3 * 5 s, unanswered data after 30 s.
    connector.set_keepalive(Some(Duration::from_secs(15)));
    connector.set_keepalive_interval(Some(Duration::from_secs(5)));
    connector.set_keepalive_retries(Some(3));
    connector.set_tcp_user_timeout(Some(Duration::from_secs(30)));
    let http = legacy::Client::builder(TokioExecutor::new())
        .pool_timer(TokioTimer::new())
        .pool_idle_timeout(Duration::from_secs(30))
        .build::<_, Body>(config.rustls_https_connector_with_connector(connector)?)
        .map_err(BoxError::from);
    let builder = ClientBuilder::new(http, config.default_namespace.clone()).with_layer(&config.extra_headers_layer()?);
    Ok(match config.auth_layer()? {
        Some(auth) => builder.with_layer(&auth).with_layer(&config.base_uri_layer()).build(),
        None => builder.with_layer(&config.base_uri_layer()).build(),
    })
}

/// What `Config::incluster` does, with the errors of CoreDNS and without the namespace file, which we need not.
fn in_cluster() -> Result<Config, String> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (Some(host), Some(port)) = (variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT")) else {
        return Err("unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT \
                    must be defined"
            .to_owned());
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let url = format!("https://{host}:{port}");
    let mut config = Config::new(url.parse().map_err(|error| format!("{url:?} is no URL: {error}"))?);
    for file in [TOKEN, CA] {
        readable(Path::new(file))?;
    }
    config.auth_info.token_file = Some(TOKEN.to_owned());
    set_ca(&mut config, Path::new(CA))?;
    Ok(config)
}

fn endpoint(url: &str, tls: Option<&[PathBuf; 3]>) -> Result<Config, String> {
    let scheme = match (url.contains("://"), tls.is_some()) {
        (true, _) => "",
        (false, true) => "https://",
        (false, false) => "http://",
    };
    let url = format!("{scheme}{url}");
    let mut config = Config::new(url.parse().map_err(|error| format!("endpoint {url:?} is no URL: {error}"))?);
    if config.cluster_url.host().is_none() {
        return Err(format!("endpoint {url:?} names no host"));
    }
    if let Some([certificate, key, ca]) = tls {
        for file in [certificate, key, ca] {
            readable(file)?;
        }
        config.auth_info.client_certificate = Some(certificate.display().to_string());
        config.auth_info.client_key = Some(key.display().to_string());
        set_ca(&mut config, ca)?;
    }
    Ok(config)
}

/// Reads the CA file now, and again once a minute.
fn set_ca(config: &mut Config, file: &Path) -> Result<(), String> {
    // kube asks the system's own certificates first unless it has some; the file is what counts.
    config.root_cert = Some(Vec::new());
    config.root_cert_file = Some(file.to_owned());
    config.rustls_client_config().map(drop).map_err(|error| format!("{}: {error}", file.display()))
}

fn kubeconfig(file: &Path, context: Option<String>) -> Result<Config, String> {
    let name = file.display();
    let known = Kubeconfig::read_from(file).map_err(|error| format!("kubeconfig {name}: {error}"))?;
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    // kube reads this asynchronously (a plugin for credentials may run); we are called from a runtime's thread.
    let load = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        runtime.block_on(Config::from_custom_kubeconfig(known, &options)).map_err(|error| error.to_string())
    };
    let loaded = std::thread::scope(|scope| scope.spawn(load).join());
    let loaded = loaded.unwrap_or_else(|_| Err("reading it failed".to_owned()));
    loaded.map_err(|error| format!("kubeconfig {name}: {error}"))
}

fn readable(file: &Path) -> Result<(), String> {
    std::fs::File::open(file).map(drop).map_err(|error| format!("open {}: {error}", file.display()))
}
