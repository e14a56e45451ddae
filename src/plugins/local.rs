//! # local — answer for localhost
//!
//! Answers questions about the client's own machine, so that they never leave the server:
//!
//! - `localhost.`, every name below it, and every name that begins with `localhost.` have the
//!   addresses 127.0.0.1 and ::1.
//! - `1.0.0.127.in-addr.arpa.` has the name `localhost.` The zones `0.in-addr.arpa.`,
//!   `127.in-addr.arpa.` and `255.in-addr.arpa.` are empty otherwise.
//!
//! All records have a TTL of 7 days. Reverse names of IPv6 go to the next plugin.
//!
//! ## Syntax
//!
//! ```text
//! local {
//! }
//! ```
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     local
//!     whoami
//! }
//! ```
//!
//! ## Metrics
//!
//! - `coredns_local_localhost_requests_total`: questions about names below `localhost.` and names
//!   that begin with it. With *debug* each is a line of the log, with the client's address.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use crate::chain::doc::doc_of;
use crate::chain::options::{OptionOf, OptionsOf, unknown_property};
use crate::chain::setup::{Registration, Setup};
use crate::chain::zones::Zones;
use crate::chain::{Here, Plugin, Query, Reply, Step};
use crate::corefile::{Cursor, value};
use crate::error::Result;
use crate::host::log;
use crate::host::metrics::{Counter, Family};
use crate::wire::answer::{Answer, Section, scratch};
use crate::wire::encode::{Encoder, Owner, Tail};
use crate::wire::name::Name;
use crate::wire::soa::Soa;
use crate::wire::types::{TypeText, class, rcode, rtype};

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "local", setup, doc: doc_of!("local.rs"), options: &[&OPTIONS] };

static REQUESTS: Family = Family {
    name: "coredns_local_localhost_requests_total",
    help: "Counter of special localhost subdomain requests.",
    labels: &[],
};

/// TTL of all records in seconds: a week, as in CoreDNS.
const TTL: u32 = 604_800;

/// The label of the first zone in [`ZONES`], in wire form.
const LOCALHOST: &[u8] = b"\x09localhost";

const ZONES: [&str; 4] = ["localhost.", "0.in-addr.arpa.", "127.in-addr.arpa.", "255.in-addr.arpa."];

/// The reverse name of 127.0.0.1.
const LOOPBACK: &str = "1.0.0.127.in-addr.arpa.";

struct Local {
    zones: Zones,
    localhost: Name,
    loopback: Name,
    /// Whether names that begin with `localhost.` are answered.
    by_prefix: bool,
    requests: Counter,
}

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let (mut cursor, mut by_prefix) = (s.cursor(), true);
    while cursor.next_occurrence() {
        cursor.args_of(..1)?;
        OPTIONS.read(&mut cursor, &mut by_prefix, s)?;
    }
    let name = |text| Name::from_text(text).expect("a name");
    s.chain(Local {
        zones: ZONES.map(name).into_iter().collect(),
        localhost: name(ZONES[0]),
        loopback: name(LOOPBACK),
        by_prefix,
        requests: s.host.metrics.counter(&REQUESTS, &[]),
    });
    Ok(())
}

static OPTIONS: OptionsOf<bool> = OptionsOf {
    all: &[OptionOf {
        name: "localhost_prefix",
        form: "on|off",
        about: "Whether names that only begin with `localhost.` are answered, such as \
                `localhost.example.org`, which a resolver makes from its search list (on). With `off` they \
                go to the next plugin (RFC 6761 section 6.3).",
        read: |cursor, by_prefix, _| {
            *by_prefix = on_or_off(cursor)?;
            Ok(())
        },
    }],
    unknown: unknown_property,
};

fn on_or_off(cursor: &mut Cursor<'_>) -> Result<bool> {
    match cursor.args()[..] {
        [word] if *word.text == *"on" => Ok(true),
        [word] if *word.text == *"off" => Ok(false),
        [word] => {
            let got = value::quote(word.as_str());
            Err(cursor.error(format!("localhost_prefix expects 'on' or 'off', got {got}")))
        }
        _ => Err(cursor.arg_err()),
    }
}

impl Plugin for Local {
    fn ask(&self, query: &mut Query<'_>, _: &Here<'_>) -> Step {
        let is_alias = self.is_alias(&query.question.name);
        let zone = match self.zones.longest(&query.question.name) {
            _ if is_alias => &query.question.name,
            Some(zone) => zone,
            None => return Step::Next,
        };
        // Each class has its own data; this plugin serves class IN.
        if query.question.qclass != class::IN {
            return Step::Answer(Reply::server(rcode::REFUSED));
        }
        if is_alias {
            self.requests.inc();
            let (name, qtype, client) =
                (&query.question.name, TypeText(query.question.qtype), query.client.peer.ip().to_canonical());
            log::debug(PLUGIN.name, format_args!("Intercepting localhost query for \"{name}\" {qtype}, from {client}"));
        }
        Step::Answer(Reply::memory(self.answer(query, zone, is_alias)))
    }
}

impl Local {
    /// Whether a name means this machine without being `localhost.` itself.
    fn is_alias(&self, name: &Name) -> bool {
        let begins = self.by_prefix && name.wire().starts_with(LOCALHOST);
        (begins || name.is_under(&self.localhost)) && *name != self.localhost
    }

    /// Answers a name in `zone`; an alias is a zone of its own without SOA and NS records.
    fn answer(&self, query: &Query<'_>, zone: &Name, is_alias: bool) -> Arc<Answer> {
        let name = &query.question.name;
        let localhost = Owner::new(LOCALHOST, Tail::Root);
        let soa = Soa {
            zone_len: zone.len(),
            ttl: TTL,
            name_server: localhost,
            hostmaster: Owner::new(b"\x04root\x09localhost", Tail::Root),
            serial: 1,
            timers: [0; 3],
            minimum: TTL,
        };
        let has_addresses = is_alias || *name == self.localhost;
        let is_apex = !is_alias && name == zone;
        let exists = name == zone || self.loopback.is_under(name);
        scratch(name.len(), |answer| {
            let e = &mut Encoder::new(answer);
            match query.question.qtype {
                rtype::A if has_addresses => e.address(Section::Answer, Owner::ASKED, TTL, Ipv4Addr::LOCALHOST.into()),
                rtype::AAAA if has_addresses => {
                    e.address(Section::Answer, Owner::ASKED, TTL, Ipv6Addr::LOCALHOST.into());
                }
                rtype::SOA if is_apex => soa.put(e, Section::Answer),
                rtype::NS if is_apex => _ = e.pointer(Section::Answer, Owner::ASKED, rtype::NS, TTL, localhost),
                rtype::PTR if *name == self.loopback => {
                    e.pointer(Section::Answer, Owner::ASKED, rtype::PTR, TTL, localhost);
                }
                _ => soa.deny(e, if exists { rcode::NOERROR } else { rcode::NXDOMAIN }),
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::{Server, packet};
    use hickory_proto::op::ResponseCode;

    /// Returns the RCODE and each record: CoreDNS 1.15.0's answers, unless the test says otherwise.
    fn ask(server: &Server, name: &str, qtype: &str) -> String {
        let message = server.ask(name, qtype).expect("a reply");
        let code = if message.metadata.response_code == ResponseCode::NXDomain { "NXDOMAIN" } else { "" };
        assert!(!message.metadata.authoritative && !message.metadata.recursion_available);
        let records = message.answers.iter().map(ToString::to_string);
        let denials = message.authorities.iter().map(|record| format!("no, {record}"));
        [code.to_owned()].into_iter().chain(records).chain(denials).collect::<Vec<_>>().join("; ")
    }

    const SOA: &str = "604800 IN SOA localhost. root.localhost. 1 0 0 0 604800";

    #[test]
    fn what_is_taken_and_refused() {
        for (lines, error) in [
            ("local {\nlocalhost_prefix off\n}\nlocal {\nlocalhost_prefix on\n}", ""),
            ("local x", "Corefile:2 - Error during parsing: Wrong argument count or unexpected line ending after 'x'"),
            ("local {\nlocalhost_prefix\n}", "unexpected line ending after 'localhost_prefix'"),
            ("local {\nlocalhost_prefix on off\n}", "unexpected line ending after 'off'"),
            ("local {\nlocalhost_prefix ON\n}", "localhost_prefix expects 'on' or 'off', got \"ON\""),
            ("local {\nprefix on\n}", "Corefile:3 - Error during parsing: unknown property 'prefix'"),
        ] {
            let refusal = Server::refusal(lines);
            assert!(refusal.ends_with(error) && refusal.is_empty() == error.is_empty(), "{lines}: {refusal}");
        }
    }

    #[test]
    fn the_names_of_this_machine() {
        let server = Server::new(". {\nlocal\nwhoami\n}\n");
        for name in ["LocalHost.", "a.B.localhost.", "localhost.Example.org.", "localhost.localhost."] {
            assert_eq!(ask(&server, name, "A"), format!("; {name} 604800 IN A 127.0.0.1"));
            assert_eq!(ask(&server, name, "AAAA"), format!("; {name} 604800 IN AAAA ::1"));
            assert_eq!(ask(&server, name, "MX"), format!("; no, {name} {SOA}"));
            let (no, ns) = match name {
                "LocalHost." => ("", format!("; {name} 604800 IN NS localhost.")),
                _ => ("no, ", format!("; no, {name} {SOA}")),
            };
            assert_eq!(ask(&server, name, "SOA"), format!("; {no}{name} {SOA}"));
            assert_eq!(ask(&server, name, "NS"), ns);
        }
        for name in ["xlocalhost.", "localhosts.example.", "a.localhostx.", "example."] {
            assert_eq!(server.ask(name, "A").expect("a reply").additionals.len(), 2, "{name}");
        }
        let page = server.host.metrics.text();
        assert!(page.contains("\ncoredns_local_localhost_requests_total 15\n"), "{page}");
    }

    #[test]
    fn reverse_names() {
        let server = Server::new(". {\nlocal\nwhoami\n}\n");
        for zone in ["127.In-Addr.arpa.", "0.in-addr.arpa.", "255.in-addr.arpa."] {
            for qtype in ["A", "AAAA", "PTR"] {
                assert_eq!(ask(&server, zone, qtype), format!("; no, {zone} {SOA}"));
            }
            assert_eq!(ask(&server, zone, "SOA"), format!("; {zone} {SOA}"));
            assert_eq!(ask(&server, zone, "NS"), format!("; {zone} 604800 IN NS localhost."));
            assert_eq!(ask(&server, &format!("1.1.1.{zone}"), "PTR"), format!("NXDOMAIN; no, {zone} {SOA}"));
        }
        let loopback = "1.0.0.127.In-Addr.arpa.";
        assert_eq!(ask(&server, loopback, "PTR"), format!("; {loopback} 604800 IN PTR localhost."));
        assert_eq!(ask(&server, loopback, "A"), format!("; no, 127.In-Addr.arpa. {SOA}"));
        assert_eq!(ask(&server, &format!("x.{loopback}"), "PTR"), format!("NXDOMAIN; no, 127.In-Addr.arpa. {SOA}"));
        // CoreDNS says that this name does not exist, although a name below it exists.
        assert_eq!(ask(&server, "0.127.in-addr.arpa.", "PTR"), format!("; no, 127.in-addr.arpa. {SOA}"));
    }

    #[test]
    fn a_class_has_its_own_data_and_the_prefix_can_be_left_out() {
        let server = Server::new(". {\nlocal {\nlocalhost_prefix off\n}\nchaos\nwhoami\n}\n");
        assert_eq!(server.ask("localhost.example.org.", "A").expect("a reply").additionals.len(), 2);
        assert_eq!(ask(&server, "a.localhost.", "A"), "; a.localhost. 604800 IN A 127.0.0.1");
        let mut packet = packet("localhost.", "A");
        let class = packet.len() - 12;
        packet[class] = 3;
        let (_, reply) = server.outcome(&packet, "10.0.0.1:53".parse().expect("an address")).expect("a reply");
        assert_eq!((reply.rcode(), reply.answer.counts), (5, [0; 3]));
    }
}
