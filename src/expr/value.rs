//! Values: how they are compared and how they print.

use std::borrow::Cow;
use std::cmp::Ordering;
use std::fmt;
use std::sync::Arc;

/// A value. Copies are cheap, except those of texts that were made during the evaluation.
#[derive(Debug, Clone)]
pub enum Value<'v> {
    /// `nil`: no value.
    Nil,
    /// `true` or `false`.
    Bool(bool),
    /// A whole number.
    Int(i64),
    /// Another number.
    Float(f64),
    /// A text.
    Text(Cow<'v, str>),
    /// A list.
    List(List<'v>),
}

/// The elements of a list.
#[derive(Debug, Clone)]
pub enum List<'v> {
    /// Elements that belong to the program.
    Of(&'v [Value<'v>]),
    /// Elements that were made during the evaluation, and how deep lists are nested in them.
    Made(Arc<[Value<'v>]>, usize),
}

impl<'v> Value<'v> {
    /// Returns a text that is borrowed.
    #[must_use]
    pub fn text(text: &'v str) -> Self {
        Self::Text(Cow::Borrowed(text))
    }

    /// Returns a list of these elements.
    pub(super) fn list(elements: impl IntoIterator<Item = Self>) -> Self {
        let elements: Arc<[Self]> = elements.into_iter().collect();
        let depth = elements.iter().map(Self::depth).max().unwrap_or(0) + 1;
        Self::List(List::Made(elements, depth))
    }

    /// Returns how deep lists are nested that were made during the evaluation.
    pub(super) fn depth(&self) -> usize {
        if let Self::List(List::Made(_, depth)) = self { *depth } else { 0 }
    }

    /// Returns the value without copying its text or elements.
    pub(super) fn borrowed(&self) -> Value<'_> {
        match self {
            Self::Nil => Value::Nil,
            Self::Bool(value) => Value::Bool(*value),
            Self::Int(number) => Value::Int(*number),
            Self::Float(number) => Value::Float(*number),
            Self::Text(text) => Value::Text(Cow::Borrowed(text)),
            Self::List(list) => Value::List(List::Of(list.elements())),
        }
    }

    /// Returns the value with texts of its own.
    #[must_use]
    pub fn into_owned(self) -> Value<'static> {
        match self {
            Self::Nil => Value::Nil,
            Self::Bool(value) => Value::Bool(value),
            Self::Int(number) => Value::Int(number),
            Self::Float(number) => Value::Float(number),
            Self::Text(text) => Value::Text(Cow::Owned(text.into_owned())),
            Self::List(list) => Value::list(list.elements().iter().cloned().map(Value::into_owned)),
        }
    }

    /// Returns the number as a float.
    pub(super) fn as_float(&self) -> Option<f64> {
        match self {
            Self::Int(number) => Some(*number as f64),
            Self::Float(number) => Some(*number),
            _ => None,
        }
    }

    /// Returns the name of the value's type in Go.
    pub(super) fn type_name(&self) -> &'static str {
        match self {
            Self::Nil => "<nil>",
            Self::Bool(_) => "bool",
            Self::Int(_) => "int",
            Self::Float(_) => "float64",
            Self::Text(_) => "string",
            Self::List(_) => "[]interface {}",
        }
    }

    /// Returns the order of two numbers or two texts.
    pub(super) fn order(&self, other: &Self) -> Option<Ordering> {
        match (self, other) {
            (Self::Text(one), Self::Text(other)) => Some(one.cmp(other)),
            (Self::Int(one), Self::Int(other)) => Some(one.cmp(other)),
            // NaN, which only 0 / 0 makes here, is neither smaller than, larger than nor equal to a
            // number: it has no order.
            (one, other) => one.as_float()?.partial_cmp(&other.as_float()?),
        }
    }
}

impl<'v> List<'v> {
    /// Returns the elements.
    #[must_use]
    pub fn elements(&self) -> &[Value<'v>] {
        match self {
            Self::Of(elements) => elements,
            Self::Made(elements, _) => elements,
        }
    }
}

impl PartialEq for Value<'_> {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Nil, Self::Nil) => true,
            (Self::Bool(one), Self::Bool(other)) => one == other,
            (Self::Int(one), Self::Int(other)) => one == other,
            (Self::Text(one), Self::Text(other)) => one == other,
            (Self::List(one), Self::List(other)) => one.elements() == other.elements(),
            (one, other) => one.as_float().is_some_and(|number| Some(number) == other.as_float()),
        }
    }
}

impl fmt::Display for Value<'_> {
    /// Writes the value as Go's `%v` does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Nil => f.write_str("<nil>"),
            Self::Bool(value) => write!(f, "{value}"),
            Self::Int(number) => write!(f, "{number}"),
            Self::Float(number) => write_float(*number, f),
            Self::Text(text) => f.write_str(text),
            Self::List(list) => {
                f.write_str("[")?;
                for (index, element) in list.elements().iter().enumerate() {
                    if index > 0 {
                        f.write_str(" ")?;
                    }
                    write!(f, "{element}")?;
                }
                f.write_str("]")
            }
        }
    }
}

/// Writes a float in Go's shortest form: with an exponent below 1e-4 and from 1e+06 on.
fn write_float(number: f64, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    if number.is_nan() {
        return f.write_str("NaN");
    }
    if number.is_infinite() {
        return f.write_str(if number > 0.0 { "+Inf" } else { "-Inf" });
    }
    let size = number.abs();
    if size != 0.0 && !(1e-4..1e6).contains(&size) {
        let text = format!("{number:e}");
        let (digits, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, exponent) = exponent.strip_prefix('-').map_or(('+', exponent), |exponent| ('-', exponent));
        return write!(f, "{digits}e{sign}{exponent:0>2}");
    }
    write!(f, "{number}")
}
