//! The order in which upstreams are tried.

use std::sync::atomic::{AtomicUsize, Ordering};

use rand::RngExt;
use rand::seq::SliceRandom;

/// How the first upstream of a query is chosen.
#[derive(Debug, Default)]
pub(super) enum Policy {
    /// Any order is as likely as any other.
    #[default]
    Random,
    /// The next one in turn, then the others as they are written.
    RoundRobin(AtomicUsize),
    /// As they are written.
    Sequential,
}

impl Policy {
    /// The words for them in a Corefile.
    pub(super) const WORDS: &[&str] = &["random", "round_robin", "sequential"];

    pub(super) fn from_word(word: &str) -> Option<Self> {
        Some(match word {
            "random" => Self::Random,
            "round_robin" => Self::RoundRobin(AtomicUsize::new(0)),
            "sequential" => Self::Sequential,
            _ => return None,
        })
    }

    /// The index of the upstream to ask first, of `len`.
    pub(super) fn first(&self, len: usize) -> usize {
        match self {
            Self::Random if len > 1 => rand::rng().random_range(..len),
            Self::RoundRobin(turn) if len > 1 => (turn.fetch_add(1, Ordering::Relaxed) + 1) % len,
            _ => 0,
        }
    }

    /// The indexes of all `len` upstreams in the order to ask them, from `first` on.
    pub(super) fn order(&self, first: usize, len: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..len).collect();
        if first < len {
            order[..=first].rotate_right(1);
            if matches!(self, Self::Random) {
                order[1..].shuffle(&mut rand::rng());
            }
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders() {
        let order = |policy: &Policy| policy.order(policy.first(3), 3);
        assert_eq!(order(&Policy::Sequential), [0, 1, 2]);
        let robin = Policy::from_word("round_robin").expect("a policy");
        let turns: Vec<_> = (0..4).map(|_| order(&robin)).collect();
        assert_eq!(turns, [[1, 0, 2], [2, 0, 1], [0, 1, 2], [1, 0, 2]]);
        for at in 0..3 {
            let mut counts = [0; 3];
            (0..300).for_each(|_| counts[order(&Policy::Random)[at]] += 1);
            assert!(counts.iter().all(|&n| n > 50), "{counts:?}");
        }
        assert_eq!((Policy::Random.first(0), Policy::Random.order(0, 0)), (0, vec![]));
    }
}
