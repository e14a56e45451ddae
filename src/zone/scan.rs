//! Reads the data of one record: the crate `domain` most types, `rare` the others.

use std::fmt::Write;
use std::str::FromStr;

use bytes::Bytes;
use domain::base::iana::Rtype;
use domain::base::rdata::ComposeRecordData;
use domain::zonefile::inplace::{Entry, Zonefile};

use super::lines::Words;
use super::names::name_len;
use super::rare;
use crate::wire::name::Name;
use crate::wire::types::{TypeText, rtype};

/// Reads record data, one record after the other.
pub(super) struct Scanner {
    zonefile: Zonefile,
    origin: Option<Name>,
    line: String,
}

impl Scanner {
    pub(super) fn new() -> Self {
        Self { zonefile: Zonefile::new(), origin: None, line: String::new() }
    }

    /// Returns the data in wire form, without compression. Names are relative to `origin`.
    pub(super) fn scan(&mut self, origin: &Name, rtype: u16, text: &str) -> Result<Vec<u8>, String> {
        let is_generic = text.starts_with(r"\#");
        let mut data = match rare::fields(rtype).filter(|_| !is_generic) {
            Some(fields) => rare::read(fields, origin, text)?,
            None => self.domain(origin, rtype, text)?,
        };
        if data.len() > usize::from(u16::MAX) {
            return Err("the data have more than 65,535 octets".to_owned());
        }
        lower(rtype, &mut data);
        Ok(data)
    }

    fn domain(&mut self, origin: &Name, rtype: u16, text: &str) -> Result<Vec<u8>, String> {
        if self.origin != Some(*origin) {
            let octets = Bytes::copy_from_slice(origin.wire());
            let name = domain::base::Name::from_octets(octets).map_err(|error| error.to_string())?;
            self.zonefile.set_origin(name);
            self.origin = Some(*origin);
        }
        self.line.clear();
        let _ = write!(self.line, ". 0 IN {} ", Rtype::from_int(rtype));
        if rtype == rtype::SOA {
            seconds(text, &mut self.line);
        } else {
            self.line.push_str(text);
        }
        self.line.push('\n');
        self.zonefile.extend_from_slice(self.line.as_bytes());
        match self.zonefile.next_entry() {
            Ok(Some(Entry::Record(record))) => {
                let mut data = Vec::new();
                let Ok(()) = record.data().compose_rdata(&mut data);
                Ok(data)
            }
            Ok(_) => Err("no data".to_owned()),
            Err(error) => {
                // The scanner still holds the rest of the line.
                *self = Self::new();
                let error = error.to_string();
                if error.contains("unknown record type") {
                    return Err(format!(
                        "data of the type {} are written as \\# LENGTH HEX (RFC 3597)",
                        TypeText(rtype)
                    ));
                }
                let what = error.splitn(3, ':').nth(2).map_or(&*error, str::trim);
                Err(format!("{what}: '{text}'"))
            }
        }
    }
}

/// Returns the type of a mnemonic in any case, or of `TYPE65280` (RFC 3597 section 5).
pub(super) fn rtype_of(word: &str) -> Option<u16> {
    Rtype::from_str(word).ok().map(Rtype::to_int).or_else(|| rare::rtype_of(&word.to_ascii_uppercase()))
}

/// Writes the data of a SOA with its times in seconds: `1h` is 3600.
fn seconds(text: &str, line: &mut String) {
    for (at, word) in Words::new(text).enumerate() {
        match ttl(word).filter(|_| at > 2) {
            Some(seconds) => _ = write!(line, "{seconds} "),
            None => _ = write!(line, "{word} "),
        }
    }
}

/// Reads a number of seconds: `3600`, `1h`, `1h30m`, with the units `s`, `m`, `h`, `d` and `w`.
pub(super) fn ttl(word: &str) -> Option<u32> {
    let (mut sum, mut number) = (0u64, 0u64);
    for octet in word.bytes() {
        let unit = match octet.to_ascii_lowercase() {
            b's' => 1,
            b'm' => 60,
            b'h' => 3600,
            b'd' => 86_400,
            b'w' => 604_800,
            digit @ b'0'..=b'9' => {
                number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
                continue;
            }
            _ => return None,
        };
        (sum, number) = (sum.checked_add(number.checked_mul(unit)?)?, 0);
    }
    u32::try_from(sum.checked_add(number)?).ok().filter(|_| !word.is_empty())
}

/// Lower-cases names in the data of the types for which CoreDNS does.
pub(super) fn lower(rtype: u16, data: &mut [u8]) {
    let names = match rtype {
        rtype::NS | rtype::CNAME => 0..data.len(),
        rtype::SOA => 0..data.len().saturating_sub(20),
        rtype::MX => 2..data.len(),
        rtype::SVCB | rtype::HTTPS => 2..2 + data.get(2..).map_or(0, name_len),
        _ => return,
    };
    // Length octets are at most 63, below 'A'.
    data.get_mut(names).into_iter().for_each(<[u8]>::make_ascii_lowercase);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(rtype: &str, text: &str) -> Result<Vec<u8>, String> {
        let origin = Name::from_text("example.").expect("a name");
        Scanner::new().scan(&origin, rtype_of(rtype).expect("a type"), text)
    }

    #[test]
    fn units_of_time() {
        let read = ["0", "3600", "1h", "1H30m", "2w", "1d5", "4294967295"].map(|word| ttl(word).unwrap_or(9));
        assert_eq!(read, [0, 3600, 3600, 5400, 1_209_600, 86_405, u32::MAX]);
        assert_eq!(["", "x", "1y", "-1", "4294967296", "7102w"].map(ttl), [None; 6]);
        let soa = scan("SOA", "NS.A. b 7 1h 2m 1w 0").expect("data");
        assert_eq!(&soa[..6], b"\x02ns\x01a\0");
        assert_eq!(soa[soa.len() - 16..], *b"\0\0\x0e\x10\0\0\0\x78\0\x09\x3a\x80\0\0\0\0");
    }

    #[test]
    fn an_error_does_not_spoil_the_next_record() {
        let (mut scanner, origin) = (Scanner::new(), Name::from_text("example.").expect("a name"));
        let error = scanner.scan(&origin, rtype::A, "10.0.0.300").expect_err("not an address");
        assert!(error.contains("10.0.0.300"), "{error}");
        assert_eq!(scanner.scan(&origin, rtype::A, "10.0.0.3"), Ok(vec![10, 0, 0, 3]));
        assert!(scanner.scan(&origin, rtype::A, "10.0.0.3 10.0.0.4").is_err());
        assert_eq!(scanner.scan(&origin, rtype::NS, "NS1"), Ok(b"\x03ns1\x07example\0".to_vec()));
        assert_eq!(scanner.scan(&origin, rtype::A, r"\# 4 0A000003"), Ok(vec![10, 0, 0, 3]));
        assert_eq!(scanner.scan(&origin, 65280, r"\# 2 abcd"), Ok(vec![0xAB, 0xCD]));
        assert!(scanner.scan(&origin, 65280, "abcd").is_err());
    }

    #[test]
    fn names_in_data_are_lower_case_where_coredns_has_them_so() {
        assert_eq!(scan("MX", "10 Mail.A."), Ok(b"\0\x0a\x04mail\x01a\0".to_vec()));
        assert_eq!(scan("SRV", "1 2 3 Web.A."), Ok(b"\0\x01\0\x02\0\x03\x03Web\x01A\0".to_vec()));
        assert_eq!(scan("HTTPS", "1 A.B. alpn=h2"), Ok(b"\0\x01\x01a\x01b\0\0\x01\0\x03\x02h2".to_vec()));
    }
}
