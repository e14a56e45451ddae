//! How long clients of a listener's connections may take, as far as its server blocks say so.

use std::time::Duration;

/// How long a client may take from the first octet of a message to its last, to send its first
/// message, or for a handshake.
pub const MESSAGE: Duration = Duration::from_secs(3);

/// How long a client may take to read the replies that are ready, or a certain part of them.
pub const READING: Duration = Duration::from_secs(5);

/// How long a connection may be idle (RFC 7766 section 6.2.3 asks for seconds).
pub const IDLE: Duration = Duration::from_secs(10);

/// The limits of connections that server blocks set.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Timeouts {
    /// In place of [`MESSAGE`].
    pub message: Option<Duration>,
    /// In place of [`READING`].
    pub reading: Option<Duration>,
    /// In place of [`IDLE`].
    pub idle: Option<Duration>,
    /// Number of messages before a connection is closed.
    pub queries: Option<u64>,
}

impl Timeouts {
    /// Returns these limits, and those of `later` where it has one.
    #[must_use]
    pub fn and(self, later: Self) -> Self {
        Self {
            message: later.message.or(self.message),
            reading: later.reading.or(self.reading),
            idle: later.idle.or(self.idle),
            queries: later.queries.or(self.queries),
        }
    }

    /// Returns how long a message may take.
    #[must_use]
    pub fn message(&self) -> Duration {
        self.message.unwrap_or(MESSAGE)
    }

    /// Returns how long reading replies may take.
    #[must_use]
    pub fn reading(&self) -> Duration {
        self.reading.unwrap_or(READING)
    }

    /// Returns how long a connection may be idle.
    #[must_use]
    pub fn idle(&self) -> Duration {
        self.idle.unwrap_or(IDLE)
    }
}
