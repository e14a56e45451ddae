//! Questions built octet by octet, and replies with their times.

use std::net::{Ipv4Addr, SocketAddr, TcpStream, UdpSocket};
use std::sync::Mutex;
use std::time::{Duration, Instant};

use crate::message::{RawRecord, records};
use crate::support::{free_port, receive, send};
use crate::upstream::wire;

/// How long a client waits: as long as stub resolvers, plus half a second, since CoreDNS gives up
/// after 5 s.
pub(crate) const PATIENCE: Duration = Duration::from_millis(5_500);

/// RCODEs.
pub(crate) const NOERROR: u8 = 0;
pub(crate) const SERVFAIL: u8 = 2;
pub(crate) const NXDOMAIN: u8 = 3;

/// Types.
pub(crate) const A: u16 = 1;
pub(crate) const NS: u16 = 2;
pub(crate) const CNAME: u16 = 5;
pub(crate) const TXT: u16 = 16;
pub(crate) const AAAA: u16 = 28;
pub(crate) const OPT: u16 = 41;

//----------- Question -------------------------------------------------------

/// A query that is not sent yet: RD, class IN, an OPT of 1232 octets.
#[derive(Clone)]
pub(crate) struct Question {
    name: Vec<u8>,
    qtype: u16,
    class: u16,
    flags: u16,
    size: u16,
    dnssec: bool,
    options: Vec<u8>,
}

/// Begins a question for type A.
pub(crate) fn question(name: &str) -> Question {
    let name = wire(name);
    Question { name, qtype: A, class: 1, flags: 0x0100, size: 1232, dnssec: false, options: Vec::new() }
}

impl Question {
    /// Sets the type.
    pub(crate) fn of(mut self, qtype: u16) -> Self {
        self.qtype = qtype;
        self
    }

    /// Sets the class.
    pub(crate) fn class(mut self, class: u16) -> Self {
        self.class = class;
        self
    }

    /// Adds these header bits (AD `0x20`, CD `0x10`).
    pub(crate) fn flags(mut self, flags: u16) -> Self {
        self.flags |= flags;
        self
    }

    /// Sets the UDP size.
    pub(crate) fn size(mut self, size: u16) -> Self {
        self.size = size;
        self
    }

    /// Sets DO.
    pub(crate) fn dnssec(mut self) -> Self {
        self.dnssec = true;
        self
    }

    /// Adds an EDNS option.
    pub(crate) fn option(mut self, code: u16, data: &[u8]) -> Self {
        self.options.extend_from_slice(&code.to_be_bytes());
        self.options.extend_from_slice(&(data.len() as u16).to_be_bytes());
        self.options.extend_from_slice(data);
        self
    }

    /// Returns the octets, with a random id.
    pub(crate) fn packet(&self) -> Vec<u8> {
        let mut packet = fastrand::u16(..).to_be_bytes().to_vec();
        packet.extend_from_slice(&self.flags.to_be_bytes());
        packet.extend_from_slice(&[0, 1, 0, 0, 0, 0, 0, 1]);
        packet.extend_from_slice(&self.name);
        packet.extend_from_slice(&self.qtype.to_be_bytes());
        packet.extend_from_slice(&self.class.to_be_bytes());
        packet.extend_from_slice(&[0, 0, 41]);
        packet.extend_from_slice(&self.size.to_be_bytes());
        packet.extend_from_slice(&[0, 0, u8::from(self.dnssec) << 7, 0]);
        packet.extend_from_slice(&(self.options.len() as u16).to_be_bytes());
        packet.extend_from_slice(&self.options);
        packet
    }

    /// Asks over UDP.
    pub(crate) fn ask(&self, server: SocketAddr) -> Option<Reply> {
        let socket = socket();
        socket.connect(server).expect("connects");
        socket.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let (packet, start) = (self.packet(), Instant::now());
        socket.send(&packet).ok()?;
        let mut octets = vec![0; 65_535];
        let len = socket.recv(&mut octets).ok()?;
        octets.truncate(len);
        Some(Reply { octets, after: start.elapsed() })
    }

    /// Asks over TCP.
    pub(crate) fn ask_stream(&self, server: SocketAddr) -> Option<Reply> {
        let start = Instant::now();
        let mut stream = TcpStream::connect(server).ok()?;
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        send(&mut stream, &self.packet());
        Some(Reply { octets: receive(&mut stream)?, after: start.elapsed() })
    }

    /// Asks as a stub resolver does: over UDP, and over TCP if the reply is truncated.
    pub(crate) fn resolve(&self, server: SocketAddr) -> Option<Reply> {
        self.ask(server).and_then(|reply| if reply.is_truncated() { self.ask_stream(server) } else { Some(reply) })
    }
}

/// Returns a socket on a port outside the ephemeral range, which may be small for the server under
/// test.
pub(crate) fn socket() -> UdpSocket {
    socket_at(Ipv4Addr::LOCALHOST)
}

/// Returns one with this address.
pub(crate) fn socket_at(address: Ipv4Addr) -> UdpSocket {
    loop {
        if let Ok(socket) = UdpSocket::bind((address, free_port())) {
            return socket;
        }
    }
}

//----------- Reply ----------------------------------------------------------

/// A reply, and its time.
#[derive(Clone)]
pub(crate) struct Reply {
    pub(crate) octets: Vec<u8>,
    pub(crate) after: Duration,
}

impl Reply {
    /// Returns its RCODE, without the extended part.
    pub(crate) fn rcode(&self) -> u8 {
        self.octets[3] & 0xF
    }

    /// Returns whether TC is set.
    pub(crate) fn is_truncated(&self) -> bool {
        self.octets[2] & 2 != 0
    }

    /// Returns its records; none if it cannot be read to its end.
    pub(crate) fn records(&self) -> Vec<RawRecord> {
        records(&self.octets).unwrap_or_default()
    }

    /// Returns the types of the records in its answer section, in order.
    pub(crate) fn types(&self) -> Vec<u16> {
        self.records().iter().filter(|record| record.section == 0).map(|record| record.rtype).collect()
    }

    /// Returns the addresses in its answer section, in order.
    pub(crate) fn addresses(&self) -> Vec<Ipv4Addr> {
        let records = self.records().into_iter().filter(|record| record.section == 0 && record.rtype == A);
        records.filter_map(|record| Some(Ipv4Addr::from(*self.octets[record.rdata].first_chunk::<4>()?))).collect()
    }

    /// Returns the highest TTL of its records, OPT excluded.
    pub(crate) fn ttl(&self) -> Option<u32> {
        self.records().iter().filter(|record| record.rtype != OPT).map(|record| record.ttl).max()
    }

    /// Returns the codes of its extended errors.
    pub(crate) fn errors(&self) -> Vec<u16> {
        let mut errors = Vec::new();
        for opt in self.records().into_iter().filter(|record| record.rtype == OPT) {
            let mut rest = &self.octets[opt.rdata];
            while let [c, d, e, f, data @ ..] = rest {
                let (code, len) = (u16::from_be_bytes([*c, *d]), usize::from(u16::from_be_bytes([*e, *f])));
                if code == 15 && len >= 2 && data.len() >= 2 {
                    errors.push(u16::from_be_bytes([data[0], data[1]]));
                }
                rest = data.get(len..).unwrap_or_default();
            }
        }
        errors
    }
}

/// Asks every question, at most `most` at a time; returns the replies in order.
pub(crate) fn ask_all(
    questions: &[Question],
    most: usize,
    how: impl Fn(&Question) -> Option<Reply> + Sync,
) -> Vec<Option<Reply>> {
    let queue = Mutex::new(questions.iter().enumerate());
    let replies = Mutex::new(vec![None; questions.len()]);
    let next = || queue.lock().expect("no panic").next();
    std::thread::scope(|scope| {
        for _ in 0..most.min(questions.len()) {
            scope.spawn(|| {
                while let Some((at, question)) = next() {
                    let reply = how(question);
                    replies.lock().expect("no panic")[at] = reply;
                }
            });
        }
    });
    replies.into_inner().expect("no panic")
}
