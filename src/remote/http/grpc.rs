//! Messages in calls of gRPC.

use http_body_util::{BodyExt, Full, Limited};
use hyper::body::{Bytes, Incoming};
use hyper::http::Result;
use hyper::{HeaderMap, Request, Response, StatusCode, header};

use super::super::failure::Failure;
use crate::wire::grpc::{CONTENT_TYPE, LARGEST, PATH, STATUS, body, message as message_of, status};

/// The request with a message. The field `te` tells proxies to pass trailers on.
pub(super) fn request(server: &str, message: &[u8]) -> Result<Request<Full<Bytes>>> {
    let head = Request::post(format!("{server}{PATH}")).header(header::TE, "trailers");
    head.header(header::CONTENT_TYPE, CONTENT_TYPE).body(Full::from(body(message)))
}

/// Reads the message of a response; `closed` says that it was cut off. Returns `None` if the server
/// says that there is no such name.
pub(super) async fn message(
    response: Response<Incoming>,
    closed: impl Fn() -> Failure,
) -> std::result::Result<Option<Bytes>, Failure> {
    if response.status() != StatusCode::OK {
        return Err(Failure::other(&format!("the upstream answered with HTTP status {}", response.status())));
    }
    // A response without a body has the status among its other fields.
    let early = status_of(response.headers());
    let body = Limited::new(response.into_body(), LARGEST).collect().await.map_err(|_| closed())?;
    match early.or_else(|| body.trailers().and_then(status_of)) {
        Some(Ok(status::OK)) => {}
        Some(Ok(status::NOT_FOUND)) => return Ok(None),
        Some(Ok(status)) => return Err(Failure::other(&format!("the upstream answered with gRPC status {status}"))),
        Some(Err(())) | None => return Err(Failure::other("the upstream answered without a gRPC status")),
    }
    let body = body.to_bytes();
    let message = message_of(&body).map_err(|_| Failure::other("the upstream's response holds no packet"))?;
    Ok(Some(body.slice_ref(message)))
}

/// Returns the status among the fields of a response, if there is one.
fn status_of(fields: &HeaderMap) -> Option<std::result::Result<u8, ()>> {
    Some(fields.get(STATUS)?.to_str().ok().and_then(|number| number.parse().ok()).ok_or(()))
}
