//! Counters with a copy for each worker, so that counting needs no locked instruction and no cache
//! line of another core.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{LazyLock, OnceLock};

/// Number of copies: one for each worker, of which there is one a core, and copy 0 for all other
/// threads.
static COPIES: LazyLock<usize> = LazyLock::new(|| 1 + std::thread::available_parallelism().map_or(1, usize::from));

thread_local! {
    static COPY: Cell<usize> = const { Cell::new(0) };
}

/// Gives this thread its own copy of every counter. `worker` counts from 0; workers beyond the
/// number of cores share copy 0.
pub fn claim_copy(worker: usize) {
    COPY.set(if worker + 1 < *COPIES { worker + 1 } else { 0 });
}

//----------- Block ----------------------------------------------------------

/// Some counters, with a copy for each worker.
pub struct Block {
    copies: Box<[OnceLock<Box<[AtomicU64]>>]>,
    len: usize,
}

/// Unused cells at either end of a copy, so that it shares no cache line with other memory. It is
/// two lines, because processors fetch pairs.
const MARGIN: usize = 128 / size_of::<AtomicU64>();

/// The copy of this thread.
pub struct Own<'a> {
    cells: &'a [AtomicU64],
    is_shared: bool,
}

impl Block {
    /// Makes `len` counters at 0.
    #[must_use]
    pub fn new(len: usize) -> Self {
        Self { copies: (0..*COPIES).map(|_| OnceLock::new()).collect(), len }
    }

    /// Adds `n` to the counter at `cell`.
    pub fn add(&self, cell: usize, n: u64) {
        self.own().add(cell, n);
    }

    /// Returns the copy of this thread, for callers that count several things.
    #[must_use]
    pub fn own(&self) -> Own<'_> {
        let copy = COPY.get();
        let fresh = || (0..self.len + 2 * MARGIN).map(|_| AtomicU64::new(0)).collect();
        Own { cells: self.copies[copy].get_or_init(fresh), is_shared: copy == 0 }
    }

    /// Returns the sum of all copies of the counter at `cell`.
    #[must_use]
    pub fn sum(&self, cell: usize) -> u64 {
        let copies = self.copies.iter().filter_map(OnceLock::get);
        copies.map(|cells| cells[MARGIN + cell].load(Ordering::Relaxed)).sum()
    }
}

impl Own<'_> {
    /// Adds `n` to the counter at `cell`.
    pub fn add(&self, cell: usize, n: u64) {
        let cell = &self.cells[MARGIN + cell];
        if self.is_shared {
            cell.fetch_add(n, Ordering::Relaxed);
        } else {
            // Only this thread writes this copy.
            cell.store(cell.load(Ordering::Relaxed).wrapping_add(n), Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn workers_count_in_copies_of_their_own_and_all_others_in_one() {
        let block = Block::new(2);
        // More threads than cores: some share a copy, and nothing is lost.
        let threads = 2 * *COPIES;
        std::thread::scope(|scope| {
            for worker in 0..threads {
                let block = &block;
                scope.spawn(move || {
                    claim_copy(worker);
                    (0..10_000).for_each(|_| block.add(1, 1));
                    assert_eq!(block.own().is_shared, worker + 1 >= *COPIES);
                });
            }
        });
        assert_eq!((block.sum(1), block.sum(0)), (10_000 * threads as u64, 0));
    }
}
