//! Replies on their way to the client: counted until hyper has handed their octets on.

use std::cell::Cell;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use hyper::HeaderMap;
use hyper::body::{Body, Buf, Frame, SizeHint};
use tokio::sync::Notify;
use tokio::time::Instant;

use super::super::output::STINT;

//----------- Unread ---------------------------------------------------------

/// The octets of one connection's replies that the client has not taken yet.
#[derive(Default)]
pub(super) struct Unread {
    octets: Cell<usize>,
    /// When the client began to take the current stint, and how much of it is taken.
    stint: Cell<Option<(Instant, usize)>>,
    /// Notified when there is room for more replies.
    pub(super) room: Rc<Notify>,
    /// Notified when replies begin to wait, and when all are taken.
    pub(super) changed: Notify,
}

impl Unread {
    /// Returns the octets that are not taken yet.
    pub(super) fn octets(&self) -> usize {
        self.octets.get()
    }

    /// Returns since when the client has been taking its stint, or `None` if nothing is pending.
    pub(super) fn since(&self) -> Option<Instant> {
        self.stint.get().map(|(since, _)| since)
    }

    fn add(&self, octets: usize) {
        self.octets.set(self.octets.get() + octets);
        if self.stint.get().is_none() && octets > 0 {
            self.stint.set(Some((Instant::now(), 0)));
            self.changed.notify_one();
        }
    }

    fn take(&self, octets: usize) {
        self.octets.set(self.octets.get() - octets);
        if self.octets.get() == 0 {
            self.stint.set(None);
            self.changed.notify_one();
        } else if let Some((since, taken)) = self.stint.get() {
            let taken = taken + octets;
            self.stint.set(Some(if taken >= STINT { (Instant::now(), 0) } else { (since, taken) }));
        }
        self.room.notify_waiters();
    }
}

//----------- Content --------------------------------------------------------

/// The body of a response: one piece, and the fields behind it.
pub(super) struct Content {
    piece: Option<Piece>,
    trailers: Option<HeaderMap>,
}

/// The octets of a body. They are counted until they are taken or dropped.
pub(super) struct Piece {
    octets: Vec<u8>,
    taken: usize,
    unread: Rc<Unread>,
}

impl Content {
    pub(super) fn new(octets: Vec<u8>, unread: &Rc<Unread>) -> Self {
        unread.add(octets.len());
        let piece = (!octets.is_empty()).then(|| Piece { octets, taken: 0, unread: unread.clone() });
        Self { piece, trailers: None }
    }

    /// Returns the body with fields behind it, which HTTP/1.1 does not send.
    pub(super) fn and_then(self, trailers: HeaderMap) -> Self {
        Self { trailers: Some(trailers), ..self }
    }
}

impl Body for Content {
    type Data = Piece;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<Result<Frame<Piece>, Infallible>>> {
        let piece = self.piece.take().map(Frame::data);
        let frame = piece.or_else(|| self.trailers.take().map(Frame::trailers));
        Poll::Ready(frame.map(Ok))
    }

    fn is_end_stream(&self) -> bool {
        self.piece.is_none() && self.trailers.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.piece.as_ref().map_or(0, Buf::remaining) as u64)
    }
}

impl Buf for Piece {
    fn remaining(&self) -> usize {
        self.octets.len() - self.taken
    }

    fn chunk(&self) -> &[u8] {
        &self.octets[self.taken..]
    }

    fn advance(&mut self, octets: usize) {
        self.taken += octets;
        self.unread.take(octets);
    }
}

impl Drop for Piece {
    fn drop(&mut self) {
        match self.remaining() {
            0 => {}
            rest => self.unread.take(rest),
        }
    }
}
