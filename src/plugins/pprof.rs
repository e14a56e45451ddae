//! # pprof — where the time goes
//!
//! Serves a page at `/debug/pprof/` that shows how much processor time each thread has used, and
//! how to profile the process. Go's profiles are not available, because Go's runtime makes them.
//! `go tool pprof` gets status 501 and the same page.
//!
//! What to use in their place, on the node or in a debug container that shares the process
//! namespace (`kubectl debug --profile=sysadmin --target=coredns`):
//!
//! - a CPU profile: `perf record -g -p PID -- sleep 30`, then `perf report`. The program keeps the
//!   names of its functions.
//! - memory: `/proc/PID/smaps_rollup`, and `process_resident_memory_bytes` of *prometheus*
//! - threads and what they wait for: `/proc/PID/task/*/stack` and `wchan`, `strace -f -c -p PID`
//!
//! ## Syntax
//!
//! ```text
//! pprof [ADDRESS] [{
//! }]
//! ```
//!
//! ADDRESS is `localhost:6053` if it is not given.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     pprof
//!     whoami
//! }
//! ```

use std::fmt::Write as _;
use std::fs;

use crate::chain::doc::doc_of;
use crate::chain::options::{OptionOf, OptionsOf, unknown_property};
use crate::chain::setup::{Registration, Setup};
use crate::corefile::value;
use crate::error::Result;
use crate::host::http::{Handler, Page, TEXT};

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "pprof", setup, doc: doc_of!("pprof.rs"), options: &[&OPTIONS] };

/// Where the pages are.
const PATH: &str = "/debug/pprof";

/// Go's pages, which are not available.
const PROFILES: [&str; 9] =
    ["profile", "symbol", "trace", "heap", "allocs", "goroutine", "threadcreate", "block", "mutex"];

/// The unit of processor time in `/proc` (`USER_HZ`, on all architectures of Linux that we build
/// for), in ticks a second.
const TICKS: f64 = 100.0;

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    let (mut address, mut written) = ("localhost:6053".to_owned(), cursor.word());
    while cursor.only_occurrence()? {
        match cursor.args()[..] {
            [] => {}
            [word] => (address, written) = (cursor.page_address(word)?, word),
            _ => return Err(cursor.arg_err()),
        }
        OPTIONS.read(&mut cursor, &mut (), s)?;
    }
    for path in [PATH.to_owned(), format!("{PATH}/")] {
        s.http(&address, written, &path, Handler::heavy(|| (200, TEXT, threads() + HELP)));
    }
    s.http(&address, written, &format!("{PATH}/cmdline"), Handler::heavy(command_line));
    for profile in PROFILES {
        let none = || (501, TEXT, HELP.trim_start().to_owned());
        s.http(&address, written, &format!("{PATH}/{profile}"), Handler::light(none));
    }
    Ok(())
}

static OPTIONS: OptionsOf<()> = OptionsOf {
    all: &[OptionOf {
        name: "block",
        form: "[RATE]",
        about: "Accepted, and without effect: it is about waiting goroutines.",
        read: |cursor, (), _| match cursor.args_of(..2)?[..] {
            [rate] if value::integer(rate.as_str()).is_err() => {
                Err(cursor.error_at(rate, format!("property 'block' invalid integer value '{rate}'")))
            }
            _ => Ok(()),
        },
    }],
    unknown: unknown_property,
};

const HELP: &str = "
This server is not written in Go, so it has no profiles of Go's runtime.
CPU profile:  perf record -g -p PID -- sleep 30; perf report
Memory:       /proc/PID/smaps_rollup, process_resident_memory_bytes on /metrics
Waiting:      /proc/PID/task/*/wchan, strace -f -c -p PID
In a cluster: kubectl debug --profile=sysadmin --target=CONTAINER
";

/// Returns the processor time of each thread as a table, the busiest first.
fn threads() -> String {
    let tasks = fs::read_dir("/proc/self/task").into_iter().flatten().flatten();
    let read = |task: fs::DirEntry| used(&fs::read_to_string(task.path().join("stat")).ok()?);
    let mut all: Vec<_> = tasks.filter_map(read).collect();
    all.sort_by(|(_, one), (_, other)| other.iter().sum::<f64>().total_cmp(&one.iter().sum()));
    let mut page = format!("{:16} {:>10} {:>10}\n", "thread", "user s", "system s");
    for (name, [user, system]) in all {
        let _ = writeln!(page, "{name:16} {user:>10.2} {system:>10.2}");
    }
    page
}

/// Reads the name of a thread and its processor time in seconds, user and system, from its `stat`
/// (proc(5)).
fn used(stat: &str) -> Option<(String, [f64; 2])> {
    // The name stands in parentheses and may hold any of them.
    let (name, rest) = stat.split_once('(')?.1.rsplit_once(')')?;
    let mut ticks = rest.split_whitespace().skip(11).map_while(|word| word.parse::<f64>().ok());
    Some((name.to_owned(), [ticks.next()? / TICKS, ticks.next()? / TICKS]))
}

/// Returns the words of the command line, as Go's page has them: with NUL between.
fn command_line() -> Page {
    let words: Vec<String> = std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    (200, TEXT, words.join("\0"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Server;

    #[test]
    fn the_pages() {
        let server = Server::new(". {\npprof :1\n}\n");
        let page = |path: &str| server.configuration.endpoints[&(":1".to_owned(), format!("{PATH}{path}"))].page();
        let (status, _, text) = page("/");
        assert!(status == 200 && text.contains("user s") && text.contains("perf record"), "{text}");
        assert!(text.lines().count() > HELP.lines().count() + 1, "no thread:\n{text}");
        assert_eq!((page("").0, page("/profile").0), (200, 501));
        assert!(!page("/cmdline").2.is_empty());
        let stat = "12 (a) b) S 1 1 1 0 -1 4194560 10 0 0 0 150 25 0 0 20 0 1 0 5";
        assert_eq!(used(stat), Some(("a) b".to_owned(), [1.5, 0.25])));
    }
}
