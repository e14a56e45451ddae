//! What must hold of every parser for any input. The fuzz targets call these with libFuzzer's
//! input, and `tests/fuzz.rs` with random and mutated input, so that they also run without a
//! fuzzer.

use std::path::Path;

use hickory_proto::op::Message;
use hickory_proto::rr::{Name as HickoryName, Record, RecordType};
use hickory_proto::serialize::binary::{BinDecodable, BinDecoder};
use signpost::corefile::{self, Cursor, Vocabulary, address};
use signpost::expr::{Environment, Function, Program, Scope, Type, Value};
use signpost::plugins::hosts::parse::Parsed;
use signpost::plugins::hosts::table::Table;
use signpost::plugins::kubernetes::answers::name::{Ask, Schema, parse};
use signpost::plugins::kubernetes::known::model::{Kind, News};
use signpost::plugins::kubernetes::reading::decode::{Decoded, Keep, decode};
use signpost::plugins::kubernetes::reading::{protobuf, snapshot};
use signpost::wire::grpc;
use signpost::wire::name::{Name, labels};
use signpost::wire::proxy::{self, Start};
use signpost::wire::question::Question;
use signpost::wire::relay;
use signpost::wire::reply::{Order, Reply};
use signpost::wire::request::{Gate, HEADER, gate};
use signpost::wire::reverse::{self, Reverse};
use signpost::wire::tsig::{Tsig, find};
use signpost::wire::types::rtype;
use signpost::wire::write::{Writer, refusal};
use signpost::zone::answer::Answered;
use signpost::zone::data::Zone;
use signpost::zone::incoming::{Incoming, Progress};
use signpost::zone::read::read;

use crate::kit::cluster::Cluster;
use crate::kit::message::{packet, query, records, written};
use crate::kit::signed::ClientKey;

/// The gate: what passes can be answered, what is refused gets a message, and hickory reads the
/// same question.
pub(crate) fn check_gate(data: &[u8]) {
    match gate(data) {
        Gate::Silence => {}
        Gate::Refuse(why) => {
            let mut out = Vec::new();
            let len = refusal(data, &why, &mut out);
            assert_eq!(len, why.question_end.unwrap_or(HEADER));
            assert_eq!(out[..2], data[..2], "the id is the client's");
            Message::from_vec(&out).expect("a refusal can be read");
        }
        Gate::Pass(request) | Gate::Notify(request) => {
            let mut out = Vec::new();
            Writer::default().reply(data, &request, &Reply::server(5), request.udp_limit(), &mut out);
            assert!(out.len() <= request.udp_limit());
            assert_eq!(out[HEADER..request.question_end()], data[HEADER..request.question_end()]);
            let ours = Message::from_vec(&out).expect("a reply can be read");
            if let Ok(theirs) = Message::from_vec(data) {
                assert_eq!(ours.queries, theirs.queries);
                assert_eq!(ours.edns.is_some(), theirs.edns.is_some());
            }
        }
    }
}

/// Signatures: what is read can be checked and answered, and signing adds as many octets as it
/// says. A message that is accepted has the signature of the key.
pub(crate) fn check_tsig(data: &[u8]) {
    let (Gate::Pass(request) | Gate::Notify(request)) = gate(data) else { return };
    let Ok(Some(tsig)) = find(data, &request) else { return };
    let key = signed_by();
    for (secret, now) in [(None, 1000), (Some(key.secret().into()), 1000), (Some(key.secret().into()), 0)] {
        let Ok(signer) = tsig.check(secret.as_ref(), now) else { continue };
        let mut out = packet(&request.name(data), request.qtype, None);
        let unsigned = out.len();
        signer.sign(&mut out, 0, now);
        assert_eq!(out.len() - unsigned, signer.added());
        let reply = tsig_of(&out).expect("our own TSIG record can be read");
        assert_eq!(reply.key, tsig.key);
        if signer.fault().is_none() {
            assert!(data.windows(32).any(|mac| mac == key.mac_of(&signed_query())), "the signature of the query");
        }
    }
}

/// The key of the query that signatures are mutated from.
pub(crate) fn signed_by() -> ClientKey {
    ClientKey::read("hmac-sha256:key.test:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXo=").expect("a key")
}

/// A signed query, as a start for mutations.
pub(crate) fn signed_query() -> Vec<u8> {
    signed_by().sign(&query("web.default.svc.cluster.local", rtype::A), 1000)
}

fn tsig_of(message: &[u8]) -> Option<Tsig<'_>> {
    let Gate::Pass(request) = gate(message) else { return None };
    find(message, &request).ok().flatten()
}

/// Calls of gRPC: a message lies within its body, and comes out of a body of ours as it went in.
pub(crate) fn check_call(data: &[u8]) {
    if let Ok(message) = grpc::message(data) {
        assert!(message.len() < data.len());
        assert_eq!(grpc::message(&grpc::body(message)), Ok(message));
    }
    assert_eq!(grpc::message(&grpc::body(data)), Ok(data));
}

/// Headers of proxies: one lies within its octets, and none is read differently with more behind
/// it.
pub(crate) fn check_proxy(data: &[u8]) {
    let longer = [data, &[0]].concat();
    match proxy::read(data) {
        Start::Header(header) => {
            assert!(header.len <= data.len().min(proxy::LONGEST) && header.values.len() < header.len);
            assert_eq!(proxy::read(&longer), Start::Header(header));
        }
        Start::Part => assert!(data.len() < proxy::LONGEST),
        start @ (Start::Other | Start::Malformed) => assert_eq!(proxy::read(&longer), start),
    }
}

/// Names: whatever hickory reads, we read the same; and a name's text is read as the same name.
pub(crate) fn check_name(data: &[u8]) {
    let Some((&at, message)) = data.split_first() else { return };
    if usize::from(at) > message.len() {
        assert!(Name::from_message(message, usize::from(at)).is_none());
        return;
    }
    let theirs = HickoryName::read(&mut BinDecoder::new(message).clone(u16::from(at)));
    let ours = Name::from_message(message, usize::from(at));
    if let Ok(theirs) = &theirs {
        let (ours, end) = ours.expect("hickory can read it");
        assert!(end <= message.len());
        assert!(ours.labels().eq(theirs.iter()), "{ours} is not {theirs}");
    }
    let Some((ours, _)) = ours else { return };
    assert_eq!(Name::from_text(&ours.to_string()), Ok(ours), "text and back");
    assert_eq!(Name::from_wire(ours.wire()), Some(ours), "wire and back");
}

/// Types whose data hickory parses as we do; other records are relayed as octets.
const PLAIN_TYPES: &[RecordType] = &[
    RecordType::A,
    RecordType::AAAA,
    RecordType::NS,
    RecordType::CNAME,
    RecordType::SOA,
    RecordType::PTR,
    RecordType::MX,
    RecordType::TXT,
    RecordType::SRV,
];

/// An upstream's message: what we read of it can be written to any client, in any order and for any
/// question.
pub(crate) fn check_relay(message: &[u8]) {
    let Some((name, end)) = Name::from_message(message, HEADER) else { return };
    let Some(&[t1, t0, c1, c0]) = message.get(end..).and_then(|rest| rest.first_chunk()) else { return };
    let (qtype, qclass) = (u16::from_be_bytes([t1, t0]), u16::from_be_bytes([c1, c0]));
    let question = Question { name: name.lowered(), qtype, qclass };
    let Ok(answer) = relay::read(message, &question) else { return };
    assert_eq!(answer.records().count(), answer.counts.iter().map(|&count| usize::from(count)).sum::<usize>());
    let _ = answer.min_ttl();
    let reply = Reply::fetched(answer.into());
    // As when a plugin restores a longer question that ends in the same name.
    let other = name.below([b"longer".as_slice()]).unwrap_or(name);
    for (asked, edns) in [(name, None), (name, Some(1232)), (other, Some(4096))] {
        let packet = packet(&asked, qtype, edns);
        for (order, limit) in [(Order::Stored, 65_535), (Order::Shuffled(7), 65_535), (Order::Shuffled(9), 512)] {
            let out = written(&packet, &Reply { order, ..reply.clone() }, limit);
            assert!(out.len() <= limit, "{} octets of {limit}", out.len());
            assert!(records(&out).is_some(), "a record of the reply cannot be read: {out:02x?}");
        }
    }
    let (Ok(theirs), Ok(_)) = (Message::from_vec(message), HickoryName::from_ascii(name.to_string())) else { return };
    let out = written(&packet(&name, qtype, None), &reply, 65_535);
    let all = |message: &Message| {
        let mut all: Vec<Record> = message.all_sections().cloned().collect();
        all.iter_mut().for_each(|record| record.ttl = if record.ttl >> 31 == 1 { 0 } else { record.ttl });
        all
    };
    if theirs.signature.is_none() && all(&theirs).iter().all(|record| PLAIN_TYPES.contains(&record.record_type())) {
        let ours = Message::from_vec(&out).expect("hickory read the upstream's");
        assert_eq!(all(&ours), all(&theirs));
    }
}

/// Corefiles: any text is read to its end, and every complaint names an existing line.
pub(crate) fn check_corefile(data: &[u8]) {
    let text = corefile::decode(data);
    // Imported files would be read from disk.
    if text.contains("import") {
        return;
    }
    let vocabulary =
        Vocabulary { served: &["kubernetes", "forward", "errors", "whoami", "log"], elsewhere: &["dnstap"] };
    let lines = text.split('\n').count() as u32;
    let corefile = match corefile::parse(&text, "Corefile", &|name| (name == "A").then(|| "b c\nd".into()), &vocabulary)
    {
        Ok(corefile) => corefile,
        Err(error) => {
            let _ = error.to_string();
            if let signpost::error::Error::Corefile(complaint) = &error {
                // A variable may contain line breaks.
                let line = complaint.position.as_ref().map_or(1, |position| position.line);
                assert!(
                    line >= 1 && line <= lines + text.matches("A").count() as u32,
                    "line {line} of {lines}: {error}"
                );
            }
            return;
        }
    };
    let _ = corefile.sha512_hex();
    for block in &corefile.blocks {
        let _ = address::keys(block, "53").map_err(|error| error.to_string());
        block.directives.iter().for_each(|directive| {
            let mut cursor = Cursor::new(directive);
            while cursor.next_occurrence() {
                cursor.args();
                while cursor.next_option() {
                    cursor.args();
                }
            }
        });
    }
}

/// Expressions: what is read can be evaluated, within the bound, and has the type that was found
/// before.
pub(crate) fn check_expression(data: &[u8]) {
    struct Nothing;
    impl Environment for Nothing {
        fn call<'e>(&'e self, function: usize, arguments: &[Value<'e>]) -> Result<Value<'e>, String> {
            match (function, arguments) {
                (0, []) => Ok(Value::text("www.example.org.")),
                (1, [value]) => Ok(value.clone()),
                _ => Err("none".to_owned()),
            }
        }

        fn variable(&self, _: usize) -> Value<'_> {
            Value::Int(7)
        }
    }
    static FUNCTIONS: [Function; 2] = [
        Function { name: "name", takes: &[], gives: Type::Text },
        Function { name: "same", takes: &[Type::Any], gives: Type::Any },
    ];
    let text = String::from_utf8_lossy(data);
    let mut scope = Scope::new(&FUNCTIONS);
    scope.add("seven", Type::Int);
    match Program::compile(&text, &scope) {
        Err(why) => assert!(why.at <= text.len() && text.is_char_boundary(why.at), "{text}: {why:?}"),
        Ok(program) => {
            let Ok(value) = program.run(&Nothing) else { return };
            let fits = match (&program.result, &value) {
                (Type::Any, _) | (_, Value::Nil) => true,
                (Type::Nil, _) => false,
                (Type::Bool, value) => matches!(value, Value::Bool(_)),
                (Type::Int, value) => matches!(value, Value::Int(_)),
                (Type::Float, value) => matches!(value, Value::Float(_)),
                (Type::Text, value) => matches!(value, Value::Text(_)),
                (Type::List(_), value) => matches!(value, Value::List(_)),
            };
            assert!(fits, "{text}: {:?} became {value:?}", program.result);
            let _ = value.to_string();
        }
    }
}

/// Hosts files: every entry is found by name and by address, and complaints are in the order of the
/// lines.
pub(crate) fn check_hosts(data: &[u8]) {
    let read = Parsed::read(data, |_| true);
    assert!(read.mistakes.is_sorted_by_key(|mistake| mistake.line));
    let table = Table::new(&read.entries, &read.entries, 60, true);
    for entry in &read.entries {
        let name = Name::from_wire(&entry.name).expect("a name");
        assert_eq!((name, entry.address), (name.lowered(), entry.address.to_canonical()));
        let (is_wildcard, is_lone) = (entry.name.starts_with(b"\x01*"), *entry.name == *b"\x01*\0");
        let family =
            |v6: bool| table.name(&name).and_then(|found| if v6 { found.aaaa.as_ref() } else { found.a.as_ref() });
        assert_eq!(family(entry.address.is_ipv6()).is_some(), !is_lone, "{name}");
        assert!(is_wildcard || table.address(entry.address).is_some(), "{name}");
    }
}

/// Zone files: whatever a zone has, every question gets a whole message; mistakes have a line of
/// the file.
pub(crate) fn check_zone(data: &[u8]) {
    let origin = Name::from_text("a.test").expect("a name");
    // The fuzzer reads no files.
    if data.to_ascii_uppercase().windows(8).any(|word| word == b"$INCLUDE") {
        return;
    }
    let text = [b"@ 60 SOA ns host 1 2 3 4 5\n", data].concat();
    let lines = text.iter().filter(|&&octet| octet == b'\n').count() + 1;
    let zone = match read(Path::new("db"), &text, &origin, None) {
        Ok(read) => read.expect("no serial is known").zone,
        Err(mistake) => return assert!(mistake.line <= lines, "{mistake}"),
    };
    check_answers(&zone);
}

/// Transfers from a primary: what becomes a zone answers like one that was read from a file.
pub(crate) fn check_transfer(data: &[u8]) {
    let origin = Name::from_text("a.test").expect("a name");
    if let Ok(Progress::Done(zone)) = Incoming::new(&origin, 0, None).message(data) {
        check_answers(&zone);
    }
}

/// Every question gets a whole message, and asked again the same.
fn check_answers(zone: &Zone) {
    let origin = zone.origin();
    assert_eq!(zone.records().count(), zone.records().count());
    for record in zone.records().take(8) {
        let owner = Name::from_wire(record.owner).expect("a name");
        let below = owner.below([b"x".as_slice()]);
        for name in std::iter::once(owner).chain(below) {
            for qtype in [record.rtype, rtype::A, rtype::CNAME] {
                let ask = |dnssec| match zone.answer(&name, name.wire(), qtype, dnssec) {
                    Answered::Whole(answer, _) => written(&packet(&name, qtype, None), &Reply::memory(answer), 65_535),
                    Answered::Outside(target) => {
                        assert!(!target.lowered().is_under(origin));
                        Vec::new()
                    }
                };
                let message = ask(true);
                assert!(message.is_empty() || records(&message).is_some(), "{name} {qtype}");
                assert_eq!(ask(false), ask(false), "{name} {qtype}");
            }
        }
    }
}

/// Reverse names: a name that stands for an address is that address's only name.
pub(crate) fn check_reverse(data: &[u8]) {
    let text = String::from_utf8_lossy(data);
    for name in [
        Name::from_text(&text),
        Name::from_text(&format!("{text}.in-addr.arpa")),
        Name::from_text(&format!("{text}.ip6.arpa")),
    ] {
        let Some(name) = name.ok().map(Name::lowered) else { continue };
        match reverse::parse(&name) {
            Some(Reverse::Address(address)) => {
                let back = HickoryName::from(address).to_ascii();
                assert_eq!(name.to_string(), back);
            }
            Some(Reverse::Prefix(octets)) => {
                let labels: Vec<_> = octets.as_slice().iter().rev().map(ToString::to_string).collect();
                assert_eq!(name.to_string(), format!("{}.in-addr.arpa.", labels.join(".")));
            }
            None => {}
        }
    }
}

thread_local! {
    static CLUSTER: Cluster = Cluster::small();
}

/// Names below a cluster zone: the parsed parts lie within the name, and hickory can read every
/// answer.
pub(crate) fn check_kubernetes(data: &[u8]) {
    CLUSTER.with(|cluster| check_cluster(cluster, data));
}

fn check_cluster(cluster: &Cluster, data: &[u8]) {
    let Ok(name) = Name::from_text(&format!("{}.cluster.local", spelled(data))) else { return };
    let name = name.lowered();
    let base = &name.wire()[..name.len() - cluster.zone.name.len()];
    for schema in [(false, false), (true, false), (false, true), (true, true)] {
        let schema = Schema { multicluster: schema.0, zonal: schema.1, ..Schema::default() };
        let ask = parse(&name, &cluster.zone.name, schema);
        if let Ask::Service { key, namespace, .. } = ask {
            let parts: Vec<&[u8]> = labels(key).collect();
            assert!(
                parts.len() == 2 && parts[1] == namespace && base.ends_with(&[key, b"\x03svc"].concat()),
                "{ask:?}"
            );
        }
    }
    for qtype in [1, 28, 33, 16, 255] {
        let Some(answer) = cluster.answer(name.wire(), &name, qtype) else { continue };
        let out = written(&packet(&name, qtype, Some(1232)), &Reply::memory(answer), 1232);
        let message = Message::from_vec(&out).expect("our answers can be read");
        assert!(out.len() <= 1232);
        for record in &message.answers {
            assert_eq!(record.name.to_string(), name.to_string(), "what was asked is answered");
        }
    }
}

/// Random octets rarely spell the words that matter, so some octets stand for these words.
fn spelled(data: &[u8]) -> String {
    const WORDS: &[&str] = &[
        "svc",
        "pod",
        "default",
        "web",
        "db",
        "db-3",
        "_sql",
        "_tcp",
        "_http",
        "10-244-1-3",
        "ns",
        "dns",
        "_zone",
        "pin",
    ];
    let word = |byte: &u8| match WORDS.get(usize::from(byte % 32)) {
        Some(word) => (*word).to_owned(),
        None => format!("\\{byte:03}x"),
    };
    data.iter().map(word).collect::<Vec<_>>().join(".")
}

/// Records of a snapshot: objects that a store takes in, or a refusal.
pub(crate) fn check_snapshot(data: &[u8]) {
    let Some(count) = snapshot::objects::read(data, |_, _| {}) else { return };
    assert!(count <= data.len() as u64);
    let mut cluster = Cluster::empty();
    snapshot::objects::read(data, |kind, object| cluster.apply(kind, object)).expect("it was read before");
    cluster.store.publish();
    let mut out = Vec::new();
    snapshot::objects::write(&cluster.index, &mut out).expect("memory");
    snapshot::objects::read(&out, |_, _| {}).expect("what was written can be read");
}

/// Kubernetes objects in JSON and in protobuf: every object that can be read can be added, shown,
/// asked for and removed.
pub(crate) fn check_objects(data: &[u8]) {
    let keep = Keep { endpoint_pod_names: true, zonal: true, external: true };
    for kind in [Kind::Namespace, Kind::Service, Kind::Slice, Kind::Pod, Kind::Import, Kind::ImportSlice] {
        let mut from = serde_json::Deserializer::from_slice(data);
        let read = decode(kind, &mut from, keep).ok().or_else(|| decode(kind, protobuf::object(kind, data), keep).ok());
        let Some(Decoded { news: News::Is(object), .. }) = read else { continue };
        let mut cluster = Cluster::empty().synced();
        let key = object.key();
        cluster.apply(kind, object);
        cluster.store.publish();
        check_cluster(&cluster, b"\x03\x02\x00");
        check_cluster(&cluster, b"\x06\x07\x04\x02\x00");
        cluster.store.delete(kind, &key);
        cluster.store.publish();
        assert_eq!(cluster.store.count(kind), usize::from(kind == Kind::Namespace && &*key.name != "default"));
    }
}
