//! Expressions in a Corefile, and what they can ask about a query: `type()`, `client_ip()`,
//! `incidr(...)`.

use std::cell::OnceCell;
use std::fmt::{self, Write};
use std::net::IpAddr;

use super::query::Query;
use super::site::Site;
use crate::corefile::value::{cidr, ip};
use crate::corefile::{Cursor, Word};
use crate::error::Result;
use crate::expr::{Environment, Function, Program, Scope, Type, Value};
use crate::wire::text::NameText;
use crate::wire::types::{class_name, type_name};

/// The functions, by the index with which [`QueryEnvironment`] is called.
pub static FUNCTIONS: [Function; 15] = [
    function("bufsize", &[], Type::Int),
    function("class", &[], Type::Text),
    function("client_ip", &[], Type::Text),
    function("do", &[], Type::Bool),
    function("id", &[], Type::Int),
    function("name", &[], Type::Text),
    function("opcode", &[], Type::Int),
    function("port", &[], Type::Text),
    function("proto", &[], Type::Text),
    function("server_ip", &[], Type::Text),
    function("server_port", &[], Type::Text),
    function("size", &[], Type::Int),
    function("type", &[], Type::Text),
    function("incidr", &[Type::Text, Type::Text], Type::Bool),
    function("metadata", &[Type::Text], Type::Text),
];

const fn function(name: &'static str, takes: &'static [Type], gives: Type) -> Function {
    Function { name, takes, gives }
}

/// What expressions can ask about one query. Texts are made when they are first asked for, without
/// allocation.
pub struct QueryEnvironment<'q> {
    query: &'q Query<'q>,
    site: &'q Site,
    name: OnceCell<NameText>,
    short: [OnceCell<ShortText>; 4],
    kinds: [OnceCell<ShortText>; 2],
}

impl<'q> QueryEnvironment<'q> {
    /// Returns the environment of a query in a server block.
    #[must_use]
    pub fn new(query: &'q Query<'q>, site: &'q Site) -> Self {
        Self { query, site, name: OnceCell::new(), short: Default::default(), kinds: Default::default() }
    }

    fn short(&self, at: usize, text: impl fmt::Display) -> Value<'_> {
        Value::text(self.short[at].get_or_init(|| ShortText::of(text)).as_str())
    }

    /// Returns the name of a type or a class, or its number behind a word.
    fn kind(&self, at: usize, name: Option<&'static str>, word: &str, number: u16) -> Value<'_> {
        match name {
            Some(name) => Value::text(name),
            None => Value::text(self.kinds[at].get_or_init(|| ShortText::of(format_args!("{word}{number}"))).as_str()),
        }
    }

    /// Returns the size of the query in octets: header, question and OPT.
    fn size(&self) -> usize {
        const OPT: usize = 11;
        let request = &self.query.request;
        request.question_end() + request.edns.as_ref().map_or(0, |edns| OPT + edns.options.len())
    }
}

impl Environment for QueryEnvironment<'_> {
    fn call<'e>(&'e self, function: usize, arguments: &[Value<'e>]) -> std::result::Result<Value<'e>, String> {
        let Query { request, question, client, .. } = self.query;
        Ok(match (function, arguments) {
            (0, []) => Value::Int(self.query.room() as i64),
            (1, []) => self.kind(0, class_name(question.qclass), "CLASS", question.qclass),
            (2, []) => self.short(0, client.peer.ip().to_canonical()),
            (3, []) => Value::Bool(self.query.dnssec_ok()),
            (4, []) => Value::Int(request.id.into()),
            (5, []) => Value::text(self.name.get_or_init(|| NameText::of(&question.name)).as_str()),
            (6, []) => Value::Int(request.opcode().into()),
            (7, []) => self.short(1, client.peer.port()),
            (8, []) => Value::text(client.proto.name()),
            (9, []) => self.short(2, client.local.ip().to_canonical()),
            (10, []) => self.short(3, client.local.port()),
            (11, []) => Value::Int(self.size() as i64),
            (12, []) => self.kind(1, type_name(question.qtype), "TYPE", question.qtype),
            (13, [Value::Text(address), Value::Text(network)]) => {
                let address = ip(address).map(|address: IpAddr| address.to_canonical());
                let address = address.ok_or("first argument is not an IP address")?;
                let network = cidr(network).ok_or_else(|| format!("invalid CIDR address: {network}"))?;
                Value::Bool(network.contains(address))
            }
            (14, [Value::Text(label)]) => match self.site.metadata(label, self.query) {
                Some(value) => Value::Text(value),
                None => Value::text(""),
            },
            _ => return Err("wrong arguments".to_owned()),
        })
    }

    fn variable(&self, _: usize) -> Value<'_> {
        Value::Nil
    }
}

/// Reads words of a line as one expression: they are joined by spaces, as in CoreDNS.
///
/// # Errors
/// The expression is wrong; `prefix` begins the message. The word that holds the mistake is named.
pub fn read(cursor: &Cursor<'_>, words: &[&Word], scope: &Scope, prefix: &str) -> Result<Program> {
    let texts: Vec<&str> = words.iter().map(|word| word.as_str()).collect();
    let text = texts.join(" ");
    Program::compile(&text, scope).map_err(|invalid| {
        let before = text.get(..invalid.at).unwrap_or(&text);
        let message = format!("{prefix}{} (1:{})", invalid.message, before.chars().count() + 1);
        // The word in which the mistake begins.
        let mut end = 0;
        let ends_behind = |word: &&&Word| {
            end += word.as_str().len() + 1;
            invalid.at < end
        };
        let word = words.iter().find(ends_behind).or(words.last()).copied().unwrap_or(cursor.word());
        cursor.complain(word, message).hint(invalid.hint).into()
    })
}

//----------- ShortText ------------------------------------------------------

/// A text of at most 48 octets on the stack: an address, a port, a type.
#[derive(Debug)]
struct ShortText {
    octets: [u8; 48],
    len: usize,
}

impl ShortText {
    fn of(text: impl fmt::Display) -> Self {
        let mut short = Self { octets: [0; 48], len: 0 };
        // An address has 39 characters at most.
        let _ = write!(short, "{text}");
        short
    }

    fn as_str(&self) -> &str {
        std::str::from_utf8(&self.octets[..self.len]).unwrap_or_default()
    }
}

impl Write for ShortText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.octets.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Server, packet};

    #[test]
    fn each_function_says_what_its_name_promises() {
        let server = Server::new(". {\nwhoami\n}\n");
        let mut asked = packet("Web.Example.", "A");
        // DO, an unknown type, and an option of four octets.
        let at = asked.len();
        asked[at - 15..at - 13].copy_from_slice(&65_280_u16.to_be_bytes());
        asked[at - 4] = 0x80;
        asked[at - 1] = 4;
        asked.extend_from_slice(&[0xff, 0xee, 0, 0]);
        let peer = "[::ffff:192.0.2.7]:4000".parse().expect("an address");
        let (query, _) = server.outcome(&asked, peer).expect("a reply");
        let site = &server.configuration.listeners[0].sites()[0];
        for (text, wanted) in [
            ("bufsize()", "1232"),
            ("class()", "IN"),
            ("client_ip()", "192.0.2.7"),
            ("do()", "true"),
            ("id()", "4660"),
            ("name()", "web.example."),
            ("opcode()", "0"),
            ("port()", "4000"),
            ("proto()", "udp"),
            ("server_ip()", "127.0.0.1"),
            ("server_port()", "53"),
            ("size()", "44"),
            ("type()", "TYPE65280"),
            ("incidr(client_ip(), '192.0.2.0/24')", "true"),
            ("incidr(client_ip(), '2001:db8::/32')", "false"),
            ("metadata('view/name')", ""),
        ] {
            let program = Program::compile(text, &Scope::new(&FUNCTIONS)).expect(text);
            let environment = QueryEnvironment::new(&query, site);
            assert_eq!(program.run(&environment).map(|value| value.to_string()).as_deref(), Ok(wanted), "{text}");
        }
        assert_eq!(FUNCTIONS.len(), 15, "each of them is tried here");
    }
}
