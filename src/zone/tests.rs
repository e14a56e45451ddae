//! A zone file, and what it answers.

use std::net::{Ipv4Addr, Ipv6Addr};
use std::path::Path;
use std::sync::Arc;

use super::answer::{Answered, Theirs};
use super::data::Zone;
use super::read::read;
use super::ready::Kind;
use crate::testing::kit::message::{RawRecord, packet, records, written};
use crate::wire::answer::{Answer, Section};
use crate::wire::encode::{Encoder, Owner};
use crate::wire::name::Name;
use crate::wire::reply::Reply;
use crate::wire::types::{TypeText, rcode, rcode_name, rtype, type_number};

const ZONE: &str = r#"
$TTL 300
@           SOA   NS1 Host.Master 7 1h 10m 1w 60
            NS    ns1
            NS    ns.elsewhere.test.
ns1         A     10.0.0.1
            AAAA  fd00::1
www         CNAME web
web   60    A     10.0.0.2
            A     10.0.0.3
            A     10.0.0.2
*.wild      TXT   "any"
            MX    10 mail
b.c.wild    A     10.0.0.4
mail        A     10.0.0.5
alias       CNAME *.wild
deep.empty  A     10.0.0.6
sub         NS    ns.sub
            NS    ns1
            DS    1 8 2 00112233445566778899AABBCCDDEEFF00112233445566778899AABBCCDDEEFF
ns.sub      A     10.0.0.7
old         DNAME new
a.new       A     10.0.0.8
loop1       CNAME loop2
loop2       CNAME loop1
self        CNAME self
out         CNAME x.elsewhere.test.
gone        CNAME nothing
tosub       CNAME a.sub
_s._tcp     SRV   1 2 3 Web
wildmx      MX    5 some.star
*.star      A     10.0.0.9
"#;

pub(super) fn name(text: &str) -> Name {
    Name::from_text(text).expect("a name")
}

pub(super) fn zone(text: &str) -> Zone {
    read(Path::new("db"), text.as_bytes(), &name("a.test."), None).expect("a zone").expect("new").zone
}

/// Asks, and returns the reply as the client reads it: `RCODE FLAGS|answer|authority|additional`.
/// The question is asked twice, since the second answer may be one that was kept.
pub(super) fn ask(zone: &Zone, text: &str, qtype: &str) -> String {
    let first = ask_once(zone, text, qtype);
    assert_eq!(ask_once(zone, text, qtype), first, "{text} {qtype}");
    first
}

fn ask_once(zone: &Zone, text: &str, qtype: &str) -> String {
    let (asked, qtype) = (name(text), type_number(qtype).expect("a type"));
    match zone.answer(&asked.lowered(), asked.wire(), qtype, false) {
        Answered::Whole(answer, _) => shown(&asked, qtype, answer),
        Answered::Outside(target) => format!("outside {target}"),
    }
}

fn shown(asked: &Name, qtype: u16, answer: Arc<Answer>) -> String {
    let packet = packet(asked, qtype, Some(4096));
    let message = written(&packet, &Reply::memory(answer), 4096);
    let records = records(&message).expect("a whole message");
    let section = |wanted: usize| {
        let records = records.iter().filter(|record| record.section == wanted && record.rtype != rtype::OPT);
        let text = records.map(|record| {
            let data = data(&message, record).unwrap_or_else(|| format!("{:?}", &message[record.rdata.clone()]));
            format!("{} {} {} {data}", record.owner, record.ttl, TypeText(record.rtype))
        });
        text.collect::<Vec<_>>().join("; ")
    };
    let rcode = rcode_name(u16::from(message[3] & 0xF)).expect("a code");
    let aa = if message[2] & 4 != 0 { " aa" } else { "" };
    format!("{rcode}{aa}|{}|{}|{}", section(0), section(1), section(2))
}

/// The data of a record as text, for the types that the tests use.
fn data(message: &[u8], record: &RawRecord) -> Option<String> {
    let (at, data) = (record.rdata.start, &message[record.rdata.clone()]);
    let name = |at| Name::from_message(message, at).map(|(name, end)| (name.to_string(), end));
    let number = |at: usize| u16::from_be_bytes([data[at], data[at + 1]]);
    Some(match record.rtype {
        rtype::A => Ipv4Addr::from(<[u8; 4]>::try_from(data).ok()?).to_string(),
        rtype::AAAA => Ipv6Addr::from(<[u8; 16]>::try_from(data).ok()?).to_string(),
        rtype::NS | rtype::CNAME | rtype::DNAME => name(at)?.0,
        rtype::MX => format!("{} {}", number(0), name(at + 2)?.0),
        rtype::SRV => format!("{} {} {} {}", number(0), number(2), number(4), name(at + 6)?.0),
        rtype::TXT => String::from_utf8_lossy(&data[1..]).into_owned(),
        rtype::RRSIG => TypeText(number(0)).to_string(),
        rtype::SOA => {
            let ((server, end), numbers) = (name(at)?, data[data.len() - 20..].chunks_exact(4));
            let numbers = numbers.map(|word| u32::from_be_bytes(word.try_into().expect("four")).to_string());
            format!("{server} {} {}", name(end)?.0, numbers.collect::<Vec<_>>().join(" "))
        }
        _ => return None,
    })
}

const NS: &str = "a.test. 300 NS ns1.a.test.; a.test. 300 NS ns.elsewhere.test.";
const SOA: &str = "a.test. 60 SOA ns1.a.test. host.master.a.test. 7 3600 600 604800 60";
const GLUE: &str = "ns1.a.test. 300 A 10.0.0.1; ns1.a.test. 300 AAAA fd00::1";

#[test]
fn records_denials_and_the_zone_itself() {
    let zone = zone(ZONE);
    let web = "web.a.test. 60 A 10.0.0.2; web.a.test. 300 A 10.0.0.3";
    assert_eq!(ask(&zone, "web.a.test.", "A"), format!("NOERROR aa|{web}|{NS}|"));
    assert_eq!(ask(&zone, "WEB.a.Test.", "A").to_lowercase(), format!("noerror aa|{web}|{NS}|").to_lowercase());
    assert_eq!(ask(&zone, "web.a.test.", "AAAA"), format!("NOERROR aa||{SOA}|"));
    assert_eq!(ask(&zone, "nothing.a.test.", "A"), format!("NXDOMAIN aa||{SOA}|"));
    assert_eq!(ask(&zone, "below.web.a.test.", "A"), format!("NXDOMAIN aa||{SOA}|"));
    assert_eq!(ask(&zone, "empty.a.test.", "A"), format!("NOERROR aa||{SOA}|"));
    assert_eq!(ask(&zone, "a.test.", "NS"), format!("NOERROR aa|{NS}||{GLUE}"));
    let soa = SOA.replacen("60", "300", 1);
    assert_eq!(ask(&zone, "a.test.", "SOA"), format!("NOERROR aa|{soa}|{NS}|"));
    let srv = "_s._tcp.a.test. 300 SRV 1 2 3 Web.a.test.";
    let glue = web.replace("web", "Web");
    assert_eq!(ask(&zone, "_s._tcp.a.test.", "SRV"), format!("NOERROR aa|{srv}|{NS}|{glue}"));
}

#[test]
fn wildcards_stand_for_names_whose_closest_encloser_they_are_below() {
    let zone = zone(ZONE);
    for name in ["x.wild.a.test.", "a.long-er.wild.a.test.", "*.wild.a.test.", "y.wild.a.test."] {
        assert_eq!(ask(&zone, name, "TXT"), format!("NOERROR aa|{name} 300 TXT any|{NS}|"));
        let mail = format!("{name} 300 MX 10 mail.a.test.");
        assert_eq!(ask(&zone, name, "MX"), format!("NOERROR aa|{mail}|{NS}|mail.a.test. 300 A 10.0.0.5"));
        assert_eq!(ask(&zone, name, "A"), format!("NOERROR aa||{SOA}|"));
    }
    assert_eq!(ask(&zone, "c.wild.a.test.", "TXT"), format!("NOERROR aa||{SOA}|"));
    assert_eq!(ask(&zone, "x.c.wild.a.test.", "TXT"), format!("NXDOMAIN aa||{SOA}|"));
    assert_eq!(ask(&zone, "wild.a.test.", "TXT"), format!("NOERROR aa||{SOA}|"));
    // The addresses of a target may come from a wildcard.
    let mail = "wildmx.a.test. 300 MX 5 some.star.a.test.";
    assert_eq!(ask(&zone, "wildmx.a.test.", "MX"), format!("NOERROR aa|{mail}|{NS}|some.star.a.test. 300 A 10.0.0.9"));
}

#[test]
fn delegations_refer_and_the_ds_is_ours() {
    let zone = zone(ZONE);
    let ns = "sub.a.test. 300 NS ns.sub.a.test.; sub.a.test. 300 NS ns1.a.test.";
    let glue = format!("ns.sub.a.test. 300 A 10.0.0.7; {GLUE}");
    for (name, qtype) in
        [("sub.a.test.", "A"), ("sub.a.test.", "NS"), ("x.y.sub.a.test.", "DS"), ("ns.sub.a.test.", "A")]
    {
        assert_eq!(ask(&zone, name, qtype), format!("NOERROR||{ns}|{glue}"), "{name} {qtype}");
    }
    assert!(ask(&zone, "sub.a.test.", "DS").starts_with("NOERROR aa|sub.a.test. 300 DS [0, 1, 8, 2, 0, 17"));
    let alias = "tosub.a.test. 300 CNAME a.sub.a.test.";
    assert_eq!(ask(&zone, "tosub.a.test.", "A"), format!("NOERROR aa|{alias}|{ns}|{glue}"));
}

#[test]
fn aliases_are_followed_as_far_as_the_zone_goes() {
    let zone = zone(ZONE);
    let alias = "www.a.test. 300 CNAME web.a.test.";
    let web = "web.a.test. 60 A 10.0.0.2; web.a.test. 300 A 10.0.0.3";
    assert_eq!(ask(&zone, "www.a.test.", "A"), format!("NOERROR aa|{alias}; {web}|{NS}|"));
    assert_eq!(ask(&zone, "www.a.test.", "AAAA"), format!("NOERROR aa|{alias}||").replace("||", &format!("|{SOA}|")));
    assert_eq!(ask(&zone, "www.a.test.", "CNAME"), format!("NOERROR aa|{alias}|{NS}|"));
    assert_eq!(ask(&zone, "gone.a.test.", "A"), format!("NXDOMAIN aa|gone.a.test. 300 CNAME nothing.a.test.|{SOA}|"));
    let loops = ["loop1.a.test. 300 CNAME loop2.a.test.", "loop2.a.test. 300 CNAME loop1.a.test."];
    assert_eq!(ask(&zone, "loop1.a.test.", "A"), format!("NOERROR aa|{}; {}|{NS}|", loops[0], loops[1]));
    assert_eq!(ask(&zone, "self.a.test.", "TXT"), format!("NOERROR aa|self.a.test. 300 CNAME self.a.test.|{NS}|"));
    let wild = "alias.a.test. 300 CNAME *.wild.a.test.; *.wild.a.test. 300 TXT any";
    assert_eq!(ask(&zone, "alias.a.test.", "TXT"), format!("NOERROR aa|{wild}|{NS}|"));
    assert_eq!(ask(&zone, "out.a.test.", "A"), "outside x.elsewhere.test.");
    assert_eq!(ask(&zone, "out.a.test.", "CNAME"), format!("NOERROR aa|out.a.test. 300 CNAME x.elsewhere.test.|{NS}|"));
}

#[test]
fn a_dname_redirects_what_is_below_it() {
    let zone = zone(ZONE);
    let dname = "old.a.test. 300 DNAME new.a.test.";
    let alias = "a.old.a.test. 300 CNAME a.new.a.test.";
    assert_eq!(
        ask(&zone, "a.old.a.test.", "A"),
        format!("NOERROR aa|{dname}; {alias}; a.new.a.test. 300 A 10.0.0.8|{NS}|")
    );
    assert_eq!(ask(&zone, "a.old.a.test.", "CNAME"), format!("NOERROR aa|{dname}; {alias}|{NS}|"));
    assert_eq!(ask(&zone, "old.a.test.", "DNAME"), format!("NOERROR aa|{dname}|{NS}|"));
    assert_eq!(ask(&zone, "old.a.test.", "A"), format!("NOERROR aa||{SOA}|"));
    let missing = "b.old.a.test. 300 CNAME b.new.a.test.";
    assert_eq!(ask(&zone, "b.old.a.test.", "A"), format!("NXDOMAIN aa|{dname}; {missing}|{SOA}|"));
    // A longer target may make a name of more than 255 octets.
    let text = format!("{}\nshort DNAME {}.long\n", ZONE, ["x".repeat(63), "y".repeat(63)].join("."));
    let zone = self::zone(&text);
    let long = ["a".repeat(60), "b".repeat(60), "short.a.test.".into()].join(".");
    assert!(ask(&zone, &long, "A").starts_with("YXDOMAIN aa|short.a.test. 300 DNAME "));
}

#[test]
fn what_the_server_says_of_an_outside_name_is_put_behind_the_alias() {
    let zone = zone(ZONE);
    let (out, target) = (name("OUT.a.test."), name("x.elsewhere.test."));
    let complete = |answer: &Answer, has_failed| {
        let theirs = Theirs { answer, ttl: None, flags: 0, has_failed };
        shown(&out, rtype::A, zone.complete(&out.lowered(), &out, rtype::A, false, &theirs))
    };
    let found = Encoder::build(target.len(), |e| e.address(Section::Answer, Owner::ASKED, 9, [10, 9, 9, 9].into()));
    let alias = "OUT.a.test. 300 CNAME x.elsewhere.test.";
    assert_eq!(complete(&found, false), format!("NOERROR aa|{alias}; x.elsewhere.test. 9 A 10.9.9.9|{NS}|"));
    assert_eq!(complete(&Answer::empty(rcode::NXDOMAIN), false), format!("NXDOMAIN aa|{alias}|{SOA}|"));
    assert_eq!(complete(&Answer::empty(rcode::REFUSED), false), format!("NOERROR aa|{alias}|{NS}|"));
    assert_eq!(complete(&Answer::empty(rcode::SERVFAIL), true), format!("SERVFAIL aa|{alias}|{NS}|"));
}

#[test]
fn only_names_that_do_not_exist_fall_through() {
    let zone = zone(ZONE);
    let kind = |text: &str| match zone.answer(&name(text), name(text).wire(), rtype::A, false) {
        Answered::Whole(_, kind) => kind,
        Answered::Outside(_) => panic!("outside"),
    };
    assert_eq!(
        ["nothing.a.test.", "empty.a.test.", "wild.a.test."].map(kind),
        [Kind::Missing, Kind::Empty, Kind::Empty]
    );
    for name in ["mail.a.test.", "x.wild.a.test.", "gone.a.test.", "x.sub.a.test.", "b.old.a.test.", "_s._tcp.a.test."]
    {
        assert_eq!(kind(name), Kind::Exists, "{name}");
    }
}

#[test]
fn the_order_of_a_transfer() {
    let zone = zone("@ 5 SOA a b 1 2 3 4 5\n@ 5 NS ns\nz 5 A 10.0.0.1\nb.a 5 A 10.0.0.2\n@ 5 A 10.0.0.3\na 5 TXT x\n");
    let records =
        zone.records().map(|record| format!("{} {}", Name::from_wire(record.owner).expect("a name"), record.rtype));
    let wanted = ["a.test. 6", "a.test. 2", "a.test. 1", "a.a.test. 16", "b.a.a.test. 1", "z.a.test. 1"];
    assert_eq!(records.collect::<Vec<_>>(), wanted);
    assert_eq!((zone.soa().serial, zone.soa().minimum), (1, 5));
    assert_eq!(zone.soa_record(), zone.records().next().expect("a record"));
}

//----------- Signed zones ---------------------------------------------------

/// A zone whose signatures are not real: what counts is which ones an answer has.
fn signed() -> Zone {
    let sig = |owner: &str, of: &str| format!("{owner} RRSIG {of} 8 2 300 20300101000000 20200101000000 1 @ AAAA\n");
    let mut text = String::from(
        "$TTL 300\n@ SOA ns h 1 2 3 4 60\n@ NS ns\nb A 10.0.0.1\n*.w TXT x\ncut NS ns.cut\nns A 10.0.0.2\n",
    );
    for (owner, next, types) in [
        ("@", "b", "NS SOA RRSIG NSEC"),
        ("b", "cut", "A RRSIG NSEC"),
        ("cut", "ns", "NS RRSIG NSEC"),
        ("ns", "*.w", "A RRSIG NSEC"),
        ("*.w", "@", "TXT RRSIG NSEC"),
    ] {
        text += &format!("{owner} NSEC {next} {types}\n{}", sig(owner, "NSEC"));
    }
    for (owner, of) in [("@", "SOA"), ("@", "NS"), ("b", "A"), ("*.w", "TXT"), ("ns", "A")] {
        text += &sig(owner, of);
    }
    zone(&text)
}

/// The owners and types of an answer to a client that wants signatures.
fn proof(zone: &Zone, text: &str, qtype: &str) -> String {
    let (asked, qtype) = (name(text), type_number(qtype).expect("a type"));
    let Answered::Whole(answer, _) = zone.answer(&asked, asked.wire(), qtype, true) else { panic!("outside") };
    let all = shown(&asked, qtype, answer);
    let short = |record: &str| {
        let words: Vec<&str> = record.split(' ').collect();
        let of = if words.get(2) == Some(&"RRSIG") { format!("({})", words[3]) } else { String::new() };
        format!("{} {}{of}", words[0].trim_end_matches(".a.test."), words.get(2).unwrap_or(&""))
    };
    let sections = all.split('|').skip(1).map(|section| {
        section.split("; ").filter(|record| !record.is_empty()).map(short).collect::<Vec<_>>().join(", ")
    });
    sections.collect::<Vec<_>>().join(" | ")
}

#[test]
fn signatures_and_proofs_are_for_those_who_want_them() {
    let zone = signed();
    assert!(!ask(&zone, "b.a.test.", "A").contains("RRSIG"));
    assert!(!ask(&zone, "nothing.a.test.", "A").contains("NSEC"));
    let (ns, soa) = ("a.test. NS, a.test. RRSIG(NS)", "a.test. SOA, a.test. RRSIG(SOA)");
    assert_eq!(proof(&zone, "b.a.test.", "A"), format!("b A, b RRSIG(A) | {ns} | "));
    assert_eq!(proof(&zone, "b.a.test.", "TXT"), format!(" | {soa}, b NSEC, b RRSIG(NSEC) | "));
    // The name itself, then the wildcard, which is covered by another NSEC.
    let missing = format!(" | {soa}, b NSEC, b RRSIG(NSEC), a.test. NSEC, a.test. RRSIG(NSEC) | ");
    assert_eq!(proof(&zone, "c.a.test.", "A"), missing);
    assert_eq!(proof(&zone, "a.a.test.", "A"), format!(" | {soa}, a.test. NSEC, a.test. RRSIG(NSEC) | "));
    // An empty non-terminal has no NSEC of its own.
    assert_eq!(proof(&zone, "w.a.test.", "A"), format!(" | {soa}, ns NSEC, ns RRSIG(NSEC) | "));
    let wild = format!("y.w TXT, y.w RRSIG(TXT) | {ns}, *.w NSEC, *.w RRSIG(NSEC) | ");
    assert_eq!(proof(&zone, "y.w.a.test.", "TXT"), wild);
    assert_eq!(proof(&zone, "y.w.a.test.", "A"), format!(" | {soa}, *.w NSEC, *.w RRSIG(NSEC) | "));
    // A delegation without DS is proven to be unsigned.
    assert_eq!(proof(&zone, "x.cut.a.test.", "A"), " | cut NS, cut NSEC, cut RRSIG(NSEC) | ");
}

#[test]
fn an_answer_has_at_most_sixteen_aliases() {
    let chain: String = (0..20).map(|at| format!("n{at} CNAME n{}\n", at + 1)).collect();
    let zone = zone(&format!("$TTL 300\n@ SOA ns h 1 2 3 4 5\n@ NS ns\n{chain}"));
    assert_eq!(ask(&zone, "n0.a.test.", "A").to_lowercase().matches("cname").count(), 16);
}
