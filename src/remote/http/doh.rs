//! Messages in requests of DNS over HTTPS (RFC 8484).

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::http::Result;
use hyper::{Request, Response, StatusCode, header};

use super::super::failure::Failure;

/// The media type of a message.
const MESSAGE: &str = "application/dns-message";

/// Octets of a message, at most.
const LARGEST: usize = 65_535;

/// The request with a message. With `is_get` the message stands in the URL.
pub(super) fn request(server: &str, message: Vec<u8>, is_get: bool) -> Result<Request<Full<Bytes>>> {
    let uri = format!("{server}/dns-query");
    if is_get {
        let uri = format!("{uri}?dns={}", URL_SAFE_NO_PAD.encode(&message));
        return Request::get(uri).header(header::ACCEPT, MESSAGE).body(Full::default());
    }
    let head = Request::post(uri).header(header::ACCEPT, MESSAGE).header(header::CONTENT_TYPE, MESSAGE);
    head.body(Full::from(message))
}

/// Reads the message of a response; `closed` says that it was cut off.
pub(super) async fn message(
    response: Response<Incoming>,
    closed: impl Fn() -> Failure,
) -> std::result::Result<Bytes, Failure> {
    if response.status() != StatusCode::OK {
        return Err(Failure::other(&format!("the upstream answered with HTTP status {}", response.status())));
    }
    match response.headers().get(header::CONTENT_TYPE) {
        Some(kind) if kind.as_bytes().starts_with(MESSAGE.as_bytes()) => {}
        kind => return Err(Failure::other(&format!("the upstream answered with content of type {kind:?}"))),
    }
    Ok(Limited::new(response.into_body(), LARGEST).collect().await.map_err(|_| closed())?.to_bytes())
}
