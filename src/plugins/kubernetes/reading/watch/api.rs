//! Requests to the API server, and what may come of them.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::header::{ACCEPT, ACCEPT_ENCODING, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use serde::Deserialize;
use tokio::time::Instant;

use super::super::source::{ApiFrom, FROM};
use super::Timing;
use super::connect::connect;
use super::form::Form;
use super::metrics::Requests;
use super::reading::Reading;
use super::words::{Server, root_cause};
use crate::host::repeats::Repeats;
use crate::host::{Host, log};

/// What may go wrong.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Failure {
    /// No answer, or one that broke off.
    Unreachable(String),
    /// An answer that says no.
    Refused { status: u16, message: String, retry_after: Option<Duration> },
    /// 410: the resourceVersion or the page token is too old, or unknown to this server.
    Gone(String),
    /// An answer that cannot be read.
    Garbled(String),
}

impl Failure {
    /// In which respect it is like others, so that its line is not repeated.
    pub(super) fn class(&self) -> String {
        match self {
            Self::Unreachable(_) => "unreachable".to_owned(),
            Self::Refused { status, .. } => status.to_string(),
            Self::Gone(_) => "gone".to_owned(),
            Self::Garbled(_) => "garbled".to_owned(),
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unreachable(text) | Self::Gone(text) | Self::Garbled(text) => f.write_str(text),
            Self::Refused { status, message, .. } if message.is_empty() => write!(f, "HTTP status {status}"),
            Self::Refused { message, .. } => f.write_str(message),
        }
    }
}

/// The `Status` that the API server answers with when it says no.
#[derive(Deserialize, Default)]
#[serde(default)]
pub(super) struct Status {
    message: Option<String>,
    reason: Option<String>,
    code: Option<u16>,
    details: Option<Details>,
}

#[derive(Deserialize, Default)]
#[serde(default, rename_all = "camelCase")]
struct Details {
    retry_after_seconds: Option<u64>,
}

impl Status {
    /// As a failure; `code` and `retry_after` are what HTTP says.
    pub(super) fn into_failure(self, code: u16, retry_after: Option<Duration>) -> Failure {
        let status = self.code.filter(|_| code == 200).unwrap_or(code);
        let reason = self.reason.unwrap_or_default();
        let message = self.message.filter(|message| !message.is_empty()).unwrap_or_else(|| reason.clone());
        // A server whose etcd was restored from a backup has not come to our version yet.
        let unknown = message.contains("Too large resource version");
        if status == 410 || unknown || matches!(&*reason, "Expired" | "Gone") {
            return Failure::Gone(message);
        }
        let seconds = self.details.and_then(|details| details.retry_after_seconds).filter(|seconds| *seconds > 0);
        let retry_after = retry_after.or(seconds.map(Duration::from_secs));
        Failure::Refused { status, message, retry_after }
    }
}

//----------- Api ------------------------------------------------------------

/// What all streams of a source share.
pub(super) struct Api {
    from: ApiFrom,
    /// The client, and when it was made.
    client: Mutex<(Client, Instant)>,
    pub(super) server: Server,
    pub(super) timing: Timing,
    requests: Requests,
    /// The server takes no streaming lists.
    pub(super) pages_only: AtomicBool,
    pub(super) repeats: Repeats,
}

impl Api {
    /// Must be called within a runtime.
    ///
    /// # Errors
    /// As for [`connect`].
    pub(super) fn new(from: ApiFrom, timing: Timing, host: &Arc<Host>) -> Result<Self, String> {
        let (client, server) = connect(&from, timing.connect)?;
        Ok(Self {
            from,
            client: Mutex::new((client, Instant::now())),
            requests: Requests::new(host, &server.host),
            server,
            repeats: Repeats::new(timing.log_every.0, timing.log_every.1),
            timing,
            pages_only: AtomicBool::new(false),
        })
    }

    fn client(&self) -> Client {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Reads the credentials again: kube does so by itself for token and CA files, but not for the rest.
    fn renew(&self) {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        if client.1.elapsed() < self.timing.renew {
            return;
        }
        client.1 = Instant::now();
        match connect(&self.from, self.timing.connect) {
            Ok((fresh, _)) => client.0 = fresh,
            Err(error) => {
                if let Some(held_back) = self.repeats.allow("credentials", Instant::now()) {
                    log::warning(FROM, format_args!("the credentials cannot be read again: {error}{held_back}"));
                }
            }
        }
    }

    /// The whole answer to a request, and its form, which is one of those that are accepted.
    pub(super) async fn fetch(&self, url: &str, accepted: &'static str) -> Result<(Form, Vec<u8>), Failure> {
        let began = Instant::now();
        let mut reading = Reading::new(self.send(url, accepted).await?);
        let all = reading.all(self.timing.patience).await?;
        self.requests.took(began.elapsed());
        Ok((reading.form, all))
    }

    /// The beginning of an answer that goes on.
    pub(super) async fn open(&self, url: &str, accepted: &'static str) -> Result<Reading, Failure> {
        Ok(Reading::new(self.send(url, accepted).await?))
    }

    async fn send(&self, url: &str, accepted: &'static str) -> Result<Response<Body>, Failure> {
        let request = Request::get(url)
            .header(ACCEPT, accepted)
            // Servers from 1.37 on compress watches event by event.
            .header(ACCEPT_ENCODING, "identity")
            .body(Body::empty())
            .map_err(|error| Failure::Garbled(error.to_string()))?;
        let client = self.client();
        let sent = tokio::time::timeout(self.timing.patience, client.send(request)).await;
        let response = match sent {
            Err(_) => Err(format!("no answer within {:?}", self.timing.patience)),
            Ok(Err(error)) => Err(root_cause(&error)),
            Ok(Ok(response)) => Ok(response),
        };
        let code = response.as_ref().map_or("<error>".to_owned(), |response| response.status().as_str().to_owned());
        self.requests.count(&code);
        let (unauthorized, certificate) = match &response {
            Ok(response) => (response.status() == StatusCode::UNAUTHORIZED, false),
            // Theirs does not fit our CA, or ours has expired.
            Err(text) => (false, text.contains("certificate") || text.contains("fatal alert")),
        };
        if unauthorized || certificate {
            self.renew();
        }
        let response = response.map_err(Failure::Unreachable)?;
        if response.status() == StatusCode::OK {
            return Ok(response);
        }
        let (code, retry_after) = (response.status().as_u16(), retry_after(&response));
        let mut reading = Reading::new(response);
        let body = reading.all(self.timing.patience).await.unwrap_or_default();
        let status = reading.form.status(&body).unwrap_or_else(|| Status {
            // A proxy in between, perhaps; its first line will do.
            message: Some(String::from_utf8_lossy(&body).lines().next().unwrap_or_default().trim().to_owned()),
            ..Status::default()
        });
        Err(status.into_failure(code, retry_after))
    }
}

/// `Retry-After` in seconds; the form with a date is not used by API servers.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let seconds: u64 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.min(600)))
}

//----------- Heard ----------------------------------------------------------

/// When a stream last heard something, for those who measure its silence.
pub(super) struct Heard(AtomicU64);

impl Heard {
    pub(super) fn new() -> Self {
        let heard = Self(AtomicU64::new(0));
        heard.now();
        heard
    }

    /// Something was heard just now.
    pub(super) fn now(&self) {
        self.0.store(Self::clock(), Ordering::Relaxed);
    }

    /// Seconds since then.
    pub(super) fn ago(&self) -> f64 {
        Self::clock().saturating_sub(self.0.load(Ordering::Relaxed)) as f64 / 1e3
    }

    /// Milliseconds since the first call.
    fn clock() -> u64 {
        static START: std::sync::OnceLock<Instant> = std::sync::OnceLock::new();
        START.get_or_init(Instant::now).elapsed().as_millis() as u64
    }
}

/// A number between 0 and 1.
pub(super) fn random() -> f64 {
    fastrand::f64()
}

/// A time between two.
pub(super) fn between((least, most): (Duration, Duration)) -> Duration {
    least + (most.saturating_sub(least)).mul_f64(random())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn statuses_are_told_apart() {
        let failure =
            |json: &str, code| serde_json::from_str::<Status>(json).expect("a status").into_failure(code, None);
        assert!(
            matches!(failure(r#"{"code": 410, "message": "too old"}"#, 200), Failure::Gone(text) if text == "too old")
        );
        assert!(matches!(failure(r#"{"reason": "Expired"}"#, 410), Failure::Gone(_)));
        let large = r#"{"message": "Too large resource version: 9, current: 3", "details": {"retryAfterSeconds": 1}}"#;
        assert!(matches!(failure(large, 504), Failure::Gone(_)));
        let busy = failure(r#"{"message": "busy", "details": {"retryAfterSeconds": 2}}"#, 429);
        assert_eq!(
            busy,
            Failure::Refused { status: 429, message: "busy".to_owned(), retry_after: Some(Duration::from_secs(2)) }
        );
        assert_eq!(failure("{}", 503).to_string(), "HTTP status 503");
    }
}
