//! The requests and responses of each dialect.

use std::rc::Rc;

use hyper::body::Incoming;
use hyper::{Request, Response};

use super::content::{Content, Unread};
use super::dialect::{Asked, Dialect, Lack, Written};
use super::{doh, grpc};

/// Finds the message of a request. The rest of the request is dropped here, so that requests that
/// wait do not hold their headers.
///
/// # Errors
/// The request cannot have a query.
pub(super) fn asked(dialect: Dialect, request: Request<Incoming>) -> Result<Asked, Lack> {
    match dialect {
        Dialect::Doh => doh::asked(request),
        Dialect::Grpc => grpc::asked(request),
    }
}

/// Returns the response for a reply, or for the lack of one.
pub(super) fn response(dialect: Dialect, made: Result<Written, Lack>, unread: &Rc<Unread>) -> Response<Content> {
    match dialect {
        Dialect::Doh => doh::response(made, unread),
        Dialect::Grpc => grpc::response(made, unread),
    }
}

/// Returns the status of a response as it is counted.
pub(super) fn label(dialect: Dialect, made: Result<(), Lack>) -> &'static str {
    match dialect {
        Dialect::Doh => doh::label(made),
        Dialect::Grpc => grpc::label(made),
    }
}
