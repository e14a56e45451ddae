//! Values that plugins publish about a query and that others read: no plugin knows another.
//!
//! A value has a label, `kubernetes/client-namespace`, which begins with the plugin that publishes
//! it. Values are there only in server blocks with the plugin `metadata`, for the names of its
//! zones, as in CoreDNS. CoreDNS collects all of them for each query; here a value is made when it
//! is read.
//!
//! A value is that of the client's own question. Changes that plugins make to the question do not
//! affect it. What is known only once a query is answered (`forward/upstream`) comes with the
//! reply, see [`Reply::publish`](crate::wire::reply::Reply::publish).

use std::borrow::Cow;
use std::sync::Arc;

use super::query::Query;
use super::zones::Zones;

/// A plugin that publishes values.
pub trait Publisher: Send + Sync + 'static {
    /// Returns the value of a label for a query; `None` if there is none.
    fn value<'a>(&'a self, label: &str, query: &'a Query<'_>) -> Option<Cow<'a, str>>;
}

/// The values of a server block.
#[derive(Default)]
pub struct Metadata {
    /// The names that have values.
    zones: Zones,
    /// The first part of the labels of each publisher.
    publishers: Vec<(&'static str, Arc<dyn Publisher>)>,
}

impl Metadata {
    /// Returns a block without publishers, which has values for the names of these zones.
    #[must_use]
    pub(super) fn of(zones: Zones) -> Self {
        Self { zones, publishers: Vec::new() }
    }

    /// Adds a plugin that publishes labels that begin with `prefix` and a slash.
    pub(super) fn add(&mut self, prefix: &'static str, publisher: Arc<dyn Publisher>) {
        self.publishers.push((prefix, publisher));
    }

    /// Returns the value of a label for a query; `None` if there is none.
    #[must_use]
    pub fn value<'a>(&'a self, label: &str, query: &'a Query<'_>) -> Option<Cow<'a, str>> {
        let (prefix, _) = label.split_once('/')?;
        let (_, publisher) = self.publishers.iter().find(|(known, _)| *known == prefix)?;
        if self.zones.holds(&query.request.name(query.packet())) { publisher.value(label, query) } else { None }
    }
}

/// Returns whether a text is a label: two words or more with slashes between them.
#[must_use]
pub fn is_label(text: &str) -> bool {
    text.find('/').is_some_and(|slash| slash > 0 && slash + 1 < text.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn labels_have_two_parts() {
        for label in ["plugin/LABEL", "p/L", "a/b/c", "a//"] {
            assert!(is_label(label), "{label}");
        }
        for text in ["LABEL", "plugin.LABEL", "/a", "a/", "/", "//", ""] {
            assert!(!is_label(text), "{text}");
        }
    }
}
