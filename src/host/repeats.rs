//! Repeated log lines: the first is printed at once, later ones less and less often, with a count.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Lets the first line of each kind through, then one after each pause; each pause is twice as long
/// as the one before.
#[derive(Debug)]
pub struct Repeats {
    /// The shortest and the longest pause.
    pauses: (Duration, Duration),
    kinds: Mutex<HashMap<String, Kind>>,
}

#[derive(Debug)]
struct Kind {
    said: Instant,
    /// Time from then until the next line of this kind.
    pause: Duration,
    /// Number of lines held back since then.
    held_back: u64,
    /// When it first happened; `None` if it is over and has not happened again.
    since: Option<Instant>,
}

/// How many lines of this kind were held back since the last one. Displays as an empty text for the
/// first line.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HeldBack {
    times: u64,
    within: Duration,
}

impl Repeats {
    /// Lines of a kind are at least `shortest` apart, later up to `longest`.
    #[must_use]
    pub fn new(shortest: Duration, longest: Duration) -> Self {
        Self { pauses: (shortest, longest), kinds: Mutex::default() }
    }

    /// Returns what to add to a line of this kind if it is to be printed now, `None` if it is held
    /// back.
    pub fn allow(&self, kind: &str, now: Instant) -> Option<HeldBack> {
        let (shortest, longest) = self.pauses;
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        // A kind that did not come for so long starts again.
        kinds.retain(|_, kind| now < kind.said + kind.pause + longest);
        let Some(known) = kinds.get_mut(kind) else {
            kinds.insert(kind.to_owned(), Kind { said: now, pause: shortest, held_back: 0, since: Some(now) });
            return Some(HeldBack { times: 0, within: Duration::ZERO });
        };
        if now < known.said + known.pause {
            known.held_back += 1;
            return None;
        }
        let held_back = HeldBack { times: known.held_back, within: now - known.said };
        let again = known.since.is_none();
        known.since.get_or_insert(now);
        known.pause = if again { shortest } else { (known.pause * 2).min(longest) };
        (known.said, known.held_back) = (now, 0);
        Some(held_back)
    }

    /// Notes that what lines of this kind report is over. Returns how long it lasted if a line
    /// reported it; then its end should be reported too.
    pub fn end(&self, kind: &str, now: Instant) -> Option<Duration> {
        let mut kinds = self.kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let known = kinds.get_mut(kind)?;
        let since = known.since.take()?;
        known.pause = self.pauses.0;
        Some(now - since)
    }
}

impl fmt::Display for HeldBack {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.times {
            0 => Ok(()),
            times => write!(f, " ({times} more in the last {}s)", self.within.as_secs()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn what_goes_on_is_said_ever_more_seldom_and_counted() {
        let (start, repeats) = (Instant::now(), Repeats::new(seconds(10), seconds(60)));
        let mut said = Vec::new();
        for second in 0..300 {
            if let Some(held_back) = repeats.allow("a", start + seconds(second)) {
                said.push((second, held_back.to_string()));
            }
        }
        let times: Vec<_> = said.iter().map(|(second, _)| *second).collect();
        assert_eq!(times, [0, 10, 30, 70, 130, 190, 250]);
        assert_eq!((&*said[0].1, &*said[1].1), ("", " (9 more in the last 10s)"));
        assert!(repeats.allow("b", start).is_some(), "another kind");
        assert!(repeats.allow("a", start + seconds(1000)).is_some_and(|held_back| held_back.times == 0), "a new one");
    }

    #[test]
    fn the_end_is_told_if_the_beginning_was() {
        let (start, repeats) = (Instant::now(), Repeats::new(seconds(10), seconds(60)));
        assert_eq!(repeats.end("a", start), None);
        for second in [0, 1, 10] {
            repeats.allow("a", start + seconds(second));
        }
        assert_eq!(repeats.end("a", start + seconds(12)), Some(seconds(12)));
        assert_eq!(repeats.end("a", start + seconds(12)), None, "once");
        assert_eq!(repeats.allow("a", start + seconds(13)), None, "it comes and goes");
        assert_eq!(repeats.end("a", start + seconds(14)), None, "nobody was told");
        assert!(repeats.allow("a", start + seconds(20)).is_some());
        assert_eq!(repeats.end("a", start + seconds(21)), Some(seconds(1)));
    }
}
