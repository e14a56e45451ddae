//! Combines errors of one kind: counts them, and prints one line when their window ends.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Weak};
use std::time::Duration;

use regex::Regex;
use tokio::sync::Notify;

use super::print;
use crate::corefile::Cursor;
use crate::corefile::value::Span;
use crate::error::Result;
use crate::host::Host;
use crate::host::log::Level;

/// Means that no window is open.
const NEVER: u64 = u64::MAX;

/// Longer expressions are refused, as in CoreDNS.
const MAX_REGEX: usize = 10_000;

//----------- Patterns -------------------------------------------------------

/// All `consolidate` lines of one block, in order.
pub(super) struct Patterns {
    all: Vec<Pattern>,
    /// Notified when the first error of a window is counted.
    begun: Arc<Notify>,
}

/// One `consolidate` line.
pub(super) struct Pattern {
    regex: Regex,
    period: Span,
    level: Level,
    show_first: bool,
    count: AtomicU64,
    /// When the window ends, in milliseconds of the host's clock; [`NEVER`] between windows.
    end: AtomicU64,
}

/// How to print an error.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seen {
    /// No pattern matches: print the error.
    Unmatched,
    /// Counted as the first of its window: print it at this level.
    First(Level),
    /// Counted only.
    Counted,
}

impl Patterns {
    pub(super) fn new(all: Vec<Pattern>) -> Self {
        Self { all, begun: Arc::default() }
    }

    /// Counts an error with the first pattern that matches it.
    pub(super) fn note(&self, cause: &str, now: Duration) -> Seen {
        let Some(pattern) = self.all.iter().find(|pattern| pattern.regex.is_match(cause)) else {
            return Seen::Unmatched;
        };
        if pattern.count.fetch_add(1, Ordering::AcqRel) > 0 {
            return Seen::Counted;
        }
        let end = now + pattern.period.duration().unwrap_or_default();
        pattern.end.store(end.as_millis() as u64, Ordering::Release);
        self.begun.notify_one();
        if pattern.show_first { Seen::First(pattern.level) } else { Seen::Counted }
    }

    /// Returns the summaries of all windows that have ended at `now`; `None` ends all windows.
    fn due(&self, now: Option<Duration>) -> Vec<(Level, String)> {
        self.all.iter().filter_map(|pattern| Some((pattern.level, pattern.summary(now)?))).collect()
    }

    /// Returns when the next window ends.
    fn next_end(&self) -> Option<Duration> {
        let open = self.all.iter().filter(|pattern| pattern.count.load(Ordering::Acquire) > 0);
        open.map(|pattern| Duration::from_millis(pattern.end.load(Ordering::Acquire))).min()
    }
}

impl Pattern {
    fn summary(&self, now: Option<Duration>) -> Option<String> {
        if now.is_some_and(|now| (now.as_millis() as u64) < self.end.load(Ordering::Acquire)) {
            return None;
        }
        // This order matters: a window that begins from now on sets its own end.
        self.end.store(NEVER, Ordering::Release);
        let count = self.count.swap(0, Ordering::AcqRel);
        let told = if self.show_first { 1 } else { 0 };
        (count > told).then(|| format!("{count} errors like '{}' occurred in last {}", self.regex, self.period))
    }
}

/// Prints what was counted when the configuration ends, so nothing is lost.
impl Drop for Patterns {
    fn drop(&mut self) {
        for (level, summary) in self.due(None) {
            print(level, format_args!("{summary}"));
        }
    }
}

//----------- Task -----------------------------------------------------------

/// Prints summaries when windows end, for as long as the patterns are in use.
pub(super) async fn summarize(watched: Weak<Patterns>, host: Arc<Host>) {
    let Some(begun) = watched.upgrade().map(|patterns| patterns.begun.clone()) else { return };
    loop {
        let Some(patterns) = watched.upgrade() else { return };
        let now = host.clock.now();
        for (level, summary) in patterns.due(Some(now)) {
            print(level, format_args!("{summary}"));
        }
        let wait = patterns.next_end().map(|end| end.saturating_sub(now).max(Duration::from_millis(1)));
        drop(patterns);
        match wait {
            Some(wait) => drop(tokio::time::timeout(wait, begun.notified()).await),
            None => begun.notified().await,
        }
    }
}

//----------- Parsing --------------------------------------------------------

/// Reads the arguments of one `consolidate` line.
pub(super) fn read(cursor: &mut Cursor<'_>) -> Result<Pattern> {
    let args = cursor.args();
    let ([period, regex, options @ ..], true) = (&args[..], args.len() <= 4) else { return Err(cursor.arg_err()) };
    let period = cursor.duration(period)?;
    let complain = |why: String| cursor.error_at(regex, why);
    if regex.as_str().len() > MAX_REGEX {
        return Err(complain(format!("regex pattern too long: {} > {MAX_REGEX}", regex.as_str().len())));
    }
    let compiled = Regex::new(regex.as_str()).map_err(|error| complain(go_words(regex.as_str(), &error)))?;
    let (mut level, mut show_first) = (None, false);
    for option in options {
        let named = match option.as_str() {
            "show_first" => {
                show_first = true;
                continue;
            }
            "warning" => Level::Warning,
            "error" => Level::Error,
            "info" => Level::Info,
            "debug" => Level::Debug,
            _ => {
                let message = format!("Error during parsing: unknown option in consolidate: {option}");
                return Err(cursor.unknown(option, message, &["error", "warning", "info", "debug", "show_first"]));
            }
        };
        if show_first {
            return Err(cursor.error_at(option, "log level must come before show_first in consolidate"));
        }
        if level.replace(named).is_some() {
            return Err(cursor.error_at(option, "multiple log levels specified in consolidate"));
        }
    }
    let level = level.unwrap_or(Level::Error);
    Ok(Pattern { regex: compiled, period, level, show_first, count: AtomicU64::new(0), end: AtomicU64::new(NEVER) })
}

/// Says why an expression is invalid; the commonest mistake in the words that people search for.
fn go_words(regex: &str, error: &regex::Error) -> String {
    let text = error.to_string();
    let why = text.lines().last().unwrap_or_default().trim_start_matches("error: ");
    match why {
        "unclosed group" => format!("error parsing regexp: missing closing ): `{regex}`"),
        why => format!("error parsing regexp: {why}: `{regex}`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plugins::errors::PLUGIN;
    use crate::testing::kit::built::parsed;

    fn patterns(text: &str) -> Patterns {
        let text = format!(". {{\nerrors {{\n{text}\n}}\n}}\n");
        let corefile = parsed(&text, &[PLUGIN]).expect("a Corefile");
        let mut cursor = Cursor::new(corefile.blocks[0].directive("errors").expect("the directive"));
        let mut all = Vec::new();
        cursor.next_occurrence();
        while cursor.next_option() {
            all.push(read(&mut cursor).expect("a pattern"));
        }
        Patterns::new(all)
    }

    const fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn a_window_begins_with_the_first_error_and_is_told_once() {
        let patterns = patterns("consolidate 5s \"time.*out$\" warning\nconsolidate 1m \"timeout\" show_first");
        assert_eq!(patterns.note("refused", at(0)), Seen::Unmatched);
        assert_eq!(patterns.next_end(), None);
        for second in 10..13 {
            assert_eq!(patterns.note("i/o timeout", at(second)), Seen::Counted);
        }
        assert_eq!(patterns.next_end(), Some(at(15)));
        assert_eq!(patterns.due(Some(at(14))), []);
        let told = "3 errors like 'time.*out$' occurred in last 5s".to_owned();
        assert_eq!(patterns.due(Some(at(15))), [(Level::Warning, told)]);
        assert_eq!(patterns.due(Some(at(60))), []);
    }

    #[test]
    fn the_first_one_may_be_shown() {
        let patterns = patterns("consolidate 1m refused show_first");
        assert_eq!(patterns.note("refused", at(0)), Seen::First(Level::Error));
        assert_eq!(patterns.due(Some(at(60))), [], "a single one was told already");
        assert_eq!(patterns.note("refused", at(70)), Seen::First(Level::Error));
        assert_eq!(patterns.note("refused", at(71)), Seen::Counted);
        let told = "2 errors like 'refused' occurred in last 1m0s".to_owned();
        assert_eq!(patterns.due(None), [(Level::Error, told)], "at the end of the configuration");
    }
}
