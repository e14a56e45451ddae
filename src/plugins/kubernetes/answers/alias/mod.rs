//! ExternalName: an alias, what it leads to inside the cluster, and what it leads to outside.

use std::sync::Arc;

use crate::chain::Reply;
use crate::chain::target::Target;
use crate::wire::adopt;
use crate::wire::answer::Answer;
use crate::wire::encode::{Encoder, Names};
use crate::wire::name::Name;
use crate::wire::question::Question;
use crate::wire::request::flag;
use crate::wire::types::{rcode, rtype};

/// Aliases that one answer may hold, CoreDNS's number.
const HOPS: usize = 11;

//----------- Walk -----------------------------------------------------------

/// The aliases from a name to where they end, or to where they leave the cluster.
#[derive(Debug)]
pub(crate) struct Walk {
    /// What was asked, with the name in the client's case.
    asked: Question,
    /// The targets in order, in the case of the objects. At least one.
    chain: Vec<Name>,
    /// Seconds that the aliases live.
    ttl: u32,
    end: End,
}

/// What the cluster has of one target.
#[derive(Debug)]
pub(crate) enum Hop {
    /// It is an alias itself.
    Alias(Box<Name>),
    /// The aliases end there.
    End(End),
}

/// Where aliases end.
#[derive(Debug)]
pub(crate) enum End {
    /// At a name of the cluster, with its whole answer.
    Inside(Arc<Answer>),
    /// At a name that would be one of the cluster, and is not known.
    Missing,
    /// At a name outside of the cluster's zones.
    Outside,
    /// In a loop, or after too many aliases.
    Nowhere,
    /// At the name itself or below it: there is nothing to follow.
    Itself,
}

impl Walk {
    /// Follows the alias of `asked` to `first`; `hop` says what the cluster has of a target.
    pub(crate) fn new(asked: Question, ttl: u32, first: Name, hop: impl Fn(&Name) -> Hop) -> Self {
        let mut chain = vec![first];
        let end = loop {
            let (before, last) = (&chain[..chain.len() - 1], chain[chain.len() - 1]);
            let target = last.lowered();
            if target.is_under(&asked.name.lowered()) {
                break if before.is_empty() { End::Itself } else { End::Nowhere };
            }
            if chain.len() > HOPS || before.iter().any(|before| before.lowered() == target) {
                break End::Nowhere;
            }
            match hop(&last) {
                Hop::Alias(next) => chain.push(*next),
                Hop::End(end) => break end,
            }
        };
        Self { asked, chain, ttl, end }
    }

    /// Where the aliases end.
    pub(crate) fn end(&self) -> &End {
        &self.end
    }

    /// The name where the aliases end.
    pub(crate) fn target(&self) -> &Name {
        &self.chain[self.chain.len() - 1]
    }

    /// What the target is asked for.
    fn of_target(&self) -> Question {
        Question { name: *self.target(), ..self.asked }
    }

    /// Only the first alias: what a question for CNAME gets.
    pub(crate) fn first(&self) -> Arc<Answer> {
        self.answer(&self.chain[..1], |_, _| {})
    }

    /// The aliases and the whole answer that their target has in the cluster.
    pub(crate) fn whole(&self, of_target: &Answer) -> Arc<Answer> {
        self.answer(&self.chain, |e, names| {
            e.rcode(of_target.rcode);
            adopt::append_all(e, names, of_target, &self.of_target());
        })
    }

    /// The aliases, and what another plugin said of their target.
    pub(crate) fn reply_with(&self, Target { reply, has_failed }: &Target) -> Reply {
        let answer = self.answer(&self.chain, |e, names| {
            e.flags(reply.flags() & flag::TC);
            if *has_failed {
                e.rcode(rcode::SERVFAIL);
            }
            adopt::append(e, names, &reply.answer, &self.of_target(), reply.ttl);
        });
        Reply { note: reply.note.clone().filter(|_| *has_failed), ..Reply::memory(answer) }
    }

    /// An answer that begins with aliases.
    fn answer(&self, chain: &[Name], rest: impl FnOnce(&mut Encoder<'_>, &mut Names)) -> Arc<Answer> {
        let (mut owner, mut names) = (self.asked.name, Names::new(self.asked.name));
        Arc::new(Encoder::build(owner.len(), |e| {
            e.flags(flag::AA);
            for target in chain {
                names.record(e, &owner, rtype::CNAME, self.ttl, |e, names| names.put(e, target));
                owner = *target;
            }
            rest(e, &mut names);
        }))
    }
}

#[cfg(test)]
mod tests;
