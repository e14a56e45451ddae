//! A load generator for DNS servers, and what resolvers send: the library of `signpost-bench`.
//!
//! Each thread is a [`lane`]: it has its own sockets, its own share of the load and its own
//! [`tally`]. While they run, threads share only two counters for the progress line.
//!
//! - [`args`]: the command line
//! - [`questions`]: a file of questions, in dnsperf's form, as packets ready to send
//! - [`order`]: which question is next: in turn, or drawn by a law
//! - [`pace`]: when the next query is due
//! - [`flights`]: queries that are not answered yet
//! - `udp`, `stream`: the transports
//! - [`tally`], [`report`]: the counts and the report
//! - [`mix`]: questions made from a cluster's own objects
//! - [`ndots`]: what a stub resolver sends for one look-up
//!
//! # What is measured
//!
//! A query's time runs from the moment it was *due*, not from the moment it was sent: if the server
//! (or the generator itself) falls behind a fixed rate, the wait counts (no coordinated omission).
//! With a fixed number of outstanding queries, a query is due when its place becomes free.
//!
//! A reply counts if its id and question are those of a query in flight. It is *right* if RCODE and
//! number of answers are those of the question's line; if the line has none, those of the
//! question's first reply.

pub mod args;
pub mod flights;
pub mod lane;
pub mod mix;
pub mod ndots;
pub mod order;
pub mod pace;
pub mod questions;
pub mod report;
mod stream;
pub mod tally;
mod udp;

use std::process::ExitCode;

/// Runs the program; `command` is the parsed command line.
///
/// # Errors
/// A text: what is wrong with the arguments or the files, or why the server cannot be reached.
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
