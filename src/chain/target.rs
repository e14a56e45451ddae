//! Asks for the target of an alias as a client would, and decides what a failure means for the
//! alias.
//!
//! All plugins that follow aliases use this rule. Resolvers ask for A and AAAA at once, and differ
//! in how they treat two answers when one is a failure (`tests/resolvers.rs` shows it):
//! - SERVFAIL for one family: musl gives up with "try again" after 5 s, although it has an address.
//!   glibc and Go take the address.
//! - NOERROR without an address for both: all three say that the name does not exist, and their
//!   programs may believe it.
//!
//! So an alias fails only if neither family has an address. CoreDNS never lets it fail.

use std::time::Duration;

use super::plugin::Here;
use super::query::Query;
use super::walk;
use crate::wire::answer::Section;
use crate::wire::name::Name;
use crate::wire::question::Question;
use crate::wire::reply::Reply;
use crate::wire::types::{rcode, rtype};

/// How long after the client's question the other family may be waited for: stub resolvers wait for
/// 5 s. Answers in memory need no waiting.
const PATIENCE: Duration = Duration::from_millis(4800);

/// The result for the target of an alias.
pub struct Target {
    /// The reply to the question for the target. Its RCODE is ignored: a target that does not exist
    /// leaves the bare alias with NOERROR, as in CoreDNS.
    pub reply: Reply,
    /// Whether the alias is answered SERVFAIL (RFC 6604 section 3).
    pub has_failed: bool,
}

impl Here<'_> {
    /// Asks the whole server for the target of an alias, with the type of the query.
    ///
    /// If that fails for one family of addresses, the other is asked as well. This does not apply
    /// to the target's own aliases, so a chain of them costs at most twice its length.
    pub fn target(&self, query: &Query<'_>, name: &Name) -> impl Future<Output = Target> + Send + 'static {
        let of_target = |qtype| {
            let mut inner = query.inner(&Question::new(*name, qtype));
            inner.for_alias = true;
            inner
        };
        let family = if query.for_alias { None } else { other_family(query.question.qtype) };
        let other = family.map(|qtype| {
            let mut inner = of_target(qtype);
            inner.patience = Some(inner.patience.unwrap_or(PATIENCE).min(PATIENCE));
            inner
        });
        let (listener, first) = (self.listener.clone(), self.lookup(of_target(query.question.qtype)));
        async move {
            let reply = first.await;
            let has_failed = match other {
                _ if !reply.has_failed() => false,
                None => true,
                Some(other) => {
                    let qtype = other.question.qtype;
                    !has_address(&walk::lookup(listener, other).await, qtype)
                }
            };
            Target { reply, has_failed }
        }
    }
}

fn other_family(qtype: u16) -> Option<u16> {
    match qtype {
        rtype::A => Some(rtype::AAAA),
        rtype::AAAA => Some(rtype::A),
        _ => None,
    }
}

fn has_address(reply: &Reply, qtype: u16) -> bool {
    reply.rcode() == rcode::NOERROR && reply.answer.rtypes(Section::Answer).any(|rtype| rtype == qtype)
}
