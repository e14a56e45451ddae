//! Lines as CoreDNS 1.15.0 prints them, and which rule decides.

use std::cell::RefCell;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use super::*;
use crate::testing::{Server, packet};
use crate::wire::types::type_number;

/// Returns the line about a query, 200,597 ns after it arrived.
fn line(format: &str, packet: &[u8], peer: &str) -> String {
    let server = Server::new(". {\nwhoami\n}\n");
    let (query, reply) = server.outcome(packet, peer.parse().expect("an address")).expect("a reply");
    let name = Name::from_wire(query.asked()).expect("a name").lowered();
    let facts = Facts::new(&query, Some(&reply), &name).taking(Duration::from_nanos(200_597));
    let mut out = Vec::new();
    Format::parse(format).write(&facts, &mut out);
    String::from_utf8(out).expect("text")
}

#[test]
fn the_common_line() {
    let asked = packet("Foo.example.", "A");
    assert_eq!(
        line(format::COMMON, &asked, "10.0.0.9:41373"),
        "10.0.0.9:41373 - 4660 \"A IN foo.example. udp 40 false 1232\" NOERROR qr,aa,rd 91 0.000200597s"
    );
    assert_eq!(
        line(format::COMBINED, &asked, "[2001:db8::1]:5"),
        "[2001:db8::1]:5 - 4660 \"A IN foo.example. udp 40 false 1232\" NOERROR qr,aa,rd 103 0.000200597s \"0\""
    );
}

#[test]
fn seconds_are_the_shortest_that_are_the_same_float() {
    let mut nanos = 1_u64;
    let mut durations = vec![0, 1, 10, 999_999_999, 1_000_000_000, 100_000_000, 95_000, 61_200_000_001];
    for _ in 0..20_000 {
        nanos = nanos.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        // Durations of every length, and with a trailing zero.
        durations.push((nanos >> 20) % 10_u64.pow((nanos >> 60) as u32) / 10 * 10);
        durations.push((nanos >> 20) % 5_000_000_000);
    }
    for nanos in durations {
        let took = Duration::from_nanos(nanos);
        let mut out = Vec::new();
        text::write_seconds(&mut out, took);
        assert_eq!(String::from_utf8_lossy(&out), format!("{}s", took.as_secs_f64()));
    }
}

#[test]
fn addresses_as_the_standard_library_writes_them() {
    for octet in 0..=u8::MAX {
        let address = IpAddr::from([octet, 0, octet, octet]);
        let mut out = Vec::new();
        text::write_address(&mut out, address);
        assert_eq!(String::from_utf8_lossy(&out), address.to_string());
    }
}

/// A query that `acl` drops: its line has the query's facts and shows no reply.
#[test]
fn a_query_without_a_reply() {
    let server = Server::new(". {\nwhoami\n}\n");
    let (query, _) = server.outcome(&packet("a.b.", "A"), "10.0.0.9:1".parse().expect("an address")).expect("a reply");
    let name = Name::from_text("a.b.").expect("a name");
    let facts = Facts::new(&query, None, &name).taking(Duration::from_micros(20));
    let mut out = Vec::new();
    Format::parse(format::COMMON).write(&facts, &mut out);
    let wanted = "10.0.0.9:1 - 4660 \"A IN a.b. udp 32 false 1232\" - - 0 0.00002s";
    assert_eq!(String::from_utf8(out).expect("text"), wanted);
    let fields = serde_json::to_value(facts.fields()).expect("JSON");
    assert_eq!((&fields["rcode"], &fields["response_size"]), (&serde_json::Value::Null, &0.into()));
    assert_eq!(classify(1, None), Class::Error);
}

#[test]
fn text_of_a_format_of_any_length() {
    let asked = packet("example.", "A");
    for len in [0, 1, 15, 16, 17, 300] {
        let plain = "x".repeat(len);
        assert_eq!(line(&format!("{plain}{{type}}{plain}"), &asked, "10.0.0.9:1"), format!("{plain}A{plain}"));
    }
}

#[test]
fn numbers_names_and_addresses_of_every_kind() {
    let mut asked = packet(r"a\.b.\007c.", "A");
    asked[20..22].copy_from_slice(&65_280_u16.to_be_bytes());
    assert_eq!(
        line("{name} {type} {remote} {port}", &asked, "0.10.255.100:65535"),
        r"a\.b.\007c. TYPE65280 0.10.255.100 65535"
    );
    assert_eq!(line("{name} {remote}", &packet(".", "NS"), "[::1]:1"), ". [::1]");
}

#[test]
fn unknown_placeholders_stay() {
    let asked = packet("a.", "A");
    let text = "{when} {{type} {/meta/x} {/} {>} { {local} {name";
    assert_eq!(line(text, &asked, "[::ffff:10.0.0.9]:1"), "{when} {A - {/} {>} { 127.0.0.1 {name");
}

#[test]
fn options_are_not_part_of_the_size() {
    let mut asked = packet("foo.example.", "A");
    let at = asked.len() - 1;
    asked[at] = 12;
    asked.extend_from_slice(b"\0\x0a\0\x0812345678");
    asked[3] |= 0x10;
    assert_eq!(line("{size} {>rflags}", &asked, "10.0.0.9:1"), "40 qr,aa,rd,cd");
    asked.truncate(29);
    asked[11] = 0;
    assert_eq!(line("{size} {>bufsize}", &asked, "10.0.0.9:1"), "29 512");
}

#[test]
fn the_facts_of_a_json_line() {
    let server = Server::new(". {\nwhoami\n}\n");
    let (query, reply) =
        server.outcome(&packet("A.b.", "SRV"), "[::1]:9".parse().expect("an address")).expect("a reply");
    let name = Name::from_text("a.b.").expect("a name");
    let facts = Facts::new(&query, Some(&reply), &name).taking(Duration::from_millis(2));
    let text = serde_json::to_value(facts.fields()).expect("JSON");
    let expected = serde_json::json!({
        "client_ip": "::1", "client_port": 9, "qname": "a.b.", "qtype": "SRV", "qclass": "IN", "protocol": "udp",
        "id": 4660, "opcode": 0, "request_size": 32, "dnssec_ok": false, "bufsize": 1232, "rcode": "NOERROR",
        "response_size": 12 + 9 + 5 + 10 + 16 + 10 + 10 + 7, "duration_seconds": 0.002
    });
    assert_eq!(text, expected);
}

#[test]
fn the_first_rule_whose_name_fits_decides() {
    let rules = |text: &str| {
        thread_local!(static READ: RefCell<Vec<(String, u8)>> = const { RefCell::new(Vec::new()) });
        const PLUGINS: &[Registration] = &[Registration::bare("log", |s| {
            READ.set(read(s)?.iter().map(|rule| (rule.scope.to_string(), rule.classes)).collect());
            Ok(())
        })];
        Server::with_plugins(PLUGINS, &format!(". {{\n{text}\n}}\n")).expect("a Corefile");
        READ.take()
    };
    let (a, b, root) = ("a.".to_owned(), "b.".to_owned(), ".".to_owned());
    assert_eq!(rules("log"), [(root.clone(), ALL)]);
    let blocks = "log a b {\nclass error\nclass denial\n}\nlog . {\nclass all error\n}";
    assert_eq!(rules(blocks), [(a, 6), (b, 6), (root, ALL)]);
    let scope =
        |text: &str| Rule { scope: Name::from_text(text).expect("a name"), format: Format::parse(""), classes: ALL };
    let name = LazyCell::new(|| Name::from_text("x.example.org.").expect("a name"));
    assert!(scope("example.org").covers(&name) && scope(".").covers(&name));
    assert!(!scope("le.org").covers(&name));
}

#[test]
fn classes_are_those_of_coredns() {
    use crate::wire::answer::Answer;
    use crate::wire::encode::{Encoder, Owner};
    let reply = |rcode: u16, answers: usize, authority: Option<u16>| {
        let mut answer: Answer = Encoder::build(5, |e| {
            for _ in 0..answers {
                e.address(Section::Answer, Owner::ASKED, 5, std::net::Ipv4Addr::LOCALHOST.into());
            }
            if let Some(kind) = authority {
                e.record(Section::Authority, Owner::ASKED, kind, 5, |e| e.put(&[0]));
            }
        });
        answer.rcode = rcode;
        Reply::memory(Arc::new(answer))
    };
    let a = type_number("A").expect("a type");
    for (expected, qtype, rcode, answers, authority) in [
        (Class::Success, a, rcode::NOERROR, 1, None),
        (Class::Success, a, rcode::NOERROR, 0, Some(rtype::NS)),
        (Class::Success, a, rcode::NOERROR, 0, None),
        (Class::Success, a, rcode::NOERROR, 1, Some(rtype::SOA)),
        (Class::Denial, a, rcode::NOERROR, 0, Some(rtype::SOA)),
        (Class::Denial, a, rcode::NXDOMAIN, 0, Some(rtype::SOA)),
        (Class::Denial, a, rcode::NXDOMAIN, 0, None),
        (Class::Error, a, rcode::NXDOMAIN, 1, None),
        (Class::Error, a, rcode::SERVFAIL, 0, None),
        (Class::Error, a, rcode::REFUSED, 0, None),
        (Class::Error, rtype::AXFR, rcode::NOERROR, 1, None),
    ] {
        assert_eq!(classify(qtype, Some(&reply(rcode, answers, authority))), expected, "{qtype} {rcode} {answers}");
    }
}

#[test]
fn a_reply_that_will_be_cut_says_so() {
    use crate::wire::encode::{Encoder, Owner};
    use crate::wire::write::Writer;
    let asked = packet("a.b.", "A");
    let server = Server::new(". {\nwhoami\n}\n");
    let (query, _) = server.outcome(&asked, "10.0.0.9:1".parse().expect("an address")).expect("a reply");
    let name = Name::from_text("a.b.").expect("a name");
    for (section, count) in [(Section::Answer, 74), (Section::Answer, 76), (Section::Additional, 200)] {
        let answer = Encoder::build(5, |e| {
            for last in 0..count {
                e.address(section, Owner::ASKED, 5, std::net::Ipv4Addr::new(10, 0, 0, last).into());
            }
        });
        let reply = Reply::memory(Arc::new(answer));
        let (mut line, mut out) = (Vec::new(), Vec::new());
        Format::parse("{>rflags}").write(&Facts::new(&query, Some(&reply), &name), &mut line);
        Writer::default().reply(&asked, &query.request, &reply, query.limit(), &mut out);
        assert_eq!(line == b"qr,tc,rd", out[2] & 2 != 0, "{count} records: {}", String::from_utf8_lossy(&line));
    }
}
