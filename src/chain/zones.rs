//! Zones of plugins: how they are read from a directive, and which names they hold.
//!
//! CoreDNS silently drops a zone that is not a domain name, and a Corefile that was served for
//! years may have one. So each invalid zone is skipped with a warning.

use std::ops::Deref;

use crate::corefile::address::{Key, Transport, expand_zone, hint, normalize};
use crate::corefile::{Cursor, Severity, Word};
use crate::wire::name::Name;

//----------- Zones ----------------------------------------------------------

/// The zones of a directive, lower case, in the order of the Corefile.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Zones(Vec<Name>);

impl Zones {
    /// Reads the zones of a line; without words they are those of the server block. Scheme and port
    /// are dropped, and a network becomes its reverse zones. Zones that are not domain names are
    /// skipped with a warning.
    #[must_use]
    pub fn read(cursor: &Cursor<'_>, words: &[&Word], block: &[Key]) -> Self {
        if words.is_empty() {
            // The zones of the server block are checked already.
            return Self(block.iter().filter_map(|key| named(&key.zone).ok()).collect());
        }
        let (mut zones, mut skipped) = (Vec::new(), Vec::new());
        for word in words {
            match Self::of(word) {
                Ok(found) => zones.extend(found.0),
                Err(wrong) => skipped.push((word, wrong)),
            }
        }
        for (word, wrong) in skipped {
            skip(cursor, word, &wrong, zones.is_empty());
        }
        Self(zones)
    }

    /// Returns the zones that one word names.
    ///
    /// # Errors
    /// CoreDNS's message, for example `zone is not a valid domain name: a..b`.
    pub fn of(word: &Word) -> Result<Self, String> {
        expand_zone(&word.text)?.iter().map(|zone| named(zone)).collect::<Result<_, _>>().map(Self)
    }

    /// Returns whether a name lies in one of the zones.
    #[must_use]
    pub fn holds(&self, name: &Name) -> bool {
        self.0.iter().any(|zone| name.is_under(zone))
    }

    /// Returns the longest zone that holds a name.
    #[must_use]
    pub fn longest(&self, name: &Name) -> Option<&Name> {
        self.0.iter().filter(|zone| name.is_under(zone)).max_by_key(|zone| zone.len())
    }

    /// Adds the zones of another line.
    pub fn add(&mut self, more: Self) {
        self.0.extend(more.0);
    }
}

impl Deref for Zones {
    type Target = [Name];

    fn deref(&self) -> &[Name] {
        &self.0
    }
}

impl FromIterator<Name> for Zones {
    fn from_iter<I: IntoIterator<Item = Name>>(names: I) -> Self {
        Self(names.into_iter().collect())
    }
}

/// Reads one literal name: no scheme, no port, no network. Returns `None`, with a warning, if it is
/// not a domain name.
#[must_use]
pub fn name(cursor: &Cursor<'_>, word: &Word) -> Option<Name> {
    let read = Name::from_text(&normalize(&word.text)).map(Name::lowered).ok();
    if read.is_none() {
        skip(cursor, word, &invalid(word.as_str()), false);
    }
    read
}

fn named(zone: &str) -> Result<Name, String> {
    Name::from_text(zone).map(Name::lowered).map_err(|_| invalid(zone))
}

fn invalid(zone: &str) -> String {
    format!("zone is not a valid domain name: {zone}")
}

/// Warns that a zone is skipped. `last` means that no other zone is left on its line.
fn skip(cursor: &Cursor<'_>, word: &Word, wrong: &str, last: bool) {
    let warning =
        cursor.complain(word, format!("{wrong}; it is ignored")).hint(hint(Transport::split(&word.text).1, wrong));
    let effect = if last { "no zone is left on this line: it has no effect" } else { "" };
    cursor.report(Severity::Warning, warning.hint(effect));
}

//----------- Fallthrough ----------------------------------------------------

/// The option `fallthrough [ZONES...]`: names that are passed to the next plugin if they do not
/// exist here. Without the option, no name falls through.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fallthrough(Zones);

impl Fallthrough {
    /// Reads the zones after the option; without any, all names fall through.
    #[must_use]
    pub fn read(cursor: &Cursor<'_>, words: &[&Word]) -> Self {
        if words.is_empty() { Self::all() } else { Self(Zones::read(cursor, words, &[])) }
    }

    /// Makes all names fall through.
    #[must_use]
    pub fn all() -> Self {
        Self(Zones(vec![Name::ROOT]))
    }

    /// Returns whether a name is passed to the next plugin.
    #[must_use]
    pub fn holds(&self, name: &Name) -> bool {
        self.0.holds(name)
    }

    /// Returns whether no name falls through.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns those of `zones` from which no name ever falls through.
    pub fn never<'a>(&'a self, zones: &'a [Name]) -> impl Iterator<Item = Name> + 'a {
        let touches = |zone: &Name| self.0.iter().any(|falls| zone.is_under(falls) || falls.is_under(zone));
        zones.iter().copied().filter(move |zone| !touches(zone))
    }
}

#[cfg(test)]
#[path = "zones_tests.rs"]
mod tests;
