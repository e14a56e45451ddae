//! The settings of a directive that questions need.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::answer;
use super::client::Client;
use crate::chain::zones::{Fallthrough, Zones};
use crate::chain::{Query, Reply};
use crate::host::repeats::Repeats;
use crate::host::{Host, log};
use crate::wire::answer::Section;
use crate::wire::encode::Encoder;
use crate::wire::name::Name;
use crate::wire::request::flag;

/// Delay before the same log line is repeated: at first, and finally.
pub(super) const TOLD_AGAIN: (Duration, Duration) = (Duration::from_secs(10), Duration::from_secs(600));

/// What a directive says.
pub(super) struct Directive {
    pub(super) zones: Zones,
    pub(super) fallthrough: Fallthrough,
    pub(super) path: String,
    pub(super) no_apex_fallback: bool,
    /// The minimum and the maximum TTL that a lease gives, in seconds.
    pub(super) lease_ttls: (u32, u32),
    pub(super) client: Arc<Client>,
    pub(super) host: Arc<Host>,
    pub(super) told: Repeats,
}

impl Directive {
    /// Logs what is wrong with a value. Lines in quick succession are held back and counted.
    pub(super) fn tell(&self, wrong: &str) {
        if let Some(held_back) = self.told.allow("", Instant::now().into()) {
            log::warning("etcd", format_args!("{wrong}; the key is left out{held_back}"));
        }
    }

    /// Returns the SOA record of a zone: the answer, or a denial with this RCODE.
    pub(super) fn with_soa(&self, query: &Query<'_>, zone: Name, denial: Option<u16>) -> Reply {
        let soa = answer::soa(zone.len(), self.host.clock.seconds_since_1970() as u32);
        Reply::fetched(Arc::new(Encoder::build(query.asked_now().len(), |e| {
            e.flags(flag::AA);
            match denial {
                Some(code) => soa.deny(e, code),
                None => soa.put(e, Section::Answer),
            }
        })))
    }
}
