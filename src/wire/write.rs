//! Writes replies: the answer follows the question as the client wrote it, and the OPT comes last.

use std::ops::Range;

use super::answer::Answer;
use super::option::PADDING;
use super::reply::{Order, Reply};
use super::request::{HEADER, Refusal, Request, flag};
use super::types::rtype;

/// An OPT pseudo-record without options (RFC 6891 section 6.1.2).
const OPT_LEN: usize = 11;

/// Padded replies have a multiple of this many octets (RFC 8467 section 4.1).
const BLOCK: usize = 468;

/// The opcode in the second word of the header.
const OPCODE: u16 = 0x7800;

/// The largest message (RFC 1035 section 4.2.2).
pub const MAX_MESSAGE: usize = 65_535;

//----------- Writer ---------------------------------------------------------

/// Writes replies. Its buffers are kept between replies, so that it allocates nothing once warm.
#[derive(Default)]
pub struct Writer {
    order: Vec<u16>,
}

impl Writer {
    /// Appends the reply to `packet` to `out` and returns its length in octets.
    ///
    /// `limit` is the largest message that the client takes. Records that do not fit are left out
    /// from the end. TC is set if the client would miss records of Answer or Authority, not for
    /// additional ones (RFC 2181 section 9).
    pub fn reply(&mut self, packet: &[u8], request: &Request, reply: &Reply, limit: usize, out: &mut Vec<u8>) -> usize {
        let (start, answer) = (out.len(), &*reply.answer);
        let body = request.question_end();
        out.reserve(limit.min(MAX_MESSAGE).min(body + answer.bytes.len() + 512));
        out.extend_from_slice(&[0; HEADER]);
        out.extend_from_slice(&packet[HEADER..body]);
        let room = limit.min(MAX_MESSAGE).saturating_sub(body);
        let opt_len = opt_len(request, reply);
        let shift = i32::from(request.name_len) - i32::from(answer.asked);
        let mut counts = answer.counts;
        if reply.order == Order::Stored && answer.bytes.len() + opt_len <= room {
            copy_all(answer, shift, reply.ttl, out);
        } else {
            self.arrange(answer, &reply.order);
            counts = self.copy_some(answer, shift, reply.ttl, room.saturating_sub(opt_len), out);
        }
        let cut = counts[0] < answer.counts[0] || counts[1] < answer.counts[1];
        if request.edns.is_some() {
            write_opt(request, reply, start..start + limit.min(MAX_MESSAGE), out);
            counts[2] += 1;
        }
        let flags = reply.header_flags(request.flags)
            | request.flags & OPCODE
            | if cut { flag::TC } else { 0 }
            | answer.rcode & 0xF;
        write_header(&mut out[start..start + HEADER], request.id, flags, counts);
        out.len() - start
    }

    /// Puts the indexes of the records into the order in which they are written.
    fn arrange(&mut self, answer: &Answer, order: &Order) {
        self.order.clear();
        let total = answer.records.len() as u16;
        match order {
            Order::Shuffled(seed) if answer.movable => {
                let mut seed = *seed | 1;
                let mut from = 0;
                for count in answer.counts {
                    self.shuffle_section(answer, from..from + count, &mut seed);
                    from += count;
                }
            }
            Order::Given(first) if first.len() <= usize::from(total) && answer.movable => {
                self.order.extend_from_slice(first);
                self.order.extend(first.len() as u16..total);
            }
            _ => self.order.extend(0..total),
        }
    }

    fn shuffle_section(&mut self, answer: &Answer, section: Range<u16>, seed: &mut u32) {
        if section.is_empty() {
            return;
        }
        let begin = self.order.len();
        if let Some(class) = uniform(answer, section.clone()) {
            self.order.extend(section);
            if class.is_shuffled() {
                shuffle(&mut self.order[begin..], seed);
            }
            return;
        }
        let class = |index: u16| Class::of(answer.rtype_at(usize::from(index)));
        for wanted in [Class::Alias, Class::Other, Class::Address, Class::Exchange] {
            let from = self.order.len();
            self.order.extend(section.clone().filter(|&index| class(index) == wanted));
            if wanted.is_shuffled() {
                shuffle(&mut self.order[from..], seed);
            }
        }
    }

    fn copy_some(&self, answer: &Answer, shift: i32, ttl: Option<u32>, room: usize, out: &mut Vec<u8>) -> [u16; 3] {
        let (end, mut pointers) = (out.len() + room, answer.pointers.as_slice());
        let moves = shift != 0 && !pointers.is_empty();
        let mut next = 0;
        while let Some(&first) = self.order.get(next) {
            let (first, at) = (usize::from(first), out.len());
            let (from, mut to) = (usize::from(answer.records[first].at), answer.record_end(first));
            if at + to - from > end {
                break;
            }
            next += 1;
            let mut last = first;
            // Records that stay side by side, such as SRV, are copied at once.
            while self.order.get(next).is_some_and(|&index| usize::from(index) == last + 1)
                && at + answer.record_end(last + 1) - from <= end
            {
                (next, last) = (next + 1, last + 1);
                to = answer.record_end(last);
            }
            append_record(&answer.bytes[from..to], out);
            if let Some(ttl) = ttl {
                for mark in &answer.records[first..=last] {
                    let ttl_at = at + usize::from(mark.ttl_at) - from;
                    out[ttl_at..ttl_at + 4].copy_from_slice(&ttl.to_be_bytes());
                }
            }
            if moves {
                pointers = pointers_from(&answer.pointers, pointers, from);
                move_pointers(pointers, from..to, shift, &mut out[at..]);
            }
        }
        counts_of(answer, next as u16)
    }
}

/// Lengths of A and AAAA records of the name in the question: a pointer, type, class, TTL, length,
/// and the address.
const SHORT: [usize; 2] = [2 + 10 + 4, 2 + 10 + 16];

/// Appends one record. Common records have a length known at compile time, which avoids a call for
/// each.
#[inline]
fn append_record(record: &[u8], out: &mut Vec<u8>) {
    if let Ok(record) = <&[u8; SHORT[0]]>::try_from(record) {
        out.extend_from_slice(record);
    } else if let Ok(record) = <&[u8; SHORT[1]]>::try_from(record) {
        out.extend_from_slice(record);
    } else {
        out.extend_from_slice(record);
    }
}

/// Returns the octets to keep free for the OPT, including the options for this client.
fn opt_len(request: &Request, reply: &Reply) -> usize {
    let options = reply.note.as_ref().map_or(0, |note| note.options.len());
    if request.edns.is_some() { OPT_LEN + options } else { 0 }
}

/// Returns whether writing `reply` leaves out records of Answer or Authority, so that TC is set.
#[must_use]
pub fn is_cut(request: &Request, reply: &Reply, limit: usize) -> bool {
    let answer = &*reply.answer;
    let room = limit.min(MAX_MESSAGE).saturating_sub(request.question_end() + opt_len(request, reply));
    let needed = usize::from(answer.counts[0]) + usize::from(answer.counts[1]);
    answer.bytes.len() > room && needed > 0 && answer.record_end(needed - 1) > room
}

/// Appends the whole answer at once, after a question that is `shift` octets longer than the one it
/// was made for.
pub(super) fn copy_all(answer: &Answer, shift: i32, ttl: Option<u32>, out: &mut Vec<u8>) {
    let body = out.len();
    out.extend_from_slice(&answer.bytes);
    if shift != 0 {
        for &pointer in &answer.pointers {
            move_pointer(&mut out[body + usize::from(pointer)..], shift);
        }
    }
    if let Some(ttl) = ttl {
        for record in &answer.records {
            let at = body + usize::from(record.ttl_at);
            out[at..at + 4].copy_from_slice(&ttl.to_be_bytes());
        }
    }
}

/// Returns the pointers at or after `from`; `last` is the result for the previous record.
fn pointers_from<'a>(all: &'a [u16], last: &'a [u16], from: usize) -> &'a [u16] {
    let begin = if last.first().is_some_and(|&pointer| usize::from(pointer) <= from) { last } else { all };
    &begin[begin.partition_point(|&pointer| usize::from(pointer) < from)..]
}

/// Moves those of `pointers` that lie in this part of the answer; `copy` begins with that part.
#[inline(never)]
fn move_pointers(pointers: &[u16], part: Range<usize>, shift: i32, copy: &mut [u8]) {
    for &pointer in pointers.iter().take_while(|&&pointer| usize::from(pointer) < part.end) {
        move_pointer(&mut copy[usize::from(pointer) - part.start..], shift);
    }
}

fn move_pointer(at: &mut [u8], shift: i32) {
    let moved = (i32::from(u16::from_be_bytes([at[0], at[1]])) + shift) as u16;
    at[..2].copy_from_slice(&moved.to_be_bytes());
}

/// Returns the section counts if only the first `written` records are written.
fn counts_of(answer: &Answer, mut written: u16) -> [u16; 3] {
    answer.counts.map(|count| {
        let taken = count.min(written);
        written -= taken;
        taken
    })
}

/// Writes the OPT of a reply: the client's size and DO bit, as CoreDNS does, the upstream's
/// options, our own error, and padding. `message` is where the reply begins and must end.
fn write_opt(request: &Request, reply: &Reply, message: Range<usize>, out: &mut Vec<u8>) {
    let end = message.end;
    let Some(edns) = &request.edns else { return };
    let [high, low] = edns.size.max(512).to_be_bytes();
    let extended = (reply.answer.rcode >> 4) as u8;
    let dnssec_ok = if edns.dnssec_ok { 0x80 } else { 0 };
    out.extend_from_slice(&[0, 0, 41, high, low, extended, 0, dnssec_ok, 0, 0, 0]);
    let options = out.len();
    for known in [&reply.answer.options, reply.note.as_ref().map_or(&Vec::new(), |note| &note.options)] {
        if out.len() + known.len() <= end {
            out.extend_from_slice(known);
        }
    }
    if let Some((code, text)) = reply.note.as_ref().and_then(|note| note.error.as_ref())
        && out.len() + 6 + text.len() <= end
    {
        // INFO-CODE and EXTRA-TEXT (RFC 8914 section 2); left out first when space is short.
        out.extend_from_slice(&[0, 15]);
        out.extend_from_slice(&(2 + text.len() as u16).to_be_bytes());
        out.extend_from_slice(&code.to_be_bytes());
        out.extend_from_slice(text.as_bytes());
    }
    let padded = out.len() + 4;
    if reply.note.as_ref().is_some_and(|note| note.is_padded) && padded <= end {
        let whole = message.start + (padded - message.start).next_multiple_of(BLOCK);
        out.extend_from_slice(&PADDING.to_be_bytes());
        out.extend_from_slice(&((whole.min(end) - padded) as u16).to_be_bytes());
        out.resize(whole.min(end), 0);
    }
    let len = (out.len() - options) as u16;
    out[options - 2..options].copy_from_slice(&len.to_be_bytes());
}

fn write_header(out: &mut [u8], id: u16, flags: u16, counts: [u16; 3]) {
    for (at, word) in [id, flags, 1, counts[0], counts[1], counts[2]].into_iter().enumerate() {
        out[2 * at..2 * at + 2].copy_from_slice(&word.to_be_bytes());
    }
}

/// Appends the bare reply to a packet that the gate refused, and returns its length in octets.
///
/// RD, RA, AD, CD and TC are copied as CoreDNS does; the opcode is kept for NOTIMP only.
pub fn refusal(packet: &[u8], refusal: &Refusal, out: &mut Vec<u8>) -> usize {
    let start = out.len();
    let flags = u16::from_be_bytes([packet[2], packet[3]]);
    let kept = if refusal.rcode == super::types::rcode::NOTIMP { OPCODE } else { 0 };
    let kept = kept | flag::TC | flag::RD | flag::RA | flag::AD | flag::CD;
    out.extend_from_slice(&packet[..2]);
    out.extend_from_slice(&(flag::QR | flags & kept | refusal.rcode).to_be_bytes());
    out.extend_from_slice(&[0, u8::from(refusal.question_end.is_some()), 0, 0, 0, 0, 0, 0]);
    if let Some(end) = refusal.question_end {
        out.extend_from_slice(&packet[HEADER..end]);
    }
    out.len() - start
}

/// The order in which CoreDNS's loadbalance sorts records.
#[derive(PartialEq, Eq, PartialOrd, Ord, Clone, Copy)]
enum Class {
    Alias,
    Other,
    Address,
    Exchange,
}

/// Returns the class of a section if all its records have one type, as in most answers: one pass.
fn uniform(answer: &Answer, section: Range<u16>) -> Option<Class> {
    let mut kinds = section.map(|index| answer.rtype_at(usize::from(index)));
    let first = kinds.next()?;
    kinds.all(|kind| kind == first).then(|| Class::of(first))
}

impl Class {
    fn of(kind: u16) -> Self {
        match kind {
            rtype::CNAME => Self::Alias,
            rtype::A | rtype::AAAA => Self::Address,
            rtype::MX => Self::Exchange,
            _ => Self::Other,
        }
    }

    fn is_shuffled(self) -> bool {
        matches!(self, Self::Address | Self::Exchange)
    }
}

/// Shuffles with Fisher and Yates and a xorshift generator: all orders are equally likely.
fn shuffle(indexes: &mut [u16], seed: &mut u32) {
    for last in (1..indexes.len()).rev() {
        *seed ^= *seed << 13;
        *seed ^= *seed >> 17;
        *seed ^= *seed << 5;
        indexes.swap(last, ((u64::from(*seed) * (last as u64 + 1)) >> 32) as usize);
    }
}
