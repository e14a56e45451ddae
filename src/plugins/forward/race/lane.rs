//! An upstream in a race, and what it was sent.

use std::sync::Arc;

use super::super::upstream::Upstream;

/// An upstream, and what it was sent.
pub(super) struct Lane {
    pub(super) upstream: Arc<Upstream>,
    /// Datagrams that it was sent.
    pub(super) udp: usize,
    /// Queries that it was sent over connections.
    pub(super) tcp: usize,
    pub(super) standing: Standing,
}

/// How an upstream may still be asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// In any way.
    Open,
    /// Over connections only: replies in datagrams are forged, or may be.
    Forged,
    /// Not at all: it has answered.
    Answered,
}

impl Lane {
    pub(super) fn new(upstream: &Arc<Upstream>) -> Self {
        Self { upstream: upstream.clone(), udp: 0, tcp: 0, standing: Standing::Open }
    }

    /// Whether it has not been asked yet.
    pub(super) fn is_unasked(&self) -> bool {
        self.udp + self.tcp == 0
    }

    pub(super) fn has_answered(&self) -> bool {
        self.standing == Standing::Answered
    }

    /// Its datagrams are not to be trusted.
    pub(super) fn distrust(&mut self) {
        if self.standing == Standing::Open {
            self.standing = Standing::Forged;
        }
    }
}
