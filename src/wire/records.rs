//! Reads the records of a message one by one, their data without compression.

use super::name::Name;
use super::relay::names_in;
use super::request::HEADER;
use super::types::rtype;

/// A record of a message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MessageRecord {
    /// Its owner, as it is written.
    pub owner: Name,
    /// Its type.
    pub rtype: u16,
    /// Its class.
    pub class: u16,
    /// Its TTL in seconds.
    pub ttl: u32,
    /// Its data in wire form, without compression.
    pub data: Vec<u8>,
}

/// Something in a message cannot be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unreadable;

/// Returns the records of the answer section. The iterator ends after a record that cannot be read.
///
/// # Errors
/// The header or the questions cannot be read.
pub fn answers(message: &[u8]) -> Result<impl Iterator<Item = Result<MessageRecord, Unreadable>>, Unreadable> {
    let word = |at: usize| Some(usize::from(u16::from_be_bytes(*message.get(at..)?.first_chunk()?)));
    let (Some(questions), Some(count)) = (word(4), word(6)) else { return Err(Unreadable) };
    let mut at = HEADER;
    for _ in 0..questions {
        (_, at) = Name::from_message(message, at).ok_or(Unreadable)?;
        at += 4;
    }
    let (mut left, mut at) = (count, Some(at));
    Ok(std::iter::from_fn(move || {
        left = left.checked_sub(1)?;
        let read = record(message, at?);
        at = read.as_ref().map(|(_, end)| *end);
        Some(read.map(|(record, _)| record).ok_or(Unreadable))
    }))
}

/// Lower-cases the names in uncompressed data for which the canonical form says so (RFC 4034
/// section 6.2, RFC 6840 section 5.1).
pub fn lower_names(rtype: u16, data: &mut [u8]) {
    let name_end = |data: &[u8], at: usize| Name::from_message(data, at).map(|(_, end)| end);
    let mut at = 0;
    if rtype == rtype::NAPTR {
        // The name follows order, preference and three strings (RFC 3403 section 4.1).
        let strings = (0..3).try_fold(4, |at, _| Some(at + 1 + usize::from(*data.get(at)?)));
        at = strings.unwrap_or(data.len());
    }
    let names = if rtype == rtype::NAPTR { &[(1, 0)] } else { names_in(rtype) };
    for &(count, before) in names {
        at += before;
        for _ in 0..count {
            let Some(end) = name_end(data, at) else { return };
            // Length octets are at most 63, below 'A'.
            data[at..end].make_ascii_lowercase();
            at = end;
        }
    }
}

/// Reads the record at `at`; returns it and where it ends.
fn record(message: &[u8], at: usize) -> Option<(MessageRecord, usize)> {
    let (owner, at) = Name::from_message(message, at)?;
    let [t0, t1, c0, c1, ttl @ .., l0, l1] = *message.get(at..)?.first_chunk::<10>()?;
    let (rtype, class) = (u16::from_be_bytes([t0, t1]), u16::from_be_bytes([c0, c1]));
    let end = at + 10 + usize::from(u16::from_be_bytes([l0, l1]));
    let data = data(message.get(..end)?, rtype, at + 10)?;
    Some((MessageRecord { owner, rtype, class, ttl: u32::from_be_bytes(ttl), data }, end))
}

/// Reads the data from `at` to the end of `message`, and writes its names out.
///
/// Returns `None` if they are not what the type says: for types with names, nothing or too much is
/// behind them.
pub(super) fn data(message: &[u8], rtype: u16, mut at: usize) -> Option<Vec<u8>> {
    let (mut whole, names) = (Vec::new(), names_in(rtype));
    for &(count, before) in names {
        whole.extend_from_slice(message.get(at..at + before)?);
        at += before;
        for _ in 0..count {
            let (name, end) = Name::from_message(message, at)?;
            whole.extend_from_slice(name.wire());
            at = end;
        }
    }
    let rest = message.get(at..)?;
    let is_whole = match rtype {
        rtype::A => rest.len() == 4,
        rtype::AAAA => rest.len() == 16,
        rtype::SOA => rest.len() == 20,
        // Behind their names all others but SOA have nothing.
        _ if !names.is_empty() => rest.is_empty(),
        _ => true,
    };
    whole.extend_from_slice(rest);
    is_whole.then_some(whole)
}

#[cfg(test)]
mod tests {
    use super::super::types::class;
    use super::*;

    /// A message with the question `a.test. IN AXFR` and these records.
    fn message(records: &[&[u8]]) -> Vec<u8> {
        let mut message = b"\0\x01\x84\0\0\x01\0\0\0\0\0\0\x01a\x04test\0\0\xFC\0\x01".to_vec();
        message[7] = records.len() as u8;
        message.extend(records.concat());
        message
    }

    fn read(records: &[&[u8]]) -> Vec<Option<(String, u16, Vec<u8>)>> {
        let message = message(records);
        let records = answers(&message).expect("a question");
        records.map(|record| record.ok().map(|r| (r.owner.to_string(), r.rtype, r.data))).collect()
    }

    #[test]
    fn names_are_written_out() {
        let ns = b"\xC0\x0C\0\x02\0\x01\0\0\0\x05\0\x05\x02ns\xC0\x0C";
        let mx = b"\x01b\xC0\x0C\0\x0F\0\x01\0\0\0\x05\0\x04\0\x0A\xC0\x0C";
        let txt = b"\xC0\x0E\0\x10\0\x01\0\0\0\x05\0\x03\x02\xC0\x0C";
        let wanted = [
            Some(("a.test.".to_owned(), rtype::NS, b"\x02ns\x01a\x04test\0".to_vec())),
            Some(("b.a.test.".to_owned(), rtype::MX, b"\0\x0A\x01a\x04test\0".to_vec())),
            Some(("test.".to_owned(), rtype::TXT, b"\x02\xC0\x0C".to_vec())),
        ];
        assert_eq!(read(&[ns, mx, txt]), wanted);
        let message = message(&[ns]);
        let first = answers(&message).expect("a question").next().expect("one").expect("readable");
        assert_eq!((first.class, first.ttl), (class::IN, 5));
    }

    #[test]
    fn what_is_not_as_the_type_says_ends_the_reading() {
        let good = b"\xC0\x0C\0\x01\0\x01\0\0\0\x05\0\x04\x7F\0\0\x01";
        for bad in [
            &b"\xC0\x0C\0\x01\0\x01\0\0\0\x05\0\x03\x7F\0\0"[..],
            b"\xC0\x0C\0\x1C\0\x01\0\0\0\x05\0\x04\x7F\0\0\x01",
            b"\xC0\x0C\0\x02\0\x01\0\0\0\x05\0\x03\xC0\x0C\0",
            b"\xC0\x0C\0\x02\0\x01\0\0\0\x05\0\0",
            b"\xC0\x0C\0\x02\0\x01\0\0\0\x05\0\x02\xC0\xFF",
            b"\xC0\x0C\0\x06\0\x01\0\0\0\x05\0\x04\xC0\x0C\xC0\x0C",
            b"\xC0\x0C\0\x10\0\x01\0\0\0\x05\xFF\0\x01",
        ] {
            let read = read(&[good, bad, good]);
            assert_eq!((read.len(), read[0].is_some(), &read[1]), (2, true, &None), "{bad:?}");
        }
        assert!(answers(b"\0\x01\x84\0\0\x01\0\0\0\0\0\0\x01a").is_err());
        assert!(answers(b"\0\x01\x84").is_err());
    }
}
