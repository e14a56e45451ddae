//! Reverse names: the address that one stands for, and whether names lie below it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use crate::wire::name::Name;

/// What a name below `in-addr.arpa.` or `ip6.arpa.` stands for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reverse {
    /// One address.
    Address(IpAddr),
    /// The leading octets of IPv4 addresses, one to three of them.
    Prefix(Vec<u8>),
}

/// Reads a reverse name in lower case (RFC 1035 section 3.5, RFC 3596 section 2.5).
///
/// IPv4 octets are written without leading zeros, as CoreDNS wants it.
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
    let octets = labels.iter().rev().map(|label| octet(label)).collect::<Option<Vec<u8>>>()?;
    match *octets.as_slice() {
        [a, b, c, d] => Some(Reverse::Address(Ipv4Addr::new(a, b, c, d).into())),
        _ if octets.is_empty() || octets.len() > 4 => None,
        _ => Some(Reverse::Prefix(octets)),
    }
}

fn octet(label: &[u8]) -> Option<u8> {
    let text = std::str::from_utf8(label).ok()?;
    let value: u8 = text.parse().ok()?;
    (value.to_string() == text).then_some(value)
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
    fn reverse_names_are_addresses_or_prefixes() {
        let read = |text: &str| parse(&Name::from_text(text).expect("a name"));
        let address = |text: &str| Some(Reverse::Address(text.parse().expect("an address")));
        assert_eq!(read("10.0.96.10.in-addr.arpa."), address("10.96.0.10"));
        assert_eq!(read("96.10.in-addr.arpa."), Some(Reverse::Prefix(vec![10, 96])));
        assert_eq!(read("010.0.96.10.in-addr.arpa."), None);
        assert_eq!(read("1.10.0.96.10.in-addr.arpa."), None);
        assert_eq!(read("256.0.96.10.in-addr.arpa."), None);
        assert_eq!(read("in-addr.arpa."), None);
        let six = "a.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.d.f.ip6.arpa.";
        assert_eq!(read(six), address("fd00::a"));
        assert_eq!(read(&format!("0.{six}")), None);
        assert_eq!(read(&six[2..]), None);
    }
}
