//! A name server on port 53 of the namespace that records its questions.

use std::net::UdpSocket;
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

use hickory_proto::op::{Message, MessageType, ResponseCode};
use hickory_proto::rr::{RData, Record, RecordType};
use signpost::bench::ndots::{Family, Known};

use super::clients::ADDRESSES;

/// A question that no resolver asks: once it is answered, every earlier question has been read.
const FENCE: &str = "fence.";

/// The server.
pub(crate) struct Recorder {
    asked: Receiver<(String, Family)>,
    fence: UdpSocket,
}

impl Recorder {
    /// Starts a server that answers according to `known`.
    pub(crate) fn start(known: fn(&str, Family) -> Known) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:53").expect("the port is free in a namespace of our own");
        let fence = UdpSocket::bind("127.0.0.1:0").expect("a port");
        fence.connect("127.0.0.1:53").expect("loopback");
        fence.set_read_timeout(Some(Duration::from_secs(20))).expect("a time");
        let (sender, asked) = channel();
        std::thread::spawn(move || {
            let mut buffer = [0; 4096];
            while let Ok((len, peer)) = socket.recv_from(&mut buffer) {
                let (reply, question) = answer(&buffer[..len], known);
                // The test may be over.
                let _ = question.map(|question| sender.send(question));
                socket.send_to(&reply, peer).expect("loopback");
            }
        });
        Self { asked, fence }
    }

    /// Returns the questions since the last call.
    pub(crate) fn take(&self) -> Vec<(String, Family)> {
        let mut query = Message::query();
        query.add_query(hickory_proto::op::Query::query(FENCE.parse().expect("a name"), RecordType::TXT));
        self.fence.send(&query.to_vec().expect("encodes")).expect("loopback");
        self.fence.recv(&mut [0; 512]).expect("the recorder answers");
        self.asked.try_iter().collect()
    }
}

/// Returns the reply, and the question unless it is the fence.
fn answer(packet: &[u8], known: fn(&str, Family) -> Known) -> (Vec<u8>, Option<(String, Family)>) {
    let query = Message::from_vec(packet).unwrap_or_else(|error| panic!("{error}: {packet:?}"));
    let question = query.queries[0].clone();
    let family = match question.query_type() {
        RecordType::A => Some(Family::V4),
        RecordType::AAAA => Some(Family::V6),
        _ => None,
    };
    let name = question.name().to_string();
    let mut reply = Message::new(query.metadata.id, MessageType::Response, query.metadata.op_code);
    reply.metadata.authoritative = true;
    reply.metadata.recursion_desired = query.metadata.recursion_desired;
    reply.add_query(question.clone());
    match family.map(|family| (known(&name, family), family)) {
        Some((Known::Address, family)) => {
            let (_, address) = ADDRESSES.into_iter().find(|(of, _)| *of == family).expect("both have one");
            let data = match family {
                Family::V4 => RData::A(address.parse().expect("an address")),
                Family::V6 => RData::AAAA(address.parse().expect("an address")),
            };
            reply.add_answer(Record::from_rdata(question.name().clone(), 5, data));
        }
        Some((Known::NoName, _)) => reply.metadata.response_code = ResponseCode::NXDomain,
        Some((Known::NoData, _)) | None => {}
    }
    (reply.to_vec().expect("encodes"), family.map(|family| (name, family)))
}
