//! How a zone answers a query, for every plugin that serves one.

use std::sync::Arc;

use super::plugin::{Here, Step};
use super::query::Query;
use super::target::Target;
use super::zones::Fallthrough;
use crate::wire::name::Name;
use crate::wire::reply::Reply;
use crate::wire::types::{rcode, rtype};
use crate::zone::answer::{Answered, Theirs};
use crate::zone::data::Zone;
use crate::zone::live::LiveZone;
use crate::zone::ready::Kind;

/// Answers a query for a name at or below the zone's own, or passes it on if the name does not
/// exist and falls through.
///
/// A zone without data fails. The target of an alias outside of the zone is looked up as in
/// [`target`](super::target).
pub fn answer(zone: &LiveZone, fallthrough: &Fallthrough, query: &Query<'_>, here: &Here<'_>) -> Step {
    let (name, qtype) = (&query.question.name, query.question.qtype);
    // Only `transfer`, above, allows transfers.
    if matches!(qtype, rtype::AXFR | rtype::IXFR) {
        return Step::Answer(Reply::server(rcode::REFUSED));
    }
    let answered = zone.with(|zone| zone.answer(name, query.asked_now(), qtype, query.dnssec_ok()));
    match answered {
        None => Step::Answer(Reply::failure(rcode::SERVFAIL, format!("zone {} is not loaded", zone.origin()))),
        Some(Answered::Whole(_, kind)) if kind != Kind::Exists && fallthrough.holds(name) => Step::Next,
        Some(Answered::Whole(answer, _)) => Step::Answer(Reply::memory(answer)),
        Some(Answered::Outside(_)) => match zone.current() {
            // The zone may have been replaced by now. Aliases and target must come from one
            // version.
            Some(zone) => match zone.answer(name, query.asked_now(), qtype, query.dnssec_ok()) {
                Answered::Outside(target) => outside(zone, query, here, &target),
                Answered::Whole(answer, _) => Step::Answer(Reply::memory(answer)),
            },
            None => Step::Answer(Reply::server(rcode::SERVFAIL)),
        },
    }
}

/// Asks the server for the target of an alias, and answers with both.
fn outside(zone: Arc<Zone>, query: &Query<'_>, here: &Here<'_>, target: &Name) -> Step {
    let (question, dnssec) = (query.question, query.dnssec_ok());
    let asked = Name::from_wire(query.asked_now()).unwrap_or(question.name);
    let lookup = here.target(query, target);
    Step::Wait(Box::pin(async move {
        let Target { reply, has_failed } = lookup.await;
        let theirs = Theirs { answer: &reply.answer, ttl: reply.ttl, flags: reply.flags(), has_failed };
        let answer = zone.complete(&question.name, &asked, question.qtype, dnssec, &theirs);
        Reply { note: reply.note.clone().filter(|_| has_failed), ..Reply::memory(answer) }
    }))
}
