//! Reads the words of one directive as CoreDNS's dispenser does, so that each plugin accepts and
//! refuses the same words as in CoreDNS.
//!
//! ```text
//! while cursor.next_occurrence() {
//!     let zones = cursor.args();
//!     while cursor.next_option() {
//!         let (option, values) = (cursor.word(), cursor.args());
//!     }
//! }
//! ```
//!
//! Two of its rules are odd. They are kept because they decide which Corefiles are valid:
//! - A `{` at the end of an option's line does not begin a block of that option. Its lines are read
//!   as further options, its `}` ends the reading, and what follows counts as another occurrence of
//!   the directive: [`Cursor::next_occurrence`] then stops at a word that is not the directive's
//!   name.
//! - [`Cursor::next_arg`] returns a `{` as an argument; [`Cursor::args`] stops before it.

use std::ops::RangeBounds;

use crate::error::{Complaint, Error, Result};

use super::findings::{Findings, Severity};
use super::value::{self, Span};
use super::word::Word;
use super::{Directive, suggest};

/// A place in the words of one directive.
#[derive(Debug, Clone)]
pub struct Cursor<'a> {
    plugin: &'a str,
    words: &'a [Word],
    /// Index of the current word; `None` before the first [`Cursor::next_occurrence`].
    at: Option<usize>,
    /// Number of open blocks.
    open: usize,
    /// Index of the first occurrence of the directive, if it was reached.
    first: Option<usize>,
    /// Receives warnings and notes.
    findings: Findings,
}

impl<'a> Cursor<'a> {
    /// Returns a cursor before the first word.
    pub fn new(directive: &'a Directive) -> Self {
        let findings = Findings::default();
        Cursor { plugin: &directive.name, words: &directive.words, at: None, open: 0, first: None, findings }
    }

    /// Sends warnings and notes to `findings`.
    #[must_use]
    pub fn reporting(self, findings: &Findings) -> Self {
        Cursor { findings: findings.clone(), ..self }
    }

    /// Returns the name of the directive.
    pub fn plugin(&self) -> &'a str {
        self.plugin
    }

    /// Moves to the next occurrence of the directive: to the next word, whatever it is (`Next` in
    /// CoreDNS).
    pub fn next_occurrence(&mut self) -> bool {
        let moved = self.step();
        if moved && self.first.is_none() {
            self.first = self.at;
        }
        moved
    }

    /// Like [`Cursor::next_occurrence`], for a plugin that may occur once in a server block.
    ///
    /// # Errors
    /// There is a second occurrence.
    pub fn only_occurrence(&mut self) -> Result<bool> {
        let is_second = self.first.is_some();
        match self.next_occurrence() {
            true if is_second => Err(self.once_error()),
            moved => Ok(moved),
        }
    }

    /// Moves to the next word and returns it, if it is on the same line; also a `{` (`NextArg` in
    /// CoreDNS).
    pub fn next_arg(&mut self) -> Option<&'a Word> {
        let on_line = match self.at {
            None => true,
            Some(at) => self.words.get(at + 1).is_some_and(|next| self.words[at].same_line_as(next)),
        };
        (on_line && self.step()).then(|| self.word())
    }

    /// Like [`Cursor::next_arg`].
    ///
    /// # Errors
    /// [`Cursor::arg_err`] if the line has no more words.
    pub fn expect_arg(&mut self) -> Result<&'a Word> {
        self.next_arg().ok_or_else(|| self.arg_err())
    }

    /// Refuses a further argument, also a `{`.
    ///
    /// # Errors
    /// [`Cursor::arg_err`] about that argument.
    pub fn expect_no_arg(&mut self) -> Result<()> {
        if self.next_arg().is_some() { Err(self.arg_err()) } else { Ok(()) }
    }

    /// Returns the remaining arguments of the line, up to a `{` (`RemainingArgs` in CoreDNS).
    pub fn args(&mut self) -> Vec<&'a Word> {
        let mut args = Vec::new();
        loop {
            let before = self.at;
            match self.next_arg() {
                Some(word) if *word.text == *"{" => {
                    self.at = before;
                    return args;
                }
                Some(word) => args.push(word),
                None => return args,
            }
        }
    }

    /// The only argument on the line.
    ///
    /// # Errors
    /// [`Cursor::arg_err`] if there is none, or more than one.
    pub fn one_arg(&mut self) -> Result<&'a Word> {
        let [word] = self.args()[..] else { return Err(self.arg_err()) };
        Ok(word)
    }

    /// The arguments that are left on the line.
    ///
    /// # Errors
    /// [`Cursor::arg_err`] if there are fewer or more than `count` allows.
    pub fn args_of(&mut self, count: impl RangeBounds<usize>) -> Result<Vec<&'a Word>> {
        let args = self.args();
        if count.contains(&args.len()) { Ok(args) } else { Err(self.arg_err()) }
    }

    /// Moves to the name of the next option in the directive's block. Returns false at its end, or
    /// if there is no block (`NextBlock` in CoreDNS).
    pub fn next_option(&mut self) -> bool {
        let before = self.at;
        if self.open > 0 {
            if !self.step() {
                return false;
            }
            match self.word().as_str() {
                "{" => self.at = before,
                "}" => {
                    self.open -= 1;
                    return false;
                }
                _ => return true,
            }
        }
        let before = self.at;
        match self.next_arg() {
            Some(word) if *word.text == *"{" => {}
            Some(_) => {
                self.at = before;
                return false;
            }
            None => return false,
        }
        if !self.step() || *self.word().text == *"}" {
            return false;
        }
        self.open += 1;
        true
    }

    /// Returns the current word; before the first move, the directive's name.
    pub fn word(&self) -> &'a Word {
        &self.words[self.at.unwrap_or(0)]
    }

    fn step(&mut self) -> bool {
        let next = self.at.map_or(0, |at| at + 1);
        let is_there = next < self.words.len();
        if is_there {
            self.at = Some(next);
        }
        is_there
    }
}

// ------------------------------------------------------------------------------------------------

/// Complaints about the current word.
impl<'a> Cursor<'a> {
    /// The line has too many or too few arguments.
    pub fn arg_err(&self) -> Error {
        let word = self.word();
        if *word.text == *"{" {
            let hint = format!("no block is expected here; {} takes none", self.subject());
            return self
                .complain(word, "Error during parsing: Unexpected token '{', expecting argument")
                .hint(hint)
                .into();
        }
        let last = !self.words.get(self.at.unwrap_or(0) + 1).is_some_and(|next| word.same_line_as(next));
        let message = format!("Error during parsing: Wrong argument count or unexpected line ending after '{word}'");
        let hint = if last && *word.text == *self.line_start().text {
            format!("'{word}' needs an argument")
        } else {
            String::new()
        };
        self.complain(word, message).hint(hint).into()
    }

    /// Another word is expected in place of the current one.
    pub fn syntax_err(&self, expected: &str) -> Error {
        let word = self.word();
        self.complain(word, format!("Syntax error: Unexpected token '{word}', expecting '{expected}'")).into()
    }

    /// Any other complaint about the current word.
    pub fn error(&self, message: impl AsRef<str>) -> Error {
        self.error_at(self.word(), message)
    }

    /// Any other complaint about `word`.
    pub fn error_at(&self, word: &Word, message: impl AsRef<str>) -> Error {
        self.complain(word, format!("Error during parsing: {}", message.as_ref())).into()
    }

    /// A word is not one of the `known` ones: the plugin's own message and a "did you mean".
    pub fn unknown(&self, word: &Word, message: impl Into<String>, known: &[&str]) -> Error {
        let hint = match (suggest::nearest(&word.text, known.iter().copied()), known) {
            _ if *word.text == *"{" => {
                "a block begins at the end of the line of the directive, not on a line of its own".to_owned()
            }
            (Some(near), _) => format!("did you mean '{near}'?"),
            (None, []) => String::new(),
            (None, known) => format!("{} knows {}", self.plugin, known.join(", ")),
        };
        self.complain(word, message).hint(hint).into()
    }

    /// The second occurrence of a plugin that may occur once in a block.
    pub(super) fn once_error(&self) -> Error {
        let word = self.word();
        let hint = match self.first.map(|at| &self.words[at]) {
            _ if *word.text != *self.words[0].text => {
                let name = self.plugin;
                format!(
                    "an option of {name} has a block of its own; its '}}' ended the block of {name}, and '{word}' stands outside"
                )
            }
            Some(first) => {
                format!("the first one stands at {}:{}; one server block takes one", first.file(), first.line)
            }
            None => String::new(),
        };
        self.complain(word, "this plugin can only be used once per Server Block").hint(hint).into()
    }

    /// Returns a complaint with the plugin's name and a position; the caller may add hints.
    pub fn complain(&self, word: &Word, message: impl Into<String>) -> Complaint {
        word.complain(message).from_plugin(self.plugin)
    }

    /// Warns that a word is accepted but probably does not have the intended effect. The start logs
    /// warnings, and `-validate` prints them.
    pub fn warn(&self, word: &Word, message: impl Into<String>) {
        self.report(Severity::Warning, self.complain(word, message));
    }

    /// Notes something about a word that is right.
    pub fn note(&self, word: &Word, message: impl Into<String>) {
        self.report(Severity::Note, self.complain(word, message));
    }

    /// Reports anything else: a complaint with hints, or an error after which reading continues, so
    /// that the next one is found too. The Corefile is refused if a finding is an error.
    pub fn report(&self, severity: Severity, what: impl Into<Error>) {
        self.findings.add(severity, what);
    }

    /// Returns what the current line is about: an option, or the directive.
    fn subject(&self) -> String {
        format!("'{}'", self.line_start())
    }

    /// Returns the first word of the current line.
    fn line_start(&self) -> &'a Word {
        let at = self.at.unwrap_or(0);
        let breaks = (1..=at).rev().find(|&at| self.words[at - 1].line_breaks_before(&self.words[at]));
        &self.words[breaks.unwrap_or(0)]
    }
}

// ------------------------------------------------------------------------------------------------

/// Values. Each method complains about the word that it reads, with Go's message.
impl Cursor<'_> {
    /// Reads a duration such as `5s`, `1h30m` or `-1.5ms`; it may be negative.
    ///
    /// # Errors
    /// The unit or the number is missing, or the unit is unknown.
    pub fn duration(&self, word: &Word) -> Result<Span> {
        value::duration(&word.text).map_err(|wrong| {
            let hint = if value::integer(&word.text).is_ok() {
                format!("write a unit: {word}s for seconds, {word}m for minutes")
            } else {
                DURATION.to_owned()
            };
            self.refused(word, &wrong, &hint)
        })
    }

    /// Reads a whole number with an optional sign.
    ///
    /// # Errors
    /// Anything else.
    pub fn integer(&self, word: &Word) -> Result<i64> {
        let hint = if value::duration(&word.text).is_ok() {
            "this is a plain number, without a unit"
        } else {
            "this is a whole number"
        };
        value::integer(&word.text).map_err(|wrong| self.refused(word, &wrong, hint))
    }

    /// Reads a whole number without sign of at most `bits` bits.
    ///
    /// # Errors
    /// Anything else.
    pub fn unsigned(&self, word: &Word, bits: u32) -> Result<u64> {
        let most = if bits < 64 { (1 << bits) - 1 } else { u64::MAX };
        let hint = format!("this is a whole number from 0 to {most}");
        value::unsigned(&word.text, bits).map_err(|wrong| self.refused(word, &wrong, &hint))
    }

    /// Reads a number with a fraction.
    ///
    /// # Errors
    /// Anything else.
    pub fn float(&self, word: &Word) -> Result<f64> {
        value::float(&word.text).map_err(|wrong| self.refused(word, &wrong, "this is a number"))
    }

    /// Reads the `host:port` that a page listens on: an empty host means all addresses, and an
    /// empty port becomes 0, any free one. A host name gets a note only; it is looked up at the
    /// start.
    ///
    /// # Errors
    /// The port is missing or invalid, an IPv6 address lacks its brackets, or the host name is
    /// invalid.
    pub fn page_address(&self, word: &Word) -> Result<String> {
        let hint = match &*word.text {
            text if text.parse::<u16>().is_ok() => {
                format!("write ':{text}' to listen on that port of all addresses")
            }
            text if text.parse::<std::net::Ipv6Addr>().is_ok() => format!("write '[{text}]:PORT'"),
            text => format!("write '{text}:PORT'"),
        };
        let split = value::host_port(&word.text).map_err(|wrong| self.refused(word, &wrong, &hint));
        let (host, port) = split?;
        let wrong = || {
            let hint = "the port is a number from 0 to 65535; without one any free port is taken";
            self.refused(word, &format!("address {word}: invalid port {}", value::quote(port)), hint)
        };
        let port = value::port(port).ok_or_else(wrong)?;
        if !(host.is_empty() || value::is_host(host)) {
            let message = format!("address {word}: {} is neither an address nor a host name", value::quote(host));
            return Err(self.refused(word, &message, "without a host, as in ':8080', it is all addresses"));
        }
        if value::is_name(host) && host != "localhost" {
            self.note(word, format!("the host name {host} is looked up when the server starts"));
        }
        Ok(if host.contains(':') { format!("[{host}]:{port}") } else { format!("{host}:{port}") })
    }

    fn refused(&self, word: &Word, wrong: &str, hint: &str) -> Error {
        self.complain(word, format!("Error during parsing: {wrong}")).hint(hint).into()
    }
}

const DURATION: &str = "a duration is a number with a unit: 300ms, 5s, 1h30m";

#[cfg(test)]
#[path = "cursor_tests.rs"]
mod tests;
