//! What became of a query.

use std::sync::Arc;

use super::options::Options;
use crate::chain::Reply;
use crate::remote::Failure;
use crate::wire::answer::{Answer, Section};
use crate::wire::reply::{Origin, ede};
use crate::wire::types::rcode;

/// The label under which the address of the upstream that answered is published.
pub(super) const UPSTREAM: &str = "forward/upstream";

/// What became of a query.
#[derive(Clone)]
pub(super) struct Resolved {
    /// An answer, or the reason why there is none.
    pub(super) reply: Reply,
    /// Whether the next `forward` is asked, if there is one.
    pub(super) passes_on: bool,
}

impl Resolved {
    /// An upstream has answered: the one at the address `from`.
    pub(super) fn answered(answer: Answer, options: &Options, from: &str) -> Self {
        let is_empty = answer.rcode == rcode::NOERROR && answer.section(Section::Answer).next().is_none();
        let passes_on = options.next.contains(&answer.rcode) || options.next_on_nodata && is_empty;
        let mut reply = Reply::fetched(Arc::new(answer));
        if options.names_upstream {
            reply.publish(UPSTREAM, from);
        }
        Self { reply, passes_on }
    }

    /// No upstream has answered. `last` is why the last one failed; without it, none was asked.
    pub(super) fn failed(last: Option<Failure>) -> Self {
        let (cause, (code, text)) = match last {
            None => ("no healthy proxies".to_owned(), (ede::NO_REACHABLE_AUTHORITY, "no upstream is up")),
            Some(failure) => (failure.text.as_ref().to_owned(), failure.extended()),
        };
        Reply::failure(rcode::SERVFAIL, cause).with_error(code, text).into()
    }

    /// Whether no upstream has answered.
    pub(super) fn is_failure(&self) -> bool {
        self.reply.origin != Origin::Fetched
    }
}

impl From<Reply> for Resolved {
    fn from(reply: Reply) -> Self {
        Self { reply, passes_on: false }
    }
}
