//! Replies on their way to one client: framed, bounded, and to be read within a time.

use std::cell::RefCell;
use std::time::Duration;

use tokio::time::Instant;

use crate::wire::write::Writer;

/// Octets that may be unread before nothing more is answered; with the last message it is twice as much at most.
pub(super) const UNREAD: usize = 62 << 10;

/// Octets that are handed to the kernel, or encrypted, at once.
const CHUNK: usize = 32 << 10;

/// How long a client may take to read what there is, or [`STINT`] of it.
pub(super) const READ: Duration = Duration::from_secs(5);

/// Octets of a stint: a client that takes longer than [`READ`] for as many is let go, so that one that reads octet by
/// octet does not hold a connection and its buffers for ever.
const STINT: usize = 64 << 10;

/// Buffers that a thread keeps for the next connection that has replies to write, and octets that each may have.
const SPARE: (usize, usize) = (4, 128 << 10);

thread_local! {
    static SPARES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static WRITER: RefCell<Writer> = RefCell::default();
}

/// The replies of one connection that are not handed over yet. Without any it has no buffer: most connections are idle.
#[derive(Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    /// Octets may be left in a buffer between this one and the kernel's.
    unflushed: bool,
    /// When the client began to read the stint that it reads now, and what it has read of it.
    stint: Option<(Instant, usize)>,
}

impl Output {
    /// Adds a message with its length in front (RFC 1035 section 4.2.2).
    pub(super) fn put(&mut self, now: Instant, message: impl FnOnce(&mut Writer, &mut Vec<u8>) -> usize) {
        if self.bytes.capacity() == 0 {
            self.bytes = SPARES.with_borrow_mut(Vec::pop).unwrap_or_default();
        }
        let at = self.bytes.len();
        self.bytes.extend_from_slice(&[0, 0]);
        let len = WRITER.with_borrow_mut(|writer| message(writer, &mut self.bytes)) as u16;
        self.bytes[at..at + 2].copy_from_slice(&len.to_be_bytes());
        self.stint.get_or_insert((now, 0));
    }

    /// Whether the client has to read before anything more is answered.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= UNREAD
    }

    /// Whether everything is handed to the kernel.
    pub(super) fn is_done(&self) -> bool {
        self.bytes.is_empty() && !self.unflushed
    }

    /// What to hand over next; empty if the rest only has to be flushed.
    pub(super) fn chunk(&self) -> &[u8] {
        &self.bytes[..self.bytes.len().min(CHUNK)]
    }

    /// So many octets are taken. `buffers` says whether they may not have come to the kernel yet.
    pub(super) fn has_written(&mut self, octets: usize, buffers: bool, now: Instant) {
        self.unflushed = buffers && octets > 0;
        self.bytes.drain(..octets);
        if self.bytes.is_empty() {
            self.give_buffer_back();
        } else if self.bytes.capacity() > 2 * self.bytes.len().max(CHUNK) {
            self.bytes.shrink_to(CHUNK);
        }
        self.stint = match self.stint {
            _ if self.is_done() => None,
            Some((_, read)) if read + octets >= STINT => Some((now, 0)),
            Some((since, read)) => Some((since, read + octets)),
            None => None,
        };
    }

    /// Since when the client has been reading its stint; `None` if there is nothing to be read.
    pub(super) fn since(&self) -> Option<Instant> {
        self.stint.map(|(since, _)| since)
    }

    /// Octets of memory that it takes.
    pub(super) fn capacity(&self) -> usize {
        self.bytes.capacity()
    }

    fn give_buffer_back(&mut self) {
        let buffer = std::mem::take(&mut self.bytes);
        let (most, octets) = SPARE;
        SPARES.with_borrow_mut(|spares| {
            if spares.len() < most && buffer.capacity() <= octets {
                spares.push(buffer);
            }
        });
    }
}
