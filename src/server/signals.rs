//! The signals that the process handles, as in CoreDNS.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, Result};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    /// SIGTERM: stop after open queries are answered.
    Stop,
    /// SIGINT: stop after the lameduck time; a second one stops at once.
    Interrupt,
    /// SIGQUIT: stop at once.
    Quit,
    /// SIGUSR1: read the Corefile again.
    Reload,
}

/// Receives the signals of the process from its creation on. Before that, each of them kills the
/// process, or is lost if the process is the first one of a container.
pub(super) struct Signals {
    stop: Signal,
    interrupt: Signal,
    quit: Signal,
    reload: Signal,
    hangup: Signal,
}

impl Signals {
    /// # Errors
    /// A handler cannot be set. Call it inside a runtime.
    pub(super) fn new() -> Result<Self> {
        let new = |kind| signal(kind).map_err(|source| Error::Io { what: "listen for signals".into(), source });
        Ok(Self {
            stop: new(SignalKind::terminate())?,
            interrupt: new(SignalKind::interrupt())?,
            quit: new(SignalKind::quit())?,
            reload: new(SignalKind::user_defined1())?,
            hangup: new(SignalKind::hangup())?,
        })
    }

    /// Waits for the next signal. Pending signals of one kind count as one.
    pub(super) async fn next(&mut self) -> Demand {
        loop {
            tokio::select! {
                biased;
                _ = self.quit.recv() => return Demand::Quit,
                _ = self.interrupt.recv() => return Demand::Interrupt,
                _ = self.stop.recv() => return Demand::Stop,
                _ = self.reload.recv() => return Demand::Reload,
                // SIGHUP is ignored, as in CoreDNS.
                _ = self.hangup.recv() => {}
            }
        }
    }
}
