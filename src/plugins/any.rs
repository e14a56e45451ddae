//! # any — give ANY a minimal answer
//!
//! Answers questions of type ANY with one HINFO record, as RFC 8482 section 4.2 says. ANY is used
//! almost only to make large answers to forged addresses.
//!
//! ## Syntax
//!
//! ```text
//! any
//! ```
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     any
//!     whoami
//! }
//! ```

use std::sync::Arc;

use crate::chain::doc::doc_of;
use crate::chain::setup::{Registration, Setup};
use crate::chain::{Here, Plugin, Query, Reply, Step};
use crate::error::Result;
use crate::wire::answer::{Answer, Section};
use crate::wire::encode::{Encoder, Owner};
use crate::wire::types::rtype;

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "any", setup, doc: doc_of!("any.rs"), options: &[] };

/// TTL of the record in seconds: the RFC's number, as in CoreDNS.
const TTL: u32 = 8482;

/// The answer to every ANY question.
struct Any(Arc<Answer>);

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    cursor.next_occurrence();
    cursor.expect_no_arg()?;
    let answer = Encoder::build(0, |e| {
        e.record(Section::Answer, Owner::ASKED, rtype::HINFO, TTL, |e| e.put(b"\x0dANY obsoleted\x0cSee RFC 8482"));
    });
    s.chain(Any(Arc::new(answer)));
    Ok(())
}

impl Plugin for Any {
    fn ask(&self, query: &mut Query<'_>, _: &Here<'_>) -> Step {
        if query.question.qtype == rtype::ANY { Step::Answer(Reply::memory(self.0.clone())) } else { Step::Next }
    }
}

#[cfg(test)]
mod tests {
    use crate::testing::Server;

    #[test]
    fn only_any_is_answered() {
        let server = Server::new(". {\nany\nwhoami\n}\n");
        let message = server.ask("a.Example.", "ANY").expect("a reply");
        let answers: Vec<_> = message.answers.iter().map(ToString::to_string).collect();
        assert_eq!(answers, ["a.Example. 8482 IN HINFO ANY obsoleted See RFC 8482"]);
        assert!(!message.metadata.authoritative);
        assert!(server.ask("a.example.", "A").expect("a reply").answers.is_empty());
    }
}
