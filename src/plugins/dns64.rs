//! # dns64 — make IPv6 addresses for names that have only IPv4
//!
//! Makes AAAA records out of A records, for clients that reach IPv4 through a translator (RFC
//! 6147). Only queries that came over IPv6 get them, unless `allow_ipv4` is given.
//!
//! ## Syntax
//!
//! ```text
//! dns64 [PREFIX]
//! dns64 {
//! }
//! ```
//!
//! **PREFIX** has 32, 40, 48, 56, 64 or 96 bits (RFC 6052).
//!
//! A question for AAAA goes to the plugins below. If they have no AAAA record, and do not say that
//! the name does not exist, the name's A records are looked up, and the reply has the prefix in
//! front of each address. The TTL is that of the A records, but at most that of the SOA of the
//! denial, or 600 seconds without one.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     dns64 {
//!         prefix 64:ff9b:1::/96
//!         allow_ipv4
//!     }
//!     forward . 192.0.2.53
//! }
//! ```
//!
//! ## Metrics
//!
//! - `coredns_dns64_requests_translated_total{server}`: questions that were asked again for A.

use std::net::{IpAddr, Ipv6Addr};
use std::sync::Arc;

use crate::chain::doc::doc_of;
use crate::chain::options::{OptionOf, OptionsOf, unknown_property};
use crate::chain::setup::{Registration, Setup};
use crate::chain::{Here, Plugin, Query, Reply, Step, Turn};
use crate::corefile::value::{self, Network};
use crate::corefile::{Cursor, Word};
use crate::error::Result;
use crate::host::Host;
use crate::host::metrics::Family;
use crate::wire::answer::Section;
use crate::wire::name::Name;
use crate::wire::question::Question;
use crate::wire::translate::{Prefix, translated};
use crate::wire::types::{class, rcode, rtype};

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "dns64", setup, doc: doc_of!("dns64.rs"), options: &[&OPTIONS] };

static TRANSLATED: Family = Family {
    name: "coredns_dns64_requests_translated_total",
    help: "Counter of DNS requests translated by dns64.",
    labels: &["server"],
};

/// Maximum TTL in seconds of a made record if the denial has no SOA (RFC 6147 section 5.1.7).
const MAX_TTL: u32 = 600;

/// The default of PREFIX (RFC 6052 section 2.1).
const WELL_KNOWN: (Ipv6Addr, u8) = (Ipv6Addr::new(0x64, 0xff9b, 0, 0, 0, 0, 0, 0), 96);

/// Plugins whose AAAA records are addresses inside the cluster, which no translator reaches.
const OF_THE_CLUSTER: &[&str] = &["kubernetes", "k8s_external"];

/// The mark of a query that may need translation.
const WATCHED: u32 = 1;

struct Dns64 {
    prefix: Prefix,
    translate_all: bool,
    allow_ipv4: bool,
    host: Arc<Host>,
}

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    let prefix = Prefix { address: WELL_KNOWN.0, length: WELL_KNOWN.1 };
    let mut plugin = Dns64 { prefix, translate_all: false, allow_ipv4: false, host: s.host.clone() };
    while cursor.next_occurrence() {
        match cursor.args()[..] {
            [] => {}
            // A block after it is not read as a block, as in CoreDNS.
            [word] => {
                plugin.prefix = read_prefix(&cursor, word)?;
                continue;
            }
            _ => return Err(cursor.arg_err()),
        }
        OPTIONS.read(&mut cursor, &mut plugin, s)?;
    }
    s.chain(plugin);
    Ok(())
}

static OPTIONS: OptionsOf<Dns64> = OptionsOf {
    all: &[
        OptionOf {
            name: "prefix",
            form: "PREFIX",
            about: "The prefix that is put in front of IPv4 addresses (64:ff9b::/96).",
            read: |cursor, plugin, _| {
                let word = cursor.expect_arg()?;
                plugin.prefix = read_prefix(cursor, word)?;
                Ok(())
            },
        },
        OptionOf {
            name: "translate_all",
            form: "",
            about: "Names that have AAAA records are translated too, except those that `kubernetes` and `k8s_external` \
                    answer.",
            read: |_, plugin, _| {
                plugin.translate_all = true;
                Ok(())
            },
        },
        OptionOf {
            name: "allow_ipv4",
            form: "",
            about: "Queries that came over IPv4 get such records too.",
            read: |_, plugin, _| {
                plugin.allow_ipv4 = true;
                Ok(())
            },
        },
    ],
    unknown: unknown_property,
};

fn read_prefix(cursor: &Cursor<'_>, word: &Word) -> Result<Prefix> {
    let hint = "as in 64:ff9b::/96, with 32, 40, 48, 56, 64 or 96 bits";
    let wrong = |message: String| Err(cursor.complain(word, message).hint(hint).into());
    match value::cidr(word.as_str()) {
        Some(Network { address: IpAddr::V6(address), length: length @ (32 | 40 | 48 | 56 | 64 | 96) }) => {
            Ok(Prefix { address, length })
        }
        Some(Network { address: IpAddr::V6(_), .. }) => {
            wrong(format!("Error during parsing: invalid prefix length {}", value::quote(word.as_str())))
        }
        Some(Network { address: IpAddr::V4(_), .. }) => {
            wrong(format!("Error during parsing: invalid netmask 32 IPv6 address: {}", value::quote(word.as_str())))
        }
        None => wrong(format!("invalid CIDR address: {word}")),
    }
}

impl Plugin for Dns64 {
    fn ask(&self, query: &mut Query<'_>, here: &Here<'_>) -> Step {
        let family = self.allow_ipv4 || query.client.peer.ip().to_canonical().is_ipv6();
        let is_ours = family && query.question.qtype == rtype::AAAA && query.question.qclass == class::IN;
        query.set_mark(here.seat, if is_ours { WATCHED } else { 0 });
        Step::Next
    }

    fn reply(&self, query: &mut Query<'_>, reply: &mut Reply, here: &Here<'_>) -> Turn {
        if query.mark(here.seat) != WATCHED {
            return Turn::Up;
        }
        query.set_mark(here.seat, 0);
        let stays = || !self.translate_all || is_of_the_cluster(query, here);
        let has_some = || reply.answer.rtypes(Section::Answer).any(|kind| kind == rtype::AAAA);
        let is_refused = query.signing.as_ref().is_some_and(|signing| signing.signer().fault().is_some());
        if is_refused || reply.rcode() == rcode::NXDOMAIN || stays() && has_some() {
            return Turn::Up;
        }
        let denial = reply.answer.section(Section::Authority).find(|record| record.rtype == rtype::SOA);
        let limit = denial.map_or(MAX_TTL, |soa| reply.ttl.unwrap_or(soa.ttl));
        let (prefix, host) = (self.prefix, self.host.clone());
        let question = Question { qtype: rtype::A, ..query.question };
        let server = here.listener.server.clone();
        let theirs = here.lookup(query.inner(&question));
        let asked = Name::from_wire(query.asked_now()).unwrap_or(question.name);
        Turn::Wait(Box::pin(async move {
            let theirs = theirs.await;
            host.metrics.counter(&TRANSLATED, &[&server]).inc();
            let answer = translated(&theirs.answer, &question, &asked, theirs.ttl, limit, prefix);
            Reply { answer, ttl: None, ..theirs }
        }))
    }
}

/// Whether the answer came from a plugin that knows the cluster's own addresses.
fn is_of_the_cluster(query: &Query<'_>, here: &Here<'_>) -> bool {
    let name = here.site.chain.names().get(usize::from(query.answered_by));
    name.is_some_and(|name| OF_THE_CLUSTER.contains(name))
}

#[cfg(test)]
mod tests {
    use crate::testing::{Server, packet};
    use crate::wire::write::Writer;
    use hickory_proto::op::Message;

    const HOSTS: &str = "hosts {\n192.0.2.33 v4.example both.example\n2001:db8::1 both.example\nttl 900\n}\n";

    fn ask(server: &Server, peer: &str, name: &str, qtype: &str) -> Vec<String> {
        let packet = packet(name, qtype);
        let (query, reply) = server.outcome(&packet, peer.parse().expect("an address")).expect("a reply");
        let mut out = Vec::new();
        Writer::default().reply(&packet, &query.request, &reply, query.limit(), &mut out);
        Message::from_vec(&out).expect("a message").answers.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn names_with_ipv4_alone_get_made_addresses() {
        let (v4, v6) = ("10.0.0.1:53", "[2001:db8::9]:53");
        let plain = Server::new(&format!(". {{\ndns64\n{HOSTS}}}\n"));
        assert_eq!(ask(&plain, v6, "V4.example.", "AAAA"), ["V4.example. 600 IN AAAA 64:ff9b::c000:221"]);
        assert_eq!(ask(&plain, v6, "both.example.", "AAAA"), ["both.example. 900 IN AAAA 2001:db8::1"]);
        assert_eq!(ask(&plain, v6, "v4.example.", "A"), ["v4.example. 900 IN A 192.0.2.33"]);
        assert!(ask(&plain, v4, "v4.example.", "AAAA").is_empty());
        let text = plain.host.metrics.text();
        assert!(text.contains("coredns_dns64_requests_translated_total{server=\"dns://:53\"} 1"), "{text}");
        let all = "dns64 {\nprefix 2001:db8:1::/48\ntranslate_all\nallow_ipv4\n}";
        let all = Server::new(&format!(". {{\n{all}\n{HOSTS}}}\n"));
        assert_eq!(ask(&all, v4, "both.example.", "AAAA"), ["both.example. 600 IN AAAA 2001:db8:1:c000:2:2100::"]);
    }

    /// Uses a plugin under another name: `kubernetes` needs a cluster, and only the seat matters.
    #[test]
    fn translate_all_leaves_the_names_of_the_cluster_alone() {
        use crate::chain::setup::{Registration, Setup};
        use crate::chain::{Here, Plugin, Query, Reply, Step};
        use crate::wire::answer::Answer;
        use crate::wire::encode::{Encoder, Owner};
        use crate::wire::types::rtype;
        struct Cluster;
        impl Plugin for Cluster {
            fn ask(&self, query: &mut Query<'_>, _: &Here<'_>) -> Step {
                let address: std::net::IpAddr = match (query.question.qtype, query.question.name.wire()[1]) {
                    (rtype::A, _) => [10, 0, 0, 1].into(),
                    (_, b's') => "fd00::1".parse().expect("an address"),
                    (_, b'o') => return Step::Next,
                    _ => return Step::Answer(Reply::memory(Answer::no_data(0).into())),
                };
                let answer = Encoder::build(query.question.name.len(), |e| {
                    e.address(super::Section::Answer, Owner::ASKED, 5, address);
                });
                Step::Answer(Reply::memory(answer.into()))
            }
        }
        fn setup(s: &mut Setup<'_>) -> crate::error::Result<()> {
            s.chain(Cluster);
            Ok(())
        }
        for (plugin, wanted) in [
            ("kubernetes", "svc. 5 IN AAAA fd00::1"),
            ("k8s_external", "svc. 5 IN AAAA fd00::1"),
            ("hosts", "svc. 5 IN AAAA 64:ff9b::a00:1"),
        ] {
            let plugins = [super::PLUGIN, Registration::bare(plugin, setup), crate::plugins::whoami::PLUGIN];
            let text = format!(". {{\ndns64 {{\ntranslate_all\n}}\n{plugin}\nwhoami\n}}");
            let server = Server::with_plugins(&plugins, &text).expect("a Corefile");
            assert_eq!(ask(&server, "[2001:db8::9]:53", "svc.", "AAAA"), [wanted], "{plugin}");
            let none = ask(&server, "[2001:db8::9]:53", "v4.", "AAAA");
            assert_eq!(none, ["v4. 5 IN AAAA 64:ff9b::a00:1"], "{plugin}: a name with IPv4 alone is translated");
        }
    }

    #[test]
    fn an_alias_stays_and_a_soa_limits_the_ttl() {
        let template = "template IN ANY example {\nanswer \"{{ .Name }} 60 IN CNAME v4.test.\"\n}\n\
                        template IN AAAA test {\nauthority \"test. 30 IN SOA ns.test. h.test. 1 1 1 1 30\"\n}\n\
                        template IN A test {\nanswer \"{{ .Name }} 60 IN A 192.0.2.1\"\n}";
        let server = Server::new(&format!(". {{\ndns64\n{template}\n}}\n"));
        let peer = "[2001:db8::9]:53";
        // The template queries the server for v4.test, and that answer is translated.
        let wanted = ["a.example. 60 IN CNAME v4.test.", "v4.test. 30 IN AAAA 64:ff9b::c000:201"];
        assert_eq!(ask(&server, peer, "a.example.", "AAAA"), wanted);
        assert_eq!(ask(&server, peer, "v4.test.", "AAAA"), ["v4.test. 30 IN AAAA 64:ff9b::c000:201"]);
    }
}
