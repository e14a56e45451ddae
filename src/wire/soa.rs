//! The SOA record of a zone, alone or in a denial.

use super::answer::Section;
use super::encode::{Encoder, Owner};
use super::types::rtype;

/// A SOA record (RFC 1035 section 3.3.13).
pub struct Soa<'a> {
    /// Octets of the zone, which ends the name in the question. It is the owner of the record, in
    /// the client's case.
    pub zone_len: usize,
    /// The TTL of the record in seconds.
    pub ttl: u32,
    /// The primary name server.
    pub name_server: Owner<'a>,
    /// The mailbox of the responsible person, as a name.
    pub hostmaster: Owner<'a>,
    /// The version of the zone.
    pub serial: u32,
    /// Refresh, retry and expire, in seconds.
    pub timers: [u32; 3],
    /// How long a denial may be cached, in seconds (RFC 2308 section 4).
    pub minimum: u32,
}

impl Soa<'_> {
    /// Adds the record to a section.
    pub fn put(&self, e: &mut Encoder<'_>, section: Section) {
        e.record(section, Owner::zone(self.zone_len), rtype::SOA, self.ttl, |e| {
            e.put_name(self.name_server);
            e.put_name(self.hostmaster);
            let [refresh, retry, expire] = self.timers;
            for number in [self.serial, refresh, retry, expire, self.minimum] {
                e.put(&number.to_be_bytes());
            }
        });
    }

    /// Makes the answer a denial: NOERROR for NODATA, NXDOMAIN, or SERVFAIL (RFC 2308 section 2).
    pub fn deny(&self, e: &mut Encoder<'_>, rcode: u16) {
        e.rcode(rcode);
        self.put(e, Section::Authority);
    }
}
