//! The data of LOC (RFC 1876) and APL (RFC 3123), whose text is a small language each.

use std::net::IpAddr;

use super::lines::Words;

/// Centimetres in front of the lowest altitude of LOC: 100,000 m below the ellipsoid.
const DEPTH: f64 = 10_000_000.0;

/// Reads a location: `52 22 23.000 N 4 53 32.000 E -2m [SIZE [HORIZONTAL [VERTICAL]]]`.
pub(super) fn location<'w>(first: &'w str, more: &mut Words<'w>) -> Option<Vec<u8>> {
    let mut words = std::iter::once(first).chain(more).peekable();
    let latitude = angle(&mut words, ["N", "S"], 90.0)?;
    let longitude = angle(&mut words, ["E", "W"], 180.0)?;
    let altitude = metres(words.next()?)? + DEPTH;
    let mut data = vec![0];
    for default in [100.0, 1_000_000.0, 1_000.0] {
        data.push(precision(words.next().map_or(Some(default), metres)?)?);
    }
    let altitude = (0.0..=f64::from(u32::MAX)).contains(&altitude).then_some(altitude.round() as u32)?;
    for number in [latitude, longitude, altitude] {
        data.extend_from_slice(&number.to_be_bytes());
    }
    words.next().is_none().then_some(data)
}

/// Reads degrees, minutes and seconds up to a direction, as thousandths of a second around 2^31.
fn angle<'w>(words: &mut impl Iterator<Item = &'w str>, signs: [&str; 2], most: f64) -> Option<u32> {
    let (mut parts, mut units) = (0.0, [(3600.0, most), (60.0, 60.0), (1.0, 60.0)].into_iter());
    loop {
        let word = words.next()?;
        let sign = match word.to_ascii_uppercase() {
            word if word == signs[0] => 1.0,
            word if word == signs[1] => -1.0,
            _ => {
                let (unit, limit) = units.next()?;
                let number: f64 = word.parse().ok().filter(|number| (0.0..=limit).contains(number))?;
                parts += number * unit;
                continue;
            }
        };
        let is_valid = units.len() < 3 && parts <= most * 3600.0;
        return is_valid.then_some((2_147_483_648.0 + sign * (parts * 1000.0).round()) as u32);
    }
}

/// Reads metres, with or without `m`, as centimetres.
fn metres(word: &str) -> Option<f64> {
    let number = word.strip_suffix(['m', 'M']).unwrap_or(word);
    number.parse().ok().map(|metres: f64| (metres * 100.0).round()).filter(|number| number.is_finite())
}

/// Returns a length in centimetres as one digit and a power of ten (RFC 1876 section 2).
fn precision(mut centimetres: f64) -> Option<u8> {
    if !(0.0..=9e9).contains(&centimetres) {
        return None;
    }
    let mut power = 0;
    while centimetres >= 10.0 {
        (centimetres, power) = ((centimetres / 10.0).floor(), power + 1);
    }
    Some((centimetres as u8) << 4 | power)
}

/// Reads a list of prefixes: `1:192.0.2.0/24 !2:2001:db8::/32`.
pub(super) fn prefixes<'w>(first: &'w str, more: &mut Words<'w>) -> Option<Vec<u8>> {
    let mut data = Vec::new();
    for word in std::iter::once(first).chain(more) {
        let (negated, item) = word.strip_prefix('!').map_or((0, word), |item| (0x80, item));
        let (family, item) = item.split_once(':')?;
        let (address, len) = item.split_once('/')?;
        let (octets, most) = match (family, address.parse().ok()?) {
            ("1", IpAddr::V4(address)) => (address.octets().to_vec(), 32),
            ("2", IpAddr::V6(address)) => (address.octets().to_vec(), 128),
            _ => return None,
        };
        let len: u8 = len.parse().ok().filter(|&len| len <= most)?;
        let kept = octets.iter().rposition(|&octet| octet != 0).map_or(0, |last| last + 1);
        data.extend_from_slice(&[0, u8::from(most == 128) + 1, len, negated | kept as u8]);
        data.extend_from_slice(&octets[..kept]);
    }
    Some(data)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(of: for<'w> fn(&'w str, &mut Words<'w>) -> Option<Vec<u8>>, text: &str) -> Option<Vec<u8>> {
        let mut words = Words::new(text);
        of(words.next()?, &mut words)
    }

    #[test]
    fn locations_of_the_rfc() {
        // As CoreDNS sends them.
        let sent = [
            ("42 21 54 N 71 06 18 W -24m 30m", 0x0033_1613_8917_2DD0_70BE_15F0_0098_8D20_u128),
            ("52 N 4 E 0", 0x0012_1613_8B28_7200_80DB_BA00_0098_9680),
            ("52 22 23.000 N 4 53 32.000 E -2.00m 0.00m 10000m 10m", 0x0000_1613_8B3C_F018_810C_BCE0_0098_95B8),
        ];
        for (text, data) in sent {
            assert_eq!(read(location, text), Some(data.to_be_bytes().to_vec()), "{text}");
        }
        for wrong in [
            "52 22 N",
            "91 N 4 E 0",
            "52 60.1 0 N 4 E 0",
            "52 1 1 1 N 4 E 0",
            "N 4 E 0",
            "52 N 4 E 0 1 1 1 1",
            "52 N 4 E x",
        ] {
            assert_eq!(read(location, wrong), None, "{wrong}");
        }
    }

    #[test]
    fn prefixes_of_both_families() {
        let read = |text| read(prefixes, text);
        assert_eq!(
            read("1:192.168.32.0/21 !2:2001:db8::/32"),
            Some(b"\0\x01\x15\x03\xc0\xa8\x20\0\x02\x20\x84\x20\x01\x0d\xb8".to_vec())
        );
        for wrong in ["192.168.32.0/21", "1:192.168.32.0", "1:192.168.32.0/33", "1:::/0", "3:x/1"] {
            assert_eq!(read(wrong), None, "{wrong}");
        }
    }
}
