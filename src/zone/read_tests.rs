//! What a zone file may say, and what is wrong with it.

use std::path::Path;

use super::super::data::{Builder, MOST_RECORDS};
use super::super::tests::{ask, name, zone};
use super::*;

fn refused(text: &str) -> String {
    read(Path::new("db"), text.as_bytes(), &name("a.test."), None)
        .err()
        .map(|mistake| mistake.to_string())
        .unwrap_or_default()
}

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
    fs::create_dir(path("more")).expect("a folder");
    fs::write(path("more/hosts"), "$ORIGIN sub\nx A 10.0.0.1\n$INCLUDE others\n").expect("written");
    fs::write(path("more/others"), "y 9 A 10.0.0.2\n").expect("written");
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
    fs::write(path("more/others"), "$INCLUDE others\n").expect("written");
    let error = super::read(&path("db"), text.as_bytes(), &name("a.test."), None).err().expect("a mistake");
    assert!(error.to_string().ends_with("more/others:1: too deeply nested $INCLUDE"), "{error}");
}

#[test]
fn mistakes_have_a_line() {
    let soa = "@ 5 SOA a b 1 2 3 4 5\n";
    let wrong = |lines: &str| refused(&format!("{soa}{lines}"));
    assert_eq!(refused(""), "db: no SOA record");
    assert_eq!(refused("b 5 SOA a b 1 2 3 4 5"), "db:1: SOA owner b.a.test. does not match origin a.test.");
    assert_eq!(wrong("\nx A 10.0.0.300"), "db:3: expected IPv4 address: '10.0.0.300'");
    assert_eq!(wrong("x FOO bar"), "db:2: unknown type 'FOO'");
    assert_eq!(wrong("x A"), "db:2: there are no data");
    assert_eq!(wrong("x"), "db:2: there is no type");
    assert_eq!(wrong("x..y A 10.0.0.1"), "db:2: bad owner name: 'x..y'");
    assert_eq!(wrong("x CH A 10.0.0.1"), "db:2: class CH is not served: records have class IN");
    assert_eq!(wrong("x NSEC3PARAM 1 0 0 -"), "db:2: NSEC3 zone is not supported; use NSEC");
    assert_eq!(wrong("$FOO"), "db:2: unknown directive '$FOO': there are $ORIGIN, $TTL, $INCLUDE and $GENERATE");
    assert_eq!(wrong("$INCLUDE nowhere"), "db:2: failed to open 'nowhere': no such file or directory");
    assert_eq!(wrong("$GENERATE 2-1 a A 10.0.0.1"), "db:2: bad range in $GENERATE range: '2-1'");
    let nested = r"$GENERATE 1-2 \$GENERATE 1-2 a A 10.0.0.1";
    assert_eq!(wrong(nested), "db:2: nested $GENERATE directive not allowed");
}

#[test]
fn doubts_are_told_and_served_as_coredns_does() {
    let text = "@ 5 SOA a b 1 2 3 4 5\n@ SOA a b 2 2 3 4 5\nx CNAME y\nx CNAME z\nx A 10.0.0.1\nelsewhere. A 10.0.0.1\ny A 10.0.0.2\nd DNAME y\nz.d A 10.0.0.3\n";
    let read = read(Path::new("db"), text.as_bytes(), &name("a.test."), None).expect("a zone").expect("new");
    let wanted = [
        "db:2: a.test.: a second SOA: it replaces the first",
        "db:4: x.a.test.: a second CNAME of the name: ignored",
        "db:6: elsewhere.: the name is out of the zone: ignored",
        "db: x.a.test. has a CNAME and other data: the CNAME counts",
        "db: z.d.a.test. is below a DNAME: never found",
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

#[test]
fn a_zone_has_a_maximum_of_records() {
    let mut builder = Builder::new(&name("a.test."));
    builder.pretend(MOST_RECORDS);
    let error = builder.add(&name("x.a.test."), rtype::A, 5, vec![10, 0, 0, 1]).expect_err("too many");
    assert_eq!(error, "more than 10000000 records");
}
