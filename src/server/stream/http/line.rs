//! The carrier as hyper sees it: it stops when the shift is over.

use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::super::carrier::Carrier;
use super::conversation::Conversation;

/// A carrier that is not ready while the worker has to look for datagrams. It needs no waker then:
/// the connection is polled again in the next shift.
pub(super) struct Line<S> {
    stream: Rc<RefCell<S>>,
    talk: Rc<Conversation>,
}

impl<S: Carrier> Line<S> {
    pub(super) fn new(stream: Rc<RefCell<S>>, talk: Rc<Conversation>) -> Self {
        Self { stream, talk }
    }

    /// Writes, unless the shift is over.
    fn write(&self, write: impl FnOnce(Pin<&mut S>) -> Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if self.talk.is_tired() {
            return Poll::Pending;
        }
        let written = write(Pin::new(&mut *self.stream.borrow_mut()));
        if written.is_ready() {
            self.talk.has_written();
        }
        written
    }
}

impl<S: Carrier> AsyncRead for Line<S> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.talk.is_tired() {
            return Poll::Pending;
        }
        Pin::new(&mut *self.stream.borrow_mut()).poll_read(context, into)
    }
}

impl<S: Carrier> AsyncWrite for Line<S> {
    fn poll_write(self: Pin<&mut Self>, context: &mut Context<'_>, octets: &[u8]) -> Poll<io::Result<usize>> {
        self.write(|stream| stream.poll_write(context, octets))
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.write(|stream| stream.poll_write_vectored(context, pieces))
    }

    /// Replies are counted as they are taken from here, so hyper must not copy them.
    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_flush(context)
    }

    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut *self.stream.borrow_mut()).poll_shutdown(context)
    }
}
