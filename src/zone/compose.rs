//! Writes the records of an answer.

use std::cmp::Ordering;

use super::data::{Datum, Node, RrSet, Zone};
use super::find::{Alias, End, Walk};
use super::names::name_len;
use super::order::canonical;

use crate::wire::answer::Section;
use crate::wire::encode::{Encoder, Names, Owner};
use crate::wire::name::Name;
use crate::wire::request::flag;
use crate::wire::types::{rcode, rtype};

/// Maximum number of targets of one RRset whose addresses are in the additional section.
const MOST_TARGETS: usize = 64;

/// The owner of a record.
#[derive(Clone, Copy)]
enum Whose<'a> {
    /// The name in the question.
    Asked,
    /// Another name.
    Other(&'a Name),
}

/// An answer while it is written.
pub(super) struct Composer<'a, 'e> {
    pub(super) zone: &'a Zone,
    pub(super) e: &'a mut Encoder<'e>,
    pub(super) names: &'a mut Names,
    /// Whether the client wants signatures and proofs, and the zone has them.
    pub(super) dnssec: bool,
}

impl<'a> Composer<'a, '_> {
    /// Writes a whole answer.
    pub(super) fn write(&mut self, walk: &Walk<'_>) {
        // A referral alone is not authoritative; an alias in front of it is.
        if !(walk.hops.is_empty() && matches!(walk.end, End::Cut(_))) {
            self.e.flags(flag::AA);
        }
        self.aliases(walk);
        let whose = if walk.hops.is_empty() { Whose::Asked } else { Whose::Other(&walk.last) };
        match walk.end {
            End::Records { node, set, wildcard } => {
                self.set(Section::Answer, whose, node, set);
                if !(set.rtype == rtype::NS && node.name.len() == self.zone.origin.len()) {
                    self.name_servers();
                }
                self.wildcard_proofs(walk, wildcard);
                self.additional(set);
            }
            End::NoData { node, wildcard } => {
                self.soa();
                self.proof(if wildcard || node.sets.is_empty() { Some(walk.last.lowered()) } else { None }, Some(node));
                self.wildcard_proofs(walk, false);
            }
            End::NoName { encloser } => {
                self.e.rcode(rcode::NXDOMAIN);
                self.soa();
                let wildcard = Name::from_wire(&encloser.name).and_then(|name| name.below([b"*".as_slice()]));
                self.proof(Some(walk.last.lowered()), wildcard.and_then(|name| self.covering(&name)));
                self.wildcard_proofs(walk, false);
            }
            End::Cut(cut) => self.referral(cut, walk),
            End::Outside | End::Stop => {
                self.name_servers();
                self.wildcard_proofs(walk, false);
            }
            End::TooLong => self.e.rcode(rcode::YXDOMAIN),
        }
    }

    /// Writes the aliases that a name leads through.
    pub(super) fn aliases(&mut self, walk: &Walk<'_>) {
        // Records of several types may be reordered afterwards: then no name may point into them.
        let is_fixed = !self.dnssec && walk.hops.iter().all(|hop| matches!(hop.kind, Alias::Cname { .. }));
        for (at, hop) in walk.hops.iter().enumerate() {
            let whose = if at == 0 { Whose::Asked } else { Whose::Other(&hop.owner) };
            match &hop.kind {
                Alias::Cname { set, .. } => self.alias(whose, hop.node, set, is_fixed),
                Alias::Dname { set, target } => {
                    // One DNAME may make several of the names, but is written once.
                    let is_new = walk.hops[..at].iter().all(|other| !std::ptr::eq(other.node, hop.node));
                    if let Some(owner) = Name::from_wire(&hop.node.name).filter(|_| is_new) {
                        self.set(Section::Answer, Whose::Other(&owner), hop.node, set);
                    }
                    if let Some(target) = target {
                        let ttl = set.records[0].ttl;
                        self.record(Section::Answer, whose, rtype::CNAME, ttl, target.wire(), false);
                    }
                }
            }
        }
    }

    fn alias(&mut self, whose: Whose<'_>, node: &Node, set: &RrSet, is_fixed: bool) {
        let Datum { ttl, data } = &set.records[0];
        self.record(Section::Answer, whose, rtype::CNAME, *ttl, data, is_fixed);
        self.signatures(Section::Answer, whose, node, rtype::CNAME, u32::MAX);
    }

    /// Writes the name servers of the zone.
    pub(super) fn name_servers(&mut self) {
        if let Some(set) = self.zone.apex(rtype::NS) {
            let (origin, apex) = (self.zone.origin, &self.zone.nodes[0]);
            self.set(Section::Authority, Whose::Other(&origin), apex, set);
        }
    }

    /// Writes the SOA of a denial: it lives as long as the denial (RFC 2308 section 3).
    pub(super) fn soa(&mut self) {
        let (origin, minimum) = (self.zone.origin, self.zone.soa.minimum);
        let record = self.zone.soa_record();
        let owner = Whose::Other(&origin);
        self.record(Section::Authority, owner, rtype::SOA, record.ttl.min(minimum), record.data, true);
        self.signatures(Section::Authority, owner, &self.zone.nodes[0], rtype::SOA, minimum);
    }

    /// Writes a delegation with its glue. A signed zone says whether the child is signed (RFC 4035
    /// section 3.1.4).
    fn referral(&mut self, cut: &Node, walk: &Walk<'_>) {
        let Some(owner) = Name::from_wire(&cut.name) else { return };
        let Some(servers) = cut.set(rtype::NS) else { return };
        self.set(Section::Authority, Whose::Other(&owner), cut, servers);
        if self.dnssec {
            match cut.set(rtype::DS) {
                Some(set) => self.set(Section::Authority, Whose::Other(&owner), cut, set),
                None => self.proof(None, Some(cut)),
            }
        }
        self.wildcard_proofs(walk, false);
        self.additional(servers);
    }

    /// Writes the NSEC records that cover a name and that stand at a node, each once.
    fn proof(&mut self, name: Option<Name>, node: Option<&Node>) {
        if !self.dnssec {
            return;
        }
        let covering = name.and_then(|name| self.covering(&name));
        let node = node.filter(|node| covering.is_none_or(|covering| !std::ptr::eq(covering, *node)));
        for node in covering.into_iter().chain(node) {
            if let (Some(set), Some(owner)) = (node.set(rtype::NSEC), Name::from_wire(&node.name)) {
                self.set(Section::Authority, Whose::Other(&owner), node, set);
            }
        }
    }

    /// Writes the proof that no closer name exists than the wildcard, for each name that was made
    /// from one (RFC 4035 section 3.1.3.3).
    fn wildcard_proofs(&mut self, walk: &Walk<'_>, last: bool) {
        if !self.dnssec {
            return;
        }
        for hop in walk.hops.iter().filter(|hop| matches!(hop.kind, Alias::Cname { wildcard: true, .. })) {
            self.proof(Some(hop.owner.lowered()), None);
        }
        if last {
            self.proof(Some(walk.last.lowered()), None);
        }
    }

    /// Returns the last node with an NSEC at or before a name in canonical order.
    fn covering(&self, name: &Name) -> Option<&'a Node> {
        let nodes: &'a [Node] = &self.zone.nodes;
        let after = nodes.partition_point(|node| canonical(&node.name, name.wire()) != Ordering::Greater);
        nodes[..after].iter().rev().find(|node| node.set(rtype::NSEC).is_some())
    }

    /// Writes the addresses that the zone has of the names in an RRset.
    pub(super) fn additional(&mut self, set: &RrSet) {
        let skip = match set.rtype {
            rtype::NS => 0,
            rtype::MX | rtype::SVCB | rtype::HTTPS => 2,
            rtype::SRV => 6,
            _ => return,
        };
        let mut done: Vec<Name> = Vec::new();
        for Datum { data, .. } in set.records.iter().take(MOST_TARGETS) {
            let Some(target) = data.get(skip..).and_then(|name| Name::from_wire(&name[..name_len(name)])) else {
                continue;
            };
            let lowered = target.lowered();
            if done.contains(&lowered) {
                continue;
            }
            done.push(lowered);
            let Some(node) = self.zone.node_or_wildcard(&lowered) else { continue };
            for rtype in [rtype::A, rtype::AAAA] {
                if let Some(addresses) = node.set(rtype) {
                    self.set(Section::Additional, Whose::Other(&target), node, addresses);
                }
            }
        }
    }

    /// Writes an RRset and its signatures.
    fn set(&mut self, section: Section, whose: Whose<'_>, node: &Node, set: &RrSet) {
        let is_fixed = section == Section::Authority && !matches!(set.rtype, rtype::MX);
        for Datum { ttl, data } in &set.records {
            self.record(section, whose, set.rtype, *ttl, data, is_fixed);
        }
        self.signatures(section, whose, node, set.rtype, u32::MAX);
    }

    fn signatures(&mut self, section: Section, whose: Whose<'_>, node: &Node, of: u16, most_ttl: u32) {
        let Some(signatures) = node.set(rtype::RRSIG).filter(|_| self.dnssec) else { return };
        for Datum { ttl, data } in signatures.records.iter().filter(|datum| datum.data.starts_with(&of.to_be_bytes())) {
            self.record(section, whose, rtype::RRSIG, (*ttl).min(most_ttl), data, false);
        }
    }

    /// Writes one record. If its position is fixed, later names may point into it.
    fn record(&mut self, section: Section, whose: Whose<'_>, rtype: u16, ttl: u32, data: &[u8], is_fixed: bool) {
        let put = |e: &mut Encoder<'_>, names: &mut Names| put_data(e, names, rtype, data, is_fixed);
        match whose {
            Whose::Asked => {
                let names = &mut *self.names;
                self.e.record(section, Owner::ASKED, rtype, ttl, |e| put(e, names));
            }
            Whose::Other(owner) => _ = self.names.record_in(section, self.e, owner, rtype, ttl, put),
        }
    }
}

/// Writes the data of a record. Names are compressed in types of RFC 1035 alone (RFC 3597 section
/// 4).
fn put_data(e: &mut Encoder<'_>, names: &mut Names, rtype: u16, data: &[u8], is_fixed: bool) {
    let (before, count) = match rtype {
        rtype::NS | rtype::CNAME | rtype::PTR => (0, 1),
        rtype::SOA => (0, 2),
        rtype::MX => (2, 1),
        _ => return e.put(data),
    };
    let (front, mut rest) = data.split_at(before.min(data.len()));
    e.put(front);
    for _ in 0..count {
        let (name, after) = rest.split_at(name_len(rest));
        match Name::from_wire(name) {
            Some(name) if is_fixed => _ = names.put(e, &name),
            Some(name) => _ = names.put_unnoted(e, &name),
            None => e.put(name),
        }
        rest = after;
    }
    e.put(rest);
}
