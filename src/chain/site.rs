//! A server block's chain on one listener, and which queries the block takes.

use std::borrow::Cow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use super::metadata::Metadata;
use super::plugin::Plugin;
use super::query::Query;
use super::signing::Secrets;
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

//----------- Filter ---------------------------------------------------------

/// Chooses the queries of a server block by more than their name. Blocks that share a zone and a
/// listener are asked in the order of the Corefile; the first that takes the query serves it.
pub trait Filter: Send + Sync + 'static {
    /// Returns whether the block takes a query. It must not block.
    fn takes(&self, query: &Query<'_>, site: &Site) -> bool;
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
    /// Which queries the block takes, if not all for its zones.
    pub filter: Option<Arc<dyn Filter>>,
    /// The values that its plugins publish, if it has any.
    pub metadata: Option<Arc<Metadata>>,
    /// The secrets that its clients sign with, if it has any.
    pub secrets: Option<Arc<Secrets>>,
}

impl Site {
    /// Returns a site that takes all queries for its zones, without metadata and secrets.
    #[must_use]
    pub fn new(zones: Vec<Name>, chain: Arc<Chain>, ordinal: usize) -> Self {
        Self { zones, chain, ordinal, filter: None, metadata: None, secrets: None }
    }

    /// Returns whether the block takes a query for its zones. A filter that panics takes none.
    pub(super) fn takes(&self, query: &Query<'_>) -> bool {
        let Some(filter) = &self.filter else { return true };
        catch_unwind(AssertUnwindSafe(|| filter.takes(query, self))).unwrap_or(false)
    }

    /// Returns the published value of a label for a query; `None` if there is none.
    #[must_use]
    pub fn metadata<'a>(&'a self, label: &str, query: &'a Query<'_>) -> Option<Cow<'a, str>> {
        self.metadata.as_ref()?.value(label, query)
    }

    /// Returns the published value of a label for a query that has been answered.
    #[must_use]
    pub fn metadata_of_reply<'a>(
        &'a self,
        label: &str,
        query: &'a Query<'_>,
        reply: Option<&'a Reply>,
    ) -> Option<Cow<'a, str>> {
        let metadata = self.metadata.as_ref()?;
        let published = reply.and_then(|reply| reply.published(label));
        published.map(Cow::Borrowed).or_else(|| metadata.value(label, query))
    }
}
