//! The checks of the fuzz targets (`fuzz/checks.rs`) with random input, mutated messages and past
//! failures, for machines without a fuzzer. `just fuzz` goes further.

#[path = "../fuzz/checks.rs"]
mod checks;
mod kit;
#[path = "support/protobuf.rs"]
mod protobuf;

use std::path::Path;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::{A, CNAME, MX, NS, SOA, SRV, TXT};
use hickory_proto::rr::{Name, RData, Record, RecordType};
use proptest::collection::vec;
use proptest::prelude::*;
use signpost::plugins::kubernetes::reading::snapshot::objects::write;
use signpost::wire::answer::Section;
use signpost::wire::encode::{Encoder, Owner};
use signpost::wire::grpc;
use signpost::wire::name::Name as WireName;
use signpost::wire::question::Question;
use signpost::wire::types::rtype;
use signpost::zone::read::read;

use kit::cluster::Cluster;

/// Returns an upstream's message with names of all kinds, compressed by hickory, as a start for
/// mutations.
fn message() -> Vec<u8> {
    let name = |text: &str| text.parse::<Name>().expect("a name");
    let record = |owner: &str, data| Record::from_rdata(name(owner), 60, data);
    let mut message = Message::new(7, MessageType::Response, OpCode::Query);
    message.add_query(Query::query(name("a.example."), RecordType::A));
    message.add_answers([
        record("a.example.", RData::CNAME(CNAME(name("b.example.")))),
        record("b.example.", RData::A(A::new(192, 0, 2, 1))),
        record("b.example.", RData::A(A::new(192, 0, 2, 2))),
        record("b.example.", RData::MX(MX::new(1, name("mail.b.example.")))),
        record("b.example.", RData::TXT(TXT::new(vec!["text".into()]))),
        record("b.example.", RData::SRV(SRV::new(1, 2, 3, name("mail.b.example.")))),
    ]);
    message.add_authorities([
        record("example.", RData::NS(NS(name("ns.example.")))),
        record("example.", RData::SOA(SOA::new(name("ns.example."), name("root.example."), 1, 2, 3, 4, 5))),
    ]);
    message.add_additionals([record("ns.example.", RData::A(A::new(192, 0, 2, 3)))]);
    message.set_edns(Edns::new());
    message.to_vec().expect("encodes")
}

/// Objects as the API server writes them, as a start for mutations.
const OBJECTS: &[(&str, &str)] = &[
    (
        "Service",
        r#"{"metadata":{"name":"web","namespace":"default","resourceVersion":"7"},"spec":{"clusterIP":"10.96.0.20",
        "clusterIPs":["10.96.0.20","fd00:10:96::20"],"ports":[{"name":"sql","protocol":"TCP","port":5432}],"type":"ClusterIP"}}"#,
    ),
    (
        "Service",
        r#"{"metadata":{"name":"web","namespace":"default"},"spec":{"type":"ExternalName","externalName":"docs.example.com"}}"#,
    ),
    (
        "EndpointSlice",
        r#"{"metadata":{"name":"web-1","namespace":"default","labels":{"kubernetes.io/service-name":"web"}},"addressType":"IPv4",
        "endpoints":[{"addresses":["10.244.1.3"],"hostname":"db-3","conditions":{"ready":true},"zone":"a.b",
        "targetRef":{"kind":"Pod","name":"web-abc"}}],"ports":[{"name":"sql","protocol":"TCP","port":5432}]}"#,
    ),
    (
        "Pod",
        r#"{"metadata":{"name":"web-abc","namespace":"default"},"status":{"phase":"Running","podIP":"10.244.1.3",
        "podIPs":[{"ip":"10.244.1.3"},{"ip":"fd00:10:244:1::3"}]}}"#,
    ),
];

/// Returns the records of a snapshot, as a start for mutations.
fn snapshot() -> Vec<u8> {
    let mut out = Vec::new();
    write(&Cluster::small().index, &mut out).expect("memory");
    out
}

/// Words of zone files.
const ZONE_WORDS: &[&str] = &[
    " ",
    "\n",
    "\n",
    "(",
    ")",
    "\"",
    ";",
    "\\",
    "\\#",
    "\\# 4 0a000001",
    "@",
    "*",
    ".",
    "a",
    "b.a",
    "*.a",
    "60 ",
    "1h ",
    "IN ",
    "CH ",
    " A 10.0.0.1\n",
    " AAAA ::1\n",
    " CNAME a\n",
    " CNAME b.a\n",
    " DNAME b\n",
    " NS a.b\n",
    " MX 5 a\n",
    " TXT \"x\"\n",
    " SRV 1 2 3 a\n",
    " SVCB 1 a alpn=h2\n",
    " TYPE9 ",
    " NSEC a A RRSIG\n",
    " LOC ",
    " URI 1 2 \"x\"\n",
    "$TTL 5\n",
    "$ORIGIN b\n",
    "$GENERATE 1-3 a$ A 10.0.0.$\n",
    "$GENERATE ",
    "\u{e9}",
    "\\300",
    "\\010",
];

/// A zone file, as a start for mutations.
const ZONE: &str = "$TTL 300\n@ NS ns\nns A 10.0.0.1\n\tAAAA fd00::1\nwww CNAME web\nweb 60 IN A 10.0.0.2\n*.w TXT \"a b\" c\nsub NS \
                    ns.sub\nns.sub A 10.0.0.3\nold DNAME new\nx.new MX 10 ns\n_s._tcp SRV 1 2 3 web\n$GENERATE 1-3/2 h${1,2} A 10.0.1.$\nh \
                    HTTPS 1 . alpn=\"h2,h3\" port=8443\nc CAA 0 issue \"ca.test\"\nd NAPTR 1 2 \"u\" \"s\" \"!x!y!\" .\nu TYPE999 \\# 2 \
                    abcd\nk SSHFP 1 1 00112233445566778899aabbccddeeff00112233\ns RRSIG A 8 2 300 20300101000000 20200101000000 1 @ \
                    AAAA\ns NSEC t A RRSIG\nt ( A\n 10.0.0.4 ) ; end\n";

/// The same zone as a primary sends it, in one message.
fn transfer() -> Vec<u8> {
    let origin = WireName::from_text("a.test").expect("a name");
    let text = format!("@ 60 SOA ns host 1 2 3 4 5\n{ZONE}");
    let zone = read(Path::new("db"), text.as_bytes(), &origin, None).ok().flatten().expect("a zone").zone;
    let answer = Encoder::build(origin.len(), |e| {
        for record in zone.records().chain([zone.soa_record()]) {
            let owner = WireName::from_wire(record.owner).expect("a name");
            e.record(Section::Answer, Owner::name(&owner), record.rtype, record.ttl, |e| e.put(record.data));
        }
    });
    answer.message(&Question::new(origin, rtype::AXFR))
}

/// Generates one of them in JSON or in protobuf.
fn object() -> impl Strategy<Value = Vec<u8>> {
    (prop::sample::select(OBJECTS), any::<bool>()).prop_map(|((message, text), in_json)| {
        let json = || serde_json::from_str(text).expect("JSON");
        if in_json { text.as_bytes().to_vec() } else { protobuf::bytes(&protobuf::message(message, &json())) }
    })
}

/// Generates a real message with some octets changed, and perhaps cut.
fn mutated(start: Vec<u8>) -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<prop::sample::Index>(), prop_oneof![any::<u8>(), Just(0xC0), Just(12), Just(0)]);
    (vec(change, 0..6), any::<prop::sample::Index>(), any::<bool>()).prop_map(move |(changes, cut, whole)| {
        let mut bytes = start.clone();
        for (at, to) in changes {
            *at.get_mut(&mut bytes) = to;
        }
        let len = if whole { bytes.len() } else { cut.index(bytes.len()) };
        bytes.truncate(len);
        bytes
    })
}

/// `PROPTEST_CASES` sets more (or fewer) cases than CI has time for.
fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2000);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn the_gate_reads_any_packet(
        data in prop_oneof![vec(any::<u8>(), 0..600), mutated(kit::message::query("web.default.svc.cluster.local", 1))],
    ) {
        checks::check_gate(&data);
    }

    #[test]
    fn any_signature_is_checked(data in mutated(checks::signed_query())) {
        checks::check_tsig(&data);
    }

    #[test]
    fn any_call_has_a_message_or_a_status(data in mutated(grpc::body(&message()))) {
        checks::check_call(&data);
    }

    #[test]
    fn any_octets_are_a_header_or_not(
        data in prop_oneof![
            mutated(b"PROXY TCP4 192.0.2.1 198.51.100.1 4000 53\r\n".to_vec()),
            mutated([b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0C", &[7; 16][..]].concat()),
        ],
    ) {
        checks::check_proxy(&data);
    }

    #[test]
    fn names_are_those_that_hickory_reads(
        data in prop_oneof![
            vec(any::<u8>(), 0..300),
            vec(prop_oneof![Just(0), Just(1), Just(0xC0), 2..12_u8], 0..60),
            vec(prop_oneof![4 => Just(63), 1 => Just(1), 1 => Just(0)], 250..300),
        ],
    ) {
        checks::check_name(&data);
    }

    #[test]
    fn what_upstreams_send_can_be_relayed(data in mutated(message())) {
        checks::check_relay(&data);
    }

    #[test]
    fn any_text_is_read_as_a_corefile(
        data in prop_oneof![
            vec(any::<u8>(), 0..200),
            vec(prop::sample::select(&[" ", "\n", "{", "}", "\"", "\\", "#", ".", ":53", "whoami", "errors", "{$A}", "(s)", "a", "10.0.0.0/7", "dns://"][..]), 0..40)
                .prop_map(|words| words.concat().into_bytes()),
        ],
    ) {
        checks::check_corefile(&data);
    }

    #[test]
    fn reverse_names_stand_for_one_address(data in "[0-9a-f]{1,3}(\\.[0-9a-fA-F]{1,2}){0,34}|.{0,20}") {
        checks::check_reverse(data.as_bytes());
    }

    #[test]
    fn any_text_is_read_as_a_hosts_file(
        data in prop_oneof![
            vec(any::<u8>(), 0..200),
            vec(prop::sample::select(&[" ", "\n", "\t", "#", "*", ".", "%eth0", "10.0.0.1", "10.0.0.2 ", "\n::1 ", "::ffff:10.0.0.1", "a", "B.test", "\\", "\\042"][..]), 0..40)
                .prop_map(|words| words.concat().into_bytes()),
        ],
    ) {
        checks::check_hosts(&data);
    }

    #[test]
    fn any_text_is_read_as_a_zone_file(
        data in prop_oneof![
            vec(any::<u8>(), 0..200),
            vec(prop::sample::select(ZONE_WORDS), 0..60).prop_map(|words| words.concat().into_bytes()),
            mutated(ZONE.as_bytes().to_vec()),
        ],
    ) {
        checks::check_zone(&data);
    }

    #[test]
    fn any_transfer_is_a_zone_or_refused(data in mutated(transfer())) {
        checks::check_transfer(&data);
    }

    #[test]
    fn any_name_of_a_cluster_is_answered(data in vec(any::<u8>(), 0..12)) {
        checks::check_kubernetes(&data);
    }

    #[test]
    fn any_object_is_taken_in_or_refused(data in object().prop_flat_map(mutated)) {
        checks::check_objects(&data);
    }

    #[test]
    fn any_snapshot_is_taken_in_or_refused(data in mutated(snapshot())) {
        checks::check_snapshot(&data);
    }

    #[test]
    fn any_expression_is_evaluated_within_its_bound(
        data in prop_oneof![
            1 => vec(any::<u8>(), 0..60),
            6 => vec(prop::sample::select(WORDS), 0..14).prop_map(|words| words.concat().into_bytes()),
        ],
    ) {
        checks::check_expression(&data);
    }
}

/// Pieces of expressions.
const WORDS: &[&str] = &[
    "1",
    "2.5",
    "'a'",
    "\"b\\n\"",
    "true",
    "nil",
    "seven",
    "name()",
    "same(",
    "#",
    "#acc",
    "#index",
    "[",
    "]",
    "(",
    ")",
    "{",
    "}",
    ",",
    ";",
    ":",
    "?",
    "??",
    "|",
    ".",
    "..",
    "+",
    "-",
    "*",
    "**",
    "/",
    "%",
    "==",
    "!=",
    "<",
    ">=",
    "&&",
    " or ",
    "!",
    " not ",
    " in ",
    " matches ",
    " contains ",
    " startsWith ",
    "let a = ",
    "a",
    "if ",
    " else ",
    "any(",
    "map(",
    "filter(",
    "reduce(",
    "sum(",
    "len(",
    "split(",
    "replace(",
    "repeat(",
    "first(",
    "[1, 2]",
    "['a', 'b']",
    "[0]",
    "[-1:]",
    "sort(",
    "max(",
    "int(",
    "string(",
    "9223372036854775807",
    "0x1f",
    "/*",
    "//",
    " ",
    "é",
];
