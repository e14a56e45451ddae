//! A zone as it comes from a primary: the messages of a transfer, the whole zone (RFC 5936 section
//! 2.2) or its changes (RFC 1995 section 4). Pure.

use std::sync::Arc;

use super::data::{Builder, Soa, Zone};
use super::scan::lower;
use crate::wire::name::Name;
use crate::wire::records::{MessageRecord, answers};
use crate::wire::request::flag;
use crate::wire::types::{class, rcode_name, rtype};

/// The most octets of one transfer.
const MOST_OCTETS: usize = 1 << 30;

/// A transfer that is being read.
pub struct Incoming {
    zone: Name,
    /// The id of the query.
    id: u16,
    /// The version that the query named: changes may come.
    known: Option<Arc<Zone>>,
    builder: Builder,
    state: State,
    /// The serial of the version that is sent.
    serial: u32,
    octets: usize,
}

/// What has been read.
enum State {
    /// Nothing.
    Nothing,
    /// The SOA record. The next record says whether the zone or its changes follow.
    Soa(Box<MessageRecord>),
    /// A part of the whole zone.
    Whole,
    /// Changes: records of the older version, which are removed.
    Removing,
    /// Changes: records of the next version, with its serial, which are added.
    Adding(u32),
    /// Everything.
    Done,
}

/// The state of a transfer after a message.
pub enum Progress {
    /// More messages follow.
    More(Box<Incoming>),
    /// The primary has no newer version.
    Current,
    /// The zone is complete.
    Done(Box<Zone>),
}

/// Checks the header of a primary's reply to the query with this id.
///
/// # Errors
/// It is not the reply, or not a good one; says why.
pub fn header(message: &[u8], id: u16) -> Result<(), String> {
    let word = |at: usize| Some(u16::from_be_bytes(*message.get(at..)?.first_chunk()?));
    let (Some(its), Some(flags)) = (word(0), word(2)) else { return Err(UNREADABLE.to_owned()) };
    match flags & 0xF {
        _ if its != id || flags & flag::QR == 0 => Err("a message that is not the reply".to_owned()),
        _ if flags & flag::TC != 0 => Err("a truncated message".to_owned()),
        0 => Ok(()),
        code => Err(format!("rcode was {}", rcode_name(code).unwrap_or("unknown"))),
    }
}

impl Incoming {
    /// Returns a transfer that has read nothing yet. `known` is the version that an IXFR query
    /// named.
    #[must_use]
    pub fn new(zone: &Name, id: u16, known: Option<Arc<Zone>>) -> Self {
        let (zone, builder) = (zone.lowered(), Builder::new(zone));
        Self { zone, id, known, builder, state: State::Nothing, serial: 0, octets: 0 }
    }

    /// Reads the next message.
    ///
    /// # Errors
    /// The primary refuses the transfer, or sends something else; says why.
    pub fn message(mut self, message: &[u8]) -> Result<Progress, String> {
        self.octets += message.len();
        if self.octets > MOST_OCTETS {
            return Err(format!("more than {MOST_OCTETS} octets"));
        }
        header(message, self.id)?;
        let (is_first, mut count) = (matches!(self.state, State::Nothing), 0);
        for record in answers(message).map_err(|_| UNREADABLE)? {
            self.record(record.map_err(|_| UNREADABLE)?)?;
            count += 1;
            if matches!(self.state, State::Done) {
                return Ok(Progress::Done(Box::new(self.builder.finish()?)));
            }
        }
        match &self.known {
            _ if count == 0 => Err("a message without records".to_owned()),
            // One SOA record alone: the primary has nothing newer (RFC 1995 section 2).
            Some(known) if is_first && count == 1 && known.soa().serial == self.serial => Ok(Progress::Current),
            _ => Ok(Progress::More(Box::new(self))),
        }
    }

    fn record(&mut self, record: MessageRecord) -> Result<(), String> {
        if record.class != class::IN {
            return Err(format!("a record of class {}", record.class));
        }
        let serial = (record.rtype == rtype::SOA).then(|| self.serial_of(&record)).transpose()?;
        self.state = match (std::mem::replace(&mut self.state, State::Nothing), serial) {
            (State::Nothing, None) => return Err("the first record is not the SOA record".to_owned()),
            (State::Nothing, Some(serial)) => {
                self.serial = serial;
                State::Soa(Box::new(record))
            }
            (State::Soa(soa), None) => {
                self.add(*soa)?;
                self.add(record)?;
                State::Whole
            }
            (State::Soa(soa), Some(serial)) if serial == self.serial => {
                self.add(*soa)?;
                State::Done
            }
            (State::Soa(_), Some(serial)) => {
                self.begin_changes(serial)?;
                State::Removing
            }
            (State::Whole, None) => {
                self.add(record)?;
                State::Whole
            }
            (State::Whole, Some(serial)) if serial == self.serial => State::Done,
            (State::Removing, None) => {
                self.remove(&record)?;
                State::Removing
            }
            (State::Removing, Some(serial)) => {
                // This SOA record replaces the older one.
                self.add(record)?;
                State::Adding(serial)
            }
            (State::Adding(next), None) => {
                self.add(record)?;
                State::Adding(next)
            }
            (State::Adding(next), Some(serial)) if serial == next => {
                if next == self.serial {
                    State::Done
                } else {
                    State::Removing
                }
            }
            (State::Whole | State::Adding(_), Some(_)) => return Err("a SOA record of another version".to_owned()),
            (State::Done, _) => State::Done,
        };
        Ok(())
    }

    /// Begins with the version that the changes are for.
    fn begin_changes(&mut self, serial: u32) -> Result<(), String> {
        let known = self.known.as_ref().filter(|known| known.soa().serial == serial);
        for record in known.ok_or("changes of a version that is not known")?.records() {
            let owner = Name::from_wire(record.owner).ok_or(UNREADABLE)?;
            self.builder.add(&owner, record.rtype, record.ttl, record.data.to_vec())?;
        }
        Ok(())
    }

    fn serial_of(&self, soa: &MessageRecord) -> Result<u32, String> {
        match Soa::of(&soa.data) {
            Some(numbers) if soa.owner.lowered() == self.zone => Ok(numbers.serial),
            _ => Err(format!("a SOA record of {}", soa.owner)),
        }
    }

    /// Adds a record. What the zone cannot have is left out, as when a file is read.
    fn add(&mut self, mut record: MessageRecord) -> Result<(), String> {
        tidy(&mut record)?;
        self.builder.add(&record.owner, record.rtype, record.ttl, record.data).map(drop)
    }

    fn remove(&mut self, record: &MessageRecord) -> Result<(), String> {
        let mut record = record.clone();
        tidy(&mut record)?;
        let is_taken = self.builder.remove(&record.owner, record.rtype, &record.data);
        if is_taken { Ok(()) } else { Err(format!("a change of {} that does not fit", record.owner)) }
    }
}

/// What is said of a message that cannot be read.
pub const UNREADABLE: &str = "a message that cannot be read";

/// Gives the data the form that data from a file have.
fn tidy(record: &mut MessageRecord) -> Result<(), String> {
    let is_service = matches!(record.rtype, rtype::SVCB | rtype::HTTPS);
    if is_service && record.data.len() < 3 {
        return Err(UNREADABLE.to_owned());
    }
    lower(record.rtype, &mut record.data);
    Ok(())
}

#[cfg(test)]
#[path = "incoming_tests.rs"]
mod tests;
