//! Expressions: `.Name`, `index .Match 1`, `parseInt .Group.a 16 8 | printf "%d"`.

use std::borrow::Cow;

use regex::Captures;

use super::format;
use crate::wire::question::Question;

/// A question, and the groups that the expression of a `match` found in it.
pub(super) struct Subject<'q> {
    /// The zone of the template that contains the name.
    pub(super) zone: &'q str,
    /// The name in lower case.
    pub(super) name: &'q str,
    /// Class and type by name; empty if they have none.
    pub(super) class: &'static str,
    pub(super) qtype: &'static str,
    /// The expression that matched.
    pub(super) regex: &'q regex::Regex,
    pub(super) captures: Captures<'q>,
    /// The name as the client wrote it.
    pub(super) asked: &'q str,
    /// The question; its name is in lower case.
    pub(super) question: &'q Question,
    /// The client's address.
    pub(super) remote: std::net::IpAddr,
}

#[derive(Debug, Clone)]
pub(super) enum Expression {
    Literal(Value<'static>),
    Zone,
    Name,
    Class,
    Type,
    Regex,
    Remote,
    AskedName,
    AskedType,
    AskedClass,
    Match,
    Groups,
    Group(String),
    Call(Function, Vec<Expression>),
}

/// The value of an expression.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value<'v> {
    Text(Cow<'v, str>),
    Number(i128),
    Bool(bool),
    /// All groups of the match; a group that took no part reads as empty.
    Match,
    Groups,
    /// A group that the expression does not have.
    Missing,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Function {
    And,
    Or,
    Not,
    Eq,
    Ne,
    Len,
    Index,
    Printf,
    ParseInt,
    Meta,
}

const FUNCTIONS: &[(&str, Function)] = &[
    ("and", Function::And),
    ("or", Function::Or),
    ("not", Function::Not),
    ("eq", Function::Eq),
    ("ne", Function::Ne),
    ("len", Function::Len),
    ("index", Function::Index),
    ("printf", Function::Printf),
    ("parseInt", Function::ParseInt),
];

const FIELDS: &[(&str, Expression)] = &[
    (".Zone", Expression::Zone),
    (".Name", Expression::Name),
    (".Class", Expression::Class),
    (".Type", Expression::Type),
    (".Regex", Expression::Regex),
    (".Remote", Expression::Remote),
    (".Match", Expression::Match),
    (".Group", Expression::Groups),
    (".Question.Name", Expression::AskedName),
    (".Question.Qtype", Expression::AskedType),
    (".Question.Qclass", Expression::AskedClass),
];

//----------- Values ---------------------------------------------------------

impl Value<'_> {
    /// Returns the value as it appears in the text.
    pub(super) fn shown(&self) -> Cow<'_, str> {
        match self {
            Self::Text(text) => Cow::Borrowed(text),
            Self::Number(number) => Cow::Owned(number.to_string()),
            Self::Bool(value) => Cow::Borrowed(if *value { "true" } else { "false" }),
            Self::Match | Self::Groups | Self::Missing => Cow::Borrowed("<no value>"),
        }
    }

    /// Whether `if` takes the value as true: not empty and not 0.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Text(text) => !text.is_empty(),
            Self::Number(number) => *number != 0,
            Self::Bool(value) => *value,
            Self::Match | Self::Groups => true,
            Self::Missing => false,
        }
    }
}

impl Expression {
    /// Evaluates the expression for one question.
    pub(super) fn value<'s>(&'s self, subject: &'s Subject<'_>) -> Result<Value<'s>, String> {
        let text = |text: &'s str| Value::Text(Cow::Borrowed(text));
        Ok(match self {
            Self::Literal(value) => value.clone(),
            Self::Zone => text(subject.zone),
            Self::Name => text(subject.name),
            Self::Class => text(subject.class),
            Self::Type => text(subject.qtype),
            Self::Regex => text(subject.regex.as_str()),
            Self::Remote => Value::Text(Cow::Owned(subject.remote.to_string())),
            Self::AskedName => text(subject.asked),
            Self::AskedType => Value::Number(subject.question.qtype.into()),
            Self::AskedClass => Value::Number(subject.question.qclass.into()),
            Self::Match => Value::Match,
            Self::Groups => Value::Groups,
            Self::Group(name) => group(subject, name).map_or(Value::Missing, text),
            Self::Call(function, arguments) => call(*function, arguments, subject)?,
        })
    }
}

/// Returns a group by name or number, empty if it took no part; `None` if there is no such group.
fn group<'s>(subject: &'s Subject<'_>, name: &str) -> Option<&'s str> {
    // Names take precedence over numbers, and the last of equal names counts, as in CoreDNS.
    let named = subject.regex.capture_names().enumerate().filter(|(_, known)| *known == Some(name)).last();
    let index = named.map(|(index, _)| index).or_else(|| {
        name.parse().ok().filter(|&index: &usize| index < subject.captures.len() && index.to_string() == name)
    })?;
    Some(subject.captures.get(index).map_or("", |found| found.as_str()))
}

fn call<'s>(function: Function, arguments: &'s [Expression], subject: &'s Subject<'_>) -> Result<Value<'s>, String> {
    if matches!(function, Function::And | Function::Or) {
        // The last argument that is evaluated decides; later ones are skipped.
        let mut value = Value::Missing;
        for argument in arguments {
            value = argument.value(subject)?;
            if value.is_true() == (function == Function::Or) {
                break;
            }
        }
        return Ok(value);
    }
    let values = arguments.iter().map(|argument| argument.value(subject)).collect::<Result<Vec<_>, _>>()?;
    match (function, &values[..]) {
        (Function::Not, [value]) => Ok(Value::Bool(!value.is_true())),
        (Function::Eq, [first, others @ ..]) => {
            for other in others {
                if equal(first, other)? {
                    return Ok(Value::Bool(true));
                }
            }
            Ok(Value::Bool(false))
        }
        (Function::Ne, [one, other]) => Ok(Value::Bool(!equal(one, other)?)),
        (Function::Len, [Value::Text(text)]) => Ok(Value::Number(text.len() as i128)),
        (Function::Len, [Value::Match]) => Ok(Value::Number(subject.captures.len() as i128)),
        (Function::Index, [Value::Match, Value::Number(at)]) => {
            let index = usize::try_from(*at).ok().filter(|&index| index < subject.captures.len());
            let index = index.ok_or_else(|| format!("error calling index: index out of range: {at}"))?;
            Ok(Value::Text(Cow::Borrowed(subject.captures.get(index).map_or("", |found| found.as_str()))))
        }
        (Function::Index, [Value::Groups, Value::Text(name)]) => {
            Ok(Value::Text(Cow::Borrowed(group(subject, name).unwrap_or_default())))
        }
        (Function::ParseInt, [Value::Text(text), Value::Number(base), Value::Number(bits)]) => {
            Ok(Value::Number(format::parse_int(text, *base, *bits)?))
        }
        (Function::Printf, [Value::Text(how), arguments @ ..]) => {
            Ok(Value::Text(Cow::Owned(format::printf(how, arguments)?)))
        }
        (Function::Meta, _) => Ok(Value::Text(Cow::Borrowed(""))),
        _ => Err(format!("wrong values for {}", function.name())),
    }
}

fn equal(one: &Value<'_>, other: &Value<'_>) -> Result<bool, String> {
    match (one, other) {
        (Value::Text(_), Value::Text(_)) | (Value::Number(_), Value::Number(_)) | (Value::Bool(_), Value::Bool(_)) => {
            Ok(one == other)
        }
        _ => Err("error calling eq: incompatible types for comparison".to_owned()),
    }
}

impl Function {
    fn name(self) -> &'static str {
        FUNCTIONS.iter().find(|(_, function)| *function == self).map_or(".Meta", |(name, _)| name)
    }

    /// Minimum and maximum number of arguments.
    fn arity(self) -> (usize, usize) {
        match self {
            Self::Not | Self::Len | Self::Meta => (1, 1),
            Self::Ne | Self::Index => (2, 2),
            Self::ParseInt => (3, 3),
            Self::And | Self::Or | Self::Printf => (1, usize::MAX),
            Self::Eq => (2, usize::MAX),
        }
    }
}

//----------- Reading --------------------------------------------------------

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
            format!("<{word}> is not served: {}, .Group.NAME and .Meta are", known.join(", "))
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
