//! The load generator: arguments in, exit status out. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser;
use signpost::bench::{args::Args, run};

fn main() -> ExitCode {
    run(&Args::parse().command).unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::from(2)
    })
}
