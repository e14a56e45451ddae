//! What is known of a server from its answers: how quick it is, what it loses, whether it is
//! silent.
//!
//! The tasks that send and receive count without locks. Answers that come too late for their query
//! count as well; otherwise a server would look as quick as the answers that were waited for.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::rtt::Rtt;

/// Late queries in a row, with nothing heard since, that make a server silent.
const LATES: u32 = 3;

/// How long a server that is not probed counts as silent.
const TRUCE: Duration = Duration::from_secs(1);

/// Consecutive replies in another case than the query's after which it is doubtful whether the
/// server keeps it.
const WRONG_CASES: u32 = 3;

/// Queries whose end is remembered; older ones count less and less.
const WINDOW: u32 = 512;

/// The signs of life of one server.
#[derive(Default)]
pub(crate) struct Vitals {
    rtt: Rtt,
    /// Late queries since something was heard.
    lates: AtomicU32,
    /// When something was heard last, and when a query was late last: microseconds of the process,
    /// 0 for never.
    heard_at: AtomicU64,
    late_at: AtomicU64,
    /// When the first of those late queries was late.
    late_since: AtomicU64,
    answered: AtomicU32,
    lost: AtomicU32,
    /// Probes that failed, one after the other.
    fails: AtomicU32,
    wrong_cases: AtomicU32,
    ignores_case: AtomicBool,
}

impl Vitals {
    /// Notes an answer that came `took` after its query was sent.
    pub(crate) fn heard(&self, took: Duration, now: Instant) {
        self.heard_at.store(micros(now), Ordering::Relaxed);
        // Mostly 0 already: reading is cheaper than writing where many write.
        for count in [&self.lates, &self.fails] {
            if count.load(Ordering::Relaxed) > 0 {
                count.store(0, Ordering::Relaxed);
            }
        }
        self.rtt.record(took);
        self.remember(&self.answered);
    }

    /// Notes that no answer came in the usual time, or that the port is said to be closed.
    pub(crate) fn late(&self, now: Instant) {
        self.late_at.store(micros(now), Ordering::Relaxed);
        let one_more = |lates: u32| Some(lates.saturating_add(1));
        if self.lates.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more) == Ok(0) {
            self.late_since.store(micros(now), Ordering::Relaxed);
        }
    }

    /// Notes a query that was never answered.
    pub(super) fn lost(&self) {
        self.remember(&self.lost);
    }

    /// Notes a probe that got no answer.
    pub(crate) fn failed_probe(&self) {
        let one_more = |fails: u32| fails.checked_add(1);
        let _ = self.fails.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
    }

    /// Consecutive probes that failed, with nothing heard since.
    pub(crate) fn fails(&self) -> u32 {
        self.fails.load(Ordering::Relaxed)
    }

    /// Whether several queries in a row were late and nothing was heard since. A server that is not
    /// probed counts as silent for a second only: then a query has to find out whether it still is.
    pub(crate) fn is_silent(&self, is_probed: bool, now: Instant) -> bool {
        let since = || micros(now).saturating_sub(self.late_at.load(Ordering::Relaxed));
        self.lates.load(Ordering::Relaxed) >= LATES && (is_probed || since() < TRUCE.as_micros() as u64)
    }

    /// The same for at least `least`, counted from the first of those late queries.
    pub(crate) fn is_silent_for(&self, least: Duration, is_probed: bool, now: Instant) -> bool {
        let since = micros(now).saturating_sub(self.late_since.load(Ordering::Relaxed));
        self.is_silent(is_probed, now) && since >= least.as_micros() as u64
    }

    /// Whether anything was heard since `then`.
    pub(crate) fn is_heard_since(&self, then: Instant) -> bool {
        self.heard_at.load(Ordering::Relaxed) >= micros(then)
    }

    /// The time in which most answers come, and a quarter more. Returns `None` before some have
    /// come.
    pub(crate) fn most_come_within(&self) -> Option<Duration> {
        self.rtt.usual().map(|usual| usual * 5 / 4)
    }

    /// Whether it loses 1 of 20 queries and more, so that what is late is likely to be lost.
    pub(crate) fn is_lossy(&self) -> bool {
        let (lost, answered) = (self.lost.load(Ordering::Relaxed), self.answered.load(Ordering::Relaxed));
        lost >= 4 && lost >= answered / 20
    }

    /// Notes that a datagram came in the case of its query, or in another one.
    pub(super) fn case_came(&self, is_kept: bool) {
        if is_kept {
            self.wrong_cases.store(0, Ordering::Relaxed);
        } else {
            let one_more = |wrong: u32| wrong.checked_add(1);
            let _ = self.wrong_cases.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more);
        }
    }

    /// Whether to find out over a connection, where replies cannot be forged, if the server keeps
    /// the case.
    pub(crate) fn doubts_case(&self) -> bool {
        self.keeps_case() && self.wrong_cases.load(Ordering::Relaxed) >= WRONG_CASES
    }

    /// Notes what a connection has shown: whether the server keeps the case.
    pub(super) fn settle_case(&self, is_kept: bool) {
        self.wrong_cases.store(0, Ordering::Relaxed);
        self.ignores_case.store(!is_kept, Ordering::Relaxed);
    }

    /// Whether its replies repeat the case of the question, as far as is known.
    pub(crate) fn keeps_case(&self) -> bool {
        !self.ignores_case.load(Ordering::Relaxed)
    }

    fn remember(&self, end: &AtomicU32) {
        if end.fetch_add(1, Ordering::Relaxed) >= WINDOW {
            for count in [&self.answered, &self.lost] {
                count.store(count.load(Ordering::Relaxed) / 2, Ordering::Relaxed);
            }
        }
    }
}

/// Microseconds since the first call in this process, at least 1.
fn micros(at: Instant) -> u64 {
    static BEGIN: OnceLock<Instant> = OnceLock::new();
    // A time before the first call counts as the first call.
    at.saturating_duration_since(*BEGIN.get_or_init(Instant::now)).as_micros() as u64 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn c1_three_late_queries_in_a_row_are_silence_and_any_answer_ends_it() {
        let (vitals, start) = (Vitals::default(), Instant::now());
        (0..2).for_each(|_| vitals.late(start));
        assert!(!vitals.is_silent(true, start));
        vitals.heard(MS, start);
        (0..2).for_each(|_| vitals.late(start));
        assert!(!vitals.is_silent(true, start), "in a row");
        vitals.late(start);
        vitals.failed_probe();
        assert!(vitals.is_silent(true, start + Duration::from_secs(3600)) && vitals.fails() == 1);
        vitals.heard(Duration::from_secs(1), start);
        assert!(!vitals.is_silent(true, start) && vitals.fails() == 0);
    }

    #[test]
    fn without_probes_silence_is_believed_for_a_second() {
        let (vitals, start) = (Vitals::default(), Instant::now());
        (0..3).for_each(|_| vitals.late(start));
        assert!(vitals.is_silent(false, start + 500 * MS) && !vitals.is_silent(false, start + 1500 * MS));
    }

    #[test]
    fn c3_loss_is_what_was_never_answered() {
        let (vitals, now) = (Vitals::default(), Instant::now());
        (0..100).for_each(|_| vitals.heard(MS, now));
        (0..3).for_each(|_| vitals.lost());
        assert!(!vitals.is_lossy());
        (0..7).for_each(|_| vitals.lost());
        assert!(vitals.is_lossy());
        (0..5000).for_each(|_| vitals.heard(MS, now));
        assert!(!vitals.is_lossy(), "long ago");
    }

    #[test]
    fn d4_three_wrong_cases_in_a_row_are_a_doubt_and_no_verdict() {
        let vitals = Vitals::default();
        [false, false, true, false, false].iter().for_each(|&is_kept| vitals.case_came(is_kept));
        assert!(!vitals.doubts_case());
        vitals.case_came(false);
        assert!(vitals.doubts_case() && vitals.keeps_case(), "anybody can forge a wrong case");
        vitals.settle_case(true);
        assert!(!vitals.doubts_case() && vitals.keeps_case());
        (0..3).for_each(|_| vitals.case_came(false));
        vitals.settle_case(false);
        assert!(!vitals.doubts_case() && !vitals.keeps_case(), "and that is remembered");
    }
}
