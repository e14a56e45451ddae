//! A word of a configuration file, and its file.

use std::fmt;
use std::sync::Arc;

use crate::error::{Complaint, Position};

/// A file that was read: its name and its text, which complaints quote.
#[derive(Debug)]
pub struct Source {
    /// The name as given for the Corefile itself, the absolute path for imported files.
    pub name: Arc<str>,
    /// The whole text.
    pub text: String,
    /// Whether this file was imported by another one.
    pub imported: bool,
}

/// One word. Cheap to clone: text and source are shared.
#[derive(Debug, Clone)]
pub struct Word {
    /// Its text: without quotes, and with environment variables filled in.
    pub text: Arc<str>,
    /// Where it was read from.
    pub source: Arc<Source>,
    /// The line where it begins, from 1.
    pub line: u32,
    /// Its range in the source in bytes, quotes included.
    pub span: (usize, usize),
}

impl Word {
    /// Returns the word as a string.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Returns the name of the word's file.
    pub fn file(&self) -> &Arc<str> {
        &self.source.name
    }

    /// Returns whether the word was in quotes.
    pub fn quoted(&self) -> bool {
        self.written().starts_with('"')
    }

    /// Returns the word as written in the file, quotes and `{$NAME}` included.
    pub fn written(&self) -> &str {
        self.source.text.get(self.span.0..self.span.1).unwrap_or_default()
    }

    /// Returns whether `next` is on the line where this word ends. Words of different files never
    /// are.
    ///
    /// CoreDNS compares line numbers only, so a word that an import puts after this one may have a
    /// smaller number: then this is false, and so is [`Word::line_breaks_before`].
    pub fn same_line_as(&self, next: &Word) -> bool {
        self.same_file_as(next) && self.last_line() == next.line
    }

    /// Returns whether `next` begins a new line: it is in another file, or further down.
    pub fn line_breaks_before(&self, next: &Word) -> bool {
        !self.same_file_as(next) || self.last_line() < next.line
    }

    fn same_file_as(&self, other: &Word) -> bool {
        Arc::ptr_eq(&self.source, &other.source)
    }

    /// Returns the line where the word ends, by the line breaks in its text (CoreDNS counts them
    /// after environment variables are filled in).
    fn last_line(&self) -> u32 {
        let breaks = self.text.bytes().filter(|&b| b == b'\n').count();
        self.line.saturating_add(u32::try_from(breaks).unwrap_or(u32::MAX))
    }

    /// Returns the word's position, for a complaint.
    pub fn position(&self) -> Position {
        let text = &self.source.text;
        let start = text[..self.span.0].rfind('\n').map_or(0, |at| at + 1);
        let end = text[self.span.0..].find('\n').map_or(text.len(), |at| self.span.0 + at);
        let on_this_line = self.span.1.min(end);
        Position {
            file: self.source.name.clone(),
            line: self.line,
            text: text[start..end].trim_end_matches('\r').to_owned(),
            column: text[start..self.span.0].chars().count(),
            width: text[self.span.0..on_this_line].chars().count(),
        }
    }

    /// Returns a complaint about this word.
    pub(crate) fn complain(&self, message: impl Into<String>) -> Complaint {
        let complaint = Complaint::new(message).at(self.position());
        let written = self.written();
        if *written != *self.text && (written.contains("{$") || written.contains("{%")) {
            let text = &self.text;
            return complaint.hint(format!("after the environment was filled in, the word is '{text}'"));
        }
        complaint
    }
}

impl fmt::Display for Word {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}
