//! Replies are read, written into a message, and read again by another codec.

use super::super::{reply, request, write};
use super::*;
use hickory_proto::op::{Message, MessageType, OpCode, Query};
use hickory_proto::rr::rdata::{A, CNAME, MX};
use hickory_proto::rr::{Name as HName, RData, Record, RecordType};
use std::sync::Arc;

fn h(text: &str) -> HName {
    text.parse().expect("a name")
}

fn upstream(question: &str, qtype: RecordType, answers: Vec<Record>, additionals: Vec<Record>) -> Vec<u8> {
    let mut message = Message::new(7, MessageType::Response, OpCode::Query);
    message.add_query(Query::query(h(question), qtype));
    message.add_answers(answers);
    message.add_additionals(additionals);
    message.to_vec().expect("encodes")
}

fn asking(name: &str, qtype: u16) -> Question {
    Question::new(Name::from_text(name).expect("a name"), qtype)
}

/// Returns the reply to `question` as a client gets it, decoded by hickory.
fn relayed(answer: Answer, question: &str, qtype: u16, order: reply::Order) -> Message {
    let packet = asking(question, qtype).query(9, flag::RD, None);
    let request::Gate::Pass(request) = request::gate(&packet) else { panic!("refused") };
    let reply = reply::Reply { order, ..reply::Reply::fetched(Arc::new(answer)) };
    let mut out = Vec::new();
    write::Writer::default().reply(&packet, &request, &reply, 65_535, &mut out);
    Message::from_vec(&out).expect("decodes")
}

#[test]
fn an_alias_chain_survives_any_order_and_any_case() {
    let records = vec![
        Record::from_rdata(h("a.example."), 60, RData::CNAME(CNAME(h("b.example.")))),
        Record::from_rdata(h("b.example."), 50, RData::A(A::new(192, 0, 2, 1))),
        Record::from_rdata(h("b.example."), 50, RData::A(A::new(192, 0, 2, 2))),
    ];
    let wire = upstream("a.example.", RecordType::A, records.clone(), vec![]);
    for seed in 0..20 {
        let answer = read(&wire, &asking("a.example.", 1)).expect("usable");
        assert!(answer.is_movable());
        let got = relayed(answer, "A.eXample.", 1, reply::Order::Shuffled(seed));
        assert_eq!(got.answers[0].data, records[0].data);
        assert_eq!(got.answers.len(), 3);
        assert!(got.answers[1..].iter().all(|r| r.name == h("b.example.") && records[1..].contains(r)));
    }
}

#[test]
fn pointers_into_records_that_move_are_written_anew() {
    // Additional points to MX targets, and MX records are shuffled.
    let mx = |n: u16, host: &str| Record::from_rdata(h("example."), 60, RData::MX(MX::new(n, h(host))));
    let a = |host: &str, n| Record::from_rdata(h(host), 60, RData::A(A::new(192, 0, 2, n)));
    let (answers, glue) =
        (vec![mx(1, "m1.example."), mx(2, "m2.example.")], vec![a("m1.example.", 1), a("m2.example.", 2)]);
    let wire = upstream("example.", RecordType::MX, answers.clone(), glue.clone());
    for seed in 0..20 {
        let answer = read(&wire, &asking("example.", 15)).expect("usable");
        assert!(answer.is_movable());
        let got = relayed(answer, "example.", 15, reply::Order::Shuffled(seed));
        assert!(answers.iter().all(|r| got.answers.contains(r)) && glue.iter().all(|r| got.additionals.contains(r)));
    }
}

#[test]
fn what_is_written_anew_is_as_short_in_any_case() {
    let len = |zone: &str| {
        let mail = h(&format!("mail.{zone}"));
        let answers = vec![Record::from_rdata(h(zone), 60, RData::MX(MX::new(1, mail.clone())))];
        let glue = vec![Record::from_rdata(mail, 60, RData::A(A::new(192, 0, 2, 1)))];
        let answer = read(&upstream(zone, RecordType::MX, answers, glue), &asking("example.", 15)).expect("usable");
        assert!(answer.is_movable(), "{zone}");
        answer.wire_len()
    };
    assert_eq!(len("eXample."), len("example."));
}

#[test]
fn a_pointer_may_be_longer_than_the_name_it_stands_for() {
    let mut wire = upstream(".", RecordType::A, vec![], vec![]);
    wire[7] = 1;
    wire.extend_from_slice(&[0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 60, 0, 4, 192, 0, 2, 1]);
    let answer = read(&wire, &asking(".", 1)).expect("usable");
    assert_eq!((answer.wire_len(), answer.plain_len(0)), (16, 15));
}

#[test]
fn what_is_no_reply_to_the_question() {
    let wire = upstream("a.example.", RecordType::A, vec![], vec![]);
    assert_eq!(read(&wire, &asking("b.example.", 1)), Err(Unusable::OtherQuestion));
    assert_eq!(read(&wire, &asking("a.example.", 28)), Err(Unusable::OtherQuestion));
    assert_eq!(read(&wire[..20], &asking("a.example.", 1)), Err(Unusable::Malformed));
    let mut query = wire.clone();
    query[2] &= 0x7F;
    assert_eq!(read(&query, &asking("a.example.", 1)), Err(Unusable::OtherQuestion));
}

#[test]
fn pointers_that_lead_astray() {
    let reply = |question: &[u8], owner: &[u8]| {
        let header: &[u8] = b"\0\x07\x84\0\0\x01\0\x01\0\0\0\0";
        [header, question, b"\0\x01\0\x01", owner, b"\0\x01\0\x01\0\0\0\x3C\0\x04\xC0\0\x02\x01"].concat()
    };
    let plain = |message: &[u8]| read(message, &asking("a.", 1)).map(|answer| answer.plain_len(0));
    assert_eq!(plain(&reply(b"\x01a\0", b"\xC0\x0C")), Ok(17));
    assert_eq!(plain(&reply(b"\x01a\0", b"\xC0\x0E")), Ok(15), "the root, in two octets");
    assert_eq!(plain(&reply(b"\x01a\0", b"\xC0\x04")), Err(Unusable::Malformed), "into the header");
    assert_eq!(read(&reply(b"\xC0\0", b"\0"), &asking(".", 1)), Err(Unusable::Malformed), "from the question");
}
