//! # bind — listen on some addresses only
//!
//! Without this directive a server block listens on all addresses of the host. An interface stands
//! for all addresses that it has when the Corefile is read; a link-local IPv6 address gets its
//! interface's name, `fe80::1%eth0`. With `reload` the server notices at its next look that an
//! interface got or lost an address.
//!
//! Blocks may listen on overlapping addresses of one port. A question goes to the block that names
//! its address, or else to one that listens on all: without `bind`, or with `0.0.0.0` or `::`,
//! which mean both families.
//!
//! ## Syntax
//!
//! ```text
//! bind ADDRESS|INTERFACE... [{
//! }]
//! ```
//!
//! The directive may stand several times; the addresses of all lines count.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     bind lo {
//!         except ::1
//!     }
//!     whoami
//! }
//! ```

use std::collections::BTreeSet;
use std::net::IpAddr;

use crate::chain::doc::doc_of;
use crate::chain::options::{OptionOf, OptionsOf};
use crate::chain::setup::{Registration, Setup};
use crate::corefile::{Cursor, Word, value};
use crate::error::Result;

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "bind", setup, doc: doc_of!("bind.rs"), options: &[&OPTIONS] };

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    let interfaces = interfaces();
    let mut named = Vec::new();
    while cursor.next_occurrence() {
        let words = cursor.args();
        if words.is_empty() {
            return Err(cursor.error("at least one address or interface name is expected"));
        }
        let mut except_words = Vec::new();
        OPTIONS.read(&mut cursor, &mut except_words, s)?;
        let wanted = words.iter().map(|word| Ok((word, addresses(&cursor, &[word], &interfaces)?)));
        let wanted: Vec<_> = wanted.collect::<Result<_>>()?;
        let except_words: Vec<&Word> = except_words.iter().collect();
        let except = addresses(&cursor, &except_words, &interfaces)?;
        named.extend(words.iter().chain(&except_words).map(|word| word.as_str().to_owned()));
        for (word, wanted) in wanted {
            s.bind(word, wanted.into_iter().filter(|address| !except.contains(address)));
        }
    }
    if s.bound().is_empty() {
        return Err(cursor.error("no address is left to listen on"));
    }
    named.retain(|name| value::ip(name).is_none());
    if !named.is_empty() {
        s.made_from(state(&named, &interfaces), move || state(&named, &self::interfaces()));
    }
    Ok(())
}

/// Reads the words after `except`.
static OPTIONS: OptionsOf<Vec<Word>> = OptionsOf {
    all: &[OptionOf {
        name: "except",
        form: "ADDRESS|INTERFACE...",
        about: "Leaves out addresses of the same line.",
        read: |cursor, except, _| {
            *except = cursor.args().into_iter().cloned().collect();
            if except.is_empty() {
                return Err(cursor.error("at least one address or interface must be given to except subdirective"));
            }
            Ok(())
        },
    }],
    unknown: |word| format!("Error during parsing: invalid option {}", value::quote(word.as_str())),
};

/// Returns the addresses of these interfaces as a text that can be compared.
fn state(names: &[String], interfaces: &[(String, String)]) -> String {
    let of_these: BTreeSet<_> = interfaces.iter().filter(|(name, _)| names.contains(name)).collect();
    format!("{of_these:?}")
}

/// Returns the addresses that `words` stand for.
fn addresses(cursor: &Cursor<'_>, words: &[&Word], interfaces: &[(String, String)]) -> Result<Vec<String>> {
    let mut all = Vec::new();
    for word in words {
        let text = word.as_str();
        let before = all.len();
        all.extend(interfaces.iter().filter(|(name, _)| name == text).map(|(_, address)| address.clone()));
        if all.len() > before || is_interface(text) {
            continue;
        }
        let Some(address) = value::ip(text) else {
            let quoted = value::quote(text);
            let names: BTreeSet<_> = interfaces.iter().map(|(name, _)| name.as_str()).collect();
            let names = names.into_iter().collect::<Vec<_>>().join(", ");
            return Err(cursor
                .complain(word, format!("Error during parsing: not a valid IP address or interface name: {quoted}"))
                .hint(format!("interfaces with addresses here: {names}"))
                .into());
        };
        // One address has one socket, however the address is written.
        all.push(address.to_canonical().to_string());
    }
    Ok(all)
}

/// Returns every address of the host with the name of its interface.
fn interfaces() -> Vec<(String, String)> {
    let found = if_addrs::get_if_addrs().unwrap_or_default().into_iter();
    let text = |name: &str, address: IpAddr| match address {
        IpAddr::V6(v6) if v6.is_unicast_link_local() => format!("{v6}%{name}"),
        other => other.to_string(),
    };
    found.map(|interface| (interface.name.clone(), text(&interface.name, interface.ip()))).collect()
}

/// Whether there is an interface of this name, with or without an address.
fn is_interface(name: &str) -> bool {
    !matches!(name, "" | "." | "..")
        && !name.contains('/')
        && std::path::Path::new("/sys/class/net").join(name).exists()
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    /// Returns the addresses that the block listens on, or the first line of the error.
    fn hosts(text: &str) -> Result<Vec<String>, String> {
        let server = Server::try_new(&format!(". {{\n{text}\nwhoami\n}}\n"));
        let server = server.map_err(|error| error.to_string().lines().next().unwrap_or_default().to_owned())?;
        Ok(server.configuration.listeners.iter().map(|listener| listener.host.clone()).collect())
    }

    #[test]
    fn addresses_of_all_lines_count_once() {
        assert_eq!(hosts("errors"), Ok(vec![String::new()]));
        assert_eq!(
            hosts("bind 127.0.0.1 ::1\nbind 127.0.0.1 127.0.0.2"),
            Ok(vec!["127.0.0.1".into(), "127.0.0.2".into(), "::1".into()])
        );
        assert_eq!(hosts("bind ::1 0:0::1 ::ffff:127.0.0.1 127.0.0.1"), Ok(vec!["127.0.0.1".into(), "::1".into()]));
        assert_eq!(hosts("bind 127.0.0.1 127.0.0.2 {\nexcept 127.0.0.1\n}"), Ok(vec!["127.0.0.2".into()]));
        assert!(
            hosts("bind 127.0.0.1 {\nexcept 127.0.0.1\n}").is_err_and(|error| error.contains("no address is left"))
        );
    }

    #[test]
    fn addresses_of_named_interfaces_are_a_fact_that_may_change() {
        let interfaces = |all: &[(&str, &str)]| {
            all.iter().map(|(name, address)| ((*name).to_owned(), (*address).to_owned())).collect::<Vec<_>>()
        };
        let names = ["eth0".to_owned()];
        let state = |all: &[(&str, &str)]| super::state(&names, &interfaces(all));
        let before = state(&[("eth0", "10.0.0.1"), ("lo", "127.0.0.1"), ("eth0", "10.0.0.2")]);
        assert_eq!(before, state(&[("eth0", "10.0.0.2"), ("eth0", "10.0.0.1")]), "in whatever order");
        assert_ne!(before, state(&[("eth0", "10.0.0.1")]));
        assert_ne!(before, state(&[("eth0", "10.0.0.1"), ("eth0", "10.0.0.2"), ("eth0", "10.0.0.3")]));
        let facts = |text: &str| Server::new(&format!(". {{\n{text}\nwhoami\n}}\n")).configuration.facts;
        assert!(facts("bind 127.0.0.1 ::1").is_empty());
        for text in ["bind lo", "bind 127.0.0.1 127.0.0.2 {\nexcept lo\n}\nbind 127.0.0.3"] {
            let facts = facts(text);
            assert_eq!((facts.len(), facts.iter().any(crate::chain::setup::Fact::has_changed)), (1, false), "{text}");
        }
    }

    #[test]
    fn an_interface_stands_for_its_addresses() {
        let all = hosts("bind lo").expect("a loopback interface");
        assert!(all.contains(&"127.0.0.1".to_owned()), "{all:?}");
        let wrong = hosts("bind nonesuch0").expect_err("no such interface");
        assert!(wrong.ends_with("not a valid IP address or interface name: \"nonesuch0\""), "{wrong}");
    }
}
