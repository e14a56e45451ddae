//! Expressions of texts and their values: `.Name`, `index .Match 1`,
//! `parseInt .Group.a 16 8 | printf "%d"`.

use std::borrow::Cow;

use regex::Captures;

use super::computed::Variables;
use super::format;
use crate::chain::Query;
use crate::chain::site::Site;
use crate::expr;

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
    /// The query; the name of its question is in lower case.
    pub(super) query: &'q Query<'q>,
    /// The server block.
    pub(super) site: &'q Site,
    /// The values of `var`.
    pub(super) variables: Variables<'q>,
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
    Variables,
    Variable(String),
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
    /// All variables.
    Variables,
    /// A value of a variable that can only be shown: a number with a fraction, a list.
    Shown(String),
    /// A group that the expression does not have, or a variable without a value.
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

pub(super) const FUNCTIONS: &[(&str, Function)] = &[
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

pub(super) const FIELDS: &[(&str, Expression)] = &[
    (".Zone", Expression::Zone),
    (".Name", Expression::Name),
    (".Class", Expression::Class),
    (".Type", Expression::Type),
    (".Regex", Expression::Regex),
    (".Remote", Expression::Remote),
    (".Match", Expression::Match),
    (".Group", Expression::Groups),
    (".Var", Expression::Variables),
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
            Self::Shown(text) => Cow::Borrowed(text),
            Self::Match | Self::Groups | Self::Variables | Self::Missing => Cow::Borrowed("<no value>"),
        }
    }

    /// Whether `if` takes the value as true: not empty and not 0.
    pub(super) fn is_true(&self) -> bool {
        match self {
            Self::Text(text) => !text.is_empty(),
            Self::Number(number) => *number != 0,
            Self::Bool(value) => *value,
            Self::Match | Self::Groups => true,
            Self::Shown(text) => !matches!(text.as_str(), "0" | "[]"),
            Self::Variables | Self::Missing => false,
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
            Self::AskedType => Value::Number(subject.query.question.qtype.into()),
            Self::AskedClass => Value::Number(subject.query.question.qclass.into()),
            Self::Match => Value::Match,
            Self::Groups => Value::Groups,
            Self::Group(name) => group(subject, name).map_or(Value::Missing, text),
            Self::Variables => Value::Variables,
            Self::Variable(name) => variable(subject, name),
            Self::Call(function, arguments) => call(*function, arguments, subject)?,
        })
    }
}

/// Returns the value of a variable.
fn variable<'s>(subject: &'s Subject<'_>, name: &str) -> Value<'s> {
    let found = subject.variables.iter().rfind(|(known, _)| *known == name);
    match found.map(|(_, value)| value) {
        None | Some(expr::Value::Nil) => Value::Missing,
        Some(expr::Value::Bool(value)) => Value::Bool(*value),
        Some(expr::Value::Int(number)) => Value::Number((*number).into()),
        Some(expr::Value::Text(text)) => Value::Text(Cow::Borrowed(text)),
        Some(value) => Value::Shown(value.to_string()),
    }
}

/// Returns a group by name or number, empty if it took no part; `None` if there is no such group.
fn group<'s>(subject: &'s Subject<'_>, name: &str) -> Option<&'s str> {
    group_of(subject.regex, &subject.captures, name)
}

/// As [`group`], for an expression and what it found.
pub(super) fn group_of<'s>(regex: &regex::Regex, captures: &'s Captures<'_>, name: &str) -> Option<&'s str> {
    // Names take precedence over numbers, and the last of equal names counts, as in CoreDNS.
    let named = regex.capture_names().enumerate().filter(|(_, known)| *known == Some(name)).last();
    let index = named
        .map(|(index, _)| index)
        .or_else(|| name.parse().ok().filter(|&index: &usize| index < captures.len() && index.to_string() == name))?;
    Some(captures.get(index).map_or("", |found| found.as_str()))
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
        (Function::Len, [Value::Variables]) => Ok(Value::Number(subject.variables.len() as i128)),
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
        (Function::Index, [Value::Variables, Value::Text(name)]) => Ok(variable(subject, name)),
        (Function::Meta, [Value::Text(label)]) => {
            let value = subject.site.metadata(label, subject.query).unwrap_or_default();
            Ok(Value::Text(Cow::Owned(value.into_owned())))
        }
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
    pub(super) fn arity(self) -> (usize, usize) {
        match self {
            Self::Not | Self::Len | Self::Meta => (1, 1),
            Self::Ne | Self::Index => (2, 2),
            Self::ParseInt => (3, 3),
            Self::And | Self::Or | Self::Printf => (1, usize::MAX),
            Self::Eq => (2, usize::MAX),
        }
    }
}
