//! Texts with `{{ ... }}` in them: the part of Go's text/template that Corefiles use, read once and
//! filled in for each question.

use std::slice::Iter;

use super::expression::{Expression, Subject};
use super::read;

/// Maximum number of `if` and parentheses: they nest, and parsing must not exhaust the stack.
const MAX_NESTED: usize = 100;

/// A parsed text.
#[derive(Debug, Clone)]
pub(super) struct Text {
    parts: Vec<Part>,
    /// The text as it stands in the Corefile.
    pub(super) source: String,
}

#[derive(Debug, Clone)]
enum Part {
    /// Literal text.
    Plain(String),
    /// The value of an expression.
    Shown(Expression),
    /// One of two texts, by the value of an expression.
    If(Expression, Vec<Part>, Vec<Part>),
}

/// The contents of a pair of braces.
enum Action<'a> {
    If(&'a str),
    ElseIf(&'a str),
    Else,
    End,
    Shown(&'a str),
}

impl Text {
    /// Reads a text.
    ///
    /// # Errors
    /// Says what is wrong with the text, or which word of Go's is not supported.
    pub(super) fn read(source: &str) -> Result<Self, String> {
        let pieces = pieces(source)?;
        let nests = |piece: &Piece<'_>| match piece {
            Piece::Plain(_) => 0,
            Piece::Inside(text) => text.matches("if").count() + text.matches('(').count(),
        };
        if pieces.iter().map(nests).sum::<usize>() > MAX_NESTED {
            return Err(format!("more than {MAX_NESTED} if and parentheses"));
        }
        let mut rest = pieces.iter();
        let (parts, end) = block(&mut rest)?;
        match end {
            None => Ok(Self { parts, source: source.to_owned() }),
            Some(Action::End) => Err("unexpected {{end}}".to_owned()),
            Some(_) => Err("unexpected {{else}}".to_owned()),
        }
    }

    /// Returns the text for one question.
    ///
    /// # Errors
    /// Says which expression has no value for this question.
    pub(super) fn fill(&self, subject: &Subject<'_>) -> Result<String, String> {
        let mut out = String::with_capacity(self.source.len() + 64);
        fill(&self.parts, subject, &mut out)?;
        Ok(out)
    }
}

fn fill(parts: &[Part], subject: &Subject<'_>, out: &mut String) -> Result<(), String> {
    for part in parts {
        match part {
            Part::Plain(text) => out.push_str(text),
            Part::Shown(expression) => out.push_str(&expression.value(subject)?.shown()),
            Part::If(test, then, otherwise) => {
                let chosen = if test.value(subject)?.is_true() { then } else { otherwise };
                fill(chosen, subject, out)?;
            }
        }
    }
    Ok(())
}

//----------- Reading --------------------------------------------------------

/// A plain part, or the contents of braces.
enum Piece<'a> {
    Plain(&'a str),
    Inside(&'a str),
}

/// Splits a text at its braces. `{{- ` and ` -}}` remove the white space next to them.
fn pieces(source: &str) -> Result<Vec<Piece<'_>>, String> {
    let (mut pieces, mut rest, mut trims) = (Vec::new(), source, false);
    loop {
        let Some(start) = rest.find("{{") else {
            pieces.push(Piece::Plain(if trims { rest.trim_start() } else { rest }));
            return Ok(pieces);
        };
        let mut plain = &rest[..start];
        let mut inside = &rest[start + 2..];
        if trims {
            plain = plain.trim_start();
        }
        if inside.starts_with('-') && inside[1..].starts_with(char::is_whitespace) {
            plain = plain.trim_end();
            inside = &inside[1..];
        }
        pieces.push(Piece::Plain(plain));
        let is_comment = inside.trim_start().starts_with("/*");
        let end = if is_comment {
            inside.find("*/").and_then(|at| Some(at + inside[at..].find("}}")?))
        } else {
            read::end(inside)
        };
        let end = end.ok_or("unclosed action: {{ without }}")?;
        (inside, rest) = (&inside[..end], &inside[end + 2..]);
        trims = inside.ends_with('-') && inside[..inside.len() - 1].ends_with(char::is_whitespace);
        if trims {
            inside = &inside[..inside.len() - 1];
        }
        if !is_comment {
            pieces.push(Piece::Inside(inside.trim()));
        }
    }
}

/// Reads up to the end of the block.
fn block<'a>(rest: &mut Iter<'_, Piece<'a>>) -> Result<(Vec<Part>, Option<Action<'a>>), String> {
    let mut parts = Vec::new();
    while let Some(piece) = rest.next() {
        match piece {
            Piece::Plain("") => {}
            Piece::Plain(text) => parts.push(Part::Plain((*text).to_owned())),
            Piece::Inside(text) => match action(text)? {
                Action::Shown(text) => parts.push(Part::Shown(Expression::read(text)?)),
                Action::If(test) => parts.push(branches(test, rest)?),
                end => return Ok((parts, Some(end))),
            },
        }
    }
    Ok((parts, None))
}

/// Reads the rest of an `if` after its test, up to its `end`.
fn branches(test: &str, rest: &mut Iter<'_, Piece<'_>>) -> Result<Part, String> {
    const OPEN: &str = "{{if}} without {{end}}";
    let test = Expression::read(test)?;
    let (then, end) = block(rest)?;
    let otherwise = match end {
        Some(Action::End) => Vec::new(),
        Some(Action::ElseIf(test)) => vec![branches(test, rest)?],
        Some(Action::Else) => match block(rest)? {
            (otherwise, Some(Action::End)) => otherwise,
            (_, None) => return Err(OPEN.to_owned()),
            _ => return Err("more than one {{else}}".to_owned()),
        },
        _ => return Err(OPEN.to_owned()),
    };
    Ok(Part::If(test, then, otherwise))
}

fn action(text: &str) -> Result<Action<'_>, String> {
    let (first, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
    let rest = rest.trim();
    Ok(match first {
        "if" => Action::If(rest),
        "else" if rest.is_empty() => Action::Else,
        "else" => match action(rest)? {
            Action::If(test) => Action::ElseIf(test),
            _ => return Err(format!("unexpected <{rest}> behind else")),
        },
        "end" if rest.is_empty() => Action::End,
        "range" | "with" | "define" | "template" | "block" | "break" | "continue" => {
            return Err(format!("{{{{{first}}}}} is not served yet: if, else and end are"));
        }
        _ => Action::Shown(text),
    })
}
