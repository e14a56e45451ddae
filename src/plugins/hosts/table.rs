//! Encodes entries into answers, once, and finds them.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;
use std::net::IpAddr;

use super::parse::Entry;
use crate::wire::answer::Section;
use crate::wire::encode::{Encoder, Owner, Tail};
use crate::wire::name::Name;
use crate::wire::packed::Packed;
use crate::wire::request::flag;
use crate::wire::types::rtype;

/// Seeded at random, so that names from outside cannot be chosen to collide.
type Map<K, V> = HashMap<K, V, foldhash::fast::RandomState>;

/// The label of a wildcard in wire form.
const ASTERISK: &[u8] = b"\x01*";

//----------- Table ----------------------------------------------------------

/// Answers by name and by address.
#[derive(Default)]
pub struct Table {
    names: Map<Box<[u8]>, Found>,
    /// Wildcards, by the name after the asterisk.
    below: Map<Box<[u8]>, Found>,
    addresses: Map<IpAddr, Packed>,
    /// Number of addresses of names and names of addresses, as the metric counts them.
    pub entries: usize,
}

/// The answers for a name: at least one of the two.
#[derive(Default, Clone)]
pub struct Found {
    /// The answer to A.
    pub a: Option<Packed>,
    /// The answer to AAAA.
    pub aaaa: Option<Packed>,
}

impl Table {
    /// Encodes the entries of the file and those of the Corefile, which follow them in every
    /// answer. `ttl` is in seconds; `reverse` says whether addresses get PTR records.
    pub fn new(file: &[Entry], inline: &[Entry], ttl: u32, reverse: bool) -> Self {
        let sources = [Source::new(file), Source::new(inline)];
        let (mut table, mut encoder) = (Self::default(), Addresses { ttl, known: Map::default() });
        for name in sources.iter().flat_map(|source| source.exact.keys()) {
            table.names.entry((*name).into()).or_insert_with(|| {
                let above = &name[(1 + usize::from(name[0])).min(name.len())..];
                encoder.found(&sources, |source, is_v6| source.of_name(name, above, is_v6))
            });
        }
        for above in sources.iter().flat_map(|source| source.below.keys()) {
            table
                .below
                .entry((*above).into())
                .or_insert_with(|| encoder.found(&sources, |source, is_v6| source.of_wildcard(above, is_v6)));
        }
        table.entries = file.len() + inline.len();
        if reverse {
            table.add_pointers(file.iter().chain(inline), ttl);
        }
        table
    }

    fn add_pointers<'e>(&mut self, entries: impl Iterator<Item = &'e Entry>, ttl: u32) {
        let mut names: Map<IpAddr, Vec<&[u8]>> = Map::default();
        for entry in entries.filter(|entry| !is_wildcard(&entry.name)) {
            names.entry(entry.address).or_default().push(&entry.name);
            self.entries += 1;
        }
        self.addresses = names.into_iter().map(|(address, names)| (address, pointers(distinct(names), ttl))).collect();
    }

    /// Finds the answers for a lower-case name: its own, or those of a wildcard directly above it.
    pub fn name(&self, name: &Name) -> Option<&Found> {
        let wire = name.wire();
        self.names.get(wire).or_else(|| self.below.get(wire.get(1 + usize::from(wire[0])..)?))
    }

    /// Returns the PTR records of an address.
    pub fn address(&self, address: IpAddr) -> Option<&Packed> {
        self.addresses.get(&address.to_canonical())
    }
}

fn is_wildcard(name: &[u8]) -> bool {
    name.starts_with(ASTERISK)
}

//----------- Source ---------------------------------------------------------

/// Addresses from the file or the Corefile.
struct Source<'e> {
    exact: Map<&'e [u8], Vec<IpAddr>>,
    below: Map<&'e [u8], Vec<IpAddr>>,
}

impl<'e> Source<'e> {
    fn new(entries: &'e [Entry]) -> Self {
        let mut source = Self { exact: Map::default(), below: Map::default() };
        for Entry { name, address } in entries {
            match name.strip_prefix(ASTERISK) {
                None => source.exact.entry(name).or_default().push(*address),
                // `*` alone: in CoreDNS it matches no name.
                Some([0]) => {}
                Some(above) => source.below.entry(above).or_default().push(*address),
            }
        }
        source
    }

    /// Returns the addresses of a name. A wildcard fills in a family that the name itself lacks.
    fn of_name(&self, name: &[u8], above: &[u8], is_v6: bool) -> Vec<IpAddr> {
        let own = of_family(self.exact.get(name), is_v6);
        if own.is_empty() { self.of_wildcard(above, is_v6) } else { own }
    }

    fn of_wildcard(&self, above: &[u8], is_v6: bool) -> Vec<IpAddr> {
        of_family(self.below.get(above), is_v6)
    }
}

fn of_family(addresses: Option<&Vec<IpAddr>>, is_v6: bool) -> Vec<IpAddr> {
    addresses.into_iter().flatten().copied().filter(|address| address.is_ipv6() == is_v6).collect()
}

/// Removes duplicates; the first of equal items stays (RFC 2181 section 5).
fn distinct<T: Copy + Eq + Hash>(mut items: Vec<T>) -> Vec<T> {
    if items.len() > 1 {
        let mut seen = HashSet::with_capacity(items.len());
        items.retain(|item| seen.insert(*item));
    }
    items
}

//----------- Encoding -------------------------------------------------------

/// Encodes lists of addresses. Names with the same list share one answer: a block list, whose names
/// all have the address 0.0.0.0, takes little more memory than the names.
struct Addresses {
    ttl: u32,
    known: Map<Vec<IpAddr>, Packed>,
}

impl Addresses {
    fn found<'e>(&mut self, sources: &[Source<'e>; 2], of: impl Fn(&Source<'e>, bool) -> Vec<IpAddr>) -> Found {
        let [file, inline] = sources;
        let mut answer = |is_v6| self.answer([of(file, is_v6), of(inline, is_v6)].concat());
        Found { a: answer(false), aaaa: answer(true) }
    }

    fn answer(&mut self, addresses: Vec<IpAddr>) -> Option<Packed> {
        let addresses = distinct(addresses);
        if addresses.is_empty() {
            return None;
        }
        if let Some(known) = self.known.get(&addresses) {
            return Some(known.clone());
        }
        let answer = Packed::new(&Encoder::build(0, |e| {
            e.flags(flag::AA);
            for &address in &addresses {
                e.address(Section::Answer, Owner::ASKED, self.ttl, address);
            }
        }));
        self.known.insert(addresses, answer.clone());
        Some(answer)
    }
}

fn pointers(names: Vec<&[u8]>, ttl: u32) -> Packed {
    Packed::new(&Encoder::build(0, |e| {
        e.flags(flag::AA);
        for name in names {
            let target = Owner::new(&name[..name.len() - 1], Tail::Root);
            e.pointer(Section::Answer, Owner::ASKED, rtype::PTR, ttl, target);
        }
    }))
}

#[cfg(test)]
mod tests {
    use super::super::parse::Parsed;
    use super::*;

    fn entries(text: &str) -> Vec<Entry> {
        Parsed::read(text.as_bytes(), |_| true).entries
    }

    fn addresses(answer: Option<&Packed>) -> Vec<String> {
        let text = |data: &[u8]| match (<[u8; 4]>::try_from(data), <[u8; 16]>::try_from(data)) {
            (Ok(v4), _) => IpAddr::from(v4).to_string(),
            (_, Ok(v6)) => IpAddr::from(v6).to_string(),
            _ => panic!("no address"),
        };
        answer
            .into_iter()
            .flat_map(|answer| answer.answer().records().map(|record| text(record.rdata)).collect::<Vec<_>>())
            .collect()
    }

    fn look(table: &Table, name: &str) -> Option<(Vec<String>, Vec<String>)> {
        let found = table.name(&Name::from_text(name).expect("a name"))?;
        Some((addresses(found.a.as_ref()), addresses(found.aaaa.as_ref())))
    }

    fn some(a: &[&str], aaaa: &[&str]) -> Option<(Vec<String>, Vec<String>)> {
        let text = |all: &[&str]| all.iter().map(|one| (*one).to_owned()).collect();
        Some((text(a), text(aaaa)))
    }

    #[test]
    fn a_wildcard_stands_for_one_label_and_for_a_family_that_is_missing() {
        let file = entries("10.0.0.1 *.x.test\n10.0.0.2 a.x.test\n::1 b.x.test\n::2 *.y.test *.x.test\n10.0.0.9 *\n");
        let table = Table::new(&file, &[], 60, true);
        assert_eq!(look(&table, "a.x.test"), some(&["10.0.0.2"], &["::2"]));
        assert_eq!(look(&table, "b.x.test"), some(&["10.0.0.1"], &["::1"]));
        assert_eq!(look(&table, "c.x.test"), some(&["10.0.0.1"], &["::2"]));
        assert_eq!(look(&table, "*.x.test"), some(&["10.0.0.1"], &["::2"]));
        assert_eq!(look(&table, "c.y.test"), some(&[], &["::2"]));
        for none in ["x.test", "d.c.x.test", "test", "x", "*", "."] {
            assert_eq!(look(&table, none), None, "{none}");
        }
    }

    #[test]
    fn the_corefile_adds_to_the_file_and_each_address_comes_once() {
        let (file, inline) = (entries("10.0.0.1 a a\n10.0.0.2 a\n"), entries("10.0.0.2 a\n10.0.0.3 a *.b.test\n"));
        let table = Table::new(&file, &inline, 60, true);
        assert_eq!(look(&table, "a"), some(&["10.0.0.1", "10.0.0.2", "10.0.0.3"], &[]));
        // CoreDNS counts each word of the text, and once more for its PTR record.
        assert_eq!(table.entries, 3 + 3 + 5);
        let records = |address: &str| table.address(address.parse().expect("an address")).map(|a| a.answer().counts[0]);
        assert_eq!([records("10.0.0.2"), records("::ffff:10.0.0.2"), records("10.0.0.4")], [Some(1), Some(1), None]);
        assert!(Table::new(&file, &inline, 60, false).addresses.is_empty());
    }

    #[test]
    fn names_with_the_same_addresses_share_an_answer() {
        let table = Table::new(&entries("0.0.0.0 a b.longer.test\n0.0.0.0 c\n"), &[], 60, false);
        let answer = |name: &str| table.name(&Name::from_text(name).expect("a name"))?.a.clone();
        let a = answer("a").expect("a");
        assert!(["b.longer.test", "c"].iter().all(|name| answer(name).is_some_and(|other| a.is(&other))));
    }
}
