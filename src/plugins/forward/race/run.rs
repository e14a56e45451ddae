//! One send of a question, and the wait for what comes of it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use super::super::failure::Failure;
use super::super::table::Outcome;
use super::super::udp::Exchange;

/// A send that is not answered yet.
pub(super) struct Run {
    pub(super) lane: usize,
    pub(super) sent_at: Instant,
    pub(super) late_at: Instant,
    pub(super) is_late: bool,
    /// There was bad news about it.
    pub(super) refused: bool,
    /// Over TCP because the reply in a datagram was truncated.
    pub(super) after_tc: bool,
    pub(super) io: Io,
}

/// What carries it.
pub(super) enum Io {
    Datagram(Exchange),
    Stream(Pin<Box<dyn Future<Output = Outcome> + Send>>),
}

impl Run {
    /// What to say when the answer did not come in time from the upstream of this name.
    pub(super) fn timeout(&self, to: &str) -> Failure {
        match &self.io {
            Io::Datagram(exchange) => exchange.timeout(),
            Io::Stream(_) => Failure::late("tcp", to),
        }
    }
}

/// The first run that has come to something.
pub(super) fn poll_runs(runs: &mut [Run], cx: &mut Context<'_>) -> Poll<(usize, Outcome)> {
    for (at, run) in runs.iter_mut().enumerate() {
        let outcome = match &mut run.io {
            Io::Datagram(exchange) => Pin::new(exchange).poll(cx),
            Io::Stream(ask) => ask.as_mut().poll(cx),
        };
        if let Poll::Ready(outcome) = outcome {
            return Poll::Ready((at, outcome));
        }
    }
    Poll::Pending
}
