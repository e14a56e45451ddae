//! The program: arguments in, exit status out. Everything else is in the library.

use std::io::{ErrorKind, Write as _};
use std::process::ExitCode;

use signpost::args::{Command, USAGE, USAGE_STATUS, parse, wants_json};
use signpost::compare::options;
use signpost::error::{Error, Result};
use signpost::host::log::{self, Level};
use signpost::manual::manual;
use signpost::migrate::migrate;
use signpost::plugins::{COREDNS, KNOWN, names};
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
        Command::Serve(args) => run::serve(&args, &KNOWN, COREDNS),
        Command::Validate(args) => Ok(check::validate(&args, &KNOWN, COREDNS)),
        Command::Version => print(&format!("{}\n", run::banner())),
        Command::Plugins => print(&format!("{}\n", names().join("\n"))),
        Command::Migrate(path) => migrate(&path).and_then(|new| {
            new.remarks.iter().for_each(|remark| eprintln!("{remark}"));
            print(&new.text)
        }),
        Command::Manual(name) => manual(&name).and_then(|page| print(&page)),
        Command::Help => print(USAGE),
    };
    result.unwrap_or_else(|error| {
        log::flush(std::time::Duration::from_secs(1));
        fail(&error);
        ExitCode::FAILURE
    })
}

/// Prints on standard output. A reader that stops early, such as `head`, is no error.
fn print(text: &str) -> Result<ExitCode> {
    match std::io::stdout().write_all(text.as_bytes()) {
        Err(source) if source.kind() != ErrorKind::BrokenPipe => {
            Err(Error::Io { what: "write to standard output".into(), source })
        }
        _ => Ok(ExitCode::SUCCESS),
    }
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
