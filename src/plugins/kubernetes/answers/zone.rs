//! A zone that the plugin serves: its SOA, and the answers that say "no".

use std::sync::Arc;

use arc_swap::ArcSwap;

use super::name::Schema;
use crate::chain::transfer::TransferRecord;
use crate::plugins::kubernetes::known::index::Index;
use crate::wire::answer::{Answer, Section};
use crate::wire::encode::{Encoder, Owner, Tail};
use crate::wire::name::Name;
use crate::wire::packed::Packed;
use crate::wire::request::flag;
use crate::wire::soa::Soa;
use crate::wire::types::{rcode, rtype};

/// The longest TTL of a SOA record in seconds, whatever `ttl` says.
const SOA_TTL: u32 = 300;

/// One zone.
pub struct Zone {
    /// Its name in lower case.
    pub name: Name,
    /// How names in it are read.
    pub schema: Schema,
    /// Seconds.
    ttl: u32,
    denials: ArcSwap<Denials>,
}

/// Encoded once for each serial: four of five questions of an `ndots:5` search get one of them.
struct Denials {
    serial: u32,
    no_data: Packed,
    name_error: Packed,
}

impl Zone {
    /// A zone whose records live `ttl` seconds.
    #[must_use]
    pub fn new(name: Name, schema: Schema, ttl: u32) -> Self {
        let denials = ArcSwap::from_pointee(Denials::new(&name, ttl, 0));
        let schema = Schema { reverse: is_reverse(&name), ..schema };
        Self { name, schema, ttl, denials }
    }

    /// NODATA: the name exists, the type does not (RFC 2308 section 2.2).
    #[must_use]
    pub fn no_data(&self, index: &Index) -> Arc<Answer> {
        self.denial(index, |denials| &denials.no_data)
    }

    /// NXDOMAIN (RFC 2308 section 2.1).
    #[must_use]
    pub fn name_error(&self, index: &Index) -> Arc<Answer> {
        self.denial(index, |denials| &denials.name_error)
    }

    /// SERVFAIL with the SOA, as CoreDNS sends it while nothing is known yet.
    #[must_use]
    pub fn not_ready(&self, index: &Index) -> Arc<Answer> {
        let mut answer = (*self.no_data(index)).clone();
        answer.rcode = rcode::SERVFAIL;
        Arc::new(answer)
    }

    /// The SOA itself, in reply to a question for it.
    #[must_use]
    pub fn soa(&self, index: &Index) -> Arc<Answer> {
        let serial = index.serial();
        Arc::new(Encoder::build(self.name.len(), |e| {
            e.flags(flag::AA);
            soa(self.name.len(), self.ttl, serial).put(e, Section::Answer);
        }))
    }

    /// Returns the SOA of a version as a record of a transfer.
    #[must_use]
    pub fn soa_record(&self, serial: u32) -> TransferRecord {
        let soa = soa(self.name.len(), self.ttl, serial);
        TransferRecord { owner: self.name, rtype: rtype::SOA, ttl: soa.ttl, data: soa.data(&self.name).into() }
    }

    fn denial(&self, index: &Index, pick: impl Fn(&Denials) -> &Packed) -> Arc<Answer> {
        let serial = index.serial();
        let denials = self.denials.load();
        if denials.serial == serial {
            return pick(&denials).answer();
        }
        let fresh = Arc::new(Denials::new(&self.name, self.ttl, serial));
        self.denials.store(fresh.clone());
        pick(&fresh).answer()
    }
}

/// Whether the names of a zone stand for addresses.
fn is_reverse(zone: &Name) -> bool {
    let is_below = |parent| Name::from_text(parent).is_ok_and(|parent| zone.is_under(&parent));
    is_below("in-addr.arpa") || is_below("ip6.arpa")
}

impl Denials {
    fn new(zone: &Name, ttl: u32, serial: u32) -> Self {
        let denial = |code| {
            Packed::new(&Encoder::build(zone.len(), |e| {
                e.flags(flag::AA);
                soa(zone.len(), ttl, serial).deny(e, code);
            }))
        };
        Self { serial, no_data: denial(rcode::NOERROR), name_error: denial(rcode::NXDOMAIN) }
    }
}

/// The SOA of the zone that ends the question; `ttl` in seconds.
fn soa(zone_len: usize, ttl: u32, serial: u32) -> Soa<'static> {
    let zone = Tail::AskedEnd(zone_len as u8);
    Soa {
        zone_len,
        ttl: ttl.min(SOA_TTL),
        name_server: Owner::new(b"\x02ns\x03dns", zone),
        hostmaster: Owner::new(b"\x0Ahostmaster", zone),
        serial,
        timers: [7200, 1800, 86400],
        minimum: ttl,
    }
}
