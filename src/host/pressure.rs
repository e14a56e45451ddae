//! Whether this thread has to drop queries: work that can wait is left out then.

use std::cell::Cell;

thread_local! {
    /// Sockets of this thread that drop queries.
    static SOCKETS: Cell<usize> = const { Cell::new(0) };
}

/// A socket of this thread that drops queries, until this is dropped.
pub struct Pressure(());

impl Pressure {
    /// Notes that a socket begins to drop queries.
    #[must_use]
    pub fn begin() -> Self {
        SOCKETS.set(SOCKETS.get() + 1);
        Self(())
    }

    /// Returns whether a socket of this thread drops queries.
    #[must_use]
    pub fn is_high() -> bool {
        SOCKETS.get() > 0
    }
}

impl Drop for Pressure {
    fn drop(&mut self) {
        SOCKETS.set(SOCKETS.get() - 1);
    }
}
