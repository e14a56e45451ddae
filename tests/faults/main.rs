//! The fault bench: faults of upstreams and clients, row by row, against Signpost and against a
//! real CoreDNS with the same Corefile in the same run.
//!
//! `cargo test --test faults` runs the short form: a row fails if Signpost's counts or answers are
//! wrong; times are printed but not judged. CoreDNS is measured, never judged. `just faults` runs
//! the long form, which writes docs/faults.md and checks the promised figures.
//!
//! - `ask`, `load`: clients; `server`: the servers; `support/upstream.rs`: the upstream that does
//!   what a row says
//! - `fence`: a memory limit around a server, as a Pod has one
//! - `support/pages.rs`: clients of the pages for probes and scrapers
//! - `row`: what a row is; `rows/`: all of them; `namespace`: those that need their own network
//! - `report`: the table; `others.md`: the faults that other tests hold

#[path = "../support/api.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared by test programs of which each uses a part")]
mod api;
#[path = "../support/pages.rs"]
mod crowds;
#[path = "../kit/message.rs"]
#[allow(dead_code, unreachable_pub, reason = "shared by test programs of which each uses a part")]
mod message;
#[path = "../support/tls.rs"]
mod pki;
#[path = "../support/mod.rs"]
mod support;
#[path = "../support/upstream.rs"]
mod upstream;

mod ask;
mod cluster;
mod fence;
mod load;
mod names;
mod namespace;
mod report;
mod row;
mod rows;
mod server;
mod tls;

use std::process::ExitCode;
use std::sync::{Arc, Mutex};

use libtest_mimic::{Arguments, Failed, Trial};

use report::Table;
use row::Row;

/// All rows.
const ROWS: &[&[Row]] = rows::ALL;

/// Rows that Signpost does not pass yet, each with what is missing. A row that passes fails the
/// test until it is removed from this list.
const PENDING: &[(&str, &str)] = &[];

/// Rows mostly wait.
const AT_A_TIME: usize = 4;

fn main() -> ExitCode {
    if namespace::inside() {
        return ExitCode::SUCCESS;
    }
    // A row that panics is not met; the place of the panic is enough.
    std::panic::set_hook(Box::new(|panic| eprintln!("{panic}")));
    let long = std::env::var("FAULTS").is_ok_and(|how| how == "long");
    let mut arguments = Arguments::from_args();
    arguments.test_threads.get_or_insert(if long { 1 } else { AT_A_TIME });
    let table = Arc::new(Mutex::new(Table::default()));
    let wanted = std::env::var("FAULTS_ROWS").unwrap_or_default();
    let is_wanted = |row: &&Row| wanted.trim().is_empty() || wanted.split_whitespace().any(|id| id == row.id);
    let trials = ROWS.iter().copied().flatten().filter(is_wanted).map(|row| {
        let table = table.clone();
        Trial::test(row.id, move || judge(row, long, &table)).with_ignored_flag(row.place == row::Place::Alone && !long)
    });
    let conclusion = libtest_mimic::run(&arguments, trials.collect());
    if let Some(path) = std::env::var_os("FAULTS_TABLE") {
        let before = std::fs::read_to_string(&path).unwrap_or_default();
        let all: Vec<&Row> = ROWS.iter().copied().flatten().collect();
        let text = table.lock().expect("no panic").text(&before, &all);
        std::fs::write(path, text).expect("the table is written");
    }
    conclusion.exit_code()
}

/// Runs a row and prints the findings; only Signpost can fail.
fn judge(row: &'static Row, long: bool, table: &Mutex<Table>) -> Result<(), Failed> {
    let found = row.find_both(long);
    print!("{}", report::lines(row, &found));
    let wrong = found[0].wrong.join("; ");
    let skipped = found.iter().find_map(|found| found.skipped.clone());
    let pending = PENDING.iter().find(|(id, _)| *id == row.id);
    table.lock().expect("no panic").add(row, found);
    match pending {
        Some((_, missing)) if wrong.is_empty() => {
            Err(format!("{} passes: take it off the list of what is pending ({missing})", row.id).into())
        }
        None if !wrong.is_empty() => Err(wrong.into()),
        _ if skipped.is_some() && std::env::var_os("CI").is_some() => {
            Err(format!("skipped, which CI does not allow: {}", skipped.unwrap_or_default()).into())
        }
        _ => Ok(()),
    }
}
