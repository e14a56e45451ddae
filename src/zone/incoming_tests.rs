//! Transfers as a primary sends them, message by message.

use super::*;
use crate::wire::answer::{Answer, Section};
use crate::wire::encode::{Encoder, Owner};
use crate::wire::question::Question;

const ID: u16 = 0;

fn name(text: &str) -> Name {
    Name::from_text(text).expect("a name")
}

/// `SERIAL` is a SOA record with that serial; `NAME ADDRESS` an A record, `NAME alias` a CNAME.
fn put(e: &mut Encoder<'_>, record: &str) {
    let (owner, data) = record.split_once(' ').unwrap_or(("z.test", record));
    let owner = name(owner);
    match data.parse::<u32>() {
        Ok(serial) => {
            let numbers = [serial, 60, 10, 600, 5].map(u32::to_be_bytes).concat();
            let data = [name("NS.z.test").wire(), name("host.z.test").wire(), &numbers].concat();
            e.record(Section::Answer, Owner::name(&owner), rtype::SOA, 5, |e| e.put(&data));
        }
        Err(_) => match data.parse() {
            Ok(address) => e.address(Section::Answer, Owner::name(&owner), 5, address),
            Err(_) => {
                e.record(Section::Answer, Owner::name(&owner), rtype::CNAME, 5, |e| e.put(name(data).wire()));
            }
        },
    }
}

/// A message with these records.
fn message(records: &[&str]) -> Vec<u8> {
    let answer: Answer = Encoder::build(8, |e| records.iter().for_each(|record| put(e, record)));
    answer.message(&Question::new(name("z.test"), rtype::AXFR))
}

/// Reads messages up to the end of the transfer. Returns `serial: A records and aliases`.
fn read(known: Option<&Arc<Zone>>, messages: &[&[&str]]) -> Result<String, String> {
    let mut incoming = Incoming::new(&name("Z.test"), ID, known.cloned());
    for records in messages {
        match incoming.message(&message(records))? {
            Progress::More(next) => incoming = *next,
            Progress::Current => return Ok("current".to_owned()),
            Progress::Done(zone) => return Ok(shown(&zone)),
        }
    }
    Ok("more".to_owned())
}

fn shown(zone: &Zone) -> String {
    let owner =
        |record: &super::super::data::ZoneRecord<'_>| Name::from_wire(record.owner).expect("a name").to_string();
    let others: Vec<String> = zone.records().skip(1).map(|record| owner(&record)).collect();
    format!("{}: {}", zone.soa().serial, others.join(" "))
}

/// The zone in its first version.
fn first() -> Arc<Zone> {
    let incoming = Incoming::new(&name("z.test"), ID, None);
    let records = ["1", "a.z.test 192.0.2.1", "b.z.test 192.0.2.2", "c.z.test a.z.test", "1"];
    match incoming.message(&message(&records)) {
        Ok(Progress::Done(zone)) => Arc::from(zone),
        _ => panic!("not a zone"),
    }
}

#[test]
fn a_whole_zone_ends_with_its_soa() {
    assert_eq!(shown(&first()), "1: a.z.test. b.z.test. c.z.test.");
    let messages: &[&[&str]] =
        &[&["7"], &["a.z.test 192.0.2.1"], &["B.z.test 192.0.2.1", "x.other.test 192.0.2.1"], &["7"]];
    assert_eq!(read(None, messages).as_deref(), Ok("7: a.z.test. b.z.test."));
    assert_eq!(read(None, &messages[..3]).as_deref(), Ok("more"));
    assert_eq!(read(None, &[&["7", "7", "a.z.test 192.0.2.1"]]).as_deref(), Ok("7: "), "what follows is not read");
}

#[test]
fn what_is_no_transfer() {
    let wrong = |messages: &[&[&str]]| read(None, messages).expect_err("no transfer");
    assert_eq!(wrong(&[&["a.z.test 192.0.2.1"]]), "the first record is not the SOA record");
    assert_eq!(wrong(&[&["other.test 7"]]), "a SOA record of other.test.");
    assert_eq!(wrong(&[&["7"], &[]]), "a message without records");
    assert_eq!(wrong(&[&["7", "a.z.test 192.0.2.1"], &["8"]]), "a SOA record of another version");
    assert_eq!(wrong(&[&["7", "6"]]), "changes of a version that is not known");
    let good = message(&["7"]);
    let changed = |at: usize, octet: u8| {
        let mut message = good.clone();
        message[at] = octet;
        Incoming::new(&name("z.test"), ID, None).message(&message).err().expect("refused")
    };
    assert_eq!(changed(3, 5), "rcode was REFUSED");
    assert_eq!(changed(2, 0x86), "a truncated message");
    assert_eq!(
        (changed(2, 0x04), changed(1, 9)),
        ("a message that is not the reply".into(), "a message that is not the reply".into())
    );
    assert_eq!(changed(7, 2), UNREADABLE);
    let mut incoming = Incoming::new(&name("z.test"), ID, None);
    incoming.octets = MOST_OCTETS;
    assert_eq!(incoming.message(&good).err().expect("refused"), "more than 1073741824 octets");
    assert_eq!(Incoming::new(&name("z.test"), ID, None).message(&good[..11]).err().expect("refused"), UNREADABLE);
}

#[test]
fn changes_lead_from_one_version_to_the_next() {
    let known = first();
    let changes = |messages: &[&[&str]]| read(Some(&known), messages);
    let step: &[&str] =
        &["3", "1", "a.z.test 192.0.2.1", "2", "d.z.test 192.0.2.9", "2", "b.z.test 192.0.2.2", "3", "3"];
    assert_eq!(changes(&[step]).as_deref(), Ok("3: c.z.test. d.z.test."));
    let one_by_one: Vec<Vec<&str>> = step.iter().map(|record| vec![*record]).collect();
    let messages: Vec<&[&str]> = one_by_one.iter().map(Vec::as_slice).collect();
    assert_eq!(changes(&messages).as_deref(), Ok("3: c.z.test. d.z.test."));
    assert_eq!(changes(&[&["1"]]).as_deref(), Ok("current"));
    assert_eq!(changes(&[&["2", "d.z.test 192.0.2.9", "2"]]).as_deref(), Ok("2: d.z.test."), "the whole zone instead");
    assert!(changes(&[&["3", "2", "a.z.test 192.0.2.1"]]).is_err(), "not our version");
    assert!(changes(&[&["2", "1", "a.z.test 192.0.2.77", "2", "2"]]).is_err(), "a record that is not there");
    assert!(changes(&[&["3", "1", "2", "4"]]).is_err(), "a gap");
    assert_eq!(shown(&known), "1: a.z.test. b.z.test. c.z.test.", "the known version stays");
}

/// Any octets, and any one octet of a good transfer changed, end in an error or a zone.
#[test]
fn hostile_messages_do_no_harm() {
    let mut random = fastrand::Rng::with_seed(7);
    let good = message(&["3", "1", "a.z.test 192.0.2.1", "2", "d.z.test 192.0.2.9", "3", "3"]);
    for _ in 0..20_000 {
        let mut message = good.clone();
        for _ in 0..random.usize(1..4) {
            let at = random.usize(4..message.len());
            message[at] = random.u8(..);
        }
        message.truncate(random.usize(12..=message.len()));
        let known = random.bool().then(first);
        let _ = Incoming::new(&name("z.test"), ID, known).message(&message);
    }
}
