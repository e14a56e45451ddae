//! What a plugin keeps once for each listener of its server block, such as a counter.

use std::sync::OnceLock;

use super::plugin::Here;

/// One `T` for each listener of a server block, made on first use.
pub struct PerListener<T>(Box<[OnceLock<T>]>);

impl<T> PerListener<T> {
    /// Returns room for this many listeners, at least for one.
    pub(super) fn new(listeners: usize) -> Self {
        Self((0..listeners.max(1)).map(|_| OnceLock::new()).collect())
    }

    /// Returns what is kept for the listener that a query came to. `make` gets the listener's name
    /// in metrics, for example `dns://:53`.
    pub fn get(&self, here: &Here<'_>, make: impl FnOnce(&str) -> T) -> &T {
        self.at(here.site.ordinal, || make(&here.listener.server))
    }

    /// Returns what is kept for the listener with an [ordinal](super::site::Site::ordinal).
    pub fn at(&self, ordinal: usize, make: impl FnOnce() -> T) -> &T {
        self.0[ordinal.min(self.0.len() - 1)].get_or_init(make)
    }
}
