//! # reload — take over a changed Corefile
//!
//! Looks at the Corefile, and at all files that it imports, at an interval, and takes over what has
//! changed: also the addresses of interfaces that `bind` names. The first server block with this
//! directive counts for the whole process.
//!
//! A Corefile that is missing, has an error or has no server block changes nothing, and is looked
//! at again: a file can be like that for a moment while it is being written.
//!
//! ## Syntax
//!
//! ```text
//! reload [INTERVAL [JITTER]]
//! ```
//!
//! INTERVAL is 30s if it is not given, and at least 2s. JITTER spreads the looks of many replicas;
//! it is 15s if it is not given, 0 or at least 1s, and never more than half of the interval.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     reload 10s 5s
//!     whoami
//! }
//! ```

use std::time::Duration;

use crate::chain::doc::doc_of;
use crate::chain::setup::{Registration, Setup};
use crate::corefile::{Cursor, Word};
use crate::error::Result;

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "reload", setup, doc: doc_of!("reload.rs"), options: &[] };

const INTERVAL: Duration = Duration::from_secs(30);
const MIN_INTERVAL: Duration = Duration::from_secs(2);
const JITTER: Duration = Duration::from_secs(15);
const MIN_JITTER: Duration = Duration::from_secs(1);

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    // The first occurrence counts; CoreDNS ignores the others, and any block.
    cursor.next_occurrence();
    let args = cursor.args();
    if args.len() > 2 {
        return Err(cursor.arg_err());
    }
    let interval = span(&cursor, args.first().copied(), INTERVAL, |interval| {
        (interval < MIN_INTERVAL).then_some("interval value must be greater or equal to 2s")
    })?;
    let jitter = span(&cursor, args.get(1).copied(), JITTER, |jitter| {
        (!jitter.is_zero() && jitter < MIN_JITTER).then_some("jitter value must be 0 or greater or equal to 1s")
    })?;
    s.watch_corefile(interval, jitter.min(interval / 2));
    Ok(())
}

/// Returns the duration in `word`, or `default`; `refuse` says what is wrong with it.
fn span(
    cursor: &Cursor<'_>,
    word: Option<&Word>,
    default: Duration,
    refuse: impl Fn(Duration) -> Option<&'static str>,
) -> Result<Duration> {
    let Some(word) = word else { return Ok(default) };
    // A negative duration is too short as well, but 0 is a valid jitter: 1 ns stands for it.
    let duration = cursor.duration(word)?.duration().unwrap_or(Duration::from_nanos(1));
    refuse(duration).map_or(Ok(duration), |why| Err(cursor.error_at(word, why)))
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[test]
    fn the_first_occurrence_counts_and_jitter_is_at_most_half() {
        let seconds = |text: &str| {
            let server = Server::new(&format!(". {{\n{text}\nwhoami\n}}\n"));
            server.configuration.reload.map(|wish| (wish.what.interval.as_secs(), wish.what.jitter.as_secs()))
        };
        assert_eq!(seconds("reload"), Some((30, 15)));
        assert_eq!(seconds("reload 10s"), Some((10, 5)));
        assert_eq!(seconds("reload 10s 0s\nreload x"), Some((10, 0)));
        assert_eq!(seconds("errors"), None);
    }
}
