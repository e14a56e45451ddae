//! Records that services make, and the answers that hold them.

use std::net::IpAddr;
use std::sync::Arc;

use crate::chain::Reply;
use crate::wire::adopt;
use crate::wire::answer::Section;
use crate::wire::encode::{Encoder, Names, Owner, Tail};
use crate::wire::name::Name;
use crate::wire::question::Question;
use crate::wire::request::flag;
use crate::wire::soa::Soa;
use crate::wire::types::{rcode, rtype};

/// TTL in seconds of the SOA record, and of denials.
const DENIAL: u32 = 30;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    pub(super) owner: Name,
    pub(super) ttl: u32,
    pub(super) data: Data,
}

/// What a record says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Data {
    Address(IpAddr),
    Alias(Name),
    Pointer(Name),
    NameServer(Name),
    Text(String),
    Exchange { preference: u16, target: Name },
    Server { priority: u16, weight: u16, port: u16, target: Name },
}

impl Data {
    /// Returns the host that the record leads to.
    pub(super) fn target(&self) -> Option<Name> {
        match self {
            Self::NameServer(target) | Self::Exchange { target, .. } | Self::Server { target, .. } => Some(*target),
            _ => None,
        }
    }

    fn rtype(&self) -> u16 {
        match self {
            Self::Address(IpAddr::V4(_)) => rtype::A,
            Self::Address(IpAddr::V6(_)) => rtype::AAAA,
            Self::Alias(_) => rtype::CNAME,
            Self::Pointer(_) => rtype::PTR,
            Self::NameServer(_) => rtype::NS,
            Self::Text(_) => rtype::TXT,
            Self::Exchange { .. } => rtype::MX,
            Self::Server { .. } => rtype::SRV,
        }
    }

    fn put(&self, e: &mut Encoder<'_>, names: &mut Names) {
        match self {
            Self::Address(IpAddr::V4(v4)) => e.put(&v4.octets()),
            Self::Address(IpAddr::V6(v6)) => e.put(&v6.octets()),
            Self::Alias(name) => _ = names.put(e, name),
            Self::Pointer(name) | Self::NameServer(name) => _ = names.put_unnoted(e, name),
            Self::Text(text) if text.is_empty() => e.put(&[0]),
            Self::Text(text) => text.as_bytes().chunks(255).for_each(|part| {
                e.put(&[part.len() as u8]);
                e.put(part);
            }),
            Self::Exchange { preference, target } => {
                e.put(&preference.to_be_bytes());
                names.put_unnoted(e, target);
            }
            Self::Server { priority, weight, port, target } => {
                [priority, weight, port].into_iter().for_each(|number| e.put(&number.to_be_bytes()));
                // Must not be compressed (RFC 2782).
                e.put_name(Owner::name(target));
            }
        }
    }
}

/// A part of the answer section.
#[derive(Debug)]
#[allow(clippy::large_enum_variant, reason = "a handful for each question, most of the larger kind")]
pub(super) enum Piece {
    Own(Record),
    /// An answer from elsewhere to this question.
    Theirs(Question, Reply),
}

/// All records of an answer.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pub(super) all: Vec<Piece>,
    additional: Vec<Record>,
    /// Replies whose answers become additional records.
    pub(super) others: Vec<(Question, Reply)>,
    pub(super) flags: u16,
    /// The reply for the target of an alias that failed: the answer fails with it.
    pub(super) failed: Option<Reply>,
}

impl Pieces {
    /// Adds a record unless the same one is there.
    pub(super) fn push_new(&mut self, record: Record) {
        let is_same = |piece: &Piece| matches!(piece, Piece::Own(known) if known.owner == record.owner && known.data == record.data);
        if !self.all.iter().any(is_same) {
            self.all.push(Piece::Own(record));
        }
    }

    /// Adds an additional record unless the same one is there.
    pub(super) fn push_additional(&mut self, record: Record) {
        if !self.additional.iter().any(|known| known.owner == record.owner && known.data == record.data) {
            self.additional.push(record);
        }
    }

    /// Adds the answer section of another answer.
    pub(super) fn add(&mut self, more: Self) {
        self.all.extend(more.all);
        self.flags |= more.flags;
        self.failed = self.failed.take().or(more.failed);
    }

    /// Returns the answer to a question; its name is as the client wrote it.
    pub(super) fn reply(&self, question: &Question) -> Reply {
        let (asked, mut names) = (question.name, Names::new(question.name));
        let mut answer = Arc::new(Encoder::build(asked.len(), |e| {
            e.flags(flag::AA | self.flags);
            if self.failed.is_some() {
                e.rcode(rcode::SERVFAIL);
            }
            for piece in &self.all {
                match piece {
                    Piece::Own(record) => put(e, &mut names, Section::Answer, record),
                    Piece::Theirs(question, reply) => {
                        adopt::append(e, &mut names, &reply.answer, question, reply.ttl);
                    }
                }
            }
            self.additional.iter().for_each(|record| put(e, &mut names, Section::Additional, record));
        }));
        if !self.others.is_empty() {
            let others = self.others.iter();
            let others: Vec<_> = others
                .map(|(question, reply)| adopt::Other { question, answer: &reply.answer, ttl: reply.ttl })
                .collect();
            answer = adopt::with_additional(&answer, question, &others);
        }
        let note = self.failed.as_ref().and_then(|failed| failed.note.clone());
        Reply { note, ..Reply::fetched(answer) }
    }
}

impl FromIterator<Record> for Pieces {
    fn from_iter<I: IntoIterator<Item = Record>>(records: I) -> Self {
        Self { all: records.into_iter().map(Piece::Own).collect(), ..Self::default() }
    }
}

fn put(e: &mut Encoder<'_>, names: &mut Names, section: Section, record: &Record) {
    names.record_in(section, e, &record.owner, record.data.rtype(), record.ttl, |e, names| record.data.put(e, names));
}

/// Returns the SOA record of a zone of `zone_len` octets; `serial` is the time in seconds.
pub(super) fn soa(zone_len: usize, serial: u32) -> Soa<'static> {
    let tail = Tail::AskedEnd(zone_len as u8);
    Soa {
        zone_len,
        ttl: DENIAL,
        name_server: Owner::new(b"\x02ns\x03dns", tail),
        hostmaster: Owner::new(b"\x0ahostmaster", tail),
        serial,
        timers: [7200, 1800, 86_400],
        minimum: DENIAL,
    }
}
