//! Messages on the wire: a query as a client writes it, a reply as a client reads it.

use hickory_proto::op::Message;
use signpost::chain::{Client, Proto};
use signpost::wire::name::Name;
use signpost::wire::question::{Opt, Question};
use signpost::wire::reply::Reply;
use signpost::wire::request::{Gate, HEADER, Request, flag, gate};
use signpost::wire::write::Writer;

/// A query with RD; `edns` is the payload size that an OPT says.
pub fn packet(name: &Name, qtype: u16, edns: Option<u16>) -> Vec<u8> {
    Question::new(*name, qtype).query(0x1234, flag::RD, edns.map(Opt::of_size))
}

/// The same for a name as text, with an OPT of 1232 octets.
pub fn query(name: &str, qtype: u16) -> Vec<u8> {
    packet(&Name::from_text(name).expect("a name"), qtype, Some(1232))
}

/// A client that asks over UDP.
pub fn client() -> Client {
    let address = |text: &str| text.parse().expect("an address");
    Client { peer: address("127.0.0.1:5353"), local: address("127.0.0.1:53"), proto: Proto::Udp }
}

/// What the gate reads from a packet that it lets pass.
pub fn request(packet: &[u8]) -> Request {
    match gate(packet) {
        Gate::Pass(request) => request,
        other => panic!("refused: {other:?}"),
    }
}

/// The reply to a packet as it goes out.
pub fn written(packet: &[u8], reply: &Reply, limit: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let len = Writer::default().reply(packet, &request(packet), reply, limit, &mut out);
    assert_eq!(len, out.len(), "the length that is told is the length that is written");
    out
}

/// The reply to a packet as hickory-proto reads it.
pub fn decoded(packet: &[u8], reply: &Reply, limit: usize) -> Message {
    Message::from_vec(&written(packet, reply, limit)).expect("what we write can be read")
}

/// One record as it stands in a message, its owner read and its data as it is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RawRecord {
    pub section: usize,
    pub owner: Name,
    pub rtype: u16,
    pub ttl: u32,
    pub rdata: std::ops::Range<usize>,
}

/// Walks all records of a message; `None` if that cannot be done to its very end.
pub fn records(message: &[u8]) -> Option<Vec<RawRecord>> {
    let word = |at: usize| Some(u16::from_be_bytes([*message.get(at)?, *message.get(at + 1)?]));
    let mut at = HEADER;
    for _ in 0..word(4)? {
        at = Name::from_message(message, at)?.1 + 4;
    }
    let mut all = Vec::new();
    for section in 0..3 {
        for _ in 0..word(6 + 2 * section)? {
            let (owner, fixed) = Name::from_message(message, at)?;
            let ttl = u32::from(word(fixed + 4)?) << 16 | u32::from(word(fixed + 6)?);
            let rdata = fixed + 10..fixed + 10 + usize::from(word(fixed + 8)?);
            message.get(rdata.clone())?;
            at = rdata.end;
            all.push(RawRecord { section, owner, rtype: word(fixed)?, ttl, rdata });
        }
    }
    (at == message.len()).then_some(all)
}
