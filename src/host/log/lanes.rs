//! Where lines wait to be written: a buffer for each worker, so that workers do not wait for one another.
//!
//! A lane has a lock, which its worker and the writer share. The writer has it while it puts an empty buffer in the place
//! of the full one, so a worker that prints finds it free.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

/// Workers that have a lane of their own; other threads share lane 0.
const WORKERS: usize = 32;

/// Octets that make a block: the writer need not wait for more. Half of what a pipe holds, so that it can be
/// written without waiting for the reader.
pub(super) const BLOCK: usize = 32 << 10;

/// Octets that may wait in a lane.
pub(super) const LIMIT: usize = 1 << 20;

/// The lanes, and what workers, the writer and whoever waits for it tell each other.
pub(super) struct Lanes {
    lanes: [Lane; 1 + WORKERS],
    /// The writer looks at the lanes by itself.
    awake: AtomicBool,
    /// Lines that were left out, or could not be written.
    dropped: AtomicU64,
    /// The writer has taken lines that are not written yet.
    writing: AtomicBool,
    round: Mutex<()>,
    written: Condvar,
}

/// A line of cache for each: two workers do not write to the same.
#[repr(align(128))]
struct Lane(Mutex<Vec<u8>>);

//----------- For those who print --------------------------------------------

/// The lane of the worker with this number, from 0.
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

    /// Lets `write` append whole lines, or counts one as dropped when the lane is full. Whether the writer is to be woken.
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
        // A writer that goes to sleep says so before it locks each lane for a last look. So it has seen this line, or is
        // seen here to sleep.
        is_block || !self.awake.load(Ordering::Relaxed) && !self.awake.swap(true, Ordering::Relaxed)
    }

    /// Lines that were dropped so far.
    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Waits until everything is written, at most `patience`; `wake` lets the writer begin.
    pub(super) fn wait(&self, patience: Duration, wake: impl FnOnce()) {
        let round = self.round.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_written() {
            return;
        }
        wake();
        let _ = self.written.wait_timeout_while(round, patience, |()| !self.is_written());
    }

    /// In this order: lines are being written before they are gone from their lane.
    fn is_written(&self) -> bool {
        self.is_empty() && !self.writing.load(Ordering::Relaxed)
    }
}

//----------- For the writer -------------------------------------------------

impl Lanes {
    /// A round begins: from now on lines may be on their way from the lanes to the reader.
    pub(super) fn begin_round(&self) {
        self.writing.store(true, Ordering::Relaxed);
    }

    /// Hands to `write` what waits in each lane. Meanwhile `spare` is in its place, and then what was taken is the spare
    /// one of the next lane: buffers go round and keep their size.
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
            // What grew while nobody read.
            spare.shrink_to(2 * BLOCK);
        }
    }

    /// All that was taken is written.
    pub(super) fn end_round(&self) {
        let round = self.round.lock().unwrap_or_else(PoisonError::into_inner);
        self.writing.store(false, Ordering::Relaxed);
        drop(round);
        self.written.notify_all();
    }

    /// Whether the writer may sleep until it is woken.
    pub(super) fn may_sleep(&self) -> bool {
        self.awake.store(false, Ordering::Relaxed);
        let empty = self.is_empty();
        if !empty {
            self.awake.store(true, Ordering::Relaxed);
        }
        empty
    }

    /// Counts lines that nobody will read.
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
            // Somebody panicked while making a line: what there is of it goes, so that no line is torn.
            self.0.clear_poison();
            let mut buffer = poisoned.into_inner();
            let whole = memchr::memrchr(b'\n', &buffer).map_or(0, |end| end + 1);
            buffer.truncate(whole);
            buffer
        })
    }
}
