//! The order in which upstreams are tried.

use std::sync::atomic::{AtomicUsize, Ordering};

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

    /// The indexes of `len` upstreams in the order to try them.
    pub(super) fn order(&self, len: usize) -> Vec<usize> {
        let mut order: Vec<usize> = (0..len).collect();
        match self {
            Self::Random => order.shuffle(&mut rand::rng()),
            Self::RoundRobin(turn) if len > 0 => {
                let first = (turn.fetch_add(1, Ordering::Relaxed) + 1) % len;
                order[..=first].rotate_right(1);
            }
            Self::RoundRobin(_) | Self::Sequential => {}
        }
        order
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn orders() {
        assert_eq!(Policy::Sequential.order(3), [0, 1, 2]);
        let robin = Policy::from_word("round_robin").expect("a policy");
        let turns: Vec<_> = (0..4).map(|_| robin.order(3)).collect();
        assert_eq!(turns, [[1, 0, 2], [2, 0, 1], [0, 1, 2], [1, 0, 2]]);
        let mut first = [0; 3];
        (0..300).for_each(|_| first[Policy::Random.order(3)[0]] += 1);
        assert!(first.iter().all(|&n| n > 50), "{first:?}");
    }
}
