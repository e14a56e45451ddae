//! The functions of the language.

use super::cost::Cost;
use super::types::Type;
use super::value::Value;
use super::{lists, numbers, texts, token};

/// Evaluates a function.
pub(super) type Run = for<'e> fn(&[Value<'e>], &mut Cost) -> Result<Value<'e>, String>;

/// An argument of a wrong type: its index, and the right type if there is only one.
pub(super) type Wrong = (usize, Option<Type>);

/// A function of the language.
pub(super) struct Builtin {
    name: &'static str,
    /// Minimum and maximum number of arguments.
    pub(super) least: usize,
    pub(super) most: usize,
    /// Returns the type of the result.
    pub(super) gives: fn(&[Type]) -> Result<Type, Wrong>,
    pub(super) run: Run,
}

/// A function that evaluates a body for each element of a list.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Each {
    All,
    None,
    Any,
    One,
    Filter,
    Map,
    Count,
    Sum,
    Find,
    FindIndex,
    FindLast,
    FindLastIndex,
    Reduce,
}

const EACH: &[(&str, Each)] = &[
    ("all", Each::All),
    ("none", Each::None),
    ("any", Each::Any),
    ("one", Each::One),
    ("filter", Each::Filter),
    ("map", Each::Map),
    ("count", Each::Count),
    ("sum", Each::Sum),
    ("find", Each::Find),
    ("findIndex", Each::FindIndex),
    ("findLast", Each::FindLast),
    ("findLastIndex", Each::FindLastIndex),
    ("reduce", Each::Reduce),
];

/// Functions of expr-lang/expr that are not served.
const MISSING: &[&str] = &[
    "groupBy",
    "sortBy",
    "type",
    "toJSON",
    "fromJSON",
    "toBase64",
    "fromBase64",
    "now",
    "duration",
    "date",
    "timezone",
    "keys",
    "values",
    "toPairs",
    "fromPairs",
    "median",
    "mean",
    "bitnand",
    "bitshl",
    "bitshr",
    "bitushr",
    "bitnot",
];

const TABLE: &[Builtin] = &[
    function("len", 1, 1, |t| all_are(t, Type::Int, |kind| *kind == Type::Text || kind.is_list()), lists::len),
    function("upper", 1, 1, |t| all_texts(t, Type::Text), texts::upper),
    function("lower", 1, 1, |t| all_texts(t, Type::Text), texts::lower),
    function("trim", 1, 2, |t| all_texts(t, Type::Text), texts::trim),
    function("trimPrefix", 1, 2, |t| all_texts(t, Type::Text), texts::trim_prefix),
    function("trimSuffix", 1, 2, |t| all_texts(t, Type::Text), texts::trim_suffix),
    function("split", 2, 3, |t| texts_and_number(t, 2, Type::Text.list()), texts::split),
    function("splitAfter", 2, 3, |t| texts_and_number(t, 2, Type::Text.list()), texts::split_after),
    function("replace", 3, 4, |t| texts_and_number(t, 3, Type::Text), texts::replace),
    function("repeat", 2, 2, |t| texts_and_number(t, 1, Type::Text), texts::repeat),
    function("join", 1, 2, |t| list_and(t, &Type::Text, Type::Text), texts::join),
    function("indexOf", 2, 2, |t| all_texts(t, Type::Int), texts::index_of),
    function("lastIndexOf", 2, 2, |t| all_texts(t, Type::Int), texts::last_index_of),
    function("hasPrefix", 2, 2, |t| all_texts(t, Type::Bool), texts::has_prefix),
    function("hasSuffix", 2, 2, |t| all_texts(t, Type::Bool), texts::has_suffix),
    function("string", 1, 1, |_| Ok(Type::Text), texts::string),
    function("int", 1, 1, |t| all_are(t, Type::Int, is_numeric), numbers::int),
    function("float", 1, 1, |t| all_are(t, Type::Float, is_numeric), numbers::float),
    function("abs", 1, 1, |t| all_are(t, t[0].clone(), Type::is_number), numbers::abs),
    function("ceil", 1, 1, |t| all_are(t, Type::Float, Type::is_number), numbers::ceil),
    function("floor", 1, 1, |t| all_are(t, Type::Float, Type::is_number), numbers::floor),
    function("round", 1, 1, |t| all_are(t, Type::Float, Type::is_number), numbers::round),
    function("max", 1, usize::MAX, |t| all_are(t, Type::Any, |kind| kind.is_number() || kind.is_list()), numbers::max),
    function("min", 1, usize::MAX, |t| all_are(t, Type::Any, |kind| kind.is_number() || kind.is_list()), numbers::min),
    function("bitand", 2, 2, |t| from_on(t, 0, &Type::Int).map(|()| Type::Int), numbers::bit_and),
    function("bitor", 2, 2, |t| from_on(t, 0, &Type::Int).map(|()| Type::Int), numbers::bit_or),
    function("bitxor", 2, 2, |t| from_on(t, 0, &Type::Int).map(|()| Type::Int), numbers::bit_xor),
    function("first", 1, 1, |t| all_are(t, Type::Any, Type::is_list), lists::first),
    function("last", 1, 1, |t| all_are(t, Type::Any, Type::is_list), lists::last),
    function("get", 2, 2, |t| list_and(t, &Type::Int, Type::Any), lists::get),
    function("take", 2, 2, |t| list_and(t, &Type::Int, t[0].clone()), lists::take),
    function("reverse", 1, 1, |t| all_are(t, t[0].clone(), Type::is_list), lists::reverse),
    function("uniq", 1, 1, |t| all_are(t, t[0].clone(), Type::is_list), lists::uniq),
    function("concat", 1, usize::MAX, |t| all_are(t, Type::Any.list(), Type::is_list), lists::concat),
    function("flatten", 1, 1, |t| all_are(t, Type::Any.list(), Type::is_list), lists::flatten),
    function("sort", 1, 2, |t| list_and(t, &Type::Text, t[0].clone()), lists::sort),
];

const fn function(
    name: &'static str,
    least: usize,
    most: usize,
    gives: fn(&[Type]) -> Result<Type, Wrong>,
    run: Run,
) -> Builtin {
    Builtin { name, least, most, gives, run }
}

/// Returns the function of this name, if it takes values only.
pub(super) fn named(name: &str) -> Option<&'static Builtin> {
    TABLE.iter().find(|builtin| builtin.name == name)
}

/// Returns the function of this name, if it takes a list and a body.
pub(super) fn body_of(name: &str) -> Option<Each> {
    EACH.iter().find(|(known, _)| *known == name).map(|(_, each)| *each)
}

/// Whether the language has a function of this name, served or not.
pub(super) fn is_known(name: &str) -> bool {
    named(name).is_some() || body_of(name).is_some() || MISSING.contains(&name)
}

/// Returns whether the name is reserved: no variable may have the name of a word or a function.
#[must_use]
pub fn is_reserved(name: &str) -> bool {
    token::is_word(name) || is_known(name)
}

impl Each {
    /// Whether the body has to be true or false.
    pub(super) fn asks(self) -> bool {
        !matches!(self, Self::Map | Self::Sum | Self::Reduce)
    }

    /// Returns the type of the result.
    pub(super) fn gives(self, element: Type, body: Type) -> Type {
        match self {
            Self::All | Self::None | Self::Any | Self::One => Type::Bool,
            Self::Count | Self::FindIndex | Self::FindLastIndex => Type::Int,
            Self::Filter => element.list(),
            Self::Map => body.list(),
            // The sum of nothing is a whole number.
            Self::Sum if body == Type::Int => body,
            // The list may be empty.
            Self::Sum | Self::Find | Self::FindLast | Self::Reduce => Type::Any,
        }
    }
}

//----------- Types of arguments ---------------------------------------------

fn is_numeric(kind: &Type) -> bool {
    kind.is_number() || *kind == Type::Text
}

fn all_are(types: &[Type], gives: Type, accepted: fn(&Type) -> bool) -> Result<Type, Wrong> {
    let wrong = types.iter().position(|kind| *kind != Type::Any && !accepted(kind));
    wrong.map_or(Ok(gives), |index| Err((index, None)))
}

/// Checks that all arguments from one on have a type.
fn from_on(types: &[Type], from: usize, wanted: &Type) -> Result<(), Wrong> {
    let is_wrong = |kind: &&Type| **kind != Type::Any && *kind != wanted;
    let wrong = types.iter().enumerate().skip(from).find(|(_, kind)| is_wrong(kind));
    wrong.map_or(Ok(()), |(index, _)| Err((index, Some(wanted.clone()))))
}

fn all_texts(types: &[Type], gives: Type) -> Result<Type, Wrong> {
    from_on(types, 0, &Type::Text).map(|()| gives)
}

/// Checks that texts come first, and then at most one number.
fn texts_and_number(types: &[Type], texts: usize, gives: Type) -> Result<Type, Wrong> {
    from_on(&types[..texts.min(types.len())], 0, &Type::Text)?;
    from_on(types, texts, &Type::Int).map(|()| gives)
}

/// Checks that a list comes first, and then arguments of a type.
fn list_and(types: &[Type], then: &Type, gives: Type) -> Result<Type, Wrong> {
    all_are(&types[..1], Type::Nil, Type::is_list)?;
    from_on(types, 1, then).map(|()| gives)
}
