//! The kind of a reply: whether it may be kept, and for how long.

use super::asked::Asked;
use super::belongs::Records;
use crate::chain::Reply;
use crate::wire::answer::{Answer, Section};
use crate::wire::question::Question;
use crate::wire::reply::Origin;
use crate::wire::soa::is_older;
use crate::wire::types::{class, rcode, rtype};

/// What a reply says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// The requested records, or none and no reason.
    Answer,
    /// A referral to other name servers.
    Delegation,
    /// The name has no such records (RFC 2308 section 2.2).
    NoData,
    /// The name does not exist.
    NoName,
    /// The server or its upstream failed.
    Failure,
    /// Anything else.
    Other,
}

/// A reply as the cache sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Class {
    /// What it says.
    pub(super) kind: Kind,
    /// Whether it may be kept.
    pub(super) keeps: bool,
    /// Whether it holds what was asked for.
    pub(super) answers: bool,
    /// Whether it has signatures that are not valid now, for a client that looks at them.
    pub(super) is_expired: bool,
    /// The records to keep, by index; `None` if all are kept unchanged.
    pub(super) selected: Option<Vec<u16>>,
}

impl Kind {
    /// Returns whether the name or its records are denied, or the server failed.
    pub(super) fn is_denial(self) -> bool {
        matches!(self, Self::NoData | Self::NoName | Self::Failure)
    }

    /// Returns whether the reply says something about the name and does not only report a failure.
    pub(super) fn is_lasting(self) -> bool {
        self != Self::Failure
    }
}

/// Classifies a reply.
///
/// As CoreDNS 1.15.0, with one difference: answers from memory are never kept, since they are
/// always current.
///
/// `today` returns the time in seconds since 1970; it is asked for signatures only.
pub(super) fn classify(reply: &Reply, asked: &Asked<'_>, today: impl Fn() -> u64) -> Class {
    let answer = &*reply.answer;
    let mut found = Class { kind: kind(answer), keeps: true, answers: false, is_expired: false, selected: None };
    if reply.origin != Origin::Fetched {
        // A failure without a cause was made on purpose.
        found.keeps = reply.origin == Origin::Server && answer.rcode == rcode::SERVFAIL && reply.cause().is_some();
        return found;
    }
    found.keeps = !reply.is_truncated() && !matches!(asked.question.qtype, rtype::AXFR | rtype::IXFR);
    if found.kind == Kind::Answer && answer.counts[0] > 0 && is_plain(answer, &asked.question) {
        found.answers = true;
        return found;
    }
    let has_soa = has(answer, rtype::SOA);
    let records = if found.keeps { Records::new(answer, &asked.question) } else { None };
    found.answers =
        found.kind == Kind::Answer && records.as_ref().is_some_and(|records| records.answer(&asked.question));
    if found.kind == Kind::Answer && answer.counts[0] > 0 && !found.answers {
        // Aliases that lead nowhere: without a SOA their lifetime is unknown.
        found.kind = if has_soa { Kind::NoData } else { Kind::Answer };
        found.keeps &= has_soa;
    }
    found.keeps &= match found.kind {
        Kind::NoName => has_soa,
        Kind::Other => false,
        _ => records.is_some(),
    };
    found.is_expired = asked.dnssec_ok && has_expired_signature(answer, today() as u32);
    found.keeps &= !found.is_expired;
    if found.keeps {
        found.selected = records.as_ref().and_then(Records::kept);
        // The SOA of another zone says nothing about this name.
        let is_soa = |&index: &u16| records.as_ref().is_some_and(|records| records.is_soa(index));
        let needs_soa = matches!(found.kind, Kind::NoData | Kind::NoName);
        found.keeps &= !needs_soa || found.selected.as_ref().is_none_or(|kept| kept.iter().any(is_soa));
    }
    found
}

/// Returns whether there is only what was asked for, so that the names need no check.
fn is_plain(answer: &Answer, asked: &Question) -> bool {
    let is_usual = asked.qclass == class::IN && !matches!(asked.qtype, rtype::ANY | rtype::CNAME | rtype::RRSIG);
    is_usual && answer.is_all_of_asked(asked.qtype) && answer.records().all(|record| record.class == class::IN)
}

fn kind(answer: &Answer) -> Kind {
    match (answer.rcode, answer.counts[0]) {
        (rcode::NOERROR, 1..) => Kind::Answer,
        (rcode::NXDOMAIN, 1..) => Kind::Other,
        (rcode::NOERROR, _) if has(answer, rtype::SOA) => Kind::NoData,
        (rcode::NXDOMAIN, _) => Kind::NoName,
        (rcode::SERVFAIL | rcode::NOTIMP, _) => Kind::Failure,
        (rcode::NOERROR, _) if has(answer, rtype::NS) => Kind::Delegation,
        (rcode::NOERROR, _) => Kind::Answer,
        _ => Kind::Other,
    }
}

fn has(answer: &Answer, rtype: u16) -> bool {
    answer.section(Section::Authority).any(|record| record.rtype == rtype)
}

/// Signatures state their period of validity, in serial number arithmetic (RFC 4034 section 3.1.5).
fn has_expired_signature(answer: &Answer, now: u32) -> bool {
    let time = |rdata: &[u8], at: usize| rdata.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    answer.records().filter(|record| record.rtype == rtype::RRSIG).any(|record| {
        let (until, from) = (time(record.rdata, 8), time(record.rdata, 12));
        until.is_none_or(|until| is_older(until, now)) || from.is_none_or(|from| is_older(now, from))
    })
}
