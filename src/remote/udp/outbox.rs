//! What a socket sends next: the queries that were asked since it sent last, joined where they can
//! be.
//!
//! Most of what a datagram costs is its way through the kernel. Datagrams of one size, to which a
//! shorter one may be added, go that way together and are cut apart at its end, by the network
//! card if it can (UDP_SEGMENT): an upstream receives each on its own. So the queries are sent by
//! their size. A kernel or a route that cannot do it gets one after the other, and so does an
//! upstream that loses queries: something on the way may not like what is joined.

use std::cmp::Reverse;
use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::{AsFd, AsRawFd};

use nix::sys::socket::{ControlMessage, MsgFlags, getsockopt, sendmsg, sockopt};

use super::super::message::Sent;

/// Queries that are joined at most; a port rarely has more.
const JOINED: usize = 16;

/// Octets of the largest query that is joined to others: a cut must fit every path.
const LARGEST: usize = 1232;

/// Octets that are kept for the next queries.
const KEEP: usize = 4096;

/// Queries in wire form.
pub(super) struct Outbox {
    bytes: Vec<u8>,
    letters: Vec<Letter>,
    /// Whether the kernel takes joined queries.
    joins: bool,
}

/// A query.
struct Letter {
    id: u16,
    /// Where it stands.
    range: Range<usize>,
}

impl Outbox {
    /// An empty one for this socket.
    pub(super) fn of(socket: &impl AsFd) -> Self {
        let joins = getsockopt(&socket.as_fd(), sockopt::UdpGsoSegment).is_ok();
        Self { bytes: Vec::new(), letters: Vec::new(), joins }
    }

    /// Puts a query in. Returns whether it is the first, so that the sender must be notified.
    pub(super) fn put(&mut self, id: u16, sent: &Sent) -> bool {
        let start = self.bytes.len();
        sent.write_with_id(id, &mut self.bytes);
        self.letters.push(Letter { id, range: start..self.bytes.len() });
        self.letters.len() == 1
    }

    /// Throws away what has not been sent.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEEP);
        self.letters.clear();
    }

    /// Sends everything, joined if `may_join`. `failed` gets the id of a query that the kernel did
    /// not take, and returns whether to try once more. What the socket has no room for is lost.
    pub(super) fn send(&mut self, socket: &impl AsFd, may_join: bool, mut failed: impl FnMut(u16, &io::Error) -> bool) {
        self.letters.sort_unstable_by_key(|letter| (Reverse(letter.range.len()), letter.range.start));
        let (mut done, mut is_repeat) = (0, false);
        while done < self.letters.len() {
            let count = if may_join && self.joins { self.joined(done) } else { 1 };
            match self.send_joined(socket, &self.letters[done..done + count]) {
                Ok(()) => (done, is_repeat) = (done + count, false),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // It may be about an earlier query, or about the way that joined ones have to go.
                Err(error) if error.kind() != io::ErrorKind::ConnectionRefused && count > 1 => self.joins = false,
                Err(error) if failed(self.letters[done].id, &error) && !is_repeat => is_repeat = true,
                Err(_) => (done, is_repeat) = (done + 1, false),
            }
        }
        self.clear();
    }

    /// How many queries leave together, from the one at `done` on: those of its size, and one that
    /// is shorter.
    fn joined(&self, done: usize) -> usize {
        let size = self.letters[done].range.len();
        if size > LARGEST {
            return 1;
        }
        let rest = self.letters[done..].iter().take(JOINED);
        let equal = rest.take_while(|letter| letter.range.len() == size).count();
        (equal + 1).min(self.letters.len() - done).min(JOINED)
    }

    fn send_joined(&self, socket: &impl AsFd, letters: &[Letter]) -> io::Result<()> {
        let mut parts = [IoSlice::new(&[]); JOINED];
        for (part, letter) in parts.iter_mut().zip(letters) {
            *part = IoSlice::new(&self.bytes[letter.range.clone()]);
        }
        // No more than LARGEST if it is not alone.
        let size = letters.first().map_or(0, |letter| letter.range.len() as u16);
        let cut = [ControlMessage::UdpGsoSegments(&size)];
        let cut = if letters.len() > 1 { &cut[..] } else { &[] };
        let socket = socket.as_fd().as_raw_fd();
        sendmsg(socket, &parts[..letters.len()], cut, MsgFlags::MSG_DONTWAIT, None::<&()>)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;

    use super::*;
    use crate::wire::name::Name;

    fn sent(name: &str) -> Sent {
        Sent::probe(&Name::from_text(name).expect("a name"), true)
    }

    /// A socket that is connected to another one.
    fn pair() -> (UdpSocket, UdpSocket) {
        let upstream = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.connect(upstream.local_addr().expect("bound")).expect("connected");
        (upstream, socket)
    }

    #[test]
    fn more_than_fit_together_leave_in_order_each_under_its_id() {
        let (upstream, socket) = pair();
        let (mut outbox, sent, count) = (Outbox::of(&socket), sent("a.example."), 2 * JOINED as u16 + 1);
        for may_join in [true, false] {
            for id in 0..count {
                assert_eq!(outbox.put(id, &sent), id == 0, "the first is told of");
            }
            outbox.send(&socket, may_join, |id, error| panic!("{id}: {error}"));
            let mut buffer = [0; 512];
            for id in 0..count {
                let len = upstream.recv(&mut buffer).expect("received");
                assert_eq!(buffer[..2], id.to_be_bytes());
                assert_eq!(&buffer[2..len], sent.behind_id());
            }
        }
    }

    #[test]
    fn queries_of_any_size_arrive_whole() {
        let (upstream, socket) = pair();
        let mut outbox = Outbox::of(&socket);
        let labels = ["a", "bb", "a", "ccc", "bb", "a", "dddd", "eeeee"];
        let queries: Vec<Sent> = labels.iter().map(|label| sent(&format!("{label}.example."))).collect();
        for (id, query) in (0..).zip(&queries) {
            outbox.put(id, query);
        }
        outbox.send(&socket, true, |id, error| panic!("{id}: {error}"));
        let mut buffer = [0; 512];
        let mut came: Vec<_> = queries
            .iter()
            .map(|_| {
                let len = upstream.recv(&mut buffer).expect("received");
                let id = u16::from_be_bytes([buffer[0], buffer[1]]);
                assert_eq!(&buffer[2..len], queries[usize::from(id)].behind_id());
                id
            })
            .collect();
        came.sort_unstable();
        assert!(came.into_iter().eq(0..labels.len() as u16));
    }

    #[test]
    fn what_leaves_together_has_one_size_but_for_the_last() {
        let (_upstream, socket) = pair();
        let mut outbox = Outbox::of(&socket);
        let mut counts = |sizes: &[usize]| {
            outbox.letters = sizes.iter().map(|&len| Letter { id: 0, range: 0..len }).collect();
            let (mut done, mut counts) = (0, Vec::new());
            while done < sizes.len() {
                counts.push(outbox.joined(done));
                done += counts[counts.len() - 1];
            }
            counts
        };
        assert_eq!(counts(&[50, 50, 50, 40, 40, 30, 20, 10]), [4, 2, 2]);
        assert_eq!(counts(&[50, 40, 40]), [2, 1]);
        assert_eq!(counts(&[LARGEST + 1, LARGEST, 50, 50]), [1, 2, 1], "that would not fit every path");
        assert_eq!(counts(&[50; JOINED + 2]), [JOINED, 2]);
    }

    #[test]
    fn a_route_that_takes_no_joined_queries_gets_one_after_the_other() {
        let upstream = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let (mut outbox, sent) = (Outbox::of(&socket), sent("a.example."));
        for id in [7, 8] {
            outbox.put(id, &sent);
        }
        let is_joined = outbox.joins;
        // Without a peer there is nowhere to send it to: neither both together nor the first alone.
        let mut tries = Vec::new();
        outbox.send(&socket, true, |id, _| {
            tries.push(id);
            if tries.len() == 2 {
                socket.connect(upstream.local_addr().expect("bound")).expect("connected");
            }
            assert!(tries.len() < 4, "once more, and no further: {tries:?}");
            true
        });
        assert_eq!((tries, outbox.joins), (vec![7, 7], false), "joined before: {is_joined}");
        let mut buffer = [0; 512];
        upstream.recv(&mut buffer).expect("received");
        assert_eq!(buffer[..2], 8_u16.to_be_bytes(), "one that cannot be sent fails, the others are sent");
    }
}
