//! # autopath — walk the client's search list for it
//!
//! A resolver with `ndots:5` asks for `example.org` as `example.org.NAMESPACE.svc.cluster.local`,
//! and then for every other domain of its search list, before it asks for the name itself. This
//! plugin goes through these names itself when the first question comes. Its answer is an alias
//! (CNAME) to the first name that exists, with the records of that name.
//!
//! ## Syntax
//!
//! ```text
//! autopath [ZONE...] RESOLV-CONF
//! ```
//!
//! - **ZONE** is a zone whose names the plugin looks at; by default the zones of the server block.
//! - **RESOLV-CONF** is a file with the `search` list of all clients, or `@kubernetes`. With
//!   `@kubernetes` each Pod has the list of its namespace: NAMESPACE.svc.ZONE, svc.ZONE and ZONE,
//!   and then the `search` list of `/etc/resolv.conf` of this process. It needs `pods verified`;
//!   without it the plugin has no effect.
//!
//! Only names that end in the first domain of the list are looked at. If no name of the list
//! exists, the client gets the reply to the name that it asked for, and goes through its list
//! itself. The plugin skips a name that `acl` drops, and a name for which a plugin returns a
//! failure without a reason, as `hosts` without `fallthrough` does. A failure with a reason, such
//! as an upstream that does not answer, ends the search.
//!
//! ## Examples
//!
//! ```corefile
//! .:53 {
//!     autopath @kubernetes
//!     cache 30
//!     kubernetes cluster.local {
//!         pods verified
//!     }
//!     forward . /etc/resolv.conf
//! }
//! ```
//!
//! ## Metrics
//!
//! - `coredns_autopath_success_total{server}`: replies with a name that exists, also if it is the
//!   first of the list.

#[cfg(test)]
mod tests;

use std::io::ErrorKind;
use std::path::Path;
use std::sync::{Arc, OnceLock};

use crate::chain::doc::doc_of;
use crate::chain::per_listener::PerListener;
use crate::chain::search::{Offered, SearchPath, search_list};
use crate::chain::setup::{Registration, Setup};
use crate::chain::zones::Zones;
use crate::chain::{Aside, Here, Plugin, Query, Reply, Step, Turn};
use crate::corefile::{Cursor, Word};
use crate::error::{Result, words};
use crate::host::metrics::{Counter, Family};
use crate::host::{Host, log};
use crate::wire::adopt::as_alias;
use crate::wire::name::{Name, labels};
use crate::wire::question::Question;
use crate::wire::reply::Origin;
use crate::wire::types::{class, rcode};

/// The registration of this plugin.
pub const PLUGIN: Registration = Registration { name: "autopath", setup, doc: doc_of!("mod.rs"), options: &[] };

static SUCCESSES: Family = Family {
    name: "coredns_autopath_success_total",
    help: "Counter of requests that did autopath.",
    labels: &["server"],
};

//----------- Setup ----------------------------------------------------------

fn setup(s: &mut Setup<'_>) -> Result<()> {
    let mut cursor = s.cursor();
    let (mut zones, mut lists) = (Zones::default(), Offered::default());
    while cursor.next_occurrence() {
        let args = cursor.args();
        let Some((from, args)) = args.split_last() else {
            let complaint = cursor.complain(cursor.word(), "no resolv-conf specified");
            return Err(complaint.hint("name a file with a search list, or @kubernetes").into());
        };
        zones = Zones::read(&cursor, args, s.keys);
        lists = match from.as_str().strip_prefix('@') {
            Some(plugin) => of_plugin(s, &cursor, from, plugin),
            None => of_file(&cursor, from)?,
        };
    }
    s.chain(AutoPath { zones, lists, host: s.host.clone(), successes: s.per_listener() });
    Ok(())
}

/// The search lists that another plugin provides. `word` names it.
fn of_plugin(s: &mut Setup<'_>, cursor: &Cursor<'_>, word: &Word, plugin: &str) -> Offered {
    let complaint = cursor.complain(word, format!("{plugin} does not implement the AutoPather interface"));
    let lists = s.search_lists(plugin, complaint.hint("kubernetes does: @kubernetes"));
    let (offered, plugin) = (lists.clone(), plugin.to_owned());
    s.task("autopath: checking", move || async move {
        let lack = match offered.get() {
            Some(Ok(_)) => return,
            Some(Err(why)) => why,
            None => "the server block has no such plugin",
        };
        log::warning(PLUGIN.name, format_args!("@{plugin} has no effect: {lack}"));
    });
    lists
}

/// One list for all clients.
fn of_file(cursor: &Cursor<'_>, word: &Word) -> Result<Offered> {
    let list = search_list(Path::new(word.as_str())).map_err(|error| {
        let message = format!("failed to parse \"{word}\": open {word}: {}", words(&error));
        let is_missing = error.kind() == ErrorKind::NotFound;
        cursor.complain(word, message).hint(if is_missing {
            "the last word is a file with a search list, or @kubernetes"
        } else {
            ""
        })
    })?;
    let lists: Arc<dyn SearchPath> = Arc::new(FilePath(list));
    Ok(Arc::new(OnceLock::from(Ok(lists))))
}

/// Reads the search list of a file.
struct FilePath(Vec<Name>);

impl SearchPath for FilePath {
    fn given(&self, query: &Query<'_>) -> Option<usize> {
        query.question.name.prefix_len(self.0.first()?).filter(|&given| given > 0)
    }

    fn domain(&self, _: &Name, place: usize) -> Option<Name> {
        if place == self.0.len() { Some(Name::ROOT) } else { self.0.get(place).copied() }
    }
}

//----------- AutoPath -------------------------------------------------------

struct AutoPath {
    zones: Zones,
    lists: Offered,
    host: Arc<Host>,
    successes: PerListener<Counter>,
}

/// The position of a query in its walk, stored in the plugin's mark.
#[derive(Clone, Copy)]
struct At {
    /// Length in octets of the name as the application gave it, without a root label; never 0.
    given: usize,
    /// Index of the domain that is being tried.
    place: usize,
}

impl At {
    fn mark(self) -> u32 {
        (self.place << 8 | self.given) as u32
    }

    fn of(mark: u32) -> Option<Self> {
        (mark != 0).then_some(Self { given: mark as usize & 0xFF, place: mark as usize >> 8 })
    }
}

impl Plugin for AutoPath {
    fn ask(&self, query: &mut Query<'_>, here: &Here<'_>) -> Step {
        let is_ours = query.question.qclass == class::IN && self.zones.holds(&query.question.name);
        let given = if is_ours { self.lists().and_then(|lists| lists.given(query)) } else { None };
        query.set_mark(here.seat, given.map_or(0, |given| At { given, place: 0 }.mark()));
        Step::Next
    }

    fn reply(&self, query: &mut Query<'_>, reply: &mut Reply, here: &Here<'_>) -> Turn {
        let Some(at) = At::of(query.mark(here.seat)) else { return Turn::Up };
        let is_found = is_found(reply);
        if !is_found && self.go_on(query, at, here, || Some(reply.clone())) {
            return Turn::Again;
        }
        query.set_mark(here.seat, 0);
        if let Some(first) = query.aside.take() {
            let found = std::mem::replace(&mut query.question.name, first.name);
            match first.reply {
                _ if is_found => adopt(query, reply, found, at.given),
                Some(first) => *reply = first,
                None => return Turn::Drop,
            }
        }
        if is_found && reply.cause().is_none() {
            let make = |server: &str| self.host.metrics.counter(&SUCCESSES, &[server]);
            self.successes.get(here, make).inc();
        }
        Turn::Up
    }

    fn dropped(&self, query: &mut Query<'_>, here: &Here<'_>) -> Turn {
        let Some(at) = At::of(query.mark(here.seat)) else { return Turn::Up };
        if self.go_on(query, at, here, || None) {
            return Turn::Again;
        }
        query.set_mark(here.seat, 0);
        let Some(first) = query.aside.take() else { return Turn::Up };
        query.question.name = first.name;
        first.reply.map_or(Turn::Up, |reply| Turn::Wait(Box::pin(std::future::ready(reply))))
    }
}

/// Whether a reply ends the walk: the name exists, or it failed for a reason that the others share.
///
/// If a plugin only returns a failure, as `hosts` without `fallthrough` does for a missing name, it
/// says only that this plugin does not know the name.
fn is_found(reply: &Reply) -> bool {
    let is_returned = reply.origin == Origin::Server && reply.cause().is_none();
    reply.rcode() != rcode::NXDOMAIN && !is_returned
}

impl AutoPath {
    fn lists(&self) -> Option<&dyn SearchPath> {
        self.lists.get()?.as_ref().ok().map(Arc::as_ref)
    }

    /// Changes the query to the next name, if any. `reply` is the answer to the current name.
    fn go_on(&self, query: &mut Query<'_>, at: At, here: &Here<'_>, reply: impl FnOnce() -> Option<Reply>) -> bool {
        let Some((place, name)) = self.next(query, at) else { return false };
        query.set_mark(here.seat, At { place, ..at }.mark());
        if query.aside.is_none() {
            query.aside = Some(Box::new(Aside { name: query.question.name, reply: reply() }));
        }
        query.question.name = name;
        true
    }

    /// Returns the next name to try, and the index of its domain.
    fn next(&self, query: &Query<'_>, at: At) -> Option<(usize, Name)> {
        let lists = self.lists()?;
        let name = query.aside.as_ref().map_or(&query.question.name, |first| &first.name);
        let first = Name::from_wire(&name.wire()[at.given..])?;
        (at.place + 1..).map_while(|place| Some((place, lists.domain(&first, place)?))).find_map(|(place, domain)| {
            // A name that would be too long cannot exist.
            Some((place, domain.below(labels(&name.wire()[..at.given]))?))
        })
    }
}

/// Turns the reply to `found` into one to the query's own name, in the client's case if the client
/// asked for that name.
fn adopt(query: &Query<'_>, reply: &mut Reply, found: Name, given: usize) {
    let written = query.asked();
    let is_as_asked = written.eq_ignore_ascii_case(query.question.name.wire());
    let asked = if is_as_asked { Name::from_wire(written).unwrap_or(query.question.name) } else { query.question.name };
    let domain = Name::from_wire(&found.wire()[given..]);
    let found = domain.and_then(|domain| domain.below(labels(&asked.wire()[..given]))).unwrap_or(found);
    reply.answer = as_alias(&reply.answer, &Question { name: found, ..query.question }, &asked, reply.ttl.take());
}
