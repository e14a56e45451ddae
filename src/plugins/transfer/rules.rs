//! Which clients may copy a zone, and which get NOTIFY.

use std::net::{IpAddr, SocketAddr};

use crate::chain::options::{OptionOf, OptionsOf};
use crate::chain::setup::Setup;
use crate::chain::zones::Zones;
use crate::corefile::{Cursor, Word, value};
use crate::error::Result;
use crate::remote::{Address, Scheme};
use crate::wire::name::Name;

/// The directives of one server block.
pub(super) struct Rules(Vec<Rule>);

/// One directive.
#[derive(Default)]
pub(super) struct Rule {
    zones: Zones,
    /// Whether all clients may copy the zones.
    everyone: bool,
    /// Other clients that may, and get NOTIFY unless the port is 0.
    to: Vec<SocketAddr>,
    /// The address that NOTIFY is sent from; `None` leaves it to the kernel.
    pub(super) source: Option<IpAddr>,
}

impl Rules {
    /// Reads the directives of the block.
    ///
    /// # Errors
    /// An option is unknown, an address is invalid, or `to` is missing.
    pub(super) fn read(s: &Setup<'_>) -> Result<Self> {
        let (mut cursor, mut rules) = (s.cursor(), Vec::new());
        while cursor.next_occurrence() {
            let words = cursor.args();
            let mut rule = Rule { zones: Zones::read(&cursor, &words, s.keys), ..Rule::default() };
            OPTIONS.read(&mut cursor, &mut rule, s)?;
            if !rule.everyone && rule.to.is_empty() {
                let complaint = cursor.complain(cursor.word(), "Error during parsing: 'to' is required");
                return Err(complaint.hint("`to ADDRESS...` names who may copy the zones; `to *` is everyone").into());
            }
            rules.push(rule);
        }
        Ok(Self(rules))
    }

    /// Returns the directive with the longest zone that holds a name; of equal zones the first
    /// counts.
    pub(super) fn of(&self, name: &Name) -> Option<&Rule> {
        let longest = |rule: &Rule| rule.zones.longest(name).map(Name::len);
        self.0.iter().rev().filter(|rule| longest(rule).is_some()).max_by_key(|rule| longest(rule))
    }

    /// Returns whether any address gets NOTIFY.
    pub(super) fn have_addresses(&self) -> bool {
        self.0.iter().any(|rule| rule.told().next().is_some())
    }
}

impl Rule {
    /// Returns where NOTIFY is sent.
    pub(super) fn told(&self) -> impl Iterator<Item = SocketAddr> {
        self.to.iter().copied().filter(|to| to.port() > 0)
    }

    /// Returns whether a client may copy the zones.
    pub(super) fn allows(&self, client: IpAddr) -> bool {
        self.everyone || self.to.iter().any(|to| to.ip().to_canonical() == client.to_canonical())
    }
}

pub(super) static OPTIONS: OptionsOf<Rule> = OptionsOf {
    all: &[
        OptionOf {
            name: "to",
            form: "ADDRESS...",
            about: "These clients may copy the zones, and get NOTIFY at this port (53). `*` lets every client copy \
                    them, and sends no NOTIFY. Required, and may be repeated.",
            read: |cursor, rule, _| {
                for word in cursor.args_of(1..)? {
                    match word.as_str() {
                        "*" => rule.everyone = true,
                        _ => rule.to.push(address(cursor, word)?),
                    }
                }
                Ok(())
            },
        },
        OptionOf {
            name: "source",
            form: "ADDRESS",
            about: "NOTIFY is sent from this address (the kernel's choice).",
            read: |cursor, rule, _| {
                let word = cursor.one_arg()?;
                if rule.source.is_some() {
                    return Err(cursor.error_at(word, "source already specified"));
                }
                let source = value::ip(word.as_str());
                let wrong = || cursor.error_at(word, format!("invalid source address {}", value::quote(word.as_str())));
                rule.source = Some(source.ok_or_else(wrong)?);
                Ok(())
            },
        },
    ],
    unknown: |word| format!("Error during parsing: unknown property {}", value::quote(word.as_str())),
};

/// Reads an IP address, perhaps with a port. The port is 0 if nothing can be sent there.
fn address(cursor: &Cursor<'_>, word: &Word) -> Result<SocketAddr> {
    let refused =
        |wrong: String| cursor.complain(word, wrong).hint("write an IP address, ADDRESS:PORT, or * for everyone");
    let (host, port) = value::ip_port(word.as_str(), 53).map_err(refused)?;
    if port == 0 {
        cursor.warn(word, format!("there is no such port: {host} may copy the zones, and is not told of changes"));
    }
    let address = Address::read(host, port.into(), Scheme::Dns);
    Ok(address.ok_or_else(|| refused(format!("must specify an IP address: `{host}'")))?.socket)
}
