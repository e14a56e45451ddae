//! A question as the cache sees it.

use std::borrow::Cow;

use crate::chain::Query;
use crate::wire::name::MAX_NAME;
use crate::wire::question::Question;
use crate::wire::request::flag;

/// Octets of a key before the name.
const FIXED: usize = 5;

/// A question with everything that makes answers differ.
#[derive(Debug, Clone)]
pub(super) struct Asked<'q> {
    /// The question, with its name in lower case. It borrows from the query, so a hit copies
    /// nothing.
    pub(super) question: Cow<'q, Question>,
    /// The DO bit.
    pub(super) dnssec_ok: bool,
    /// The CD bit.
    pub(super) checking_disabled: bool,
    /// Whether the client looks at the AD bit (RFC 6840 section 5.7).
    pub(super) wants_ad: bool,
}

/// The key of an entry, on the stack. Equal keys mean equal questions.
pub(super) struct Key {
    octets: [u8; FIXED + MAX_NAME],
    len: usize,
}

impl<'q> Asked<'q> {
    pub(super) fn new(query: &'q Query<'_>) -> Self {
        let dnssec_ok = query.dnssec_ok();
        // The flags of the packet are the client's own; plugins may have changed those of the
        // request.
        let has_ad = query.packet()[3] & flag::AD as u8 != 0;
        Self {
            question: Cow::Borrowed(&query.question),
            dnssec_ok,
            checking_disabled: query.request.flags & flag::CD != 0,
            wants_ad: dnssec_ok || has_ad,
        }
    }

    /// Returns the same without the query, for use in the background.
    pub(super) fn into_owned(self) -> Asked<'static> {
        let Self { question, dnssec_ok, checking_disabled, wants_ad } = self;
        Asked { question: Cow::Owned(question.into_owned()), dnssec_ok, checking_disabled, wants_ad }
    }

    /// Returns the key of its answer.
    pub(super) fn key(&self) -> Key {
        let Question { name, qtype, qclass } = &*self.question;
        let (mut octets, len) = ([0; FIXED + MAX_NAME], FIXED + name.len());
        octets[0] = u8::from(self.dnssec_ok) | u8::from(self.checking_disabled) << 1;
        octets[1..3].copy_from_slice(&qtype.to_be_bytes());
        octets[3..5].copy_from_slice(&qclass.to_be_bytes());
        octets[FIXED..len].copy_from_slice(name.wire());
        Key { octets, len }
    }
}

impl Key {
    /// Returns the octets.
    pub(super) fn as_slice(&self) -> &[u8] {
        &self.octets[..self.len]
    }
}
