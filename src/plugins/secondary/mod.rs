//! # secondary — serve zones copied from other servers
//!
//! Copies zones from their primary servers and answers from them as `file` does. A zone is copied
//! at the start (AXFR over TCP). Until then its questions get SERVFAIL. Later the primary is asked
//! for its serial as the times of the SOA record say, plus up to 5 s, or when it sends NOTIFY. If
//! its zone is newer, the changes are copied (IXFR), or the whole zone where a primary has no
//! changes.
//!
//! After a failure the next primary is asked. If all fail, they are asked again: for the first copy
//! after 250 ms and up to 10 s, later as the SOA record says. If no primary has answered for the
//! `expire` time of the SOA record, questions for the zone get SERVFAIL until one does.
//!
//! NOTIFY is accepted from the primaries only, and causes at most one check a second. Copies are
//! kept in memory, and a reload keeps them. A zone may have ten million records and a gibibyte of
//! messages. Add `transfer` to let other servers copy the zone from here: it notifies them of each
//! new copy.
//!
//! ## Syntax
//!
//! ```text
//! secondary [ZONES...] {
//! }
//! ```
//!
//! - **ZONES** default to those of the server block.
//!
//! ## Examples
//!
//! If the first primary fails, the second is asked:
//!
//! ```corefile
//! example.org {
//!     secondary {
//!         transfer from 192.0.2.1 192.0.2.2:5300
//!     }
//! }
//! ```
//!
//! ## Metrics
//!
//! - `signpost_secondary_checks_total{result}`: times that the primaries of a zone were asked:
//!   `current`, `copied`, or `failed`
//! - `signpost_secondary_notifies_total{result}`: NOTIFY messages that were `accepted`, or
//!   `refused` because they did not come from a primary

mod copy;
mod fetch;
mod schedule;
mod setup;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::copy::{Copied, Copy};
use self::setup::OPTIONS;
use crate::chain::authority;
use crate::chain::doc::doc_of;
use crate::chain::setup::{Registration, Setup};
use crate::chain::transfer::{Offer, Transferable};
use crate::chain::zones::Fallthrough;
use crate::chain::{Here, Plugin, Query, Reply, Step};
use crate::error::Result;
use crate::host::metrics::{Counter, Family};
use crate::wire::encode::Encoder;
use crate::wire::name::Name;
use crate::wire::request::flag;
use crate::wire::types::{class, rcode};
use crate::zone::table::ZoneTable;

/// The registration of this plugin.
pub const PLUGIN: Registration =
    Registration { name: "secondary", setup: set_up, doc: doc_of!("mod.rs"), options: &[&OPTIONS] };

static CHECKS: Family = Family {
    name: "signpost_secondary_checks_total",
    help: "Times that the primaries of a zone were asked: the copy is current, a newer zone was copied, or all failed.",
    labels: &["result"],
};
static NOTIFIES: Family = Family {
    name: "signpost_secondary_notifies_total",
    help: "NOTIFY messages for copied zones: accepted, or refused because they did not come from a primary.",
    labels: &["result"],
};

fn set_up(s: &mut Setup<'_>) -> Result<()> {
    let directive = setup::read(s)?;
    let metrics = &s.host.metrics;
    let (mut zones, mut copies) = (ZoneTable::default(), Vec::new());
    for (zone, primaries) in directive.zones {
        // A reload that changes neither keeps the copy and its times.
        let copied = s.host.shared.get_or_make(&format!("secondary {zone} {primaries:?}"), || Copied::new(&zone));
        let checks = ["current", "copied", "failed"].map(|result| metrics.counter(&CHECKS, &[result]));
        let copy = Arc::new(Copy { copied, primaries, changes: s.zone_changes(), checks });
        let keeping = copy.clone();
        s.task("secondary", move || async move { keeping.keep().await });
        zones.insert(copy.copied.live.clone());
        copies.push(copy);
    }
    let notifies = ["accepted", "refused"].map(|result| metrics.counter(&NOTIFIES, &[result]));
    let plugin = Arc::new(Secondary { zones, copies, fallthrough: directive.fallthrough, notifies });
    s.chain_shared(plugin.clone());
    s.offer_transfer(plugin);
    Ok(())
}

/// The zones of one server block.
struct Secondary {
    zones: ZoneTable,
    copies: Vec<Arc<Copy>>,
    fallthrough: Fallthrough,
    /// Accepted and refused NOTIFY messages.
    notifies: [Counter; 2],
}

impl Plugin for Secondary {
    fn ask(&self, query: &mut Query<'_>, here: &Here<'_>) -> Step {
        match self.zones.holding(&query.question.name) {
            Some(zone) if query.question.qclass == class::IN => authority::answer(zone, &self.fallthrough, query, here),
            _ => Step::Next,
        }
    }

    fn notify(&self, query: &mut Query<'_>, _: &Here<'_>) -> Option<Reply> {
        let copy = self.copies.iter().find(|copy| *copy.live().origin() == query.question.name)?;
        let [accepted, refused] = &self.notifies;
        if !copy.is_from(query.client.peer.ip()) {
            refused.inc();
            return Some(Reply::server(rcode::REFUSED));
        }
        accepted.inc();
        copy.copied.news.notify_one();
        Some(Reply::memory(Arc::new(Encoder::build(query.question.name.len(), |e| e.flags(flag::AA)))))
    }
}

impl Transferable for Secondary {
    fn version(&self, zone: &Name) -> Offer {
        Offer::of(self.zones.get(zone).map(|zone| &**zone))
    }
}
