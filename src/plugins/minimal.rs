//! # minimal — leave out what was not asked for
//!
//! Sends positive answers without their authority and additional sections, so that they are as
//! small as possible. Denials keep the SOA record that says how long they may be cached,
//! delegations keep their name servers, and errors stay as they are.
//!
//! ## Syntax
//!
//! ```text
//! minimal
//! ```
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     minimal
//!     forward . 192.0.2.53
//! }
//! ```

use crate::chain::doc::doc_of;
use crate::chain::setup::{Registration, Setup};
use crate::chain::{Here, Plugin, Query, Reply, Turn};
use crate::error::Result;
use crate::wire::adopt;
use crate::wire::answer::{Answer, Section, scratch};
use crate::wire::encode::{Encoder, Names};
use crate::wire::name::Name;
use crate::wire::question::Question;
use crate::wire::reply::Order;
use crate::wire::types::{rcode, rtype};

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "minimal", setup, doc: doc_of!("minimal.rs"), options: &[] };

struct Minimal;

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    // Only the first occurrence is read, as in CoreDNS.
    cursor.next_occurrence();
    cursor.expect_no_arg()?;
    s.chain(Minimal);
    Ok(())
}

impl Plugin for Minimal {
    fn reply(&self, query: &mut Query<'_>, reply: &mut Reply, _: &Here<'_>) -> Turn {
        if may_shrink(query.question.qtype, &reply.answer) {
            let asked = Name::from_wire(query.asked_now()).unwrap_or(query.question.name);
            let question = Question { name: asked, ..query.question };
            let answer = &*reply.answer;
            let shrunk = scratch(asked.len(), |shrunk| {
                let mut e = Encoder::new(shrunk);
                e.rcode(answer.rcode);
                e.flags(answer.flags);
                adopt::append(&mut e, &mut Names::new(asked), answer, &question, None);
            });
            reply.answer = shrunk;
            if let Order::Given(_) = reply.order {
                // It names records by their index in the longer answer.
                reply.order = Order::Stored;
            }
        }
        Turn::Up
    }
}

/// Returns whether an answer is a positive one with more than was asked for.
fn may_shrink(qtype: u16, answer: &Answer) -> bool {
    let [found, authority, additional] = answer.counts;
    let is_transfer = matches!(qtype, rtype::AXFR | rtype::IXFR);
    if answer.rcode != rcode::NOERROR || authority == 0 && additional == 0 || is_transfer {
        return false;
    }
    // Without an answer, a SOA record makes it a denial and an NS record a delegation.
    let is_about_zone = |rtype: u16| matches!(rtype, rtype::SOA | rtype::NS);
    found > 0 || !answer.rtypes(Section::Authority).any(is_about_zone)
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;
    use crate::testing::live::Live;
    use crate::testing::upstream::{Act, Answer, Upstream};

    #[test]
    fn an_answer_loses_what_a_denial_and_a_delegation_keep() {
        let upstream = Upstream::start(|seen| {
            let answer = Answer::to(&seen.packet);
            vec![Act::send(match &*seen.name().to_ascii_lowercase() {
                "found.example" => answer.a("192.0.2.1", 60).soa("example", 60),
                "none.example" => answer.soa("example", 60),
                _ => answer.rcode(3).soa("example", 60),
            })]
        });
        let live = Live::new(&format!(". {{\nminimal\nforward . {}\n}}\n", upstream.address));
        let counts = |name: &str| {
            let message = live.ask(name, "A").message;
            (message.answers.len(), message.authorities.len())
        };
        assert_eq!(counts("Found.example."), (1, 0));
        assert_eq!(counts("none.example."), (0, 1));
        assert_eq!(counts("nothing.example."), (0, 1));
        let whoami = Server::new(". {\nminimal\nwhoami\n}\n").ask("a.example.", "A").expect("a reply");
        assert_eq!((whoami.additionals.len(), whoami.metadata.authoritative), (0, true));
    }
}
