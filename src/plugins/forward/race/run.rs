//! One send of a question, and the wait for what comes of it.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use crate::remote::{Exchange, Failure, Outcome};

/// A send that is not answered yet.
pub(super) struct Run {
    /// The place of its upstream among the lanes.
    pub(super) lane: usize,
    pub(super) sent_at: Instant,
    /// When the answer is late; `None` once that has been noted.
    pub(super) late_at: Option<Instant>,
    pub(super) hope: Hope,
    pub(super) io: Io,
}

/// What is to come of a send.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Hope {
    /// An answer.
    Answer,
    /// An answer in spite of bad news, which may be forged: it is waited for, but counts as silent.
    Refused,
    /// The whole of an answer that was truncated in a datagram.
    Whole,
}

/// What carries it.
pub(super) enum Io {
    Datagram(Exchange),
    Stream(Pin<Box<dyn Future<Output = Outcome> + Send>>),
}

impl Run {
    /// Whether there was bad news about it.
    pub(super) fn is_refused(&self) -> bool {
        self.hope == Hope::Refused
    }

    /// Whether it went over a connection.
    pub(super) fn is_stream(&self) -> bool {
        matches!(self.io, Io::Stream(_))
    }

    /// The failure if no answer came in time from the upstream `to`.
    pub(super) fn timeout(&self, to: &str) -> Failure {
        match &self.io {
            Io::Datagram(exchange) => exchange.timeout(),
            Io::Stream(_) => Failure::late("tcp", to),
        }
    }
}

/// Polls for the first run that has come to something, and returns its place.
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
