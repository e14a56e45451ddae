//! # errors — print why queries failed
//!
//! Prints a line for every query that failed with a known reason: `[ERROR] plugin/errors: 2
//! example.org. A: REASON`, with the number of the RCODE, the name in lower case and the type. Many
//! errors of one kind can be summed up in one line.
//!
//! ## Syntax
//!
//! ```text
//! errors [stdout] {
//! }
//! ```
//!
//! `stdout` has no effect: all lines go there.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     errors {
//!         consolidate 5m ".* i/o timeout$" warning
//!         consolidate 30s "^Failed to .+"
//!     }
//!     whoami
//! }
//! ```

mod consolidate;

use std::sync::Arc;

use crate::chain::doc::doc_of;
use crate::chain::options::{OptionOf, OptionsOf};
use crate::chain::setup::{Registration, Setup};
use crate::chain::{Here, Plugin, Query, Reply, Turn};
use crate::error::Result;
use crate::host::Host;
use crate::host::log::{self, Level};
use crate::wire::name::Name;
use crate::wire::types::TypeText;
use consolidate::{Pattern, Patterns, Seen};

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "errors", setup, doc: doc_of!("mod.rs"), options: &[&OPTIONS] };

struct Errors {
    patterns: Option<Arc<Patterns>>,
    host: Arc<Host>,
}

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    let mut patterns = Vec::new();
    while cursor.only_occurrence()? {
        match cursor.args()[..] {
            [] => {}
            [word] if word.as_str() == "stdout" => {}
            [word] => return Err(cursor.error_at(word, format!("invalid log file: {word}"))),
            _ => return Err(cursor.arg_err()),
        }
        OPTIONS.read(&mut cursor, &mut patterns, s)?;
    }
    let patterns = (!patterns.is_empty()).then(|| Arc::new(Patterns::new(patterns)));
    if let Some(patterns) = &patterns {
        let (watched, host) = (Arc::downgrade(patterns), s.host.clone());
        s.task("errors", move || consolidate::summarize(watched, host));
    }
    s.chain(Errors { patterns, host: s.host.clone() });
    Ok(())
}

static OPTIONS: OptionsOf<Vec<Pattern>> = OptionsOf {
    all: &[
        OptionOf {
            name: "stacktrace",
            form: "",
            about: "Accepted without effect: the environment variable RUST_BACKTRACE decides about stack traces.",
            // The rest of the line is read as another option, as in CoreDNS.
            read: |_, _, _| Ok(()),
        },
        OptionOf {
            name: "consolidate",
            form: "DURATION REGEX [error|warning|info|debug] [show_first]",
            about: "Errors that REGEX matches are only counted. DURATION after the first of them one line says how \
                    many there were, at the level that is named (error). With `show_first` the first error is \
                    printed at once, and the summary only if there were more. The option may stand several times; \
                    the first one that matches counts. When the configuration ends, pending summaries are printed.",
            read: |cursor, patterns, _| {
                patterns.push(consolidate::read(cursor)?);
                Ok(())
            },
        },
    ],
    unknown: |word| format!("Syntax error: Unexpected token '{word}', expecting 'Unknown field {word}'"),
};

impl Plugin for Errors {
    fn reply(&self, query: &mut Query<'_>, reply: &mut Reply, _: &Here<'_>) -> Turn {
        let Some(cause) = reply.cause() else { return Turn::Up };
        let seen =
            self.patterns.as_ref().map_or(Seen::Unmatched, |patterns| patterns.note(cause, self.host.clock.now()));
        let level = match seen {
            Seen::Counted => return Turn::Up,
            Seen::First(level) => level,
            Seen::Unmatched => Level::Error,
        };
        print(level, format_args!("{}", line(query, reply.rcode(), cause)));
        Turn::Up
    }
}

/// Formats `RCODE QNAME QTYPE: CAUSE`.
fn line(query: &Query<'_>, rcode: u16, cause: &str) -> String {
    let name = Name::from_wire(query.asked()).unwrap_or(Name::ROOT).lowered();
    format!("{rcode} {name} {}: {cause}", TypeText(query.request.qtype))
}

fn print(level: Level, message: std::fmt::Arguments<'_>) {
    match level {
        // Printed only where the plugin `debug` is loaded.
        Level::Debug => log::debug(PLUGIN.name, message),
        level => log::line(level, PLUGIN.name, message),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Server, packet};

    #[test]
    fn a_line_names_code_name_type_and_reason() {
        let server = Server::new(". {\nerrors\n}\n");
        let peer = "127.0.0.1:5353".parse().expect("an address");
        let mut unusual = packet("X.Example.", "A");
        let at = unusual.len() - 15;
        unusual[at..at + 2].copy_from_slice(&999_u16.to_be_bytes());
        for (packet, expected) in [
            (packet("X.Example.", "A"), "2 x.example. A: plugin/errors: no next plugin found"),
            (unusual, "2 x.example. TYPE999: plugin/errors: no next plugin found"),
        ] {
            let (query, reply) = server.outcome(&packet, peer).expect("a reply");
            assert_eq!(line(&query, reply.rcode(), reply.cause().unwrap_or_default()), expected);
        }
    }
}
