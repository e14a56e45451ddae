//! Which node decides about a name (RFC 1034 section 4.3.2, RFC 4592, RFC 6672), and where aliases
//! lead.

use super::data::{Cover, Node, RrSet, Zone};
use super::order::parent;
use crate::wire::name::{MAX_NAME, Name};
use crate::wire::types::rtype;

/// Aliases that one answer may hold, as in BIND; CoreDNS stops after ten.
const MOST_HOPS: usize = 16;

/// What the zone has of a name.
#[derive(Clone, Copy)]
pub(super) enum Found<'z> {
    /// The node of the name, or the wildcard that stands for it.
    Node { node: &'z Node, wildcard: bool },
    /// The name is at or below this delegation.
    Cut(&'z Node),
    /// The name is below this DNAME.
    Dname(&'z Node),
    /// The name does not exist; this is its closest encloser (RFC 4592 section 3.3.1).
    Nothing { encloser: &'z Node },
}

/// The aliases from a name, and where they end.
pub(super) struct Walk<'z> {
    pub(super) hops: Vec<Hop<'z>>,
    /// The last name: the one that was asked, or the target of the last alias.
    pub(super) last: Name,
    pub(super) end: End<'z>,
}

/// One alias.
pub(super) struct Hop<'z> {
    /// Its owner; the first one is what was asked.
    pub(super) owner: Name,
    /// The node of the CNAME or DNAME.
    pub(super) node: &'z Node,
    pub(super) kind: Alias<'z>,
}

/// How a name is an alias.
pub(super) enum Alias<'z> {
    /// By a CNAME record, maybe of a wildcard.
    Cname { set: &'z RrSet, wildcard: bool },
    /// By a DNAME record. Without a target the new name would be too long.
    Dname { set: &'z RrSet, target: Option<Box<Name>> },
}

/// Where the aliases of a name end; most names have none.
pub(super) enum End<'z> {
    /// At these records.
    Records { node: &'z Node, set: &'z RrSet, wildcard: bool },
    /// At a name without records of the type.
    NoData { node: &'z Node, wildcard: bool },
    /// At a name that does not exist.
    NoName { encloser: &'z Node },
    /// At a delegation.
    Cut(&'z Node),
    /// At a name outside of the zone.
    Outside,
    /// In a loop, after too many, or where the alias itself is the answer.
    Stop,
    /// At a DNAME that makes the name too long (RFC 6672 section 2.2).
    TooLong,
}

impl Zone {
    /// Returns what the zone has of a name at or below its own, in wire form and lower case.
    pub(super) fn find(&self, name: &[u8], qtype: u16) -> Found<'_> {
        let node_at = |at: u32| &self.nodes[at as usize];
        if let Some(node) = self.node(name) {
            return match node.at {
                // The parent's side of a cut has the DS (RFC 4035 section 3.1.4.1).
                Cover::Cut(cut) if qtype == rtype::DS && *node_at(cut).name == *name => {
                    Found::Node { node, wildcard: false }
                }
                Cover::Cut(cut) => Found::Cut(node_at(cut)),
                Cover::Dname(dname) => Found::Dname(node_at(dname)),
                Cover::None => Found::Node { node, wildcard: false },
            };
        }
        let encloser = self.encloser(name);
        match (encloser.below, encloser.wildcard) {
            (Cover::Cut(cut), _) => Found::Cut(node_at(cut)),
            (Cover::Dname(dname), _) => Found::Dname(node_at(dname)),
            (Cover::None, Some(wildcard)) => Found::Node { node: node_at(wildcard), wildcard: true },
            (Cover::None, None) => Found::Nothing { encloser },
        }
    }

    /// Returns the closest encloser of a name that does not exist (RFC 4592 section 3.3.1).
    fn encloser(&self, name: &[u8]) -> &Node {
        let mut above = parent(name);
        while above.len() > self.origin.len() {
            match self.node(above) {
                Some(node) => return node,
                None => above = parent(above),
            }
        }
        &self.nodes[0]
    }

    /// Returns the node with the records of a name, as additional records need it: its own or a
    /// wildcard's, even below a cut.
    pub(super) fn node_or_wildcard(&self, name: &Name) -> Option<&Node> {
        let wildcard = || self.encloser(name.wire()).wildcard.map(|at| &self.nodes[at as usize]);
        self.node(name.wire()).or_else(|| if name.is_under(&self.origin) { wildcard() } else { None })
    }

    /// Follows the aliases of a name, of which the zone has `found`.
    pub(super) fn walk<'z>(&'z self, name: &Name, qtype: u16, mut found: Found<'z>) -> Walk<'z> {
        let (mut hops, mut last) = (Vec::new(), *name);
        let end = loop {
            let (hop, target) = match self.step(&last, qtype, found) {
                Step::End(end) => break end,
                Step::Hop(node, kind) => {
                    let target = kind.target();
                    (Hop { owner: last, node, kind }, target)
                }
            };
            hops.push(hop);
            let Some(target) = target else { break End::TooLong };
            // The CNAME that is made from a DNAME answers a question for CNAME.
            let is_over = qtype == rtype::CNAME || hops.len() == MOST_HOPS;
            last = target;
            let lowered = target.lowered();
            if is_over || hops.iter().any(|hop| hop.owner.lowered() == lowered) {
                break End::Stop;
            }
            if !lowered.is_under(&self.origin) {
                break End::Outside;
            }
            found = self.find(lowered.wire(), qtype);
        };
        Walk { hops, last, end }
    }

    fn step<'z>(&'z self, name: &Name, qtype: u16, found: Found<'z>) -> Step<'z> {
        match found {
            Found::Cut(node) => Step::End(End::Cut(node)),
            Found::Nothing { encloser } => Step::End(End::NoName { encloser }),
            Found::Dname(node) => {
                let set = node.set(rtype::DNAME).expect("a DNAME covers what is below it");
                let target = substitute(name, node, &set.records[0].data);
                Step::Hop(node, Alias::Dname { set, target })
            }
            Found::Node { node, wildcard } => match (self.alias_of(node, qtype), node.set(qtype)) {
                (Some(set), _) => Step::Hop(node, Alias::Cname { set, wildcard }),
                (None, Some(set)) => Step::End(End::Records { node, set, wildcard }),
                (None, None) => Step::End(End::NoData { node, wildcard }),
            },
        }
    }

    /// Returns the CNAME that a question of this type follows. SOA and NS of the zone itself come
    /// first, as in CoreDNS.
    pub(super) fn alias_of<'z>(&self, node: &'z Node, qtype: u16) -> Option<&'z RrSet> {
        let is_own = matches!(qtype, rtype::SOA | rtype::NS) && node.name.len() == self.origin.len();
        if qtype == rtype::CNAME || is_own { None } else { node.set(rtype::CNAME) }
    }
}

enum Step<'z> {
    End(End<'z>),
    Hop(&'z Node, Alias<'z>),
}

impl Alias<'_> {
    fn target(&self) -> Option<Name> {
        match self {
            Self::Cname { set, .. } => Name::from_wire(&set.records[0].data),
            Self::Dname { target, .. } => target.as_deref().copied(),
        }
    }
}

/// Returns the name with the DNAME's owner replaced by its target, or `None` if that is too long.
fn substitute(name: &Name, owner: &Node, target: &[u8]) -> Option<Box<Name>> {
    let front = &name.wire()[..name.len() - owner.name.len()];
    if front.len() + target.len() > MAX_NAME {
        return None;
    }
    Name::from_wire(&[front, target].concat()).map(Box::new)
}
