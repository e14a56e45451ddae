//! A word of a configuration file, and the file that it stands in.

use std::fmt;
use std::sync::Arc;

use crate::error::{Complaint, Position};

/// A file that was read: its name and its text, kept for the lines that complaints show.
#[derive(Debug)]
pub struct Source {
    /// Name as given for the Corefile itself, absolute path for imported files.
    pub name: Arc<str>,
    /// The whole text.
    pub text: String,
    /// Whether this file was imported by another one.
    pub imported: bool,
}

/// One word. Cheap to clone: text and source are shared.
#[derive(Debug, Clone)]
pub struct Word {
    /// What the word says: without its quotes, and with environment variables filled in.
    pub text: Arc<str>,
    /// Where it was read from.
    pub source: Arc<Source>,
    /// Line that it begins on, from 1.
    pub line: u32,
    /// Bytes of the source that it was written in, quotes included.
    pub span: (usize, usize),
}

impl Word {
    /// The word as a string.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// Name of the file that the word stands in.
    pub fn file(&self) -> &Arc<str> {
        &self.source.name
    }

    /// Whether the word stood in quotes.
    pub fn quoted(&self) -> bool {
        self.written().starts_with('"')
    }

    /// The word as it is written in the file, quotes and `{$NAME}` included.
    pub fn written(&self) -> &str {
        self.source.text.get(self.span.0..self.span.1).unwrap_or_default()
    }

    /// Whether `next` stands on the line that this word ends on. Words of different files never do.
    ///
    /// CoreDNS compares line numbers alone, so a word that an import put behind this one may have a
    /// smaller number than this one: then this is false, and so is [`Word::line_breaks_before`].
    pub fn same_line_as(&self, next: &Word) -> bool {
        self.same_file_as(next) && self.last_line() == next.line
    }

    /// Whether `next` begins a new line: it stands in another file, or further down.
    pub fn line_breaks_before(&self, next: &Word) -> bool {
        !self.same_file_as(next) || self.last_line() < next.line
    }

    fn same_file_as(&self, other: &Word) -> bool {
        Arc::ptr_eq(&self.source, &other.source)
    }

    /// The line that the word ends on, by the line breaks in its text (CoreDNS counts them after
    /// environment variables were filled in).
    fn last_line(&self) -> u32 {
        let breaks = self.text.bytes().filter(|&b| b == b'\n').count();
        self.line.saturating_add(u32::try_from(breaks).unwrap_or(u32::MAX))
    }

    /// The word's position, for a complaint.
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

    /// A complaint about this word.
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
