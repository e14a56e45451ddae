//! What scenarios cannot show: transfers of several messages, the size limit, and NOTIFY.

use std::fmt::Write;

use crate::chain::Proto;
use crate::testing::kit::signed::{ClientKey, Signed};
use crate::testing::live::Live;
use crate::wire::name::Name;
use crate::wire::question::{Opt, Question};
use crate::wire::request::flag;
use crate::wire::types::{opcode, rcode, rtype};

fn key() -> ClientKey {
    ClientKey::read("hmac-sha256:k.test:YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXo=").expect("a key")
}

/// A server with a zone of these many names and a key, which transfers and NOTIFY need.
fn live(names: usize) -> (Live, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    let mut zone = "@ 60 SOA ns host 1 2 3 4 5\n@ NS ns\n".to_owned();
    (0..names).for_each(|number| writeln!(zone, "host-{number} A 192.0.2.1\nmany TXT {number}").expect("to memory"));
    std::fs::write(folder.path().join("db"), zone).expect("written");
    let live = Live::new(&format!(
        "z.test {{\nroot {}\ntsig {{\nsecret k.test YWJjZGVmZ2hpamtsbW5vcHFyc3R1dnd4eXo=\nrequire AXFR\nrequire_opcode \
         NOTIFY\n}}\ntransfer {{\nto *\n}}\nfile db\nsecondary copy.z.test {{\ntransfer from 127.0.0.1:1\n}}\n}}\n",
        folder.path().display()
    ));
    (live, folder)
}

fn question(name: &str, qtype: u16) -> Question {
    Question::new(Name::from_text(name).expect("a name"), qtype)
}

/// Sends a signed query. Returns the messages of the reply, each checked with the one before it.
fn ask(live: &Live, query: &[u8], proto: Proto) -> Vec<Signed> {
    let (key, now) = (key(), live.server.host.clock.seconds_since_1970());
    let query = key.sign(query, now);
    let (mut before, mut read) = (key.mac_of(&query).to_vec(), Vec::new());
    for (at, message) in live.messages(&query, proto).iter().enumerate() {
        let signed = key.check(message, &before, at == 0).expect("each message is signed");
        before.clone_from(&signed.mac);
        read.push(signed);
    }
    read
}

fn rcode_of(message: &[u8]) -> u16 {
    u16::from(message[3] & 0xF)
}

#[test]
fn each_message_of_a_transfer_is_signed() {
    let (live, _folder) = live(3000);
    let axfr = question("z.test", rtype::AXFR).query(7, 0, None);
    let unsigned = live.messages(&axfr, Proto::Tcp);
    assert_eq!((unsigned.len(), rcode_of(&unsigned[0])), (1, rcode::REFUSED));
    let messages = ask(&live, &axfr, Proto::Tcp);
    assert!(messages.len() > 5, "{}", messages.len());
    let records: usize =
        messages.iter().map(|signed| usize::from(u16::from_be_bytes([signed.message[6], signed.message[7]]))).sum();
    assert_eq!(records, 2 + 1 + 6000);
}

#[test]
fn a_signed_reply_has_the_size_that_the_client_takes() {
    let (live, _folder) = live(200);
    for size in [512, 600, 1232] {
        let query = question("many.z.test", rtype::TXT).query(7, flag::RD, Some(Opt::of_size(size)));
        let now = live.server.host.clock.seconds_since_1970();
        let [message] = &live.messages(&key().sign(&query, now), Proto::Udp)[..] else { panic!("one message") };
        let len = message.len();
        assert!(len <= usize::from(size) && len > usize::from(size) - 30, "{len} of {size}");
        let [signed] = &ask(&live, &query, Proto::Udp)[..] else { panic!("one message") };
        assert_ne!(signed.message[2] & 2, 0, "TC");
    }
}

#[test]
fn notify_is_checked_too() {
    let (live, _folder) = live(1);
    let notify = |name: &str| question(name, rtype::SOA).query(7, u16::from(opcode::NOTIFY) << 11, None);
    assert_eq!(rcode_of(&live.messages(&notify("copy.z.test"), Proto::Udp)[0]), rcode::REFUSED);
    assert_eq!(rcode_of(&ask(&live, &notify("copy.z.test"), Proto::Udp)[0].message), rcode::NOERROR);
    assert_eq!(rcode_of(&ask(&live, &notify("z.test"), Proto::Udp)[0].message), rcode::NOTIMP);
    let refused = live.metric("signpost_tsig_requests_total{server=\"dns://:53\",result=\"refused\"}");
    let ok = live.metric("signpost_tsig_requests_total{server=\"dns://:53\",result=\"ok\"}");
    assert_eq!((refused, ok), (1.0, 2.0));
}
