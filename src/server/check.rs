//! `-validate`: checks everything in a Corefile that can be checked without opening or querying
//! anything.

use std::io::Write as _;
use std::process::ExitCode;
use std::sync::Arc;

use super::load::Loader;
use crate::args::Args;
use crate::chain::build::examine;
use crate::chain::setup::Registration;
use crate::corefile::{Finding, Severity};
use crate::host::files::raise_limit;
use crate::host::log::Level;
use crate::host::{Host, log};

/// Returns the servers that the Corefile named on the command line would make, and the findings in
/// it.
#[must_use]
pub fn findings(
    args: &Args,
    plugins: &'static [Registration],
    elsewhere: &'static [&'static str],
) -> (Vec<String>, Vec<Finding>) {
    raise_limit();
    let host = Arc::new(Host::default());
    let loaded = Loader::new(args, plugins, elsewhere, &host.metrics).load();
    match loaded {
        Ok(corefile) => {
            let (configuration, findings) = examine(&corefile, plugins, &host, &args.port);
            (configuration.map(|configuration| configuration.servers).unwrap_or_default(), findings)
        }
        Err(what) => (Vec::new(), vec![Finding { severity: Severity::Error, what }]),
    }
}

/// Prints the servers on standard output and the findings on standard error: each with its line or,
/// as a record, in one line. The exit status is 1 if one of them is an error.
#[must_use]
pub fn validate(args: &Args, plugins: &'static [Registration], elsewhere: &'static [&'static str]) -> ExitCode {
    let (servers, findings) = findings(args, plugins, elsewhere);
    log::flush(std::time::Duration::from_secs(1));
    let mut errors = std::io::stderr().lock();
    for Finding { severity, what } in &findings {
        let (level, name) = match severity {
            Severity::Error => (Level::Error, ""),
            Severity::Warning => (Level::Warning, "warning: "),
            Severity::Note => (Level::Info, "note: "),
        };
        // A failure to write to standard error cannot be reported.
        let _ = match log::is_json() {
            true => errors.write_all(&log::line_of(level, what)),
            false => writeln!(errors, "{name}{what}"),
        };
    }
    if findings.iter().any(|finding| finding.severity == Severity::Error) {
        return ExitCode::FAILURE;
    }
    log::plain(&servers.join("\n"));
    log::plain("the Corefile is valid");
    log::flush(std::time::Duration::from_secs(1));
    ExitCode::SUCCESS
}
