//! Reads expressions of texts.

use std::borrow::Cow;

use super::expression::{Expression, FIELDS, FUNCTIONS, Function, Value};
use super::format;

/// Returns where the braces close that were opened before `text`.
pub(super) fn end(text: &str) -> Option<usize> {
    let (mut quote, mut escaped) = (None, false);
    for (at, c) in text.char_indices() {
        match quote {
            None if text[at..].starts_with("}}") => return Some(at),
            None if matches!(c, '"' | '`') => quote = Some(c),
            None => {}
            Some(_) if escaped => escaped = false,
            Some('"') if c == '\\' => escaped = true,
            Some(open) if open == c => quote = None,
            Some(_) => {}
        }
    }
    None
}

impl Expression {
    /// Reads the contents of the braces.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let words = words(text)?;
        let (expression, rest) = pipeline(&words)?;
        match rest {
            [] => Ok(expression),
            [word, ..] => Err(format!("unexpected <{word}>")),
        }
    }
}

/// Splits an expression into words, quoted texts and single punctuation characters.
fn words(text: &str) -> Result<Vec<&str>, String> {
    let (mut words, mut rest) = (Vec::new(), text.trim_start());
    while let Some(first) = rest.chars().next() {
        let len = match first {
            '"' | '`' => {
                let inner = &rest[1..];
                let mut escaped = false;
                let close = inner.char_indices().find(|&(_, c)| match c {
                    _ if std::mem::take(&mut escaped) => false,
                    '\\' if first == '"' => {
                        escaped = true;
                        false
                    }
                    c => c == first,
                });
                2 + close.ok_or("unterminated quoted string")?.0
            }
            '(' | ')' | '|' | ',' => 1,
            _ => rest.find(|c: char| c.is_whitespace() || "()|\"`,".contains(c)).unwrap_or(rest.len()),
        };
        words.push(&rest[..len]);
        rest = rest[len..].trim_start();
    }
    Ok(words)
}

type Read<'w, 't> = Result<(Expression, &'w [&'t str]), String>;

/// Reads a pipeline of commands: each gets the value of the previous one as its last argument.
fn pipeline<'w, 't>(words: &'w [&'t str]) -> Read<'w, 't> {
    let (mut expression, mut rest) = command(words, None)?;
    while let [bar, tail @ ..] = rest
        && *bar == "|"
    {
        (expression, rest) = command(tail, Some(expression))?;
    }
    Ok((expression, rest))
}

fn command<'w, 't>(words: &'w [&'t str], last: Option<Expression>) -> Read<'w, 't> {
    let Some((first, mut rest)) = words.split_first() else { return Err("missing value for command".to_owned()) };
    let function = match FUNCTIONS.iter().find(|(name, _)| name == first) {
        Some((_, function)) => Some(*function),
        None if *first == ".Meta" => Some(Function::Meta),
        None => None,
    };
    let Some(function) = function else {
        let (value, rest) = operand(words)?;
        return match (last, rest.first()) {
            (Some(_), _) => Err(format!("a pipe leads to <{first}>, which is no function")),
            (None, Some(&word)) if word != ")" && word != "|" => {
                Err(format!("<{first}> takes no arguments: unexpected <{word}>"))
            }
            _ => Ok((value, rest)),
        };
    };
    let mut arguments = Vec::new();
    while let Some(&word) = rest.first()
        && word != ")"
        && word != "|"
    {
        let (argument, tail) = operand(rest)?;
        arguments.push(argument);
        rest = tail;
    }
    arguments.extend(last);
    let (least, most) = function.arity();
    if !(least..=most).contains(&arguments.len()) {
        return Err(format!("wrong number of args for {first}: {}", arguments.len()));
    }
    Ok((Expression::Call(function, arguments), rest))
}

fn operand<'w, 't>(words: &'w [&'t str]) -> Read<'w, 't> {
    let Some((&first, rest)) = words.split_first() else { return Err("missing value".to_owned()) };
    if first == "(" {
        let (inner, rest) = pipeline(rest)?;
        return match rest {
            [close, rest @ ..] if *close == ")" => Ok((inner, rest)),
            _ => Err("unclosed left paren".to_owned()),
        };
    }
    Ok((single(first)?, rest))
}

fn single(word: &str) -> Result<Expression, String> {
    if let Some((_, field)) = FIELDS.iter().find(|(name, _)| *name == word) {
        return Ok(field.clone());
    }
    if let Some(name) = word.strip_prefix(".Var.").filter(|name| is_identifier(name)) {
        return Ok(Expression::Variable(name.to_owned()));
    }
    if let Some(name) = word.strip_prefix(".Group.").filter(|name| is_identifier(name)) {
        return Ok(Expression::Group(name.to_owned()));
    }
    let literal = match word {
        "true" => Some(Value::Bool(true)),
        "false" => Some(Value::Bool(false)),
        _ if word.starts_with('`') => Some(Value::Text(Cow::Owned(word[1..word.len() - 1].to_owned()))),
        _ if word.starts_with('"') => Some(Value::Text(Cow::Owned(format::unquote(&word[1..word.len() - 1])?))),
        _ => format::number(word).map(Value::Number),
    };
    if let Some(value) = literal {
        return Ok(Expression::Literal(value));
    }
    Err(match word.chars().next() {
        Some('.' | '$') => {
            let known: Vec<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
            format!("<{word}> is not served: {}, .Group.NAME, .Var.NAME and .Meta are", known.join(", "))
        }
        _ => {
            let known: Vec<&str> = FUNCTIONS.iter().map(|(name, _)| *name).collect();
            format!("function \"{word}\" not defined: {} are", known.join(", "))
        }
    })
}

/// Whether a field may have this name; other groups are read by `index .Group "1"`, as in Go.
fn is_identifier(name: &str) -> bool {
    let mut chars = name.chars();
    chars.next().is_some_and(|first| first.is_alphabetic() || first == '_')
        && chars.all(|c| c.is_alphanumeric() || c == '_')
}
