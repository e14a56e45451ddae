//! The chain of names, the times, and what is written; `ldns-verify-zone` and `dnssec-verify` have
//! judged the same by hand.

use std::path::Path;

use super::when::{Jitter, read_zone, reason};
use super::write::write;
use super::zone::{SignedRecord, signed};
use crate::dnssec::files;
use crate::dnssec::key::Key;
use crate::wire::name::Name;
use crate::wire::types::{TypeText, rtype};

const DAY: u64 = 86_400;

/// Noon of a day in 2026.
const NOW: u64 = 1_795_953_600;

const ZONE: &str = "@ 60 SOA ns host 1 2 3 4 30\n@ 60 NS ns\n@ 60 DNSKEY 257 3 13 AAAA\nns 60 A 192.0.2.1\nns 90 A 192.0.2.2\nb.c 60 TXT x\nsub 60 NS \
                    ns.sub\nsub 60 A 192.0.2.9\nns.sub 60 A 192.0.2.3\ns 60 NS ns.sub\ns 60 DS 1 13 2 00\n*.w 60 TXT y\n";

fn name(text: &str) -> Name {
    Name::from_text(text).expect("a name")
}

/// A folder with a zone file and a key pair.
fn folder() -> (tempfile::TempDir, Key) {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    write("db", ZONE);
    write(
        "K.key",
        "z.test. IN DNSKEY 257 3 13 IVMO2eHcOgImFNrXhYxs4nQGNhYwexOt77kKQi7mj/6tMZLH9DRXra8665EA76vEF15qCsN9l74RSsGKQ8VY+Q==",
    );
    write(
        "K.private",
        "Private-key-format: v1.3\nAlgorithm: 13\nPrivateKey: f1F2U/GcZ6T7LHoxbLtDxR3I5vvWAU8YqJh+8h0gBFg=\n",
    );
    let key = files::read(&folder.path().join("K")).expect("a key pair");
    (folder, key)
}

fn make(folder: &Path, key: Key, now: u64) -> Vec<SignedRecord> {
    let zone = read_zone(&folder.join("db"), &name("z.test.")).expect("a zone");
    signed(&zone, &[key], now as u32, Jitter::default().validity(now)).expect("signed")
}

#[test]
fn each_name_of_the_zone_leads_to_the_next() {
    let (folder, key) = folder();
    let records = make(folder.path(), key, NOW);
    let next = |record: &SignedRecord| {
        let (next, _) = Name::from_message(&record.data, 0).expect("a name");
        format!("{} {next}", record.owner)
    };
    let chain: Vec<String> = records.iter().filter(|record| record.rtype == rtype::NSEC).map(next).collect();
    let wanted = [
        "z.test. b.c.z.test.",
        "b.c.z.test. ns.z.test.",
        "ns.z.test. s.z.test.",
        "s.z.test. sub.z.test.",
        "sub.z.test. *.w.z.test.",
        "*.w.z.test. z.test.",
    ];
    assert_eq!(chain, wanted, "neither glue nor empty names");
    assert_eq!(records[1].rtype, rtype::SOA);
    assert_eq!(records[1].data[records[1].data.len() - 20..][..4], (NOW as u32).to_be_bytes());
    let covered = |owner: &str| {
        let of = records.iter().filter(|record| record.owner == name(owner) && record.rtype == rtype::RRSIG);
        let mut types: Vec<u16> = of.map(|record| u16::from_be_bytes([record.data[0], record.data[1]])).collect();
        types.sort_unstable();
        types.into_iter().map(|rtype| TypeText(rtype).to_string()).collect::<Vec<_>>().join(" ")
    };
    assert_eq!(covered("z.test."), "NS SOA NSEC DNSKEY CDS CDNSKEY");
    assert_eq!((covered("sub.z.test."), covered("s.z.test.")), ("NSEC".to_owned(), "DS NSEC".to_owned()));
    assert_eq!((covered("ns.sub.z.test."), covered("ns.z.test.")), (String::new(), "A NSEC".to_owned()));
    assert!(
        records
            .iter()
            .filter(|record| record.owner == name("ns.z.test.") && record.rtype == rtype::A)
            .all(|r| r.ttl == 60)
    );
    let keys = records.iter().filter(|record| record.rtype == rtype::DNSKEY).count();
    assert_eq!(keys, 1, "the key of the zone file is left out");
}

#[test]
fn a_zone_is_signed_again_in_time() {
    let (folder, key) = folder();
    let (zone, file, path) = (name("z.test."), folder.path().join("db"), folder.path().join("db.z.test.signed"));
    let why = |now: u64| reason(&zone, &file, &path, now).unwrap_or_default();
    assert!(why(NOW).contains("No such file") || why(NOW).contains("no such file"), "{}", why(NOW));
    write(&path, &make(folder.path(), key, NOW), std::time::SystemTime::now()).expect("written");
    // The signatures began 3 hours earlier.
    assert_eq!(why(NOW), "");
    assert_eq!((why(NOW + 5 * DAY), why(NOW + 6 * DAY).as_str()), (String::new(), "its signature is 6 days old"));
    assert_eq!(why(NOW - DAY), "the inception of its signature is in the future");
    std::fs::copy(&file, &path).expect("copied");
    assert_eq!(why(NOW), "its SOA record has no signature");
    std::fs::write(&path, "@ A\n").expect("written");
    assert!(why(NOW).contains(":1:"), "{}", why(NOW));
}

#[test]
fn signatures_that_end_soon_are_made_again() {
    let (folder, key) = folder();
    let zone = read_zone(&folder.path().join("db"), &name("z.test.")).expect("a zone");
    let path = folder.path().join("db.z.test.signed");
    for (left, why) in [(8 * DAY, ""), (6 * DAY, "its signature expires in 144 hours")] {
        let validity =
            crate::dnssec::rrset::Validity { expiration: (NOW + left) as u32, ..Jitter::default().validity(NOW) };
        let records = signed(&zone, std::slice::from_ref(&key), 7, validity).expect("signed");
        write(&path, &records, std::time::SystemTime::now()).expect("written");
        assert_eq!(reason(&name("z.test."), &folder.path().join("db"), &path, NOW).unwrap_or_default(), why);
    }
}

#[test]
fn times_have_a_jitter() {
    for _ in 0..100 {
        let validity = Jitter::random().validity(NOW);
        let (before, after) = (NOW as u32 - validity.inception, validity.expiration - NOW as u32);
        assert!((3 * 3600..=21 * 3600).contains(&before) && (32 * 86_400..=37 * 86_400).contains(&after));
    }
}
