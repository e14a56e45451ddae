//! Header, question and OPT of a query, read in place, and the gate that every transport passes.

use std::ops::Range;

use super::name::{MAX_LABEL, Name};
use super::option::{COOKIE, EdnsOption, EdnsOptions};
use super::types::{opcode, rcode, rtype};

/// Octets of a message header (RFC 1035 section 4.1.1).
pub const HEADER: usize = 12;

/// Header flags in the second 16-bit word.
pub mod flag {
    /// This is a response.
    pub const QR: u16 = 0x8000;
    /// Authoritative answer.
    pub const AA: u16 = 0x0400;
    /// Truncated.
    pub const TC: u16 = 0x0200;
    /// Recursion desired.
    pub const RD: u16 = 0x0100;
    /// Recursion available.
    pub const RA: u16 = 0x0080;
    /// Reserved, must be zero.
    pub const Z: u16 = 0x0040;
    /// Authentic data (RFC 4035).
    pub const AD: u16 = 0x0020;
    /// Checking disabled (RFC 4035).
    pub const CD: u16 = 0x0010;
}

/// Maximum number of options that are read; no known client sends more (CVE-2026-41292).
const MAX_OPTIONS: usize = 32;

//----------- Request --------------------------------------------------------

/// The parsed parts of a query. The name stays in the packet, at offset 12, uncompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The id, to be copied into the reply.
    pub id: u16,
    /// The second header word as received: opcode and flags.
    pub flags: u16,
    /// Length in octets of the name in the question, its root label included.
    pub name_len: u8,
    /// The type in the question.
    pub qtype: u16,
    /// The class in the question.
    pub qclass: u16,
    /// The OPT pseudo-record, if there is one.
    pub edns: Option<Edns>,
}

/// The client's OPT pseudo-record (RFC 6891).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Edns {
    /// The largest UDP payload that the client accepts, in octets.
    pub size: u16,
    /// EDNS version; only 0 is supported.
    pub version: u8,
    /// The DO bit (RFC 3225).
    pub dnssec_ok: bool,
    /// The position of the options in the packet.
    pub options: Range<u16>,
}

/// What to do with a packet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Gate {
    /// No reply: the packet is too short, or a response (RUSTSEC-2023-0041: answering responses
    /// makes loops).
    Silence,
    /// A bare reply without further processing.
    Refuse(Refusal),
    /// A query.
    Pass(Request),
    /// News of a zone's primary (RFC 1996): not for the chain.
    Notify(Request),
}

/// A reply made from the header alone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// FORMERR or NOTIMP.
    pub rcode: u16,
    /// The end of the question, if it can be copied.
    pub question_end: Option<usize>,
}

impl Request {
    /// Returns the lower-case name in the question of `packet`, which this request was read from.
    #[must_use]
    pub fn name(&self, packet: &[u8]) -> Name {
        Name::of_question(&packet[HEADER..HEADER + usize::from(self.name_len)])
    }

    /// Returns the options in the OPT of `packet`, which this request was read from.
    pub fn options<'p>(&self, packet: &'p [u8]) -> EdnsOptions<'p> {
        let range =
            self.edns.as_ref().map_or(0..0, |edns| usize::from(edns.options.start)..usize::from(edns.options.end));
        EdnsOptions::new(&packet[range])
    }

    /// Returns where the question ends in the packet.
    #[must_use]
    pub fn question_end(&self) -> usize {
        HEADER + usize::from(self.name_len) + 4
    }

    /// Returns the opcode.
    #[must_use]
    pub fn opcode(&self) -> u8 {
        (self.flags >> 11 & 0xF) as u8
    }

    /// Returns the largest UDP reply in octets: the client's size, at least 512 (RFC 6891
    /// section 6.2.5).
    #[must_use]
    pub fn udp_limit(&self) -> usize {
        self.edns.as_ref().map_or(512, |edns| usize::from(edns.size).max(512))
    }
}

/// Reads a packet: the gate that every transport uses.
///
/// Checks in CoreDNS's order (QR, opcode, counts, body), with three differences. NOTIFY is kept
/// apart from queries. NOTIMP copies the question (RFC 1035 section 4.1.1). A header without its
/// question and a second OPT are FORMERR.
#[must_use]
pub fn gate(packet: &[u8]) -> Gate {
    let Some(header) = packet.get(..HEADER) else { return Gate::Silence };
    let word = |at: usize| u16::from_be_bytes([header[at], header[at + 1]]);
    let flags = word(2);
    if flags & flag::QR != 0 {
        return Gate::Silence;
    }
    let question = (word(4) == 1).then(|| question(packet)).flatten();
    let refuse =
        |rcode| Gate::Refuse(Refusal { rcode, question_end: question.map(|(name_len, ..)| HEADER + name_len + 4) });
    let opcode = (flags >> 11 & 0xF) as u8;
    if !matches!(opcode, opcode::QUERY | opcode::NOTIFY) {
        return refuse(rcode::NOTIMP);
    }
    let (answers, authorities, additionals) = (word(6), word(8), word(10));
    let Some((name_len, qtype, qclass)) = question else { return refuse(rcode::FORMERR) };
    if answers > 1 || authorities > 1 || additionals > 2 {
        return refuse(rcode::FORMERR);
    }
    match opt(packet, HEADER + name_len + 4, answers + authorities, additionals) {
        Ok(edns) => {
            let request = Request { id: word(0), flags, name_len: name_len as u8, qtype, qclass, edns };
            if opcode == opcode::QUERY { Gate::Pass(request) } else { Gate::Notify(request) }
        }
        Err(Malformed) => refuse(rcode::FORMERR),
    }
}

/// Reads the question at offset 12: octets of its name, type and class. A pointer there is invalid.
fn question(packet: &[u8]) -> Option<(usize, u16, u16)> {
    let mut at = HEADER;
    while *packet.get(at)? != 0 {
        let len = usize::from(packet[at]);
        if len > MAX_LABEL {
            return None;
        }
        at += 1 + len;
    }
    let name_len = at + 1 - HEADER;
    let fixed: [u8; 4] = packet.get(at + 1..at + 5)?.try_into().ok()?;
    (name_len <= 255).then_some((
        name_len,
        u16::from_be_bytes([fixed[0], fixed[1]]),
        u16::from_be_bytes([fixed[2], fixed[3]]),
    ))
}

#[derive(Debug)]
struct Malformed;

/// Walks the records after the question, which start at `at`, and returns the one OPT. It must
/// stand among the additional ones; `before` records stand in front of them.
fn opt(packet: &[u8], mut at: usize, before: u16, additionals: u16) -> Result<Option<Edns>, Malformed> {
    let mut found = None;
    for index in 0..before + additionals {
        let owner = at;
        at = skip_name(packet, at).ok_or(Malformed)?;
        let fixed = packet.get(at..at + 10).ok_or(Malformed)?;
        let end = at + 10 + usize::from(u16::from_be_bytes([fixed[8], fixed[9]]));
        if end > packet.len() {
            return Err(Malformed);
        }
        if u16::from_be_bytes([fixed[0], fixed[1]]) == rtype::OPT {
            // Only one OPT, in the additional section, owned by the root (RFC 6891 section 6.1.1).
            if index < before || packet[owner] != 0 || found.is_some() {
                return Err(Malformed);
            }
            check_options(&packet[at + 10..end])?;
            found = Some(Edns {
                size: u16::from_be_bytes([fixed[2], fixed[3]]),
                version: fixed[5],
                dnssec_ok: fixed[6] & 0x80 != 0,
                options: at as u16 + 10..end as u16,
            });
        }
        at = end;
    }
    Ok(found)
}

fn check_options(data: &[u8]) -> Result<(), Malformed> {
    let mut options = EdnsOptions::new(data);
    for EdnsOption { code, data } in options.by_ref().take(MAX_OPTIONS) {
        // A cookie has 8 octets, or 16 to 40 with the server's part (RFC 7873 section 4).
        if code == COOKIE && !matches!(data.len(), 8 | 16..=40) {
            return Err(Malformed);
        }
    }
    if options.is_done() { Ok(()) } else { Err(Malformed) }
}

/// Returns the offset after a name, compressed or not.
pub(super) fn skip_name(packet: &[u8], mut at: usize) -> Option<usize> {
    loop {
        match *packet.get(at)? {
            0 => return Some(at + 1),
            len if len <= MAX_LABEL as u8 => at += 1 + usize::from(len),
            high if high & 0xC0 == 0xC0 => return (at + 1 < packet.len()).then_some(at + 2),
            _ => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUERY: &[u8] = b"\x12\x34\x01\x00\x00\x01\x00\x00\x00\x00\x00\x01\x03web\x03svc\x00\x00\x01\x00\x01\
        \x00\x00\x29\x04\xD0\x00\x00\x80\x00\x00\x00";

    fn with(change: impl FnOnce(&mut Vec<u8>)) -> Gate {
        let mut packet = QUERY.to_vec();
        change(&mut packet);
        gate(&packet)
    }

    fn refused(gate: Gate) -> Option<(u16, bool)> {
        match gate {
            Gate::Refuse(refusal) => Some((refusal.rcode, refusal.question_end.is_some())),
            _ => None,
        }
    }

    #[test]
    fn a_query_is_read() {
        let Gate::Pass(request) = gate(QUERY) else { panic!("refused") };
        assert_eq!((request.id, request.name_len, request.qtype, request.qclass), (0x1234, 9, 1, 1));
        assert_eq!(request.edns.as_ref().map(|e| (e.size, e.version, e.dnssec_ok)), Some((1232, 0, true)));
        assert_eq!((request.question_end(), request.udp_limit()), (25, 1232));
    }

    #[test]
    fn what_gets_no_reply() {
        assert_eq!(gate(&QUERY[..11]), Gate::Silence);
        assert_eq!(with(|p| p[2] |= 0x80), Gate::Silence);
    }

    #[test]
    fn what_gets_a_bare_reply() {
        assert_eq!(refused(with(|p| p[2] |= 0x10)), Some((rcode::NOTIMP, true)), "opcode STATUS");
        assert!(matches!(with(|p| p[2] |= 0x20), Gate::Notify(_)), "opcode NOTIFY");
        assert_eq!(refused(with(|p| p[5] = 0)), Some((rcode::FORMERR, false)), "no question");
        assert_eq!(refused(with(|p| p[5] = 2)), Some((rcode::FORMERR, false)), "two questions");
        assert_eq!(refused(with(|p| p[7] = 2)), Some((rcode::FORMERR, true)), "two answers");
        assert_eq!(refused(with(|p| p[11] = 3)), Some((rcode::FORMERR, true)), "three additionals");
        assert_eq!(refused(with(|p| p.truncate(12))), Some((rcode::FORMERR, false)), "a header alone");
        assert_eq!(refused(with(|p| p.truncate(30))), Some((rcode::FORMERR, true)), "half an OPT");
        assert_eq!(refused(with(|p| p[12] = 0xC0)), Some((rcode::FORMERR, false)), "a pointer in the question");
        assert_eq!(refused(with(|p| p[35] = 9)), Some((rcode::FORMERR, true)), "an option list beyond the packet");
        let second = QUERY[25..].to_vec();
        assert_eq!(
            refused(with(|p| {
                p[11] = 2;
                p.extend_from_slice(&second);
            })),
            Some((rcode::FORMERR, true)),
            "two OPTs"
        );
    }

    #[test]
    fn cookies_have_their_lengths() {
        let cookie = |len: u8| {
            with(|p| {
                let at = p.len() - 1;
                p[at] = len + 4;
                p.extend_from_slice(&[0, 10, 0, len]);
                p.extend(std::iter::repeat_n(7, usize::from(len)));
            })
        };
        for len in [8, 16, 40] {
            assert!(matches!(cookie(len), Gate::Pass(_)), "{len}");
        }
        for len in [0, 7, 9, 15, 41] {
            assert_eq!(refused(cookie(len)), Some((rcode::FORMERR, true)), "{len}");
        }
    }
}
