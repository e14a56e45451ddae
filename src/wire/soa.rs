//! The SOA record of a zone, alone or in a denial.

use super::answer::Section;
use super::encode::{Encoder, Owner};
use super::name::Name;
use super::request::{Request, skip_name};
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
            self.numbers().for_each(|number| e.put(&number));
        });
    }

    /// Returns the data of the record for a transfer of `zone`, without compression. Both names
    /// must end in the zone or in the root.
    #[must_use]
    pub fn data(&self, zone: &Name) -> Vec<u8> {
        let names = [self.name_server, self.hostmaster];
        let mut data = names.iter().flat_map(|name| name.whole(zone.wire()).unwrap_or_default()).collect::<Vec<_>>();
        data.extend(self.numbers().flatten());
        data
    }

    fn numbers(&self) -> impl Iterator<Item = [u8; 4]> {
        let [refresh, retry, expire] = self.timers;
        [self.serial, refresh, retry, expire, self.minimum].into_iter().map(u32::to_be_bytes)
    }

    /// Makes the answer a denial: NOERROR for NODATA, NXDOMAIN, or SERVFAIL (RFC 2308 section 2).
    pub fn deny(&self, e: &mut Encoder<'_>, rcode: u16) {
        e.rcode(rcode);
        self.put(e, Section::Authority);
    }
}

//----------- Serials --------------------------------------------------------

/// Returns whether serial `one` is older than `other`: serials wrap around (RFC 1982 section 3.2).
/// Of two serials that are 2^31 apart, each is older than the other.
#[must_use]
pub fn is_older(one: u32, other: u32) -> bool {
    one != other && other.wrapping_sub(one) <= 1 << 31
}

/// Returns the serial of the SOA in the authority section of an IXFR query: the version that the
/// client has (RFC 1995 section 3). Returns `None` if there is no such record.
#[must_use]
pub fn known_serial(packet: &[u8], request: &Request) -> Option<u32> {
    let word = |at: usize| Some(u16::from_be_bytes(*packet.get(at..)?.first_chunk()?));
    let mut at = request.question_end();
    // The gate accepts one record in each of both sections.
    for record in 0..word(6)? + word(8)? {
        at = skip_name(packet, at)?;
        let (rtype, len) = (word(at)?, usize::from(word(at + 8)?));
        let end = at + 10 + len;
        if record == word(6)? && rtype == rtype::SOA {
            let numbers = skip_name(packet, skip_name(packet, at + 10)?)?;
            let number = packet.get(numbers..end)?.first_chunk()?;
            return (numbers + 20 == end).then(|| u32::from_be_bytes(*number));
        }
        at = end;
    }
    None
}

#[cfg(test)]
mod tests {
    use super::super::question::Question;
    use super::super::request::{Gate, HEADER, gate};
    use super::*;

    #[test]
    fn serials_go_round() {
        assert!(is_older(1, 2) && !is_older(2, 1) && !is_older(7, 7));
        assert!(is_older(u32::MAX, 0) && !is_older(0, u32::MAX));
        assert!(is_older(0, 1 << 31) && is_older(1 << 31, 0), "undefined by RFC 1982: a transfer does no harm");
    }

    #[test]
    fn the_serial_of_a_client_stands_in_the_authority_section() {
        let mut packet = Question::new(Name::from_text("a.test").expect("a name"), rtype::IXFR).query(1, 0, None);
        let serial = |packet: &[u8]| match gate(packet) {
            Gate::Pass(request) => known_serial(packet, &request),
            other => panic!("{other:?}"),
        };
        assert_eq!(serial(&packet), None);
        packet[9] = 1;
        let names = b"\x02ns\xC0\x0C\xC0\x0C";
        packet.extend_from_slice(&[0xC0, HEADER as u8, 0, 6, 0, 1, 0, 0, 0, 0, 0, 20 + names.len() as u8]);
        packet.extend_from_slice(names);
        packet.extend_from_slice(&[0, 0, 0, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
        assert_eq!(serial(&packet), Some(7));
        // In the answer section it says nothing.
        (packet[7], packet[9]) = (1, 0);
        assert_eq!(serial(&packet), None);
        (packet[7], packet[9]) = (0, 1);
        let type_at = packet.len() - 20 - names.len() - 10;
        packet[type_at + 1] = 16;
        assert_eq!(serial(&packet), None, "a TXT record");
    }
}
