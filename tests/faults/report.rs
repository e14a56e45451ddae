//! The findings: lines as rows end, and the tables of docs/faults.md.

use std::fmt::Write;

use super::row::{Found, Row};
use super::server::Kind;

const KINDS: [Kind; 2] = [Kind::Signpost, Kind::CoreDns];

/// All rows that were run.
#[derive(Default)]
pub(crate) struct Table(Vec<(&'static Row, [Found; 2])>);

/// Returns one line for each server.
pub(crate) fn lines(row: &Row, found: &[Found; 2]) -> String {
    let mut text = String::new();
    for (kind, found) in KINDS.iter().zip(found) {
        let _ = writeln!(text, "{:>4} {:<9} {}", row.id, kind.name(), words(found, *kind));
    }
    text
}

/// Returns a finding in words. Only Signpost is judged, so `NOT MET` is only said of it.
fn words(found: &Found, kind: Kind) -> String {
    match &found.skipped {
        Some(why) => format!("skipped: {why}"),
        None if kind == Kind::Signpost && !found.wrong.is_empty() => {
            format!("{} (NOT MET: {})", found.number, found.wrong.join("; "))
        }
        None => found.number.clone(),
    }
}

impl Table {
    /// Adds a row.
    pub(crate) fn add(&mut self, row: &'static Row, found: [Found; 2]) {
        self.0.push((row, found));
    }

    /// Returns the whole page. Rows of `all` that were not run are kept from the page `before`.
    pub(crate) fn text(&self, before: &str, all: &[&Row]) -> String {
        // Only the first table has findings to keep.
        let before = before.split("\n## ").next().unwrap_or_default();
        let mut rows: Vec<(&str, String)> = self.0.iter().map(|(row, found)| (row.id, line(row, found))).collect();
        let ran: Vec<&str> = rows.iter().map(|(id, _)| *id).collect();
        for row in all.iter().filter(|row| !ran.contains(&row.id)) {
            let start = format!("| {} |", row.id);
            rows.extend(before.lines().find(|line| line.starts_with(&start)).map(|line| (row.id, line.to_owned())));
        }
        rows.sort_by_key(|(id, _)| (id.get(..1), id.get(1..).and_then(|number| number.parse::<u32>().ok())));
        let mut text = format!("{}\n\n{}", HEAD.trim(), machine());
        if ran.len() < rows.len() {
            let ran: Vec<_> = rows.iter().map(|(id, _)| *id).filter(|id| ran.contains(id)).collect();
            let _ = write!(text, "\nIts rows are {}; the others are of earlier runs.", ran.join(", "));
        }
        text.push_str("\n\n| row | injected | wanted | Signpost | CoreDNS 1.15.0 |\n|---|---|---|---|---|\n");
        for (_, line) in rows {
            let _ = writeln!(text, "{line}");
        }
        let _ = writeln!(text, "\n{}\n\n{}", OTHERS.trim(), TAIL.trim());
        text
    }
}

/// Returns a row of the page.
fn line(row: &Row, found: &[Found; 2]) -> String {
    let [ours, theirs] = [0, 1].map(|at| words(&found[at], KINDS[at]).replace('|', "\\|").replace('\n', " "));
    format!("| {} | {} | {} | {ours} | {theirs} |", row.id, row.injected, row.wanted)
}

/// Returns when and where the run was made.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or_default();
    let cores = cpu.lines().filter(|line| line.starts_with("processor")).count();
    let revision = std::process::Command::new("git").args(["rev-parse", "--short", "HEAD"]).output();
    let revision = revision.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default();
    format!(
        "Run of {}: {cores} cores of {}, Linux {}; Signpost {revision} (release build).",
        jiff::Timestamp::now().strftime("%Y-%m-%d"),
        model.trim_start_matches(['\t', ' ', ':']),
        read("/proc/sys/kernel/osrelease").trim(),
    )
}

const HEAD: &str = "
# What upstreams and clients do wrong, and what happens then

Written by `just faults` (tests/faults); do not edit. Each row of the first table is one fault. An
upstream that is scripted to the octet, or (rows K) a client, injects it on loopback into Signpost
and into a real CoreDNS with the same Corefile, one after the other in one run. The short form of
each row is a test that every change has to pass. The second table says which tests hold other
faults, and which faults no test holds; nothing in it is measured.

Only Signpost is judged: `NOT MET` in its column names the wanted result that it missed. CoreDNS is
measured. \"lost\" is no reply within 5.5 s. Times are those of one busy virtual machine: use them
only to compare the two columns.
";

/// The rows that are not run here, and the tests that hold them; `src/manual/tests.rs` checks that
/// these exist.
const OTHERS: &str = include_str!("others.md");

const TAIL: &str = "
## Where CoreDNS is better

- C7: CoreDNS sends one question at a time on a connection, so no question waits behind a slow
  answer. Signpost's connections carry many questions; those behind a slow one are sent again
  elsewhere after 100 to 200 ms.
- M3: CoreDNS asks for a stale name with every query, so it notices the return a little sooner.
  Signpost sends only probes to an upstream that is known to be down.

## What the rows do not show

- The script loses and delays single datagrams; TCP connections to the upstream lose nothing.
- The load, the upstreams and the server share the cores of one machine; at the highest rates the
  load is part of what is measured.
- C7 and C12 set no time within which a slow answer is given up and a loop is broken, and C12 does
  not look at extended errors.
- D1 does not show which thread a query came from. A socket belongs to the worker that opened it.
  Its port says nothing about that worker because a socket lives for only 16 queries (`udp.rs`); no
  test checks this.
- D8 floods one part of CoreDNS's cache; names with equal 64-bit hashes, which take days to find,
  are not tried.
- D12 records the size announced to the upstream, not fragments: loopback does not fragment.
- An hour without an upstream passes in a unit test that moves its own clock (`plugins/cache`); here
  it is a minute.
";
