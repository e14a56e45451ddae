//! # on — commands when the server starts and stops
//!
//! Accepts what CoreDNS accepts, and warns that the command does not run: a name server that its
//! configuration can make run programs is a danger, and the image has none. In Kubernetes an init
//! container, or `lifecycle` with `postStart` and `preStop`, does the same; on a host
//! `ExecStartPost=` and `ExecStopPost=` of systemd do.
//!
//! ## Syntax
//!
//! ```text
//! on EVENT COMMAND [ARGS...] [&]
//! ```
//!
//! EVENT is `startup`, `shutdown` or `certrenew`.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     on startup /bin/notify up
//!     whoami
//! }
//! ```

use crate::chain::doc::doc_of;
use crate::chain::setup::{Registration, Setup};
use crate::corefile::Severity;
use crate::error::Result;

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "on", setup, doc: doc_of!("on.rs"), options: &[] };

const EVENTS: [&str; 3] = ["startup", "shutdown", "certrenew"];

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    while cursor.next_occurrence() {
        let event = cursor.expect_arg()?;
        if !EVENTS.contains(&event.as_str().to_lowercase().as_str()) {
            let message = format!("Error during parsing: Wrong event name or event not supported: '{event}'");
            return Err(cursor.unknown(event, message, &EVENTS));
        }
        let command = cursor.args();
        let Some(program) = command.first() else {
            return Err(cursor.complain(event, "Error during parsing: no command contained in ''").into());
        };
        let warning = cursor.complain(program, format!("the command for {event} does not run"));
        let hint = "use an init container or `lifecycle` in Kubernetes, `ExecStartPost=` of systemd elsewhere";
        cursor.report(Severity::Warning, warning.hint(hint));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[test]
    fn a_command_is_warned_about() {
        let server = Server::new(". {\non startup a\nwhoami\n}\n");
        let [warning] = &server.configuration.findings[..] else { panic!("one warning") };
        assert!(warning.what.to_string().contains("the command for startup does not run"));
    }
}
