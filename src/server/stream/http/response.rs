//! Responses: a message with the time that caches may keep it, or a status without one.

use std::rc::Rc;

use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Response, StatusCode};

use super::content::{Content, Unread};
use crate::chain::Reply;
use crate::wire::answer::Section;
use crate::wire::types::{rcode, rtype};

/// How long caches may keep a reply, in seconds: if its records do not say, and at most. Both are
/// those of CoreDNS.
const FRESH: (u32, u32) = (5, 3600);

/// The media types of a message (RFC 8484 section 6), and of everything else.
const TYPES: (&str, &str) = ("application/dns-message", "text/plain; charset=utf-8");

/// A reply as a response carries it.
pub(super) struct Written {
    pub(super) message: Vec<u8>,
    /// For how many seconds it may be kept.
    pub(super) fresh: u32,
}

/// Returns the response for a reply, or for the status that there is in place of one.
pub(super) fn response(made: Result<Written, StatusCode>, unread: &Rc<Unread>) -> Response<Content> {
    let mut response = Response::new(());
    let headers = response.headers_mut();
    let content = match made {
        Ok(Written { message, fresh }) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(TYPES.0));
            let control = HeaderValue::try_from(format!("max-age={fresh}"));
            headers.insert(CACHE_CONTROL, control.expect("letters and digits"));
            message
        }
        Err(status) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(TYPES.1));
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            *response.status_mut() = status;
            explanation(status).into()
        }
    };
    response.map(|()| Content::new(content, unread))
}

/// Returns the text of a response without a message, as in CoreDNS.
fn explanation(status: StatusCode) -> &'static str {
    match status {
        StatusCode::BAD_REQUEST => "invalid request\n",
        StatusCode::INTERNAL_SERVER_ERROR => "No response\n",
        _ => "\n",
    }
}

/// Returns for how many seconds caches may keep a reply (RFC 8484 section 5.1): the smallest TTL of
/// its records, if it says what exists or does not, as in CoreDNS.
pub(super) fn fresh(reply: &Reply) -> u32 {
    let (answer, has_answers) = (&reply.answer, reply.answer.counts[0] > 0);
    let is_referral = || {
        let mut authorities = answer.rtypes(Section::Authority);
        answer.counts[1] > 0 && authorities.all(|rtype| rtype != rtype::SOA)
    };
    let counts = match answer.rcode {
        rcode::NOERROR => has_answers || !is_referral(),
        rcode::NXDOMAIN => !has_answers,
        _ => false,
    };
    let least = answer.min_ttl().filter(|_| counts);
    least.map_or(FRESH.0, |stored| reply.ttl.unwrap_or(stored).min(FRESH.1))
}
