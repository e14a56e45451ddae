//! Types whose data the crate `domain` does not read, as lists of fields.

use std::net::Ipv4Addr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::lines::Words;
use super::names::name;
use super::places;
use crate::wire::name::Name;

/// One part of the data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Field {
    /// A number of so many octets.
    Number(usize),
    /// A name.
    Name,
    /// One character string of at most 255 octets.
    Text,
    /// Character strings up to the end; one of more than 255 octets is cut into several.
    Texts,
    /// Octets up to the end, as they are.
    Octets,
    /// Hexadecimal octets up to the end.
    Hex,
    /// Base64 up to the end.
    Base64,
    /// An address of IPv4.
    V4,
    /// So many octets in hexadecimal, in groups that a character separates.
    Groups(usize),
    /// A number of 16 bits, or the mnemonic of a certificate's type (RFC 4398 section 2.1).
    Certificate,
    /// A location (RFC 1876).
    Location,
    /// Prefixes of networks (RFC 3123).
    Prefixes,
}

use Field::{Base64, Certificate, Groups, Hex, Location, Number, Octets, Prefixes, Text, Texts, V4};

/// Types as (number, mnemonic, fields).
const TYPES: &[(u16, &str, &[Field])] = &[
    (16, "TXT", &[Texts]),
    (18, "AFSDB", &[Number(2), Field::Name]),
    (19, "X25", &[Text]),
    (21, "RT", &[Number(2), Field::Name]),
    (26, "PX", &[Number(2), Field::Name, Field::Name]),
    (27, "GPOS", &[Text, Text, Text]),
    (29, "LOC", &[Location]),
    (36, "KX", &[Number(2), Field::Name]),
    (37, "CERT", &[Certificate, Number(2), Number(1), Base64]),
    (42, "APL", &[Prefixes]),
    (49, "DHCID", &[Base64]),
    (53, "SMIMEA", &[Number(1), Number(1), Number(1), Hex]),
    (56, "NINFO", &[Texts]),
    (58, "TALINK", &[Field::Name, Field::Name]),
    (99, "SPF", &[Texts]),
    (104, "NID", &[Number(2), Groups(8)]),
    (105, "L32", &[Number(2), V4]),
    (106, "L64", &[Number(2), Groups(8)]),
    (107, "LP", &[Number(2), Field::Name]),
    (108, "EUI48", &[Groups(6)]),
    (109, "EUI64", &[Groups(8)]),
    (256, "URI", &[Number(2), Number(2), Octets]),
    (258, "AVC", &[Texts]),
];

/// Mnemonics of certificates (RFC 4398 section 2.1).
const CERTIFICATES: &[&str] = &["", "PKIX", "SPKI", "PGP", "IPKIX", "ISPKI", "IPGP", "ACPKIX", "IACPKIX"];

/// Returns the fields of a type, if it is one of these.
pub(super) fn fields(rtype: u16) -> Option<&'static [Field]> {
    TYPES.iter().find(|(number, _, _)| *number == rtype).map(|(_, _, fields)| *fields)
}

/// Returns the type of a mnemonic in upper case, if it is one of these.
pub(super) fn rtype_of(mnemonic: &str) -> Option<u16> {
    TYPES.iter().find(|(_, known, _)| *known == mnemonic).map(|(number, _, _)| *number)
}

/// Returns the data in wire form.
pub(super) fn read(fields: &[Field], origin: &Name, text: &str) -> Result<Vec<u8>, String> {
    let (mut words, mut data) = (Words::new(text), Vec::new());
    for field in fields {
        let word = words.next().ok_or_else(|| format!("the data are not complete: '{text}'"))?;
        field.read(word, &mut words, origin, &mut data).ok_or_else(|| format!("invalid data: '{word}'"))?;
    }
    match words.next() {
        None => Ok(data),
        Some(word) => Err(format!("unexpected '{word}'")),
    }
}

impl Field {
    fn read<'w>(self, word: &'w str, more: &mut Words<'w>, origin: &Name, data: &mut Vec<u8>) -> Option<()> {
        match self {
            Number(octets) => {
                let number: u32 = word.parse().ok()?;
                let bytes = number.to_be_bytes();
                (octets == 4 || number >> (8 * octets) == 0).then_some(())?;
                data.extend_from_slice(&bytes[4 - octets..]);
            }
            Self::Name => data.extend_from_slice(name(word, origin)?.wire()),
            Text => put_text(&unquoted(word)?, data)?,
            Texts => {
                for word in std::iter::once(word).chain(more.by_ref()) {
                    let text = unquoted(word)?;
                    if text.is_empty() {
                        data.push(0);
                    }
                    text.chunks(255).try_for_each(|chunk| put_text(chunk, data))?;
                }
            }
            Octets => data.extend_from_slice(&unquoted(word)?),
            Hex => data.extend_from_slice(&hex(&joined(word, more))?),
            Base64 => data.extend_from_slice(&STANDARD.decode(joined(word, more)).ok()?),
            Location => data.extend_from_slice(&places::location(word, more)?),
            Prefixes => data.extend_from_slice(&places::prefixes(word, more)?),
            V4 => data.extend_from_slice(&word.parse::<Ipv4Addr>().ok()?.octets()),
            Groups(octets) => {
                let octets = hex(&word.replace(['-', ':'], "")).filter(|found| found.len() == octets)?;
                data.extend_from_slice(&octets);
            }
            Certificate => {
                let mnemonic = CERTIFICATES.iter().position(|known| !known.is_empty() && *known == word);
                let number = mnemonic.map_or_else(|| word.parse().ok(), |at| u16::try_from(at).ok())?;
                data.extend_from_slice(&number.to_be_bytes());
            }
        }
        Some(())
    }
}

fn put_text(text: &[u8], data: &mut Vec<u8>) -> Option<()> {
    data.push(u8::try_from(text.len()).ok()?);
    data.extend_from_slice(text);
    Some(())
}

fn joined<'w>(word: &'w str, more: &mut Words<'w>) -> String {
    std::iter::once(word).chain(more).collect()
}

fn hex(text: &str) -> Option<Vec<u8>> {
    let digit = |octet: u8| char::from(octet).to_digit(16);
    let octet = |pair: &[u8]| Some((digit(pair[0])? << 4 | digit(*pair.get(1)?)?) as u8);
    text.as_bytes().chunks(2).map(octet).collect()
}

/// Returns the octets that a word stands for, without its quotes.
fn unquoted(word: &str) -> Option<Vec<u8>> {
    let mut octets = Vec::with_capacity(word.len());
    let mut rest = word.bytes();
    while let Some(octet) = rest.next() {
        match octet {
            b'"' => {}
            b'\\' => {
                let first = rest.next()?;
                if first.is_ascii_digit() {
                    let digits = [first, rest.next()?, rest.next()?];
                    octets.push(std::str::from_utf8(&digits).ok()?.parse().ok()?);
                } else {
                    octets.push(first);
                }
            }
            _ => octets.push(octet),
        }
    }
    Some(octets)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn data(mnemonic: &str, text: &str) -> Result<Vec<u8>, String> {
        let origin = Name::from_text("a.").expect("a name");
        read(fields(rtype_of(mnemonic).expect("a type")).expect("fields"), &origin, text)
    }

    #[test]
    fn each_field_is_read() {
        assert_eq!(data("AFSDB", "1 b"), Ok(b"\0\x01\x01b\x01a\0".to_vec()));
        assert_eq!(data("URI", r#"10 1 "https://a/b c""#), Ok(b"\0\x0a\0\x01https://a/b c".to_vec()));
        assert_eq!(data("SMIMEA", "3 0 0 ab CD"), Ok(vec![3, 0, 0, 0xAB, 0xCD]));
        assert_eq!(data("EUI48", "00-00-5e-00-53-2a"), Ok(vec![0, 0, 0x5E, 0, 0x53, 0x2A]));
        assert_eq!(data("L32", "10 10.1.2.3"), Ok(vec![0, 10, 10, 1, 2, 3]));
        assert_eq!(data("CERT", "PGP 0 5 aGkh"), Ok(b"\0\x03\0\0\x05hi!".to_vec()));
        assert_eq!(data("TXT", r#"a "b c" \065\" """#), Ok(b"\x01a\x03b c\x02A\"\0".to_vec()));
    }

    #[test]
    fn long_texts_are_cut() {
        let text = data("TXT", &"x".repeat(300)).expect("data");
        assert_eq!((text.len(), text[0], text[256]), (302, 255, 45));
        assert!(data("X25", &"1".repeat(256)).is_err());
    }

    #[test]
    fn what_is_wrong_is_refused() {
        assert_eq!(data("AFSDB", "1"), Err("the data are not complete: '1'".to_owned()));
        assert_eq!(data("AFSDB", "1 b c"), Err("unexpected 'c'".to_owned()));
        for (mnemonic, text) in [("AFSDB", "70000 b"), ("EUI48", "00-00"), ("SMIMEA", "1 1 1 abc"), ("DHCID", "%")] {
            assert!(data(mnemonic, text).is_err(), "{mnemonic} {text}");
        }
    }
}
