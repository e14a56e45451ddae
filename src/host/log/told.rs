//! Errors and findings as lines: a record has fields for plugin, position and help; a text has all
//! in one.

use std::io::Write as _;

use serde::Serialize;

use super::{Level, is_json, record, render, with_buffer};
use crate::error::{Error, Parts};

/// Prints an error, a warning or a note about the Corefile in one line.
pub fn told(level: Level, error: &Error) {
    with_buffer(|buffer| append(buffer, level, "", error, ""));
}

/// Prints that `doing` failed, and the consequence `then`. As text it may take several lines, so
/// that the word can be marked in its line.
pub fn failed(doing: &str, error: &Error, then: &str) {
    with_buffer(|buffer| match is_json() {
        true => append(buffer, Level::Error, doing, error, then),
        false => _ = writeln!(buffer, "[{}] {doing}: {error}\n{then}", Level::Error.text()),
    });
}

/// Returns the line of an error, with its line end.
#[must_use]
pub fn line_of(level: Level, error: &Error) -> Vec<u8> {
    let mut line = Vec::new();
    append(&mut line, level, "", error, "");
    line
}

fn append(buffer: &mut Vec<u8>, level: Level, doing: &str, error: &Error, then: &str) {
    let parts = error.parts();
    if is_json() {
        append_record(buffer, level, &parts, doing, then);
    } else {
        let from = parts.plugin.as_deref().unwrap_or_default();
        render(buffer, level, from, format_args!("{}", parts.line()));
    }
}

fn append_record(buffer: &mut Vec<u8>, level: Level, parts: &Parts, doing: &str, then: &str) {
    let said = [doing, &parts.message].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join(": ");
    let message = [&said, then].into_iter().filter(|part| !part.is_empty()).collect::<Vec<_>>().join("; ");
    record::append(buffer, level, parts.plugin.as_deref().unwrap_or_default(), message, Facts::of(parts));
}

/// The fields of an error's record.
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
        let position = parts.position.as_ref();
        Self {
            file: position.map(|position| &*position.file),
            line: position.map(|position| position.line),
            word: position.map(crate::error::Position::word),
            help: (!parts.hints.is_empty()).then(|| parts.hints.join("\n")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::{Complaint, Position};

    #[test]
    fn a_record_has_plugin_place_word_and_help_and_is_one_line() {
        let text = "\tcache \"0\u{7}\"".to_owned();
        let position = Position { file: "a\"b".into(), line: 2, text, column: 7, width: 4 };
        let complaint = Complaint::new("no:\n\t\u{1}no").from_plugin("cache").at(position).hint("one\ntwo");
        let mut line = Vec::new();
        append_record(&mut line, Level::Error, &Error::from(complaint).parts(), "Restart failed", "so what");
        assert_eq!(line.iter().filter(|&&octet| octet == b'\n').count(), 1);
        let record: serde_json::Value = serde_json::from_slice(&line).expect("an object");
        for (field, wanted) in [
            ("level", "ERROR"),
            ("msg", "Restart failed: a\"b:2 - no:\n\t\u{1}no; so what"),
            ("plugin", "cache"),
            ("file", "a\"b"),
            ("word", "\"0\u{7}\""),
            ("help", "one\ntwo"),
        ] {
            assert_eq!(record[field], wanted, "{field}");
        }
        assert_eq!(record["line"], 2);
        let mut line = Vec::new();
        append_record(&mut line, Level::Fatal, &Error::Other("no".into()).parts(), "", "");
        let record: serde_json::Value = serde_json::from_slice(&line).expect("an object");
        assert_eq!(record.as_object().expect("an object").len(), 3, "time, level, msg: {record}");
    }
}
