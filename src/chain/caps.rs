//! Limits that server blocks set for the connections of a listener.

use crate::corefile::{Cursor, value};
use crate::error::Result;

/// The limits of a listener's connections. `None` means the default of its transport.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Caps {
    /// Connections at once, over all workers; 0 means as many as the process takes.
    pub connections: Option<usize>,
    /// Requests at once on one connection; 0 means the default.
    pub streams: Option<usize>,
}

impl Caps {
    /// Returns these limits, with those of `later` where these have none.
    #[must_use]
    pub(super) fn and(self, later: Self) -> Self {
        Self { connections: self.connections.or(later.connections), streams: self.streams.or(later.streams) }
    }

    /// Returns the limits of streams if both have one and they differ.
    pub(super) fn differ(self, later: Self) -> Option<(usize, usize)> {
        self.streams.zip(later.streams).filter(|(one, other)| one != other)
    }
}

/// Reads the number of an option that may stand in a block once: `least` or more.
///
/// # Errors
/// What is wrong with it, in CoreDNS's words.
pub fn number(cursor: &mut Cursor<'_>, into: &mut Option<usize>, least: usize) -> Result<()> {
    let name = cursor.word().as_str();
    let word = cursor.args_of(1..=1)?[0];
    let number = value::integer(word.as_str())
        .map_err(|wrong| cursor.error_at(word, format!("invalid {name} value '{word}': {wrong}")))?;
    let Some(number) = usize::try_from(number).ok().filter(|number| *number >= least) else {
        let kind = if least > 0 { "positive" } else { "non-negative" };
        return Err(cursor.error_at(word, format!("{name} must be a {kind} integer: {number}")));
    };
    match into.replace(number) {
        None => Ok(()),
        Some(_) => Err(cursor.error_at(word, format!("{name} already defined for this server block"))),
    }
}
