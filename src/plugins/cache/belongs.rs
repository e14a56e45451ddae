//! Which records of an answer belong to the question: only these are kept.
//!
//! An upstream may add records that were not requested: addresses of other names, name servers of
//! other zones. The client that asked gets the reply as it came, but the cache would serve such
//! records again and again. These belong:
//!
//! - in Answer: records of the name, and of the names its aliases lead to (with the DNAME above
//!   that made them);
//! - in Authority: SOA, NS and DS of these names or above; NSEC and NSEC3 of the zone, with
//!   signatures;
//! - in Additional: records of a name that another kept record leads to.
//!
//! Each section takes one pass, so that an answer of 64 KiB costs a millisecond at most.

use super::names::Names;
use crate::wire::answer::{Answer, Section};
use crate::wire::name::Name;
use crate::wire::question::Question;
use crate::wire::request::HEADER;
use crate::wire::types::rtype;

/// Maximum number of aliases to follow; real answers have shorter chains.
const MOST_ALIASES: usize = 32;

/// The parsed records of an answer.
pub(super) struct Records {
    names: Names,
    all: Vec<Rr>,
    /// The numbers of the name in the question and of the names its aliases lead to, in that order.
    chain: Vec<u16>,
    /// Whether the chain ends: no circle, no fork, not too long.
    ends: bool,
}

struct Rr {
    section: Section,
    owner: u16,
    rtype: u16,
    class: u16,
    /// The name that the data leads to, or the signer.
    target: Option<u16>,
}

impl Records {
    /// Parses an answer to `asked`. Returns `None` if it cannot be read.
    pub(super) fn new(answer: &Answer, asked: &Question) -> Option<Self> {
        let message = answer.message(asked);
        let mut names = Names::new(&asked.name);
        let mut at = HEADER + asked.wire_len();
        let mut all = Vec::with_capacity(answer.counts.iter().map(|&count| usize::from(count)).sum());
        for record in answer.records() {
            let (owner, fixed) = Name::from_message(&message, at)?;
            let data = fixed + 10;
            at = data + record.rdata.len();
            let target = match leads_to(record.rtype) {
                Some(skip) => names.number(Name::from_message(&message, data + skip)?.0.lowered().wire()),
                None => None,
            };
            let owner = names.number(owner.lowered().wire())?;
            all.push(Rr { section: record.section, owner, rtype: record.rtype, class: record.class, target });
        }
        let mut records = Self { names, all, chain: vec![0], ends: true };
        records.follow(asked);
        Some(records)
    }

    /// Follows the aliases from the name in the question (RFC 1034 section 3.6.2).
    fn follow(&mut self, asked: &Question) {
        if matches!(asked.qtype, rtype::CNAME | rtype::ANY) {
            return;
        }
        // A name with two aliases leads nowhere.
        let mut aliases = vec![None; self.names.len()];
        let mut forks = vec![false; self.names.len()];
        for record in self.all.iter().filter(|record| record.is_alias(asked)) {
            let alias = &mut aliases[usize::from(record.owner)];
            forks[usize::from(record.owner)] |= alias.is_some() && *alias != record.target;
            *alias = record.target;
        }
        let mut name = 0;
        while let Some(target) = aliases[usize::from(name)] {
            self.ends &= !forks[usize::from(name)] && self.chain.len() < MOST_ALIASES;
            if !self.ends {
                return;
            }
            self.chain.push(target);
            name = target;
        }
    }

    /// Returns whether a record of the requested type is at the end of the aliases.
    pub(super) fn answer(&self, asked: &Question) -> bool {
        let end = *self.chain.last().unwrap_or(&0);
        let is_wanted = |record: &&Rr| {
            record.owner == end
                && (asked.qtype == rtype::ANY || record.rtype == asked.qtype)
                && (asked.qclass == rtype::ANY || record.class == asked.qclass)
        };
        self.ends && self.section(Section::Answer).any(|(_, record)| is_wanted(&record))
    }

    /// Returns the records to keep, as indexes in message order; `None` if all are kept unchanged.
    ///
    /// Aliases are moved to the front, in the order of the chain, because some resolvers read only
    /// forward.
    pub(super) fn kept(&self) -> Option<Vec<u16>> {
        let mut kept = Vec::with_capacity(self.all.len());
        let in_chain = self.marked(self.chain.iter().copied());
        let above = self.marked(
            self.chain.iter().flat_map(|&name| self.names.upward(name)).filter_map(|name| self.names.find(name)),
        );
        let is = |marks: &[bool], number: u16| marks[usize::from(number)];
        kept.extend(
            self.section(Section::Answer)
                .filter(|(_, record)| {
                    // A DNAME makes an alias; without an alias it is about other names.
                    let explains = self.chain.len() > 1 && matches!(record.rtype, rtype::DNAME | rtype::RRSIG);
                    is(&in_chain, record.owner) || explains && is(&above, record.owner)
                })
                .map(|(index, _)| index),
        );
        let is_sorted = self.sort_aliases(&mut kept);
        let zones = self.zones(&above);
        kept.extend(
            self.section(Section::Authority)
                .filter(|(_, record)| {
                    let is_proof = matches!(record.rtype, rtype::NSEC | rtype::NSEC3 | rtype::RRSIG);
                    let is_of_zone = matches!(record.rtype, rtype::SOA | rtype::NS | rtype::DS);
                    is_of_zone && is(&above, record.owner) || is_proof && self.is_in(record.owner, &zones)
                })
                .map(|(index, _)| index),
        );
        let mut named = in_chain;
        for &index in &kept {
            self.name_target(index, &mut named);
        }
        for (index, record) in self.section(Section::Additional) {
            if is(&named, record.owner) {
                kept.push(index);
                self.name_target(index, &mut named);
            }
        }
        (!is_sorted || kept.len() < self.all.len()).then_some(kept)
    }

    /// Returns whether the record with this index is a SOA in Authority.
    pub(super) fn is_soa(&self, index: u16) -> bool {
        let record = &self.all[usize::from(index)];
        record.section == Section::Authority && record.rtype == rtype::SOA
    }

    /// Puts aliases in front, unless each precedes its target. Returns whether they already did.
    fn sort_aliases(&self, kept: &mut [u16]) -> bool {
        let rank = |&index: &u16| {
            let record = &self.all[usize::from(index)];
            let place = || self.chain.iter().position(|&name| name == record.owner);
            if record.rtype == rtype::CNAME { place().unwrap_or(usize::MAX) } else { usize::MAX }
        };
        let last_alias = kept.iter().rposition(|index| rank(index) < usize::MAX).unwrap_or(0);
        let is_address = |&index: &u16| matches!(self.all[usize::from(index)].rtype, rtype::A | rtype::AAAA);
        let aliases = kept.iter().map(rank).filter(|&rank| rank < usize::MAX);
        let is_sorted = aliases.is_sorted() && !kept[..last_alias].iter().any(is_address);
        if !is_sorted {
            kept.sort_by_key(rank);
        }
        is_sorted
    }

    /// Returns the zones of the answer: those with SOA or NS in Authority, and signers.
    fn zones(&self, above: &[bool]) -> Vec<bool> {
        let zone = |record: &Rr| match record.rtype {
            rtype::SOA | rtype::NS if record.section == Section::Authority => Some(record.owner),
            rtype::RRSIG => record.target,
            _ => None,
        };
        self.marked(self.all.iter().filter_map(zone).filter(|&zone| above[usize::from(zone)]))
    }

    fn is_in(&self, name: u16, zones: &[bool]) -> bool {
        self.names.upward(name).filter_map(|above| self.names.find(above)).any(|above| zones[usize::from(above)])
    }

    fn name_target(&self, index: u16, named: &mut [bool]) {
        let record = &self.all[usize::from(index)];
        if let Some(target) = record.target.filter(|_| record.rtype != rtype::RRSIG) {
            named[usize::from(target)] = true;
        }
    }

    fn marked(&self, numbers: impl Iterator<Item = u16>) -> Vec<bool> {
        let mut marks = vec![false; self.names.len()];
        numbers.for_each(|number| marks[usize::from(number)] = true);
        marks
    }

    fn section(&self, section: Section) -> impl Iterator<Item = (u16, &Rr)> {
        (0..).zip(&self.all).filter(move |(_, record)| record.section == section)
    }
}

impl Rr {
    fn is_alias(&self, asked: &Question) -> bool {
        let is_right = asked.qclass == rtype::ANY || self.class == asked.qclass;
        self.section == Section::Answer && self.rtype == rtype::CNAME && is_right
    }
}

/// Returns the octets before the name that the data of a type leads to; for a signature, before the
/// signer.
fn leads_to(kind: u16) -> Option<usize> {
    match kind {
        rtype::NS | rtype::CNAME | rtype::PTR | rtype::DNAME => Some(0),
        // After a preference: MX, AFSDB, RT, KX, SVCB and HTTPS.
        rtype::MX | 18 | 21 | 36 | rtype::SVCB | rtype::HTTPS => Some(2),
        rtype::SRV => Some(6),
        rtype::RRSIG => Some(18),
        _ => None,
    }
}
