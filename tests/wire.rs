//! The codec of the hot path against hickory-proto: any query, any answer, any client.

mod kit;
#[path = "wire/lengths.rs"]
mod lengths;
#[path = "wire/limits.rs"]
mod limits;
#[path = "wire/strict.rs"]
mod strict;

use hickory_proto::op::{Edns, Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::{A, AAAA, CNAME, MX, NS, NULL, PTR, SOA, SRV, TXT};
use hickory_proto::rr::{Name as HickoryName, RData, Record, RecordType};
use kit::message::{decoded, packet, records, request, written};
use proptest::collection::vec;
use proptest::prelude::*;
use signpost::wire::answer::{Answer, Section};
use signpost::wire::encode::{Encoder, Owner, Tail, Written};
use signpost::wire::name::Name;
use signpost::wire::question::Question;
use signpost::wire::relay;
use signpost::wire::reply::{Order, Reply};
use signpost::wire::request::{HEADER, flag};
use signpost::wire::types::rtype;

//----------- Strategies -----------------------------------------------------

/// Any name, with any octets.
fn any_name() -> impl Strategy<Value = HickoryName> {
    vec(vec(any::<u8>(), 1..12), 0..8).prop_map(|labels| HickoryName::from_labels(labels).expect("a name"))
}

/// Names with common ends, as in one answer. The first is the question's name.
fn related() -> impl Strategy<Value = HickoryName> {
    prop::sample::select(&["Web.example.org.", "example.org.", "a.web.example.org.", "b.a.Web.example.org.", "org.", ".", "ns.other."][..])
        .prop_map(|text| text.parse().expect("a name"))
}

fn any_data() -> impl Strategy<Value = RData> {
    prop_oneof![
        4 => any::<[u8; 4]>().prop_map(|octets| RData::A(A(octets.into()))),
        2 => any::<[u8; 16]>().prop_map(|octets| RData::AAAA(AAAA(octets.into()))),
        2 => related().prop_map(|name| RData::CNAME(CNAME(name))),
        1 => related().prop_map(|name| RData::NS(NS(name))),
        1 => related().prop_map(|name| RData::PTR(PTR(name))),
        2 => (any::<u16>(), related()).prop_map(|(rank, name)| RData::MX(MX::new(rank, name))),
        1 => vec("[a-z ]{0,40}", 1..4).prop_map(|texts| RData::TXT(TXT::new(texts))),
        2 => (any::<u16>(), any::<u16>(), any::<u16>(), related()).prop_map(|(a, b, c, name)| RData::SRV(SRV::new(a, b, c, name))),
        1 => (related(), related(), any::<u32>()).prop_map(|(m, r, n)| RData::SOA(SOA::new(m, r, n, 1, 2, 3, 4))),
        1 => vec(any::<u8>(), 1..30).prop_map(|octets| RData::Unknown { code: RecordType::Unknown(65_280), rdata: NULL::with(octets) }),
    ]
}

fn section(most: usize) -> impl Strategy<Value = Vec<Record>> {
    let record =
        (related(), 0..1_u32 << 31, any_data()).prop_map(|(owner, ttl, data)| Record::from_rdata(owner, ttl, data));
    vec(record, 0..most)
}

/// An upstream's answer to `web.example.org. A`, written by hickory.
fn any_answer() -> impl Strategy<Value = Message> {
    (section(12), section(4), section(6), any::<bool>()).prop_map(|(answers, authorities, additionals, edns)| {
        let mut message = Message::new(7, MessageType::Response, OpCode::Query);
        message.add_query(Query::query(asked(), RecordType::A));
        message.add_answers(answers).add_authorities(authorities).add_additionals(additionals);
        if edns {
            message.set_edns(Edns::new());
        }
        message
    })
}

fn asked() -> HickoryName {
    "web.example.org.".parse().expect("a name")
}

fn read(message: &Message) -> Reply {
    let name = Name::from_text("web.example.org").expect("a name");
    Reply::fetched(
        relay::read(&message.to_vec().expect("encodes"), &Question::new(name, rtype::A)).expect("usable").into(),
    )
}

fn sections(message: &Message) -> [Vec<Record>; 3] {
    [&message.answers, &message.authorities, &message.additionals].map(|section| {
        let mut section = section.clone();
        section.sort_by_key(|record| format!("{} {:?}", record.name, record.data));
        section
    })
}

fn config() -> ProptestConfig {
    let cases = std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(600);
    ProptestConfig { cases, failure_persistence: None, ..ProptestConfig::default() }
}

//----------- Queries and answers --------------------------------------------

proptest! {
    #![proptest_config(config())]

    #[test]
    fn any_query_is_read_as_hickory_wrote_it(
        (id, name, qtype) in (any::<u16>(), any_name(), any::<u16>()),
        (recursion, checking, size, dnssec) in (any::<bool>(), any::<bool>(), any::<Option<u16>>(), any::<bool>()),
    ) {
        let mut message = Message::new(id, MessageType::Query, OpCode::Query);
        message.add_query(Query::query(name.clone(), qtype.into()));
        message.metadata.recursion_desired = recursion;
        message.metadata.checking_disabled = checking;
        if let Some(size) = size {
            let mut edns = Edns::new();
            edns.set_max_payload(size).set_dnssec_ok(dnssec);
            message.set_edns(edns);
        }
        let packet = message.to_vec().expect("encodes");
        let request = request(&packet);
        let wire = &packet[HEADER..HEADER + usize::from(request.name_len)];
        let ours = Name::from_wire(wire).expect("a name");
        prop_assert!(ours.labels().eq(name.iter()));
        prop_assert_eq!((request.id, request.qtype, request.qclass, request.opcode()), (id, qtype, 1, 0));
        prop_assert_eq!((request.flags & flag::RD != 0, request.flags & flag::CD != 0), (recursion, checking));
        let edns = request.edns.as_ref().map(|edns| (edns.size.max(512), edns.version, edns.dnssec_ok));
        prop_assert_eq!(edns, size.map(|size| (size.max(512), 0, dnssec)));
        let decoded = decoded(&packet, &Reply::server(3), request.udp_limit());
        prop_assert_eq!(&decoded.queries, &message.queries);
        prop_assert_eq!((decoded.metadata.id, decoded.metadata.recursion_desired, decoded.edns.is_some()), (id, recursion, size.is_some()));
    }

    #[test]
    fn any_answer_arrives_whole_in_any_order(message in any_answer(), seed in any::<u32>(), ttl in any::<Option<u16>>(), edns in any::<bool>()) {
        let reply = read(&message);
        // The client's spelling is returned, octet for octet.
        let name = Name::from_text("wEB.eXample.org").expect("a name");
        let packet = packet(&name, rtype::A, edns.then_some(1232));
        for order in [Order::Stored, Order::Shuffled(seed)] {
            let reply = Reply { order: order.clone(), ttl: ttl.map(u32::from), ..reply.clone() };
            let out = written(&packet, &reply, 65_535);
            prop_assert_eq!(&out[HEADER..HEADER + name.len()], name.wire());
            let got = Message::from_vec(&out).expect("decodes");
            prop_assert_eq!(sections(&got), sections(&message), "{:?}", &order);
            prop_assert!(ttl.is_none_or(|ttl| got.all_sections().all(|record| record.ttl == u32::from(ttl))));
            prop_assert!(ttl.is_some() || order != Order::Stored || got.answers.iter().zip(&message.answers).all(|(a, b)| a.ttl == b.ttl));
            prop_assert!(!got.metadata.truncation);
            let raw = records(&out).expect("to the very end");
            prop_assert_eq!(raw.iter().rposition(|record| record.rtype == rtype::OPT), edns.then(|| raw.len() - 1), "OPT stands last");
            if order == Order::Stored || !reply.answer.is_movable() {
                prop_assert_eq!(&got.answers, &message.answers);
            } else {
                let ranks: Vec<u8> = got.answers.iter().map(rank).collect();
                prop_assert!(ranks.is_sorted(), "aliases first, addresses and MX last: {:?}", ranks);
            }
        }
    }

    #[test]
    fn what_does_not_fit_is_cut_between_records(message in any_answer(), seed in any::<Option<u32>>(), room in 60..900_usize, edns in any::<bool>()) {
        let reply = read(&message);
        let reply = Reply { order: seed.map_or(Order::Stored, Order::Shuffled), ..reply };
        let name = Name::from_text("web.example.org").expect("a name");
        let packet = packet(&name, rtype::A, edns.then_some(1232));
        let limit = HEADER + name.len() + 4 + room;
        let (whole, cut) = (written(&packet, &reply, 65_535), written(&packet, &reply, limit));
        prop_assert!(cut.len() <= limit);
        let (all, some) = (records(&whole).expect("whole"), records(&cut).expect("cut between records"));
        let kept = some.len();
        prop_assert_eq!(some.iter().filter(|r| r.rtype != rtype::OPT).count() + usize::from(edns), kept);
        for (a, b) in all.iter().zip(&some).filter(|(_, b)| b.rtype != rtype::OPT) {
            prop_assert_eq!((a.section, a.owner, a.rtype, a.ttl, &whole[a.rdata.clone()]), (b.section, b.owner, b.rtype, b.ttl, &cut[b.rdata.clone()]));
        }
        let got = Message::from_vec(&cut).expect("decodes");
        let lost = got.answers.len() < message.answers.len() || got.authorities.len() < message.authorities.len();
        prop_assert_eq!(got.metadata.truncation, lost, "TC says that answers or authorities are missing");
        if kept < all.len() {
            let next = &all[kept - usize::from(edns)];
            let next_starts = all[..kept - usize::from(edns)].last().map_or(HEADER + name.len() + 4, |record| record.rdata.end);
            prop_assert!(cut.len() + next.rdata.end - next_starts > limit, "one more would have fitted");
        }
    }

    #[test]
    fn a_question_of_another_length_moves_the_pointers(message in any_answer(), label in "[a-z]{1,40}", seed in any::<u32>()) {
        let reply = read(&message);
        // As after a rewrite: the asked name is longer, and ends in the answered name.
        let name = Name::from_text(&format!("{label}.web.example.org")).expect("a name");
        let packet = packet(&name, rtype::A, None);
        for order in [Order::Stored, Order::Shuffled(seed)] {
            let got = decoded(&packet, &Reply { order, ..reply.clone() }, 65_535);
            let longer: HickoryName = name.to_string().parse().expect("a name");
            // The question's name in the records becomes the new one, by a pointer, or stays as it
            // was, written out.
            let either = |ours: &Record, theirs: &Record| {
                let name = |name: &HickoryName| name.to_string().to_lowercase().replace(&format!("{label}.web"), "web");
                ours.record_type() == theirs.record_type() && name(&ours.name) == name(&theirs.name)
            };
            for (ours, theirs) in [(&got.answers, &message.answers), (&got.additionals, &message.additionals)] {
                prop_assert_eq!(ours.len(), theirs.len());
                prop_assert!(theirs.iter().all(|theirs| ours.iter().any(|ours| either(ours, theirs))), "{:?} {:?}", ours, &longer);
            }
        }
    }

    #[test]
    fn the_size_without_compression_is_known(message in any_answer()) {
        prop_assert_eq!(read(&message).answer.plain_len(plain_name(&asked())), message.all_sections().map(plain_len).sum::<usize>());
    }
}

/// Returns the length of a name without compression, in octets.
fn plain_name(name: &HickoryName) -> usize {
    Name::from_text(&name.to_string()).expect("a name").len()
}

/// Returns the length of a record without compression, in octets.
fn plain_len(record: &Record) -> usize {
    let name = plain_name;
    let data = match &record.data {
        RData::A(_) => 4,
        RData::AAAA(_) => 16,
        RData::CNAME(CNAME(target)) | RData::NS(NS(target)) | RData::PTR(PTR(target)) => name(target),
        RData::MX(mx) => 2 + name(&mx.exchange),
        RData::SRV(srv) => 6 + name(&srv.target),
        RData::SOA(soa) => name(&soa.mname) + name(&soa.rname) + 20,
        RData::TXT(txt) => txt.txt_data.iter().map(|text| 1 + text.len()).sum(),
        RData::Unknown { rdata, .. } => rdata.anything.len(),
        other => panic!("{other:?}"),
    };
    name(&record.name) + 10 + data
}

/// Returns CoreDNS's order of records that were reordered.
fn rank(record: &Record) -> u8 {
    match record.record_type() {
        RecordType::CNAME => 0,
        RecordType::A | RecordType::AAAA => 2,
        RecordType::MX => 3,
        _ => 1,
    }
}

//----------- Our own answers ------------------------------------------------

/// How a name of our own answer is written, and the name that results.
#[derive(Debug, Clone)]
enum Way {
    Asked,
    Zone,
    BelowZone(Vec<u8>),
    Whole(HickoryName),
    Again(prop::sample::Index),
}

fn any_way() -> impl Strategy<Value = Way> {
    prop_oneof![
        3 => Just(Way::Asked),
        1 => Just(Way::Zone),
        2 => "[a-z]{1,20}".prop_map(|label| Way::BelowZone([&[label.len() as u8], label.as_bytes()].concat())),
        1 => related().prop_map(Way::Whole),
        3 => any::<prop::sample::Index>().prop_map(Way::Again),
    ]
}

const ASKED: &str = "web.default.svc.cluster.local.";
const ZONE: &str = "cluster.local.";

/// Writes one record with two names in the given ways; returns the names that a reader must find.
fn write_one(
    e: &mut Encoder<'_>,
    known: &mut Vec<(Written, String)>,
    section: Section,
    ways: [&Way; 2],
) -> [String; 2] {
    let zone_len = Name::from_text(ZONE).expect("a name").len() as u8;
    let texts = ways.map(|way| match way {
        Way::Asked => ASKED.to_owned(),
        Way::Zone => ZONE.to_owned(),
        Way::BelowZone(label) => format!("{}.{ZONE}", String::from_utf8_lossy(&label[1..])),
        Way::Whole(name) => name.to_string(),
        Way::Again(at) => {
            if known.is_empty() {
                ".".to_owned()
            } else {
                known[at.index(known.len())].1.clone()
            }
        }
    });
    let whole: Vec<Name> = texts.iter().map(|text| Name::from_text(text).expect("a name")).collect();
    let owners: Vec<Owner<'_>> = ways
        .into_iter()
        .zip(&whole)
        .map(|(way, name)| match way {
            Way::Asked => Owner::ASKED,
            Way::Zone => Owner::zone(usize::from(zone_len)),
            Way::BelowZone(label) => Owner::new(label, Tail::AskedEnd(zone_len)),
            Way::Again(at) if !known.is_empty() => Owner::written(known[at.index(known.len())].0),
            Way::Whole(_) | Way::Again(_) => Owner::name(name),
        })
        .collect();
    if let Some(target) = e.pointer(section, owners[0], rtype::NS, 30, owners[1]) {
        known.push((target, texts[1].clone()));
    }
    texts
}

proptest! {
    #![proptest_config(config())]

    #[test]
    fn every_way_of_writing_a_name_is_read_as_that_name(
        ways in vec((any_way(), any_way()), 0..30),
        limit in prop_oneof![Just(65_535), 512..1500_usize],
        label in prop::option::of("[a-z]{1,30}"),
    ) {
        let mut expected = Vec::new();
        let asked = Name::from_text(ASKED).expect("a name");
        let answer: Answer = Encoder::build(asked.len(), |e| {
            let mut known = Vec::new();
            for (at, (owner, target)) in ways.iter().enumerate() {
                let section = [Section::Answer, Section::Authority, Section::Additional][at * 3 / ways.len()];
                expected.push(write_one(e, &mut known, section, [owner, target]));
            }
        });
        prop_assert_eq!(answer.records().count(), ways.len());
        let plain: usize = expected.iter().flatten().map(|text| Name::from_text(text).expect("a name").len()).sum();
        prop_assert_eq!(answer.plain_len(asked.len()), plain + 10 * ways.len());
        // The same answer for a longer question, which ends in the name that it was made for.
        let question = label.map_or(ASKED.to_owned(), |label| format!("{label}.{ASKED}"));
        let question = Name::from_text(&question).expect("a name");
        let packet = packet(&question, rtype::NS, Some(4096));
        let got = decoded(&packet, &Reply::memory(answer.into()), limit);
        let read = got.all_sections().map(|record| match &record.data {
            RData::NS(target) => [record.name.to_string(), target.0.to_string()],
            other => panic!("{other:?}"),
        });
        let longer = |text: &String| if text == ASKED { question.to_string() } else { text.clone() };
        for (read, expected) in read.zip(&expected) {
            prop_assert_eq!(read, [longer(&expected[0]), longer(&expected[1])]);
        }
    }
}
