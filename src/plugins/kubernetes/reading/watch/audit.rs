//! Whether a watch tells everything: from time to time it is compared with what the server says of
//! the collection.
//!
//! A list of one object costs the server little and tells the resourceVersion of the collection and
//! how many objects follow. The watch has to come to that version, by an event or by a bookmark
//! (which servers send once a minute), and then there have to be as many objects here as there.
//! Pure, time is an argument.

use tokio::time::Instant;

use super::timing::{Timing, between};

/// The comparison of one stream.
pub(super) struct Audit {
    state: State,
    /// Objects that the server counts and we do not; they were there when a list had just been
    /// read.
    offset: i64,
    /// Waiting times are multiplied by this, where watches are slow to tell their version.
    stretch: u32,
    disagreed: bool,
}

/// Where the comparison stands.
enum State {
    /// Nothing is going on until then.
    Idle(Instant),
    /// The server has been asked. The watch may have to come to an earlier claim's version by then
    /// already.
    Asking { until: Option<Instant> },
    /// The watch has to come to this version by then.
    Awaiting { version: u64, count: Option<i64>, until: Instant },
}

/// What the server says of a collection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claim {
    pub(super) version: u64,
    /// How many objects there are, if it says so and all of them are watched.
    pub(super) count: Option<i64>,
}

/// What to do next.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Due {
    /// Ask the server.
    Ask,
    /// The watch did not come to the version in time: list again.
    Late,
    /// Nothing.
    Nothing,
}

impl Audit {
    pub(super) fn new(now: Instant, timing: &Timing) -> Self {
        Self { state: State::Idle(now + between(&timing.sweep)), offset: 0, stretch: 1, disagreed: false }
    }

    /// Whether the watch is on its way to a version.
    pub(super) fn is_awaiting(&self) -> bool {
        matches!(self.state, State::Awaiting { .. })
    }

    /// A new watch begins: what the old one asked is not answered any more.
    pub(super) fn begin(&mut self, now: Instant, timing: &Timing) {
        if matches!(self.state, State::Asking { .. }) {
            self.later(now, timing);
        }
    }

    /// Something happened after which the comparison should be made soon.
    pub(super) fn soon(&mut self, now: Instant, timing: &Timing) {
        self.state = State::Idle(now + between(&timing.recheck));
    }

    /// Makes the comparison later.
    pub(super) fn later(&mut self, now: Instant, timing: &Timing) {
        self.state = State::Idle(now + between(&timing.sweep) * self.stretch);
    }

    /// When [`Audit::due`] has something to say.
    pub(super) fn wake(&self) -> Option<Instant> {
        match self.state {
            State::Idle(at) | State::Awaiting { until: at, .. } => Some(at),
            State::Asking { .. } => None,
        }
    }

    /// What is to be done now; `at_once` asks the server before it is time.
    pub(super) fn due(&mut self, now: Instant, at_once: bool) -> Due {
        match self.state {
            State::Awaiting { until, .. } if now >= until => Due::Late,
            State::Idle(at) if at_once || now >= at => {
                self.state = State::Asking { until: None };
                Due::Ask
            }
            State::Awaiting { until, .. } if at_once => {
                // Asking once more must not put off the time by which the watch has to be there.
                self.state = State::Asking { until: Some(until) };
                Due::Ask
            }
            _ => Due::Nothing,
        }
    }

    /// The server has answered.
    pub(super) fn claimed(&mut self, claim: Claim, now: Instant, timing: &Timing) {
        let Claim { version, count } = claim;
        let until = match self.state {
            State::Asking { until: Some(until) } => until,
            _ => now + timing.sweep_patience,
        };
        self.state = State::Awaiting { version, count, until };
    }

    /// Notes that the watch has come to `version`; with `before`, its event is still to be applied.
    ///
    /// Returns whether the number of known objects is to be compared now, by [`Audit::compare`].
    pub(super) fn reached(&mut self, version: u64, before: bool) -> bool {
        matches!(self.state, State::Awaiting { version: wanted, .. } if version > wanted || (version == wanted && !before))
    }

    /// Compares; returns how many objects the server has more than `known` if that is not as it
    /// should be.
    pub(super) fn compare(&mut self, known: usize, now: Instant, timing: &Timing) -> Option<i64> {
        let State::Awaiting { count, .. } = self.state else { return None };
        self.stretch = 1;
        self.later(now, timing);
        let difference = count? - known as i64;
        if difference == self.offset {
            return None;
        }
        if std::mem::take(&mut self.disagreed) {
            // It was the same after a fresh list: objects that we do not take, not objects that we
            // missed.
            self.offset = difference;
            return None;
        }
        Some(difference)
    }

    /// A list was read because of what was found; it corrected `repaired` objects.
    pub(super) fn relisted(&mut self, late: bool, repaired: u64, now: Instant, timing: &Timing) {
        if repaired == 0 {
            if late {
                // This server tells versions late: asking it often is of no use.
                self.stretch = (self.stretch * 2).min(16);
            } else {
                self.disagreed = true;
            }
        }
        self.later(now, timing);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watch_that_keeps_up_is_left_alone() {
        let (start, timing) = (Instant::now(), Timing::default());
        let mut audit = Audit::new(start, &timing);
        assert_eq!(audit.due(start, false), Due::Nothing);
        let first = audit.wake().expect("a time");
        assert!(timing.sweep.contains(&(first - start)));
        assert_eq!((audit.due(first, false), audit.wake()), (Due::Ask, None));
        audit.claimed(Claim { version: 100, count: Some(7) }, first, &timing);
        assert!(!audit.reached(99, true) && !audit.reached(99, false) && !audit.reached(100, true));
        assert!(audit.reached(100, false) && audit.reached(101, true));
        assert_eq!(audit.compare(7, first, &timing), None);
        assert!(audit.wake().expect("a time") > first);
    }

    #[test]
    fn silence_and_wrong_numbers_are_noticed() {
        let (now, timing) = (Instant::now(), Timing::default());
        let mut audit = Audit::new(now, &timing);
        audit.claimed(Claim { version: 100, count: None }, now, &timing);
        assert_eq!(audit.due(now + timing.silence, true), Due::Ask, "silent once more");
        audit.claimed(Claim { version: 101, count: None }, now + timing.silence, &timing);
        assert_eq!(audit.due(now + timing.sweep_patience, true), Due::Late, "not put off");
        audit.relisted(true, 50, now, &timing);
        assert_eq!(audit.stretch, 1);
        audit.claimed(Claim { version: 100, count: Some(57) }, now, &timing);
        assert_eq!(audit.compare(7, now, &timing), Some(50));
        // The list found nothing to set right: then it is the server that counts otherwise.
        audit.relisted(false, 0, now, &timing);
        for _ in 0..2 {
            audit.claimed(Claim { version: 100, count: Some(57) }, now, &timing);
            assert_eq!(audit.compare(7, now, &timing), None);
        }
        audit.claimed(Claim { version: 100, count: Some(58) }, now, &timing);
        assert_eq!(audit.compare(7, now, &timing), Some(51));
    }
}
