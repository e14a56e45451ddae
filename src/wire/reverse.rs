//! Reverse names: the addresses that they represent.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use super::name::Name;

/// What a name below `in-addr.arpa.` or `ip6.arpa.` represents.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reverse {
    /// One address.
    Address(IpAddr),
    /// The leading octets of IPv4 addresses, one to three of them.
    Prefix(Octets),
}

/// Up to four leading octets of an IPv4 address, kept inline so that a question allocates nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct Octets {
    len: u8,
    octets: [u8; 4],
}

impl Octets {
    /// Returns the octets.
    #[must_use]
    pub fn as_slice(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }

    /// Returns the prefixes of an address, shortest first: one, two and three octets.
    pub fn prefixes(address: Ipv4Addr) -> impl Iterator<Item = Self> {
        let [a, b, c, _] = address.octets();
        [[a, 0, 0, 0], [a, b, 0, 0], [a, b, c, 0]].into_iter().zip(1..).map(|(octets, len)| Self { len, octets })
    }
}

impl Reverse {
    /// Returns whether it represents only addresses that are not routed on the Internet: of private
    /// networks (RFC 1918, RFC 6598, RFC 4193) and link-local ones (RFC 3927, RFC 4291).
    #[must_use]
    pub fn is_private(&self) -> bool {
        match self {
            Self::Address(IpAddr::V4(address)) => is_private(&address.octets()),
            Self::Address(IpAddr::V6(address)) => address.is_unique_local() || address.is_unicast_link_local(),
            Self::Prefix(octets) => is_private(octets.as_slice()),
        }
    }
}

fn is_private(octets: &[u8]) -> bool {
    match octets {
        [10, ..] | [192, 168, ..] | [169, 254, ..] => true,
        [172, second, ..] => (16..32).contains(second),
        [100, second, ..] => (64..128).contains(second),
        _ => false,
    }
}

/// Reads a reverse name in lower case (RFC 1035 section 3.5, RFC 3596 section 2.5).
///
/// IPv4 octets must have no leading zeros, as in CoreDNS.
#[must_use]
pub fn parse(name: &Name) -> Option<Reverse> {
    let mut labels: [&[u8]; 34] = [&[]; 34];
    let mut count = 0;
    for label in name.labels() {
        *labels.get_mut(count)? = label;
        count += 1;
    }
    match &labels[..count] {
        [octets @ .., b"in-addr", b"arpa"] => v4(octets),
        [nibbles @ .., b"ip6", b"arpa"] => v6(nibbles),
        _ => None,
    }
}

fn v4(labels: &[&[u8]]) -> Option<Reverse> {
    let mut read = Octets::default();
    for label in labels.iter().rev() {
        *read.octets.get_mut(usize::from(read.len))? = octet(label)?;
        read.len += 1;
    }
    match read.len {
        0 => None,
        4 => Some(Reverse::Address(Ipv4Addr::from(read.octets).into())),
        _ => Some(Reverse::Prefix(read)),
    }
}

/// Reads a decimal number up to 255 without leading zeros.
fn octet(label: &[u8]) -> Option<u8> {
    let is_plain = label.iter().all(u8::is_ascii_digit) && (label[0] != b'0' || label.len() == 1);
    is_plain.then(|| std::str::from_utf8(label).ok()?.parse().ok()).flatten()
}

fn v6(labels: &[&[u8]]) -> Option<Reverse> {
    let mut bits: u128 = 0;
    for label in labels.iter().rev() {
        let [digit] = **label else { return None };
        bits = bits << 4 | u128::from(char::from(digit).to_digit(16)?);
    }
    (labels.len() == 32).then(|| Reverse::Address(Ipv6Addr::from(bits).into()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn private_addresses_are_known() {
        let is_private = |text: &str| {
            let name = Name::from_text(&format!("{text}.arpa.")).expect("a name");
            parse(&name).expect("a reverse name").is_private()
        };
        let unique_local = format!("{}d.f.ip6", "0.".repeat(30));
        for text in ["1.0.96.10.in-addr", "10.in-addr", "16.172.in-addr", "7.100.100.in-addr", &unique_local] {
            assert!(is_private(text), "{text}");
        }
        let documentation = format!("{}8.b.d.0.1.0.0.2.ip6", "0.".repeat(24));
        for text in ["8.8.8.8.in-addr", "172.in-addr", "32.172.in-addr", "63.100.in-addr", &documentation] {
            assert!(!is_private(text), "{text}");
        }
    }

    #[test]
    fn reverse_names_are_addresses_or_prefixes() {
        let read = |text: &str| parse(&Name::from_text(text).expect("a name"));
        let address = |text: &str| Some(Reverse::Address(text.parse().expect("an address")));
        assert_eq!(read("10.0.96.10.in-addr.arpa."), address("10.96.0.10"));
        assert_eq!(read("96.10.in-addr.arpa."), Some(Reverse::Prefix(Octets { len: 2, octets: [10, 96, 0, 0] })));
        assert_eq!(read("010.0.96.10.in-addr.arpa."), None);
        assert_eq!(read("1.10.0.96.10.in-addr.arpa."), None);
        assert_eq!(read("+1.0.96.10.in-addr.arpa."), None);
        assert_eq!(read("256.0.96.10.in-addr.arpa."), None);
        assert_eq!(read("in-addr.arpa."), None);
        let six = "a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.";
        assert_eq!(read(six), address("fd00::a"));
        assert_eq!(read(&format!("0.{six}")), None);
        assert_eq!(read(&six[2..]), None);
    }
}
