//! # acl — decide who may ask what
//!
//! Looks at the client's address and the type of the question. It lets the query pass, refuses it,
//! answers it without records, or drops it.
//!
//! ## Syntax
//!
//! ```text
//! acl [ZONES...] {
//! }
//! ```
//!
//! - **ZONES** default to those of the server block; questions about other names pass.
//! - **TYPE** is in upper case, **NETWORK** is `10.0.0.0/8` or a single address. `*` means all, as
//!   does leaving `type` or `net` out.
//!
//! The first line that matches decides. A question that no line matches goes to the next `acl` of
//! the server block. After the last one it passes.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     acl example.org {
//!         allow net 10.0.0.0/8 2001:db8::/32
//!         block
//!     }
//!     acl {
//!         filter type HTTPS
//!     }
//!     whoami
//! }
//! ```
//!
//! ## Metrics
//!
//! - `coredns_acl_blocked_requests_total{server,zone,view}`,
//!   `coredns_acl_filtered_requests_total{server,zone,view}`,
//!   `coredns_acl_dropped_requests_total{server,zone,view}`: questions that were refused, answered
//!   without records, dropped.
//! - `coredns_acl_allowed_requests_total{server,view}`: questions that passed.

use std::net::IpAddr;
use std::sync::Arc;

use crate::chain::doc::doc_of;
use crate::chain::options::{OptionOf, OptionsOf};
use crate::chain::per_listener::PerListener;
use crate::chain::setup::{Registration, Setup};
use crate::chain::zones::Zones;
use crate::chain::{Here, Plugin, Query, Reply, Step};
use crate::corefile::value::{self, Network};
use crate::corefile::{Cursor, Word};
use crate::error::Result;
use crate::host::Host;
use crate::host::metrics::{Counter, Family};
use crate::wire::answer::Answer;
use crate::wire::name::Name;
use crate::wire::reply::ede;
use crate::wire::types::{rcode, type_number};

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "acl", setup, doc: doc_of!("acl.rs"), options: &[&OPTIONS] };

const ZONED: &[&str] = &["server", "zone", "view"];

static BLOCKED: Family = Family {
    name: "coredns_acl_blocked_requests_total",
    help: "Counter of DNS requests being blocked.",
    labels: ZONED,
};
static FILTERED: Family = Family {
    name: "coredns_acl_filtered_requests_total",
    help: "Counter of DNS requests being filtered.",
    labels: ZONED,
};
static DROPPED: Family = Family {
    name: "coredns_acl_dropped_requests_total",
    help: "Counter of DNS requests being dropped.",
    labels: ZONED,
};
static ALLOWED: Family = Family {
    name: "coredns_acl_allowed_requests_total",
    help: "Counter of DNS requests being allowed.",
    labels: &["server", "view"],
};

/// The decision about a question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Action {
    Allow,
    Block,
    Filter,
    Drop,
}

/// One line of a block.
struct Policy {
    action: Action,
    /// The types that the line applies to; `None` means all.
    types: Option<Vec<u16>>,
    /// The networks that the line applies to; `None` means all.
    networks: Option<Vec<Network>>,
}

struct Rule {
    zones: Zones,
    policies: Vec<Policy>,
}

struct Acl {
    rules: Vec<Rule>,
    host: Arc<Host>,
    /// The block's view, for metrics.
    view: String,
    /// Cached here because it counts most questions.
    allowed: PerListener<Counter>,
}

//----------- Setup ----------------------------------------------------------

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let (mut cursor, mut rules) = (s.cursor(), Vec::new());
    while cursor.next_occurrence() {
        let (directive, words) = (cursor.word(), cursor.args());
        let mut rule = Rule { zones: Zones::read(&cursor, &words, s.keys), policies: Vec::new() };
        while cursor.next_option() {
            // CoreDNS accepts these names in any case.
            let option = OPTIONS.find(&cursor.word().as_str().to_ascii_lowercase());
            (option.ok_or_else(|| OPTIONS.unknown(&cursor))?.read)(&mut cursor, &mut rule.policies, s)?;
        }
        if rule.zones.is_empty() && !rule.policies.is_empty() {
            // An error, because the operator who wrote this rule relies on it.
            let complaint = cursor.complain(directive, "this rule holds for no name: none of its zones is valid");
            return Err(complaint.hint("name a zone, or leave the zones out for those of the server block").into());
        }
        rules.push(rule);
    }
    s.chain(Acl { rules, host: s.host.clone(), view: s.view().to_owned(), allowed: s.per_listener() });
    Ok(())
}

static OPTIONS: OptionsOf<Vec<Policy>> = OptionsOf {
    all: &[
        OptionOf {
            name: "allow",
            form: MATCHES,
            about: "The question passes, and later `acl` directives do not see it.",
            read: |cursor, policies, _| policy(cursor, policies, Action::Allow),
        },
        OptionOf {
            name: "block",
            form: MATCHES,
            about: "The reply is REFUSED, with the extended error 15 (RFC 8914).",
            read: |cursor, policies, _| policy(cursor, policies, Action::Block),
        },
        OptionOf {
            name: "filter",
            form: MATCHES,
            about: "The reply is an empty NOERROR, with the extended error 17.",
            read: |cursor, policies, _| policy(cursor, policies, Action::Filter),
        },
        OptionOf {
            name: "drop",
            form: MATCHES,
            about: "There is no reply; the query is counted and logged all the same.",
            read: |cursor, policies, _| policy(cursor, policies, Action::Drop),
        },
    ],
    unknown: |word| unexpected(word, "expect 'allow', 'block', 'filter' or 'drop'"),
};

/// The arguments of each action.
const MATCHES: &str = "[type TYPE...] [net NETWORK...]";

fn policy(cursor: &mut Cursor<'_>, policies: &mut Vec<Policy>, action: Action) -> Result<()> {
    let lower = cursor.word().as_str().to_ascii_lowercase();
    let mut policy = Policy { action, types: None, networks: None };
    let args = cursor.args();
    let mut rest = &args[..];
    while let Some((kind, tail)) = rest.split_first() {
        if !begins_section(kind) {
            let message = unexpected(kind, "expect 'type | net'");
            return Err(cursor.complain(kind, message).hint(format!("{lower} net {kind}")).into());
        }
        let end = tail.iter().position(|word| begins_section(word)).unwrap_or(tail.len());
        let (words, after) = tail.split_at(end);
        let section = kind.as_str().to_ascii_lowercase();
        if words.is_empty() {
            return Err(cursor.error_at(kind, format!("no token specified in {} section", value::quote(&section))));
        }
        match &*section {
            "type" => types(cursor, words, &mut policy.types)?,
            _ => networks(cursor, words, &mut policy.networks)?,
        }
        rest = after;
    }
    // `*` means all, the same as leaving them out.
    policy.types = policy.types.filter(|types| !types.contains(&0));
    policy.networks = policy.networks.filter(|networks| !networks.is_empty());
    policies.push(policy);
    Ok(())
}

fn begins_section(word: &Word) -> bool {
    ["type", "net"].iter().any(|section| word.as_str().eq_ignore_ascii_case(section))
}

fn unexpected(word: &Word, expected: &str) -> String {
    format!("Error during parsing: unexpected token {}; {expected}", value::quote(word.as_str()))
}

fn types(cursor: &Cursor<'_>, words: &[&Word], types: &mut Option<Vec<u16>>) -> Result<()> {
    let types = types.get_or_insert_default();
    for word in words {
        if word.as_str() == "*" {
            // No question has type 0: it means all. Words after `*` are not read, as in CoreDNS.
            types.push(0);
            break;
        }
        let Some(number) = type_number(word.as_str()) else {
            let upper = word.as_str().to_ascii_uppercase();
            let hint = type_number(&upper).map(|_| format!("in upper case: {upper}")).unwrap_or_default();
            return Err(cursor.complain(word, unexpected(word, "expect legal QTYPE")).hint(hint).into());
        };
        types.push(number);
    }
    Ok(())
}

fn networks(cursor: &Cursor<'_>, words: &[&Word], networks: &mut Option<Vec<Network>>) -> Result<()> {
    let networks = networks.get_or_insert_default();
    for word in words {
        let text = word.as_str();
        if text == "*" {
            // All of IPv4 and IPv6. Words after `*` are not read, as in CoreDNS.
            networks.extend(Network::ALL);
            break;
        }
        let single = || value::ip(text).map(Network::of);
        let Some(network) = value::cidr(text).or_else(single) else {
            let shown = match text {
                text if text.contains('/') => text.to_owned(),
                text if text.contains(':') => format!("{text}/128"),
                text => format!("{text}/32"),
            };
            let message = format!("Error during parsing: illegal CIDR notation {}", value::quote(&shown));
            return Err(cursor.complain(word, message).hint("as in 10.0.0.0/8, 2001:db8::/32 or 10.0.0.1").into());
        };
        networks.push(network);
    }
    Ok(())
}

//----------- Questions ------------------------------------------------------

impl Plugin for Acl {
    fn ask(&self, query: &mut Query<'_>, here: &Here<'_>) -> Step {
        if query.client.is_nobody() {
            return Step::Next;
        }
        let (zone, action) = self.action(query);
        let (family, step) = match action {
            Action::Allow => {
                self.allowed.get(here, |server| self.host.metrics.counter(&ALLOWED, &[server, &self.view])).inc();
                return Step::Next;
            }
            Action::Block => (&BLOCKED, Step::Answer(verdict(Answer::empty(rcode::REFUSED), ede::BLOCKED))),
            Action::Filter => (&FILTERED, Step::Answer(verdict(Answer::no_data(0), ede::FILTERED))),
            Action::Drop => (&DROPPED, Step::Drop),
        };
        self.host.metrics.counter(family, &[&here.listener.server, &zone.to_string(), &self.view]).inc();
        step
    }
}

impl Acl {
    /// Returns the decision about a question, and the zone of the rule that made it.
    fn action(&self, query: &Query<'_>) -> (&Name, Action) {
        let client = query.client.peer.ip().to_canonical();
        for rule in &self.rules {
            let Some(zone) = rule.zones.longest(&query.question.name) else { continue };
            if let Some(policy) = rule.policies.iter().find(|policy| policy.holds(query.question.qtype, client)) {
                return (zone, policy.action);
            }
        }
        (&Name::ROOT, Action::Allow)
    }
}

/// Builds this plugin's own reply, which ends a search list as any answer does.
fn verdict(answer: Answer, error: u16) -> Reply {
    Reply::memory(Arc::new(answer)).with_error(error, "")
}

impl Policy {
    fn holds(&self, qtype: u16, client: IpAddr) -> bool {
        self.types.as_ref().is_none_or(|types| types.contains(&qtype))
            && self.networks.as_ref().is_none_or(|networks| networks.iter().any(|network| network.contains(client)))
    }
}

#[cfg(test)]
#[path = "acl_tests.rs"]
mod tests;
