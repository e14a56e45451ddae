//! What a socket sends next: the queries that were asked since it sent last, with one call.

use std::io::{self, IoSlice};
use std::ops::Range;
use std::os::fd::AsFd;

use rustix::net::{MMsgHdr, SendAncillaryBuffer, SendFlags, sendmmsg};

use super::super::message::Sent;

/// Queries that one call sends at most; a port rarely has more.
const BATCH: usize = 8;

/// Octets that are kept for the next queries.
const KEEP: usize = 4096;

/// Queries in wire form.
#[derive(Default)]
pub(super) struct Outbox {
    bytes: Vec<u8>,
    /// The id of each, and where it stands.
    letters: Vec<(u16, Range<usize>)>,
}

impl Outbox {
    /// Puts a query in. Returns whether it is the first, so that the sender must be notified.
    pub(super) fn put(&mut self, id: u16, sent: &Sent) -> bool {
        let start = self.bytes.len();
        sent.write_with_id(id, &mut self.bytes);
        self.letters.push((id, start..self.bytes.len()));
        self.letters.len() == 1
    }

    /// Throws away what has not been sent.
    pub(super) fn clear(&mut self) {
        self.bytes.clear();
        self.bytes.shrink_to(KEEP);
        self.letters.clear();
    }

    /// Sends everything. `failed` gets the id of a query that the kernel did not take, and returns
    /// whether to try once more. What the socket has no room for is lost.
    pub(super) fn send(&mut self, socket: impl AsFd, mut failed: impl FnMut(u16, &io::Error) -> bool) {
        let (mut done, mut is_repeat) = (0, false);
        while let Some((id, _)) = self.letters.get(done) {
            match self.send_some(&socket, done) {
                Ok(sent) => (done, is_repeat) = (done + sent, false),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if failed(*id, &error) && !is_repeat => is_repeat = true,
                Err(_) => (done, is_repeat) = (done + 1, false),
            }
        }
        self.clear();
    }

    /// Sends a batch from the letter at `done` on. Returns how many went.
    fn send_some(&self, socket: impl AsFd, done: usize) -> io::Result<usize> {
        let letters = &self.letters[done..self.letters.len().min(done + BATCH)];
        let mut parts = [[IoSlice::new(&[])]; BATCH];
        for (part, (_, range)) in parts.iter_mut().zip(letters) {
            *part = [IoSlice::new(&self.bytes[range.clone()])];
        }
        let mut controls: [_; BATCH] = std::array::from_fn(|_| SendAncillaryBuffer::default());
        let mut part = parts.iter();
        let mut headers =
            controls.each_mut().map(|control| MMsgHdr::new(part.next().map_or(&[], |part| part), control));
        Ok(sendmmsg(socket, &mut headers[..letters.len()], SendFlags::DONTWAIT)?)
    }
}

#[cfg(test)]
mod tests {
    use std::net::UdpSocket;
    use std::sync::Arc;

    use super::*;
    use crate::wire::name::Name;

    #[test]
    fn more_than_a_batch_leaves_in_order_each_under_its_id() {
        let upstream = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        socket.connect(upstream.local_addr().expect("bound")).expect("connected");
        let sent = Arc::new(Sent::probe(&Name::from_text("a.example.").expect("a name"), true));
        let (mut outbox, count) = (Outbox::default(), 2 * BATCH as u16 + 1);
        for round in 0..2 {
            for id in 0..count {
                assert_eq!(outbox.put(id + round, &sent), id == 0, "the first is told of");
            }
            outbox.send(&socket, |id, error| panic!("{id}: {error}"));
            let mut buffer = [0; 512];
            for id in 0..count {
                let len = upstream.recv(&mut buffer).expect("received");
                assert_eq!(buffer[..2], (id + round).to_be_bytes());
                assert_eq!(&buffer[2..len], sent.behind_id());
            }
        }
    }

    #[test]
    fn a_query_that_cannot_be_sent_fails_and_the_others_are_sent() {
        let upstream = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let socket = UdpSocket::bind("127.0.0.1:0").expect("a socket");
        let sent = Arc::new(Sent::probe(&Name::from_text("a.example.").expect("a name"), true));
        let mut outbox = Outbox::default();
        for id in [7, 8] {
            outbox.put(id, &sent);
        }
        // Without a peer there is nowhere to send it to.
        let mut tries = Vec::new();
        outbox.send(&socket, |id, _| {
            tries.push(id);
            if tries.len() == 4 {
                panic!("once more, and no further: {tries:?}");
            }
            if tries.len() == 2 {
                socket.connect(upstream.local_addr().expect("bound")).expect("connected");
            }
            true
        });
        assert_eq!(tries, [7, 7]);
        let mut buffer = [0; 512];
        upstream.recv(&mut buffer).expect("received");
        assert_eq!(buffer[..2], 8_u16.to_be_bytes());
    }
}
