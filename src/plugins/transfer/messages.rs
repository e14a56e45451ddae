//! A zone cut into messages, each made when the client has read most of those before it.

use std::iter::{Peekable, once};
use std::sync::Arc;

use crate::chain::transfer::{Records, TransferRecord};
use crate::wire::answer::{Answer, Section, scratch};
use crate::wire::encode::{Encoder, Owner, Tail};
use crate::wire::name::Name;
use crate::wire::request::flag;

/// Octets of records in one message, unless a single record has more. CoreDNS fills 63,000; smaller
/// ones make less work at a time for a thread that has others to answer.
const FILLED: usize = 16_000;

/// The messages of one transfer: the SOA record, all others, the SOA record again (RFC 5936
/// section 2.2).
pub(super) struct Messages<D> {
    zone: Name,
    records: Peekable<Records>,
    count: usize,
    done: Option<D>,
}

impl<D: FnOnce(usize)> Messages<D> {
    /// Returns the messages. Calls `done` with the number of records when the last one is made.
    pub(super) fn new(zone: Name, soa: TransferRecord, records: Records, done: D) -> Self {
        let records: Records = Box::new(once(soa.clone()).chain(records).chain(once(soa)));
        Self { zone, records: records.peekable(), count: 0, done: Some(done) }
    }

    /// Returns whether the last message is made.
    pub(super) fn is_done(&self) -> bool {
        self.done.is_none()
    }
}

impl<D: FnOnce(usize)> Iterator for Messages<D> {
    type Item = Arc<Answer>;

    fn next(&mut self) -> Option<Arc<Answer>> {
        self.records.peek()?;
        let answer = scratch(self.zone.len(), |answer| {
            let mut e = Encoder::new(answer);
            e.flags(flag::AA);
            let fits = |e: &Encoder<'_>, record: &TransferRecord| {
                let len = record.owner.len() + 10 + record.data.len();
                e.wire_len() == 0 || e.wire_len() + len <= FILLED
            };
            while let Some(record) = self.records.next_if(|record| fits(&e, record)) {
                put(&mut e, &self.zone, &record);
                self.count += 1;
            }
        });
        if self.records.peek().is_none()
            && let Some(done) = self.done.take()
        {
            done(self.count);
        }
        Some(answer)
    }
}

/// Returns an answer with one record of the zone.
pub(super) fn alone(zone: &Name, record: &TransferRecord) -> Arc<Answer> {
    scratch(zone.len(), |answer| {
        let mut e = Encoder::new(answer);
        e.flags(flag::AA);
        put(&mut e, zone, record);
    })
}

/// Adds a record. Every owner ends in the zone, which is the name in the question.
fn put(e: &mut Encoder<'_>, zone: &Name, record: &TransferRecord) {
    let owner = match record.owner.prefix_len(zone) {
        Some(front) => Owner::new(&record.owner.wire()[..front], Tail::Asked),
        None => Owner::name(&record.owner),
    };
    e.record(Section::Answer, owner, record.rtype, record.ttl, |e| e.put(&record.data));
}
