//! # log — print a line for every query
//!
//! Prints what was asked, by whom, and what became of it:
//!
//! ```text
//! [INFO] 10.0.0.9:41234 - 29008 "A IN example.org. udp 41 false 512" NOERROR qr,aa,rd 68 0.000095s
//! ```
//!
//! ## Syntax
//!
//! ```text
//! log [NAMES...] [FORMAT] {
//! }
//! ```
//!
//! - **NAMES** are the names that are logged, with all names below them; by default all. A single
//!   argument is always a name; of several, the last one is the format if it contains a `{`.
//! - **FORMAT** is `{common}` (the default, as above), `{combined}` (the same and the opcode), or a
//!   text of your own with the placeholders below. Anything else in braces stays as it is.
//!
//! | placeholder | fact |
//! |---|---|
//! | `{type}` `{class}` `{name}` | what was asked; the name in lower case |
//! | `{proto}` `{remote}` `{port}` `{local}` | udp or tcp; who asked, and where; IPv6 addresses in brackets |
//! | `{size}` | octets of the query, without EDNS options |
//! | `{rcode}` `{>rflags}` `{rsize}` | of the reply; its size without OPT, neither compressed nor truncated; `-`, `-` and `0` where a query was dropped |
//! | `{duration}` | seconds since the query arrived |
//! | `{>id}` `{>opcode}` `{>do}` `{>bufsize}` | of the query; the size that the client takes |
//! | `{/LABEL}` | metadata: `-`, since no plugin publishes any |
//!
//! The directive may stand several times. The first one whose name matches decides, even if its
//! classes do not match.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     log example.org "{remote} {name} {rcode}" {
//!         class denial error
//!     }
//!     log
//!     whoami
//! }
//! ```
//!
//! With `-log-format json` a line is one object: its `msg` has this format, and all facts are
//! fields beside it.

mod format;
mod text;

use std::cell::LazyCell;

use crate::chain::doc::doc_of;
use crate::chain::options::{OptionOf, OptionsOf, unknown_property};
use crate::chain::setup::{Registration, Setup};
use crate::chain::zones;
use crate::chain::{Here, Plugin, Query, Reply, Turn};
use crate::corefile::{Cursor, Word};
use crate::error::Result;
use crate::host::log::{self, Level};
use crate::wire::answer::Section;
use crate::wire::name::Name;
use crate::wire::types::{rcode, rtype};
use format::{Facts, Format};

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "log", setup, doc: doc_of!("mod.rs"), options: &[&OPTIONS] };

/// One name of one `log` line.
struct Rule {
    /// Lower case.
    scope: Name,
    format: Format,
    classes: u8,
}

/// Classes of replies that rules distinguish. The values are bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Success = 1,
    Denial = 2,
    Error = 4,
}

const ALL: u8 = 7;

//----------- Setup ----------------------------------------------------------

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let rules = read(s)?;
    s.chain(Log { rules });
    Ok(())
}

fn read(s: &Setup<'_>) -> Result<Vec<Rule>> {
    let mut cursor = s.cursor();
    let mut rules = Vec::new();
    while cursor.next_occurrence() {
        let mut words = cursor.args();
        let mut format = format::COMMON.to_owned();
        if words.len() > 1
            && let Some(text) = words.pop_if(|last| last.as_str().contains('{'))
        {
            format = text.as_str().replace("{common}", format::COMMON).replace("{combined}", format::COMBINED);
        }
        let scopes = match words[..] {
            [] => vec![Name::ROOT],
            _ => words.iter().filter_map(|word| zones::name(&cursor, word)).collect(),
        };
        let mut classes = 0;
        OPTIONS.read(&mut cursor, &mut classes, s)?;
        let classes = if classes == 0 { ALL } else { classes };
        rules.extend(scopes.into_iter().map(|scope| Rule { scope, format: Format::parse(&format), classes }));
    }
    Ok(rules)
}

/// Reads classes, as bits.
static OPTIONS: OptionsOf<u8> = OptionsOf {
    all: &[OptionOf {
        name: "class",
        form: "CLASSES...",
        about: "The queries that are logged: `success` (an answer or a delegation), `denial` (the name or the data do \
                not exist), `error` (everything else, also a query that was dropped) or `all` (the default).",
        read: |cursor, classes, _| {
            for word in cursor.args_of(1..)? {
                *classes |= class(cursor, word)?;
            }
            Ok(())
        },
    }],
    unknown: unknown_property,
};

/// Returns the bits of a class.
fn class(cursor: &Cursor<'_>, word: &Word) -> Result<u8> {
    Ok(match word.as_str() {
        "all" => ALL,
        "success" => Class::Success as u8,
        "denial" => Class::Denial as u8,
        "error" => Class::Error as u8,
        other => {
            let known = ["all", "success", "denial", "error"];
            return Err(cursor.unknown(word, format!("Error during parsing: invalid Class: {other}"), &known));
        }
    })
}

//----------- Log ------------------------------------------------------------

struct Log {
    rules: Vec<Rule>,
}

impl Plugin for Log {
    fn reply(&self, query: &mut Query<'_>, reply: &mut Reply, _: &Here<'_>) -> Turn {
        self.line(query, Some(reply));
        Turn::Up
    }

    fn dropped(&self, query: &mut Query<'_>, _: &Here<'_>) -> Turn {
        self.line(query, None);
        Turn::Up
    }
}

impl Log {
    /// Prints the line of a query and its reply, if there is one and a rule selects it.
    fn line(&self, query: &Query<'_>, reply: Option<&Reply>) {
        // The client's own name: a plugin may have changed the one in `query.question`.
        let asked = LazyCell::new(|| query.request.name(query.packet()));
        let Some(rule) = self.rules.iter().find(|rule| rule.covers(&asked)) else { return };
        // Rules for all classes, the usual ones, do not examine the answer.
        if rule.classes != ALL && rule.classes & classify(query.request.qtype, reply) as u8 == 0 {
            return;
        }
        let facts = Facts::new(query, reply, &asked);
        if log::is_json() {
            let text = log::Text(|out: &mut Vec<u8>| rule.format.write(&facts, out));
            log::record(Level::Info, PLUGIN.name, text, facts.fields());
        } else {
            log::with_buffer(|buffer| {
                buffer.extend_from_slice(b"[INFO] ");
                rule.format.write(&facts, buffer);
                buffer.push(b'\n');
            });
        }
    }
}

impl Rule {
    /// `name` is computed only for a rule that does not cover all names.
    fn covers(&self, name: &LazyCell<Name, impl FnOnce() -> Name>) -> bool {
        self.scope.is_root() || name.is_under(&self.scope)
    }
}

/// Returns the class of a reply, divided as in CoreDNS.
fn classify(qtype: u16, reply: Option<&Reply>) -> Class {
    let Some(reply) = reply else { return Class::Error };
    if matches!(qtype, rtype::AXFR | rtype::IXFR) {
        return Class::Error;
    }
    let answer = &reply.answer;
    let has = |wanted: u16| answer.section(Section::Authority).any(|record| record.rtype == wanted);
    match (reply.rcode(), answer.counts[0]) {
        (rcode::NOERROR, 0) if has(rtype::SOA) => Class::Denial,
        (rcode::NOERROR, _) => Class::Success,
        (rcode::NXDOMAIN, 0) => Class::Denial,
        _ => Class::Error,
    }
}

#[cfg(test)]
mod tests;
