//! Reads a zone file (RFC 1035 section 5), with the directives that CoreDNS knows: `$ORIGIN`,
//! `$TTL`, `$INCLUDE` and `$GENERATE`.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use super::data::{Added, Builder, Soa, Zone};
use super::generate::Range;
use super::lines::{Line, Lines, Words};
use super::names::name;
use super::scan::{Scanner, rtype_of, ttl};
use crate::error::words;
use crate::wire::name::Name;
use crate::wire::types::{class, class_number, rtype};

/// Maximum depth of `$INCLUDE`, as in CoreDNS.
const MOST_INCLUDES: usize = 7;

/// The TTL in seconds of generated records without one, as in CoreDNS: it ignores `$TTL`.
const GENERATED_TTL: u32 = 3600;

/// Maximum size of one file in octets.
const MOST_OCTETS: u64 = 1 << 30;

/// Maximum number of doubts about one zone that are reported.
const MOST_DOUBTS: usize = 10;

//----------- What is read ---------------------------------------------------

/// A zone that was read.
pub struct ReadZone {
    /// The zone.
    pub zone: Zone,
    /// What other servers would refuse, in the order of the file; only the first of many.
    pub doubts: Vec<Mistake>,
}

/// Something wrong in a zone file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Mistake {
    /// The file.
    pub file: PathBuf,
    /// The line, from 1; 0 stands for the whole file.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.line {
            0 => write!(f, "{}: {}", self.file.display(), self.what),
            line => write!(f, "{}:{line}: {}", self.file.display(), self.what),
        }
    }
}

/// Reads the zone `origin` out of `text`, the contents of `file`; included files are relative to
/// its folder.
///
/// Returns `None` if the SOA has the serial `known`: the rest is not read then.
///
/// # Errors
/// The first mistake in the file.
pub fn read(file: &Path, text: &[u8], origin: &Name, known: Option<u32>) -> Result<Option<ReadZone>, Mistake> {
    let mut reader =
        Reader { builder: Builder::new(origin), scanner: Scanner::new(), known, doubts: Vec::new(), depth: 0 };
    match reader.file(&mut Place::new(file, origin), text) {
        Ok(()) => {}
        Err(Stop::Unchanged) => return Ok(None),
        Err(Stop::Mistake(mistake)) => return Err(mistake),
    }
    for mixed in reader.builder.mixed_aliases() {
        reader.doubt(file, 0, format!("{mixed} has a CNAME and other data: the CNAME counts"));
    }
    let whole = |what| Mistake { file: file.to_owned(), line: 0, what };
    let zone = std::mem::replace(&mut reader.builder, Builder::new(origin)).finish().map_err(whole)?;
    for hidden in zone.hidden() {
        reader.doubt(file, 0, format!("{hidden} is below a DNAME: never found"));
    }
    Ok(Some(ReadZone { zone, doubts: reader.doubts }))
}

//----------- Reader ---------------------------------------------------------

/// Reads a file and those that it includes into one zone.
struct Reader {
    builder: Builder,
    scanner: Scanner,
    /// Stop at a SOA with this serial.
    known: Option<u32>,
    doubts: Vec<Mistake>,
    /// How many files include the current one.
    depth: usize,
}

/// Where the reader is in one file, and what the next record inherits.
struct Place {
    file: PathBuf,
    line: usize,
    origin: Name,
    owner: Option<Name>,
    /// The TTL of the record before, in seconds.
    last_ttl: u32,
    /// The TTL of records without one, and whether `$TTL` has set it.
    ttl: Option<(u32, bool)>,
    /// Whether the line comes from a `$GENERATE`.
    is_generated: bool,
}

/// Why reading stops.
enum Stop {
    Mistake(Mistake),
    /// The zone has the serial that is known.
    Unchanged,
}

impl Place {
    fn new(file: &Path, origin: &Name) -> Self {
        let (file, origin) = (file.to_owned(), *origin);
        Self { file, line: 0, origin, owner: None, last_ttl: 0, ttl: None, is_generated: false }
    }

    fn mistake(&self, what: impl Into<String>) -> Stop {
        Stop::Mistake(Mistake { file: self.file.clone(), line: self.line, what: what.into() })
    }

    fn name(&self, word: &str, what: &str) -> Result<Name, Stop> {
        name(word, &self.origin).ok_or_else(|| self.mistake(format!("bad {what} name: '{word}'")))
    }
}

impl Reader {
    fn file(&mut self, place: &mut Place, text: &[u8]) -> Result<(), Stop> {
        for line in Lines::new(text) {
            match line {
                Ok(line) => {
                    place.line = line.number;
                    self.line(place, &line)?;
                }
                Err(broken) => {
                    place.line = broken.number;
                    return Err(place.mistake(broken.what));
                }
            }
        }
        Ok(())
    }

    fn line(&mut self, place: &mut Place, line: &Line) -> Result<(), Stop> {
        let mut words = Words::new(&line.text);
        if line.indented {
            return self.record(place, &mut words, false);
        }
        let first = words.next().unwrap_or_default();
        match first.to_ascii_uppercase().as_str() {
            "$ORIGIN" => place.origin = place.name(only(place, first, &mut words)?, "origin")?,
            "$TTL" => {
                let word = only(place, first, &mut words)?;
                let ttl = ttl(word).ok_or_else(|| place.mistake(format!("not a TTL: '{word}'")))?;
                place.ttl = Some((ttl, true));
            }
            "$INCLUDE" => self.include(place, &mut words)?,
            "$GENERATE" => self.generate(place, &mut words)?,
            directive if directive.starts_with('$') => {
                let known = "$ORIGIN, $TTL, $INCLUDE and $GENERATE";
                return Err(place.mistake(format!("unknown directive '{first}': there are {known}")));
            }
            _ => {
                place.owner = Some(place.name(first, "owner")?);
                self.record(place, &mut words, true)?;
            }
        }
        Ok(())
    }

    /// Reads a record after its owner: `[TTL] [CLASS] TYPE DATA` or `[CLASS] [TTL] TYPE DATA`.
    fn record(&mut self, place: &mut Place, words: &mut Words<'_>, has_owner: bool) -> Result<(), Stop> {
        // A first record without an owner is the origin's, as in NSD.
        let owner = place.owner.unwrap_or(place.origin);
        let (mut own_ttl, mut has_class) = (None, false);
        let rtype = loop {
            let word = words.next().ok_or_else(|| place.mistake("there is no type"))?;
            if let Some(class) = class_of(word).filter(|_| !has_class) {
                if class != class::IN {
                    return Err(place.mistake(format!("class {word} is not served: records have class IN")));
                }
                has_class = true;
            } else if let Some(rtype) = rtype_of(word) {
                break rtype;
            } else if let Some(ttl) = ttl(word).filter(|_| own_ttl.is_none()) {
                own_ttl = Some(ttl);
            } else {
                return Err(place.mistake(format!("unknown type '{word}'")));
            }
        };
        // Without an owner, or with a class, CoreDNS takes the TTL 0.
        if own_ttl.is_none() && place.ttl.is_none() && has_owner && !has_class {
            return Err(place.mistake("no TTL: give it one, or set $TTL above"));
        }
        let ttl = own_ttl.or(place.ttl.map(|(ttl, _)| ttl)).unwrap_or(place.last_ttl);
        place.last_ttl = ttl;
        if own_ttl.is_some() && !place.ttl.is_some_and(|(_, by_directive)| by_directive) {
            place.ttl = Some((ttl, false));
        }
        let data = match words.rest() {
            "" => return Err(place.mistake("there are no data")),
            text => self.scanner.scan(&place.origin, rtype, text).map_err(|what| place.mistake(what))?,
        };
        self.add(place, &owner, rtype, ttl, data)
    }

    fn add(&mut self, place: &Place, owner: &Name, rtype: u16, ttl: u32, data: Vec<u8>) -> Result<(), Stop> {
        let is_known = || self.known.is_some() && Soa::of(&data).map(|soa| soa.serial) == self.known;
        if rtype == rtype::SOA && is_known() {
            return Err(Stop::Unchanged);
        }
        match self.builder.add(owner, rtype, ttl, data).map_err(|what| place.mistake(what))? {
            Added::Taken => {}
            Added::Doubtful(what) => self.doubt(&place.file, place.line, format!("{owner}: {what}")),
        }
        Ok(())
    }

    fn doubt(&mut self, file: &Path, line: usize, what: String) {
        if self.doubts.len() < MOST_DOUBTS {
            self.doubts.push(Mistake { file: file.to_owned(), line, what });
        }
    }

    /// Reads another file in place of the directive. It does not change what comes after it.
    fn include(&mut self, place: &Place, words: &mut Words<'_>) -> Result<(), Stop> {
        let path = words.next().ok_or_else(|| place.mistake("$INCLUDE needs a file"))?.replace('"', "");
        let origin = words.next().map_or(Ok(place.origin), |word| place.name(word, "origin"))?;
        if self.depth == MOST_INCLUDES {
            return Err(place.mistake("too deeply nested $INCLUDE"));
        }
        let path = place.file.parent().unwrap_or(Path::new("")).join(path);
        let text =
            contents(&path).map_err(|why| place.mistake(format!("failed to open '{}': {why}", path.display())))?;
        let mut inner = Place { ttl: place.ttl, ..Place::new(&path, &origin) };
        self.depth += 1;
        let done = self.file(&mut inner, &text);
        self.depth -= 1;
        done
    }

    fn generate(&mut self, place: &Place, words: &mut Words<'_>) -> Result<(), Stop> {
        if place.is_generated {
            return Err(place.mistake("nested $GENERATE directive not allowed"));
        }
        let word = words.next().ok_or_else(|| place.mistake("$GENERATE needs a range"))?;
        let range = Range::read(word).map_err(|what| place.mistake(format!("{what}: '{word}'")))?;
        let ttl = Some((GENERATED_TTL, false));
        let mut inner = Place { line: place.line, is_generated: true, ttl, ..Place::new(&place.file, &place.origin) };
        for number in range.numbers() {
            let text = range.line(words.rest(), number).map_err(|what| place.mistake(what))?;
            self.line(&mut inner, &Line { number: place.line, indented: false, text })?;
        }
        Ok(())
    }
}

/// Returns the one word after a directive.
fn only<'a>(place: &Place, directive: &str, words: &mut Words<'a>) -> Result<&'a str, Stop> {
    match (words.next(), words.next()) {
        (Some(word), None) => Ok(word),
        _ => Err(place.mistake(format!("{directive} takes one word"))),
    }
}

/// Returns the class of a mnemonic in any case, or of `CLASS1` (RFC 3597 section 5).
fn class_of(word: &str) -> Option<u16> {
    let word = word.to_ascii_uppercase();
    class_number(&word).or_else(|| word.strip_prefix("CLASS")?.parse().ok())
}

/// Returns the contents of a file.
///
/// # Errors
/// The file cannot be read, is not a regular file, or is larger than 1 GiB; says so in words.
pub fn contents(path: &Path) -> Result<Vec<u8>, String> {
    let metadata = fs::metadata(path).map_err(|error| words(&error))?;
    if !metadata.is_file() {
        return Err("it is not a file".to_owned());
    }
    if metadata.len() > MOST_OCTETS {
        return Err("it has more than 1 GiB".to_owned());
    }
    fs::read(path).map_err(|error| words(&error))
}

#[cfg(test)]
#[path = "read_tests.rs"]
mod tests;
