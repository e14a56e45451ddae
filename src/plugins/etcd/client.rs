//! Reads keys from etcd through the JSON gateway of its v3 API.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http_body_util::{BodyExt as _, Full, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONTENT_TYPE};
use hyper::{Method, Request, StatusCode};
use hyper_rustls::HttpsConnector;
use hyper_util::client::legacy;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use crate::chain::control::Control;
use crate::host::metrics::{Counter, Family, Metrics};

/// How long one endpoint may take before the next one is asked.
const ATTEMPT: Duration = Duration::from_millis(1500);

/// Requests at a time, for all queries of a server block together.
const REQUESTS: usize = 256;

/// Maximum number of keys that are read for one name. More are left out of the answer.
const KEYS: usize = 1000;

/// Octets of the largest response: that many keys with values of etcd's usual size.
const RESPONSE: usize = 4 << 20;

static SENT: Family = Family {
    name: "signpost_etcd_requests_total",
    help: "Requests to etcd that were answered, or not (failed).",
    labels: &["result"],
};

/// The etcd user of our requests.
#[derive(Clone)]
pub(super) struct Credentials {
    pub(super) name: String,
    pub(super) password: String,
}

/// One key and what belongs to it.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Pair {
    pub(super) key: String,
    pub(super) value: Vec<u8>,
    /// The lease that the key lives as long as; 0 means none.
    pub(super) lease: i64,
}

/// A client of one etcd cluster. It connects when it is first asked.
pub(super) struct Client {
    http: legacy::Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    /// URLs without a slash at the end; at least one.
    endpoints: Vec<String>,
    /// The endpoint that answered last.
    current: AtomicUsize,
    credentials: Option<Credentials>,
    token: Mutex<Option<String>>,
    places: Arc<Semaphore>,
    control: Control,
    answered: Counter,
    failed: Counter,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Range {
    kvs: Vec<Encoded>,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Encoded {
    key: String,
    value: String,
    lease: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Lease {
    #[serde(rename = "TTL")]
    ttl: String,
}

#[derive(Deserialize)]
struct Token {
    token: String,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Refusal {
    message: String,
}

/// Why a request failed.
enum Failure {
    /// The token is no longer valid.
    Token,
    /// etcd says that it cannot do this.
    Refused(String),
    /// There was no usable response: another endpoint may have one.
    Unreachable(String),
}

impl Client {
    pub(super) fn new(
        endpoints: Vec<String>,
        tls: ClientConfig,
        credentials: Option<Credentials>,
        control: Control,
        metrics: &Metrics,
    ) -> Self {
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(ATTEMPT));
        let secured = hyper_rustls::HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http().enable_http1();
        let http = legacy::Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(Duration::from_secs(30))
            .build(secured.wrap_connector(connector));
        Self {
            http,
            endpoints,
            current: AtomicUsize::new(0),
            credentials,
            token: Mutex::default(),
            places: Arc::new(Semaphore::new(REQUESTS)),
            control,
            answered: metrics.counter(&SENT, &["answered"]),
            failed: metrics.counter(&SENT, &["failed"]),
        }
    }

    /// Returns the pair of a key, or of all keys that begin with it.
    pub(super) async fn read(self: &Arc<Self>, key: &str, is_prefix: bool) -> Result<Vec<Pair>, String> {
        let mut body = json!({ "key": STANDARD.encode(key), "limit": KEYS });
        if is_prefix {
            body["range_end"] = json!(STANDARD.encode(after(key)));
        }
        let range: Range = self.ask("/v3/kv/range", body).await?;
        let decode = |text: &str| STANDARD.decode(text).map_err(|error| format!("etcd sent no base64: {error}"));
        let pair = |Encoded { key, value, lease }| {
            let key = String::from_utf8_lossy(&decode(&key)?).into_owned();
            Ok(Pair { key, value: decode(&value)?, lease: lease.parse().unwrap_or_default() })
        };
        range.kvs.into_iter().map(pair).collect()
    }

    /// Returns how many seconds a lease has left; `None` if it has expired or etcd does not say.
    pub(super) async fn time_to_live(self: &Arc<Self>, lease: i64) -> Option<u64> {
        let lease = self.ask::<Lease>("/v3/lease/timetolive", json!({ "ID": lease.to_string() })).await.ok()?;
        lease.ttl.parse().ok().filter(|&seconds| seconds > 0)
    }

    /// Sends a request from the control runtime, which its connections belong to.
    async fn ask<T: DeserializeOwned>(
        self: &Arc<Self>,
        path: &'static str,
        body: serde_json::Value,
    ) -> Result<T, String> {
        let Some(runtime) = self.control.get() else { return Err("the server is starting".to_owned()) };
        let (this, body) = (self.clone(), body.to_string());
        // Waited for in the query's own task: a dropped query no longer waits.
        let place = self.places.clone().acquire_owned().await;
        let asked = runtime.spawn(async move {
            let _place = place;
            this.with_token(path, &body).await
        });
        let response = asked.await.map_err(|error| error.to_string()).and_then(|asked| asked);
        let read = response.and_then(|bytes| {
            serde_json::from_slice(&bytes).map_err(|error| format!("etcd's response cannot be read: {error}"))
        });
        if read.is_ok() { &self.answered } else { &self.failed }.inc();
        read
    }

    /// Sends a request as the user; once more with a new token if the old one is no longer valid.
    async fn with_token(&self, path: &str, body: &str) -> Result<Bytes, String> {
        let mut is_fresh = false;
        loop {
            let mut token = self.known_token();
            if token.is_none() && self.credentials.is_some() {
                (token, is_fresh) = (Some(self.authenticate().await?), true);
            }
            match self.at_any(path, body, token.as_deref()).await {
                Ok(response) => return Ok(response),
                Err(Failure::Token) if self.credentials.is_some() && !is_fresh => self.set_token(None),
                Err(Failure::Token) => return Err("etcd refuses us: name a user with `credentials`".to_owned()),
                Err(Failure::Refused(why) | Failure::Unreachable(why)) => return Err(why),
            }
        }
    }

    async fn authenticate(&self) -> Result<String, String> {
        let Some(Credentials { name, password }) = &self.credentials else { return Err(String::new()) };
        let body = json!({ "name": name, "password": password }).to_string();
        let response = self.at_any("/v3/auth/authenticate", &body, None).await.map_err(|failure| match failure {
            Failure::Token => format!("etcd refuses the user {name}"),
            Failure::Refused(why) | Failure::Unreachable(why) => why,
        })?;
        let Token { token } =
            serde_json::from_slice(&response).map_err(|error| format!("etcd gives no token: {error}"))?;
        self.set_token(Some(token.clone()));
        Ok(token)
    }

    fn known_token(&self) -> Option<String> {
        self.token.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn set_token(&self, token: Option<String>) {
        *self.token.lock().unwrap_or_else(PoisonError::into_inner) = token;
    }

    /// Sends a request to each endpoint until one answers, the one that answered last first.
    async fn at_any(&self, path: &str, body: &str, token: Option<&str>) -> Result<Bytes, Failure> {
        let (first, count) = (self.current.load(Ordering::Relaxed), self.endpoints.len());
        let mut last = Failure::Unreachable(String::new());
        for at in (first..first + count).map(|at| at % count) {
            let endpoint = &self.endpoints[at];
            let silence = || Failure::Unreachable(format!("{endpoint} does not answer"));
            match timeout(ATTEMPT, self.at(endpoint, path, body, token)).await.unwrap_or_else(|_| Err(silence())) {
                Err(failure @ Failure::Unreachable(_)) => last = failure,
                settled => {
                    self.current.store(at, Ordering::Relaxed);
                    return settled;
                }
            }
        }
        Err(last)
    }

    async fn at(&self, endpoint: &str, path: &str, body: &str, token: Option<&str>) -> Result<Bytes, Failure> {
        let unreachable = |why: String| Failure::Unreachable(format!("{endpoint}: {why}"));
        let mut request = Request::builder().method(Method::POST).uri(format!("{endpoint}{path}"));
        request = request.header(CONTENT_TYPE, "application/json");
        if let Some(token) = token {
            request = request.header(AUTHORIZATION, token);
        }
        let request = request.body(Full::from(body.to_owned())).map_err(|error| unreachable(error.to_string()))?;
        let response = self.http.request(request).await.map_err(|error| unreachable(chained(&error)))?;
        let status = response.status();
        let body = Limited::new(response.into_body(), RESPONSE).collect().await;
        let body = body.map_err(|error| unreachable(error.to_string()))?.to_bytes();
        match status {
            StatusCode::OK => Ok(body),
            StatusCode::UNAUTHORIZED => Err(Failure::Token),
            _ => {
                let Refusal { message } = serde_json::from_slice(&body).unwrap_or_default();
                if message.contains("user name is empty") {
                    return Err(Failure::Token);
                }
                let why = format!("{status} {message}");
                let is_final = status.is_client_error() && status != StatusCode::NOT_FOUND;
                Err(if is_final { Failure::Refused(format!("{endpoint}: {why}")) } else { unreachable(why) })
            }
        }
    }
}

/// Returns the end of the range of all keys that begin with `prefix`.
fn after(prefix: &str) -> Vec<u8> {
    let mut end = prefix.as_bytes().to_vec();
    // A path ends in an octet of text, which is never 255.
    if let Some(last) = end.last_mut() {
        *last += 1;
    }
    end
}

/// Returns an error with its causes: hyper's own words say little.
fn chained(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(Some(error), |error| error.source());
    causes.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
