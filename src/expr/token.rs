//! Text to tokens.

use std::borrow::Cow;

use super::invalid::Invalid;

/// A token and where it begins, in octets.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Token<'t> {
    pub(super) kind: Kind,
    /// The token as it is written; for a text, its value.
    pub(super) text: Cow<'t, str>,
    pub(super) at: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Number,
    Text,
    Word,
    /// An operator, or one of the words that are operators.
    Operator,
    Bracket,
    End,
}

/// Words that are operators.
const OPERATORS: &[&str] =
    &["not", "in", "or", "and", "matches", "contains", "startsWith", "endsWith", "let", "if", "else"];

/// Words that are values.
const LITERALS: &[&str] = &["true", "false", "nil"];

/// Operators of punctuation, longer ones first.
const PUNCTUATION: &[&str] = &[
    "==", "!=", "<=", ">=", "&&", "||", "**", "??", "?.", "..", "::", ",", ";", "%", "+", "-", "^", "*", "/", "<", ">",
    "!", "|", ":", "?", ".", "#", "=", "&",
];

/// Whether a word has a meaning of its own in the language.
pub(super) fn is_word(word: &str) -> bool {
    OPERATORS.contains(&word) || LITERALS.contains(&word)
}

/// Splits an expression into its tokens; the last one is [`Kind::End`].
pub(super) fn tokens(text: &str) -> Result<Vec<Token<'_>>, Invalid> {
    let (mut tokens, mut at) = (Vec::new(), 0);
    loop {
        at = skip_blanks(text, at)?;
        let rest = &text[at..];
        let Some(first) = rest.chars().next() else {
            // An expression that ends too early is wrong at its last character, as in CoreDNS.
            let at = text.char_indices().next_back().map_or(0, |(at, _)| at);
            tokens.push(Token { kind: Kind::End, text: Cow::Borrowed("EOF"), at });
            return Ok(tokens);
        };
        let (kind, value, len) = match first {
            '\'' | '"' => quoted(text, at, first)?,
            '`' => raw(text, at)?,
            '0'..='9' => number(text, at)?,
            '.' if rest[1..].starts_with(|c: char| c.is_ascii_digit()) => number(text, at)?,
            c if is_letter(c) => word(rest),
            '(' | ')' | '[' | ']' | '{' | '}' => (Kind::Bracket, Cow::Borrowed(&rest[..1]), 1),
            c => match PUNCTUATION.iter().find(|known| rest.starts_with(**known)) {
                Some(known) => (Kind::Operator, Cow::Borrowed(&rest[..known.len()]), known.len()),
                None => return Err(Invalid::new(at, format!("unrecognized character: U+{:04X} '{c}'", u32::from(c)))),
            },
        };
        tokens.push(Token { kind, text: value, at });
        at += len;
    }
}

fn is_letter(c: char) -> bool {
    c.is_alphanumeric() || c == '_' || c == '$'
}

/// Returns the offset after white space and comments.
fn skip_blanks(text: &str, mut at: usize) -> Result<usize, Invalid> {
    loop {
        let rest = &text[at..];
        let trimmed = rest.trim_start();
        at += rest.len() - trimmed.len();
        at += if trimmed.starts_with("//") {
            trimmed.find('\n').unwrap_or(trimmed.len())
        } else if trimmed.starts_with("/*") {
            trimmed.find("*/").ok_or_else(|| Invalid::new(at, "unclosed comment"))? + 2
        } else {
            return Ok(at);
        };
    }
}

fn word(rest: &str) -> (Kind, Cow<'_, str>, usize) {
    let len = rest.find(|c| !is_letter(c)).unwrap_or(rest.len());
    let word = &rest[..len];
    let kind = if OPERATORS.contains(&word) { Kind::Operator } else { Kind::Word };
    (kind, Cow::Borrowed(word), len)
}

fn number(text: &str, at: usize) -> Result<(Kind, Cow<'_, str>, usize), Invalid> {
    let rest = &text[at..];
    let prefix = rest.get(..2).map(str::to_ascii_lowercase);
    let is_digit = |c: char| c.is_ascii_digit() || c == '_';
    let digits = |from: usize| from + rest[from..].find(|c| !is_digit(c)).unwrap_or(rest.len() - from);
    let mut len = match prefix.as_deref() {
        Some("0x" | "0o" | "0b") => {
            rest.find(|c: char| !c.is_ascii_hexdigit() && !"xXoO_".contains(c)).unwrap_or(rest.len())
        }
        _ => {
            let mut len = digits(0);
            // Two dots are a range.
            if rest[len..].starts_with('.') && !rest[len..].starts_with("..") {
                len = digits(len + 1);
            }
            if rest[len..].starts_with(['e', 'E']) {
                len += 1 + usize::from(rest[len + 1..].starts_with(['+', '-']));
                len = digits(len);
            }
            len
        }
    };
    if let Some(next) = rest[len..].chars().next().filter(|c| is_letter(*c)) {
        len += next.len_utf8();
        return Err(Invalid::new(at, format!("bad number syntax: \"{}\"", &rest[..len])));
    }
    Ok((Kind::Number, Cow::Borrowed(&rest[..len]), len))
}

fn raw(text: &str, at: usize) -> Result<(Kind, Cow<'_, str>, usize), Invalid> {
    let inner = &text[at + 1..];
    let end = inner.find('`').ok_or_else(|| Invalid::new(at, "literal not terminated"))?;
    Ok((Kind::Text, Cow::Borrowed(&inner[..end]), end + 2))
}

/// Reads a text in quotes, with Go's escapes.
fn quoted(text: &str, at: usize, quote: char) -> Result<(Kind, Cow<'_, str>, usize), Invalid> {
    let inner = &text[at + 1..];
    let (mut octets, mut chars) = (Vec::new(), inner.char_indices());
    while let Some((offset, c)) = chars.next() {
        match c {
            c if c == quote => {
                let value = match inner[..offset].contains('\\') {
                    false => Cow::Borrowed(&inner[..offset]),
                    // Octets may be written one by one, and together be invalid UTF-8.
                    true => Cow::Owned(String::from_utf8_lossy(&octets).into_owned()),
                };
                return Ok((Kind::Text, value, offset + 2));
            }
            '\\' => {
                let len = escape(&inner[offset + 1..], &mut octets)
                    .ok_or_else(|| Invalid::new(at + 1 + offset, "invalid char escape"))?;
                // Escapes are ASCII.
                chars.nth(len - 1);
            }
            c => octets.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Err(Invalid::new(at, "literal not terminated"))
}

/// Reads an escape after its backslash and appends its octets. Returns its length.
fn escape(rest: &str, octets: &mut Vec<u8>) -> Option<usize> {
    let first = rest.chars().next()?;
    let simple = match first {
        'a' => 7,
        'b' => 8,
        'f' => 12,
        'n' => b'\n',
        'r' => b'\r',
        't' => b'\t',
        'v' => 11,
        '\\' | '\'' | '"' | '`' | '?' => first as u8,
        'x' | 'X' => {
            octets.push(u8::from_str_radix(rest.get(1..3)?, 16).ok()?);
            return Some(3);
        }
        'u' | 'U' => {
            let len = if first == 'u' { 4 } else { 8 };
            let c = char::from_u32(u32::from_str_radix(rest.get(1..=len)?, 16).ok()?)?;
            octets.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
            return Some(1 + len);
        }
        '0'..='3' => {
            octets.push(u8::from_str_radix(rest.get(..3)?, 8).ok()?);
            return Some(3);
        }
        _ => return None,
    };
    octets.push(simple);
    Some(1)
}
