//! Datagrams that were read and wait to be answered.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

use foldhash::fast::RandomState;

use super::super::clients::Habits;
use super::super::sys::{BATCH, Received};

/// Datagrams that are answered before the socket is read again. What arrives during a round must
/// fit into the kernel's buffer, which by default has room for a few hundred.
pub(super) const ROUND: usize = 64;

/// Rounds that a datagram may wait: some 20 ms of work.
const AGE: u64 = 64;

/// Rounds after which what clients send is counted anew.
pub(super) const WINDOW: u64 = 16;

/// Datagrams that wait at most, and their octets. With more, half of them are dropped.
pub(super) const MOST: usize = 2048;
pub(super) const OCTETS: usize = 512 << 10;

/// Buffers that are kept while nothing waits, and the octets that each of them keeps.
pub(super) const SPARE: usize = 256;
const SMALL: usize = 512;

/// Parts of a datagram that a weight can divide it into.
const PARTS: u64 = 256;

//----------- Backlog --------------------------------------------------------

/// Datagrams that were read and wait to be answered.
#[derive(Default)]
pub(super) struct Backlog {
    /// In the order in which they were read.
    waiting: Vec<Entry>,
    /// The buffers of the datagrams of this round.
    chosen: Vec<usize>,
    pub(super) buffers: Buffers,
    /// Those that have sent something in this window or wait.
    clients: Vec<Sender>,
    /// The index of each client above.
    known: HashMap<IpAddr, usize, RandomState>,
    /// The ranks of all entries, for [`Backlog::first`] alone.
    ranks: Vec<u64>,
    /// The number of rounds so far.
    round: u64,
}

/// A datagram that waits.
#[derive(Debug, Clone, Copy)]
struct Entry {
    client: usize,
    buffer: usize,
    /// The number of the round before which it was read.
    round: u64,
    /// How many of its client's datagrams wait before it, divided by the client's weight.
    rank: u64,
}

/// A client.
struct Sender {
    address: IpAddr,
    weight: u64,
    /// Datagrams that were read in this window.
    read: u64,
    /// Datagrams that have got their ranks, for [`Backlog::first`] alone.
    ranked: u64,
}

impl Backlog {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }

    pub(super) fn is_full(&self) -> bool {
        self.waiting.len() + BATCH > MOST || self.buffers.octets >= OCTETS
    }

    pub(super) fn add(&mut self, datagram: Received<'_>, habits: &Habits) {
        let address = datagram.peer.ip().to_canonical();
        let client = *self.known.entry(address).or_insert_with(|| {
            self.clients.push(Sender { address, weight: habits.weight(address).into(), read: 0, ranked: 0 });
            self.clients.len() - 1
        });
        self.clients[client].read += 1;
        self.waiting.push(Entry { client, buffer: self.buffers.put(datagram), round: self.round, rank: 0 });
    }

    /// Returns which are the first `count` datagrams; it has to be asked for each entry, in order.
    ///
    /// The first datagram of each client comes before the second of any other. Among equals, known
    /// clients come first, and then what was read first.
    fn first(&mut self, count: usize) -> impl FnMut(&Entry) -> bool + use<> {
        let (mut limit, mut equal) = (u64::MAX, usize::MAX);
        if count < self.waiting.len() {
            self.clients.iter_mut().for_each(|client| client.ranked = 0);
            self.ranks.clear();
            for entry in &mut self.waiting {
                let client = &mut self.clients[entry.client];
                entry.rank = client.ranked * PARTS / client.weight * 2 + u64::from(client.weight == 1);
                client.ranked += 1;
                self.ranks.push(entry.rank);
            }
            let (less, last, _) = self.ranks.select_nth_unstable(count);
            limit = *last;
            equal = count - less.iter().filter(|&&rank| rank < limit).count();
        }
        move |entry| {
            let is_next_equal = entry.rank == limit && equal > 0;
            equal -= usize::from(is_next_equal);
            entry.rank < limit || is_next_equal
        }
    }

    /// Chooses the datagrams of this round, at most `most`; returns how many.
    pub(super) fn begin_round(&mut self, most: usize) -> usize {
        self.round += 1;
        let mut is_first = self.first(most);
        self.chosen.extend(self.waiting.extract_if(.., |entry| is_first(entry)).map(|entry| entry.buffer));
        self.chosen.len()
    }

    /// Frees the buffers of the last round; and the others too if nothing waits.
    pub(super) fn finish_round(&mut self) {
        if self.chosen.is_empty() {
            return;
        }
        self.chosen.drain(..).for_each(|buffer| self.buffers.free(buffer));
        if self.waiting.is_empty() {
            self.buffers.shrink();
            self.begin_window();
        }
    }

    /// Returns whether this round is the last of a window.
    pub(super) fn is_window_over(&self) -> bool {
        self.round.is_multiple_of(WINDOW)
    }

    /// Counts anew, and forgets clients of which nothing waits.
    pub(super) fn begin_window(&mut self) {
        self.known.clear();
        let old = std::mem::take(&mut self.clients);
        for entry in &mut self.waiting {
            let Sender { address, weight, .. } = old[entry.client];
            entry.client = *self.known.entry(address).or_insert_with(|| {
                self.clients.push(Sender { address, weight, read: 0, ranked: 0 });
                self.clients.len() - 1
            });
        }
    }

    /// Returns each client, how many of its datagrams were read in this window, and its weight.
    pub(super) fn read(&self) -> impl Iterator<Item = (IpAddr, u64, u64)> {
        self.clients.iter().map(|client| (client.address, client.read, client.weight))
    }

    /// Returns the client that has sent most.
    pub(super) fn heaviest(&self) -> Option<IpAddr> {
        self.read().max_by_key(|(_, read, _)| *read).map(|(address, ..)| address)
    }

    /// Returns how many clients it knows.
    #[cfg(test)]
    pub(super) fn clients(&self) -> usize {
        self.clients.len().max(self.known.len())
    }

    /// Drops the half of what waits that would be answered last; returns how many.
    pub(super) fn drop_half(&mut self) -> u64 {
        let mut is_first = self.first(self.waiting.len() / 2);
        let rest = self.waiting.extract_if(.., |entry| !is_first(entry));
        rest.map(|entry| self.buffers.free(entry.buffer)).count() as u64
    }

    /// Drops what has waited for too many rounds; returns how many.
    pub(super) fn drop_old(&mut self) -> u64 {
        let old = |entry: &mut Entry| entry.round + AGE < self.round;
        self.waiting.extract_if(.., old).map(|entry| self.buffers.free(entry.buffer)).count() as u64
    }

    /// Returns the datagrams of this round.
    pub(super) fn chosen(&self) -> impl Iterator<Item = Received<'_>> {
        self.chosen.iter().map(|&buffer| self.buffers.get(buffer))
    }
}

//----------- Buffers ----------------------------------------------------------

/// Buffers for datagrams, which are used again.
#[derive(Default)]
pub(super) struct Buffers {
    pub(super) all: Vec<Buffer>,
    free: Vec<usize>,
    /// Octets of all datagrams.
    pub(super) octets: usize,
}

pub(super) struct Buffer {
    bytes: Vec<u8>,
    peer: SocketAddr,
    local: Option<IpAddr>,
}

impl Buffers {
    /// Copies a datagram; returns where it is.
    fn put(&mut self, datagram: Received<'_>) -> usize {
        let Received { bytes, peer, local } = datagram;
        self.octets += bytes.len();
        let Some(at) = self.free.pop() else {
            self.all.push(Buffer { bytes: bytes.to_vec(), peer, local });
            return self.all.len() - 1;
        };
        let buffer = &mut self.all[at];
        buffer.bytes.extend_from_slice(bytes);
        (buffer.peer, buffer.local) = (peer, local);
        at
    }

    fn get(&self, at: usize) -> Received<'_> {
        let Buffer { bytes, peer, local } = &self.all[at];
        Received { bytes, peer: *peer, local: *local }
    }

    fn free(&mut self, at: usize) {
        let bytes = &mut self.all[at].bytes;
        self.octets -= bytes.len();
        bytes.clear();
        bytes.shrink_to(SMALL);
        self.free.push(at);
    }

    /// Gives memory back. All must be free.
    fn shrink(&mut self) {
        self.all.truncate(SPARE);
        self.free.clear();
        self.free.extend(0..self.all.len());
    }
}
