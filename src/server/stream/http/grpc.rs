//! Calls of gRPC: which requests are one, and how each is answered.

use std::rc::Rc;

use hyper::body::{Body, Incoming};
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use hyper::{Method, Request, Response, StatusCode};

use super::content::{Content, Unread};
use super::dialect::{Asked, Lack, Written};
use crate::wire::grpc::{self, STATUS, status};

/// Takes the body of a call.
pub(super) fn asked(request: Request<Incoming>) -> Result<Asked, Lack> {
    let kind = request.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let is_call = kind.is_some_and(|kind| kind.starts_with(grpc::CONTENT_TYPE.as_bytes()));
    match () {
        () if !is_call || request.method() != Method::POST => Err(Lack::NoCall),
        () if request.uri().path() != grpc::PATH => Err(Lack::Nowhere),
        () if request.body().size_hint().lower() > grpc::LARGEST as u64 => Err(Lack::Invalid),
        () => Ok(Asked::Body(request.into_body())),
    }
}

/// Returns the response with a message, or with the status that there is in place of one.
pub(super) fn response(made: Result<Written, Lack>, unread: &Rc<Unread>) -> Response<Content> {
    let mut response = Response::new(());
    if let Err(Lack::NoCall) = made {
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return response.map(|()| Content::new(Vec::new(), unread));
    }
    let fields = response.headers_mut();
    fields.insert(CONTENT_TYPE, HeaderValue::from_static(grpc::CONTENT_TYPE));
    let status = HeaderValue::from(u16::from(status(made.as_ref().err().copied())));
    match made {
        Ok(Written { message, .. }) => {
            let trailers = HeaderMap::from_iter([(STATUS.parse().expect("a field's name"), status)]);
            response.map(|()| Content::new(grpc::body(&message), unread).and_then(trailers))
        }
        Err(_) => {
            fields.insert(STATUS, status);
            response.map(|()| Content::new(Vec::new(), unread))
        }
    }
}

/// Returns the status of a response.
fn status(lack: Option<Lack>) -> u8 {
    match lack {
        None => status::OK,
        Some(Lack::Nowhere) => status::UNIMPLEMENTED,
        Some(Lack::Invalid) => status::INVALID_ARGUMENT,
        Some(Lack::NoReply | Lack::NoCall) => status::UNKNOWN,
        Some(Lack::Malformed(status)) => status,
    }
}

/// Returns the status of a response as it is counted.
pub(super) fn label(made: Result<(), Lack>) -> &'static str {
    match status(made.err()) {
        _ if made == Err(Lack::NoCall) => "415",
        status::OK => "OK",
        status::INVALID_ARGUMENT => "INVALID_ARGUMENT",
        status::UNIMPLEMENTED => "UNIMPLEMENTED",
        status::INTERNAL => "INTERNAL",
        _ => "UNKNOWN",
    }
}
