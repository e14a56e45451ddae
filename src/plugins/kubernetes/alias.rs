//! ExternalName: an alias, what it leads to inside the cluster, and what it leads to outside.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use super::lookup::{Found, View, Want};
use super::name::parse;
use super::zone::{Zone, soa};
use crate::chain::Reply;
use crate::wire::adopt;
use crate::wire::answer::{Answer, Record, Section};
use crate::wire::encode::{Encoder, Names};
use crate::wire::name::Name;
use crate::wire::request::flag;
use crate::wire::types::{rcode, rtype};

/// Aliases that one answer may hold, CoreDNS's number.
const HOPS: usize = 11;

//----------- Walk -----------------------------------------------------------

/// The aliases from a name to where they end.
#[derive(Debug)]
pub(super) struct Walk {
    /// The targets in order, in the case of the objects. At least one.
    chain: Vec<Name>,
    end: End,
}

/// Where aliases end.
#[derive(Debug)]
enum End {
    /// At a name of the cluster.
    Inside(Found),
    /// At a name that somebody else knows.
    Outside,
    /// In a circle, or too far away.
    Nowhere,
    /// At the name itself or below it: there is nothing to follow.
    Itself,
}

/// Follows an alias as far as the cluster's own data lead. `zone_of` finds the zone of a name.
///
/// Nothing when the first target is no name at all.
pub(super) fn follow<'z>(
    view: &View<'z>,
    asked: &Name,
    first: &str,
    want: Want,
    zone_of: impl Fn(&Name) -> Option<&'z Zone>,
) -> Option<Walk> {
    let mut chain = vec![Name::from_text(first).ok()?];
    loop {
        let target = chain.last()?.lowered();
        if target.is_under(asked) {
            let end = if chain.len() == 1 { End::Itself } else { End::Nowhere };
            return Some(Walk { chain, end });
        }
        let seen = chain[..chain.len() - 1].iter().any(|before| before.lowered() == target);
        if seen || chain.len() > HOPS {
            return Some(Walk { chain, end: End::Nowhere });
        }
        let Some(zone) = zone_of(&target) else { return Some(Walk { chain, end: End::Outside }) };
        let base = &target.wire()[..target.prefix_len(&zone.name)?];
        let asked_now = *chain.last()?;
        let here = View { zone, asked: asked_now.wire(), ..*view };
        match here.look(parse(base, zone.schema), want) {
            Found::Alias(next) => match Name::from_text(&next) {
                Ok(next) => chain.push(next),
                Err(_) => return Some(Walk { chain, end: End::Inside(Found::NoData) }),
            },
            found => return Some(Walk { chain, end: End::Inside(found) }),
        }
    }
}

impl Walk {
    /// The name that somebody else has to be asked, if the aliases lead outside.
    #[must_use]
    pub(super) fn outside(&self) -> Option<Name> {
        matches!(self.end, End::Outside).then(|| self.chain.last().copied()).flatten()
    }

    /// The reply, with what the cluster knows of the target.
    #[must_use]
    pub(super) fn reply(&self, view: &View<'_>, synced: bool) -> Reply {
        if matches!(self.end, End::Itself) {
            return Reply::memory(view.zone.no_data(view.index));
        }
        let answer = self.answer(view.asked, view.options.ttl, |e, names| match &self.end {
            End::Inside(Found::Answer(answer)) => self.put_addresses(e, names, answer),
            End::Inside(Found::NameError) if !synced => e.rcode(rcode::SERVFAIL),
            End::Inside(Found::NameError) => {
                e.rcode(rcode::NXDOMAIN);
                put_soa(e, view);
            }
            End::Inside(Found::NoData | Found::Alias(_)) => put_soa(e, view),
            End::Nowhere => e.rcode(rcode::SERVFAIL),
            End::Outside | End::Itself => {}
        });
        Reply::memory(answer)
    }

    /// Only the first alias: what a question for CNAME gets.
    #[must_use]
    pub(super) fn first(&self, view: &View<'_>) -> Reply {
        let only = Self { chain: vec![self.chain[0]], end: End::Outside };
        Reply::memory(only.answer(view.asked, view.options.ttl, |_, _| {}))
    }

    /// The reply, with what somebody else said of the target. `asked` is the name in the question.
    ///
    /// As in CoreDNS a target that does not exist leaves the bare alias with NOERROR, and so does a server
    /// that resolves nothing but its own names; an upstream that failed is a failure (RFC 6604 section 3).
    #[must_use]
    pub(super) fn reply_with(&self, ttl: u32, asked: &[u8], qtype: u16, theirs: &Reply) -> Reply {
        let failed = theirs.has_failed();
        let answer = self.answer(asked, ttl, |e, names| {
            e.flags(theirs.flags() & flag::TC);
            if failed {
                e.rcode(rcode::SERVFAIL);
            }
            if let Some(target) = self.chain.last() {
                adopt::append(e, names, &theirs.answer, (target, qtype), theirs.ttl);
            }
        });
        Reply { note: theirs.note.clone().filter(|_| failed), ..Reply::memory(answer) }
    }

    /// An answer that begins with the aliases.
    fn answer(&self, asked: &[u8], ttl: u32, rest: impl FnOnce(&mut Encoder<'_>, &mut Names)) -> Arc<Answer> {
        let mut owner = Name::from_wire(asked).unwrap_or(Name::ROOT);
        let mut names = Names::new(owner);
        Arc::new(Encoder::build(asked.len(), |e| {
            e.flags(flag::AA);
            for target in &self.chain {
                names.record(e, &owner, (rtype::CNAME, ttl), |e, names| names.put(e, target));
                owner = *target;
            }
            rest(e, &mut names);
        }))
    }

    /// The addresses of the target, which its own answer has as records of the name that was asked.
    fn put_addresses(&self, e: &mut Encoder<'_>, names: &mut Names, answer: &Answer) {
        let Some(target) = self.chain.last() else { return };
        for record in answer.section(Section::Answer).filter(Record::is_address) {
            names.record(e, target, (record.rtype, record.ttl), |e, _| e.put(record.rdata));
        }
    }
}

/// The SOA that says for how long there will be nothing (RFC 2308 section 2).
fn put_soa(e: &mut Encoder<'_>, view: &View<'_>) {
    let serial = view.index.serial.load(Ordering::Relaxed);
    soa(e, Section::Authority, (view.zone.name.len(), view.options.ttl, serial));
}
