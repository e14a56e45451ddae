//! Reads the directives from the Corefile.

use std::net::SocketAddr;

use crate::chain::options::{OptionOf, OptionsOf, unknown_property};
use crate::chain::setup::Setup;
use crate::chain::zones::{Fallthrough, Zones};
use crate::corefile::{Cursor, Word, value};
use crate::error::Result;
use crate::remote::{Address, Scheme};
use crate::wire::name::Name;

/// The directives of one server block.
#[derive(Default)]
pub(super) struct Directive {
    /// Each zone once, with its primaries.
    pub(super) zones: Vec<(Name, Vec<SocketAddr>)>,
    pub(super) fallthrough: Fallthrough,
    /// The primaries of the directive that is being read.
    primaries: Vec<SocketAddr>,
}

/// Reads all directives. If several name a zone, the last counts, as in CoreDNS.
pub(super) fn read(s: &Setup<'_>) -> Result<Directive> {
    let (mut cursor, mut directive) = (s.cursor(), Directive::default());
    while cursor.next_occurrence() {
        let words = cursor.args();
        let zones = Zones::read(&cursor, &words, s.keys);
        directive.primaries.clear();
        OPTIONS.read(&mut cursor, &mut directive, s)?;
        if directive.primaries.is_empty() {
            let complaint = cursor
                .complain(cursor.word(), "Error during parsing: secondary zones require a transfer from property");
            return Err(complaint.hint("`transfer from ADDRESS...` names the primary servers").into());
        }
        for zone in zones.iter() {
            directive.zones.retain(|(known, _)| known != zone);
            directive.zones.push((*zone, directive.primaries.clone()));
        }
    }
    Ok(directive)
}

pub(super) static OPTIONS: OptionsOf<Directive> = OptionsOf {
    all: &[
        OptionOf {
            name: "transfer",
            form: "from ADDRESS...",
            about: "The primary servers, asked in this order (port 53). Required, and may be repeated.",
            read: |cursor, directive, _| {
                let word = cursor.expect_arg()?;
                if *word.text != *"from" {
                    return Err(cursor.error(format!("unknown property {word}")));
                }
                for word in cursor.args_of(1..)? {
                    directive.primaries.push(address(cursor, word)?);
                }
                Ok(())
            },
        },
        OptionOf {
            name: "catalog",
            form: "",
            about: "",
            read: |cursor, _, _| {
                let complaint = cursor.complain(cursor.word(), "CoreDNS serves catalog zones, Signpost does not yet");
                Err(complaint.hint("name each zone of the catalog in a `secondary` of its own").into())
            },
        },
        OptionOf {
            name: "fallthrough",
            form: "[ZONES...]",
            about: "Names in these zones (all) that do not exist are passed to the next plugin.",
            read: |cursor, directive, _| {
                let zones = cursor.args();
                directive.fallthrough = Fallthrough::read(cursor, &zones);
                Ok(())
            },
        },
    ],
    unknown: unknown_property,
};

fn address(cursor: &Cursor<'_>, word: &Word) -> Result<SocketAddr> {
    let refused = |wrong: String| cursor.complain(word, wrong).hint("write an IP address or ADDRESS:PORT");
    if *word.text == *"*" {
        return Err(refused("can't use '*' in transfer from".to_owned()).into());
    }
    let (host, port) = value::ip_port(word.as_str(), 53).map_err(refused)?;
    if port == 0 {
        cursor.warn(word, format!("there is no such port: nothing can be copied from {host}"));
    }
    let address = Address::read(host, port.into(), Scheme::Dns);
    Ok(address.ok_or_else(|| refused(format!("must specify an IP address: `{host}'")))?.socket)
}
