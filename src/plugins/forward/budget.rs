//! How many queries may be sent twice.
//!
//! Asking once more helps against loss and against one slow upstream. When everything is slow it
//! makes things worse (storms of repeats have turned slow resolvers into dead ones), so each query
//! earns a part of a repeat, and repeats are paid for.

use std::sync::atomic::{AtomicU32, Ordering};

/// What one repeat costs.
const PRICE: u32 = 10;

/// What a query earns: with this alone, 10 % of queries are repeated.
const EARNED: u32 = 1;

/// The most that can be saved: 100 repeats.
const MOST: u32 = 100 * PRICE;

/// The repeats that are paid for.
pub(super) struct Budget(AtomicU32);

impl Default for Budget {
    fn default() -> Self {
        Self(AtomicU32::new(MOST))
    }
}

impl Budget {
    /// A query is asked. Where queries get lost, not late, each of them earns a whole repeat.
    pub(super) fn earn(&self, is_lossy: bool) {
        let saved = self.0.load(Ordering::Relaxed);
        if saved < MOST {
            // Two that earn at the same time may earn once.
            let more = saved + if is_lossy { PRICE } else { EARNED };
            let _ = self.0.compare_exchange(saved, more.min(MOST), Ordering::Relaxed, Ordering::Relaxed);
        }
    }

    /// Pays for a repeat, if there is enough.
    pub(super) fn pay(&self) -> bool {
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |saved| saved.checked_sub(PRICE)).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn repeats_are_a_tenth_of_queries_after_a_burst() {
        let budget = Budget::default();
        assert_eq!((0..1000).filter(|_| budget.pay()).count(), 100);
        let count = |is_lossy| {
            (0..1000)
                .filter(|_| {
                    budget.earn(is_lossy);
                    budget.pay()
                })
                .count()
        };
        assert_eq!(count(false), 100);
        assert_eq!(count(true), 1000, "what is lost is asked again");
        (0..10_000).for_each(|_| budget.earn(false));
        assert_eq!((0..1000).filter(|_| budget.pay()).count(), 100, "no more than a burst is saved");
    }
}
