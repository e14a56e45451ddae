//! A server block's chain on one listener.

use std::sync::Arc;

use super::plugin::Plugin;
use crate::error::of_plugin;
use crate::wire::name::Name;
use crate::wire::reply::{NOBODY, Reply};
use crate::wire::types::rcode;

//----------- Chain ----------------------------------------------------------

/// The plugins of one server block, in order.
pub struct Chain {
    plugins: Vec<Arc<dyn Plugin>>,
    names: Vec<&'static str>,
}

impl Chain {
    /// Returns a chain of named plugins, from the top.
    #[must_use]
    pub fn new(seats: Vec<(&'static str, Arc<dyn Plugin>)>) -> Self {
        let (names, plugins) = seats.into_iter().unzip();
        Self { plugins, names }
    }

    /// Returns the plugins from the top.
    #[must_use]
    pub fn plugins(&self) -> &[Arc<dyn Plugin>] {
        &self.plugins
    }

    /// Returns the names of the plugins from the top.
    #[must_use]
    pub fn names(&self) -> &[&'static str] {
        &self.names
    }

    /// Returns the reply to a query that no plugin answered.
    pub(super) fn end_reply(&self) -> Reply {
        match self.names.last() {
            Some(last) => Reply::failure(rcode::SERVFAIL, format!("{}: {NOBODY}", of_plugin(last))),
            None => Reply::server(rcode::REFUSED),
        }
    }
}

//----------- Site -----------------------------------------------------------

/// One server block on one of its listeners.
pub struct Site {
    /// The zones of the block on this listener, lower case.
    pub zones: Vec<Name>,
    /// The chain, shared with the block's other listeners.
    pub chain: Arc<Chain>,
    /// Which of the block's listeners this is: the index of what plugins keep for each listener.
    pub ordinal: usize,
}
