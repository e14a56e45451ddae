//! The program: arguments in, exit status out. Everything else is in the library.

use std::io::Write as _;
use std::process::ExitCode;

use signpost::args::{Command, USAGE, USAGE_STATUS, parse, wants_json};
use signpost::compare::options;
use signpost::error::Error;
use signpost::host::log::{self, Level};
use signpost::manual::manual;
use signpost::plugins::{ALL, COREDNS, names};
use signpost::server::{check, run};

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|word| word == "ask").is_some() {
        return signpost::ask::run(arguments);
    }
    if arguments.next_if(|word| word == "compare").is_some() {
        return compare(arguments);
    }
    let arguments: Vec<String> = arguments.collect();
    log::set_json(wants_json(&arguments));
    let command = match parse(arguments) {
        Ok(command) => command,
        Err((status, text)) => {
            fail(&Error::Other(text));
            if status == USAGE_STATUS && !log::is_json() {
                eprint!("{USAGE}");
            }
            return ExitCode::from(status);
        }
    };
    let result = match command {
        Command::Serve(args) => run::serve(&args, ALL, COREDNS),
        Command::Validate(args) => Ok(check::validate(&args, ALL, COREDNS)),
        Command::Version => {
            println!("{}", run::banner());
            Ok(ExitCode::SUCCESS)
        }
        Command::Plugins => {
            names().iter().for_each(|name| println!("{name}"));
            Ok(ExitCode::SUCCESS)
        }
        Command::Manual(name) => manual(&name).map(|page| {
            print!("{page}");
            ExitCode::SUCCESS
        }),
        Command::Help => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| {
        log::flush(std::time::Duration::from_secs(1));
        fail(&error);
        ExitCode::FAILURE
    })
}

/// Prints on standard error why the process ends: with the line and the word marked, or as one
/// record.
fn fail(error: &Error) {
    if log::is_json() {
        // If standard error is closed, there is no other place to report it.
        let _ = std::io::stderr().write_all(&log::line_of(Level::Fatal, error));
    } else {
        eprintln!("{error}");
    }
}

/// `signpost compare`: exit status 2 if it could not compare.
fn compare(arguments: impl Iterator<Item = String>) -> ExitCode {
    options::parse(arguments).and_then(|options| signpost::compare::run(&options)).unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::from(2)
    })
}
