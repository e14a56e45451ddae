//! A reply as text: a header, the records of each section in presentation form, and how it arrived.

use std::fmt::Write;
use std::net::SocketAddr;

use hickory_proto::op::{Edns, Message};
use hickory_proto::rr::rdata::opt::EdnsOption;
use hickory_proto::rr::{DNSClass, Name, RData, Record, RecordType};

use super::exchange::Reply;
use crate::wire::text::write_text;
use crate::wire::types::{TypeText, class_name, rcode_name};

/// The EDNS option of extended errors (RFC 8914).
const EXTENDED_ERROR: u16 = 15;

/// Names of extended errors, by code (RFC 8914 section 5.2, and IANA's list).
const PURPOSES: [&str; 30] = [
    "Other",
    "Unsupported DNSKEY Algorithm",
    "Unsupported DS Digest Type",
    "Stale Answer",
    "Forged Answer",
    "DNSSEC Indeterminate",
    "DNSSEC Bogus",
    "Signature Expired",
    "Signature Not Yet Valid",
    "DNSKEY Missing",
    "RRSIGs Missing",
    "No Zone Key Bit Set",
    "NSEC Missing",
    "Cached Error",
    "Not Ready",
    "Blocked",
    "Censored",
    "Filtered",
    "Prohibited",
    "Stale NXDOMAIN Answer",
    "Not Authoritative",
    "Not Supported",
    "No Reachable Authority",
    "Network Error",
    "Invalid Data",
    "Signature Expired before Valid",
    "Too Early",
    "Unsupported NSEC3 Iterations Value",
    "Unable to conform to policy",
    "Synthesized",
];

/// Returns the data of the answer's records, one a line.
#[must_use]
pub fn short(reply: &Reply) -> String {
    reply.message.answers.iter().map(|record| data(&record.data) + "\n").collect()
}

/// Returns the RCODE, or that NOERROR has no answer.
#[must_use]
pub fn outcome(reply: &Reply) -> String {
    let rcode = rcode(&reply.message);
    if rcode == "NOERROR" && reply.message.answers.is_empty() { "NOERROR without data".to_owned() } else { rcode }
}

/// Returns the whole reply. Lines that are not records begin with `;`, as in `dig`.
#[must_use]
pub fn long(reply: &Reply, server: SocketAddr) -> String {
    let message = &reply.message;
    let mut lines = Vec::new();
    if reply.was_truncated {
        lines.push(";; truncated over UDP, asked again over TCP".to_owned());
    }
    let (id, flags) = (message.metadata.id, flags(message));
    lines.push(format!(";; status: {}, id: {id}, flags: {flags}", rcode(message)));
    lines.extend(message.edns.iter().flat_map(edns));
    lines.extend(message.queries.iter().map(|query| {
        format!(";; question: {} {} {}", name(query.name()), class(query.query_class()), kind(query.query_type()))
    }));
    for (section, records) in
        [("answer", &message.answers), ("authority", &message.authorities), ("additional", &message.additionals)]
    {
        if !records.is_empty() {
            lines.push(format!(";; {section}: {}", records.len()));
            lines.extend(records.iter().map(record));
        }
    }
    let unchecked = if reply.transport.is_secured() { ", certificate not checked" } else { "" };
    lines.push(format!(
        ";; time: {:.1} ms, server: {server} over {}{unchecked}, size: {} octets",
        reply.took.as_secs_f64() * 1e3,
        reply.transport,
        reply.len
    ));
    lines.join("\n") + "\n"
}

fn rcode(message: &Message) -> String {
    let code = u16::from(message.metadata.response_code);
    rcode_name(code).map_or_else(|| format!("RCODE{code}"), str::to_owned)
}

fn flags(message: &Message) -> String {
    let header = &message.metadata;
    let flags = [
        (true, "qr"),
        (header.authoritative, "aa"),
        (header.truncation, "tc"),
        (header.recursion_desired, "rd"),
        (header.recursion_available, "ra"),
        (header.authentic_data, "ad"),
        (header.checking_disabled, "cd"),
    ];
    flags.iter().filter(|(is_set, _)| *is_set).map(|(_, name)| *name).collect::<Vec<_>>().join(" ")
}

/// Returns the OPT as one line, and a line for each of its options.
fn edns(edns: &Edns) -> Vec<String> {
    let dnssec_ok = if edns.flags().dnssec_ok { ", do" } else { "" };
    let head = format!(";; EDNS: version {}, UDP size {}{dnssec_ok}", edns.version(), edns.max_payload());
    let options = edns.options().as_ref().iter().map(|(code, option)| match option {
        EdnsOption::Unknown(EXTENDED_ERROR, octets) if octets.len() >= 2 => {
            let code = u16::from_be_bytes([octets[0], octets[1]]);
            let purpose = PURPOSES.get(usize::from(code)).map_or(String::new(), |purpose| format!(" ({purpose})"));
            let text = String::from_utf8_lossy(&octets[2..]);
            let text = text.trim_end_matches('\0').escape_debug();
            format!(";; EDE: {code}{purpose}: {text}").trim_end_matches(": ").to_owned()
        }
        EdnsOption::NSID(id) => format!(";; NSID: {}", quoted(id.as_ref())),
        EdnsOption::Unknown(number, octets) => format!(";; option {number}: {}", hex(octets)),
        _ => format!(";; option {}", u16::from(*code)),
    });
    std::iter::once(head).chain(options).collect()
}

fn record(record: &Record) -> String {
    let (class, kind) = (class(record.dns_class), kind(record.record_type()));
    format!("{} {} {class} {kind} {}", name(&record.name), record.ttl, data(&record.data))
}

fn kind(rtype: RecordType) -> String {
    TypeText(rtype.into()).to_string()
}

fn class(class: DNSClass) -> String {
    let number = u16::from(class);
    class_name(number).map_or_else(|| format!("CLASS{number}"), str::to_owned)
}

/// Returns data in presentation form (RFC 1035 section 5.1, RFC 3597 section 5). hickory-proto
/// writes names with octal escapes and in IDNA form, texts without quotes, and unknown data in
/// BASE64, so these are written here.
fn data(data: &RData) -> String {
    match data {
        RData::CNAME(target) => name(target),
        RData::NS(target) => name(target),
        RData::PTR(target) => name(target),
        RData::MX(mx) => format!("{} {}", mx.preference, name(&mx.exchange)),
        RData::SRV(srv) => format!("{} {} {} {}", srv.priority, srv.weight, srv.port, name(&srv.target)),
        RData::SOA(soa) => {
            let numbers = [soa.refresh, soa.retry, soa.expire].map(|number| number.to_string()).join(" ");
            format!("{} {} {} {numbers} {}", name(&soa.mname), name(&soa.rname), soa.serial, soa.minimum)
        }
        RData::TXT(txt) => txt.txt_data.iter().map(|text| quoted(text)).collect::<Vec<_>>().join(" "),
        RData::HINFO(info) => format!("{} {}", quoted(&info.cpu), quoted(&info.os)),
        RData::NULL(null) | RData::Unknown { rdata: null, .. } => {
            format!("\\# {} {}", null.anything.len(), hex(&null.anything)).trim_end().to_owned()
        }
        RData::Update0(_) => "\\# 0".to_owned(),
        // A server must not be able to send control sequences to the terminal.
        _ => data.to_string().replace(char::is_control, "?"),
    }
}

/// Writes a name as RFC 1035 section 5.1 has it: special characters get a backslash.
fn name(name: &Name) -> String {
    let mut wire = Vec::with_capacity(name.len() + 1);
    for label in name.iter() {
        wire.push(label.len() as u8);
        wire.extend_from_slice(label);
    }
    wire.push(0);
    let mut text = String::new();
    // Writing to a `String` cannot fail.
    let _ = write_text(&wire, &mut text);
    text
}

fn quoted(octets: &[u8]) -> String {
    let mut text = String::from("\"");
    for &octet in octets {
        // Writing to a `String` cannot fail.
        let _ = match octet {
            b'"' | b'\\' => write!(text, "\\{}", char::from(octet)),
            b' '..=b'~' => write!(text, "{}", char::from(octet)),
            _ => write!(text, "\\{octet:03}"),
        };
    }
    text + "\""
}

fn hex(octets: &[u8]) -> String {
    octets.iter().map(|octet| format!("{octet:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use hickory_proto::op::{MessageType, OpCode, Query, ResponseCode};
    use hickory_proto::rr::rdata::opt::EdnsCode;
    use hickory_proto::rr::rdata::{A, CAA, CNAME, HINFO, NULL, SOA, SRV, TXT};

    use super::*;
    use crate::ask::exchange::Transport;

    fn reply() -> Reply {
        let name = Name::from_ascii("web.shop.").expect("a name");
        let mut message = Message::new(7, MessageType::Response, OpCode::Query);
        message.metadata.authoritative = true;
        message.metadata.recursion_desired = true;
        message.metadata.response_code = ResponseCode::NoError;
        message.add_query(Query::query(name.clone(), RecordType::A));
        message.answers = vec![
            Record::from_rdata(name.clone(), 30, RData::A(A::new(10, 96, 0, 20))),
            Record::from_rdata(name.clone(), 5, RData::TXT(TXT::from_bytes(vec![b"a \"b\"", b"\\\n"]))),
            Record::from_rdata(name.clone(), 5, RData::HINFO(HINFO::new("RFC8482".into(), String::new()))),
            Record::from_rdata(
                name,
                5,
                RData::Unknown { code: RecordType::Unknown(65_280), rdata: NULL::with(vec![1, 255]) },
            ),
        ];
        let mut edns = Edns::new();
        edns.set_max_payload(1232);
        edns.options_mut().insert(EdnsOption::Unknown(EXTENDED_ERROR, b"\0\x03kept for 40 s".to_vec()));
        message.edns = Some(edns);
        Reply { message, len: 97, transport: Transport::Udp, was_truncated: false, took: Duration::from_micros(420) }
    }

    #[test]
    fn everything_is_said_and_records_are_in_presentation_form() {
        let wanted = r#";; status: NOERROR, id: 7, flags: qr aa rd
;; EDNS: version 0, UDP size 1232
;; EDE: 3 (Stale Answer): kept for 40 s
;; question: web.shop. IN A
;; answer: 4
web.shop. 30 IN A 10.96.0.20
web.shop. 5 IN TXT "a \"b\"" "\\\010"
web.shop. 5 IN HINFO "RFC8482" ""
web.shop. 5 IN TYPE65280 \# 2 01ff
;; time: 0.4 ms, server: 10.96.0.10:53 over UDP, size: 97 octets
"#;
        assert_eq!(long(&reply(), "10.96.0.10:53".parse().unwrap()), wanted);
        assert_eq!(short(&reply()).lines().next(), Some("10.96.0.20"));
        assert_eq!(outcome(&reply()), "NOERROR");
    }

    #[test]
    fn names_are_escaped_and_nothing_moves_the_cursor() {
        let odd = Name::from_labels([&b"a.b\x1b"[..], b"xn--bcher-kva"]).expect("a name");
        let odd_text = "a\\.b\\027.xn--bcher-kva.";
        assert_eq!(data(&RData::CNAME(CNAME(odd.clone()))), odd_text);
        assert_eq!(data(&RData::SRV(SRV::new(1, 2, 3, odd.clone()))), format!("1 2 3 {odd_text}"));
        let soa = SOA::new(odd.clone(), Name::root(), 1, 2, 3, 4, 5);
        assert_eq!(data(&RData::SOA(soa)), format!("{odd_text} . 1 2 3 4 5"));
        let caa = CAA::new_issue(false, Some(odd), Vec::new());
        assert!(!data(&RData::CAA(caa)).contains('\x1b'));
    }

    #[test]
    fn an_extended_error_may_lack_its_text_and_have_a_code_that_is_new() {
        let said = |octets: &[u8]| {
            let mut opt = Edns::new();
            opt.options_mut().insert(EdnsOption::Unknown(EXTENDED_ERROR, octets.to_vec()));
            assert!(opt.option(EdnsCode::Unknown(EXTENDED_ERROR)).is_some());
            edns(&opt).pop()
        };
        assert_eq!(said(&[0, 15]).as_deref(), Some(";; EDE: 15 (Blocked)"));
        assert_eq!(said(b"\x10\x00new\n").as_deref(), Some(";; EDE: 4096: new\\n"));
        assert_eq!(said(&[0]).as_deref(), Some(";; option 15: 00"));
    }
}
