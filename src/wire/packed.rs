//! Answers to be kept: the whole of one in a few octets side by side.
//!
//! An [`Answer`] is made to be filled, and lies in several pieces of memory. What is kept for many
//! names must be found in as few cache lines as possible, since for most queries they come from
//! main memory. So a stored answer is one run of octets, which its owner keeps beside the name it
//! belongs to, and each reply gets a copy from the pool of its thread. Nothing is written to memory
//! that threads share, not even a reference count: a popular answer would make its cache line go
//! from core to core with each reply.

use std::sync::Arc;

use triomphe::ThinArc;

use super::answer::{Answer, Mark, scratch};

/// Octets in front of the marks: everything of an answer that has a fixed size.
const HEAD: usize = 22;

/// Octets of a mark and of a pointer.
const MARK: usize = 4;
const POINTER: usize = 2;

/// An answer that is kept by itself; its clones share it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Packed(ThinArc<(), u8>);

impl Packed {
    /// Packs an answer.
    #[must_use]
    pub fn new(answer: &Answer) -> Self {
        let mut octets = Vec::new();
        pack(answer, &mut octets);
        Self(ThinArc::from_header_and_slice((), &octets))
    }

    /// Returns the answer, from the pool of this thread.
    #[must_use]
    pub fn answer(&self) -> Arc<Answer> {
        unpack(&self.0.slice)
    }

    /// Returns the octets that it takes.
    #[must_use]
    #[expect(clippy::len_without_is_empty, reason = "never empty: the head has a fixed size")]
    pub fn len(&self) -> usize {
        self.0.slice.len()
    }

    /// Returns whether both are one and the same in memory.
    #[must_use]
    pub fn is(&self, other: &Self) -> bool {
        std::ptr::eq(&raw const self.0.slice, &raw const other.0.slice)
    }
}

/// Appends an answer to the octets of its owner.
pub fn pack(answer: &Answer, out: &mut Vec<u8>) {
    let Answer { rcode, flags, counts, bytes, records, pointers, asked, plain, asked_for, movable, options } = answer;
    out.reserve_exact(HEAD + MARK * records.len() + POINTER * pointers.len() + bytes.len() + options.len());
    out.extend_from_slice(&[*asked, u8::from(*movable)]);
    for word in [*rcode, *flags, counts[0], counts[1], counts[2], *asked_for] {
        out.extend_from_slice(&word.to_ne_bytes());
    }
    out.extend_from_slice(&plain.to_ne_bytes());
    // Neither is longer than a message.
    for len in [pointers.len(), bytes.len()] {
        out.extend_from_slice(&(len as u16).to_ne_bytes());
    }
    for Mark { at, ttl_at } in records {
        out.extend_from_slice(&at.to_ne_bytes());
        out.extend_from_slice(&ttl_at.to_ne_bytes());
    }
    pointers.iter().for_each(|pointer| out.extend_from_slice(&pointer.to_ne_bytes()));
    out.extend_from_slice(bytes);
    out.extend_from_slice(options);
}

/// Returns the answer that [`pack`] made these octets from, from the pool of this thread. Allocates
/// nothing once the pool is warm.
#[must_use]
pub fn unpack(octets: &[u8]) -> Arc<Answer> {
    scratch(0, |answer| fill(answer, octets))
}

fn fill(answer: &mut Answer, octets: &[u8]) {
    let Some((head, rest)) = octets.split_first_chunk::<HEAD>() else { return };
    let word = |at: usize| u16::from_ne_bytes([head[at], head[at + 1]]);
    (answer.asked, answer.movable) = (head[0], head[1] != 0);
    (answer.rcode, answer.flags, answer.counts) = (word(2), word(4), [word(6), word(8), word(10)]);
    answer.asked_for = word(12);
    answer.plain = u32::from_ne_bytes([head[14], head[15], head[16], head[17]]);
    let marks = answer.counts.iter().map(|&count| usize::from(count)).sum::<usize>() * MARK;
    let (marks, rest) = rest.split_at(marks);
    let (pointers, rest) = rest.split_at(usize::from(word(18)) * POINTER);
    let (bytes, options) = rest.split_at(usize::from(word(20)));
    let (marks, _) = marks.as_chunks::<MARK>();
    let mark = |&[a, b, c, d]: &[u8; MARK]| Mark { at: u16::from_ne_bytes([a, b]), ttl_at: u16::from_ne_bytes([c, d]) };
    answer.records.extend(marks.iter().map(mark));
    let (pointers, _) = pointers.as_chunks::<POINTER>();
    answer.pointers.extend(pointers.iter().map(|&octets| u16::from_ne_bytes(octets)));
    answer.bytes.extend_from_slice(bytes);
    if !options.is_empty() {
        answer.options.extend_from_slice(options);
    }
}

#[cfg(test)]
mod tests {
    use std::net::{IpAddr, Ipv4Addr};

    use super::super::answer::Section;
    use super::super::encode::{Encoder, Owner};
    use super::super::soa::Soa;
    use super::super::types::{rcode, rtype};
    use super::*;

    #[test]
    fn what_is_packed_comes_back() {
        let soa = |e: &mut Encoder<'_>| {
            Soa {
                zone_len: 7,
                ttl: 30,
                name_server: Owner::new(b"\x02ns", super::super::encode::Tail::AskedEnd(7)),
                hostmaster: Owner::zone(7),
                serial: 5,
                timers: [1, 2, 3],
                minimum: 4,
            }
            .deny(e, rcode::NXDOMAIN);
        };
        let many = |e: &mut Encoder<'_>| {
            for n in 0..20 {
                e.address(Section::Answer, Owner::ASKED, 30, IpAddr::V4(Ipv4Addr::new(10, 0, 0, n)));
            }
            e.pointer(Section::Additional, Owner::name(&super::super::name::Name::ROOT), rtype::NS, 1, Owner::zone(3));
        };
        let fills: [&dyn Fn(&mut Encoder<'_>); 3] = [&|_| {}, &soa, &many];
        for fill in fills {
            let mut answer = Encoder::build(31, |e| fill(e));
            answer.options = vec![0, 3, 0, 1, 7];
            answer.movable = answer.counts[2] == 0;
            let mut octets = vec![1, 2, 3];
            pack(&answer, &mut octets);
            assert_eq!((*unpack(&octets[3..])).clone(), answer);
            assert_eq!(*Packed::new(&answer).answer(), answer);
        }
    }
}
