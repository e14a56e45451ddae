//! Requests to the API server.

use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::header::{ACCEPT, ACCEPT_ENCODING, RETRY_AFTER};
use hyper::{Request, Response, StatusCode};
use kube::Client;
use kube::client::Body;
use tokio::time::Instant;

use super::super::options::ApiFrom;
use super::super::prefix::FROM;
use super::body::BodyReader;
use super::connect::connect;
use super::failure::{Failure, Status};
use super::form::Form;
use super::metrics::Requests;
use super::server::Server;
use super::timing::Timing;
use super::words::root_cause;
use crate::host::repeats::Repeats;
use crate::host::{Host, log};

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
            repeats: Repeats::new(*timing.log_every.start(), *timing.log_every.end()),
            timing,
            pages_only: AtomicBool::new(false),
        })
    }

    fn client(&self) -> Client {
        self.client.lock().unwrap_or_else(PoisonError::into_inner).0.clone()
    }

    /// Reads the credentials again: kube does so by itself for token and CA files, but not for the
    /// rest.
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
        let mut reading = BodyReader::new(self.send(url, accepted).await?);
        let all = reading.all(self.timing.patience).await?;
        self.requests.took(began.elapsed());
        Ok((reading.form, all))
    }

    /// The beginning of an answer, to be read event by event.
    pub(super) async fn open(&self, url: &str, accepted: &'static str) -> Result<BodyReader, Failure> {
        Ok(BodyReader::new(self.send(url, accepted).await?))
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
        let mut reading = BodyReader::new(response);
        let body = reading.all(self.timing.patience).await.unwrap_or_default();
        let status = reading.form.status(&body).unwrap_or_else(|| {
            // A proxy in between, perhaps; its first line will do.
            Status::of_text(String::from_utf8_lossy(&body).lines().next().unwrap_or_default().trim().to_owned())
        });
        Err(status.into_failure(code, retry_after))
    }
}

/// `Retry-After` in seconds; the form with a date is not used by API servers.
fn retry_after(response: &Response<Body>) -> Option<Duration> {
    let seconds: u64 = response.headers().get(RETRY_AFTER)?.to_str().ok()?.parse().ok()?;
    Some(Duration::from_secs(seconds.min(600)))
}
