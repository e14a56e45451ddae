//! Requests: which hold a message, and where (RFC 8484 section 4.1).

use base64::Engine;
use base64::alphabet::URL_SAFE;
use base64::engine::general_purpose::{GeneralPurpose, NO_PAD};
use hyper::body::{Body, Incoming};
use hyper::{Method, Request, StatusCode};

/// The path of messages, as in CoreDNS.
const PATH: &str = "/dns-query";

/// The parameter of a GET that holds the message.
const PARAMETER: &str = "dns";

/// Octets of the largest message.
pub(super) const LARGEST: usize = 65_535;

/// base64url without padding. As in Go, unused bits at the end may be set.
const BASE64: GeneralPurpose = GeneralPurpose::new(&URL_SAFE, NO_PAD.with_decode_allow_trailing_bits(true));

/// The message of a request.
pub(super) enum Asked {
    /// The whole message.
    Message(Vec<u8>),
    /// The body that the message comes in.
    Body(Incoming),
}

/// Finds the message of a request. The rest of the request is dropped here, so that requests that
/// wait do not hold their headers.
///
/// # Errors
/// The status of the response, as CoreDNS chooses it.
pub(super) fn asked(request: Request<Incoming>) -> Result<Asked, StatusCode> {
    if request.uri().path() != PATH {
        return Err(StatusCode::NOT_FOUND);
    }
    match *request.method() {
        Method::GET => message(request.uri().query().unwrap_or_default()).map(Asked::Message),
        Method::POST if request.body().size_hint().lower() <= LARGEST as u64 => Some(Asked::Body(request.into_body())),
        _ => None,
    }
    .ok_or(StatusCode::BAD_REQUEST)
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
