//! Every plugin that makes answers, at the limits of labels, names and messages: a parser accepts
//! every reply.

use hickory_proto::op::Message;
use proptest::collection::vec;
use proptest::prelude::*;
use signpost::wire::answer::Section;
use signpost::wire::encode::{Encoder, Owner, Tail, Written};
use signpost::wire::name::Name;
use signpost::wire::reply::{Order, Reply};
use signpost::wire::types::rtype;

use super::kit::message::{packet, written};
use super::kit::whole::Whole;
use super::lengths::{EXTERNAL, ZONES, below_external, below_zone, cluster, label, name_of};
use super::strict::{Read, read};

/// Sizes that clients accept: a datagram without EDNS, with EDNS, our largest, and a stream.
const LIMITS: [usize; 4] = [512, 1232, 4096, 65_535];

const TYPES: &[u16] = &[
    rtype::A,
    rtype::AAAA,
    rtype::SRV,
    rtype::PTR,
    rtype::NS,
    rtype::SOA,
    rtype::TXT,
    rtype::CNAME,
    rtype::MX,
    255,
    65,
];

//----------- Asking ---------------------------------------------------------

fn wire(text: &str) -> Option<Name> {
    Name::from_text(text).ok()
}

/// Returns the reply to a question as every client reads it. Adds the records of its largest form
/// to `seen`.
fn ask(whole: &mut Whole, text: &str, qtype: u16, seen: &mut usize) -> Option<Read> {
    let query = packet(&wire(text)?, qtype, Some(65_535));
    let reply = whole.reply(&query).unwrap_or_else(|| panic!("no reply: {text} {qtype}"));
    let whole = check(&query, &reply, text);
    *seen += whole.counts.iter().sum::<usize>();
    Some(whole)
}

fn check(query: &[u8], reply: &Reply, text: &str) -> Read {
    let mut largest = None;
    for (at, limit) in LIMITS.into_iter().enumerate() {
        for order in [Order::Stored, Order::Shuffled(at as u32 + 7)] {
            let out = written(query, &Reply { order, ..reply.clone() }, limit);
            assert!(out.len() <= limit, "{} octets of {limit}: {text}", out.len());
            let wrong = |why: String| panic!("{text} {:?} at {limit}: {why}\n{out:02X?}", &query[query.len() - 15..]);
            let strict = read(&out, query).unwrap_or_else(wrong);
            if let Err(error) = Message::from_vec(&out) {
                panic!("{text} at {limit}: {error}");
            }
            largest = Some(strict);
        }
    }
    largest.expect("a limit")
}

//----------- Tests ----------------------------------------------------------

/// Returns how a name of an answer ends: with the root, the asked name, its zone, or a name written
/// before.
fn tail(kind: u8, zone_len: u8, before: &[Written]) -> Tail {
    match (kind % 4, before) {
        (1, _) => Tail::Asked,
        (2, _) => Tail::AskedEnd(zone_len),
        (3, [_, ..]) => Tail::Written(before[usize::from(kind) % before.len()]),
        _ => Tail::Root,
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_answer_with_names_of_any_length_can_be_read(
        asked_len in 4..=255_usize,
        names in vec((vec(1..=63_usize, 0..5), any::<u8>(), vec(1..=63_usize, 0..5), any::<u8>()), 1..12),
    ) {
        let asked = wire(&name_of('q', asked_len)).expect("a name");
        let zone = asked.parent();
        let labels = |lens: &[usize]| lens.iter().fold(Vec::new(), |mut wire, len| {
            wire.push(*len as u8);
            wire.extend(std::iter::repeat_n(b'l', *len));
            wire
        });
        let mut written = Vec::new();
        let answer = Encoder::build(asked.len(), |e| {
            for (owner, owner_tail, target, target_tail) in &names {
                let (owner, target) = (labels(owner), labels(target));
                let owner = Owner::new(&owner, tail(*owner_tail, zone.len() as u8, &written));
                let target = Owner::new(&target, tail(*target_tail, zone.len() as u8, &written));
                written.extend(e.pointer(Section::Answer, owner, rtype::NS, 30, target));
            }
        });
        let query = packet(&asked, rtype::NS, Some(65_535));
        let read = check(&query, &Reply::memory(answer.into()), "any");
        prop_assert!(!read.truncated && read.counts == [written.len(), 0, 0]);
    }
}

#[test]
fn names_of_the_cluster_at_every_limit() {
    let (mut whole, mut records, mut questions) = (cluster(), 0, 0);
    let zones = ZONES.iter().map(|(letter, len)| name_of(*letter, *len));
    let zones = zones.chain(["cluster.local.".into(), "set.test.".into(), format!("set.{}", name_of('x', 59))]);
    let mut names: Vec<String> = zones.flat_map(|zone| below_zone(&zone)).collect();
    names.extend(EXTERNAL.iter().flat_map(|(letter, len)| below_external(&name_of(*letter, *len))));
    names.extend(
        ["1.0.1.10.in-addr.arpa.", "9.0.0.10.in-addr.arpa.", "1.0.9.10.in-addr.arpa.", "0.1.10.in-addr.arpa."]
            .map(String::from),
    );
    for name in &names {
        for qtype in TYPES {
            questions += usize::from(ask(&mut whole, name, *qtype, &mut records).is_some());
        }
    }
    // Enough questions and records were tested.
    assert!(questions > 3000 && records > 20_000, "{questions} questions, {records} records");
}

#[test]
fn a_target_that_is_too_long_is_left_out_and_the_rest_stays() {
    let (mut whole, mut records) = (cluster(), 0);
    let mut targets = |text: &str, qtype| ask(&mut whole, text, qtype, &mut records).expect("a name").targets;
    let service = |zone: &str| format!("{}.{}.svc.{zone}", label('s'), label('n'));
    let srv = |letter, len| service(&name_of(letter, len));
    let longest = |found: &[(u16, Vec<u8>)]| found.iter().map(|(_, name)| name.len()).max();
    // Two ports of each of the six IPv4 addresses (two of which share a name) and of the two IPv6
    // addresses.
    let fits = targets(&srv('c', 59), rtype::SRV);
    assert_eq!((fits.len(), longest(&fits)), (14, Some(255)));
    let cut = targets(&srv('d', 60), rtype::SRV);
    assert!(cut.len() == 10 && longest(&cut) < Some(255), "{cut:?}");
    // The names of an address beyond the reach of a pointer, all of them.
    let names = targets("1.0.9.10.in-addr.arpa.", rtype::PTR);
    assert_eq!(names.len(), 600);
    // What does not fit into a message is cut, with TC set.
    let query = packet(&wire("many.n.svc.cluster.local.").expect("a name"), rtype::SRV, Some(65_535));
    let reply = whole.reply(&query).expect("a reply");
    assert!(check(&query, &reply, "many").truncated);
}

#[test]
fn other_makers_of_answers_at_every_limit() {
    let (long, rest) = (name_of('y', 255), name_of('y', 191));
    let hosts: String = (0..1200).map(|i| format!(" 192.0.{}.{} many.test\n", i / 256, i % 256)).collect();
    let names: String =
        (0..300).map(|i| format!(" 198.51.100.1 {}-{i}.{}\n", "p".repeat(50), name_of('r', 100))).collect();
    let corefile = format!(
        ".:53 {{\n chaos\n nsid\n rewrite name suffix .{rest} .tpl.test.\n rewrite name suffix .short.test. .{} answer auto\n \
         rewrite name suffix .grown.test. .tpl.test. answer auto\n hosts {{\n 192.0.2.1 {long} short.test\n 2001:db8::1 {long}\n{hosts}{names} fallthrough\n }}\n \
         dns64\n template IN ANY tpl.test {{\n answer \"{{{{ .Name }}}} 60 IN CNAME a.b.c.{{{{ .Name }}}}\"\n \
         answer \"{{{{ .Name }}}} 60 IN SRV 1 2 3 a.b.c.{{{{ .Name }}}}\"\n authority \"tpl.test. 60 IN SOA a.{{{{ .Name }}}} b.{{{{ .Name }}}} 1 2 3 4 5\"\n }}\n \
         template IN ANY any.test {{\n answer \"{{{{ .Name }}}} 60 IN TXT \\\"{}\\\"\"\n answer \"{{{{ .Name }}}} 60 IN MX 1 x.{{{{ .Name }}}}\"\n }}\n whoami\n}}\n",
        name_of('r', 100),
        "t".repeat(255)
    );
    let (mut whole, mut records) = (Whole::start(&corefile, ""), 0);
    let mut names: Vec<String> = vec![
        long.clone(),
        "many.test.".into(),
        "1.100.51.198.in-addr.arpa.".into(),
        "1.2.0.192.in-addr.arpa.".into(),
        ".".into(),
    ];
    for front in (1..4).chain(50..64) {
        let front = "f".repeat(front);
        names.extend([format!("{front}.{rest}"), format!("{front}.tpl.test."), format!("{front}.any.test.")]);
    }
    // Names with an alias, a whoami record, or a client's spelling of 253 to 256 octets.
    for len in 225..=244 {
        names.extend(
            ["tpl.test.", "any.test.", "grown.test.", "short.test."].map(|end| format!("{}{end}", name_of('f', len))),
        );
        names.push(name_of('w', len + 11));
    }
    for name in &names {
        for qtype in TYPES {
            ask(&mut whole, name, *qtype, &mut records);
        }
    }
    assert!(records > 3000, "{records} records");
}

#[test]
fn search_lists_at_every_limit() {
    let folder = tempfile::tempdir().expect("a folder");
    let (file, far) = (folder.path().join("resolv.conf"), name_of('y', 200));
    std::fs::write(&file, format!("nameserver 127.0.0.1\nsearch first.test {far} found.test\n")).expect("written");
    let corefile = format!(
        ".:53 {{\n autopath first.test {}\n template IN ANY first.test {far} {{\n rcode NXDOMAIN\n }}\n \
         template IN ANY found.test {{\n answer \"{{{{ .Name }}}} 60 IN A 192.0.2.1\"\n \
         answer \"{{{{ .Name }}}} 60 IN SRV 1 2 3 a.{{{{ .Name }}}}\"\n }}\n}}\n",
        file.display()
    );
    let (mut whole, mut records) = (Whole::start(&corefile, ""), 0);
    for len in (2..5).chain(40..60).chain(225..=244) {
        for qtype in TYPES {
            ask(&mut whole, &format!("{}first.test.", name_of('f', len)), *qtype, &mut records);
        }
    }
    assert!(records > 1000, "{records} records");
}

#[test]
fn no_question_gets_records_of_another_class() {
    let whole = cluster();
    let names =
        ["many.n.svc.cluster.local.", "nothing.n.svc.cluster.local.", "cluster.local.", "1.0.1.10.in-addr.arpa."];
    let external = name_of('q', 62);
    for (name, is_cluster) in names.into_iter().chain([&*external]).map(|name| (name, true)).chain([("x.test.", false)])
    {
        for class in [0, 1, 2, 3, 4, 254, 255, 9999_u16] {
            let mut query = packet(&wire(name).expect("a name"), rtype::A, Some(1232));
            let at = query.len() - 13;
            query[at..at + 2].copy_from_slice(&class.to_be_bytes());
            let read = check(&query, &whole.reply(&query).expect("a reply"), name);
            // Of class ANY, `whoami` answers with records of class IN.
            let wanted = if class == 255 { 1 } else { class };
            assert!(read.classes.iter().all(|class| *class == wanted), "{name} {class}: {read:?}");
            assert_eq!(read.rcode == 5, is_cluster && class != 1, "{name} {class}: {read:?}");
        }
    }
}
