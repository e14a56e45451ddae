//! The error type of the crate, and Corefile errors, which show the line and mark the word.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use thiserror::Error;

/// The result of anything that may fail in Signpost.
pub type Result<T> = std::result::Result<T, Error>;

/// Any error outside of query processing.
#[derive(Debug, Error)]
pub enum Error {
    /// The Corefile is invalid.
    #[error(transparent)]
    Corefile(Box<Complaint>),
    /// The operating system refused something.
    #[error("{what}: {}", words(source))]
    Io {
        /// What was tried, for example `open /etc/coredns/Corefile`.
        what: String,
        /// What the system said.
        source: io::Error,
    },
    /// Any other error, as a sentence.
    #[error("{0}")]
    Other(String),
}

/// Returns what the system says, in lower case and without its number: `connection refused`. If too
/// many files are open, it adds the limit and how to raise it, because the file that could not be
/// opened is not the cause.
#[must_use]
pub fn words(error: &io::Error) -> String {
    let text = error.to_string();
    let said = text.split(" (os error").next().unwrap_or_default().to_lowercase();
    if !is_out_of_files(error) {
        return said;
    }
    match FILE_LIMIT.load(Ordering::Relaxed) {
        0 => format!("{said} ({RAISED_BY})"),
        limit => format!("{said} (the process may have {limit}: {RAISED_BY})"),
    }
}

/// Returns whether the process or the machine has too many files open.
#[must_use]
pub fn is_out_of_files(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(EMFILE | ENFILE))
}

/// Tells [`words`] how many files the process may have open.
pub fn set_file_limit(limit: u64) {
    FILE_LIMIT.store(limit, Ordering::Relaxed);
}

/// How many files the process may have open; 0 if unknown. It is read at the start, because `/proc`
/// cannot be read once no file can be opened.
static FILE_LIMIT: AtomicU64 = AtomicU64::new(0);

const RAISED_BY: &str = "`ulimit -n`, LimitNOFILE in systemd";

/// The errors for too many open files, of the process and of the machine (Linux, all
/// architectures).
const EMFILE: i32 = 24;
const ENFILE: i32 = 23;

impl From<Complaint> for Error {
    fn from(complaint: Complaint) -> Self {
        Error::Corefile(Box::new(complaint))
    }
}

// ------------------------------------------------------------------------------------------------

/// What is wrong with a Corefile, where, and what would be right.
///
/// The first line of its display has CoreDNS's form, `plugin/NAME: FILE:LINE - MESSAGE`, so that
/// scripts that look for it still work. Then follow the line itself with the word marked, and one
/// `help:` line for each hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The source of the error, shown before the position: `plugin/cache`, or a stage such as
    /// `error inspecting server blocks`.
    pub context: Option<String>,
    /// The place of the error, if it has one.
    pub position: Option<Position>,
    /// The message, without position and hints.
    pub message: String,
    /// What would be right, one hint each.
    pub hints: Vec<String>,
}

/// The position of a word in a configuration file, for error messages.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Position {
    /// The file name as the user gave it; the absolute path for imported files.
    pub file: Arc<str>,
    /// Line, from 1.
    pub line: u32,
    /// The text of that line.
    pub text: String,
    /// Characters of `text` before the word.
    pub column: usize,
    /// Characters of the word that stand on this line.
    pub width: usize,
}

impl Complaint {
    /// Makes an error without a position. Lines of `message` that begin with `help: ` become hints.
    pub fn new(message: impl Into<String>) -> Self {
        let message: String = message.into();
        let mut parts = message.split("\nhelp: ");
        let first = parts.next().unwrap_or_default().to_owned();
        Complaint { context: None, position: None, message: first, hints: parts.map(str::to_owned).collect() }
    }

    /// Makes another error of the same plugin about the same word.
    #[must_use]
    pub fn about(&self, message: impl Into<String>) -> Self {
        Complaint { context: self.context.clone(), position: self.position.clone(), ..Complaint::new(message) }
    }

    /// Sets the source.
    #[must_use]
    pub fn from_context(mut self, context: impl Into<String>) -> Self {
        self.context = Some(context.into());
        self
    }

    /// Sets a plugin as the source.
    #[must_use]
    pub fn from_plugin(self, name: &str) -> Self {
        self.from_context(of_plugin(name))
    }

    /// Sets the position.
    #[must_use]
    pub fn at(mut self, position: Position) -> Self {
        self.position = Some(position);
        self
    }

    /// Adds a hint. Empty hints are ignored.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        let hint = hint.into();
        if !hint.is_empty() {
            self.hints.push(hint);
        }
        self
    }
}

impl std::error::Error for Complaint {}

// ------------------------------------------------------------------------------------------------

/// What stands in front of a plugin's name in messages and log lines.
pub const OF_PLUGIN: &str = "plugin/";

/// Returns a plugin as the source of a message: `plugin/NAME`.
#[must_use]
pub fn of_plugin(name: &str) -> String {
    format!("{OF_PLUGIN}{name}")
}

/// An error in parts, for a log line or a record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Parts {
    /// The plugin that reports it, without `plugin/`.
    pub plugin: Option<String>,
    /// The message, with `FILE:LINE - ` in front if there is a position.
    pub message: String,
    /// The position.
    pub position: Option<Position>,
    /// The hints.
    pub hints: Vec<String>,
}

impl Error {
    /// Returns the error in parts.
    #[must_use]
    pub fn parts(&self) -> Parts {
        let complaint = match self {
            Error::Corefile(complaint) => (**complaint).clone(),
            other => Complaint::new(other.to_string()),
        };
        let text = complaint.headline();
        let split = text.strip_prefix(OF_PLUGIN).and_then(|rest| rest.split_once(": "));
        let (plugin, message) = match split {
            Some((plugin, message)) => (Some(plugin.to_owned()), message.to_owned()),
            None => (None, text),
        };
        Parts { plugin, message, position: complaint.position, hints: complaint.hints }
    }
}

impl Parts {
    /// Returns message and hints in one line.
    #[must_use]
    pub fn line(&self) -> String {
        let parts = std::iter::once(&self.message).chain(&self.hints).map(String::as_str);
        parts.collect::<Vec<_>>().join("; ").replace('\n', "; ")
    }
}

impl Complaint {
    /// Returns the first line: source, position and message.
    fn headline(&self) -> String {
        let context = self.context.iter().map(|context| format!("{context}: "));
        let position = self.position.iter().map(|position| format!("{}:{} - ", position.file, position.line));
        context.chain(position).collect::<String>() + &self.message
    }
}

impl fmt::Display for Complaint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.headline())?;
        if let Some(position) = &self.position {
            position.show(f)?;
        }
        for hint in &self.hints {
            write!(f, "\nhelp: {hint}")?;
        }
        Ok(())
    }
}

// ------------------------------------------------------------------------------------------------

impl Position {
    /// Returns the part of the word that is on its first line.
    #[must_use]
    pub fn word(&self) -> String {
        self.text.chars().skip(self.column).take(self.width).collect()
    }

    /// Writes the line and, below it, a row of carets under the word.
    fn show(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.text.trim().is_empty() {
            return Ok(());
        }
        let line = self.line.to_string();
        let (before, word, after) = self.window();
        let caret = "^".repeat(word.chars().count().max(1));
        let indent: String = before.chars().map(|c| if c == '\t' { '\t' } else { ' ' }).collect();
        write!(f, "\n  {line} | {before}{word}{after}")?;
        write!(f, "\n  {} | {indent}{caret}", " ".repeat(line.len()))
    }

    /// Returns the line in three parts, cut to fit a terminal and without control characters.
    fn window(&self) -> (String, String, String) {
        let clean = |c: char| {
            if c.is_control() && c != '\t' { '\u{fffd}' } else { c }
        };
        let mut rest = self.text.chars().map(clean);
        let before: Vec<char> = rest.by_ref().take(self.column).collect();
        let word: Vec<char> = rest.by_ref().take(self.width).collect();
        let after: Vec<char> = rest.collect();
        let start: String = match before.len().checked_sub(MOST_BEFORE) {
            Some(cut) if cut > 0 => format!("...{}", String::from_iter(&before[cut..])),
            _ => before.into_iter().collect(),
        };
        let shorten = |part: Vec<char>, most: usize| -> String {
            if part.len() > most {
                format!("{}...", String::from_iter(&part[..most]))
            } else {
                part.into_iter().collect()
            }
        };
        (start, shorten(word, MOST_OF_WORD), shorten(after, MOST_AFTER).trim_end().to_owned())
    }
}

/// How many characters are shown before the marked word, of the word, and after it.
const MOST_BEFORE: usize = 80;
const MOST_OF_WORD: usize = 80;
const MOST_AFTER: usize = 40;

// ------------------------------------------------------------------------------------------------

#[cfg(test)]
mod tests {
    use super::*;

    fn position(text: &str, column: usize, width: usize) -> Position {
        Position { file: "Corefile".into(), line: 3, text: text.to_owned(), column, width }
    }

    #[test]
    fn a_complaint_shows_the_line_and_marks_the_word() {
        let complaint = Complaint::new("Error during parsing: unknown property 'pod'")
            .from_plugin("kubernetes")
            .at(position("\tpod insecure", 1, 3))
            .hint("did you mean 'pods'?");
        assert_eq!(
            complaint.to_string(),
            "plugin/kubernetes: Corefile:3 - Error during parsing: unknown property 'pod'\n  3 | \tpod insecure\n    | \t^^^\nhelp: did you mean 'pods'?"
        );
    }

    #[test]
    fn a_complaint_without_a_place_is_one_line() {
        assert_eq!(Complaint::new("address 65536: invalid port").to_string(), "address 65536: invalid port");
    }

    #[test]
    fn an_error_comes_apart_into_plugin_message_and_hints() {
        let complaint = Complaint::new("no").from_plugin("cache").at(position("  cache 0", 8, 1)).hint("more");
        let parts = Error::from(complaint).parts();
        assert_eq!((parts.plugin.as_deref(), &*parts.message), (Some("cache"), "Corefile:3 - no"));
        assert_eq!(
            (parts.position.map(|position| position.word()), parts.hints),
            (Some("0".into()), vec!["more".into()])
        );
        let parts = Error::Other("plugin/tls: open a: no\nhelp: one\nhelp: two".into()).parts();
        assert_eq!((parts.plugin.as_deref(), &*parts.line()), (Some("tls"), "open a: no; one; two"));
        let parts = Error::Other("address 65536: invalid port".into()).parts();
        assert_eq!((parts.plugin, &*parts.message), (None, "address 65536: invalid port"));
    }

    #[test]
    fn too_many_open_files_names_the_limit_and_where_it_is_set() {
        set_file_limit(64);
        let said = words(&io::Error::from_raw_os_error(EMFILE));
        assert_eq!(said, "too many open files (the process may have 64: `ulimit -n`, LimitNOFILE in systemd)");
        assert_eq!(words(&io::Error::from_raw_os_error(2)), "no such file or directory");
    }

    #[test]
    fn long_lines_and_control_characters_do_not_reach_the_terminal() {
        let text = format!("{}bad\u{1b}[31m{}", "x".repeat(500), "y".repeat(500));
        let shown = Complaint::new("m").at(position(&text, 500, 3)).to_string();
        assert!(shown.lines().all(|line| line.chars().count() < 160), "{shown}");
        assert!(!shown.contains('\u{1b}'), "{shown}");
    }
}
