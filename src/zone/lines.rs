//! The logical lines of a zone file (RFC 1035 section 5.1): comments and parentheses are gone, and
//! what stands in parentheses is on one line.

/// One logical line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Line {
    /// The number of its first line in the file, from 1.
    pub(super) number: usize,
    /// Whether it begins with white space: its record has the owner of the record before.
    pub(super) indented: bool,
    /// Its words, with quotes and escapes as they are. Octets that are not ASCII are escaped.
    pub(super) text: String,
}

/// Why the text is not a line, and the number of the line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Broken {
    pub(super) number: usize,
    pub(super) what: &'static str,
}

/// The lines of a text that are not empty.
pub(super) struct Lines<'a> {
    rest: &'a [u8],
    number: usize,
}

/// A line while it is read.
#[derive(Default)]
struct Reading {
    text: String,
    quoted: bool,
    depth: usize,
}

impl<'a> Lines<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { rest: text, number: 1 }
    }

    /// Reads up to the end of a logical line.
    fn read(&mut self) -> Result<Line, Broken> {
        let number = self.number;
        let indented = matches!(self.rest.first(), Some(b' ' | b'\t'));
        let mut line = Reading::default();
        while let Some((&octet, rest)) = self.rest.split_first() {
            self.rest = rest;
            match octet {
                b'\n' => {
                    self.number += 1;
                    if !line.continues() {
                        break;
                    }
                }
                b';' if !line.quoted => {
                    let end = memchr::memchr(b'\n', self.rest).unwrap_or(self.rest.len());
                    self.rest = &self.rest[end..];
                }
                // A backslash at the end of a line escapes nothing.
                b'\\' if !matches!(self.rest.first(), None | Some(b'\r' | b'\n')) => {
                    let (&escaped, rest) = self.rest.split_first().expect("there is an octet");
                    self.rest = rest;
                    line.push_escaped(escaped);
                }
                b'\\' | b'\r' => {}
                _ => line.push(octet).map_err(|what| Broken { number: self.number, what })?,
            }
        }
        line.end().map_err(|what| Broken { number, what })?;
        Ok(Line { number, indented, text: line.text })
    }
}

impl Iterator for Lines<'_> {
    type Item = Result<Line, Broken>;

    fn next(&mut self) -> Option<Self::Item> {
        while !self.rest.is_empty() {
            match self.read() {
                Ok(line) if line.text.trim_matches(' ').is_empty() => {}
                found => return Some(found),
            }
        }
        None
    }
}

impl Reading {
    /// Handles the end of a line in the file; returns whether the logical line goes on.
    fn continues(&mut self) -> bool {
        match (self.quoted, self.depth) {
            (true, _) => self.text.push_str(r"\010"),
            (_, 0) => return false,
            _ => self.text.push(' '),
        }
        true
    }

    fn push_escaped(&mut self, octet: u8) {
        if octet.is_ascii_graphic() || octet == b' ' {
            self.text.push('\\');
            self.text.push(char::from(octet));
        } else {
            self.push_number(octet);
        }
    }

    fn push(&mut self, octet: u8) -> Result<(), &'static str> {
        match octet {
            b'"' => {
                self.quoted = !self.quoted;
                self.text.push('"');
            }
            b'(' if !self.quoted => {
                self.depth += 1;
                self.text.push(' ');
            }
            b')' if !self.quoted => {
                self.depth = self.depth.checked_sub(1).ok_or("')' without '('")?;
                self.text.push(' ');
            }
            b'\t' => self.text.push(' '),
            b' '..=b'~' => self.text.push(char::from(octet)),
            _ => self.push_number(octet),
        }
        Ok(())
    }

    fn push_number(&mut self, octet: u8) {
        self.text.push_str(&format!("\\{octet:03}"));
    }

    fn end(&self) -> Result<(), &'static str> {
        match (self.quoted, self.depth) {
            (true, _) => Err("'\"' without an end"),
            (_, 0) => Ok(()),
            _ => Err("'(' without ')'"),
        }
    }
}

//----------- Words ----------------------------------------------------------

/// The words of a line: white space separates them, unless it is quoted or escaped.
#[derive(Debug, Clone)]
pub(super) struct Words<'a> {
    rest: &'a str,
}

impl<'a> Words<'a> {
    pub(super) fn new(text: &'a str) -> Self {
        Self { rest: text.trim_matches(' ') }
    }

    /// Returns all words that are left.
    pub(super) fn rest(&self) -> &'a str {
        self.rest
    }
}

impl<'a> Iterator for Words<'a> {
    type Item = &'a str;

    fn next(&mut self) -> Option<&'a str> {
        if self.rest.is_empty() {
            return None;
        }
        let (mut quoted, mut escaped) = (false, false);
        let is_end = |octet: u8| {
            match octet {
                _ if escaped => escaped = false,
                b'\\' => escaped = true,
                b'"' => quoted = !quoted,
                b' ' => return !quoted,
                _ => {}
            }
            false
        };
        let end = self.rest.bytes().position(is_end).unwrap_or(self.rest.len());
        let (word, rest) = self.rest.split_at(end);
        self.rest = rest.trim_start_matches(' ');
        Some(word)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<(usize, bool, String)> {
        let all = Lines::new(text.as_bytes()).map(|line| line.expect("a line"));
        all.map(|Line { number, indented, text }| (number, indented, text)).collect()
    }

    #[test]
    fn parentheses_comments_and_quotes() {
        let text =
            "@ SOA a b ( 1 ; serial\n 2\n) 3\n\n\t; nothing\n  A 1.2.3.4\r\nt TXT \"a;b (\n\" \\\" x\\;y \u{e9}\n";
        let wanted = [
            (1, false, "@ SOA a b   1   2   3".to_owned()),
            (6, true, "  A 1.2.3.4".to_owned()),
            (7, false, r#"t TXT "a;b (\010" \" x\;y \195\169"#.to_owned()),
        ];
        assert_eq!(lines(text), wanted);
        assert_eq!(
            Words::new(&wanted[2].2).collect::<Vec<_>>(),
            ["t", "TXT", r#""a;b (\010""#, r#"\""#, r"x\;y", r"\195\169"]
        );
    }

    #[test]
    fn what_has_no_end() {
        let broken =
            |text: &str| Lines::new(text.as_bytes()).find_map(Result::err).map(|broken| (broken.number, broken.what));
        assert_eq!(broken("a A 1.2.3.4\nb SOA ( 1\n2"), Some((2, "'(' without ')'")));
        assert_eq!(broken("a A 1.2.3.4 )"), Some((1, "')' without '('")));
        assert_eq!(broken("\na TXT \"b"), Some((2, "'\"' without an end")));
    }
}
