//! A load generator for DNS servers, and what it needs to know of resolvers: what `signpost-bench` does.
//!
//! Each thread is a [`lane`]: it has its own sockets, its own share of the load and its own [`tally`]. Nothing is shared
//! while it runs but two counters for the progress line.
//!
//! - [`args`]: the command line
//! - [`questions`]: a file of questions, in dnsperf's form, as packets that are ready to go
//! - [`pace`]: when the next query is due
//! - [`flights`]: what was asked and is not answered yet
//! - `udp`, `stream`: how it travels
//! - [`tally`], [`report`]: what came of it
//! - [`mix`]: questions made from a cluster's own objects
//! - [`ndots`]: what a stub resolver sends for one look-up
//!
//! # What is measured
//!
//! A query's time runs from the moment it was *due*, not from the moment it was sent: where the server (or the
//! generator itself) falls behind a fixed rate, the wait counts (no coordinated omission). With a fixed number of
//! outstanding queries a query is due when its place becomes free.
//!
//! A reply counts when id and question are those of a query in flight. It is *right* when RCODE and number of answers
//! are those that the question's line asks for; where it asks for nothing, those of the question's first reply.

pub mod args;
pub mod flights;
pub mod lane;
pub mod mix;
pub mod ndots;
pub mod pace;
pub mod questions;
pub mod report;
mod stream;
pub mod tally;
mod udp;

use std::process::ExitCode;

/// Runs the program; the arguments are without its own name.
///
/// # Errors
/// What is wrong with the arguments or the files, or why the server cannot be reached, as one text.
pub fn run(command: &args::Command) -> Result<ExitCode, String> {
    match command {
        args::Command::Load(load) => {
            let report = lane::run(load)?;
            if let Some(path) = &load.json {
                report.write_json(path)?;
            }
            print!("{report}");
            Ok(if report.is_clean() { ExitCode::SUCCESS } else { ExitCode::from(1) })
        }
        args::Command::Mix(mix) => {
            print!("{}", mix::questions(mix)?);
            Ok(ExitCode::SUCCESS)
        }
        args::Command::Ndots(options) => {
            print!("{}", ndots::report(options));
            Ok(ExitCode::SUCCESS)
        }
    }
}
