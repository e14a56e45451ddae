//! `var` and `expr`: values that are computed for each question, and conditions.

use crate::chain::Query;
use crate::chain::expression::{self, FUNCTIONS, QueryEnvironment};
use crate::chain::site::Site;
use crate::corefile::value::quote;
use crate::corefile::{Cursor, Word};
use crate::error::Result;
use crate::expr::{Environment, Function, Program, Scope, Type, Value, is_reserved};

/// The one function that only templates have: a group of the expression that matched.
static GROUP: Function = Function { name: "group", takes: &[Type::Any], gives: Type::Text };

/// What a template computes, in the order of the Corefile.
pub(super) struct Computed {
    scope: Scope,
    variables: Vec<(String, Program)>,
    conditions: Vec<Program>,
}

/// The variables of one question.
pub(super) type Variables<'t> = Vec<(&'t str, Value<'static>)>;

/// Why a template does not answer a question that an expression of it matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unmet {
    /// A condition is not true: as if no expression had matched.
    Condition,
    /// A value could not be computed.
    Failed,
}

impl Computed {
    pub(super) fn new() -> Self {
        let scope = Scope::new(FUNCTIONS.iter().chain([&GROUP]));
        Self { scope, variables: Vec::new(), conditions: Vec::new() }
    }

    /// Reads `var NAME EXPRESSION`; the cursor stands on the option.
    pub(super) fn variable(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        let words = cursor.args_of(2..)?;
        let (name, text) = (words[0], words[0].as_str());
        let mut chars = text.chars();
        let begins = chars.next().is_some_and(|first| first.is_ascii_alphabetic() || first == '_');
        if !begins || !chars.all(|c| c.is_ascii_alphanumeric() || c == '_') {
            let message = format!("Error during parsing: invalid variable name {}", quote(text));
            return Err(cursor.complain(name, message).hint("letters, digits and _, as in my_address").into());
        }
        if is_reserved(text) || self.scope.has(text) {
            let message = format!("Error during parsing: variable name {} is reserved", quote(text));
            return Err(cursor.complain(name, message).hint("it has a meaning already; choose another name").into());
        }
        let prefix = format!("Error during parsing: could not compile expression: {name}, ");
        let program = expression::read(cursor, &words[1..], &self.scope, &prefix)?;
        self.scope.add(text, program.result.clone());
        self.variables.push((text.to_owned(), program));
        Ok(())
    }

    /// Reads `expr EXPRESSION`; the cursor stands on the option.
    pub(super) fn condition(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        let words: Vec<&Word> = cursor.args_of(1..)?;
        let prefix = "Error during parsing: could not compile expression: ";
        self.conditions.push(expression::read(cursor, &words, &self.scope, prefix)?);
        Ok(())
    }

    /// Computes the variables for a question, and checks the conditions.
    pub(super) fn compute<'t>(
        &'t self,
        query: &Query<'_>,
        site: &Site,
        group: &dyn Fn(&str) -> String,
    ) -> std::result::Result<Variables<'t>, Unmet> {
        let mut variables: Variables<'t> = Vec::with_capacity(self.variables.len());
        if self.variables.is_empty() && self.conditions.is_empty() {
            return Ok(variables);
        }
        let query = QueryEnvironment::new(query, site);
        for (name, program) in &self.variables {
            let inside = Inside { query: &query, group, variables: &variables };
            let value = program.run(&inside).map_err(|_| Unmet::Failed)?.into_owned();
            variables.push((name, value));
        }
        let inside = Inside { query: &query, group, variables: &variables };
        for program in &self.conditions {
            match program.run(&inside) {
                Ok(Value::Bool(true)) => {}
                Ok(_) => return Err(Unmet::Condition),
                Err(_) => return Err(Unmet::Failed),
            }
        }
        Ok(variables)
    }
}

/// What expressions of a template can ask for.
struct Inside<'i> {
    query: &'i QueryEnvironment<'i>,
    group: &'i dyn Fn(&str) -> String,
    variables: &'i [(&'i str, Value<'static>)],
}

impl Environment for Inside<'_> {
    fn call<'e>(&'e self, function: usize, arguments: &[Value<'e>]) -> std::result::Result<Value<'e>, String> {
        match arguments {
            _ if function < FUNCTIONS.len() => self.query.call(function, arguments),
            [Value::Int(number)] => Ok(Value::Text((self.group)(&number.to_string()).into())),
            [Value::Text(name)] => Ok(Value::Text((self.group)(name).into())),
            _ => Ok(Value::text("")),
        }
    }

    fn variable(&self, variable: usize) -> Value<'_> {
        self.variables.get(variable).map_or(Value::Nil, |(_, value)| value.clone())
    }
}
