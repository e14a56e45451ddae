//! Replies to one client before they are sent: framed, bounded, and with a time limit for reading.

use std::cell::RefCell;

use tokio::time::Instant;

use crate::wire::write::Writer;

/// Unread octets at which answering pauses; with the last message, they are twice as many at most.
pub(super) const UNREAD: usize = 62 << 10;

/// Octets handed to the kernel, or encrypted, at once.
const CHUNK: usize = 32 << 10;

/// Octets of a stint. A client that takes longer than it may for so many is disconnected, so that
/// reading octet by octet does not hold a connection and its buffers for ever.
const STINT: usize = 64 << 10;

/// Spare buffers that a thread keeps for connections with replies to write, and the size limit of
/// each.
const SPARE: (usize, usize) = (4, 128 << 10);

thread_local! {
    static SPARES: RefCell<Vec<Vec<u8>>> = const { RefCell::new(Vec::new()) };
    static WRITER: RefCell<Writer> = RefCell::default();
}

/// The replies of one connection that are not yet handed over. It has no buffer while it is empty,
/// since most connections are idle.
#[derive(Default)]
pub(super) struct Output {
    bytes: Vec<u8>,
    /// Octets may be in a buffer between this one and the kernel's.
    unflushed: bool,
    /// When the client began to read the current stint, and how much of it is read.
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

    /// Returns whether the client has to read before more is answered.
    pub(super) fn is_full(&self) -> bool {
        self.bytes.len() >= UNREAD
    }

    /// Returns whether everything is handed to the kernel.
    pub(super) fn is_done(&self) -> bool {
        self.bytes.is_empty() && !self.unflushed
    }

    /// Returns what to hand over next; empty if the rest only has to be flushed.
    pub(super) fn chunk(&self) -> &[u8] {
        &self.bytes[..self.bytes.len().min(CHUNK)]
    }

    /// Notes that `octets` were taken. `buffers` says whether they may not have reached the kernel
    /// yet.
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

    /// Returns since when the client has been reading its stint, or `None` if nothing is pending.
    pub(super) fn since(&self) -> Option<Instant> {
        self.stint.map(|(since, _)| since)
    }

    /// Returns the octets of memory in use.
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
