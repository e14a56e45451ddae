//! Numbers the names of one answer, so that comparing names means comparing numbers.

use foldhash::fast::FixedState;
use hashbrown::HashTable;
use std::hash::BuildHasher;

use crate::wire::name::Name;

/// Names by number, in the order of their first occurrence.
pub(super) struct Names {
    octets: Vec<u8>,
    /// The end of each name in `octets`.
    ends: Vec<u32>,
    table: HashTable<u16>,
    hasher: FixedState,
}

impl Names {
    /// Returns a list with only `first`, which has the number 0.
    pub(super) fn new(first: &Name) -> Self {
        let hasher = FixedState::with_seed(fastrand::u64(..));
        let mut names = Self { octets: Vec::with_capacity(128), ends: Vec::new(), table: HashTable::new(), hasher };
        names.number(first.wire());
        names
    }

    /// Returns the number of a name in lower case; `None` if there are more names than a message
    /// can hold.
    pub(super) fn number(&mut self, wire: &[u8]) -> Option<u16> {
        if let Some(known) = self.find(wire) {
            return Some(known);
        }
        let number = u16::try_from(self.ends.len()).ok()?;
        self.octets.extend_from_slice(wire);
        self.ends.push(self.octets.len() as u32);
        let Self { octets, ends, table, hasher } = self;
        table.insert_unique(hasher.hash_one(wire), number, |&other| hasher.hash_one(at(octets, ends, other)));
        Some(number)
    }

    /// Returns the number of a name, if it occurs in the answer.
    pub(super) fn find(&self, wire: &[u8]) -> Option<u16> {
        let is_it = |&number: &u16| self.get(number) == wire;
        self.table.find(self.hasher.hash_one(wire), is_it).copied()
    }

    /// Returns the name with this number, in wire form.
    pub(super) fn get(&self, number: u16) -> &[u8] {
        at(&self.octets, &self.ends, number)
    }

    /// Returns how many names there are.
    pub(super) fn len(&self) -> usize {
        self.ends.len()
    }

    /// Returns the name itself and all names above it, from the left.
    pub(super) fn upward(&self, number: u16) -> impl Iterator<Item = &[u8]> {
        let mut rest = Some(self.get(number));
        std::iter::from_fn(move || {
            let name = rest?;
            let label = usize::from(*name.first()?);
            rest = (label > 0).then(|| &name[1 + label..]);
            Some(name)
        })
    }
}

fn at<'a>(octets: &'a [u8], ends: &[u32], number: u16) -> &'a [u8] {
    let number = usize::from(number);
    let from = number.checked_sub(1).map_or(0, |before| ends[before] as usize);
    &octets[from..ends[number] as usize]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_have_numbers() {
        let name = |text| Name::from_text(text).expect("a name");
        let mut names = Names::new(&name("a.b.example."));
        assert_eq!(names.number(name("example.").wire()), Some(1));
        assert_eq!(names.number(name("a.b.example.").wire()), Some(0));
        assert_eq!(names.find(name("b.example.").wire()), None);
        assert_eq!((names.len(), names.get(1)), (2, name("example.").wire()));
        let above: Vec<_> = names.upward(0).map(<[u8]>::len).collect();
        assert_eq!(above, [13, 11, 9, 1], "down to the root");
    }
}
