//! Expressions of a Corefile: `type() == 'A' && incidr(client_ip(), '10.0.0.0/8')`.
//!
//! The language is that of expr-lang/expr 1.17, which CoreDNS uses for `view` and `template`. It is
//! read, checked and compiled once, when the Corefile is loaded: names, types, arguments and
//! constant regular expressions are checked then, as far as CoreDNS does. Evaluation borrows texts
//! of the program and of its [`Environment`], and its cost is bounded ([`MAX_COST`]), so that no
//! expression can hold up a worker.
//!
//! What is missing: maps (`{a: 1}`, `keys`, `groupBy`), `$env`, times and durations, JSON and
//! Base64. Such an expression is refused, and the error names the missing word.
//!
//! - `token`: text to words
//! - `tree`, `parse`: words to a tree
//! - `types`, `check`: a tree to code, with the type of each part
//! - `value`: values and how they compare and print
//! - `eval`: code to a value
//! - `builtin`: the functions of the language

mod builtin;
mod check;
mod cost;
mod eval;
mod invalid;
mod lists;
mod numbers;
mod parse;
mod texts;
mod token;
mod tree;
mod types;
mod value;

#[cfg(test)]
mod tests;

pub use builtin::is_reserved;
pub use check::Scope;
pub use cost::MAX_COST;
pub use eval::Environment;
pub use invalid::{Invalid, MAX_DEPTH, MAX_LENGTH};
pub use types::{Function, Type};
pub use value::{List, Value};

use eval::{Code, Machine};

/// A compiled expression.
#[derive(Debug)]
pub struct Program {
    code: Code,
    /// The type of the result.
    pub result: Type,
}

impl Program {
    /// Reads, checks and compiles an expression.
    ///
    /// # Errors
    /// The expression is malformed, or names or types are wrong.
    pub fn compile(text: &str, scope: &Scope) -> Result<Self, Invalid> {
        if text.len() > MAX_LENGTH {
            let message = format!("expression too long: {} > {MAX_LENGTH}", text.len());
            return Err(Invalid::new(0, message));
        }
        let tree = parse::parse(text)?;
        let (code, result) = check::compile(&tree, scope)?;
        Ok(Self { code, result })
    }

    /// Evaluates the expression.
    ///
    /// # Errors
    /// A value is wrong, or the evaluation costs too much.
    pub fn run<'e>(&'e self, environment: &'e dyn Environment) -> Result<Value<'e>, String> {
        Machine::new(environment).run(&self.code)
    }

    /// Returns whether the expression evaluates to `true`. As in CoreDNS, an error and any other
    /// value count as `false`.
    #[must_use]
    pub fn holds(&self, environment: &dyn Environment) -> bool {
        matches!(self.run(environment), Ok(Value::Bool(true)))
    }
}
