//! # template — make answers from the question
//!
//! Answers with records that are texts of the Corefile, filled in from the name that was asked:
//! addresses that stand in names, one address for a whole zone, or the statement that a zone does
//! not exist.
//!
//! ## Syntax
//!
//! ```text
//! template CLASS TYPE [ZONES...] {
//! }
//! ```
//!
//! - **CLASS** and **TYPE** in upper case; `ANY` stands for all. **ZONES** default to those of the
//!   server block.
//! - **REGEX** is looked for anywhere in the name, in lower case and with a dot at its end; the
//!   first that matches counts.
//! - **RECORD** is a line of a zone file: `"{{ .Name }} 60 IN A 192.0.2.1"`.
//!
//! Templates are tried in their order. Templates for other classes, types or zones are skipped. If
//! none of its expressions matches, the question goes on where `fallthrough` says so, and is
//! SERVFAIL otherwise.
//!
//! What stands in `{{ }}` is the part of Go's text/template that Corefiles use:
//!
//! - `.Name`, `.Zone` (of this template), `.Class`, `.Type`, `.Remote` (the client's address),
//!   `.Regex`, `.Match`, `.Group`, `.Group.NAME`, `.Question.Name` (as the client wrote it),
//!   `.Question.Qtype`, `.Question.Qclass`
//! - `index .Match 1`, `index .Group "1"`, `parseInt TEXT BASE BITS`, `printf`, `len`, `eq`, `ne`,
//!   `not`, `and`, `or`
//! - `if`, `else if`, `else`, `end`; `|`, parentheses, `{{- -}}`, `{{/* a comment */}}`
//!
//! If the answer to a question for A or AAAA is a CNAME, the server is asked for its target, and
//! what it answers follows.
//!
//! ## Examples
//!
//! ```corefile
//! . {
//!     template IN A example. {
//!         match ^ip-(?P<a>[0-9]*)-(?P<b>[0-9]*)-(?P<c>[0-9]*)-(?P<d>[0-9]*)[.]example[.]$
//!         answer "{{ .Name }} 60 IN A {{ .Group.a }}.{{ .Group.b }}.{{ .Group.c }}.{{ .Group.d }}"
//!         fallthrough
//!     }
//!     template ANY ANY blocked.example {
//!         rcode NXDOMAIN
//!         authority "blocked.example. 60 IN SOA ns.blocked.example. hostmaster.blocked.example. 1 60 60 60 60"
//!     }
//!     forward . 192.0.2.53
//! }
//! ```
//!
//! ## Metrics
//!
//! - `coredns_template_matches_total{server,zone,view,class,type}`: questions that a template
//!   matched.
//! - `coredns_template_template_failures_total{...,section,template}`: texts that could not be
//!   filled in.
//! - `coredns_template_rr_failures_total{...,section,template}`: texts that were no record.

mod expression;
mod format;
mod parse;
#[cfg(test)]
mod tests;
mod text;

use std::sync::Arc;

use regex::Regex;

use crate::chain::doc::doc_of;
use crate::chain::setup::{Registration, Setup};
use crate::chain::target::Target;
use crate::chain::zones::{Fallthrough, Zones};
use crate::chain::{Here, Plugin, Query, Reply, Step};
use crate::error::Result;
use crate::host::Host;
use crate::host::metrics::Family;
use crate::wire::adopt;
use crate::wire::answer::Section;
use crate::wire::encode::{Encoder, Names};
use crate::wire::name::Name;
use crate::wire::presentation::Presented;
use crate::wire::question::Question;
use crate::wire::request::flag;
use crate::wire::types::{class, class_name, rcode, rtype, type_name};
use expression::Subject;
use text::Text;

/// The registration of this plugin.
pub const PLUGIN: Registration =
    Registration { name: "template", setup, doc: doc_of!("mod.rs"), options: &[&parse::OPTIONS] };

static MATCHES: Family = Family {
    name: "coredns_template_matches_total",
    help: "Counter of template regex matches.",
    labels: &["server", "zone", "view", "class", "type"],
};
static TEXT_FAILURES: Family = Family {
    name: "coredns_template_template_failures_total",
    help: "Counter of go template failures.",
    labels: &["server", "zone", "view", "class", "type", "section", "template"],
};
static RECORD_FAILURES: Family = Family {
    name: "coredns_template_rr_failures_total",
    help: "Counter of mis-templated RRs.",
    labels: &["server", "zone", "view", "class", "type", "section", "template"],
};

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let templates = parse::read(s)?;
    s.chain(Templates { templates, host: s.host.clone() });
    Ok(())
}

/// The templates of a server block, in their order.
struct Templates {
    templates: Vec<Template>,
    host: Arc<Host>,
}

struct Template {
    qclass: u16,
    qtype: u16,
    zones: Zones,
    /// The zones as text.
    shown: Vec<String>,
    regexes: Vec<Regex>,
    texts: Texts,
    rcode: u16,
    error: Option<(u16, String)>,
    fallthrough: Fallthrough,
}

/// The texts of the records of each section.
#[derive(Default)]
struct Texts {
    answer: Vec<Text>,
    additional: Vec<Text>,
    authority: Vec<Text>,
}

impl Plugin for Templates {
    fn ask(&self, query: &mut Query<'_>, here: &Here<'_>) -> Step {
        // Most questions are in none of the zones and cost no further work.
        let mut name = None;
        for template in &self.templates {
            let Some(zone) = template.zone(query) else { continue };
            let name = name.get_or_insert_with(|| query.question.name.to_string());
            let found = template.regexes.iter().find_map(|regex| Some((regex, regex.captures(name)?)));
            let Some((regex, captures)) = found else {
                if template.fallthrough.holds(&query.question.name) {
                    continue;
                }
                return Step::Answer(Reply::server(rcode::SERVFAIL));
            };
            let asked = Name::from_wire(query.asked_now()).unwrap_or(query.question.name).to_string();
            let named = |asked, ours, any| if asked == any { ours } else { asked };
            let subject = Subject {
                zone,
                name,
                class: class_name(named(query.question.qclass, template.qclass, class::ANY)).unwrap_or_default(),
                qtype: type_name(named(query.question.qtype, template.qtype, rtype::ANY)).unwrap_or_default(),
                regex,
                captures,
                asked: &asked,
                question: &query.question,
                remote: query.client.peer.ip().to_canonical(),
            };
            return self.answer(template, query, &subject, here);
        }
        Step::Next
    }
}

impl Templates {
    fn answer(&self, template: &Template, query: &Query<'_>, subject: &Subject<'_>, here: &Here<'_>) -> Step {
        let server = &*here.listener.server;
        let labels = [server, subject.zone, "", subject.class, subject.qtype];
        self.host.metrics.counter(&MATCHES, &labels).inc();
        if template.rcode == rcode::SERVFAIL {
            return Step::Answer(Reply::server(rcode::SERVFAIL));
        }
        let records = match self.records(template, subject, labels) {
            Ok(records) => records,
            Err(why) => return Step::Answer(Reply::failure(rcode::SERVFAIL, why)),
        };
        // Records belong to the name as the client wrote it.
        let asked = Name::from_wire(query.asked_now()).unwrap_or(query.question.name);
        let made = Made { rcode: template.rcode, error: template.error.clone(), records, asked };
        let is_address = matches!(query.question.qtype, rtype::A | rtype::AAAA);
        let targets = || made.records.iter().filter(|(section, _)| *section == Section::Answer);
        let alias = if is_address { targets().find_map(|(_, record)| record.alias()) } else { None };
        let Some(target) = alias else { return Step::Answer(made.reply(None)) };
        let (theirs, question) = (here.target(query, &target), Question { name: target, ..query.question });
        Step::Wait(Box::pin(async move { made.reply(Some(Theirs { question: &question, target: &theirs.await })) }))
    }

    /// Returns the records for one question, in the order of the message.
    fn records(
        &self,
        template: &Template,
        subject: &Subject<'_>,
        labels: [&str; 5],
    ) -> std::result::Result<Vec<(Section, Presented)>, String> {
        let mut records = Vec::new();
        for (section, name, texts) in [
            (Section::Answer, "answer", &template.texts.answer),
            (Section::Authority, "authority", &template.texts.authority),
            (Section::Additional, "additional", &template.texts.additional),
        ] {
            for text in texts {
                let failed = |family, why: String| {
                    let labels = [&labels[..], &[name, &text.source]].concat();
                    self.host.metrics.counter(family, &labels).inc();
                    format!("template: {name}: {}: {why}", text.source)
                };
                let line = text.fill(subject).map_err(|why| failed(&TEXT_FAILURES, why))?;
                let record = Presented::read(&line).map_err(|why| failed(&RECORD_FAILURES, why))?;
                records.push((section, record));
            }
        }
        Ok(records)
    }
}

impl Template {
    /// Returns the longest zone that contains the name, as text, if the class and type match.
    fn zone(&self, query: &Query<'_>) -> Option<&str> {
        let is_for = |asked, ours, any| asked == ours || asked == any || ours == any;
        if !is_for(query.question.qclass, self.qclass, class::ANY)
            || !is_for(query.question.qtype, self.qtype, rtype::ANY)
        {
            return None;
        }
        let holds = self.zones.iter().zip(&self.shown).filter(|(zone, _)| query.question.name.is_under(zone));
        holds.max_by_key(|(zone, _)| zone.len()).map(|(_, shown)| shown.as_str())
    }
}

/// The result of a template for a question.
struct Made {
    rcode: u16,
    error: Option<(u16, String)>,
    records: Vec<(Section, Presented)>,
    asked: Name,
}

/// The server's answer about the target of an alias.
#[derive(Clone, Copy)]
struct Theirs<'a> {
    question: &'a Question,
    target: &'a Target,
}

impl Made {
    /// Returns the reply, with the server's answer about an alias's target.
    fn reply(&self, theirs: Option<Theirs<'_>>) -> Reply {
        let failed = theirs.is_some_and(|theirs| theirs.target.has_failed);
        let mut theirs_left = theirs;
        let answer = Encoder::build(self.asked.len(), |e| {
            e.rcode(if failed { rcode::SERVFAIL } else { self.rcode });
            e.flags(flag::AA);
            let mut names = Names::new(self.asked);
            for (section, record) in &self.records {
                record.put(*section, e, &mut names);
                if record.alias().is_some()
                    && let Some(Theirs { question, target }) = theirs_left.take()
                {
                    let reply = &target.reply;
                    e.flags(reply.flags() & flag::TC);
                    adopt::append(e, &mut names, &reply.answer, question, reply.ttl);
                }
            }
        });
        let note = theirs.filter(|_| failed).and_then(|theirs| theirs.target.reply.note.clone());
        let reply = Reply { note, ..Reply::memory(Arc::new(answer)) };
        match &self.error {
            Some((code, text)) => reply.with_error(*code, text.clone()),
            None => reply,
        }
    }
}
