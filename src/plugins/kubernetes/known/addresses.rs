//! Tables of the holders of IP addresses. An IPv4 address takes 16 octets with all its holders,
//! since there are as many as Pods.

use std::hash::Hash;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use triomphe::ThinArc;

use super::shards::{Draft, Keyed, Shards};

//----------- Holders --------------------------------------------------------

/// The octet strings that stand for the holders of an address: one as a rule, and then shared by
/// all its addresses. In one piece of memory, since that is one cache line less for a query.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holders(ThinArc<Held, u8>);

/// Why an address is a holder's.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum As {
    /// It is one of its own: a ClusterIP, an address of a Pod.
    Own,
    /// It is that of one of its endpoints.
    Endpoint,
}

#[derive(Debug, PartialEq, Eq)]
struct Held {
    held_as: As,
    /// All of them, if there are several; then this one has no name.
    #[expect(
        clippy::box_collection,
        reason = "a slice takes a word more in every holder, and few addresses have many"
    )]
    many: Option<Box<Vec<Holders>>>,
}

impl Holders {
    /// A holder.
    #[must_use]
    pub fn one(held_as: As, name: &[u8]) -> Self {
        Self(ThinArc::from_header_and_slice(Held { held_as, many: None }, name))
    }

    /// The names of all of them.
    pub fn names(&self) -> impl Iterator<Item = &[u8]> {
        self.each().iter().map(|holder| &holder.0.slice)
    }

    /// The names of those whose address it is for this reason.
    pub fn names_as(&self, held_as: As) -> impl Iterator<Item = &[u8]> {
        self.each().iter().filter(move |holder| holder.held_as() == held_as).map(|holder| &holder.0.slice)
    }

    /// Whether all of `others` are among them.
    #[must_use]
    pub fn have(&self, others: &Self) -> bool {
        others.each().iter().all(|other| self.each().contains(other))
    }

    /// Returns these holders and one more.
    #[must_use]
    pub fn with(&self, one: &Self) -> Self {
        Self::many(self.each().iter().chain([one]).cloned().collect())
    }

    /// Returns these holders without one that has this name for this reason, or `None` if it was
    /// the only one.
    #[must_use]
    pub fn without(&self, held_as: As, name: &[u8]) -> Option<Self> {
        let each = self.each();
        let at = each.iter().position(|holder| holder.held_as() == held_as && holder.0.slice == *name);
        let mut left: Vec<_> = (0..each.len()).filter(|n| Some(*n) != at).map(|n| each[n].clone()).collect();
        match left.len() {
            0 => None,
            1 => left.pop(),
            _ => Some(Self::many(left)),
        }
    }

    /// Whether this is the only reference to it.
    #[must_use]
    pub fn is_unshared(&self) -> bool {
        ThinArc::strong_count(&self.0) == 1
    }

    fn many(all: Vec<Self>) -> Self {
        Self(ThinArc::from_header_and_slice(Held { held_as: As::Own, many: Some(Box::new(all)) }, &[]))
    }

    fn held_as(&self) -> As {
        self.0.header.header.held_as
    }

    fn each(&self) -> &[Self] {
        match &self.0.header.header.many {
            None => std::slice::from_ref(self),
            Some(all) => all,
        }
    }
}

//----------- ByAddress ------------------------------------------------------

/// Holders by address, as readers see them.
#[derive(Default)]
pub struct ByAddress {
    v4: Shards<At<Ipv4Addr>>,
    v6: Shards<At<Ipv6Addr>>,
}

/// Changes to them that are not published yet.
#[derive(Default)]
pub(super) struct AddressDraft {
    v4: Draft<At<Ipv4Addr>>,
    v6: Draft<At<Ipv6Addr>>,
}

#[derive(Debug, Clone)]
struct At<A> {
    address: A,
    holders: Holders,
}

impl<A: Clone + Hash + Eq> Keyed for At<A> {
    /// 150 entries each with 150,000 addresses: each has an Arc, to be counted when the shard is
    /// copied. More of them would cost a small cluster more than they save a large one.
    const SHARDS: usize = 1024;

    type Key = A;

    fn key(&self) -> &A {
        &self.address
    }
}

impl ByAddress {
    /// Looks at the holders of an address.
    pub fn with<R>(&self, address: &IpAddr, look: impl FnOnce(&Holders) -> R) -> Option<R> {
        match address {
            IpAddr::V4(address) => self.v4.with(address, |at| look(&at.holders)),
            IpAddr::V6(address) => self.v6.with(address, |at| look(&at.holders)),
        }
    }

    /// Each address with its holders, in no order.
    pub fn all(&self) -> impl Iterator<Item = (IpAddr, Holders)> {
        let v4 = self.v4.all().map(|at| (IpAddr::V4(at.address), at.holders));
        v4.chain(self.v6.all().map(|at| (IpAddr::V6(at.address), at.holders)))
    }

    /// How many addresses have a holder.
    #[must_use]
    pub fn len(&self) -> usize {
        self.v4.len() + self.v6.len()
    }

    /// Whether no address has a holder.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl AddressDraft {
    /// The holders of an address, changes included.
    pub(super) fn get(&self, table: &ByAddress, address: &IpAddr) -> Option<Holders> {
        match address {
            IpAddr::V4(address) => self.v4.get(&table.v4, address).map(|at| at.holders),
            IpAddr::V6(address) => self.v6.get(&table.v6, address).map(|at| at.holders),
        }
    }

    /// Sets the holders of an address; `None` removes it.
    pub(super) fn set(&mut self, table: &ByAddress, address: IpAddr, holders: Option<Holders>) {
        match (address, holders) {
            (IpAddr::V4(address), Some(holders)) => self.v4.put(&table.v4, At { address, holders }),
            (IpAddr::V6(address), Some(holders)) => self.v6.put(&table.v6, At { address, holders }),
            (IpAddr::V4(address), None) => self.v4.remove(&table.v4, &address),
            (IpAddr::V6(address), None) => self.v6.remove(&table.v6, &address),
        }
    }

    /// Shows all changes to the readers.
    pub(super) fn publish(&mut self, table: &ByAddress) {
        self.v4.publish(&table.v4);
        self.v6.publish(&table.v6);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn holders_come_and_go() {
        let (a, b) = (Holders::one(As::Own, b"a"), Holders::one(As::Endpoint, b"b"));
        let names = |holders: &Holders| holders.names().map(<[u8]>::to_vec).collect::<Vec<_>>();
        let all = a.with(&b).with(&a);
        assert_eq!(names(&all), [b"a", b"b", b"a"]);
        let fewer = all.without(As::Own, b"a").expect("some are left");
        assert_eq!(names(&fewer), [b"b", b"a"]);
        assert_eq!(fewer.without(As::Own, b"b").as_ref().map(names), Some(names(&fewer)), "for another reason");
        assert_eq!(fewer.without(As::Endpoint, b"b"), Some(a.clone()), "one alone is shared again");
        assert_eq!(a.without(As::Own, b"a"), None);
        assert!(fewer.have(&a) && fewer.have(&a.with(&b)) && !fewer.have(&Holders::one(As::Own, b"b")));
        assert_eq!(fewer.names_as(As::Own).collect::<Vec<_>>(), [b"a"]);
        assert_eq!(size_of::<At<Ipv4Addr>>(), 16);
    }
}
