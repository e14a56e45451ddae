//! # view — choose the server block by more than the name
//!
//! A server block with a view takes only those queries for its zones for which an expression is
//! true. Several blocks may have the same zones and the same port: they are asked from the top of
//! the Corefile, and the first one whose view is true, or that has none, serves the query. So a
//! block without a view stands last. If none of them takes the query, blocks with shorter zones are
//! asked.
//!
//! ## Syntax
//!
//! ```text
//! view NAME {
//! }
//! ```
//!
//! **NAME** is the value of the label `view` in the metrics of the block. With *metadata* it is
//! published as `view/name`.
//!
//! An expression compares, calculates and calls functions:
//!
//! | words | meaning |
//! |---|---|
//! | `'text'`, `5`, `true`, `['A', 'AAAA']` | values; a backslash in a text is written twice |
//! | `==` `!=` `<` `<=` `>` `>=` `in` `not in` | comparisons |
//! | `matches` `contains` `startsWith` `endsWith` | comparisons of texts; `matches` takes a regular expression |
//! | `and` `&&` `or` `\|\|` `not` `!` `? :` `??` | combinations |
//! | `type()` `class()` `name()` | the question; the name in lower case with a dot at its end |
//! | `client_ip()` `port()` `server_ip()` `server_port()` `proto()` | the client and the server, as texts; `udp` or `tcp` |
//! | `id()` `opcode()` `size()` `bufsize()` `do()` | the message: numbers, and the DO bit |
//! | `incidr(ADDRESS, NETWORK)` | whether the address is in the network |
//! | `metadata(LABEL)` | a value that a plugin publishes, with *metadata* in the block; empty if there is none |
//! | `any(LIST, # == 'x')` `all` `none` `one` `filter` `map` `find` `count` | functions of lists; `#` is the element |
//! | `len` `lower` `upper` `trim` `split` `join` `replace` `hasPrefix` `int` `string` ... | functions of the language expr-lang/expr |
//!
//! An expression that cannot be evaluated counts as false, and so does any value other than true. A
//! `#` has to be quoted in a Corefile, where it begins a comment. Maps, times, JSON and Base64 are
//! not supported.
//!
//! ## Examples
//!
//! Clients inside get other addresses than all others:
//!
//! ```corefile
//! example.org {
//!     view inside {
//!         expr incidr(client_ip(), '10.0.0.0/8') || client_ip() == '127.0.0.1'
//!     }
//!     hosts {
//!         10.0.0.80 www.example.org
//!     }
//! }
//!
//! example.org {
//!     hosts {
//!         192.0.2.80 www.example.org
//!     }
//! }
//! ```
//!
//! Questions for addresses go to another server than those for other types:
//!
//! ```corefile
//! . {
//!     view addresses {
//!         expr type() in ['A', 'AAAA']
//!     }
//!     forward . 192.0.2.1
//! }
//!
//! . {
//!     forward . 192.0.2.2
//! }
//! ```

use std::borrow::Cow;
use std::sync::Arc;

use crate::chain::doc::doc_of;
use crate::chain::expression::{self, FUNCTIONS, QueryEnvironment};
use crate::chain::metadata::Publisher;
use crate::chain::options::{OptionOf, OptionsOf, unknown_property};
use crate::chain::setup::{Registration, Setup};
use crate::chain::site::{Filter, Site};
use crate::chain::{Plugin, Query};
use crate::error::Result;
use crate::expr::{Program, Scope};

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "view", setup, doc: doc_of!("view.rs"), options: &[&OPTIONS] };

/// The view of a server block.
struct View {
    name: String,
    /// The conditions, all of which have to be true.
    programs: Vec<Program>,
}

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    let mut view = View { name: String::new(), programs: Vec::new() };
    while cursor.only_occurrence()? {
        let [name] = cursor.args()[..] else { return Err(cursor.arg_err()) };
        name.as_str().clone_into(&mut view.name);
        OPTIONS.read(&mut cursor, &mut view, s)?;
    }
    let view = Arc::new(view);
    s.filter(view.clone());
    s.publish("view", view.clone());
    s.chain_shared(view);
    Ok(())
}

static OPTIONS: OptionsOf<View> = OptionsOf {
    all: &[OptionOf {
        name: "expr",
        form: "EXPRESSION",
        about: "The condition. With several lines, all of them have to be true.",
        read: |cursor, view, _| {
            let words = cursor.args_of(1..)?;
            view.programs.push(expression::read(cursor, &words, &Scope::new(&FUNCTIONS), "")?);
            Ok(())
        },
    }],
    unknown: unknown_property,
};

impl Filter for View {
    fn takes(&self, query: &Query<'_>, site: &Site) -> bool {
        let environment = QueryEnvironment::new(query, site);
        self.programs.iter().all(|program| program.holds(&environment))
    }
}

impl Publisher for View {
    fn value<'a>(&'a self, label: &str, _: &'a Query<'_>) -> Option<Cow<'a, str>> {
        (label == "view/name").then_some(Cow::Borrowed(&*self.name))
    }
}

/// The seat does nothing: the block was chosen before. It is there so that metrics show it.
impl Plugin for View {}

#[cfg(test)]
mod tests {
    use super::PLUGIN;
    use crate::testing::{Server, packet};
    use crate::wire::answer::Section;

    /// Returns the address that a client gets from blocks with these views, in their order; a block
    /// without a view stands last.
    fn address(views: &[&str], client: &str, name: &str) -> Option<String> {
        let block = |(index, view): (usize, &&str)| {
            format!(". {{\nview v{index} {{\n{view}\n}}\nhosts {{\n192.0.2.{index} a.example\n}}\n}}\n")
        };
        let text: String = views.iter().enumerate().map(block).collect();
        let server = Server::new(&format!("{text}. {{\nhosts {{\n192.0.2.99 a.example\n}}\n}}\n"));
        let (_, reply) = server.outcome(&packet(name, "A"), client.parse().expect("an address"))?;
        let record = reply.answer.section(Section::Answer).next()?;
        Some(record.rdata.iter().map(ToString::to_string).collect::<Vec<_>>().join("."))
    }

    #[test]
    fn the_first_view_that_is_true_serves() {
        assert_eq!(PLUGIN.name, "view");
        let views = ["expr incidr(client_ip(), '10.0.0.0/8')", "expr type() == 'A'\nexpr port() == '4000'"];
        assert_eq!(address(&views, "10.1.2.3:53", "a.example.").as_deref(), Some("192.0.2.0"));
        assert_eq!(address(&views, "192.0.2.1:4000", "a.example.").as_deref(), Some("192.0.2.1"));
        assert_eq!(address(&views, "192.0.2.1:53", "a.example.").as_deref(), Some("192.0.2.99"));
    }

    #[test]
    fn what_is_not_true_counts_as_false() {
        for wrong in ["1", "'true'", "nil", "incidr('x', '10.0.0.0/8')", "incidr(client_ip(), '10')", "int('x') == 1"] {
            let view = format!("expr {wrong}");
            assert_eq!(address(&[&view], "10.0.0.1:53", "a.example.").as_deref(), Some("192.0.2.99"), "{wrong}");
        }
        assert_eq!(address(&[""], "10.0.0.1:53", "a.example.").as_deref(), Some("192.0.2.0"));
    }

    #[test]
    fn what_is_wrong_is_told() {
        let wrong = |text: &str| Server::try_new(text).err().expect(text).to_string();
        let view = |rest: &str| wrong(&format!(". {{\nview {rest}\nwhoami\n}}\n"));
        for (rest, wanted) in [
            ("", "Wrong argument count"),
            ("a b", "Wrong argument count"),
            ("a {\nfoo\n}", "unknown property 'foo'"),
            ("a {\nexpr name() ==\n}", "unexpected token EOF"),
            ("a {\nexpr type() == A\n}", "unknown name A (1:11)"),
            ("a {\nexpr port() == 53\n}", "invalid operation: == (mismatched types string and int) (1:8)"),
            ("a {\nexpr client_ip() in {a: 1}\n}", "a map is not served in expressions"),
            ("a\nview b", "once per Server Block"),
        ] {
            assert!(view(rest).contains(wanted), "{rest}: {}", view(rest));
        }
    }
}
