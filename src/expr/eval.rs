//! Evaluates code.

use std::cmp::Ordering;

use regex::{Regex, RegexBuilder};

use super::builtin::{Each, Run};
use super::cost::Cost;
use super::invalid::MAX_DEPTH;
use super::lists;
use super::numbers::{arithmetic, mismatch};
use super::tree::Binary;
use super::value::{List, Value};

/// Maximum size in octets of a regular expression that is known only when it is evaluated.
const MAX_REGEX: usize = 1 << 16;

/// What an expression can ask for while it is evaluated.
pub trait Environment {
    /// Calls a function of the scope, by its index there.
    ///
    /// # Errors
    /// The function has no value for these arguments.
    fn call<'e>(&'e self, function: usize, arguments: &[Value<'e>]) -> Result<Value<'e>, String>;

    /// Returns the value of a variable of the scope, by its index there.
    fn variable(&self, variable: usize) -> Value<'_>;
}

/// A compiled expression.
#[derive(Debug)]
pub(super) enum Code {
    Const(Value<'static>),
    /// A value that is kept during the evaluation, by its index.
    Local(usize),
    /// A variable of the environment.
    Variable(usize),
    /// A function of the environment.
    Host(usize, Vec<Code>),
    /// A function of the language.
    Builtin(Run, Vec<Code>),
    /// List, body, and the value that `reduce` starts with.
    Each(Each, Box<Code>, Option<Box<Code>>, Option<Box<Code>>),
    List(Vec<Code>),
    Not(Box<Code>),
    Negate(Box<Code>),
    And(Box<Code>, Box<Code>),
    Or(Box<Code>, Box<Code>),
    Coalesce(Box<Code>, Box<Code>),
    /// Values, each of which is compared with the next one.
    Orders(Vec<Code>, Vec<Binary>),
    Binary(Binary, Box<Code>, Box<Code>),
    Matches(Box<Code>, Regex),
    /// Condition, then, otherwise.
    If(Box<[Code; 3]>),
    Index(Box<Code>, Box<Code>),
    Slice(Box<Code>, Option<Box<Code>>, Option<Box<Code>>),
    Let(Box<Code>, Box<Code>),
}

impl Code {
    /// Returns the value of a constant.
    pub(super) fn constant(&self) -> Option<Value<'static>> {
        match self {
            Self::Const(value) => Some(value.clone()),
            _ => None,
        }
    }
}

type Made<'e> = Result<Value<'e>, String>;

/// One evaluation.
pub(super) struct Machine<'e> {
    environment: &'e dyn Environment,
    locals: Vec<Value<'e>>,
    cost: Cost,
}

impl<'e> Machine<'e> {
    pub(super) fn new(environment: &'e dyn Environment) -> Self {
        Self { environment, locals: Vec::new(), cost: Cost::new() }
    }

    /// Evaluates a whole program. Who asked may look at all of the result, which costs too.
    pub(super) fn run(mut self, code: &'e Code) -> Made<'e> {
        let value = self.value(code)?;
        self.cost.charge_whole(&value)?;
        Ok(value)
    }

    fn value(&mut self, code: &'e Code) -> Made<'e> {
        self.cost.charge(0)?;
        Ok(match code {
            Code::Const(value) => value.borrowed(),
            Code::Local(slot) => self.copied(self.locals[*slot].clone())?,
            Code::Variable(index) => self.copied(self.environment.variable(*index))?,
            Code::Host(index, arguments) => self.host(*index, arguments)?,
            Code::Builtin(run, arguments) => {
                let values = self.all(arguments)?;
                run(&values, &mut self.cost)?
            }
            Code::Each(each, list, body, start) => self.each(*each, list, body.as_deref(), start.as_deref())?,
            Code::List(codes) => Value::list(self.all(codes)?),
            Code::Not(code) => Value::Bool(!self.truth(code)?),
            Code::Negate(code) => match self.value(code)? {
                Value::Int(number) => Value::Int(number.wrapping_neg()),
                Value::Float(number) => Value::Float(-number),
                other => return Err(format!("invalid operation: - {}", other.type_name())),
            },
            Code::And(one, other) => Value::Bool(self.truth(one)? && self.truth(other)?),
            Code::Or(one, other) => Value::Bool(self.truth(one)? || self.truth(other)?),
            Code::Coalesce(one, other) => match self.value(one)? {
                Value::Nil => self.value(other)?,
                value => value,
            },
            Code::Orders(codes, operators) => self.orders(codes, operators)?,
            Code::Binary(operator, one, other) => {
                let (one, other) = (self.value(one)?, self.value(other)?);
                self.binary(*operator, &one, &other)?
            }
            Code::Matches(code, regex) => {
                let text = self.value(code)?;
                let text = as_text(&text, "matches")?;
                self.cost.charge(text.len())?;
                Value::Bool(regex.is_match(text))
            }
            Code::If(parts) => {
                let [test, then, otherwise] = &**parts;
                let chosen = if self.truth(test)? { then } else { otherwise };
                self.value(chosen)?
            }
            Code::Index(list, index) => {
                let (list, index) = (self.value(list)?, self.value(index)?);
                element(&list, &index)?
            }
            Code::Slice(list, from, to) => {
                let whole = self.value(list)?;
                let ends = [self.end(from.as_deref())?, self.end(to.as_deref())?];
                self.slice(&whole, ends)?
            }
            Code::Let(value, rest) => {
                let value = self.value(value)?;
                self.locals.push(value);
                let rest = self.value(rest);
                self.locals.pop();
                rest?
            }
        })
    }

    /// Charges for a value that was copied. A text is charged by its length.
    fn copied(&mut self, value: Value<'e>) -> Made<'e> {
        if let Value::Text(text) = &value {
            self.cost.charge_text(text.len())?;
        }
        Ok(value)
    }

    fn all(&mut self, codes: &'e [Code]) -> Result<Vec<Value<'e>>, String> {
        codes.iter().map(|code| self.value(code)).collect()
    }

    /// Calls a function of the environment. Most have no argument or up to two, which need no list.
    fn host(&mut self, index: usize, arguments: &'e [Code]) -> Made<'e> {
        match arguments {
            [] => self.environment.call(index, &[]),
            [one] => {
                let one = self.value(one)?;
                self.environment.call(index, &[one])
            }
            [one, other] => {
                let both = [self.value(one)?, self.value(other)?];
                self.environment.call(index, &both)
            }
            _ => {
                let values = self.all(arguments)?;
                self.environment.call(index, &values)
            }
        }
    }

    fn truth(&mut self, code: &'e Code) -> Result<bool, String> {
        match self.value(code)? {
            Value::Bool(value) => Ok(value),
            other => Err(format!("interface conversion: interface {{}} is {}, not bool", other.type_name())),
        }
    }

    fn orders(&mut self, codes: &'e [Code], operators: &[Binary]) -> Made<'e> {
        let mut left = self.value(&codes[0])?;
        for (code, operator) in codes[1..].iter().zip(operators) {
            let right = self.value(code)?;
            if !is_ordered(*operator, &left, &right)? {
                return Ok(Value::Bool(false));
            }
            left = right;
        }
        Ok(Value::Bool(true))
    }

    fn binary(&mut self, operator: Binary, one: &Value<'e>, other: &Value<'e>) -> Made<'e> {
        let texts = |test: fn(&str, &str) -> bool| {
            Ok(Value::Bool(test(as_text(one, operator.shown())?, as_text(other, operator.shown())?)))
        };
        match operator {
            Binary::Equal | Binary::Unequal => {
                self.cost.charge_whole(one)?;
                Ok(Value::Bool((one == other) == (operator == Binary::Equal)))
            }
            Binary::In => self.is_in(one, other),
            Binary::Contains => texts(|whole, part| whole.contains(part)),
            Binary::StartsWith => texts(|whole, part| whole.starts_with(part)),
            Binary::EndsWith => texts(|whole, part| whole.ends_with(part)),
            Binary::Matches => self.matches(as_text(one, "matches")?, as_text(other, "matches")?),
            Binary::Range => self.range(one, other),
            Binary::Add => match (one, other) {
                (Value::Text(one), Value::Text(other)) => {
                    self.cost.charge_text(one.len() + other.len())?;
                    Ok(Value::Text(format!("{one}{other}").into()))
                }
                _ => arithmetic(operator, one, other),
            },
            _ => arithmetic(operator, one, other),
        }
    }

    fn is_in(&mut self, one: &Value<'e>, list: &Value<'e>) -> Made<'e> {
        match list {
            Value::List(list) => {
                self.cost.charge(list.elements().len())?;
                if matches!(one, Value::List(_)) {
                    list.elements().iter().try_for_each(|element| self.cost.charge_whole(element))?;
                }
                Ok(Value::Bool(list.elements().contains(one)))
            }
            Value::Nil => Ok(Value::Bool(false)),
            other => Err(format!("operator \"in\" not defined on {}", other.type_name())),
        }
    }

    /// Matches a regular expression that is known only now. Its size is limited, because it is
    /// compiled for this evaluation alone.
    fn matches(&mut self, text: &str, pattern: &str) -> Made<'e> {
        self.cost.charge(text.len().saturating_add(pattern.len().saturating_mul(16)))?;
        let regex = RegexBuilder::new(pattern).size_limit(MAX_REGEX).dfa_size_limit(MAX_REGEX).nest_limit(32).build();
        let regex = regex.map_err(|_| format!("error parsing regexp: {pattern}"))?;
        Ok(Value::Bool(regex.is_match(text)))
    }

    fn range(&mut self, from: &Value<'e>, to: &Value<'e>) -> Made<'e> {
        let (Value::Int(from), Value::Int(to)) = (from, to) else {
            return Err("a range has whole numbers".to_owned());
        };
        let count = to.saturating_sub(*from).saturating_add(1).max(0);
        self.cost.charge(usize::try_from(count).unwrap_or(usize::MAX))?;
        Ok(Value::list((*from..=*to).map(Value::Int)))
    }

    fn end(&mut self, code: Option<&'e Code>) -> Result<Option<i64>, String> {
        match code.map(|code| self.value(code)).transpose()? {
            None => Ok(None),
            Some(Value::Int(number)) => Ok(Some(number)),
            Some(other) => Err(format!("cannot slice with {}", other.type_name())),
        }
    }

    /// Returns a part of a list or a text. Bounds outside of it are moved to its ends.
    fn slice(&mut self, whole: &Value<'e>, [from, to]: [Option<i64>; 2]) -> Made<'e> {
        let length = match whole {
            Value::Text(text) => text.len(),
            Value::List(list) => list.elements().len(),
            other => return Err(format!("cannot slice {}", other.type_name())),
        };
        self.cost.charge(length)?;
        let place = |end: i64| {
            let length = length as i64;
            (if end < 0 { end + length } else { end }).clamp(0, length) as usize
        };
        let (from, to) = (from.map_or(0, place), to.map_or(length, place));
        let to = to.max(from);
        Ok(match whole {
            // Unlike in Go, a bound inside of a character makes the text empty.
            Value::Text(text) => Value::Text(text.get(from..to).unwrap_or_default().to_owned().into()),
            Value::List(list) => Value::list(list.elements()[from..to].iter().cloned()),
            _ => Value::Nil,
        })
    }

    fn each(&mut self, each: Each, list: &'e Code, body: Option<&'e Code>, start: Option<&'e Code>) -> Made<'e> {
        let list = match self.value(list)? {
            Value::List(list) => list,
            other => return Err(format!("cannot go through {}", other.type_name())),
        };
        let start = start.map(|code| self.value(code)).transpose()?;
        let base = self.locals.len();
        let made = self.each_of(each, &list, body, start);
        self.locals.truncate(base);
        made
    }

    fn each_of(&mut self, each: Each, list: &List<'e>, body: Option<&'e Code>, start: Option<Value<'e>>) -> Made<'e> {
        let (elements, base) = (list.elements(), self.locals.len());
        let mut kept = Vec::new();
        let (mut count, mut sum) = (0, start);
        let backwards = matches!(each, Each::FindLast | Each::FindLastIndex);
        for step in 0..elements.len() {
            let index = if backwards { elements.len() - 1 - step } else { step };
            let element = &elements[index];
            if each == Each::Reduce && sum.is_none() {
                sum = Some(element.clone());
                continue;
            }
            self.locals.truncate(base);
            self.locals.extend([element.clone(), Value::Int(index as i64)]);
            if each == Each::Reduce {
                self.locals.push(sum.take().unwrap_or(Value::Nil));
            }
            let value = body.map_or_else(|| Ok(element.clone()), |body| self.value(body))?;
            let holds = matches!(value, Value::Bool(true));
            if each.asks() && !matches!(value, Value::Bool(_)) {
                return Err(format!("interface conversion: interface {{}} is {}, not bool", value.type_name()));
            }
            match each {
                Each::All if !holds => return Ok(Value::Bool(false)),
                Each::None if holds => return Ok(Value::Bool(false)),
                Each::Any if holds => return Ok(Value::Bool(true)),
                Each::Find | Each::FindLast if holds => return Ok(element.clone()),
                Each::FindIndex | Each::FindLastIndex if holds => return Ok(Value::Int(index as i64)),
                Each::Filter if holds => kept.push(element.clone()),
                Each::Map => kept.push(value),
                Each::One | Each::Count if holds => count += 1,
                // Only here lists can be nested deeper than the expression is.
                Each::Reduce if value.depth() > usize::from(MAX_DEPTH) => {
                    return Err("lists are nested too deep".to_owned());
                }
                Each::Reduce => sum = Some(value),
                Each::Sum => {
                    let so_far = sum.take().unwrap_or(Value::Int(0));
                    sum = Some(arithmetic(Binary::Add, &so_far, &value)?);
                }
                _ => {}
            }
        }
        Ok(match each {
            Each::All | Each::None => Value::Bool(true),
            Each::Any => Value::Bool(false),
            Each::One => Value::Bool(count == 1),
            Each::Count => Value::Int(count),
            Each::Filter | Each::Map => Value::list(kept),
            Each::Sum => sum.unwrap_or(Value::Int(0)),
            Each::Reduce => sum.ok_or("reduce of empty array with no initial value")?,
            Each::Find | Each::FindLast | Each::FindIndex | Each::FindLastIndex => Value::Nil,
        })
    }
}

fn as_text<'a>(value: &'a Value<'_>, operator: &str) -> Result<&'a str, String> {
    match value {
        Value::Text(text) => Ok(text),
        other => Err(format!("invalid operation: {operator} takes texts, not {}", other.type_name())),
    }
}

fn is_ordered(operator: Binary, one: &Value<'_>, other: &Value<'_>) -> Result<bool, String> {
    let order = one.order(other).ok_or_else(|| mismatch(operator, one, other))?;
    Ok(match operator {
        Binary::Less => order == Ordering::Less,
        Binary::LessOrEqual => order != Ordering::Greater,
        Binary::Greater => order == Ordering::Greater,
        _ => order != Ordering::Less,
    })
}

fn element<'e>(list: &Value<'e>, index: &Value<'e>) -> Made<'e> {
    let (Value::List(list), Value::Int(number)) = (list, index) else {
        return Err(format!("cannot fetch {} from {}", index.type_name(), list.type_name()));
    };
    let elements = list.elements();
    let index = lists::place(*number, elements.len());
    let index = index.ok_or_else(|| format!("index out of range: {number} (array length is {})", elements.len()))?;
    Ok(elements[index].clone())
}
