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

use super::super::options::ApiFrom;
use super::super::prefix::FROM;
use super::server::{CA, Server, TOKEN};
use super::token::TokenFile;
use crate::error::words;
use crate::host::log;

/// Makes the client, and says which server it talks to. Nothing is sent yet.
///
/// Must be called within a runtime.
///
/// # Errors
/// When something is missing or cannot be read: environment, token, kubeconfig, certificates.
pub(super) fn connect(from: &ApiFrom, connect_timeout: Duration) -> Result<(Client, Server), String> {
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
    // The stream waits and tries again itself, and logs it.
    config.default_retry = false;
    let token = config.auth_info.token_file.as_ref().map(|file| TokenFile::open(Path::new(file))).transpose()?;
    let client = client(&config, token, connect_timeout);
    let client = client.map_err(|error| format!("Kubernetes API client: {error}"))?;
    Ok((client, Server::new(from, &config)))
}

/// Checks without a network what [`connect`] needs: the URL, and the files of a kubeconfig or of
/// `tls`. What only a Pod has is not looked for.
///
/// # Errors
/// As for [`connect`].
pub(crate) fn check(from: &ApiFrom) -> Result<(), String> {
    // There may be one already; it is the same.
    let _ = rustls::crypto::ring::default_provider().install_default();
    match from {
        ApiFrom::InCluster => Ok(()),
        ApiFrom::Endpoint { url, tls } => endpoint(url, tls.as_ref()).map(drop),
        ApiFrom::Kubeconfig { file, context } => kubeconfig(file, context.clone()).map(drop),
    }
}

/// kube's own stack without its retries, on connections that notice when their peer is gone.
///
/// kube sets no keepalive: a watch whose packets are silently dropped would hang for ever. A token
/// that stands in a file is put in by [`TokenFile`]; as in client-go it goes before other
/// credentials.
fn client(config: &Config, token: Option<TokenFile>, connect_timeout: Duration) -> Result<Client, kube::Error> {
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
    if let Some(token) = token {
        return Ok(builder.with_layer(&token.layer()).with_layer(&config.base_uri_layer()).build());
    }
    Ok(match config.auth_layer()? {
        Some(auth) => builder.with_layer(&auth).with_layer(&config.base_uri_layer()).build(),
        None => builder.with_layer(&config.base_uri_layer()).build(),
    })
}

/// What `Config::incluster` does, with the errors of CoreDNS and without the namespace file, which
/// we need not.
fn in_cluster() -> Result<Config, String> {
    let variable = |name| std::env::var(name).ok().filter(|value| !value.is_empty());
    let (Some(host), Some(port)) = (variable("KUBERNETES_SERVICE_HOST"), variable("KUBERNETES_SERVICE_PORT")) else {
        return Err("unable to load in-cluster configuration, KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT \
                    must be defined\nhelp: every Pod has them; elsewhere name the API server with `kubeconfig FILE` or \
                    `endpoint URL`, or read files with `manifests PATH`"
            .to_owned());
    };
    let host = if host.contains(':') { format!("[{host}]") } else { host };
    let url = format!("https://{host}:{port}");
    let mut config = Config::new(url.parse().map_err(|error| format!("{url:?} is no URL: {error}"))?);
    for file in [TOKEN, CA] {
        let advise =
            |why| format!("{why}\nhelp: the Pod needs a ServiceAccount, and automountServiceAccountToken not false");
        readable(Path::new(file)).map_err(advise)?;
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
    if config.cluster_url.scheme_str() == Some("http") {
        // Otherwise kube reads all certificates of the system, which are not needed.
        config.root_cert = Some(Vec::new());
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
    let failed = |why: String| format!("kubeconfig {}: {why}", file.display());
    readable(file).map_err(failed)?;
    let known = Kubeconfig::read_from(file).map_err(|error| failed(plain(&error)))?;
    has_context(&known, context.as_ref()).map_err(failed)?;
    files_of(&known, context.as_ref()).into_iter().try_for_each(|file| readable(Path::new(&file))).map_err(failed)?;
    let options = KubeConfigOptions { context, ..KubeConfigOptions::default() };
    // kube reads this asynchronously (a plugin for credentials may run); we are called from a
    // runtime's thread.
    let load = move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        runtime.block_on(Config::from_custom_kubeconfig(known, &options)).map_err(|error| plain(&error))
    };
    let loaded = std::thread::scope(|scope| scope.spawn(load).join());
    let mut config = loaded.unwrap_or_else(|_| Err("reading it failed".to_owned())).map_err(failed)?;
    trim_token(&mut config);
    Ok(config)
}

/// Leaves out the white space around a token that stands in the kubeconfig: `token: |` adds a line
/// break.
fn trim_token(config: &mut Config) {
    // The secret itself is shown to serde alone.
    let known = serde_json::to_value(&config.auth_info).unwrap_or_default();
    if let Some(token) = known["token"].as_str() {
        config.auth_info.token = Some(token.trim().to_owned().into());
    }
}

/// Whether the context is there that counts: `wanted`, or the current one.
fn has_context(known: &Kubeconfig, wanted: Option<&String>) -> Result<(), String> {
    let names: Vec<_> = known.contexts.iter().map(|context| context.name.as_str()).collect();
    let there = if names.is_empty() { "it has no contexts".to_owned() } else { format!("it has {}", names.join(", ")) };
    match wanted.or(known.current_context.as_ref()).filter(|name| !name.is_empty()) {
        Some(name) if names.contains(&name.as_str()) => Ok(()),
        Some(name) => Err(format!("there is no context {name:?} in it; {there}")),
        None => Err(format!("no context is named, and it has no current-context; {there}")),
    }
}

/// The files that a context names for its cluster and its user.
fn files_of(known: &Kubeconfig, wanted: Option<&String>) -> Vec<String> {
    let name = wanted.or(known.current_context.as_ref());
    let context =
        known.contexts.iter().find(|context| Some(&context.name) == name).and_then(|named| named.context.as_ref());
    let Some(context) = context else { return Vec::new() };
    let cluster =
        known.clusters.iter().find(|named| named.name == context.cluster).and_then(|named| named.cluster.as_ref());
    let user = known.auth_infos.iter().find(|named| Some(&named.name) == context.user.as_ref());
    let user = user.and_then(|named| named.auth_info.as_ref());
    let of_user = user.map(|user| [&user.client_certificate, &user.client_key, &user.token_file]);
    let of_cluster = cluster.map(|cluster| &cluster.certificate_authority);
    of_cluster.into_iter().chain(of_user.into_iter().flatten()).flatten().cloned().collect()
}

/// kube's words in one line, without quotes around quotes and the system's numbers.
fn plain(error: &dyn std::error::Error) -> String {
    let text = error.to_string();
    let line = text.lines().next().unwrap_or_default().replace("'\"", "").replace("\"'", "");
    line.split(" (os error").next().unwrap_or_default().to_owned()
}

fn readable(file: &Path) -> Result<(), String> {
    std::fs::File::open(file).map(drop).map_err(|error| format!("open {}: {}", file.display(), words(&error)))
}
