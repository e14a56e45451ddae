//! What a plugin is.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use super::listener::Listener;
use super::query::Query;
use super::site::Site;
use super::walk;
use crate::wire::reply::Reply;

//----------- Plugin ---------------------------------------------------------

/// A link of the chain. Its hooks run on the worker's own thread and must not block. A plugin that
/// has to wait returns a future.
pub trait Plugin: Send + Sync + 'static {
    /// Handles a query on its way down: answers it, changes it, or passes it on.
    fn ask(&self, _query: &mut Query<'_>, _here: &Here<'_>) -> Step {
        Step::Next
    }

    /// Handles the reply on its way up. Only plugins above the one that answered see it.
    fn reply(&self, _query: &mut Query<'_>, _reply: &mut Reply, _here: &Here<'_>) -> Turn {
        Turn::Up
    }

    /// Handles a query without a reply: a plugin below has dropped it. Only plugins above that one
    /// see this.
    ///
    /// [`Turn::Up`] accepts the drop; the other turns find an answer all the same.
    fn dropped(&self, _query: &mut Query<'_>, _here: &Here<'_>) -> Turn {
        Turn::Up
    }

    /// Handles a reply of the server itself: the name belongs to no server block of `listener`, the
    /// class is not served, or a plugin panicked. Returns whether it was counted.
    fn refused(&self, _query: &Query<'_>, _reply: &Reply, _listener: &Listener) -> bool {
        false
    }

    /// Handles a NOTIFY for the zone that the question names (RFC 1996). Returns its reply if the
    /// plugin copies this zone from elsewhere, or refuses the message.
    fn notify(&self, _query: &mut Query<'_>, _here: &Here<'_>) -> Option<Reply> {
        None
    }

    /// Returns whether this plugin accepts questions of other classes than IN. If no plugin of a
    /// listener does, the server refuses them, as CoreDNS does.
    fn takes_any_class(&self) -> bool {
        false
    }
}

/// The result of a query at one seat.
pub enum Step {
    /// Not for this plugin: ask the next one.
    Next,
    /// Here is the answer. It goes up from this seat.
    Answer(Reply),
    /// The answer comes later. Not for answers that are in memory.
    Wait(Later),
    /// No reply at all. Only for a policy that says so, since clients time out.
    Drop,
}

/// The result of a reply at one seat.
pub enum Turn {
    /// Continue with the plugin above.
    Up,
    /// The question was changed: ask the plugins below again. At most 40 times a query.
    Again,
    /// Another reply will replace this one.
    Wait(Later),
    /// No reply at all, because a plugin below dropped the client's own question.
    Drop,
}

/// A reply that comes later. It owns what it needs.
pub type Later = Pin<Box<dyn Future<Output = Reply> + Send>>;

//----------- Here -----------------------------------------------------------

/// Where a hook runs.
#[derive(Clone, Copy)]
pub struct Here<'a> {
    /// The listener that the query came to.
    pub listener: &'a Arc<Listener>,
    /// The server block's chain on that listener.
    pub site: &'a Arc<Site>,
    /// The plugin's own seat.
    pub seat: usize,
}

impl Here<'_> {
    /// Asks the whole server, as a client would: routing and all plugins.
    #[must_use]
    pub fn lookup(&self, query: Query<'static>) -> Later {
        walk::lookup(self.listener.clone(), query)
    }

    /// Asks the plugins below this one.
    #[must_use]
    pub fn below(&self, query: Query<'static>) -> Later {
        walk::lookup_from(self.listener.clone(), self.site.clone(), self.seat + 1, query)
    }

    /// Asks this plugin again, and those below it.
    #[must_use]
    pub fn again(&self, query: Query<'static>) -> Later {
        walk::lookup_from(self.listener.clone(), self.site.clone(), self.seat, query)
    }
}
