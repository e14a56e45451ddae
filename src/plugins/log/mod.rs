//! # log — a line for every query
//!
//! Prints what was asked, by whom, and what became of it:
//! `[INFO] 10.0.0.9:41234 - 29008 "A IN example.org. udp 41 false 512" NOERROR qr,aa,rd 68 0.000095s`.
//!
//! ## Syntax
//! ```text
//! log [NAMES...] [FORMAT] {
//!     class CLASSES...
//! }
//! ```
//! - NAMES are the names (and all below them) that are logged; all if there are none. With a single argument it is a
//!   name, whatever it looks like; with more, the last one is the format if it contains a `{`.
//! - FORMAT is `{common}`, `{combined}` (the same with the opcode behind), or a text of your own with the
//!   placeholders that `format.rs` lists.
//! - CLASSES are `success` (an answer or a delegation), `denial` (no such name, or no such data), `error` (anything
//!   else, a query that was dropped too) and `all`, which is the default.
//!
//! May stand several times: the first rule whose name fits decides, even if its classes do not fit.
//!
//! ## Examples
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
//! With `-log-format json` a line is one object: FORMAT makes its `msg`, and all facts stand beside it.
//!
//! ## Differences from CoreDNS
//! - Printing never makes a query wait: when nobody reads standard output, lines are dropped and counted.
//! - `{local}` is the address that was asked, where CoreDNS prints `[::]` for a server on all addresses.
//! - The duration counts from the query's arrival, so a waiting query shows its waiting.

mod format;
mod text;

use std::cell::LazyCell;

use crate::chain::setup::{Registration, Setup};
use crate::chain::zones;
use crate::chain::{Here, Plugin, Query, Reply, Turn};
use crate::corefile::Cursor;
use crate::error::Result;
use crate::host::log::{self, Level};
use crate::wire::answer::Section;
use crate::wire::name::Name;
use crate::wire::types::{rcode, rtype};
use format::{Facts, Format};

/// How the house knows this plugin.
pub const PLUGIN: Registration = Registration { name: "log", setup };

/// One name of one `log` line.
struct Rule {
    /// Lower case.
    scope: Name,
    format: Format,
    classes: u8,
}

/// What became of a query, as far as rules tell it apart. The values are bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Class {
    Success = 1,
    Denial = 2,
    Error = 4,
}

const ALL: u8 = 7;

//----------- Setup ----------------------------------------------------------

fn setup(s: &mut Setup<'_>) -> Result<()> {
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
        let classes = classes(&mut cursor)?;
        rules.extend(scopes.into_iter().map(|scope| Rule { scope, format: Format::parse(&format), classes }));
    }
    s.chain(Log { rules });
    Ok(())
}

/// The classes in the block, as bits.
fn classes(cursor: &mut Cursor<'_>) -> Result<u8> {
    let mut classes = 0;
    while cursor.next_option() {
        if cursor.word().as_str() != "class" {
            return Err(cursor.unknown_property(&["class"]));
        }
        let words = cursor.args();
        if words.is_empty() {
            return Err(cursor.arg_err());
        }
        for word in words {
            classes |= match word.as_str() {
                "all" => ALL,
                "success" => Class::Success as u8,
                "denial" => Class::Denial as u8,
                "error" => Class::Error as u8,
                other => {
                    let known = ["all", "success", "denial", "error"];
                    return Err(cursor.unknown(word, format!("Error during parsing: invalid Class: {other}"), &known));
                }
            };
        }
    }
    Ok(if classes == 0 { ALL } else { classes })
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
    /// Prints the line of a query and its reply, if it has one and a rule wants it.
    fn line(&self, query: &Query<'_>, reply: Option<&Reply>) {
        // The client's own name, which is not the one in `query.question.name` if a plugin has changed that.
        let asked = LazyCell::new(|| query.request.name(query.packet()));
        let Some(rule) = self.rules.iter().find(|rule| rule.covers(&asked)) else { return };
        // Rules for all classes, the usual ones, do not look at the answer.
        if rule.classes != ALL && rule.classes & classify(query.request.qtype, reply) as u8 == 0 {
            return;
        }
        let facts = Facts::new(query, reply, &asked);
        if log::is_json() {
            let text = log::Text(|out: &mut Vec<u8>| rule.format.write(&facts, out));
            log::record(Level::Info, "plugin/log", text, facts.fields());
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
    /// `name` is only made for a rule that does not cover all names.
    fn covers(&self, name: &LazyCell<Name, impl FnOnce() -> Name>) -> bool {
        self.scope.is_root() || name.is_under(&self.scope)
    }
}

/// The class of a reply, as CoreDNS draws the lines.
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
#[path = "tests.rs"]
mod tests;
