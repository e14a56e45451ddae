//! A zone in memory.

use std::collections::{HashMap, HashSet};
use std::hash::BuildHasher;
use std::sync::OnceLock;

use foldhash::fast::RandomState;
use hashbrown::HashTable;

use super::order::{canonical, parent};
use super::ready::Ready;
use crate::wire::name::Name;
use crate::wire::types::rtype;

/// Maximum number of records of one zone, so that a file cannot exhaust the machine's memory.
pub const MOST_RECORDS: usize = 10_000_000;

//----------- Zone -----------------------------------------------------------

/// The data of one zone, complete and never changed.
pub struct Zone {
    pub(super) origin: Name,
    pub(super) soa: Soa,
    /// Whether the zone has signatures, or says that a delegated zone has them.
    pub(super) signed: bool,
    /// All names, empty non-terminals included, in canonical order: the zone's own name is first.
    pub(super) nodes: Vec<Node>,
    index: HashTable<u32>,
    hasher: RandomState,
    /// The denials that do not depend on the name; see [`Denials`].
    pub(super) denials: Denials,
}

/// The numbers of a zone's SOA record (RFC 1035 section 3.3.13).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Soa {
    /// The version of the zone.
    pub serial: u32,
    /// How often a secondary asks for the serial, in seconds.
    pub refresh: u32,
    /// How soon it asks again after a failure, in seconds.
    pub retry: u32,
    /// How long it serves the zone without an answer, in seconds.
    pub expire: u32,
    /// The maximum TTL of denials, in seconds (RFC 2308 section 4).
    pub minimum: u32,
}

/// Denials without signatures: the same for all names of the zone.
#[derive(Default)]
pub(super) struct Denials {
    pub(super) no_data: OnceLock<Ready>,
    pub(super) empty: OnceLock<Ready>,
    pub(super) no_name: OnceLock<Ready>,
}

/// A name of the zone.
pub(super) struct Node {
    /// In wire form and lower case.
    pub(super) name: Box<[u8]>,
    /// Its RRsets; an empty non-terminal has none.
    pub(super) sets: Box<[RrSet]>,
    /// What hides the name: a cut at or above it, or a DNAME above it.
    pub(super) at: Cover,
    /// What hides names below that do not exist.
    pub(super) below: Cover,
    /// The node of `*` below this name.
    pub(super) wildcard: Option<u32>,
}

/// A node that decides about names below it; the one nearest to the zone's own name counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) enum Cover {
    /// Nothing decides.
    #[default]
    None,
    /// A delegation (RFC 1034 section 4.2).
    Cut(u32),
    /// A DNAME record (RFC 6672).
    Dname(u32),
}

/// The records of one name and type.
pub(super) struct RrSet {
    pub(super) rtype: u16,
    pub(super) records: Box<[Datum]>,
    /// The answer made of this set, and the one for clients that want signatures.
    pub(super) ready: [OnceLock<Ready>; 2],
    /// For a CNAME: the whole answers for A and AAAA, in pairs as in `ready`.
    pub(super) aliased: [OnceLock<Ready>; 4],
}

/// One record without owner and type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Datum {
    /// In seconds.
    pub(super) ttl: u32,
    /// In wire form, without compression.
    pub(super) data: Box<[u8]>,
}

/// One record of a zone, as transfers need it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ZoneRecord<'a> {
    /// The owner, in wire form and lower case.
    pub owner: &'a [u8],
    /// The type.
    pub rtype: u16,
    /// The TTL in seconds.
    pub ttl: u32,
    /// The data in wire form, without compression.
    pub data: &'a [u8],
}

impl Zone {
    /// Returns the zone's own name, in lower case.
    #[must_use]
    pub fn origin(&self) -> &Name {
        &self.origin
    }

    /// Returns the numbers of the SOA record.
    #[must_use]
    pub fn soa(&self) -> Soa {
        self.soa
    }

    /// Returns the SOA record.
    #[must_use]
    pub fn soa_record(&self) -> ZoneRecord<'_> {
        let (owner, soa) = (self.origin.wire(), self.apex(rtype::SOA));
        let Datum { ttl, data } = &soa.expect("every zone has a SOA").records[0];
        ZoneRecord { owner, rtype: rtype::SOA, ttl: *ttl, data }
    }

    /// Returns all records in the order of a transfer (RFC 5936 section 2.2): the SOA first, then
    /// all others in canonical order. A transfer ends with [`Zone::soa_record`] again.
    pub fn records(&self) -> impl Iterator<Item = ZoneRecord<'_>> {
        let all = self.nodes.iter().flat_map(|node| node.sets.iter().map(move |set| (node, set)));
        let others = all.filter(|(_, set)| set.rtype != rtype::SOA).flat_map(|(node, set)| set.records_of(&node.name));
        std::iter::once(self.soa_record()).chain(others)
    }

    /// Returns the names below a DNAME. They are not allowed (RFC 6672 section 2.4), and never
    /// found.
    pub fn hidden(&self) -> impl Iterator<Item = Name> {
        let hidden = self.nodes.iter().filter(|node| matches!(node.at, Cover::Dname(_)) && !node.sets.is_empty());
        hidden.filter_map(|node| Name::from_wire(&node.name))
    }

    /// Returns the RRset of a type at the zone's own name.
    pub(super) fn apex(&self, rtype: u16) -> Option<&RrSet> {
        self.nodes[0].set(rtype)
    }

    /// Returns the index of the node with this name, in wire form and lower case.
    pub(super) fn index_of(&self, name: &[u8]) -> Option<u32> {
        let hash = self.hasher.hash_one(name);
        self.index.find(hash, |&at| *self.nodes[at as usize].name == *name).copied()
    }

    /// Returns the node with this name, in wire form and lower case.
    pub(super) fn node(&self, name: &[u8]) -> Option<&Node> {
        self.index_of(name).map(|at| &self.nodes[at as usize])
    }
}

impl Node {
    /// Returns the RRset of a type.
    pub(super) fn set(&self, rtype: u16) -> Option<&RrSet> {
        self.sets.iter().find(|set| set.rtype == rtype)
    }

    /// Returns whether the first label is `*` (RFC 4592 section 2.1.1).
    pub(super) fn is_wildcard(&self) -> bool {
        self.name.starts_with(b"\x01*")
    }
}

impl RrSet {
    /// Returns the records with their owner.
    fn records_of<'z>(&'z self, owner: &'z [u8]) -> impl Iterator<Item = ZoneRecord<'z>> {
        let records = self.records.iter();
        records.map(move |datum| ZoneRecord { owner, rtype: self.rtype, ttl: datum.ttl, data: &datum.data })
    }
}

//----------- Builder --------------------------------------------------------

/// The records of one name, by type, in the order of the file.
type Sets = Vec<(u16, Vec<Datum>)>;

/// Takes the records of a zone one by one.
pub struct Builder {
    origin: Name,
    names: HashMap<Box<[u8]>, Sets, RandomState>,
    records: usize,
}

/// The result of a record that can be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Added {
    /// The zone has it.
    Taken,
    /// It was left out, or replaced another record, for this reason.
    Doubtful(&'static str),
}

impl Builder {
    /// Returns a builder for a zone with this name.
    #[must_use]
    pub fn new(origin: &Name) -> Self {
        Self { origin: origin.lowered(), names: HashMap::default(), records: 0 }
    }

    /// Adds a record. `data` is in wire form, without compression. A record that is there already
    /// is taken once (RFC 2181 section 5).
    ///
    /// # Errors
    /// The zone cannot be served with this record; says why.
    pub fn add(&mut self, owner: &Name, rtype: u16, ttl: u32, data: Vec<u8>) -> Result<Added, String> {
        let owner = owner.lowered();
        match rtype {
            rtype::SOA if owner != self.origin => {
                return Err(format!("SOA owner {owner} does not match origin {}", self.origin));
            }
            rtype::NSEC3 | rtype::NSEC3PARAM => return Err("NSEC3 zone is not supported; use NSEC".to_owned()),
            _ if !owner.is_under(&self.origin) => return Ok(Added::Doubtful("the name is out of the zone: ignored")),
            _ => {}
        }
        if self.records == MOST_RECORDS {
            return Err(format!("more than {MOST_RECORDS} records"));
        }
        let sets = self.names.entry(owner.wire().into()).or_default();
        let at = sets.iter().position(|(known, _)| *known == rtype).unwrap_or_else(|| {
            sets.push((rtype, Vec::new()));
            sets.len() - 1
        });
        let (records, datum) = (&mut sets[at].1, Datum { ttl, data: data.into() });
        match (rtype, records.first()) {
            (rtype::SOA | rtype::CNAME | rtype::DNAME, Some(known)) if known.data == datum.data => {}
            (rtype::SOA, Some(_)) => {
                records[0] = datum;
                return Ok(Added::Doubtful("a second SOA: it replaces the first"));
            }
            (rtype::CNAME, Some(_)) => return Ok(Added::Doubtful("a second CNAME of the name: ignored")),
            (rtype::DNAME, Some(_)) => return Ok(Added::Doubtful("a second DNAME of the name: ignored")),
            _ => records.push(datum),
        }
        self.records += 1;
        Ok(Added::Taken)
    }

    /// Removes a record. Returns whether it was there; its TTL does not matter.
    pub(super) fn remove(&mut self, owner: &Name, rtype: u16, data: &[u8]) -> bool {
        let Some(sets) = self.names.get_mut(owner.lowered().wire()) else { return false };
        let Some((_, records)) = sets.iter_mut().find(|(known, _)| *known == rtype) else { return false };
        let before = records.len();
        records.retain(|datum| *datum.data != *data);
        let is_taken = records.len() < before;
        self.records -= before - records.len();
        sets.retain(|(_, records)| !records.is_empty());
        if sets.is_empty() {
            self.names.remove(owner.lowered().wire());
        }
        is_taken
    }

    /// Counts this many records as taken.
    #[cfg(test)]
    pub(super) fn pretend(&mut self, records: usize) {
        self.records = records;
    }

    /// Returns the names that have a CNAME and other data, which no zone may have (RFC 2181 section
    /// 10.1). The alias takes precedence.
    #[must_use]
    pub fn mixed_aliases(&self) -> Vec<Name> {
        let is_other = |rtype: u16| !matches!(rtype, rtype::CNAME | rtype::RRSIG | rtype::NSEC);
        let is_mixed = |sets: &Sets| {
            sets.iter().any(|(rtype, _)| *rtype == rtype::CNAME) && sets.iter().any(|(rtype, _)| is_other(*rtype))
        };
        let mixed = self.names.iter().filter(|(_, sets)| is_mixed(sets));
        let mut names: Vec<Name> = mixed.filter_map(|(name, _)| Name::from_wire(name)).collect();
        names.sort_by(|a, b| canonical(a.wire(), b.wire()));
        names
    }

    /// Returns the zone.
    ///
    /// # Errors
    /// There is no SOA.
    pub fn finish(mut self) -> Result<Zone, String> {
        let soa = self.names.get(self.origin.wire()).and_then(|sets| {
            let (_, records) = sets.iter().find(|(rtype, _)| *rtype == rtype::SOA)?;
            Soa::of(&records[0].data)
        });
        let soa = soa.ok_or("no SOA record")?;
        self.add_empty_names();
        let signed = self.names.values().flatten().any(|(rtype, _)| matches!(*rtype, rtype::RRSIG | rtype::DS));
        let mut names: Vec<_> = self.names.into_iter().collect();
        names.sort_unstable_by(|(a, _), (b, _)| canonical(a, b));
        let nodes: Vec<Node> = names.into_iter().map(|(name, sets)| Node::new(name, sets)).collect();
        let mut zone = Zone {
            origin: self.origin,
            soa,
            signed,
            nodes,
            index: HashTable::new(),
            hasher: RandomState::default(),
            denials: Denials::default(),
        };
        zone.link();
        Ok(zone)
    }

    /// Adds the empty non-terminals: names that exist only because longer ones do (RFC 4592 section
    /// 2.2.2).
    fn add_empty_names(&mut self) {
        let names: Vec<Box<[u8]>> = self.names.keys().cloned().collect();
        for name in names {
            let mut above = parent(&name);
            while above.len() > self.origin.len() && !self.names.contains_key(above) {
                self.names.insert(above.into(), Vec::new());
                above = parent(above);
            }
        }
    }
}

impl Node {
    /// Returns a node that nothing hides.
    fn new(name: Box<[u8]>, sets: Sets) -> Self {
        let sets = sets.into_iter().map(|(rtype, records)| RrSet::new(rtype, records)).collect();
        Self { name, sets, at: Cover::None, below: Cover::None, wildcard: None }
    }
}

impl RrSet {
    /// Removes duplicates (RFC 2181 section 5) and keeps the order.
    fn new(rtype: u16, mut records: Vec<Datum>) -> Self {
        if records.len() > 1 {
            let mut seen = HashSet::with_capacity(records.len());
            records.retain(|datum| seen.insert(datum.data.clone()));
        }
        Self { rtype, records: records.into(), ready: Default::default(), aliased: Default::default() }
    }
}

impl Zone {
    /// Fills in the index and the links between nodes. Parents come before their children.
    fn link(&mut self) {
        self.index.reserve(self.nodes.len(), |_| 0);
        for at in 0..self.nodes.len() {
            let name = &*self.nodes[at].name;
            let hash = self.hasher.hash_one(name);
            self.index.insert_unique(hash, at as u32, |&at| self.hasher.hash_one(&*self.nodes[at as usize].name));
            let above = if at == 0 { None } else { self.index_of(parent(name)) };
            let cover = above.map_or(Cover::None, |above| self.nodes[above as usize].below);
            let node = &self.nodes[at];
            let is_cut = at > 0 && node.set(rtype::NS).is_some();
            let (own, index) = (node.set(rtype::DNAME).is_some(), at as u32);
            let is_wildcard = node.is_wildcard();
            let node = &mut self.nodes[at];
            (node.at, node.below) = match cover {
                Cover::None if is_cut => (Cover::Cut(index), Cover::Cut(index)),
                Cover::None if own => (Cover::None, Cover::Dname(index)),
                cover => (cover, cover),
            };
            if let Some(above) = above.filter(|_| is_wildcard) {
                self.nodes[above as usize].wildcard = Some(index);
            }
        }
    }
}

impl Soa {
    /// Reads the numbers from the data of a SOA record. Returns `None` if they are too short.
    #[must_use]
    pub fn of(data: &[u8]) -> Option<Self> {
        let numbers = &data[data.len().checked_sub(20)?..];
        let mut numbers = numbers.chunks_exact(4).map(|word| u32::from_be_bytes([word[0], word[1], word[2], word[3]]));
        let mut next = || numbers.next();
        Some(Self { serial: next()?, refresh: next()?, retry: next()?, expire: next()?, minimum: next()? })
    }
}
