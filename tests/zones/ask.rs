//! Asks a server many questions, and reads replies in a form that can be compared.

use std::collections::BTreeSet;
use std::fmt;
use std::net::{SocketAddr, UdpSocket};
use std::time::Duration;

use signpost::wire::name::Name;
use signpost::wire::question::{Opt, Question as Wire};
use signpost::wire::types::{TypeText, rcode_name, rtype};

use crate::kit::message::{RawRecord, records};
use crate::make::Question;

/// Maximum number of questions in flight.
const WINDOW: usize = 32;

/// How long to wait for a reply. A question without one is sent again, up to `TRIES` times.
const PATIENCE: Duration = Duration::from_secs(2);
const TRIES: usize = 15;

/// A reply, reduced to what depends on the zone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    pub(crate) rcode: u16,
    pub(crate) authoritative: bool,
    /// The records of each section, as text in lower case.
    pub(crate) sections: [BTreeSet<String>; 3],
}

impl fmt::Display for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", rcode_name(self.rcode).unwrap_or("?"), if self.authoritative { " aa" } else { "" })?;
        self.sections
            .iter()
            .try_for_each(|section| write!(f, " | {}", section.iter().cloned().collect::<Vec<_>>().join("; ")))
    }
}

/// Asks all questions over UDP; replies are in their order.
pub(crate) fn all(server: SocketAddr, questions: &[Question]) -> Vec<Reply> {
    let mut replies = vec![None; questions.len()];
    (0..TRIES).for_each(|_| try_open(server, questions, &mut replies));
    replies.into_iter().map(|reply| reply.unwrap_or_else(|| panic!("no reply from {server}"))).collect()
}

/// Asks each question once; `None` if a reply is missing.
pub(crate) fn once(server: SocketAddr, questions: &[Question]) -> Option<Vec<Reply>> {
    let mut replies = vec![None; questions.len()];
    try_open(server, questions, &mut replies);
    replies.into_iter().collect()
}

/// Asks the questions that have no reply yet.
fn try_open(server: SocketAddr, questions: &[Question], replies: &mut [Option<Reply>]) {
    let open: Vec<usize> = (0..questions.len()).filter(|&at| replies[at].is_none()).collect();
    if open.is_empty() {
        return;
    }
    let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
    socket.connect(server).expect("connected");
    socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    for window in open.chunks(WINDOW) {
        window.iter().for_each(|&at| send(&socket, at, &questions[at]));
        receive(&socket, window.len(), replies);
    }
}

fn send(socket: &UdpSocket, at: usize, question: &Question) {
    let name = Name::from_text(&question.name).expect("a name");
    let packet = Wire::new(name, question.number()).query(at as u16, 0, Some(Opt::of_size(4096)));
    // Refused while the server starts: there is no reply then.
    let _ = socket.send(&packet);
}

fn receive(socket: &UdpSocket, count: usize, replies: &mut [Option<Reply>]) {
    let mut buffer = [0; 4096];
    for _ in 0..count {
        let Ok(len) = socket.recv(&mut buffer) else { return };
        let message = &buffer[..len];
        let at = usize::from(u16::from_be_bytes([message[0], message[1]]));
        if let Some(place) = replies.get_mut(at) {
            *place = Some(read(message));
        }
    }
}

fn read(message: &[u8]) -> Reply {
    let mut sections = [BTreeSet::new(), BTreeSet::new(), BTreeSet::new()];
    for record in records(message).expect("a whole message").iter().filter(|record| record.rtype != rtype::OPT) {
        let text = format!("{} {} {} {}", record.owner, record.ttl, TypeText(record.rtype), data(message, record));
        sections[record.section].insert(text.to_lowercase());
    }
    Reply { rcode: u16::from(message[3] & 0xF), authoritative: message[2] & 4 != 0, sections }
}

/// The data of a record as text; names may be compressed.
fn data(message: &[u8], record: &RawRecord) -> String {
    let (mut at, mut text) = (record.rdata.start, String::new());
    let (skip, names) = match record.rtype {
        rtype::NS | rtype::CNAME | rtype::DNAME => (0, 1),
        rtype::MX => (2, 1),
        rtype::SOA => (0, 2),
        _ => (0, 0),
    };
    at += skip;
    text += &format!("{:?}", &message[record.rdata.start..at]);
    for _ in 0..names {
        let (name, end) = Name::from_message(message, at).expect("a name");
        text += &format!(" {name}");
        at = end;
    }
    text + &format!("{:?}", &message[at..record.rdata.end])
}
