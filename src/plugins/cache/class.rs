//! What kind of answer a reply is: how long it may be kept, and whether at all.

use std::time::{SystemTime, UNIX_EPOCH};

use super::asked::Asked;
use crate::chain::Reply;
use crate::wire::answer::{Answer, Section};
use crate::wire::name::Name;
use crate::wire::reply::Origin;
use crate::wire::types::{rcode, rtype};

/// Aliases that are followed; longer chains are nobody's answer.
const MOST_ALIASES: usize = 32;

/// What a reply says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Here is what was asked for, or nothing and no reason.
    Answer,
    /// Ask those name servers.
    Delegation,
    /// The name has no such records (RFC 2308 section 2.2).
    NoData,
    /// There is no such name.
    NoName,
    /// The server or its upstream failed.
    Failure,
    /// Anything else.
    Other,
}

/// A reply as the cache sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Class {
    /// What it says.
    pub(super) kind: Kind,
    /// Whether it may be kept.
    pub(super) keeps: bool,
    /// Whether it holds what was asked for.
    pub(super) answers: bool,
}

impl Kind {
    /// Whether the name or its records are denied, or the server failed.
    pub(super) fn is_denial(self) -> bool {
        matches!(self, Self::NoData | Self::NoName | Self::Failure)
    }

    /// Whether it says something about the name, and not only that somebody failed.
    pub(super) fn is_lasting(self) -> bool {
        self != Self::Failure
    }
}

/// Finds out what a reply is.
///
/// As CoreDNS 1.15.0, with one difference: answers from memory are never kept, since they are always true.
pub(super) fn classify(reply: &Reply, asked: &Asked) -> Class {
    let answer = &*reply.answer;
    if reply.origin != Origin::Fetched {
        // A failure without a reason was meant to be one.
        let keeps = reply.origin == Origin::Server && answer.rcode == rcode::SERVFAIL && reply.cause().is_some();
        return Class { kind: kind(answer), keeps, answers: false };
    }
    let mut found = Class { kind: kind(answer), keeps: true, answers: false };
    found.answers = found.kind == Kind::Answer && answers(answer, asked);
    let has_soa = has(answer, rtype::SOA);
    let is_empty = answer.counts[0] == 0;
    if found.kind == Kind::Answer && !is_empty && !found.answers {
        // Aliases that lead nowhere: without SOA nobody knows for how long.
        found.kind = if has_soa { Kind::NoData } else { Kind::Answer };
        found.keeps = has_soa;
    }
    found.keeps &= match found.kind {
        Kind::NoName => has_soa,
        Kind::Other => false,
        _ => true,
    };
    found.keeps &= !reply.is_truncated() && !matches!(asked.qtype, rtype::AXFR | rtype::IXFR);
    found.keeps &= !asked.dnssec_ok || !has_expired_signature(answer);
    found
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

/// Signatures say from when to when they are valid (RFC 4034 section 3.1.5).
fn has_expired_signature(answer: &Answer) -> bool {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_secs() as u32);
    let time = |rdata: &[u8], at: usize| rdata.get(at..at + 4)?.try_into().ok().map(u32::from_be_bytes);
    // Serial numbers: the difference counts (RFC 1982).
    let is_after = |a: u32, b: u32| a.wrapping_sub(b).cast_signed() > 0;
    answer.records().filter(|record| record.rtype == rtype::RRSIG).any(|record| {
        let (until, from) = (time(record.rdata, 8), time(record.rdata, 12));
        until.is_none_or(|until| is_after(now, until)) || from.is_none_or(|from| is_after(from, now))
    })
}

//----------- Aliases --------------------------------------------------------

struct Rr {
    owner: Name,
    rtype: u16,
    class: u16,
    target: Option<Name>,
}

/// Whether the records answer the question: one of the type stands where the aliases from the name lead to
/// (RFC 1034 section 3.6.2). Two aliases of one name, or a circle, lead nowhere.
fn answers(answer: &Answer, asked: &Asked) -> bool {
    let Some(records) = answer_section(answer, asked) else { return false };
    let is_right = |record: &Rr| asked.qclass == rtype::ANY || record.class == asked.qclass;
    let is_wanted = |record: &Rr| is_right(record) && (record.rtype == asked.qtype || asked.qtype == rtype::ANY);
    if matches!(asked.qtype, rtype::CNAME | rtype::ANY) {
        return records.iter().any(|record| record.owner == asked.name && is_wanted(record));
    }
    let mut name = asked.name;
    for _ in 0..MOST_ALIASES {
        let at = |record: &&Rr| record.owner == name;
        let mut targets =
            records.iter().filter(at).filter(|record| is_right(record)).filter_map(|record| record.target);
        let Some(target) = targets.next() else { return records.iter().filter(at).any(is_wanted) };
        if targets.any(|other| other != target) {
            return false;
        }
        name = target;
    }
    false
}

/// The records that answer, names in lower case.
fn answer_section(answer: &Answer, asked: &Asked) -> Option<Vec<Rr>> {
    let mut question = asked.name.wire().to_vec();
    question.extend_from_slice(&asked.qtype.to_be_bytes());
    question.extend_from_slice(&asked.qclass.to_be_bytes());
    let message = answer.message(&question);
    let mut at = 12 + question.len();
    let mut records = Vec::with_capacity(usize::from(answer.counts[0]));
    for _ in 0..answer.counts[0] {
        let (owner, fixed) = Name::from_message(&message, at)?;
        let word = |at: usize| message.get(at..at + 2).map(|word| u16::from_be_bytes([word[0], word[1]]));
        let (rtype, class) = (word(fixed)?, word(fixed + 2)?);
        let target = match rtype {
            rtype::CNAME => Some(Name::from_message(&message, fixed + 10)?.0.lowered()),
            _ => None,
        };
        records.push(Rr { owner: owner.lowered(), rtype, class, target });
        at = fixed + 10 + usize::from(word(fixed + 8)?);
    }
    Some(records)
}
