//! # transfer — let secondaries copy zones
//!
//! Answers AXFR (RFC 5936) and IXFR (RFC 1995) for zones of other plugins in the same server block:
//! `kubernetes`, `k8s_external`, `file`, `auto` and `secondary`. A transfer needs a stream
//! (TCP, TLS or QUIC); over UDP it is refused. IXFR is answered with the SOA record alone if the
//! client's version is not older, otherwise with the whole zone.
//!
//! When a zone changes, each address in `to` gets a NOTIFY (RFC 1996), which is sent up to three
//! times. Zones of `kubernetes` change too often for that: their secondaries have to ask.
//!
//! At most 64 transfers run at a time, and a client cannot have more than are still free. A
//! transfer above these bounds is answered SERVFAIL, and the client tries again later.
//!
//! ## Syntax
//!
//! ```text
//! transfer [ZONE...] {
//! }
//! ```
//!
//! - **ZONE** is a zone that this directive applies to; by default the zones of the server block.
//!   Only the directive with the longest zone that holds the name decides. If no zone holds the
//!   name, the query goes to the next plugin.
//!
//! ## Examples
//!
//! Clients of one network may copy the zone of the cluster, others are refused by `acl`:
//!
//! ```corefile
//! cluster.local {
//!     acl {
//!         allow type AXFR net 10.1.0.0/16
//!         allow type IXFR net 10.1.0.0/16
//!         block type AXFR
//!         block type IXFR
//!     }
//!     transfer {
//!         to *
//!     }
//!     kubernetes cluster.local {
//!         manifests ./demo
//!     }
//! }
//! ```
//!
//! ## Metrics
//!
//! - `signpost_transfer_requests_total{result}`: requests for a transfer. `result` is `full`,
//!   `current` (the client has this version already), `refused`, `busy` (too many transfers),
//!   `failed` (the data are not there yet, or IXFR without a SOA record)
//! - `signpost_transfer_notifies_total{result}`: NOTIFY messages that were `accepted`, or `failed`
//!   after all attempts

mod messages;
mod metrics;
mod notify;
mod rules;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use self::messages::Messages;
use self::metrics::Metrics;
use self::notify::Notifier;
use self::rules::{OPTIONS, Rules};
use crate::chain::control::Control;
use crate::chain::doc::doc_of;
use crate::chain::places::{Place, Places};
use crate::chain::setup::{Registration, Setup};
use crate::chain::transfer::{Offer, Transfers, Version};
use crate::chain::{Here, Plugin, Proto, Query, Reply, Step};
use crate::corefile::address::Transport;
use crate::error::Result;
use crate::host::log;
use crate::wire::soa::{is_older, known_serial};
use crate::wire::types::{class, rcode, rtype};

/// The registration of this plugin.
pub const PLUGIN: Registration =
    Registration { name: "transfer", setup: set_up, doc: doc_of!("mod.rs"), options: &[&OPTIONS] };

/// Transfers of the process at a time. Each holds memory for as long as its client takes to read
/// it.
const PLACES: usize = 64;

fn set_up(s: &mut Setup<'_>) -> Result<()> {
    let rules = Arc::new(Rules::read(s)?);
    let metrics = Metrics::new(&s.host.metrics);
    if rules.have_addresses() {
        let notifier = Notifier::new(rules.clone(), s.zone_changes(), metrics.clone());
        s.task("transfer notify", move || notifier.run());
    }
    s.chain(Transfer {
        rules,
        transfers: s.transfers(),
        places: s.host.shared.get_or_make("transfer places", || Places::new(PLACES)),
        control: s.control(),
        metrics,
    });
    Ok(())
}

/// The plugin of one server block.
struct Transfer {
    rules: Arc<Rules>,
    transfers: Arc<Transfers>,
    places: Arc<Places>,
    control: Control,
    metrics: Metrics,
}

impl Plugin for Transfer {
    fn ask(&self, query: &mut Query<'_>, here: &Here<'_>) -> Step {
        let is_transfer = matches!(query.question.qtype, rtype::AXFR | rtype::IXFR);
        if !is_transfer || query.question.qclass != class::IN {
            return Step::Next;
        }
        // Only streams of messages have room for a zone: a response of HTTP is one message.
        let is_stream = matches!(here.listener.transport, Transport::Dns | Transport::Tls | Transport::Quic);
        if query.client.proto == Proto::Udp || !is_stream {
            return self.refuse();
        }
        let Some(rule) = self.rules.of(&query.question.name) else { return Step::Next };
        if !rule.allows(query.client.peer.ip()) {
            return self.refuse();
        }
        let known = match query.question.qtype {
            rtype::IXFR => match known_serial(query.packet(), &query.request) {
                Some(serial) => Some(serial),
                None => return self.fail("an IXFR query has the SOA record that the client knows"),
            },
            _ => None,
        };
        match self.transfers.version(&query.question.name) {
            Offer::None => Step::Next,
            Offer::NotReady => self.fail("the zone is not loaded"),
            Offer::Version(version) => match known {
                Some(known) if !is_older(known, version.serial) => self.current(query, &version),
                _ => self.begin(query, *version),
            },
        }
    }
}

impl Transfer {
    fn refuse(&self) -> Step {
        self.metrics.refused.inc();
        Step::Answer(Reply::server(rcode::REFUSED))
    }

    fn fail(&self, cause: &'static str) -> Step {
        self.metrics.failed.inc();
        Step::Answer(Reply::failure(rcode::SERVFAIL, cause))
    }

    /// The client has this version or a newer one: the SOA record says so (RFC 1995 section 2).
    fn current(&self, query: &Query<'_>, version: &Version) -> Step {
        self.metrics.current.inc();
        let (zone, client, serial) = (query.question.name, query.client.peer.ip(), version.serial);
        log::info(
            PLUGIN.name,
            format_args!(
                "Outgoing noop, incremental transfer for up to date zone \"{zone}\" to {client} for {serial} SOA serial"
            ),
        );
        Step::Answer(Reply::memory(messages::alone(&zone, &version.soa)))
    }

    /// Begins a transfer of the whole zone.
    fn begin(&self, query: &Query<'_>, version: Version) -> Step {
        let (zone, client) = (query.question.name, query.client.peer.ip());
        let Some(place) = self.places.take(client) else {
            self.metrics.busy.inc();
            return Step::Answer(Reply::failure(rcode::SERVFAIL, "too many zone transfers at a time"));
        };
        let (control, full, failed) = (self.control.clone(), self.metrics.full.clone(), self.metrics.failed.clone());
        Step::Wait(Box::pin(async move {
            let Version { serial, soa, records } = version;
            // A large zone takes longer to collect than datagrams should wait.
            let records = match control.wait().await.spawn_blocking(records).await {
                Ok(records) => records,
                Err(error) => {
                    failed.inc();
                    return Reply::failure(rcode::SERVFAIL, format!("the zone was not collected: {error}"));
                }
            };
            let mut messages = Messages::new(zone, soa, records, move |count| {
                full.inc();
                tell(&zone, client, count, serial, &place);
            });
            // The SOA record is there twice, so there is a first message.
            let first = messages.next().unwrap_or_default();
            let reply = Reply::memory(first);
            if messages.is_done() { reply } else { reply.with_more(messages) }
        }))
    }
}

/// Logs a whole transfer. It holds its place until here.
fn tell(zone: &crate::wire::name::Name, client: std::net::IpAddr, count: usize, serial: u32, _: &Place) {
    log::info(
        PLUGIN.name,
        format_args!("Outgoing transfer of {count} records of zone \"{zone}\" to {client} for {serial} SOA serial"),
    );
}
