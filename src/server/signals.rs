//! The signals that the process obeys, as CoreDNS has them.

use tokio::signal::unix::{Signal, SignalKind, signal};

use crate::error::{Error, Result};

/// What a signal asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Demand {
    /// SIGTERM: to end, when what was asked is answered.
    Stop,
    /// SIGINT: to end after the lameduck time; a second one, at once.
    Interrupt,
    /// SIGQUIT: to end at once.
    Quit,
    /// SIGUSR1: to read the Corefile again.
    Reload,
}

/// The signals of the process, from when this is made: until then each of them kills, or is lost
/// where the process is the first one of a container.
pub(super) struct Signals {
    stop: Signal,
    interrupt: Signal,
    quit: Signal,
    reload: Signal,
    hangup: Signal,
}

impl Signals {
    /// # Errors
    /// A handler cannot be set. To be called inside of a runtime.
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

    /// The next one. Several of one kind that nobody has waited for are one.
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
