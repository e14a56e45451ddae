//! Looks up the host names of load balancers as if a client had asked for them.

use std::sync::Arc;

use super::answer::Making;
use crate::chain::target::Target;
use crate::chain::{Here, Query, Reply, Step};
use crate::wire::adopt;
use crate::wire::answer::Answer;
use crate::wire::encode::{Encoder, Names};
use crate::wire::name::Name;
use crate::wire::question::Question;
use crate::wire::request::flag;
use crate::wire::types::{rcode, rtype};

/// Maximum number of host names that are looked up for one answer; a load balancer has one.
const MOST: usize = 4;

/// Answers with the alias and its target's records; on failure see
/// [`target`](crate::chain::target).
pub(super) fn follow(making: &Making<'_>, query: &Query<'_>, here: &Here<'_>, target: &Name) -> Step {
    let (ttl, question) = (making.externals.ttl(), Question { name: *target, ..query.question });
    let Some(asked) = Name::from_wire(making.asked) else { return Step::Next };
    let lookup = here.target(query, target);
    Step::Wait(Box::pin(async move {
        let Target { reply: theirs, has_failed } = lookup.await;
        let mut names = Names::new(asked);
        let answer = Encoder::build(asked.len(), |e| {
            e.flags(flag::AA | theirs.flags() & flag::TC);
            if has_failed {
                e.rcode(rcode::SERVFAIL);
            }
            names.record(e, &asked, rtype::CNAME, ttl, |e, names| names.put(e, &question.name));
            adopt::append(e, &mut names, &theirs.answer, &question, theirs.ttl);
        });
        Reply { note: theirs.note.clone().filter(|_| has_failed), ..Reply::memory(Arc::new(answer)) }
    }))
}

/// Answers with SRV records, and with the addresses of outside targets as additional records.
pub(super) fn complete(
    making: &Making<'_>,
    query: &Query<'_>,
    here: &Here<'_>,
    answer: Arc<Answer>,
    targets: &[Name],
) -> Step {
    let Some(asked) = Name::from_wire(making.asked) else { return Step::Answer(Reply::memory(answer)) };
    let addresses = [rtype::A, rtype::AAAA];
    let wanted = targets.iter().take(MOST).flat_map(|target| addresses.map(|qtype| Question::new(*target, qtype)));
    let lookups = wanted.map(|question| {
        let lookup = here.lookup(query.inner(&question));
        async move { (question, lookup.await) }
    });
    let lookups = futures_util::future::join_all(lookups);
    Step::Wait(Box::pin(async move {
        let found = lookups.await;
        let others: Vec<_> = found
            .iter()
            .map(|(question, reply)| adopt::Other { question, answer: &reply.answer, ttl: reply.ttl })
            .collect();
        Reply::memory(adopt::with_additional(&answer, &Question::new(asked, rtype::SRV), &others))
    }))
}
