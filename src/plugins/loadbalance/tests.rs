//! The order of records in whole replies.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr};

use super::*;
use crate::testing::{Server, packet};
use crate::wire::answer::{Answer, Section};
use crate::wire::encode::{Encoder, Owner, Tail};
use crate::wire::name::Name;
use crate::wire::write::Writer;
use hickory_proto::op::Message;

/// Builds `a.test.` with addresses ending in these numbers; a text and an alias follow if `mixed`.
fn answer(last: &[u8], mixed: bool) -> Arc<Answer> {
    Arc::new(Encoder::build(8, |e| {
        for &last in last {
            e.address(Section::Answer, Owner::ASKED, 5, Ipv4Addr::new(10, 0, last / 100, last).into());
        }
        if mixed {
            e.record(Section::Answer, Owner::ASKED, rtype::TXT, 5, |e| e.put(b"\x01t"));
            e.pointer(Section::Answer, Owner::ASKED, rtype::CNAME, 5, Owner::new(b"\x01b", Tail::Asked));
        }
    }))
}

/// Returns the answer section in wire order, one letter or number a record.
fn written(plugin: &LoadBalance, answer: &Arc<Answer>, qtype: &str) -> Vec<String> {
    let packet = packet("A.test.", qtype);
    let server = Server::new(". {\nwhoami\n}\n");
    let (mut query, _) = server.outcome(&packet, "10.0.0.1:53".parse().expect("an address")).expect("a reply");
    let listener = &server.configuration.listeners[0];
    let mut reply = Reply::memory(answer.clone());
    plugin.reply(&mut query, &mut reply, &Here { listener, site: &listener.sites()[0], seat: 0 });
    let mut out = Vec::new();
    Writer::default().reply(&packet, &query.request, &reply, 65_535, &mut out);
    let message = Message::from_vec(&out).expect("a message");
    let short = |text: String| text.rsplit([' ', '.']).find(|part| !part.is_empty()).unwrap_or_default().to_owned();
    message.answers.iter().map(|record| short(record.to_string())).collect()
}

#[test]
fn every_order_is_as_likely_as_any_other() {
    let plain = answer(&[1, 2, 3], false);
    let packet = packet("a.test.", "A");
    let crate::wire::request::Gate::Pass(request) = crate::wire::request::gate(&packet) else { panic!("not a query") };
    let (mut orders, mut writer, mut out) = (HashMap::<Vec<u8>, f64>::new(), Writer::default(), Vec::new());
    let mut reply = Reply::memory(plain);
    let mut random = fastrand::Rng::with_seed(7);
    for _ in 0..10_000 {
        reply.order = Order::Shuffled(random.u32(..));
        out.clear();
        writer.reply(&packet, &request, &reply, 1232, &mut out);
        // Each record has 16 octets; the last one is the last octet of the address.
        let first = request.question_end() + 15;
        *orders.entry(vec![out[first], out[first + 16], out[first + 32]]).or_default() += 1.0;
    }
    let expected = 10_000.0 / 6.0;
    let chi_square: f64 = orders.values().map(|count| (count - expected) * (count - expected) / expected).sum();
    assert_eq!(orders.len(), 6);
    assert!(chi_square < 25.0, "{chi_square}: {orders:?}");
}

#[test]
fn aliases_come_first_and_addresses_last() {
    let mixed = answer(&[1, 2], true);
    let mut firsts = HashMap::<String, u32>::new();
    for _ in 0..100 {
        let order = written(&LoadBalance::RoundRobin, &mixed, "A");
        assert_eq!(order[..2], ["test", "t"], "{order:?}");
        *firsts.entry(order[2].clone()).or_default() += 1;
    }
    assert_eq!(firsts.len(), 2);
}

#[test]
fn what_has_no_choice_keeps_its_order() {
    assert!(!order::has_choice(&answer(&[1], false)));
    assert!(order::has_choice(&answer(&[1, 2], false)));
    assert!(order::has_choice(&answer(&[1], true)), "the alias has to come first");
    assert_eq!(written(&LoadBalance::RoundRobin, &answer(&[3, 2, 1], false), "AXFR"), ["3", "2", "1"]);
}

#[test]
fn preferred_networks_come_first_and_others_last() {
    let network = |text: &str| value::cidr(text).expect("a network");
    let plugin = LoadBalance::Prefer(vec![network("10.0.2.0/24"), network("10.0.1.0/24")]);
    for _ in 0..20 {
        let order = written(&plugin, &answer(&[1, 101, 2, 201, 102], true), "A");
        assert_eq!((order[0].as_str(), order[1].as_str(), order[6].as_str()), ("test", "201", "t"));
        let set = |range: std::ops::Range<usize>| {
            let mut part = order[range].to_vec();
            part.sort();
            part
        };
        assert_eq!((set(2..4), set(4..6)), (vec!["101".into(), "102".into()], vec!["1".into(), "2".into()]));
    }
}

#[test]
fn heavy_addresses_come_first_more_often() {
    let dir = tempfile::tempdir().expect("a folder");
    let file = dir.path().join("weights");
    std::fs::write(&file, "A.TEST\n10.0.0.2 8\n").expect("a file");
    let weights = Weights::open(file, Duration::ZERO, |_| {}).expect("weights");
    let plain = answer(&[1, 2, 3], false);
    let asked = Name::from_text("a.TEST.").expect("a name");
    let heavy = (0..1000).filter(|_| weights.order(&plain, asked.wire())[0] == 1).count();
    assert!((740..860).contains(&heavy), "{heavy} of 1000, about 800 were right");
    let plugin = LoadBalance::Weighted(Arc::new(weights));
    assert_eq!(written(&plugin, &plain, "TXT"), ["1", "2", "3"]);
    let mixed = written(&plugin, &answer(&[1, 2, 3], true), "A");
    assert_eq!((mixed[..2].to_vec(), mixed.len()), (vec!["test".to_owned(), "t".to_owned()], 5));
}

#[test]
fn owners_are_read_through_pointers() {
    let target = Name::from_text("c.b.test.").expect("a name");
    let answer = Encoder::build(8, |e| {
        let at =
            e.pointer(Section::Answer, Owner::ASKED, rtype::CNAME, 5, Owner::new(b"\x01c\x01b", Tail::AskedEnd(6)));
        let at = at.expect("room");
        e.address(Section::Answer, Owner::written(at), 5, IpAddr::from([10, 0, 0, 1]));
    });
    let owner = |index, asked: &str| answer.owner(index, Name::from_text(asked).expect("a name").wire());
    assert_eq!(owner(1, "a.test."), Some(target));
    assert_eq!(owner(1, "longer.test."), Some(target), "as in a message with a longer name in the question");
    assert_eq!(owner(0, "longer.test."), Name::from_text("longer.test.").ok());
    assert_eq!(owner(2, "a.test."), None);
}
