//! Rules that change where an alias leads: the new target is looked up in place of the old one.

use std::sync::Arc;

use super::pattern::Pattern;
use crate::chain::listener::Listener;
use crate::chain::site::Site;
use crate::chain::target::Target;
use crate::chain::{Here, Query, Reply};
use crate::wire::adopt::Other;
use crate::wire::name::Name;
use crate::wire::question::Question;
use crate::wire::redirect::{redirected, targets};
use crate::wire::request::flag;
use crate::wire::types::rcode;

/// How many questions may lead to a query whose aliases are still changed, as in CoreDNS: rules may
/// chase each other.
const MOST_NESTED: u8 = 8;

/// A rule: which targets, and what becomes of them.
#[derive(Debug)]
pub(super) struct Cname {
    pub(super) pattern: Pattern,
    pub(super) to: String,
}

/// Where a look-up of a rule starts.
pub(super) struct Place {
    pub(super) listener: Arc<Listener>,
    pub(super) site: Arc<Site>,
    pub(super) seat: usize,
}

impl Cname {
    /// Returns the index of the first alias whose target the rule changes, and the new target.
    fn change(&self, query: &Query<'_>, reply: &Reply) -> Option<(usize, Name)> {
        targets(&reply.answer, &query.question).into_iter().find_map(|(index, target)| {
            let text = self.pattern.replace(&target.lowered(), &self.to)?;
            Some((index, Name::from_text(&text).ok()?))
        })
    }

    /// Returns whether the rule changes an alias of the reply.
    pub(super) fn applies(&self, query: &Query<'_>, reply: &Reply) -> bool {
        query.depth() <= MOST_NESTED && self.change(query, reply).is_some()
    }

    /// Returns the reply with the new target and what the server has for it.
    pub(super) async fn redirect(&self, query: &Query<'_>, reply: Reply, place: &Place) -> Reply {
        let Some((index, target)) = self.change(query, &reply) else { return reply };
        let here = Here { listener: &place.listener, site: &place.site, seat: place.seat };
        let lookup = here.target(query, &target);
        let Target { reply: theirs, has_failed } = lookup.await;
        let question = Question { name: target, ..query.question };
        // The old target may not have existed: what counts is the new one.
        let code = match reply.rcode() {
            _ if has_failed => rcode::SERVFAIL,
            rcode::NOERROR => rcode::NOERROR,
            _ => theirs.rcode(),
        };
        let flags = reply.answer.flags & !flag::TC | theirs.flags() & flag::TC;
        let other = Other { question: &question, answer: &theirs.answer, ttl: theirs.ttl };
        let answer = redirected(&reply.answer, &query.question, reply.ttl, index, &other, code, flags);
        let note = if has_failed { theirs.note.clone() } else { reply.note };
        Reply { answer, ttl: None, note, ..reply }
    }
}
