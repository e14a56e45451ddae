//! DNS over HTTPS (RFC 8484): which requests hold a message, and where (section 4.1); responses
//! with the time that caches may keep a message.

use std::rc::Rc;

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use hyper::body::{Body, Incoming};
use hyper::header::{CACHE_CONTROL, CONTENT_TYPE, HeaderValue, X_CONTENT_TYPE_OPTIONS};
use hyper::{Method, Request, Response, StatusCode};

use super::content::{Content, Unread};
use super::dialect::{Asked, LARGEST, Lack, Written};
use crate::chain::Reply;
use crate::wire::answer::Section;
use crate::wire::types::{rcode, rtype};

/// The path of messages, as in CoreDNS.
const PATH: &str = "/dns-query";

/// The parameter of a GET that holds the message.
const PARAMETER: &str = "dns";

/// base64url without padding. As in Go, unused bits at the end may be set.
const BASE64: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));

/// The media types of a message (RFC 8484 section 6), and of everything else.
const TYPES: (&str, &str) = ("application/dns-message", "text/plain; charset=utf-8");

/// How long caches may keep a reply, in seconds: if its records do not say, and at most. Both are
/// those of CoreDNS.
const FRESH: (u32, u32) = (5, 3600);

//----------- Requests -------------------------------------------------------

/// Finds the message of a request.
pub(super) fn asked(request: Request<Incoming>) -> Result<Asked, Lack> {
    if request.uri().path() != PATH {
        return Err(Lack::Nowhere);
    }
    match *request.method() {
        Method::GET => message(request.uri().query().unwrap_or_default()).map(Asked::Message),
        Method::POST if request.body().size_hint().lower() <= LARGEST as u64 => Some(Asked::Body(request.into_body())),
        _ => None,
    }
    .ok_or(Lack::Invalid)
}

/// Returns the message in a query string, if there is exactly one.
fn message(query: &str) -> Option<Vec<u8>> {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(name, _)| *name == PARAMETER).map(|(_, value)| value);
    let value = values.next().filter(|_| values.next().is_none())?;
    let message = BASE64.decode(plain(value)?).ok()?;
    (message.len() <= LARGEST).then_some(message)
}

/// Undoes percent-encoding (RFC 3986 section 2.1).
fn plain(text: &str) -> Option<Vec<u8>> {
    let (mut plain, mut rest) = (Vec::with_capacity(text.len()), text.as_bytes());
    while let Some((&first, behind)) = rest.split_first() {
        rest = behind;
        plain.push(match first {
            b'%' => {
                let (digits, behind) = rest.split_at_checked(2)?;
                rest = behind;
                u8::from_str_radix(str::from_utf8(digits).ok()?, 16).ok()?
            }
            other => other,
        });
    }
    Some(plain)
}

//----------- Responses ------------------------------------------------------

/// Returns the response for a reply, or for the status that there is in place of one.
pub(super) fn response(made: Result<Written, Lack>, unread: &Rc<Unread>) -> Response<Content> {
    let mut response = Response::new(());
    *response.status_mut() = status(made.as_ref().err().copied());
    let headers = response.headers_mut();
    let content = match made {
        Ok(Written { message, fresh }) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(TYPES.0));
            let control = HeaderValue::try_from(format!("max-age={fresh}"));
            headers.insert(CACHE_CONTROL, control.expect("letters and digits"));
            message
        }
        Err(lack) => {
            headers.insert(CONTENT_TYPE, HeaderValue::from_static(TYPES.1));
            headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
            explanation(lack).into()
        }
    };
    response.map(|()| Content::new(content, unread))
}

/// Returns the status of a response, as CoreDNS chooses it.
fn status(lack: Option<Lack>) -> StatusCode {
    match lack {
        None => StatusCode::OK,
        Some(Lack::Nowhere) => StatusCode::NOT_FOUND,
        Some(Lack::NoReply) => StatusCode::INTERNAL_SERVER_ERROR,
        Some(Lack::Invalid | Lack::NoCall | Lack::Malformed(_)) => StatusCode::BAD_REQUEST,
    }
}

/// Returns the status of a response as it is counted.
pub(super) fn label(made: Result<(), Lack>) -> &'static str {
    match status(made.err()) {
        StatusCode::OK => "200",
        StatusCode::NOT_FOUND => "404",
        StatusCode::BAD_REQUEST => "400",
        _ => "500",
    }
}

/// Returns the text of a response without a message, as in CoreDNS.
fn explanation(lack: Lack) -> &'static str {
    match lack {
        Lack::Nowhere => "\n",
        Lack::NoReply => "No response\n",
        Lack::Invalid | Lack::NoCall | Lack::Malformed(_) => "invalid request\n",
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_stands_in_one_parameter() {
        for (query, expected) in [
            ("dns=AAEC", Some(vec![0, 1, 2])),
            ("a=b&dns=AAEC&ct=x", Some(vec![0, 1, 2])),
            ("dns=-_-_", Some(vec![0xFB, 0xFF, 0xBF])),
            ("dns=%2d%5F-_", Some(vec![0xFB, 0xFF, 0xBF])),
            ("dns=AB", Some(vec![0])),
            ("dns=", Some(vec![])),
            ("", None),
            ("dns", None),
            ("DNS=AAEC", None),
            ("dns=AAEC&dns=AAEC", None),
            ("dns=AA==", None),
            ("dns=+/+/", None),
            ("dns=A", None),
            ("dns=AAE%2", None),
            ("dns=AAE%zz", None),
        ] {
            assert_eq!(message(query), expected, "{query}");
        }
        let long = |octets: usize| message(&format!("dns={}", BASE64.encode(vec![0; octets]))).map(|long| long.len());
        assert_eq!((long(LARGEST), long(LARGEST + 1)), (Some(LARGEST), None));
    }
}
