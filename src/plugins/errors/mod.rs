//! # errors — print why queries failed
//!
//! Prints a line for every query that failed for a reason:
//! `[ERROR] plugin/errors: 2 example.org. A: REASON`, with the number of the RCODE, the name in lower case and the
//! type. A flood of errors of one kind can be drawn together.
//!
//! ## Syntax
//! ```text
//! errors [stdout] {
//!     stacktrace
//!     consolidate DURATION REGEX [error|warning|info|debug] [show_first]
//! }
//! ```
//! - `stdout` changes nothing: this is where all lines go.
//! - `stacktrace` is accepted; see below.
//! - `consolidate`: reasons that REGEX matches are only counted. DURATION after the first of them one line tells how
//!   many there were, at the level that is named (error if none is). With `show_first` the first one is printed at
//!   once, and the summary only if there were more. May stand several times; the first that matches counts. What is
//!   pending when the configuration ends is printed then.
//!
//! ## Examples
//! ```corefile
//! . {
//!     errors {
//!         consolidate 5m ".* i/o timeout$" warning
//!         consolidate 30s "^Failed to .+"
//!     }
//!     whoami
//! }
//! ```
//!
//! ## Differences from CoreDNS
//! - Some reasons have other words than in CoreDNS.
//! - `stacktrace` adds nothing: RUST_BACKTRACE decides about stacks.
//! - Expressions are those of the `regex` crate: RE2's, and a few more.

mod consolidate;

use std::sync::Arc;

use crate::chain::setup::{Registration, Setup};
use crate::chain::{Here, Plugin, Query, Reply, Turn};
use crate::corefile::Cursor;
use crate::error::Result;
use crate::host::Host;
use crate::host::log::{self, Level};
use crate::wire::name::Name;
use crate::wire::types::TypeText;
use consolidate::{Patterns, Seen};

/// How the house knows this plugin.
pub const PLUGIN: Registration = Registration { name: "errors", setup };

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
        while cursor.next_option() {
            match cursor.word().as_str() {
                // Arguments of stacktrace are taken for options, as in CoreDNS.
                "stacktrace" => {}
                "consolidate" => patterns.push(consolidate::parse(&mut cursor)?),
                _ => return Err(unknown(&cursor)),
            }
        }
    }
    let patterns = (!patterns.is_empty()).then(|| Arc::new(Patterns::new(patterns)));
    if let Some(patterns) = &patterns {
        let (watched, host) = (Arc::downgrade(patterns), s.host.clone());
        s.task("errors", move || consolidate::summarize(watched, host));
    }
    s.chain(Errors { patterns, host: s.host.clone() });
    Ok(())
}

fn unknown(cursor: &Cursor<'_>) -> crate::error::Error {
    let word = cursor.word();
    let message = format!("Syntax error: Unexpected token '{word}', expecting 'Unknown field {word}'");
    cursor.unknown(word, message, &["stacktrace", "consolidate"])
}

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

/// `RCODE QNAME QTYPE: CAUSE`
fn line(query: &Query<'_>, rcode: u16, cause: &str) -> String {
    let name = Name::from_wire(query.asked()).unwrap_or(Name::ROOT).lowered();
    format!("{rcode} {name} {}: {cause}", TypeText(query.request.qtype))
}

fn print(level: Level, message: std::fmt::Arguments<'_>) {
    match level {
        // Only where the plugin `debug` is loaded.
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
