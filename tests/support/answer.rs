//! Replies for the scripted upstream, built octet by octet.

use std::net::Ipv4Addr;

//----------- Answer ---------------------------------------------------------

/// A reply to a query, built octet by octet.
#[derive(Debug, Clone)]
pub struct Answer {
    head: Vec<u8>,
    sections: [Vec<u8>; 3],
    counts: [u16; 3],
}

impl Answer {
    /// Begins an empty reply with RA; id, question, opcode and RD are the query's.
    pub fn to(query: &[u8]) -> Self {
        let mut end = 12;
        while query[end] != 0 {
            end += 1 + usize::from(query[end]);
        }
        let mut head = query[..end + 5].to_vec();
        head[2] = head[2] & 0x79 | 0x80;
        head[3] = 0x80;
        head[4..12].copy_from_slice(&[0, 1, 0, 0, 0, 0, 0, 0]);
        Self { head, sections: Default::default(), counts: [0; 3] }
    }

    /// Sets the RCODE.
    pub fn rcode(mut self, rcode: u8) -> Self {
        self.head[3] = self.head[3] & 0xF0 | rcode;
        self
    }

    /// Sets the header flags `flags` (TC is `0x0200`, AA `0x0400`, AD `0x0020`).
    pub fn flags(mut self, flags: u16) -> Self {
        self.head[2] |= (flags >> 8) as u8;
        self.head[3] |= flags as u8;
        self
    }

    /// Sets the id.
    pub fn id(mut self, id: u16) -> Self {
        self.head[..2].copy_from_slice(&id.to_be_bytes());
        self
    }

    /// Returns the id, which is the query's unless it was changed.
    pub fn query_id(&self) -> u16 {
        u16::from_be_bytes([self.head[0], self.head[1]])
    }

    /// Adds an A record of the question's name.
    pub fn a(self, address: &str, ttl: u32) -> Self {
        let address: Ipv4Addr = address.parse().expect("an IPv4 address");
        self.record(0, &[0xC0, 12], (1, ttl), &address.octets())
    }

    /// Adds an A record of another name.
    pub fn a_of(self, name: &str, address: &str, ttl: u32) -> Self {
        let address: Ipv4Addr = address.parse().expect("an IPv4 address");
        self.record(0, &wire(name), (1, ttl), &address.octets())
    }

    /// Adds a CNAME record of the question's name.
    pub fn cname(self, target: &str, ttl: u32) -> Self {
        self.record(0, &[0xC0, 12], (5, ttl), &wire(target))
    }

    /// Adds the SOA record of `zone` to the authority section; its last field is 7.
    pub fn soa(self, zone: &str, ttl: u32) -> Self {
        let zone = wire(zone);
        let mut data = [&b"\x02ns"[..], &zone, b"\x04mail", &zone].concat();
        data.extend_from_slice(&[0, 0, 0, 1, 0, 0, 0, 2, 0, 0, 0, 3, 0, 0, 0, 4, 0, 0, 0, 7]);
        self.record(1, &zone, (6, ttl), &data)
    }

    /// Adds an NS record of `zone` to the authority section.
    pub fn ns(self, zone: &str, ttl: u32) -> Self {
        let data = [&b"\x02ns"[..], &wire(zone)].concat();
        self.record(1, &wire(zone), (2, ttl), &data)
    }

    /// Adds an OPT record that holds one option.
    pub fn option(self, code: u16, data: &[u8]) -> Self {
        let option = [&code.to_be_bytes()[..], &(data.len() as u16).to_be_bytes(), data].concat();
        let mut record = vec![0, 0, 41, 0x04, 0xD0, 0, 0, 0, 0];
        record.extend_from_slice(&(option.len() as u16).to_be_bytes());
        record.extend_from_slice(&option);
        self.push(2, &record)
    }

    /// Adds any record of the question's class: section from 0, owner in wire form, type and TTL,
    /// data.
    pub fn record(self, section: usize, owner: &[u8], (rtype, ttl): (u16, u32), data: &[u8]) -> Self {
        let mut record = owner.to_vec();
        record.extend_from_slice(&rtype.to_be_bytes());
        record.extend_from_slice(&self.head[self.head.len() - 2..]);
        record.extend_from_slice(&ttl.to_be_bytes());
        record.extend_from_slice(&(data.len() as u16).to_be_bytes());
        record.extend_from_slice(data);
        self.push(section, &record)
    }

    fn push(mut self, section: usize, record: &[u8]) -> Self {
        self.sections[section].extend_from_slice(record);
        self.counts[section] += 1;
        self
    }

    /// Returns the octets.
    pub fn message(&self) -> Vec<u8> {
        let mut message = self.head.clone();
        for (at, count) in self.counts.iter().enumerate() {
            message[6 + 2 * at..8 + 2 * at].copy_from_slice(&count.to_be_bytes());
        }
        message.extend(self.sections.concat());
        message
    }
}

/// Returns a name in wire form.
pub fn wire(name: &str) -> Vec<u8> {
    let mut wire = Vec::new();
    for label in name.split('.').filter(|label| !label.is_empty()) {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label.as_bytes());
    }
    wire.push(0);
    wire
}
