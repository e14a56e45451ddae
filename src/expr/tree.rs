//! The tree of an expression, as it is written.

/// A part of an expression.
#[derive(Debug)]
pub(super) struct Node {
    /// Where it begins in the text, or where its operator stands, in octets.
    pub(super) at: usize,
    /// How many parts are nested in it, itself included.
    pub(super) depth: u16,
    pub(super) what: Tree,
}

#[derive(Debug)]
pub(super) enum Tree {
    Nil,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    /// `[1, 2]`
    List(Vec<Node>),
    /// A variable.
    Word(String),
    /// `#`, `#index` or `#acc`, by the name after `#`.
    Element(String),
    Unary(Unary, Box<Node>),
    Binary(Binary, Box<Node>, Box<Node>),
    /// Values, and the operators that compare each with the next one by order.
    Orders(Vec<Node>, Vec<Binary>),
    /// Condition, then, otherwise.
    If(Box<[Node; 3]>),
    Call(String, Vec<Node>),
    Index(Box<Node>, Box<Node>),
    Slice(Box<Node>, Option<Box<Node>>, Option<Box<Node>>),
    /// `let NAME = VALUE; REST`
    Let(String, Box<Node>, Box<Node>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unary {
    Not,
    Plus,
    Minus,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Binary {
    Or,
    And,
    Equal,
    Unequal,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
    In,
    Matches,
    Contains,
    StartsWith,
    EndsWith,
    Range,
    Add,
    Subtract,
    Multiply,
    Divide,
    Remainder,
    Power,
    Coalesce,
}

/// Binary operators: as they are written, their precedence, and whether they may follow `not`.
const BINARY: &[(&str, Binary, u16, bool)] = &[
    ("or", Binary::Or, 10, false),
    ("||", Binary::Or, 10, false),
    ("and", Binary::And, 15, false),
    ("&&", Binary::And, 15, false),
    ("==", Binary::Equal, 20, false),
    ("!=", Binary::Unequal, 20, false),
    ("<", Binary::Less, 20, false),
    ("<=", Binary::LessOrEqual, 20, false),
    (">", Binary::Greater, 20, false),
    (">=", Binary::GreaterOrEqual, 20, false),
    ("in", Binary::In, 20, true),
    ("matches", Binary::Matches, 20, true),
    ("contains", Binary::Contains, 20, true),
    ("startsWith", Binary::StartsWith, 20, true),
    ("endsWith", Binary::EndsWith, 20, true),
    ("..", Binary::Range, 25, false),
    ("+", Binary::Add, 30, false),
    ("-", Binary::Subtract, 30, false),
    ("*", Binary::Multiply, 60, false),
    ("/", Binary::Divide, 60, false),
    ("%", Binary::Remainder, 60, false),
    ("**", Binary::Power, 100, false),
    ("^", Binary::Power, 100, false),
    ("??", Binary::Coalesce, 500, false),
];

/// The precedence of `not` and `!`, and of a sign.
pub(super) const NOT: u16 = 50;
pub(super) const SIGN: u16 = 90;

impl Binary {
    /// Returns the operator that is written so, its precedence, and whether it may follow `not`.
    pub(super) fn named(text: &str) -> Option<(Self, u16, bool)> {
        BINARY.iter().find(|(name, ..)| *name == text).map(|&(_, operator, tight, negates)| (operator, tight, negates))
    }

    /// Returns how the operator is written.
    pub(super) fn shown(self) -> &'static str {
        // The second of two spellings is the one that most people write: `&&`.
        let last = BINARY.iter().rfind(|(_, operator, ..)| *operator == self && !matches!(self, Self::Power));
        last.map_or("**", |(name, ..)| name)
    }

    /// Whether the operator compares by order. Of several in a row (`a < b < c`) all have to hold.
    pub(super) fn is_order(self) -> bool {
        matches!(self, Self::Less | Self::LessOrEqual | Self::Greater | Self::GreaterOrEqual)
    }
}

impl Unary {
    pub(super) fn shown(self) -> &'static str {
        match self {
            Self::Not => "not",
            Self::Plus => "+",
            Self::Minus => "-",
        }
    }
}
