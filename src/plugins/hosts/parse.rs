//! Parses the text of a hosts file into entries and mistakes.

use std::net::IpAddr;

use crate::corefile::value::quote;
use crate::wire::name::Name;

/// A longer word, in octets, can be neither a name nor an address. Its text is not shown.
const MOST_SHOWN: usize = 1024;

/// One address of one name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Entry {
    /// The name in wire form and in lower case.
    pub name: Box<[u8]>,
    /// The address, without a scope; IPv4 addresses in IPv6 notation are stored as IPv4.
    pub address: IpAddr,
}

/// Something that was skipped, and why.
#[derive(Debug, PartialEq, Eq)]
pub struct Mistake {
    /// The line number, from 1.
    pub line: usize,
    /// A sentence without its full stop.
    pub what: String,
}

/// The contents of a text.
#[derive(Debug, Default)]
pub struct Parsed {
    /// In the order of the text.
    pub entries: Vec<Entry>,
    /// In the order of the text.
    pub mistakes: Vec<Mistake>,
}

impl Parsed {
    /// Reads lines of an address and its names (hosts(5)); `#` begins a comment anywhere. Names
    /// that `is_wanted` refuses are skipped silently, invalid ones with a [`Mistake`].
    pub fn read(text: &[u8], is_wanted: impl Fn(&Name) -> bool) -> Self {
        let mut parsed = Self::default();
        for (at, line) in text.split(|&octet| octet == b'\n').enumerate() {
            let line = line.split(|&octet| octet == b'#').next().unwrap_or_default();
            let mut words = line.split(|&octet| is_space(octet)).filter(|word| !word.is_empty());
            let Some(first) = words.next() else { continue };
            let Some(address) = address(first) else {
                parsed.mistake(at, "address", first, "dropping the line");
                continue;
            };
            for word in words {
                match name(word) {
                    Some(name) if is_wanted(&name) => parsed.entries.push(Entry { name: name.wire().into(), address }),
                    Some(_) => {}
                    None => parsed.mistake(at, "name", word, "dropping the name"),
                }
            }
        }
        parsed
    }

    fn mistake(&mut self, at: usize, kind: &str, word: &[u8], dropping: &str) {
        let what = if word.len() > MOST_SHOWN {
            format!("{kind} longer than {MOST_SHOWN} bytes, {dropping}")
        } else {
            format!("{} is no {kind}, {dropping}", quote(&String::from_utf8_lossy(word)))
        };
        self.mistakes.push(Mistake { line: at + 1, what });
    }
}

/// White space as in C: Rust's does not include the vertical tab.
fn is_space(octet: u8) -> bool {
    octet.is_ascii_whitespace() || octet == 0x0B
}

/// Reads an address. The scope after `%` has no meaning for other hosts and is dropped.
fn address(word: &[u8]) -> Option<IpAddr> {
    let text = std::str::from_utf8(word).ok()?;
    let address: IpAddr = text.split('%').next()?.parse().ok()?;
    Some(address.to_canonical())
}

fn name(word: &[u8]) -> Option<Name> {
    Name::from_text(std::str::from_utf8(word).ok()?).ok().map(Name::lowered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entries(text: &str) -> Vec<String> {
        let text_of = |entry: &Entry| {
            let name = Name::from_wire(&entry.name).expect("a name");
            format!("{name} {}", entry.address)
        };
        Parsed::read(text.as_bytes(), |_| true).entries.iter().map(text_of).collect()
    }

    fn mistakes(text: &[u8]) -> Vec<String> {
        let read = Parsed::read(text, |_| true);
        read.mistakes.iter().map(|mistake| format!("{}: {}", mistake.line, mistake.what)).collect()
    }

    #[test]
    fn lines_are_an_address_and_its_names() {
        assert_eq!(
            entries(
                "127.0.0.1\tlocalhost  Local.\r\n# 10.0.0.1 no\n\n \x0b10.0.0.2 a.example #b\n10.0.0.3 c#d\n::1 six\n"
            ),
            ["localhost. 127.0.0.1", "local. 127.0.0.1", "a.example. 10.0.0.2", "c. 10.0.0.3", "six. ::1"]
        );
        assert_eq!(entries("10.0.0.1"), [""; 0]);
        assert_eq!(entries("10.0.0.1 *.example.org ."), ["*.example.org. 10.0.0.1", ". 10.0.0.1"]);
    }

    #[test]
    fn an_address_loses_its_scope_and_its_other_notation() {
        assert_eq!(
            entries("fe80::1%eth0 a\n10.0.0.1%x b\n::ffff:10.0.0.2 c\n"),
            ["a. fe80::1", "b. 10.0.0.1", "c. 10.0.0.2"]
        );
    }

    #[test]
    fn an_unreadable_line_is_reported_and_the_others_are_served() {
        let text = b"10.0.0.01 a\n10.0.0.1 a..b c\n\xff d\n10.0.0.2 e\n";
        assert_eq!(
            mistakes(text),
            [
                "1: \"10.0.0.01\" is no address, dropping the line",
                "2: \"a..b\" is no name, dropping the name",
                "3: \"\u{fffd}\" is no address, dropping the line"
            ]
        );
        assert_eq!(entries("10.0.0.1 a..b c\n"), ["c. 10.0.0.1"]);
        let long = format!("10.0.0.1 {} b\n{} c\n", "x".repeat(1025), "1".repeat(70_000));
        assert_eq!(
            mistakes(long.as_bytes()),
            [
                "1: name longer than 1024 bytes, dropping the name",
                "2: address longer than 1024 bytes, dropping the line"
            ]
        );
        assert_eq!(entries(&long), ["b. 10.0.0.1"]);
    }
}
