//! What kind of reply a query got, divided as in CoreDNS.

use crate::chain::Reply;
use crate::wire::answer::Section;
use crate::wire::types::{rcode, rtype};

/// Classes of replies that rules distinguish. The values are bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    Success = 1,
    Denial = 2,
    Error = 4,
}

pub(super) const ALL: u8 = 7;

impl Class {
    /// Returns the name of the class.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Success => "success",
            Self::Denial => "denial",
            Self::Error => "error",
        }
    }
}

/// Returns the class of a reply, divided as in CoreDNS.
pub(super) fn classify(qtype: u16, reply: Option<&Reply>) -> Class {
    let Some(reply) = reply else { return Class::Error };
    if matches!(qtype, rtype::AXFR | rtype::IXFR) {
        return Class::Error;
    }
    let answer = &reply.answer;
    let has = |wanted: u16| answer.section(Section::Authority).any(|record| record.rtype == wanted);
    match (reply.rcode(), answer.counts[0]) {
        (rcode::NOERROR, 0) if has(rtype::SOA) => Class::Denial,
        (rcode::NOERROR, _) => Class::Success,
        (rcode::NXDOMAIN, 0) => Class::Denial,
        _ => Class::Error,
    }
}

/// Returns the type of a reply, by CoreDNS's name of it.
pub(super) fn kind(qtype: u16, reply: Option<&Reply>) -> &'static str {
    let Some(reply) = reply else { return "OTHERERROR" };
    let has = |wanted: u16| reply.answer.section(Section::Authority).any(|record| record.rtype == wanted);
    match (reply.rcode(), reply.answer.counts[0]) {
        _ if matches!(qtype, rtype::AXFR | rtype::IXFR) => "META",
        (rcode::NOERROR, 0) if has(rtype::SOA) => "NODATA",
        (rcode::NOERROR, 0) if has(rtype::NS) => "DELEGATION",
        (rcode::NOERROR, _) => "NOERROR",
        (rcode::NXDOMAIN, 0) => "NXDOMAIN",
        (rcode::SERVFAIL | rcode::NOTIMP, 0) => "SERVERERROR",
        _ => "OTHERERROR",
    }
}
