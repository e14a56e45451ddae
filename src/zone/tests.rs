//! Tests of the whole room: a zone file, and what it answers.

use std::path::Path;
use std::sync::Arc;

use hickory_proto::rr::Record;

use super::answer::{Answered, Kind, Theirs};
use super::data::{Builder, MOST_RECORDS, Zone};
use super::read::{Mistake, read};
use crate::testing::kit::message::{decoded, packet};
use crate::wire::answer::{Answer, Section};
use crate::wire::encode::{Encoder, Owner};
use crate::wire::name::Name;
use crate::wire::reply::Reply;
use crate::wire::types::{rcode, rtype, type_number};

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
"#;

fn name(text: &str) -> Name {
    Name::from_text(text).expect("a name")
}

fn zone(text: &str) -> Zone {
    read(Path::new("db"), text.as_bytes(), &name("a.test."), None).expect("a zone").expect("new").zone
}

fn refused(text: &str) -> String {
    read(Path::new("db"), text.as_bytes(), &name("a.test."), None)
        .err()
        .map(|mistake| mistake.to_string())
        .unwrap_or_default()
}

/// Asks, and returns the reply as the client reads it: `RCODE FLAGS|answer|authority|additional`.
/// The question is asked twice, since the second answer may be one that was kept.
fn ask(zone: &Zone, text: &str, qtype: &str) -> String {
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
    let message = decoded(&packet(asked, qtype, Some(4096)), &Reply::memory(answer), 4096);
    let rcode = format!("{:?}", message.metadata.response_code);
    let section = |records: &[Record]| {
        let records = records.iter().map(|record| record.to_string().replace(" IN ", " "));
        records.collect::<Vec<_>>().join("; ")
    };
    let aa = if message.metadata.authoritative { " aa" } else { "" };
    format!(
        "{rcode}{aa}|{}|{}|{}",
        section(&message.answers),
        section(&message.authorities),
        section(&message.additionals)
    )
}

const NS: &str = "a.test. 300 NS ns1.a.test.; a.test. 300 NS ns.elsewhere.test.";
const SOA: &str = "a.test. 60 SOA ns1.a.test. host.master.a.test. 7 3600 600 604800 60";
const GLUE: &str = "ns1.a.test. 300 A 10.0.0.1; ns1.a.test. 300 AAAA fd00::1";

#[test]
fn records_denials_and_the_zone_itself() {
    let zone = zone(ZONE);
    let web = "web.a.test. 60 A 10.0.0.2; web.a.test. 300 A 10.0.0.3";
    assert_eq!(ask(&zone, "web.a.test.", "A"), format!("NoError aa|{web}|{NS}|"));
    assert_eq!(ask(&zone, "WEB.a.Test.", "A").to_lowercase(), format!("noerror aa|{web}|{NS}|").to_lowercase());
    assert_eq!(ask(&zone, "web.a.test.", "AAAA"), format!("NoError aa||{SOA}|"));
    assert_eq!(ask(&zone, "nothing.a.test.", "A"), format!("NXDomain aa||{SOA}|"));
    assert_eq!(ask(&zone, "below.web.a.test.", "A"), format!("NXDomain aa||{SOA}|"));
    assert_eq!(ask(&zone, "empty.a.test.", "A"), format!("NoError aa||{SOA}|"));
    assert_eq!(ask(&zone, "a.test.", "NS"), format!("NoError aa|{NS}||{GLUE}"));
    let soa = SOA.replacen("60", "300", 1);
    assert_eq!(ask(&zone, "a.test.", "SOA"), format!("NoError aa|{soa}|{NS}|"));
    let srv = "_s._tcp.a.test. 300 SRV 1 2 3 Web.a.test.";
    let glue = web.replace("web", "Web");
    assert_eq!(ask(&zone, "_s._tcp.a.test.", "SRV"), format!("NoError aa|{srv}|{NS}|{glue}"));
}

#[test]
fn wildcards_stand_for_names_whose_closest_encloser_they_are_below() {
    let zone = zone(ZONE);
    for name in ["x.wild.a.test.", "a.long-er.wild.a.test.", "*.wild.a.test.", "y.wild.a.test."] {
        assert_eq!(ask(&zone, name, "TXT"), format!("NoError aa|{name} 300 TXT \"any\"|{NS}|"));
        let mail = format!("{name} 300 MX 10 mail.a.test.");
        assert_eq!(ask(&zone, name, "MX"), format!("NoError aa|{mail}|{NS}|mail.a.test. 300 A 10.0.0.5"));
        assert_eq!(ask(&zone, name, "A"), format!("NoError aa||{SOA}|"));
    }
    assert_eq!(ask(&zone, "c.wild.a.test.", "TXT"), format!("NoError aa||{SOA}|"));
    assert_eq!(ask(&zone, "x.c.wild.a.test.", "TXT"), format!("NXDomain aa||{SOA}|"));
    assert_eq!(ask(&zone, "wild.a.test.", "TXT"), format!("NoError aa||{SOA}|"));
}

#[test]
fn delegations_refer_and_the_ds_is_ours() {
    let zone = zone(ZONE);
    let ns = "sub.a.test. 300 NS ns.sub.a.test.; sub.a.test. 300 NS ns1.a.test.";
    let glue = format!("ns.sub.a.test. 300 A 10.0.0.7; {GLUE}");
    for (name, qtype) in
        [("sub.a.test.", "A"), ("sub.a.test.", "NS"), ("x.y.sub.a.test.", "DS"), ("ns.sub.a.test.", "A")]
    {
        assert_eq!(ask(&zone, name, qtype), format!("NoError||{ns}|{glue}"), "{name} {qtype}");
    }
    assert!(ask(&zone, "sub.a.test.", "DS").starts_with("NoError aa|sub.a.test. 300 DS 1 "));
    let alias = "tosub.a.test. 300 CNAME a.sub.a.test.";
    assert_eq!(ask(&zone, "tosub.a.test.", "A"), format!("NoError aa|{alias}|{ns}|{glue}"));
}

#[test]
fn aliases_are_followed_as_far_as_the_zone_goes() {
    let zone = zone(ZONE);
    let alias = "www.a.test. 300 CNAME web.a.test.";
    let web = "web.a.test. 60 A 10.0.0.2; web.a.test. 300 A 10.0.0.3";
    assert_eq!(ask(&zone, "www.a.test.", "A"), format!("NoError aa|{alias}; {web}|{NS}|"));
    assert_eq!(ask(&zone, "www.a.test.", "AAAA"), format!("NoError aa|{alias}||").replace("||", &format!("|{SOA}|")));
    assert_eq!(ask(&zone, "www.a.test.", "CNAME"), format!("NoError aa|{alias}|{NS}|"));
    assert_eq!(ask(&zone, "gone.a.test.", "A"), format!("NXDomain aa|gone.a.test. 300 CNAME nothing.a.test.|{SOA}|"));
    let loops = ["loop1.a.test. 300 CNAME loop2.a.test.", "loop2.a.test. 300 CNAME loop1.a.test."];
    assert_eq!(ask(&zone, "loop1.a.test.", "A"), format!("NoError aa|{}; {}|{NS}|", loops[0], loops[1]));
    assert_eq!(ask(&zone, "self.a.test.", "TXT"), format!("NoError aa|self.a.test. 300 CNAME self.a.test.|{NS}|"));
    let wild = "alias.a.test. 300 CNAME *.wild.a.test.; *.wild.a.test. 300 TXT \"any\"";
    assert_eq!(ask(&zone, "alias.a.test.", "TXT"), format!("NoError aa|{wild}|{NS}|"));
    assert_eq!(ask(&zone, "out.a.test.", "A"), "outside x.elsewhere.test.");
    assert_eq!(ask(&zone, "out.a.test.", "CNAME"), format!("NoError aa|out.a.test. 300 CNAME x.elsewhere.test.|{NS}|"));
}

#[test]
fn a_dname_redirects_what_is_below_it() {
    let zone = zone(ZONE);
    let dname = "old.a.test. 300 DNAME new.a.test.";
    let alias = "a.old.a.test. 300 CNAME a.new.a.test.";
    assert_eq!(
        ask(&zone, "a.old.a.test.", "A"),
        format!("NoError aa|{dname}; {alias}; a.new.a.test. 300 A 10.0.0.8|{NS}|")
    );
    assert_eq!(ask(&zone, "a.old.a.test.", "CNAME"), format!("NoError aa|{dname}; {alias}|{NS}|"));
    assert_eq!(ask(&zone, "old.a.test.", "DNAME"), format!("NoError aa|{dname}|{NS}|"));
    assert_eq!(ask(&zone, "old.a.test.", "A"), format!("NoError aa||{SOA}|"));
    let missing = "b.old.a.test. 300 CNAME b.new.a.test.";
    assert_eq!(ask(&zone, "b.old.a.test.", "A"), format!("NXDomain aa|{dname}; {missing}|{SOA}|"));
    // A longer target may make a name of more than 255 octets.
    let text = format!("{}\nshort DNAME {}.long\n", ZONE, ["x".repeat(63), "y".repeat(63)].join("."));
    let zone = self::zone(&text);
    let long = ["a".repeat(60), "b".repeat(60), "short.a.test.".into()].join(".");
    assert!(ask(&zone, &long, "A").starts_with("YXDomain aa|short.a.test. 300 DNAME "));
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
    let ns = NS.replace("a.test. 300 NS ns1.a", "a.test. 300 NS ns1.a");
    assert_eq!(complete(&found, false), format!("NoError aa|{alias}; x.elsewhere.test. 9 A 10.9.9.9|{ns}|"));
    assert_eq!(complete(&Answer::empty(rcode::NXDOMAIN), false), format!("NXDomain aa|{alias}|{SOA}|"));
    assert_eq!(complete(&Answer::empty(rcode::REFUSED), false), format!("NoError aa|{alias}|{ns}|"));
    assert_eq!(complete(&Answer::empty(rcode::SERVFAIL), true), format!("ServFail aa|{alias}|{ns}|"));
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
    assert_eq!((zone.soa().serial, zone.soa().minimum, zone.record_count()), (1, 5, 6));
    assert_eq!(zone.soa_record(), zone.records().next().expect("a record"));
}

//----------- Files ----------------------------------------------------------

#[test]
fn ttls_are_those_of_coredns() {
    let ttls = |text: &str| zone(text).records().map(|record| record.ttl).collect::<Vec<_>>();
    // An explicit TTL counts for the records below, until $TTL is set.
    assert_eq!(ttls("@ 5 SOA a b 1 2 3 4 5\n NS x\na A 10.0.0.1\nb 7 A 10.0.0.1\nc A 10.0.0.1\n"), [5, 5, 5, 7, 7]);
    assert_eq!(ttls("$TTL 1h\n@ 5 SOA a b 1 2 3 4 5\n NS x\nb 7 A 10.0.0.1\nc IN A 10.0.0.1\n"), [5, 3600, 7, 3600]);
    assert_eq!(ttls("@ IN SOA a b 1 2 3 4 5\na IN A 10.0.0.1\n"), [0, 0]);
    assert_eq!(refused("@ SOA a b 1 2 3 4 5\n"), "db:1: no TTL: give it one, or set $TTL above");
}

#[test]
fn directives() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = |file: &str| folder.path().join(file);
    std::fs::create_dir(path("more")).expect("a folder");
    std::fs::write(path("more/hosts"), "$ORIGIN sub\nx A 10.0.0.1\n$INCLUDE others\n").expect("written");
    std::fs::write(path("more/others"), "y 9 A 10.0.0.2\n").expect("written");
    let text = "$TTL 5\n@ SOA a b 1 2 3 4 5\n$INCLUDE more/hosts in\n$ORIGIN sub\n@ A 10.0.0.3\n$GENERATE 1-2 h$ A 10.0.1.${10}\n";
    let read = read(&path("db"), text.as_bytes(), &name("a.test."), None).expect("a zone").expect("new");
    let records = read.zone.records().skip(1);
    let records = records
        .map(|record| format!("{} {} {:?}", Name::from_wire(record.owner).expect("a name"), record.ttl, record.data));
    let wanted = [
        "sub.a.test. 5 [10, 0, 0, 3]",
        "h1.sub.a.test. 3600 [10, 0, 1, 11]",
        "h2.sub.a.test. 3600 [10, 0, 1, 12]",
        "x.sub.in.a.test. 5 [10, 0, 0, 1]",
        "y.sub.in.a.test. 9 [10, 0, 0, 2]",
    ];
    let mut records: Vec<_> = records.collect();
    records.sort();
    let mut wanted = wanted.map(str::to_owned);
    wanted.sort();
    assert_eq!(records, wanted);
    std::fs::write(path("more/others"), "$INCLUDE others\n").expect("written");
    let error = self::read(&path("db"), text.as_bytes(), &name("a.test."), None).err().expect("a mistake");
    assert!(error.to_string().ends_with("more/others:1: too deeply nested $INCLUDE"), "{error}");
}

#[test]
fn mistakes_have_a_line() {
    let soa = "@ 5 SOA a b 1 2 3 4 5\n";
    let wrong = |lines: &str| refused(&format!("{soa}{lines}"));
    assert_eq!(refused(""), "db: no SOA record");
    assert_eq!(refused("b 5 SOA a b 1 2 3 4 5"), "db:1: SOA owner b.a.test. does not match origin a.test.");
    assert_eq!(wrong("\nx A 10.0.0.300"), "db:3: illegal IPv4 address: '10.0.0.300'");
    assert_eq!(wrong("x FOO bar"), "db:2: unknown type 'FOO'");
    assert_eq!(wrong("x A"), "db:2: there are no data");
    assert_eq!(wrong("x"), "db:2: there is no type");
    assert_eq!(wrong("x..y A 10.0.0.1"), "db:2: bad owner name: 'x..y'");
    assert_eq!(wrong("x CH A 10.0.0.1"), "db:2: class CH is not served: records have class IN");
    assert_eq!(wrong("x NSEC3PARAM 1 0 0 -"), "db:2: NSEC3 zone is not supported; use NSEC");
    assert_eq!(wrong("$FOO"), "db:2: unknown directive '$FOO': there are $ORIGIN, $TTL, $INCLUDE and $GENERATE");
    assert_eq!(wrong("$INCLUDE nowhere"), "db:2: failed to open 'nowhere': no such file or directory");
    assert_eq!(wrong("$GENERATE 2-1 a A 10.0.0.1"), "db:2: bad range in $GENERATE range: '2-1'");
    assert_eq!(wrong("$GENERATE 1-2 $GENERATE 1-2 a A 10.0.0.1"), "db:2: bad owner name: '1GENERATE'");
}

#[test]
fn doubts_are_told_and_served_as_coredns_does() {
    let text = "@ 5 SOA a b 1 2 3 4 5\n@ SOA a b 2 2 3 4 5\nx CNAME y\nx CNAME z\nx A 10.0.0.1\nelsewhere. A 10.0.0.1\ny A 10.0.0.2\n";
    let read = read(Path::new("db"), text.as_bytes(), &name("a.test."), None).expect("a zone").expect("new");
    let wanted = [
        "db:2: a.test.: a second SOA: it replaces the first",
        "db:4: x.a.test.: a second CNAME of the name: ignored",
        "db:6: elsewhere.: the name is out of the zone: ignored",
        "db: x.a.test. has a CNAME and other data: the CNAME counts",
    ];
    assert_eq!(read.doubts.iter().map(Mistake::to_string).collect::<Vec<_>>(), wanted);
    assert_eq!(read.zone.soa().serial, 2);
    assert!(ask(&read.zone, "x.a.test.", "A").contains("y.a.test. 5 A 10.0.0.2"));
}

#[test]
fn a_known_serial_is_not_read_again() {
    let read = |known| read(Path::new("db"), b"@ 5 SOA a b 7 2 3 4 5\nbroken", &name("a.test."), known);
    assert!(read(Some(7)).expect("no mistake").is_none());
    assert!(read(Some(6)).is_err() && read(None).is_err());
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

//----------- Bounds ---------------------------------------------------------

#[test]
fn a_zone_has_a_maximum_of_records() {
    let mut builder = Builder::new(&name("a.test."));
    builder.pretend(MOST_RECORDS);
    let error = builder.add(&name("x.a.test."), rtype::A, 5, vec![10, 0, 0, 1]).expect_err("too many");
    assert_eq!(error, "more than 10000000 records");
}
