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
//! rewrite [continue|stop] name regex FROM TO metadata [ANSWER...]
//! rewrite [continue|stop] cname [exact|prefix|suffix|substring|regex] FROM TO
//! rewrite [continue|stop] edns0 local set|append|replace CODE DATA [revert]
//! rewrite [continue|stop] edns0 local unset CODE
//! rewrite [continue|stop] edns0 nsid set|append|replace|unset [revert]
//! rewrite [continue|stop] edns0 subnet set|append|replace BITS4 BITS6 [revert]
//! rewrite [continue|stop] edns0 subnet unset
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
//! - With **metadata**, TO may have published values in it: `{view/name}`. If one of them is empty
//!   or missing, the rule does not apply.
//! - **cname** looks at the aliases in the reply: the first one that leads to FROM leads to TO, and
//!   what the server has for TO follows in place of what there was. FROM is compared as it is: a
//!   suffix should end in a dot. The rule applies to every question, so without `continue` no rule
//!   after it is tried.
//! - **edns0** changes the EDNS options of the query for the plugins below, and adds an OPT if
//!   there is none. `set` changes an option or adds it, `replace` changes it, `append` adds it,
//!   `unset` removes it. **CODE** is a number, **DATA** a text, octets (`0x6162`) or a variable:
//!   `{qname}`, `{qtype}`, `{client_ip}`, `{client_port}`, `{protocol}`, `{server_ip}`,
//!   `{server_port}` or the label of a published value. `subnet` sends so many bits of the client's
//!   address (RFC 7871); *cache* does not keep answers of different networks apart.
//! - The reply repeats options of the codes of `local` to clients that use EDNS, as the query has
//!   them in the end, unless **revert** takes the change back.
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
//!
//! An upstream gets the namespace of the Pod that asks:
//!
//! ```corefile
//! .:53 {
//!     metadata
//!     rewrite edns0 local set 0xffee {kubernetes/client-namespace} revert
//!     kubernetes cluster.local {
//!         pods verified
//!     }
//!     forward . 192.0.2.1
//! }
//! ```

mod cname;
mod edns;
mod options;
mod parse;
mod pattern;
mod replacement;
mod rule;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use crate::chain::doc::doc_of;
use crate::chain::setup::{Registration, Setup};
use crate::chain::site::Site;
use crate::chain::{Here, Plugin, Query, Reply, Step, Turn};
use crate::error::Result;
use crate::wire::name::Name;
use crate::wire::question::Question;
use crate::wire::rename::renamed;
use crate::wire::types::rcode;
use cname::{Cname, Place};
use rule::{Action, Asked, Change, Changes, Invalid, Rule, run};

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "rewrite", setup, doc: doc_of!("mod.rs"), options: &[] };

/// The mark of a query that some rule matched, or whose EDNS options the reply may repeat.
const MATCHED: u32 = 1;

/// The payload size of the OPT that a rule adds: what fits into a packet everywhere.
const PAYLOAD: u16 = 1232;

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let rules = parse::read(&mut s.cursor())?;
    let edns = |rule: &Rule| if let Action::Edns(edns) = &rule.action { Some(edns.repeated()) } else { None };
    let codes: Vec<_> = rules.iter().filter_map(edns).collect();
    let has_edns = !codes.is_empty();
    s.chain(Rewrite(Arc::new(Rules { rules, has_edns, repeated: codes.into_iter().flatten().collect() })));
    Ok(())
}

struct Rewrite(Arc<Rules>);

/// The rules of a server block, in their order.
struct Rules {
    rules: Vec<Rule>,
    /// Whether a rule looks at EDNS options.
    has_edns: bool,
    /// Codes of options that replies repeat.
    repeated: Vec<u16>,
}

impl Plugin for Rewrite {
    fn ask(&self, query: &mut Query<'_>, here: &Here<'_>) -> Step {
        query.set_mark(here.seat, 0);
        let mut now = self.0.asked(query, query.question);
        match run(&self.0.rules, &mut now, query, here.site, |_| {}) {
            Ok(false) => {}
            Ok(true) => {
                query.set_mark(here.seat, MATCHED);
                query.question = now.question;
            }
            Err(Invalid(name)) => {
                let cause = format!("invalid name after rewrite: {name}");
                return Step::Answer(Reply::failure(rcode::SERVFAIL, cause));
            }
        }
        if self.0.has_edns {
            query.set_mark(here.seat, MATCHED);
            if now.options != edns::options(query) || !now.set.is_empty() {
                let options = now.options.unwrap_or_default();
                query.amend_options(&edns::passed_on(&options, &now.set), PAYLOAD);
            }
        }
        Step::Next
    }

    fn reply(&self, query: &mut Query<'_>, reply: &mut Reply, here: &Here<'_>) -> Turn {
        if query.mark(here.seat) != MATCHED {
            return Turn::Up;
        }
        query.set_mark(here.seat, 0);
        if self.0.cnames(query, here.site).iter().any(|cname| cname.applies(query, reply)) {
            let place = Place { listener: here.listener.clone(), site: here.site.clone(), seat: here.seat };
            let (rules, reply, below) = (self.0.clone(), reply.clone(), query.clone().into_owned());
            self.0.restore(query);
            return Turn::Wait(Box::pin(async move { rules.redirect(below, reply, &place).await }));
        }
        self.0.undo(query, reply, here.site);
        Turn::Up
    }

    fn dropped(&self, query: &mut Query<'_>, here: &Here<'_>) -> Turn {
        if query.mark(here.seat) == MATCHED {
            query.set_mark(here.seat, 0);
            self.0.restore(query);
        }
        Turn::Up
    }
}

impl Rules {
    /// Returns what is asked before the rules: a question and the options of a query.
    fn asked(&self, query: &Query<'_>, question: Question) -> Asked {
        let options = if self.has_edns { edns::options(query) } else { None };
        Asked { question, options, set: Vec::new() }
    }

    /// Gives a query its own question and options back, and returns the question that was answered.
    fn restore(&self, query: &mut Query<'_>) -> Question {
        query.restore_options();
        // No plugin above changes the question, so the rules began with what the client wrote.
        let asked = Question::received(query.packet(), &query.request);
        std::mem::replace(&mut query.question, asked)
    }

    /// Returns the rules for aliases that the query has met, the last one first.
    fn cnames(&self, query: &Query<'_>, site: &Site) -> Vec<&Cname> {
        if !self.rules.iter().any(|rule| matches!(rule.action, Action::Cname(_))) {
            return Vec::new();
        }
        // The rules began with the client's own options.
        let mut before = query.clone();
        before.restore_options();
        let query = &before;
        let asked = Question::received(query.packet(), &query.request);
        let mut cnames = Vec::new();
        let _ = run(&self.rules, &mut self.asked(query, asked), query, site, |change| {
            if let Change::Cname(cname) = change {
                cnames.insert(0, cname);
            }
        });
        cnames
    }

    /// Has aliases lead elsewhere, and takes back what the rules have changed.
    async fn redirect(&self, mut query: Query<'static>, mut reply: Reply, place: &Place) -> Reply {
        for cname in self.cnames(&query, &place.site) {
            reply = cname.redirect(&query, reply, place).await;
        }
        self.undo(&mut query, &mut reply, &place.site);
        reply
    }

    /// Takes back what the rules have changed: in the query and in its reply.
    fn undo(&self, query: &mut Query<'_>, reply: &mut Reply, site: &Site) {
        let answered = self.restore(query);
        let asked = query.question;
        let written = Name::from_wire(query.asked()).unwrap_or(asked.name);
        let (mut changes, mut now) = (Changes(Vec::new()), self.asked(query, asked));
        let _ = run(&self.rules, &mut now, query, site, |change| changes.0.push(change));
        let has_records = reply.answer.counts != [0; 3];
        if has_records && (answered.name != asked.name || changes.touch_records()) {
            reply.answer = renamed(&reply.answer, &answered, &written, reply.ttl.take(), &changes);
        }
        let rcode = changes.rcode(reply.rcode());
        if rcode != reply.rcode() {
            Arc::make_mut(&mut reply.answer).rcode = rcode;
        }
        self.options_of(reply, now.options, &changes);
    }

    /// Sets the options of the reply: those of an upstream without what rules take back, or else
    /// those of the query that CoreDNS repeats.
    fn options_of(&self, reply: &mut Reply, options: Option<edns::Options>, changes: &Changes<'_>) {
        let reverts = changes.reverts();
        if !reply.answer.options.is_empty() {
            if !reverts.is_empty() {
                let options = edns::reverted(&reply.answer.options, &reverts);
                Arc::make_mut(&mut reply.answer).options = options;
            }
            return;
        }
        let mut options = options.unwrap_or_default();
        reverts.iter().rev().for_each(|revert| revert.apply(&mut options));
        for (code, data) in options.iter().filter(|(code, _)| self.repeated.contains(code)) {
            reply.add_option(*code, data);
        }
    }
}
