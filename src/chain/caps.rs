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
    ///
    /// # Errors
    /// Returns both limits of streams if they differ, because a connection serves all blocks of its
    /// listener.
    pub(super) fn and(self, later: Self) -> std::result::Result<Self, (usize, usize)> {
        match (self.streams, later.streams) {
            (Some(one), Some(other)) if one != other => Err((one, other)),
            (streams, others) => {
                Ok(Self { connections: self.connections.or(later.connections), streams: streams.or(others) })
            }
        }
    }
}

/// Reads the number of an option that may stand in a block once.
///
/// # Errors
/// It is no number, or negative, or there is one already.
pub fn number(cursor: &mut Cursor<'_>, into: &mut Option<usize>) -> Result<()> {
    let name = cursor.word().as_str();
    let word = cursor.args_of(1..=1)?[0];
    let number = value::integer(word.as_str())
        .map_err(|wrong| cursor.error_at(word, format!("invalid {name} value '{word}': {wrong}")))?;
    let Ok(number) = usize::try_from(number) else {
        return Err(cursor.error_at(word, format!("{name} must be a non-negative integer: {number}")));
    };
    match into.replace(number) {
        None => Ok(()),
        Some(_) => Err(cursor.error_at(word, format!("{name} already defined for this server block"))),
    }
}
