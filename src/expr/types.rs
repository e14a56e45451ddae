//! The types of values, as far as they are known before an expression is evaluated.

use std::fmt;

/// A type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Type {
    /// Known only when it is evaluated.
    Any,
    /// `nil`.
    Nil,
    /// `true` and `false`.
    Bool,
    /// Whole numbers.
    Int,
    /// Other numbers.
    Float,
    /// Texts.
    Text,
    /// Lists whose elements have a type.
    List(Box<Type>),
}

/// A function that an environment has.
#[derive(Debug)]
pub struct Function {
    /// Its name.
    pub name: &'static str,
    /// The types of its arguments.
    pub takes: &'static [Type],
    /// The type of its result.
    pub gives: Type,
}

impl Type {
    /// Returns the list type with elements of this type.
    pub(super) fn list(self) -> Self {
        Self::List(Box::new(self))
    }

    pub(super) fn is_number(&self) -> bool {
        matches!(self, Self::Int | Self::Float)
    }

    pub(super) fn is_list(&self) -> bool {
        matches!(self, Self::List(_))
    }

    /// Returns the type of the elements; `Any` if this is not a list.
    pub(super) fn element(&self) -> Self {
        match self {
            Self::List(element) => (**element).clone(),
            _ => Self::Any,
        }
    }

    /// Whether values of both types may be compared for equality.
    pub(super) fn is_comparable(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::Any | Self::Nil, _) | (_, Self::Any | Self::Nil) => true,
            (Self::List(_), Self::List(_)) => true,
            (one, other) => one == other || one.is_number() && other.is_number(),
        }
    }

    /// Whether a value of this type may be passed where `wanted` is expected.
    pub(super) fn fits(&self, wanted: &Self) -> bool {
        self == wanted || matches!(self, Self::Any) || matches!(wanted, Self::Any)
    }

    /// Whether two operands, of which one is known only later, may both be of an `accepted` type.
    pub(super) fn may_both_be(&self, other: &Self, accepted: fn(&Self) -> bool) -> bool {
        match (self, other) {
            (Self::Any, Self::Any) => true,
            (Self::Any, known) | (known, Self::Any) => accepted(known),
            _ => false,
        }
    }
}

impl fmt::Display for Type {
    /// Writes the type as Go names it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Any | Self::Nil => f.write_str("unknown"),
            Self::Bool => f.write_str("bool"),
            Self::Int => f.write_str("int"),
            Self::Float => f.write_str("float64"),
            Self::Text => f.write_str("string"),
            Self::List(element) => match &**element {
                Self::Any | Self::Nil => f.write_str("[]interface {}"),
                element => write!(f, "[]{element}"),
            },
        }
    }
}
