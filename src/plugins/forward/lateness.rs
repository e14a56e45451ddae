//! When an answer is late, and for how long one is worth waiting: decided by the time in which most
//! answers of an upstream come.

use std::time::Duration;

use crate::remote::Vitals;

/// How long an upstream of which nothing is known is waited for before another one is asked.
const UNKNOWN: Duration = Duration::from_millis(250);

/// No answer is late before this: a moment in which this machine was busy says nothing about an
/// upstream.
const SOONEST: Duration = Duration::from_millis(10);

/// The same for the only upstream. Asking it again helps against loss alone.
const SOONEST_ALONE: Duration = Duration::from_millis(50);

/// The longest wait before another upstream is asked, however slow this one usually is. An upstream
/// that has been silent for as long is not only busy for a moment: three queries to a quick
/// upstream are late within 40 ms.
pub(super) const LATEST: Duration = Duration::from_millis(400);

/// The longest wait before the only upstream is asked again, and the wait as long as nothing is
/// known of it.
const ALONE: Duration = Duration::from_secs(1);

/// Returns after how long an answer of an upstream is late. `is_alone` if no other upstream can be
/// asked.
pub(super) fn lateness(vitals: &Vitals, is_alone: bool) -> Duration {
    let usual = vitals.most_come_within();
    if is_alone {
        return usual.unwrap_or(ALONE).clamp(SOONEST_ALONE, ALONE);
    }
    usual.unwrap_or(UNKNOWN).clamp(SOONEST, LATEST)
}

/// Returns how long the answer of another upstream is held back for one of this upstream. That is
/// longer than until it is late, since what is given in its place is given for good. Over a
/// connection, which may have to be opened first, it is twice as long.
pub(super) fn worth_waiting(vitals: &Vitals, is_connected: bool) -> Duration {
    let usual = vitals.most_come_within().map(|usual| if is_connected { usual * 2 } else { usual });
    usual.unwrap_or(ALONE).max(LATEST)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    const MS: Duration = Duration::from_millis(1);

    #[test]
    fn a_short_silence_is_no_reason_to_give_up() {
        // Later than what the process counts from, if this is its first test.
        let (vitals, start) = (Vitals::default(), Instant::now() + MS * 1000);
        let is_long = |is_probed, at| vitals.is_silent_for(LATEST, is_probed, at);
        (0..3).for_each(|n| vitals.late(start + n * 10 * MS));
        assert!(vitals.is_silent(true, start + 30 * MS) && !is_long(true, start + 30 * MS));
        assert!(is_long(true, start + LATEST) && is_long(false, start + LATEST));
        vitals.heard(MS, start);
        (0..3).for_each(|_| vitals.late(start + 500 * MS));
        assert!(!is_long(true, start + 510 * MS), "counted from the first late query since");
    }

    #[test]
    fn c4_an_answer_is_late_when_most_would_have_come() {
        let (vitals, now) = (Vitals::default(), Instant::now());
        assert_eq!((lateness(&vitals, false), lateness(&vitals, true)), (UNKNOWN, ALONE));
        (0..1000u32).for_each(|n| vitals.heard((150 + n % 101) * MS, now));
        let late = lateness(&vitals, false);
        assert!(late > 250 * MS && late < LATEST, "{late:?}");
        (0..5000).for_each(|_| vitals.heard(MS, now));
        assert_eq!((lateness(&vitals, false), lateness(&vitals, true)), (SOONEST, SOONEST_ALONE));
        (0..5000).for_each(|_| vitals.heard(2000 * MS, now));
        assert_eq!((lateness(&vitals, false), lateness(&vitals, true)), (LATEST, ALONE));
    }
}
