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

/// A link of the chain. Its hooks run on the worker's own thread and must not block; a plugin that has to wait
/// hands back a future.
pub trait Plugin: Send + Sync + 'static {
    /// A query on its way down: answer it, change it, or let it pass.
    fn ask(&self, _query: &mut Query<'_>, _here: &Here<'_>) -> Step {
        Step::Next
    }

    /// The reply on its way up. Only plugins above the one that answered see it.
    fn reply(&self, _query: &mut Query<'_>, _reply: &mut Reply, _here: &Here<'_>) -> Turn {
        Turn::Up
    }

    /// There will be no reply: a plugin below has dropped the query. Only plugins above that one see it.
    ///
    /// [`Turn::Up`] leaves it at that; the other turns find an answer all the same.
    fn dropped(&self, _query: &mut Query<'_>, _here: &Here<'_>) -> Turn {
        Turn::Up
    }

    /// The server answered by itself: the name belongs to no server block of `listener`, the class is not served, or
    /// a plugin panicked. Returns whether it was counted.
    fn refused(&self, _query: &Query<'_>, _reply: &Reply, _listener: &Listener) -> bool {
        false
    }

    /// Whether questions of other classes than IN may come in. If no plugin of a listener says so, the server refuses
    /// them, as CoreDNS does.
    fn takes_any_class(&self) -> bool {
        false
    }
}

/// What becomes of a query at one seat.
pub enum Step {
    /// Not mine: ask the next plugin.
    Next,
    /// Here is the answer. It goes up from this seat.
    Answer(Reply),
    /// The answer will come. Wrong where the answer is in memory.
    Wait(Later),
    /// No reply at all. Wrong for anything but a policy that says so: clients time out.
    Drop,
}

/// What becomes of a reply at one seat.
pub enum Turn {
    /// On to the plugin above.
    Up,
    /// I changed the question: ask those below me once more. At most 40 times a query.
    Again,
    /// Another reply will take this one's place.
    Wait(Later),
    /// No reply at all, because a plugin below said so about the client's own question.
    Drop,
}

/// A reply that will come. It owns what it needs.
pub type Later = Pin<Box<dyn Future<Output = Reply> + Send>>;

//----------- Here -----------------------------------------------------------

/// Where in the house a hook runs.
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
    /// Asks the whole server, as if a client had asked: routing and all plugins.
    #[must_use]
    pub fn lookup(&self, query: Query<'static>) -> Later {
        walk::lookup(self.listener.clone(), query)
    }

    /// Asks the plugins below this one.
    #[must_use]
    pub fn below(&self, query: Query<'static>) -> Later {
        walk::lookup_from(self.listener.clone(), self.site.clone(), self.seat + 1, query)
    }

    /// Asks this plugin itself once more, and those below it.
    #[must_use]
    pub fn again(&self, query: Query<'static>) -> Later {
        walk::lookup_from(self.listener.clone(), self.site.clone(), self.seat, query)
    }
}
