//! # rewrite — ask the chain another question than the client did
//!
//! Rules change the question on its way down, so that all plugins below know it by its new name,
//! and the reply on its way up: the client gets its own question back.
//!
//! ## Syntax
//!
//! ```text
//! rewrite [continue|stop] name [exact|prefix|suffix|substring|regex] FROM TO [ANSWER...]
//! rewrite [continue|stop] type FROM TO
//! rewrite [continue|stop] class FROM TO
//! rewrite [continue|stop] ttl [exact|prefix|suffix|substring|regex] NAME TTL
//! rewrite [continue|stop] rcode [exact|prefix|suffix|substring|regex] NAME OLD NEW
//! ```
//!
//! Rules are tried in their order. After a rule that matched, the others are skipped, unless it
//! says `continue`. A rule may also stand in a block: `rewrite { name regex FROM TO ... }`, one
//! rule in each.
//!
//! - **name**: FROM and TO are names in lower case, and end in a dot if they do not say so (with
//!   `prefix` and `substring` as well). An expression of `regex` is looked for anywhere in the name
//!   (`foo.example.`); `{1}` in TO is what its first group matched.
//! - **ANSWER** is `answer auto`, `answer name FROM TO` or `answer value FROM TO`. `auto` maps the
//!   names of the answer back, those that records belong to and those that they lead to; `exact`
//!   always does. `name` and `value` do so by an expression: for owners, and for what CNAME, DNAME,
//!   MX, NAPTR, NS, PTR, SOA (its first name) and SRV lead to.
//! - **TTL** is a number of seconds, or two limits: `60-300`, `60-`, `-300`.
//! - **OLD** and **NEW** are names of RCODEs, or numbers up to 23.
//!
//! ## Examples
//!
//! The cluster's names under an older domain as well:
//!
//! ```corefile
//! .:53 {
//!     rewrite name suffix .old.example. .svc.cluster.local. answer auto
//!     kubernetes cluster.local
//!     forward . /etc/resolv.conf
//! }
//! ```

mod parse;
mod pattern;
mod rule;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::chain::doc::doc_of;
use crate::chain::setup::{Registration, Setup};
use crate::chain::{Here, Plugin, Query, Reply, Step, Turn};
use crate::error::Result;
use crate::wire::name::Name;
use crate::wire::question::Question;
use crate::wire::rename::renamed;
use crate::wire::types::rcode;
use rule::{Changes, Invalid, Rule, run};

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "rewrite", setup, doc: doc_of!("mod.rs"), options: &[] };

/// The mark of a query that some rule matched.
const MATCHED: u32 = 1;

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let rules = parse::read(&mut s.cursor())?;
    s.chain(Rewrite { rules });
    Ok(())
}

struct Rewrite {
    rules: Vec<Rule>,
}

impl Plugin for Rewrite {
    fn ask(&self, query: &mut Query<'_>, here: &Here<'_>) -> Step {
        query.set_mark(here.seat, 0);
        match run(&self.rules, query.question, |_| {}) {
            Ok(None) => {}
            Ok(Some(now)) => {
                query.set_mark(here.seat, MATCHED);
                query.question = now;
            }
            Err(Invalid(name)) => {
                let cause = format!("invalid name after rewrite: {name}");
                return Step::Answer(Reply::failure(rcode::SERVFAIL, cause));
            }
        }
        Step::Next
    }

    fn reply(&self, query: &mut Query<'_>, reply: &mut Reply, here: &Here<'_>) -> Turn {
        if query.mark(here.seat) != MATCHED {
            return Turn::Up;
        }
        query.set_mark(here.seat, 0);
        // No plugin above changes the question, so the rules began with what the client wrote.
        let written = Name::from_wire(query.asked()).unwrap_or(query.question.name);
        let asked = Question::received(query.packet(), &query.request);
        let mut changes = Changes(Vec::new());
        let _ = run(&self.rules, asked, |change| changes.0.push(change));
        let answered = std::mem::replace(&mut query.question, asked);
        let has_records = reply.answer.counts != [0; 3];
        if has_records && (answered.name != asked.name || changes.touch_records()) {
            reply.answer = renamed(&reply.answer, &answered, &written, reply.ttl.take(), &changes);
        }
        let rcode = changes.rcode(reply.rcode());
        if rcode != reply.rcode() {
            Arc::make_mut(&mut reply.answer).rcode = rcode;
        }
        Turn::Up
    }
}
