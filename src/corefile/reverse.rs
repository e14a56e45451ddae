//! Networks as reverse zones: `10.0.0.0/24` is `0.0.10.in-addr.arpa.` (RFC 1035 3.5, RFC 3596 2.5).

use std::fmt::Write;
use std::net::IpAddr;

use super::value::Network;

/// Returns the reverse zones of a network: one if its length is a multiple of a label (8 bits of
/// IPv4, 4 of IPv6), else all zones at the next longer label: up to 128 for IPv4 and 8 for IPv6.
pub(super) fn zones(Network { address, length }: Network) -> Vec<String> {
    let bits: u8 = if address.is_ipv4() { 8 } else { 4 };
    let digits: Vec<u8> = match address {
        IpAddr::V4(v4) => v4.octets().to_vec(),
        IpAddr::V6(v6) => v6.octets().iter().flat_map(|octet| [octet >> 4, octet & 15]).collect(),
    };
    let labels = usize::from(length.div_ceil(bits));
    let spare = u8::try_from(labels).unwrap_or(u8::MAX) * bits - length.min(128);
    let Some((last, above)) = digits[..labels].split_last() else {
        return vec![root(address).to_owned()];
    };
    let first = (last >> spare) << spare;
    (0..1_u8 << spare).map(|step| zone(address, above, first + step)).collect()
}

fn zone(address: IpAddr, above: &[u8], last: u8) -> String {
    let mut zone = String::new();
    for digit in [last].iter().chain(above.iter().rev()) {
        let _ = if address.is_ipv4() { write!(zone, "{digit}.") } else { write!(zone, "{digit:x}.") };
    }
    zone + root(address)
}

fn root(address: IpAddr) -> &'static str {
    if address.is_ipv4() { "in-addr.arpa." } else { "ip6.arpa." }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(text: &str) -> Vec<String> {
        zones(crate::corefile::value::cidr(text).expect("a network"))
    }

    #[test]
    fn a_length_on_a_label_is_one_zone() {
        assert_eq!(of("10.0.0.5/24"), ["0.0.10.in-addr.arpa."]);
        assert_eq!(of("10.1.2.3/32"), ["3.2.1.10.in-addr.arpa."]);
        assert_eq!(of("2001:db8::/32"), ["8.b.d.0.1.0.0.2.ip6.arpa."]);
        assert_eq!(of("0.0.0.0/0"), ["in-addr.arpa."]);
        assert_eq!(of("2001::/0"), ["ip6.arpa."]);
    }

    #[test]
    fn any_other_length_is_split_at_the_next_label() {
        assert_eq!(of("10.1.0.0/15"), ["0.10.in-addr.arpa.", "1.10.in-addr.arpa."]);
        assert_eq!(of("10.0.0.0/17").len(), 128);
        assert_eq!(of("128.0.0.0/1").last().map(String::as_str), Some("255.in-addr.arpa."));
        assert_eq!(of("2001:db8::/31"), ["8.b.d.0.1.0.0.2.ip6.arpa.", "9.b.d.0.1.0.0.2.ip6.arpa."]);
        assert_eq!(of("8000::/1").last().map(String::as_str), Some("f.ip6.arpa."));
    }
}
