//! What of an answer is signed.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::signer::Signatures;
use crate::chain::zones::Zones;
use crate::dnssec::nsec;
use crate::dnssec::rrset::CanonicalSet;
use crate::wire::adopt::{records_of, with_records};
use crate::wire::answer::{Answer, Section};
use crate::wire::name::Name;
use crate::wire::question::Question;
use crate::wire::records::MessageRecord;
use crate::wire::types::{class, rcode, rtype};

/// The TTL in seconds that signatures state, as in CoreDNS: the one in the zone is not known.
const ORIGINAL_TTL: u32 = 3600;

/// The types that a name may have, as an NSEC record about it says: those of CoreDNS, and those
/// that resolvers would otherwise conclude not to exist (RFC 8198): PTR, MX, NAPTR, SVCB, HTTPS,
/// CAA.
const NAME_TYPES: [u16; 20] = [1, 12, 13, 15, 16, 28, 29, 33, 35, 37, 44, 46, 47, 52, 55, 61, 64, 65, 99, 257];

/// What the zone's own name may have besides.
const APEX_TYPES: [u16; 3] = [rtype::NS, rtype::SOA, rtype::DNSKEY];

/// What a delegated name has if it has no DS record.
const CUT_TYPES: [u16; 3] = [rtype::NS, rtype::RRSIG, rtype::NSEC];

/// What of an answer is signed, and the records that are added for it.
pub(super) struct Plan {
    question: Question,
    answer: Arc<Answer>,
    added: Vec<(Section, MessageRecord)>,
    pub(super) sets: Vec<Wanted>,
}

/// Records that are signed.
pub(super) struct Wanted {
    pub(super) set: CanonicalSet,
    /// The zone that signs.
    pub(super) zone: Name,
    section: Section,
    /// The TTL of the signatures in seconds: that of the records.
    ttl: u32,
}

/// What an answer says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Records,
    Denial,
    Delegation,
}

impl Plan {
    /// Returns what of the answer to a question is signed; its name is in one of the zones.
    /// `is_cut` says whether it is a delegation. Returns `None` if there is nothing to sign.
    pub(super) fn of(answer: &Arc<Answer>, question: &Question, zones: &Zones, is_cut: bool) -> Option<Self> {
        let records = records_of(answer, question);
        let zone = zones.longest(&question.name)?;
        let mut plan = Self { question: *question, answer: answer.clone(), added: Vec::new(), sets: Vec::new() };
        match Kind::of(answer) {
            Kind::Records => plan.sign_all(&records, zones),
            Kind::Denial => plan.deny(&records, zone, is_cut)?,
            Kind::Delegation => plan.delegate(&records, zone),
        }
        (!plan.sets.is_empty()).then_some(plan)
    }

    /// Returns the answer with signatures, which are in the order of [`Plan::sets`].
    pub(super) fn signed(&self, signatures: &[Arc<Signatures>]) -> Arc<Answer> {
        let mut more = self.added.clone();
        for (wanted, signatures) in self.sets.iter().zip(signatures) {
            more.extend(signatures.data.iter().map(|data| {
                let owner = *wanted.set.owner();
                let record =
                    MessageRecord { owner, rtype: rtype::RRSIG, class: class::IN, ttl: wanted.ttl, data: data.clone() };
                (wanted.section, record)
            }));
        }
        with_records(&self.answer, &self.question, &more)
    }

    /// Signs the records of each name and type, except for signatures and for names of other zones.
    fn sign_all(&mut self, records: &[(Section, MessageRecord)], zones: &Zones) {
        let mut places: HashMap<(Section, Name, u16), usize, RandomState> = HashMap::default();
        // The first record of each set, and the data of all.
        let mut all: Vec<(&MessageRecord, Vec<Vec<u8>>)> = Vec::new();
        for (section, record) in records.iter().filter(|(_, record)| record.rtype != rtype::RRSIG) {
            let at = *places.entry((*section, record.owner.lowered(), record.rtype)).or_insert_with(|| {
                all.push((record, Vec::new()));
                all.len() - 1
            });
            all[at].1.push(record.data.clone());
        }
        let mut sets: Vec<_> = places.into_iter().collect();
        sets.sort_unstable_by_key(|(_, at)| *at);
        for ((section, owner, rtype), at) in sets {
            let (first, data) = (all[at].0, std::mem::take(&mut all[at].1));
            if let Some(zone) = zones.longest(&owner) {
                let set = CanonicalSet::new(&owner, rtype, ORIGINAL_TTL, data);
                self.sets.push(Wanted { set, zone: *zone, section, ttl: first.ttl });
            }
        }
    }

    /// Signs a denial, and adds an NSEC record: NXDOMAIN becomes NODATA. Returns `None` if it is
    /// not a SOA record alone.
    fn deny(&mut self, records: &[(Section, MessageRecord)], zone: &Name, is_cut: bool) -> Option<()> {
        let mut authority = records.iter().filter(|(section, _)| *section == Section::Authority);
        let (_, soa) = authority.next().filter(|(_, first)| first.rtype == rtype::SOA)?;
        if authority.next().is_some() {
            return None;
        }
        let (name, qtype) = (self.question.name, self.question.qtype);
        let types: Vec<u16> = match () {
            () if name == *zone => {
                NAME_TYPES.into_iter().chain(APEX_TYPES).filter(|&rtype| is_kept(rtype, qtype)).collect()
            }
            () if is_cut => CUT_TYPES.to_vec(),
            () => NAME_TYPES.into_iter().filter(|&rtype| is_kept(rtype, qtype)).collect(),
        };
        let next = if is_cut { behind(&name) } else { name.below([&b"\0"[..]]) }?;
        let mut answer = (*self.answer).clone();
        answer.rcode = rcode::NOERROR;
        let section = if qtype == rtype::NSEC {
            // The record was asked for: it is the answer.
            answer = Answer::no_data(answer.flags);
            Section::Answer
        } else {
            self.want(records, Section::Authority, &soa.owner.lowered(), rtype::SOA, zone);
            Section::Authority
        };
        self.answer = Arc::new(answer);
        self.prove(section, name, &next, &types, soa.ttl, zone);
        Some(())
    }

    /// Signs the DS records of a delegation, or adds an NSEC record that says that there are none.
    fn delegate(&mut self, records: &[(Section, MessageRecord)], zone: &Name) {
        let mut authority = records.iter().filter(|(section, _)| *section == Section::Authority);
        if let Some((_, ds)) = authority.clone().find(|(_, record)| record.rtype == rtype::DS) {
            return self.want(records, Section::Authority, &ds.owner.lowered(), rtype::DS, zone);
        }
        let Some((_, ns)) = authority.find(|(_, record)| record.rtype == rtype::NS) else { return };
        let cut = ns.owner.lowered();
        if let Some(next) = behind(&cut) {
            self.prove(Section::Authority, cut, &next, &CUT_TYPES, ns.ttl, zone);
        }
    }

    /// Adds an NSEC record, and signs it.
    fn prove(&mut self, section: Section, owner: Name, next: &Name, types: &[u16], ttl: u32, zone: &Name) {
        let data = nsec::data(next, types);
        let record = MessageRecord { owner, rtype: rtype::NSEC, class: class::IN, ttl, data };
        let added = (section, record);
        self.want(std::slice::from_ref(&added), section, &owner, rtype::NSEC, zone);
        self.added.push(added);
    }

    /// Signs the records of a name and type in a section. Their TTL is that of the first of them.
    fn want(&mut self, records: &[(Section, MessageRecord)], section: Section, owner: &Name, rtype: u16, zone: &Name) {
        let is_of_set = |(its, record): &&(Section, MessageRecord)| {
            *its == section && record.rtype == rtype && record.owner.lowered() == *owner
        };
        let set: Vec<&MessageRecord> = records.iter().filter(is_of_set).map(|(_, record)| record).collect();
        let Some(first) = set.first() else { return };
        let data = set.iter().map(|record| record.data.clone()).collect();
        let set = CanonicalSet::new(owner, rtype, ORIGINAL_TTL, data);
        self.sets.push(Wanted { set, zone: *zone, section, ttl: first.ttl });
    }
}

/// Returns the name after a delegation. It is not below it, where this zone has no names: its first
/// label is one octet longer, if there is room.
fn behind(cut: &Name) -> Option<Name> {
    let mut first = cut.labels().next()?.to_vec();
    first.push(0);
    cut.parent().below([&*first]).or_else(|| cut.below([&b"\0"[..]]))
}

/// Returns whether an NSEC record lists a type: all but the one in the question.
fn is_kept(rtype: u16, qtype: u16) -> bool {
    rtype != qtype || qtype == rtype::NSEC
}

/// Returns whether an answer is a denial.
pub(super) fn denies(answer: &Answer) -> bool {
    Kind::of(answer) == Kind::Denial
}

/// Returns whether an answer is a delegation.
pub(super) fn delegates(answer: &Answer) -> bool {
    Kind::of(answer) == Kind::Delegation
}

impl Kind {
    fn of(answer: &Answer) -> Self {
        let has = |wanted: u16| answer.rtypes(Section::Authority).any(|rtype| rtype == wanted);
        match answer.rcode {
            _ if answer.counts[0] > 0 => Self::Records,
            rcode::NXDOMAIN => Self::Denial,
            rcode::NOERROR if has(rtype::SOA) => Self::Denial,
            rcode::NOERROR if has(rtype::NS) => Self::Delegation,
            _ => Self::Records,
        }
    }
}
