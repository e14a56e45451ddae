//! What scenarios cannot show: signatures that a client checks, their times, and the bounds.

use ring::signature::{ECDSA_P256_SHA256_FIXED, UnparsedPublicKey};

use super::plan::Plan;
use crate::chain::zones::Zones;
use crate::chain::{Proto, Reply};
use crate::testing::live::Live;
use crate::wire::name::Name;
use crate::wire::question::{Opt, Question};
use crate::wire::records::{MessageRecord, answers};
use crate::wire::types::{rcode, rtype, type_number};

/// A key pair for `z.test`: a KSK with ECDSAP256SHA256.
const PUBLIC: &str = "z.test. IN DNSKEY 257 3 13 IVMO2eHcOgImFNrXhYxs4nQGNhYwexOt77kKQi7mj/6tMZLH9DRXra86 \
                      65EA76vEF15qCsN9l74RSsGKQ8VY+Q==\n";
const PRIVATE: &str = "Private-key-format: v1.3\nAlgorithm: 13 (ECDSAP256SHA256)\nPrivateKey: \
                       f1F2U/GcZ6T7LHoxbLtDxR3I5vvWAU8YqJh+8h0gBFg=\n";

fn live() -> (Live, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).expect("written");
    write("K.key", PUBLIC);
    write("K.private", PRIVATE);
    write("db", "@ 60 SOA ns host 1 2 3 4 5\n@ 60 NS ns\n*.w 60 MX 5 Mail\na 60 A 192.0.2.2\na 60 A 192.0.2.1\n");
    let root = folder.path().display();
    let text = format!("z.test {{\nroot {root}\ndnssec {{\nkey file K\n}}\nfile db\n}}\n");
    (Live::new(&text), folder)
}

/// Asks with DO. Returns the records of the answer section.
fn ask(live: &Live, name: &str, qtype: &str) -> Vec<MessageRecord> {
    let question = Question::new(Name::from_text(name).expect("a name"), type_number(qtype).expect("a type"));
    let opt = Opt { dnssec_ok: true, ..Opt::of_size(4096) };
    let [message] = &live.messages(&question.query(7, 0, Some(opt)), Proto::Tcp)[..] else { panic!("one message") };
    answers(message).expect("a message").map(|record| record.expect("a record")).collect()
}

/// Checks the signature of all other records, as RFC 4034 section 3.1.8.1 says. Returns the first
/// and the last second that it is good for.
fn check(live: &Live, records: &[MessageRecord]) -> (u32, u32) {
    let (signatures, set): (Vec<_>, Vec<_>) = records.iter().partition(|record| record.rtype == rtype::RRSIG);
    let [signature] = &signatures[..] else { panic!("one signature") };
    let zone = Name::from_text("z.test.").expect("a name");
    let (head, octets) = signature.data.split_at(18 + zone.len());
    assert_eq!(&head[18..], zone.wire());
    let mut set: Vec<(Vec<u8>, Vec<u8>)> =
        set.iter().map(|record| (record.owner.lowered().wire().to_vec(), record.data.to_ascii_lowercase())).collect();
    set.sort();
    let mut signed = head.to_vec();
    for (owner, data) in set {
        let rtype = &head[..2];
        let len = (data.len() as u16).to_be_bytes();
        signed.extend([&owner[..], rtype, &[0, 1], &head[4..8], &len, &data].concat());
    }
    let key = &ask(live, "z.test", "DNSKEY")[0];
    let point = [&[4], &key.data[4..]].concat();
    let checked = UnparsedPublicKey::new(&ECDSA_P256_SHA256_FIXED, point).verify(&signed, octets);
    checked.expect("a right signature");
    let time = |at: usize| u32::from_be_bytes(*head[at..].first_chunk().expect("four octets"));
    (time(12), time(8))
}

#[test]
fn signatures_are_right_and_kept_until_two_days_before_they_expire() {
    let (live, _folder) = live();
    let count = |what: &str| live.metric(&format!("coredns_dnssec_cache_{what}_total{{server=\"dns://:53\"}}"));
    let now = live.server.host.clock.seconds_since_1970() as u32;
    let (inception, expiration) = check(&live, &ask(&live, "a.z.test", "A"));
    assert!(inception.abs_diff(now - 3 * 3600) < 60 && expiration.abs_diff(now + 8 * 86_400) < 60);
    check(&live, &ask(&live, "Mail.W.z.test", "MX"));
    let before = (count("hits"), count("misses"));
    assert_eq!(check(&live, &ask(&live, "A.z.test", "A")), (inception, expiration), "the one that is kept");
    live.advance(6 * 86_400 - 60);
    assert_eq!(check(&live, &ask(&live, "a.z.test", "A")), (inception, expiration));
    live.advance(120);
    assert!(check(&live, &ask(&live, "a.z.test", "A")).1 > expiration);
    let entries = live.metric("coredns_dnssec_cache_entries{server=\"dns://:53\",type=\"signature\"}");
    assert!(entries >= 3.0 && count("hits") > before.0 && count("misses") > before.1, "{entries}");
}

#[test]
fn without_do_nothing_is_signed() {
    let (live, _folder) = live();
    let unsigned = |name: &str, qtype| live.ask(name, qtype).reply.answer.records().all(|r| r.rtype != rtype::RRSIG);
    assert!(unsigned("a.z.test", "A") && unsigned("z.test", "DNSKEY") && unsigned("missing.z.test", "A"));
    assert_eq!(live.ask("missing.z.test", "A").reply.rcode(), rcode::NXDOMAIN);
}

#[test]
fn failures_are_not_signed() {
    let zones: Zones = [Name::from_text("z.test.").expect("a name")].into_iter().collect();
    let question = Question::new(Name::from_text("a.z.test.").expect("a name"), rtype::A);
    for code in [rcode::SERVFAIL, rcode::REFUSED, rcode::NXDOMAIN, rcode::NOERROR] {
        assert!(Plan::of(&Reply::server(code).answer, &question, &zones, false).is_none(), "{code}: there is no SOA");
    }
}

#[test]
fn a_name_without_room_for_the_next_one_is_denied_as_it_is() {
    let (live, _folder) = live();
    let label = "a".repeat(61);
    let name = |first: usize| format!("{}.{label}.{label}.{label}.z.test", "b".repeat(first));
    let rcode = |first: usize| {
        let question = Question::new(Name::from_text(&name(first)).expect("a name"), rtype::A);
        let opt = Opt { dnssec_ok: true, ..Opt::of_size(4096) };
        live.messages(&question.query(7, 0, Some(opt)), Proto::Tcp)[0][3] & 0xF
    };
    // 255 octets are left: 8 of `z.test.`, 186 of the labels, and the first one with its length.
    assert_eq!((rcode(58), rcode(59)), (0, 3));
}
