//! Errors and findings as lines: plugin, place and help are fields of a record, and one text for people.

use std::io::Write as _;

use serde::Serialize;

use super::{Level, is_json, record, render, with_buffer};
use crate::error::{Error, Parts};

/// Prints an error, a warning or a note about the Corefile in one line.
pub fn told(level: Level, error: &Error) {
    with_buffer(|buffer| append(buffer, level, "", error, ""));
}

/// Prints that `doing` failed, and what is the case `then`. As text it may take several lines, so that the word is marked
/// in its line.
pub fn failed(doing: &str, error: &Error, then: &str) {
    with_buffer(|buffer| match is_json() {
        true => append(buffer, Level::Error, doing, error, then),
        false => _ = writeln!(buffer, "[{}] {doing}: {error}\n{then}", Level::Error.text()),
    });
}

/// The line that tells an error, with its end.
#[must_use]
pub fn line_of(level: Level, error: &Error) -> Vec<u8> {
    let mut line = Vec::new();
    append(&mut line, level, "", error, "");
    line
}

fn append(buffer: &mut Vec<u8>, level: Level, doing: &str, error: &Error, then: &str) {
    let parts = error.parts();
    let from = parts.plugin.as_ref().map(|plugin| format!("plugin/{plugin}")).unwrap_or_default();
    if !is_json() {
        return render(buffer, level, &from, format_args!("{}", parts.line()));
    }
    let said = [doing, &parts.message].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
    let message = [&said, then].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    record::append(buffer, level, &from, message, Facts::of(&parts));
}

/// The fields of a record that tells an error.
#[derive(Serialize)]
struct Facts<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    file: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    line: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    word: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    help: Option<String>,
}

impl<'a> Facts<'a> {
    fn of(parts: &'a Parts) -> Self {
        let place = parts.place.as_ref();
        Self {
            file: place.map(|place| &*place.file),
            line: place.map(|place| place.line),
            word: place.map(crate::error::Place::word),
            help: (!parts.hints.is_empty()).then(|| parts.hints.join("\n")),
        }
    }
}
