//! Compiles a tree to code: looks up names, checks types, compiles the expressions of `matches`.

use regex::Regex;

use super::builtin::{self, Builtin, Each, is_reserved};
use super::eval::Code;
use super::invalid::Invalid;
use super::tree::{Binary, Node, Tree, Unary};
use super::types::{Function, Type};
use super::value::Value;

/// The names that an environment has.
#[derive(Debug, Clone, Default)]
pub struct Scope {
    functions: Vec<&'static Function>,
    variables: Vec<(String, Type)>,
}

impl Scope {
    /// Returns a scope with these functions.
    #[must_use]
    pub fn new(functions: impl IntoIterator<Item = &'static Function>) -> Self {
        Self { functions: functions.into_iter().collect(), variables: Vec::new() }
    }

    /// Adds a variable; its index is the number of variables before it.
    pub fn add(&mut self, name: &str, kind: Type) {
        self.variables.push((name.to_owned(), kind));
    }

    /// Returns whether a function or a variable has this name.
    #[must_use]
    pub fn has(&self, name: &str) -> bool {
        self.has_function(name) || self.variables.iter().any(|(known, _)| known == name)
    }

    fn has_function(&self, name: &str) -> bool {
        self.functions.iter().any(|function| function.name == name)
    }

    fn function_names(&self) -> Vec<&'static str> {
        self.functions.iter().map(|function| function.name).collect()
    }
}

/// Compiles a tree. Returns its code and the type of its value.
pub(super) fn compile(tree: &Node, scope: &Scope) -> Checked {
    Checker { scope, locals: Vec::new(), bodies: Vec::new() }.check(tree)
}

type Checked = Result<(Code, Type), Invalid>;

struct Checker<'s> {
    scope: &'s Scope,
    /// Variables of `let` and those of bodies, in the order in which they are kept.
    locals: Vec<(String, Type)>,
    /// Where the element, its index and the sum of each open body are kept.
    bodies: Vec<usize>,
}

impl Checker<'_> {
    fn check(&mut self, node: &Node) -> Checked {
        Ok(match &node.what {
            Tree::Nil => (Code::Const(Value::Nil), Type::Nil),
            Tree::Bool(value) => (Code::Const(Value::Bool(*value)), Type::Bool),
            Tree::Int(number) => (Code::Const(Value::Int(*number)), Type::Int),
            Tree::Float(number) => (Code::Const(Value::Float(*number)), Type::Float),
            Tree::Text(text) => (Code::Const(Value::Text(text.clone().into())), Type::Text),
            Tree::List(nodes) => self.list(nodes)?,
            Tree::Word(name) => self.word(node.at, name)?,
            Tree::Element(name) => self.element(node.at, name)?,
            Tree::Unary(unary, inner) => self.unary(node.at, *unary, inner)?,
            Tree::Binary(binary, left, right) => self.binary(node.at, *binary, left, right)?,
            Tree::Orders(nodes, operators) => self.orders(node.at, nodes, operators)?,
            Tree::If(parts) => self.condition(parts)?,
            Tree::Call(name, nodes) => self.call(node.at, name, nodes)?,
            Tree::Index(list, index) => self.index(node.at, list, index)?,
            Tree::Slice(list, from, to) => self.slice(node.at, list, [from.as_deref(), to.as_deref()])?,
            Tree::Let(name, value, rest) => self.variable(node.at, name, value, rest)?,
        })
    }

    fn list(&mut self, nodes: &[Node]) -> Checked {
        let (codes, types) = self.all(nodes)?;
        let element = match &types[..] {
            [first, others @ ..] if others.iter().all(|other| other == first) => first.clone(),
            _ => Type::Any,
        };
        let constants: Option<Vec<_>> = codes.iter().map(Code::constant).collect();
        let code = constants.map_or(Code::List(codes), |values| Code::Const(Value::list(values)));
        Ok((code, element.list()))
    }

    fn all(&mut self, nodes: &[Node]) -> Result<(Vec<Code>, Vec<Type>), Invalid> {
        nodes.iter().map(|node| self.check(node)).collect()
    }

    fn word(&self, at: usize, name: &str) -> Checked {
        if let Some(slot) = self.locals.iter().rposition(|(known, _)| known == name) {
            return Ok((Code::Local(slot), self.locals[slot].1.clone()));
        }
        if let Some(index) = self.scope.variables.iter().rposition(|(known, _)| known == name) {
            return Ok((Code::Variable(index), self.scope.variables[index].1.clone()));
        }
        if self.scope.has_function(name) {
            let hint = format!("a function is called with parentheses: {name}()");
            return Err(Invalid { hint, ..Invalid::new(at, format!("{name} is a function")) });
        }
        Err(self.unknown(at, name))
    }

    fn unknown(&self, at: usize, name: &str) -> Invalid {
        if name == "$env" || builtin::is_known(name) {
            return Invalid::new(at, format!("{name} is not served in expressions"));
        }
        let hint =
            format!("a text stands in quotes: '{name}'; functions are {}", self.scope.function_names().join(", "));
        Invalid { hint, ..Invalid::new(at, format!("unknown name {name}")) }
    }

    fn element(&self, at: usize, name: &str) -> Checked {
        let base = *self.bodies.last().ok_or_else(|| Invalid::new(at, "unexpected token Operator(\"#\")"))?;
        let slot = match name {
            "" => base,
            "index" => base + 1,
            "acc" if self.locals.get(base + 2).is_some_and(|(name, _)| name == ACC) => base + 2,
            _ => return Err(Invalid::new(at, format!("unknown pointer #{name}"))),
        };
        Ok((Code::Local(slot), self.locals[slot].1.clone()))
    }

    fn unary(&mut self, at: usize, unary: Unary, inner: &Node) -> Checked {
        let (code, kind) = self.check(inner)?;
        let code = Box::new(code);
        match (unary, &kind) {
            (Unary::Not, Type::Bool | Type::Any) => Ok((Code::Not(code), Type::Bool)),
            (Unary::Plus, Type::Int | Type::Float | Type::Any) => Ok((*code, kind)),
            (Unary::Minus, Type::Int | Type::Float | Type::Any) => Ok((Code::Negate(code), kind)),
            _ => Err(Invalid::new(at, format!("invalid operation: {} (mismatched type {kind})", unary.shown()))),
        }
    }

    fn binary(&mut self, at: usize, operator: Binary, left: &Node, right: &Node) -> Checked {
        let (one, l) = self.check(left)?;
        let (other, r) = self.check(right)?;
        let kind = result(operator, &l, &r).ok_or_else(|| mismatch(at, operator, &l, &r))?;
        if operator == Binary::In
            && let Type::List(element) = &r
            && !l.is_comparable(element)
        {
            return Err(Invalid::new(at, format!("cannot use {l} as type {element} in array")));
        }
        if operator == Binary::Remainder && matches!(other, Code::Const(Value::Int(0))) {
            return Err(Invalid::new(at, "integer divide by zero"));
        }
        let code = match (operator, &other) {
            (Binary::Matches, Code::Const(Value::Text(pattern))) => {
                let regex = Regex::new(pattern).map_err(|why| Invalid {
                    hint: why.to_string().lines().last().unwrap_or_default().to_owned(),
                    ..Invalid::new(right.at, format!("error parsing regexp: {pattern}"))
                })?;
                Code::Matches(Box::new(one), regex)
            }
            (Binary::And, _) => Code::And(Box::new(one), Box::new(other)),
            (Binary::Or, _) => Code::Or(Box::new(one), Box::new(other)),
            (Binary::Coalesce, _) => Code::Coalesce(Box::new(one), Box::new(other)),
            _ => Code::Binary(operator, Box::new(one), Box::new(other)),
        };
        Ok((code, kind))
    }

    fn orders(&mut self, at: usize, nodes: &[Node], operators: &[Binary]) -> Checked {
        let (codes, types) = self.all(nodes)?;
        for (two, operator) in types.windows(2).zip(operators) {
            let [l, r] = two else { continue };
            if result(*operator, l, r).is_none() {
                return Err(mismatch(at, *operator, l, r));
            }
        }
        Ok((Code::Orders(codes, operators.to_vec()), Type::Bool))
    }

    fn condition(&mut self, parts: &[Node; 3]) -> Checked {
        let [test, then, otherwise] = parts;
        let (test_code, kind) = self.check(test)?;
        if !matches!(kind, Type::Bool | Type::Any) {
            return Err(Invalid::new(test.at, format!("non-bool expression (type {kind}) used as condition")));
        }
        let (then, one) = self.check(then)?;
        let (otherwise, other) = self.check(otherwise)?;
        let kind = match (one, other) {
            (one, other) if one == other => one,
            (Type::Nil, kind) | (kind, Type::Nil) => kind,
            _ => Type::Any,
        };
        Ok((Code::If(Box::new([test_code, then, otherwise])), kind))
    }

    fn call(&mut self, at: usize, name: &str, nodes: &[Node]) -> Checked {
        if let Some(index) = self.scope.functions.iter().position(|function| function.name == name) {
            return self.host(at, index, nodes);
        }
        if let Some(each) = builtin::body_of(name) {
            return self.each(at, name, each, nodes);
        }
        let Some(Builtin { least, most, gives, run, .. }) = builtin::named(name) else {
            return Err(self.unknown(at, name));
        };
        let (codes, types) = self.all(nodes)?;
        if types.len() < *least {
            return Err(Invalid::new(at, format!("not enough arguments to call {name}")));
        }
        if types.len() > *most {
            return Err(Invalid::new(at, format!("too many arguments to call {name}")));
        }
        let (index, wanted) = match gives(&types) {
            Ok(kind) => return Ok((Code::Builtin(*run, codes), kind)),
            Err(wrong) => wrong,
        };
        let kind = &types[index];
        Err(match wanted {
            Some(wanted) => unfit(&nodes[index], kind, &wanted, name),
            None => Invalid::new(at, format!("invalid argument for {name} (type {kind})")),
        })
    }

    fn host(&mut self, at: usize, index: usize, nodes: &[Node]) -> Checked {
        let function = self.scope.functions[index];
        let (name, takes) = (function.name, function.takes);
        let (codes, types) = self.all(nodes)?;
        if types.len() != takes.len() {
            let which = if types.len() < takes.len() { "not enough" } else { "too many" };
            return Err(Invalid::new(at, format!("{which} arguments to call {name}")));
        }
        for ((kind, wanted), node) in types.iter().zip(takes).zip(nodes) {
            if !kind.fits(wanted) {
                return Err(unfit(node, kind, wanted, name));
            }
        }
        Ok((Code::Host(index, codes), function.gives.clone()))
    }

    /// A function that evaluates a body for each element of a list.
    fn each(&mut self, at: usize, name: &str, each: Each, nodes: &[Node]) -> Checked {
        let [list, rest @ ..] = nodes else {
            return Err(Invalid::new(at, format!("not enough arguments to call {name}")));
        };
        let (code, kind) = self.check(list)?;
        if !kind.is_list() && kind != Type::Any {
            return Err(Invalid::new(list.at, format!("builtin {name} takes only array (got {kind})")));
        }
        let (body, start) = match (each, rest) {
            (Each::Reduce, [body, start]) => (Some(body), Some(self.check(start)?.0)),
            (_, [body]) => (Some(body), None),
            (Each::Count | Each::Sum, []) => (None, None),
            (_, []) => return Err(Invalid::new(at, format!("not enough arguments to call {name}"))),
            _ => return Err(Invalid::new(at, format!("too many arguments to call {name}"))),
        };
        let element = kind.element();
        let Some(body) = body else {
            let gives = each.gives(element.clone(), element);
            return Ok((Code::Each(each, Box::new(code), None, None), gives));
        };
        let base = self.locals.len();
        self.locals.extend([(String::new(), element.clone()), (String::new(), Type::Int)]);
        if each == Each::Reduce {
            self.locals.push((ACC.to_owned(), Type::Any));
        }
        self.bodies.push(base);
        let checked = self.check(body);
        self.bodies.pop();
        self.locals.truncate(base);
        let (body_code, result) = checked?;
        if each.asks() && !matches!(result, Type::Bool | Type::Any) {
            return Err(Invalid::new(body.at, format!("predicate should return boolean (got {result})")));
        }
        let gives = each.gives(element, result);
        Ok((Code::Each(each, Box::new(code), Some(Box::new(body_code)), start.map(Box::new)), gives))
    }

    fn index(&mut self, at: usize, list: &Node, index: &Node) -> Checked {
        let (list, kind) = self.check(list)?;
        let (index, place) = self.check(index)?;
        let element = match &kind {
            Type::List(_) | Type::Any if matches!(place, Type::Int | Type::Any) => kind.element(),
            Type::List(_) => {
                return Err(Invalid::new(
                    at,
                    format!("array elements can only be selected using an integer (got {place})"),
                ));
            }
            _ => return Err(Invalid::new(at, format!("type {kind}[{place}] is undefined"))),
        };
        Ok((Code::Index(Box::new(list), Box::new(index)), element))
    }

    fn slice(&mut self, at: usize, list: &Node, ends: [Option<&Node>; 2]) -> Checked {
        let (list, kind) = self.check(list)?;
        if !matches!(kind, Type::List(_) | Type::Text | Type::Any) {
            return Err(Invalid::new(at, format!("cannot slice {kind}")));
        }
        let mut codes = [None, None];
        for (end, code) in ends.into_iter().zip(&mut codes) {
            let Some(end) = end else { continue };
            let (checked, place) = self.check(end)?;
            if !matches!(place, Type::Int | Type::Any) {
                return Err(Invalid::new(end.at, format!("non-integer slice index {place}")));
            }
            *code = Some(Box::new(checked));
        }
        let [from, to] = codes;
        Ok((Code::Slice(Box::new(list), from, to), kind))
    }

    fn variable(&mut self, at: usize, name: &str, value: &Node, rest: &Node) -> Checked {
        let is_taken = self.scope.has(name) || is_reserved(name) || self.locals.iter().any(|(known, _)| known == name);
        if is_taken {
            return Err(Invalid::new(at, format!("cannot redeclare {name}")));
        }
        let (value, kind) = self.check(value)?;
        self.locals.push((name.to_owned(), kind));
        let rest = self.check(rest);
        self.locals.pop();
        let (rest, kind) = rest?;
        Ok((Code::Let(Box::new(value), Box::new(rest)), kind))
    }
}

/// The name of the local that `reduce` sums up in. No variable has it.
const ACC: &str = "#acc";

/// Returns the complaint about an argument of a wrong type.
fn unfit(node: &Node, kind: &Type, wanted: &Type, name: &str) -> Invalid {
    Invalid::new(node.at, format!("cannot use {kind} as argument (type {wanted}) to call {name}"))
}

fn mismatch(at: usize, operator: Binary, l: &Type, r: &Type) -> Invalid {
    Invalid::new(at, format!("invalid operation: {} (mismatched types {l} and {r})", operator.shown()))
}

/// Returns the type that an operator makes of two types; `None` if it does not take them.
fn result(operator: Binary, l: &Type, r: &Type) -> Option<Type> {
    let both = |accepted: fn(&Type) -> bool| accepted(l) && accepted(r) || l.may_both_be(r, accepted);
    let is_text: fn(&Type) -> bool = |kind| *kind == Type::Text;
    let is_int: fn(&Type) -> bool = |kind| *kind == Type::Int;
    let numbers = both(Type::is_number);
    let is_known = *l != Type::Any && *r != Type::Any;
    let number = || match (l, r) {
        (Type::Int, Type::Int) => Type::Int,
        _ if is_known => Type::Float,
        _ => Type::Any,
    };
    match operator {
        Binary::Equal | Binary::Unequal => l.is_comparable(r).then_some(Type::Bool),
        Binary::Or | Binary::And => both(|kind| *kind == Type::Bool).then_some(Type::Bool),
        Binary::Less | Binary::LessOrEqual | Binary::Greater | Binary::GreaterOrEqual => {
            (numbers || both(is_text)).then_some(Type::Bool)
        }
        Binary::Subtract | Binary::Multiply => numbers.then(number),
        Binary::Divide | Binary::Power => numbers.then_some(Type::Float),
        Binary::Remainder => both(is_int).then_some(Type::Int),
        Binary::Add if l == r && *l == Type::Text => Some(Type::Text),
        Binary::Add => (numbers || both(is_text)).then(number),
        Binary::In => (r.is_list() || *r == Type::Any).then_some(Type::Bool),
        Binary::Matches | Binary::Contains | Binary::StartsWith | Binary::EndsWith => {
            both(is_text).then_some(Type::Bool)
        }
        Binary::Range => both(is_int).then(|| Type::Int.list()),
        Binary::Coalesce => Some(match (l, r) {
            (Type::Nil, other) | (other, Type::Nil) => other.clone(),
            (l, r) if l == r => l.clone(),
            _ => Type::Any,
        }),
    }
}
