//! Records are read, written into a message, and read again by another codec.

use hickory_proto::op::Message;

use super::*;
use crate::wire::question::Question;

/// The record as hickory reads it.
fn shown(line: &str) -> String {
    let record = Presented::read(line).unwrap_or_else(|why| panic!("{line}: {why}"));
    let asked = Name::from_text("web.example.").expect("a name");
    let answer = Encoder::build(asked.len(), |e| record.put(Section::Answer, e, &mut Names::new(asked)));
    let message = Message::from_vec(&answer.message(&Question::new(asked, rtype::A))).expect("a message");
    message.answers[0].to_string()
}

#[test]
fn each_type_is_read_and_written() {
    for (line, wanted) in [
        ("web.example. 60 IN A 192.0.2.1", "web.example. 60 IN A 192.0.2.1"),
        ("web.example 60 in a 192.0.2.1", "web.example. 60 IN A 192.0.2.1"),
        ("web.example. A 192.0.2.1", "web.example. 3600 IN A 192.0.2.1"),
        ("web.example. IN 1h5m AAAA 2001:db8::1 ; why", "web.example. 3900 IN AAAA 2001:db8::1"),
        ("web.example. CH 1 TXT a \"b c\"", "web.example. 1 CH TXT ab c"),
        ("a.web.example. 5 CNAME web.example.", "a.web.example. 5 IN CNAME web.example."),
        ("web.example. 5 MX 10 mail.web.example.", "web.example. 5 IN MX 10 mail.web.example."),
        ("web.example. 5 SRV 1 2 443 a.web.example.", "web.example. 5 IN SRV 1 2 443 a.web.example."),
        (
            "example. 5 SOA ns.example. h.example. ( 1 1h 60 1w 5 )",
            "example. 5 IN SOA ns.example. h.example. 1 3600 60 604800 5",
        ),
        ("web.example. 5 A \\# 4 c0 000201", "web.example. 5 IN A 192.0.2.1"),
        ("web.example. 5 TYPE1 \\# 4 C0000201", "web.example. 5 IN A 192.0.2.1"),
        ("web.example. 5 PTR a\\.b.example.", "web.example. 5 IN PTR a\\.b.example."),
    ] {
        assert_eq!(shown(line), wanted, "{line}");
    }
    let data = |line| Presented::read(line).expect("a record").data;
    assert_eq!(data("a. HINFO \"a b\" c"), b"\x03a b\x01c");
    assert_eq!(data("a. TXT \"a;b\\\"\" \\065\\\\ \"\""), b"\x04a;b\"\x02A\\\0");
    assert_eq!(data("a. CAA 0 issue \"ca.example\""), b"\0\x05issueca.example");
    assert_eq!(data("a. NAPTR 1 2 u \"\" x ."), b"\0\x01\0\x02\x01u\0\x01x\0");
    assert_eq!(data(&format!("a. TXT {}", "x".repeat(300))).len(), 302);
}

#[test]
fn what_is_no_record_is_told() {
    for line in [
        "",
        "web.example.",
        "web.example. 60 IN",
        "a. 60 60 A 192.0.2.1",
        "a. A",
        "a. A 192.0.2",
        "a. A 192.0.2.1 x",
        "a..b A 192.0.2.1",
        "a. AAAA 192.0.2.1",
        "a. TXT \"x",
        "a. TXT",
        "a. MX mail.",
        "a. MX 65536 mail.",
        "a. ANY x",
        "a. OPT \\# 0",
        "a. A \\# 5 c0000201",
        "a. A \\# 4 c000020",
        "a. HTTPS 1 . alpn=h2",
        "a. HINFO x",
        "a. SOA a. b. 1 2 3 4",
        "a. TXT \\25",
        "a. TXT \\256",
        "a. 99999999999 A 192.0.2.1",
    ] {
        assert!(Presented::read(line).is_err(), "{line}");
    }
}
