//! Limits that server blocks set for the connections of a listener.

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
    pub(super) fn and(self, later: Self) -> Result<Self, (usize, usize)> {
        match (self.streams, later.streams) {
            (Some(one), Some(other)) if one != other => Err((one, other)),
            (streams, others) => {
                Ok(Self { connections: self.connections.or(later.connections), streams: streams.or(others) })
            }
        }
    }
}
