//! Parses tokens to a tree, by the precedence of operators.

use super::builtin;
use super::invalid::{Invalid, MAX_DEPTH};
use super::token::{Kind, Token, tokens};
use super::tree::{Binary, NOT, Node, SIGN, Tree, Unary};

type Read<T = Node> = Result<T, Invalid>;

/// Reads an expression.
pub(super) fn parse(text: &str) -> Read {
    let mut parser = Parser { tokens: tokens(text)?, at: 0, nested: 0, bodies: 0 };
    let tree = parser.sequence()?;
    match parser.now().kind {
        Kind::End => Ok(tree),
        _ => Err(parser.unexpected()),
    }
}

struct Parser<'t> {
    tokens: Vec<Token<'t>>,
    at: usize,
    /// Brackets, operators in front and calls that are open.
    nested: u16,
    /// How many bodies of functions such as `any` are open; `#` has a meaning in them only.
    bodies: u16,
}

impl<'t> Parser<'t> {
    fn now(&self) -> &Token<'t> {
        &self.tokens[self.at]
    }

    /// Takes the current token. The last one is not used up.
    fn take(&mut self) -> Token<'t> {
        let token = self.tokens[self.at].clone();
        self.at = (self.at + 1).min(self.tokens.len() - 1);
        token
    }

    fn is(&self, kind: Kind, text: &str) -> bool {
        self.now().kind == kind && self.now().text == text
    }

    fn takes(&mut self, kind: Kind, text: &str) -> bool {
        let is = self.is(kind, text);
        if is {
            self.take();
        }
        is
    }

    fn expect(&mut self, kind: Kind, text: &str) -> Read<()> {
        if self.takes(kind, text) { Ok(()) } else { Err(self.unexpected()) }
    }

    fn unexpected(&self) -> Invalid {
        let Token { kind, text, at } = self.now();
        let shown = match kind {
            Kind::Number => format!("Number(\"{text}\")"),
            Kind::Text => format!("String(\"{text}\")"),
            Kind::Word => format!("Identifier(\"{text}\")"),
            Kind::Operator => format!("Operator(\"{text}\")"),
            Kind::Bracket => format!("Bracket(\"{text}\")"),
            Kind::End => "EOF".to_owned(),
        };
        Invalid::new(*at, format!("unexpected token {shown}"))
    }

    fn node(&self, at: usize, what: Tree) -> Read {
        let depth = 1 + match &what {
            Tree::List(nodes) | Tree::Call(_, nodes) | Tree::Orders(nodes, _) => deepest(nodes),
            Tree::Unary(_, node) => node.depth,
            Tree::Binary(_, one, other) | Tree::Index(one, other) | Tree::Let(_, one, other) => {
                one.depth.max(other.depth)
            }
            Tree::If(parts) => deepest(&**parts),
            Tree::Slice(list, from, to) => {
                let ends = [from, to].into_iter().flatten().map(|end| end.depth);
                ends.fold(list.depth, u16::max)
            }
            _ => 0,
        };
        if depth > MAX_DEPTH { Err(too_deep(at)) } else { Ok(Node { at, depth, what }) }
    }

    /// Expressions separated by `;`, of which the last one counts.
    fn sequence(&mut self) -> Read {
        let mut last = self.expression(0)?;
        while self.takes(Kind::Operator, ";") && self.now().kind != Kind::End {
            last = self.expression(0)?;
        }
        Ok(last)
    }

    fn expression(&mut self, least: u16) -> Read {
        self.nested += 1;
        if self.nested > MAX_DEPTH {
            return Err(too_deep(self.now().at));
        }
        let node = self.expression_inside(least);
        self.nested -= 1;
        node
    }

    fn expression_inside(&mut self, least: u16) -> Read {
        if least == 0 && self.takes(Kind::Operator, "let") {
            return self.variable();
        }
        if least == 0 && self.takes(Kind::Operator, "if") {
            return self.if_else();
        }
        let mut left = self.primary()?;
        let mut last = None;
        loop {
            let at = self.now().at;
            if least == 0 && self.takes(Kind::Operator, "|") {
                left = self.piped(left)?;
                last = None;
                continue;
            }
            let Some((operator, tight, negated)) = self.operator(least)? else { break };
            if last == Some(Binary::Coalesce) && operator != Binary::Coalesce {
                let message = format!(
                    "Operator ({}) and coalesce expressions (??) cannot be mixed. Wrap either by parentheses.",
                    operator.shown()
                );
                return Err(Invalid::new(at, message));
            }
            last = Some(operator);
            left = match operator.is_order() {
                true => self.orders(left, operator, tight, at)?,
                false => {
                    let right = self.expression(if operator == Binary::Power { tight } else { tight + 1 })?;
                    self.node(at, Tree::Binary(operator, Box::new(left), Box::new(right)))?
                }
            };
            if negated {
                left = self.node(at, Tree::Unary(Unary::Not, Box::new(left)))?;
            }
        }
        if least == 0 { self.conditional(left) } else { Ok(left) }
    }

    /// Takes a binary operator of at least this precedence, and `not` in front of it.
    fn operator(&mut self, least: u16) -> Read<Option<(Binary, u16, bool)>> {
        let token = self.now();
        if token.kind != Kind::Operator {
            return Ok(None);
        }
        if token.text == "not" {
            let next = &self.tokens[(self.at + 1).min(self.tokens.len() - 1)];
            let Some((operator, tight, true)) = Binary::named(&next.text).filter(|_| next.kind == Kind::Operator)
            else {
                self.take();
                return Err(self.unexpected());
            };
            if tight < least {
                return Ok(None);
            }
            self.take();
            self.take();
            return Ok(Some((operator, tight, true)));
        }
        let Some((operator, tight, _)) = Binary::named(&token.text).filter(|(_, tight, _)| *tight >= least) else {
            return Ok(None);
        };
        self.take();
        Ok(Some((operator, tight, false)))
    }

    /// Reads the rest of `a < b < c`: all of them have to hold.
    fn orders(&mut self, left: Node, first: Binary, tight: u16, at: usize) -> Read {
        let right = self.expression(tight + 1)?;
        let (mut nodes, mut operators) = (vec![left, right], vec![first]);
        while self.now().kind == Kind::Operator
            && let Some((operator, ..)) = Binary::named(&self.now().text).filter(|(operator, ..)| operator.is_order())
        {
            self.take();
            operators.push(operator);
            nodes.push(self.expression(tight + 1)?);
        }
        self.node(at, Tree::Orders(nodes, operators))
    }

    fn conditional(&mut self, mut node: Node) -> Read {
        while self.is(Kind::Operator, "?") {
            let at = self.take().at;
            if self.takes(Kind::Operator, ":") {
                return Err(unserved(at, "?:", "write a ? a : b"));
            }
            let then = self.expression(0)?;
            self.expect(Kind::Operator, ":")?;
            let otherwise = self.expression(0)?;
            node = self.node(node.at, Tree::If(Box::new([node, then, otherwise])))?;
        }
        Ok(node)
    }

    fn variable(&mut self) -> Read {
        let Token { kind: Kind::Word, text, at } = self.take() else {
            self.at -= 1;
            return Err(self.unexpected());
        };
        self.expect(Kind::Operator, "=")?;
        let value = self.expression(0)?;
        self.expect(Kind::Operator, ";")?;
        let rest = self.sequence()?;
        self.node(at, Tree::Let(text.into_owned(), Box::new(value), Box::new(rest)))
    }

    fn if_else(&mut self) -> Read {
        let test = self.expression(0)?;
        let then = self.braced()?;
        self.expect(Kind::Operator, "else")?;
        let otherwise = if self.takes(Kind::Operator, "if") { self.nested_if()? } else { self.braced()? };
        self.node(test.at, Tree::If(Box::new([test, then, otherwise])))
    }

    fn nested_if(&mut self) -> Read {
        self.nested += 1;
        if self.nested > MAX_DEPTH {
            return Err(too_deep(self.now().at));
        }
        let node = self.if_else();
        self.nested -= 1;
        node
    }

    fn braced(&mut self) -> Read {
        self.expect(Kind::Bracket, "{")?;
        let node = self.sequence()?;
        self.expect(Kind::Bracket, "}")?;
        Ok(node)
    }

    fn primary(&mut self) -> Read {
        let (at, kind) = (self.now().at, self.now().kind);
        let sign = match &*self.now().text {
            "not" | "!" => Some((Unary::Not, NOT)),
            "+" => Some((Unary::Plus, SIGN)),
            "-" => Some((Unary::Minus, SIGN)),
            _ => None,
        };
        let node = match sign {
            Some((unary, tight)) if kind == Kind::Operator => {
                self.take();
                let inner = self.expression(tight)?;
                self.node(at, Tree::Unary(unary, Box::new(inner)))?
            }
            _ if self.takes(Kind::Bracket, "(") => {
                let node = self.sequence()?;
                self.expect(Kind::Bracket, ")")?;
                node
            }
            _ if self.bodies > 0 && self.takes(Kind::Operator, "#") => {
                let name = match self.now() {
                    // The name follows without a blank.
                    token if token.kind == Kind::Word && token.at == at + 1 => self.take().text.into_owned(),
                    _ => String::new(),
                };
                self.node(at, Tree::Element(name))?
            }
            _ => self.single()?,
        };
        self.behind(node)
    }

    fn single(&mut self) -> Read {
        let at = self.now().at;
        if self.takes(Kind::Bracket, "[") {
            let nodes = self.nodes("]")?;
            return self.node(at, Tree::List(nodes));
        }
        if self.is(Kind::Bracket, "{") {
            return Err(unserved(at, "a map", "lists are served: ['A', 'AAAA']"));
        }
        let what = match self.now().kind {
            Kind::Text => Tree::Text(self.take().text.into_owned()),
            Kind::Number => {
                let token = self.take();
                number(&token)?
            }
            Kind::Word => {
                let token = self.take();
                match &*token.text {
                    "true" => Tree::Bool(true),
                    "false" => Tree::Bool(false),
                    "nil" => Tree::Nil,
                    name if self.is(Kind::Bracket, "(") => {
                        let name = name.to_owned();
                        return self.call(at, name, Vec::new());
                    }
                    name => Tree::Word(name.to_owned()),
                }
            }
            _ => return Err(self.unexpected()),
        };
        self.node(at, what)
    }

    fn piped(&mut self, first: Node) -> Read {
        let Token { kind: Kind::Word, text, at } = self.now().clone() else { return Err(self.unexpected()) };
        self.take();
        let call = self.call(at, text.into_owned(), vec![first])?;
        self.behind(call)
    }

    /// Reads the arguments of a call behind those that it has already.
    fn call(&mut self, at: usize, name: String, mut nodes: Vec<Node>) -> Read {
        self.expect(Kind::Bracket, "(")?;
        let body = builtin::body_of(&name);
        if nodes.is_empty() && body.is_some() && !self.is(Kind::Bracket, ")") {
            nodes.push(self.expression(0)?);
            if !self.is(Kind::Bracket, ")") {
                self.expect(Kind::Operator, ",")?;
            }
        }
        if body.is_some() && !self.is(Kind::Bracket, ")") {
            self.bodies += 1;
            let node = if self.is(Kind::Bracket, "{") { self.braced() } else { self.expression(0) };
            self.bodies -= 1;
            nodes.push(node?);
            if !self.is(Kind::Bracket, ")") {
                self.expect(Kind::Operator, ",")?;
            }
        }
        nodes.extend(self.nodes(")")?);
        self.node(at, Tree::Call(name, nodes))
    }

    /// Reads expressions up to a closing bracket; a comma may stand before it.
    fn nodes(&mut self, close: &str) -> Read<Vec<Node>> {
        let mut nodes = Vec::new();
        while !self.takes(Kind::Bracket, close) {
            nodes.push(self.expression(0)?);
            if !self.is(Kind::Bracket, close) {
                self.expect(Kind::Operator, ",")?;
            }
        }
        Ok(nodes)
    }

    /// Reads what may follow a value: an index or a part of it.
    fn behind(&mut self, mut node: Node) -> Read {
        loop {
            let at = self.now().at;
            if self.is(Kind::Operator, ".") || self.is(Kind::Operator, "?.") {
                return Err(unserved(at, "a field", "functions and elements of lists are served"));
            }
            if !self.takes(Kind::Bracket, "[") {
                return Ok(node);
            }
            let from = if self.is(Kind::Operator, ":") { None } else { Some(Box::new(self.expression(0)?)) };
            let what = if self.takes(Kind::Operator, ":") {
                let to = if self.is(Kind::Bracket, "]") { None } else { Some(Box::new(self.expression(0)?)) };
                Tree::Slice(Box::new(node), from, to)
            } else {
                Tree::Index(Box::new(node), from.ok_or_else(|| self.unexpected())?)
            };
            self.expect(Kind::Bracket, "]")?;
            node = self.node(at, what)?;
        }
    }
}

fn deepest(nodes: &[Node]) -> u16 {
    nodes.iter().map(|node| node.depth).max().unwrap_or(0)
}

fn too_deep(at: usize) -> Invalid {
    let hint = "long lists of == are shorter with in: name() in ['a.', 'b.']".to_owned();
    Invalid { hint, ..Invalid::new(at, format!("more than {MAX_DEPTH} parts of the expression are nested")) }
}

fn unserved(at: usize, what: &str, hint: &str) -> Invalid {
    Invalid { hint: hint.to_owned(), ..Invalid::new(at, format!("{what} is not served in expressions")) }
}

fn number(token: &Token<'_>) -> Read<Tree> {
    let text = token.text.replace('_', "").to_ascii_lowercase();
    let based = |digits: &str, base| i64::from_str_radix(digits, base).ok().map(Tree::Int);
    let value = match text.get(..2) {
        Some("0x") => based(&text[2..], 16),
        Some("0o") => based(&text[2..], 8),
        Some("0b") => based(&text[2..], 2),
        _ if text.contains(['.', 'e']) => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Tree::Float),
        _ => text.parse().ok().map(Tree::Int),
    };
    value.ok_or_else(|| Invalid::new(token.at, format!("invalid number literal: {}", token.text)))
}
