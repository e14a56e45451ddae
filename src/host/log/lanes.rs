//! Where lines wait to be written: a buffer for each worker, so that workers do not wait for each
//! other.
//!
//! A lane has a lock that its worker and the writer share. The writer holds it only to swap the
//! full buffer for an empty one, so a worker almost always finds it free.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Number of workers with a lane of their own; all other threads share lane 0.
const WORKERS: usize = 32;

/// Octets that make a block, which the writer writes at once. It is half of a pipe's capacity, so
/// that one write need not wait for the reader.
pub(super) const BLOCK: usize = 32 << 10;

/// Octets that may wait in a lane.
pub(super) const LIMIT: usize = 1 << 20;

/// The lanes, and the state that workers, the writer and `wait` share.
pub(super) struct Lanes {
    lanes: [Lane; 1 + WORKERS],
    /// Whether the writer will look at the lanes without being woken.
    awake: AtomicBool,
    /// Lines that were dropped, or could not be written.
    dropped: AtomicU64,
    /// Whether the writer has taken lines that are not written yet.
    writing: AtomicBool,
    round: Mutex<()>,
    written: Condvar,
}

/// Each lane has cache lines of its own, so that workers do not contend for one.
#[repr(align(128))]
struct Lane(Mutex<Vec<u8>>);

//----------- Printing ------------------------------------------------------

/// Returns the lane of the worker with this number, from 0.
pub(super) fn of_worker(number: usize) -> usize {
    1 + number % WORKERS
}

impl Lanes {
    pub(super) const fn new() -> Self {
        Self {
            lanes: [const { Lane(Mutex::new(Vec::new())) }; 1 + WORKERS],
            awake: AtomicBool::new(false),
            dropped: AtomicU64::new(0),
            writing: AtomicBool::new(false),
            round: Mutex::new(()),
            written: Condvar::new(),
        }
    }

    /// Lets `write` append whole lines, or counts one dropped line if the lane is full. Returns
    /// whether the writer must be woken.
    #[must_use]
    pub(super) fn append(&self, lane: usize, write: impl FnOnce(&mut Vec<u8>)) -> bool {
        let mut buffer = self.lanes[lane].lock();
        let before = buffer.len();
        if before >= LIMIT {
            self.drop_lines(1);
            return false;
        }
        write(&mut buffer);
        let is_block = before < BLOCK && buffer.len() >= BLOCK;
        drop(buffer);
        // Before it sleeps, the writer says so and then locks each lane for a last look. So either
        // it has seen this line, or this thread sees that it sleeps.
        is_block || !self.awake.load(Ordering::Relaxed) && !self.awake.swap(true, Ordering::Relaxed)
    }

    /// Returns the number of lines dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything is written, at most `patience`; `wake` wakes the writer.
    pub(super) fn wait(&self, patience: Duration, wake: impl FnOnce()) {
        let round = self.round.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_written() {
            return;
        }
        wake();
        let _ = self.written.wait_timeout_while(round, patience, |()| !self.is_written());
    }

    /// The order matters: `writing` is set before lines leave their lane.
    fn is_written(&self) -> bool {
        self.is_empty() && !self.writing.load(Ordering::Relaxed)
    }
}

//----------- For the writer -------------------------------------------------

impl Lanes {
    /// Starts a round: from now on taken lines may not be written yet.
    pub(super) fn begin_round(&self) {
        self.writing.store(true, Ordering::Relaxed);
    }

    /// Passes the contents of each lane to `write`. Meanwhile `spare` takes the buffer's place, and
    /// the emptied buffer is the spare one of the next lane: buffers go round and keep their size.
    pub(super) fn take(&self, spare: &mut Vec<u8>, mut write: impl FnMut(&[u8])) {
        for lane in &self.lanes {
            let mut buffer = lane.lock();
            if buffer.is_empty() {
                continue;
            }
            std::mem::swap(&mut *buffer, spare);
            drop(buffer);
            write(spare);
            spare.clear();
            // Frees what grew while standard output was not read.
            spare.shrink_to(2 * BLOCK);
        }
    }

    /// Ends a round: everything that was taken is written.
    pub(super) fn end_round(&self) {
        let round = self.round.lock().unwrap_or_else(PoisonError::into_inner);
        self.writing.store(false, Ordering::Relaxed);
        drop(round);
        self.written.notify_all();
    }

    /// Returns whether the writer may sleep until it is woken.
    pub(super) fn may_sleep(&self) -> bool {
        self.awake.store(false, Ordering::Relaxed);
        let empty = self.is_empty();
        if !empty {
            self.awake.store(true, Ordering::Relaxed);
        }
        empty
    }

    /// Counts lines that were lost.
    pub(super) fn drop_lines(&self, count: u64) {
        self.dropped.fetch_add(count, Ordering::Relaxed);
    }

    fn is_empty(&self) -> bool {
        self.lanes.iter().all(|lane| lane.lock().is_empty())
    }
}

impl Lane {
    fn lock(&self) -> MutexGuard<'_, Vec<u8>> {
        self.0.lock().unwrap_or_else(|poisoned| {
            // A thread panicked while it made a line. The incomplete line is removed.
            self.0.clear_poison();
            let mut buffer = poisoned.into_inner();
            let whole = memchr::memrchr(b'\n', &buffer).map_or(0, |end| end + 1);
            buffer.truncate(whole);
            buffer
        })
    }
}
