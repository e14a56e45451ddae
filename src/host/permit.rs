//! One of a limited number of things at a time: a connection, a question, a query.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// A place among the things that are counted; dropping it gives the place back.
pub struct Permit(Arc<AtomicUsize>);

impl Permit {
    /// Takes a place. Returns `None` if `most` are taken already.
    #[must_use]
    pub fn take(count: &Arc<AtomicUsize>, most: usize) -> Option<Self> {
        let one_more = |n: usize| (n < most).then_some(n + 1);
        count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        Some(Self(count.clone()))
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_dropped_permit_makes_room() {
        let count = Arc::<AtomicUsize>::default();
        let first = Permit::take(&count, 1);
        assert!(first.is_some() && Permit::take(&count, 1).is_none());
        drop(first);
        assert!(Permit::take(&count, 1).is_some());
    }
}
