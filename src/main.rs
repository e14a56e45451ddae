//! The program: arguments in, exit status out. Everything else is in the library.

use std::process::ExitCode;

use signpost::args::{Command, USAGE, parse};
use signpost::compare::options;
use signpost::plugins::{ALL, ELSEWHERE};
use signpost::server::run;

fn main() -> ExitCode {
    let mut arguments = std::env::args().skip(1).peekable();
    if arguments.next_if(|word| word == "ask").is_some() {
        return signpost::ask::run(arguments);
    }
    if arguments.next_if(|word| word == "compare").is_some() {
        return compare(arguments);
    }
    let command = match parse(arguments) {
        Ok(command) => command,
        Err((status, text)) => {
            eprintln!("{text}");
            return ExitCode::from(status);
        }
    };
    let result = match command {
        Command::Serve(args) => run::serve(&args, ALL, ELSEWHERE),
        Command::Validate(args) => run::validate(&args, ALL, ELSEWHERE).map(|servers| {
            println!("{}\nthe Corefile is valid", servers.join("\n"));
            ExitCode::SUCCESS
        }),
        Command::Version => {
            println!("{}", run::banner());
            Ok(ExitCode::SUCCESS)
        }
        Command::Plugins => {
            let mut names: Vec<_> = ALL.iter().map(|plugin| plugin.name).collect();
            names.sort_unstable();
            names.iter().for_each(|name| println!("{name}"));
            Ok(ExitCode::SUCCESS)
        }
        Command::Help => {
            print!("{USAGE}");
            Ok(ExitCode::SUCCESS)
        }
    };
    result.unwrap_or_else(|error| {
        signpost::host::log::flush(std::time::Duration::from_secs(1));
        eprintln!("{error}");
        ExitCode::FAILURE
    })
}

/// `signpost compare`: exit status 2 where it could not be tried.
fn compare(arguments: impl Iterator<Item = String>) -> ExitCode {
    options::parse(arguments).and_then(|options| signpost::compare::run(&options)).unwrap_or_else(|error| {
        eprintln!("{error}");
        ExitCode::from(2)
    })
}
