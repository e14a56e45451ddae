//! In which order questions are asked: one after the other, or drawn by how popular names are.

use std::fmt;

use clap::ValueEnum;
use fastrand::Rng;

/// How often each question of a list is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Law {
    /// One after the other, in the order of the list.
    Turn,
    /// Drawn, each as likely as the others.
    Uniform,
    /// Drawn, the n-th of the list n times less often than the first (Zipf's law, s = 1).
    Zipf,
}

/// Number of draws, which then repeat: for the generator they must be cheap, and in its cache.
const DRAWS: usize = 1 << 17;

impl Law {
    /// Returns the indexes of a list of `count` questions in the order in which they are asked,
    /// again and again. The same law and count give the same order, for every server that is
    /// measured.
    #[must_use]
    pub fn order(self, count: usize) -> Vec<u32> {
        let mut rng = Rng::with_seed(count as u64);
        let last = (count as u32).saturating_sub(1);
        match self {
            Self::Turn => (0..count as u32).collect(),
            Self::Uniform => (0..DRAWS).map(|_| rng.u32(0..=last)).collect(),
            Self::Zipf => {
                let mut sum = 0.0;
                let shares: Vec<f64> = (1..=count).map(|rank| (sum += 1.0 / rank as f64, sum).1).collect();
                let draws = (0..DRAWS).map(|_| rng.f64() * sum);
                draws.map(|draw| (shares.partition_point(|&share| share < draw) as u32).min(last)).collect()
            }
        }
    }
}

impl fmt::Display for Law {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Turn => "in turn",
            Self::Uniform => "drawn uniformly",
            Self::Zipf => "drawn by Zipf's law",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Returns how often each of `count` questions is asked.
    fn times(law: Law, count: usize) -> Vec<usize> {
        let mut times = vec![0; count];
        law.order(count).into_iter().for_each(|at| times[at as usize] += 1);
        times
    }

    #[test]
    fn in_turn_each_question_is_asked_once() {
        assert_eq!(Law::Turn.order(4), [0, 1, 2, 3]);
        assert!(Law::Turn.order(0).is_empty(), "a lane that has no questions yet");
    }

    #[test]
    fn uniform_draws_are_alike() {
        assert!(times(Law::Uniform, 8).into_iter().all(|times| times.abs_diff(DRAWS / 8) < DRAWS / 160));
    }

    #[test]
    fn by_zipf_the_third_is_asked_a_third_as_often_as_the_first() {
        let times = times(Law::Zipf, 900);
        let wanted = |rank: usize| (DRAWS as f64 / 7.38 / rank as f64) as usize; // the sum of 1/n up to 900
        for rank in [1, 2, 3, 10] {
            assert!(times[rank - 1].abs_diff(wanted(rank)) < wanted(rank) / 10, "{rank}: {times:?}");
        }
        assert!(times.iter().filter(|times| **times > 0).count() > 850, "and the last ones sometimes");
    }

    #[test]
    fn the_order_is_the_same_each_time() {
        assert_eq!(Law::Zipf.order(50), Law::Zipf.order(50));
        assert_ne!(Law::Zipf.order(50), Law::Uniform.order(50));
    }
}
