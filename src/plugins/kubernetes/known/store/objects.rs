//! Which objects of a kind are known, and in which list each was seen last.

use std::net::{IpAddr, Ipv4Addr};

use foldhash::quality::RandomState;
use hashbrown::HashTable;

use super::super::addresses::Holders;

/// An object of a kind: 128 bits made from its namespace and name with seeds of this process.
///
/// The names themselves would take more room than everything else that is known of a Pod. Two of a
/// million objects are taken for one with a probability of 10^-27.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Id([u64; 2]);

/// Makes ids.
#[derive(Default)]
pub(super) struct Ids([RandomState; 2]);

impl Ids {
    pub(super) fn of(&self, namespace: &str, name: &str) -> Id {
        use std::hash::BuildHasher as _;
        Id([0, 1].map(|at| self.0[at].hash_one((namespace, name))))
    }
}

/// The objects of one kind.
#[derive(Default)]
pub(super) struct Known {
    epoch: u32,
    /// Whether a list has been complete.
    pub(super) complete: bool,
    /// Whether a snapshot gave these objects, under the names that a list gives them.
    pub(super) restored: bool,
    objects: HashTable<Held>,
}

struct Held {
    id: Id,
    epoch: u32,
    link: Link,
}

/// What is needed to remove an object that was deleted.
#[derive(Debug)]
pub(super) enum Link {
    Nothing,
    Namespace(Box<str>),
    Service(Box<[u8]>),
    /// The service of a slice.
    Slice(Box<[u8]>),
    /// Namespace and addresses of a Pod.
    Pod(Holders, Few),
}

/// The addresses of a Pod: one of IPv4 as a rule.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Few {
    One(Ipv4Addr),
    #[expect(clippy::box_collection, reason = "a slice takes a word more in every entry, and few have one")]
    Any(Box<Vec<IpAddr>>),
}

impl Known {
    /// A list begins.
    pub(super) fn begin(&mut self) {
        self.epoch = self.epoch.wrapping_add(1);
    }

    /// An object was seen.
    pub(super) fn put(&mut self, id: Id, link: Link) {
        let held = Held { id, epoch: self.epoch, link };
        match self.objects.find_mut(id.0[0], |known| known.id == id) {
            Some(known) => *known = held,
            None => {
                self.objects.insert_unique(id.0[0], held, |known| known.id.0[0]);
            }
        }
    }

    /// An object was seen, and is as it was.
    pub(super) fn touch(&mut self, id: Id) {
        if let Some(held) = self.objects.find_mut(id.0[0], |known| known.id == id) {
            held.epoch = self.epoch;
        }
    }

    pub(super) fn get(&self, id: Id) -> Option<&Link> {
        self.objects.find(id.0[0], |known| known.id == id).map(|held| &held.link)
    }

    pub(super) fn take(&mut self, id: Id) -> Option<Link> {
        let entry = self.objects.find_entry(id.0[0], |known| known.id == id).ok()?;
        Some(entry.remove().0.link)
    }

    pub(super) fn len(&self) -> usize {
        self.objects.len()
    }

    /// Those that the list which has begun last did not have.
    pub(super) fn unseen(&self) -> Vec<Id> {
        self.objects.iter().filter(|held| held.epoch != self.epoch).map(|held| held.id).collect()
    }

    pub(super) fn links(&self) -> impl Iterator<Item = &Link> {
        self.objects.iter().map(|held| &held.link)
    }
}

impl From<Box<[IpAddr]>> for Few {
    fn from(all: Box<[IpAddr]>) -> Self {
        match *all {
            [IpAddr::V4(one)] => Self::One(one),
            _ => Self::Any(Box::new(all.into())),
        }
    }
}

impl Few {
    pub(super) fn iter(&self) -> impl Iterator<Item = IpAddr> {
        let (one, any): (_, &[IpAddr]) = match self {
            Self::One(one) => (Some(IpAddr::V4(*one)), &[]),
            Self::Any(any) => (None, any),
        };
        one.into_iter().chain(any.iter().copied())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_epochs() {
        let (ids, mut known) = (Ids::default(), Known::default());
        let [a, b, c] = ["a", "b", "c"].map(|name| ids.of("default", name));
        assert_ne!(ids.of("ab", "c"), ids.of("a", "bc"));
        known.begin();
        known.put(a, Link::Nothing);
        known.put(b, Link::Nothing);
        known.put(c, Link::Service(Box::default()));
        known.begin();
        known.touch(b);
        known.put(c, Link::Nothing);
        assert_eq!((known.unseen(), known.len()), (vec![a], 3));
        assert!(known.take(a).is_some() && known.get(a).is_none() && matches!(known.get(c), Some(Link::Nothing)));
        assert_eq!(size_of::<Held>(), 48);
    }
}
