//! Answers of a zone. Those that do not depend on the name in the question, or only on one node,
//! are made once and kept with the data that they are made from.

use std::sync::{Arc, OnceLock};

use super::compose::Composer;
use super::data::Zone;
use super::find::{End, Found, Walk};
use super::order::parent;
use super::ready::{Kind, Ready};
use crate::wire::adopt;
use crate::wire::answer::{Answer, scratch};
use crate::wire::encode::{Encoder, Names};
use crate::wire::name::Name;
use crate::wire::packed::Packed;
use crate::wire::question::Question;
use crate::wire::request::flag;
use crate::wire::types::{rcode, rtype};

/// What a zone says.
pub enum Answered {
    /// The whole answer.
    Whole(Arc<Answer>, Kind),
    /// Aliases that lead to this name outside of the zone: ask for it, then [`Zone::complete`].
    Outside(Box<Name>),
}

/// The server's answer for a name outside of the zone.
pub struct Theirs<'a> {
    /// The answer.
    pub answer: &'a Answer,
    /// The TTL of every record in seconds, in place of the stored ones.
    pub ttl: Option<u32>,
    /// The header flags of the reply.
    pub flags: u16,
    /// Whether the look-up of the name failed.
    pub has_failed: bool,
}

impl Zone {
    /// Returns the answer to a question in class IN. `name` is at or below the zone's own name and
    /// in lower case, `asked` is the same in the client's case, in wire form. `dnssec` means that
    /// the client wants signatures.
    #[must_use]
    pub fn answer(&self, name: &Name, asked: &[u8], qtype: u16, dnssec: bool) -> Answered {
        let (found, dnssec) = (self.find(name.wire(), qtype), dnssec && self.signed);
        let place = self.place(found, qtype, dnssec);
        if let Some(ready) = place.and_then(|(place, _)| place.get()) {
            return Answered::Whole(ready.answer.answer(), ready.kind);
        }
        let walk = self.walk(name, qtype, found);
        if matches!(walk.end, End::Outside) {
            return Answered::Outside(Box::new(walk.last));
        }
        let kind = walk.kind();
        let write = |e: &mut Encoder<'_>, names: &mut Names| {
            Composer { zone: self, e, names, dnssec }.write(&walk);
        };
        match (place, Name::from_wire(asked)) {
            (Some((place, base)), _) => {
                let make = || Encoder::build(base.len(), |e| write(e, &mut Names::below(base)));
                let ready = place.get_or_init(|| Ready { answer: Packed::new(&make()), kind });
                Answered::Whole(ready.answer.answer(), kind)
            }
            (None, asked) => {
                let asked = asked.unwrap_or(*name);
                let fill = |answer: &mut Answer| write(&mut Encoder::new(answer), &mut Names::new(asked));
                Answered::Whole(scratch(asked.len(), fill), kind)
            }
        }
    }

    /// Returns where an answer is kept, and the name that all questions for it end in. Returns
    /// `None` if the answer depends on the name in the question in another way.
    fn place<'z>(&'z self, found: Found<'z>, qtype: u16, dnssec: bool) -> Option<(&'z OnceLock<Ready>, Name)> {
        let signed = usize::from(dnssec);
        let (place, base) = match found {
            Found::Cut(cut) => (&cut.set(rtype::NS)?.ready[signed], &*cut.name),
            Found::Dname(_) => return None,
            Found::Nothing { .. } if dnssec => return None,
            Found::Nothing { .. } => (&self.denials.no_name, self.origin.wire()),
            Found::Node { node, wildcard } => match (self.alias_of(node, qtype), node.set(qtype)) {
                _ if wildcard && dnssec => return None,
                (Some(_), _) if wildcard => return None,
                (Some(alias), _) => match qtype {
                    rtype::A => (&alias.aliased[signed], &*node.name),
                    rtype::AAAA => (&alias.aliased[2 + signed], &*node.name),
                    _ => return None,
                },
                // This NS set keeps the referral of the literal name `*`, which is another answer.
                (None, Some(set)) if node.is_wildcard() && set.rtype == rtype::NS => return None,
                // The answer of a wildcard is right for all names below its parent.
                (None, Some(set)) if node.is_wildcard() => (&set.ready[signed], parent(&node.name)),
                (None, Some(set)) => (&set.ready[signed], &*node.name),
                (None, None) if dnssec => return None,
                (None, None) if node.sets.is_empty() && !wildcard => (&self.denials.empty, self.origin.wire()),
                (None, None) => (&self.denials.no_data, self.origin.wire()),
            },
        };
        Name::from_wire(base).map(|base| (place, base))
    }

    /// Returns the answer whose aliases lead out of the zone, with the server's answer for their
    /// target.
    #[must_use]
    pub fn complete(&self, name: &Name, asked: &Name, qtype: u16, dnssec: bool, theirs: &Theirs<'_>) -> Arc<Answer> {
        let walk = self.walk(name, qtype, self.find(name.wire(), qtype));
        let mut names = Names::new(*asked);
        Arc::new(Encoder::build(asked.len(), |e| {
            let rcode = match theirs.answer.rcode {
                _ if theirs.has_failed => rcode::SERVFAIL,
                // The target decides (RFC 6604 section 3).
                rcode::NXDOMAIN => rcode::NXDOMAIN,
                _ => rcode::NOERROR,
            };
            e.rcode(rcode);
            e.flags(flag::AA | theirs.flags & flag::TC);
            let mut composer = Composer { zone: self, e, names: &mut names, dnssec: dnssec && self.signed };
            composer.aliases(&walk);
            let question = Question::new(walk.last, qtype);
            adopt::append(composer.e, composer.names, theirs.answer, &question, theirs.ttl);
            if rcode == rcode::NXDOMAIN { composer.soa() } else { composer.name_servers() }
        }))
    }
}

impl Walk<'_> {
    fn kind(&self) -> Kind {
        match self.end {
            _ if !self.hops.is_empty() => Kind::Exists,
            End::NoData { node, wildcard: false } if node.sets.is_empty() => Kind::Empty,
            End::NoName { .. } => Kind::Missing,
            _ => Kind::Exists,
        }
    }
}
