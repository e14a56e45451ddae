//! # header — set and clear flags of the header
//!
//! Sets or clears AA, RA and RD: in queries, for the plugins below this one and for upstreams, and
//! in the responses of these plugins. Errors that the server makes stay as they are, and so does
//! what *cache* has in memory, since it stands above this plugin; it keeps AA and RA as they are
//! when a response leaves this plugin.
//!
//! ## Syntax
//!
//! ```text
//! header {
//! }
//! ```
//!
//! **FLAG** is `aa` (authoritative answer), `ra` (recursion available) or `rd` (recursion
//! desired). The last line about a flag counts. Of several blocks the first with a line counts.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     header {
//!         response set ra
//!         query set rd
//!     }
//!     whoami
//! }
//! ```

use crate::chain::doc::doc_of;
use crate::chain::options::{OptionOf, OptionsOf};
use crate::chain::setup::{Registration, Setup};
use crate::chain::{Here, Plugin, Query, Reply, Step, Turn};
use crate::corefile::{Cursor, Word};
use crate::error::Result;
use crate::wire::reply::Origin;
use crate::wire::request::flag;

/// The registration of this plugin.
pub const PLUGIN: Registration =
    Registration { name: "header", setup, doc: doc_of!("header.rs"), options: &[&OPTIONS] };

const FLAGS: [(&str, u16); 3] = [("aa", flag::AA), ("ra", flag::RA), ("rd", flag::RD)];

/// A flag, and whether to set or to clear it.
type Rule = (u16, bool);

#[derive(Default)]
struct Header {
    query: Vec<Rule>,
    response: Vec<Rule>,
}

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let (mut cursor, mut header) = (s.cursor(), Header::default());
    // Words after the name are ignored, as in CoreDNS.
    while cursor.next_occurrence() {
        while cursor.next_option() {
            // CoreDNS accepts these names in any case.
            let option = OPTIONS.find(&cursor.word().as_str().to_ascii_lowercase());
            (option.ok_or_else(|| OPTIONS.unknown(&cursor))?.read)(&mut cursor, &mut header, s)?;
        }
        if !header.query.is_empty() || !header.response.is_empty() {
            if cursor.next_occurrence() {
                cursor.warn(cursor.word(), "only the first block of header counts: this has no effect");
            }
            s.chain(header);
            return Ok(());
        }
    }
    Err(cursor.arg_err())
}

const RULE: &str = "set|clear FLAG...";

static OPTIONS: OptionsOf<Header> = OptionsOf {
    all: &[
        OptionOf {
            name: "query",
            form: RULE,
            about: "Sets or clears flags of queries, for the plugins below and for upstreams.",
            read: |cursor, header, _| {
                header.query.extend(read_rules(cursor)?);
                Ok(())
            },
        },
        OptionOf {
            name: "response",
            form: RULE,
            about: "Sets or clears flags of the responses that the plugins below give.",
            read: |cursor, header, _| {
                header.response.extend(read_rules(cursor)?);
                Ok(())
            },
        },
    ],
    unknown: |word| {
        let selector = word.as_str().to_ascii_lowercase();
        format!("setting up rule: invalid selector={selector} should be query or response")
    },
};

/// Reads `set|clear FLAG...`.
fn read_rules(cursor: &mut Cursor<'_>) -> Result<Vec<Rule>> {
    let wrong = |what: &str| format!("setting up rule: {what}");
    let Some(action) = cursor.next_arg() else {
        return Err(cursor.complain(cursor.word(), wrong("no flag action provided")).into());
    };
    let words = cursor.args();
    if words.is_empty() {
        let message = wrong("invalid length for flags, at least one should be provided");
        return Err(cursor.complain(action, message).into());
    }
    let set = match action.as_str().to_ascii_lowercase().as_str() {
        "set" => true,
        "clear" => false,
        other => {
            let message = wrong(&format!("unknown flag action={other}, should be set or clear"));
            return Err(cursor.unknown(action, message, &["set", "clear"]));
        }
    };
    let rule = |word: &&Word| {
        let lower = word.as_str().to_ascii_lowercase();
        match FLAGS.iter().find(|(name, _)| *name == lower) {
            Some(&(_, flag)) => Ok((flag, set)),
            None => {
                let message = wrong(&format!("unknown/unsupported flag={lower}"));
                Err(cursor.unknown(word, message, &FLAGS.map(|(name, _)| name)))
            }
        }
    };
    words.iter().map(rule).collect()
}

impl Plugin for Header {
    fn ask(&self, query: &mut Query<'_>, _: &Here<'_>) -> Step {
        for &(flag, set) in &self.query {
            if set {
                query.request.flags |= flag;
            } else {
                query.request.flags &= !flag;
            }
        }
        Step::Next
    }

    fn reply(&self, _: &mut Query<'_>, reply: &mut Reply, _: &Here<'_>) -> Turn {
        // In CoreDNS the server writes such a reply itself, bypassing all plugins.
        if reply.origin != Origin::Server {
            for &(flag, set) in &self.response {
                if set {
                    reply.set_flags(flag);
                } else {
                    reply.clear_flags(flag);
                }
            }
        }
        Turn::Up
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use crate::testing::live::Live;
    use crate::testing::upstream::{Act, Answer, Upstream};
    use hickory_proto::op::Message;

    /// Returns the flags of a message that rules may change, as `dig` shows them.
    fn flags(message: &Message) -> String {
        let head = &message.metadata;
        let flags = [("aa", head.authoritative), ("rd", head.recursion_desired), ("ra", head.recursion_available)];
        flags.iter().filter(|(_, set)| *set).map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_taken_and_refused() {
        for (lines, error) in [
            ("header x {\nRESPONSE SET Ra AA\nquery clear rd {\n}", ""),
            ("header\nheader {\nquery set rd\n}\nheader {\nfoo\n}", ""),
            ("header response set ra", "unexpected line ending after 'ra'"),
            ("header {\n}", "unexpected line ending after '}'"),
            ("header {\nFoo set rd\n}", "setting up rule: invalid selector=foo should be query or response"),
            ("header {\nquery\n}", "setting up rule: no flag action provided"),
            ("header {\nquery set\n}", "setting up rule: invalid length for flags, at least one should be provided"),
            ("header {\nquery Flip rd\n}", "setting up rule: unknown flag action=flip, should be set or clear"),
            ("header {\nquery set TC\n}", "plugin/header: Corefile:3 - setting up rule: unknown/unsupported flag=tc"),
        ] {
            let refusal = Server::refusal(lines);
            assert!(refusal.ends_with(error) && refusal.is_empty() == error.is_empty(), "{lines}: {refusal}");
        }
        let server = Server::new(". {\nheader {\nquery set rd\n}\nheader {\nquery clear rd\n}\n}\n");
        let [warning] = &server.configuration.findings[..] else { panic!("one warning") };
        assert_eq!(warning.what.parts().position.expect("a position").line, 5);
    }

    #[test]
    fn rules_for_queries_and_responses() {
        let with = |rules: &str, below: &str| {
            let server = Server::new(&format!(". {{\nheader {{\n{rules}\n}}\n{below}\n}}\n"));
            flags(&server.ask("a.example.", "A").expect("a reply"))
        };
        assert_eq!(with("response set ra", "whoami"), "aa rd ra");
        assert_eq!(with("response clear rd aa\nRESPONSE SET Ra", "whoami"), "ra");
        assert_eq!(with("response set ra\nresponse clear ra\nresponse clear aa\nresponse set aa", "whoami"), "aa rd");
        assert_eq!(with("query set aa ra\nquery clear rd", "whoami"), "aa", "RD of a response is the query's");
        assert_eq!(with("query clear rd\nresponse set rd", "whoami"), "aa rd");
        assert_eq!(with("response set ra aa\nresponse clear rd", "loop"), "rd", "the server's own SERVFAIL");
    }

    #[test]
    fn upstreams_see_the_query_as_changed_and_the_cache_keeps_the_response_as_changed() {
        let upstream =
            Upstream::start(|seen| vec![Act::send(Answer::to(&seen.packet).flags(0x0080).a("192.0.2.1", 60))]);
        let rules = "query set aa ra\nquery clear rd\nresponse set aa\nresponse clear ra rd";
        let text = format!(". {{\ncache\nheader {{\n{rules}\n}}\nforward . {}\n}}\n", upstream.address);
        let live = Live::new(&text);
        assert_eq!(flags(&live.ask("a.example.", "A").message), "aa");
        // A cache hit never reaches this plugin: RD is the client's.
        assert_eq!(flags(&live.ask("a.example.", "A").message), "aa rd");
        let seen: Vec<u16> =
            upstream.seen().iter().filter(|seen| !seen.is_probe()).map(|seen| seen.flags() & !0x20).collect();
        assert_eq!(seen, [0x0480]);
    }
}
