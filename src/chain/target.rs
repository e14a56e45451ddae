//! The target of an alias, asked as if a client had asked, and what it means for the alias when that fails.
//!
//! One rule for every plugin that follows aliases. Resolvers ask for A and AAAA at once, and differ in what they make
//! of two answers of which one is a failure (`tests/resolvers.rs` shows it):
//! - SERVFAIL for one family: musl gives up with "try again" after 5 s, although it has an address. glibc and Go take
//!   the address.
//! - NOERROR without an address for both: all three say that the name does not exist, and their programs may believe it.
//!
//! So an alias is a failure only if neither family has an address. CoreDNS never says that it is one.

use std::time::Duration;

use super::plugin::Here;
use super::query::Query;
use super::walk;
use crate::wire::answer::Section;
use crate::wire::name::Name;
use crate::wire::question::Question;
use crate::wire::reply::Reply;
use crate::wire::types::{rcode, rtype};

/// How long after the client's question the other family may still be waited for: stub resolvers wait for 5 s. What is
/// in memory needs no waiting.
const PATIENCE: Duration = Duration::from_millis(4800);

/// What the target of an alias has.
pub struct Target {
    /// The reply to the question for it. Its RCODE is of no account: a target that does not exist leaves the bare alias
    /// with NOERROR, as in CoreDNS.
    pub reply: Reply,
    /// Whether the alias is to be SERVFAIL (RFC 6604 section 3).
    pub has_failed: bool,
}

impl Here<'_> {
    /// Asks the whole server for the target of an alias, with the type that the query has.
    ///
    /// If that fails for one family of addresses, the other is asked as well. The target's own aliases are not asked
    /// in this way, so that a chain of them costs at most twice its length.
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
