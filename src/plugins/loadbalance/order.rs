//! Decides which records can be moved, and where to.

use std::net::IpAddr;
use std::sync::Arc;

use crate::corefile::value::Network;
use crate::wire::answer::{Answer, Record, Section};
use crate::wire::types::rtype;

/// The sections of a message.
pub(super) const SECTIONS: [Section; 3] = [Section::Answer, Section::Authority, Section::Additional];

/// Whether any other order can be right: most answers hold a single record.
pub(super) fn has_choice(answer: &Answer) -> bool {
    // Nothing to move: each kind is above the one before, or equal to it and kept in order.
    let is_right = |before: &Kind, kind: &Kind| before < kind || before == kind && !kind.moves();
    answer.is_movable()
        && SECTIONS.into_iter().any(|section| {
            answer.counts[section as usize] > 1 && !answer.rtypes(section).map(Kind::of).is_sorted_by(is_right)
        })
}

/// The kinds of records in a section, in the order of `round_robin`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Alias,
    Other,
    Address,
    Exchange,
}

impl Kind {
    fn of(kind: u16) -> Self {
        match kind {
            rtype::CNAME => Self::Alias,
            rtype::A | rtype::AAAA => Self::Address,
            rtype::MX => Self::Exchange,
            _ => Self::Other,
        }
    }

    fn moves(self) -> bool {
        matches!(self, Self::Address | Self::Exchange)
    }
}

/// The records of one section, as indexes in message order.
#[derive(Default)]
pub(super) struct Sorted {
    pub(super) aliases: Vec<u16>,
    pub(super) others: Vec<u16>,
    pub(super) addresses: Vec<(u16, IpAddr)>,
    pub(super) exchanges: Vec<u16>,
}

impl Sorted {
    /// Sorts the records of a section by kind.
    pub(super) fn new(answer: &Answer, section: Section) -> Self {
        let first: u16 = answer.counts[..section as usize].iter().sum();
        let mut sorted = Self::default();
        for (index, record) in (first..).zip(answer.section(section)) {
            match (Kind::of(record.rtype), address(&record)) {
                (Kind::Alias, _) => sorted.aliases.push(index),
                (Kind::Address, Some(address)) => sorted.addresses.push((index, address)),
                (Kind::Exchange, _) => sorted.exchanges.push(index),
                _ => sorted.others.push(index),
            }
        }
        sorted
    }
}

/// Returns the address in an A or AAAA record.
fn address(record: &Record<'_>) -> Option<IpAddr> {
    match record.rtype {
        rtype::A => <[u8; 4]>::try_from(record.rdata).ok().map(IpAddr::from),
        rtype::AAAA => <[u8; 16]>::try_from(record.rdata).ok().map(IpAddr::from),
        _ => None,
    }
}

/// Shuffles addresses and MX records, then sorts addresses by their place in `networks`.
pub(super) fn preferred(answer: &Answer, networks: &[Network]) -> Arc<[u16]> {
    let mut order = Vec::with_capacity(answer.counts.iter().map(|&count| usize::from(count)).sum());
    for section in SECTIONS {
        let mut sorted = Sorted::new(answer, section);
        fastrand::shuffle(&mut sorted.addresses);
        fastrand::shuffle(&mut sorted.exchanges);
        let preferred = section != Section::Authority;
        if preferred {
            let rank = |address: IpAddr| networks.iter().position(|network| network.contains(address));
            sorted.addresses.sort_by_key(|&(_, address)| rank(address).unwrap_or(networks.len()));
        }
        order.extend(sorted.aliases);
        if !preferred {
            order.extend(&sorted.others);
        }
        order.extend(sorted.addresses.iter().map(|(index, _)| index));
        order.extend(sorted.exchanges);
        if preferred {
            order.extend(sorted.others);
        }
    }
    order.into()
}
