//! One record in presentation form, a line of a zone file (RFC 1035 section 5.1):
//! `web.example. 60 IN A 192.0.2.1`.
//!
//! Types not listed below are written as octets, `\# LENGTH HEX` (RFC 3597 section 5).

use std::net::{Ipv4Addr, Ipv6Addr};

use super::answer::Section;
use super::encode::{Encoder, Names};
use super::name::Name;
use super::relay::Data;
use super::types::{class, class_number, rtype, type_number};

/// The TTL of a record that states none, in seconds.
const DEFAULT_TTL: u32 = 3600;

/// One record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Presented {
    /// Its owner.
    pub owner: Name,
    /// Its type.
    pub rtype: u16,
    /// Its class.
    pub class: u16,
    /// Its TTL in seconds.
    pub ttl: u32,
    data: Vec<u8>,
}

impl Presented {
    /// Reads a record. Names without a final dot are complete.
    ///
    /// # Errors
    /// Returns a message for people that says what is wrong.
    pub fn read(line: &str) -> Result<Self, String> {
        let words = words(line)?;
        let [owner, rest @ ..] = &words[..] else { return Err("no record".to_owned()) };
        let mut record =
            Self { owner: owner.name()?, rtype: 0, class: class::IN, ttl: DEFAULT_TTL, data: Vec::with_capacity(32) };
        let mut rest = rest.iter();
        // TTL and class may come in either order, and each may be left out.
        let (mut has_ttl, mut has_class) = (false, false);
        let kind = loop {
            let word = rest.next().ok_or("a record needs a type")?;
            let upper = word.text.to_ascii_uppercase();
            if !has_class && let Some(class) = class_number(&upper).or_else(|| numbered(&upper, "CLASS")) {
                (record.class, has_class) = (class, true);
            } else if let Some(kind) = type_number(&upper).or_else(|| numbered(&upper, "TYPE")) {
                break kind;
            } else if !has_ttl && let Some(ttl) = ttl(word.text) {
                (record.ttl, has_ttl) = (ttl, true);
            } else {
                return Err(format!("'{}' is neither TTL, class nor type", word.text));
            }
        };
        if matches!(kind, 0 | rtype::OPT | 128..=255) {
            return Err("a type that no record has".to_owned());
        }
        record.rtype = kind;
        let data = rest.as_slice();
        match data {
            [Word { text: "\\#", quoted: false }, octets @ ..] => unknown(octets, &mut record.data)?,
            _ => known(kind, data, &mut record.data)?,
        }
        if kind != rtype::TXT && data.is_empty() || record.data.len() > usize::from(u16::MAX) {
            return Err("data that is missing or too long".to_owned());
        }
        Ok(record)
    }

    /// Returns the target if the record is an alias.
    #[must_use]
    pub fn alias(&self) -> Option<Name> {
        (self.rtype == rtype::CNAME).then(|| Name::from_wire(&self.data)).flatten()
    }

    /// Adds the record to an answer.
    pub fn put(&self, section: Section, e: &mut Encoder<'_>, names: &mut Names) {
        let before = e.class(self.class);
        let data = Data { message: &self.data, rtype: self.rtype, at: 0, len: self.data.len() };
        names.record_in(section, e, &self.owner, self.rtype, self.ttl, |e, names| {
            data.rewrite(e, |e, name| {
                names.put_unnoted(e, name);
            });
        });
        e.class(before);
    }
}

//----------- Data -----------------------------------------------------------

fn known(kind: u16, words: &[Word<'_>], out: &mut Vec<u8>) -> Result<(), String> {
    let wrong = || format!("invalid data of this type: '{}'", join(words));
    match (kind, words) {
        (rtype::A, [word]) => out.extend(word.text.parse::<Ipv4Addr>().map_err(|_| wrong())?.octets()),
        (rtype::AAAA, [word]) => out.extend(word.text.parse::<Ipv6Addr>().map_err(|_| wrong())?.octets()),
        (rtype::CAA, [flags, tag, value]) => {
            out.push(flags.text.parse().map_err(|_| wrong())?);
            tag.put_string(out)?;
            out.extend(value.octets()?);
        }
        (rtype::TXT | rtype::SPF, texts) if !texts.is_empty() => {
            texts.iter().try_for_each(|text| text.put_strings(out))?;
        }
        (rtype::A | rtype::AAAA | rtype::CAA | rtype::TXT | rtype::SPF, _) => return Err(wrong()),
        _ => {
            let fields = fields(kind).ok_or("data of this type have to be written as octets: \\# LENGTH HEX")?;
            if fields.len() != words.len() {
                return Err(wrong());
            }
            for (field, word) in fields.iter().zip(words) {
                word.put(*field, out)?;
            }
        }
    }
    Ok(())
}

/// A part of the data of a record.
#[derive(Clone, Copy)]
enum Field {
    Name,
    Short,
    Long,
    Seconds,
    Text,
}

/// Returns the fields of a type whose data always have the same ones.
fn fields(kind: u16) -> Option<&'static [Field]> {
    use Field::{Long, Name, Seconds, Short, Text};
    Some(match kind {
        rtype::NS | rtype::CNAME | rtype::PTR | rtype::DNAME => &[Name],
        rtype::MX => &[Short, Name],
        rtype::SRV => &[Short, Short, Short, Name],
        rtype::SOA => &[Name, Name, Long, Seconds, Seconds, Seconds, Seconds],
        rtype::HINFO => &[Text, Text],
        rtype::NAPTR => &[Short, Short, Text, Text, Text, Name],
        _ => return None,
    })
}

fn unknown(words: &[Word<'_>], out: &mut Vec<u8>) -> Result<(), String> {
    let wrong = || "octets are written as \\# LENGTH HEX".to_owned();
    let (length, hex) = words.split_first().ok_or_else(wrong)?;
    let hex: String = hex.iter().map(|word| word.text).collect();
    if !hex.len().is_multiple_of(2) || !hex.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return Err(wrong());
    }
    for pair in hex.as_bytes().chunks(2) {
        let pair = std::str::from_utf8(pair).map_err(|_| wrong())?;
        out.push(u8::from_str_radix(pair, 16).map_err(|_| wrong())?);
    }
    if length.text.parse() == Ok(out.len()) { Ok(()) } else { Err(wrong()) }
}

//----------- Words ----------------------------------------------------------

/// A word of the line. A quoted word may contain spaces.
#[derive(Clone, Copy)]
struct Word<'a> {
    text: &'a str,
    quoted: bool,
}

fn join(words: &[Word<'_>]) -> String {
    words.iter().map(|word| word.text).collect::<Vec<_>>().join(" ")
}

/// Splits a line into words. Parentheses only group; a `;` begins a comment.
fn words(line: &str) -> Result<Vec<Word<'_>>, String> {
    let separates = |c: char| c.is_ascii_whitespace() || matches!(c, '(' | ')');
    let (mut words, mut rest) = (Vec::new(), line.trim_start_matches(separates));
    while let Some(first) = rest.chars().next().filter(|&c| c != ';') {
        let quoted = first == '"';
        let text = &rest[usize::from(quoted)..];
        let mut escaped = false;
        let end = text.char_indices().find(|&(_, c)| match c {
            _ if std::mem::take(&mut escaped) => false,
            '\\' => {
                escaped = true;
                false
            }
            '"' => true,
            c => !quoted && (c == ';' || separates(c)),
        });
        let end = match end {
            Some((end, _)) => end,
            None if quoted => return Err("quotes that are not closed".to_owned()),
            None => text.len(),
        };
        words.push(Word { text: &text[..end], quoted });
        rest = text[end + usize::from(quoted)..].trim_start_matches(separates);
    }
    Ok(words)
}

impl Word<'_> {
    fn name(&self) -> Result<Name, String> {
        Name::from_text(self.text).map_err(|_| format!("'{}' is no domain name", self.text))
    }

    /// Writes the word as a field.
    fn put(&self, field: Field, out: &mut Vec<u8>) -> Result<(), String> {
        let wrong = |what: &str| format!("'{}' is no {what}", self.text);
        match field {
            Field::Name => out.extend(self.name()?.wire()),
            Field::Short => {
                out.extend(self.text.parse::<u16>().map_err(|_| wrong("number up to 65535"))?.to_be_bytes());
            }
            Field::Long => out.extend(self.text.parse::<u32>().map_err(|_| wrong("number of 32 bits"))?.to_be_bytes()),
            Field::Seconds => out.extend(ttl(self.text).ok_or_else(|| wrong("number of seconds"))?.to_be_bytes()),
            Field::Text => self.put_string(out)?,
        }
        Ok(())
    }

    /// Returns the octets that the word represents.
    fn octets(&self) -> Result<Vec<u8>, String> {
        let wrong = || format!("'{}' has an invalid escape", self.text);
        let (mut out, mut bytes) = (Vec::with_capacity(self.text.len()), self.text.bytes());
        while let Some(byte) = bytes.next() {
            if byte != b'\\' {
                out.push(byte);
                continue;
            }
            let first = bytes.next().ok_or_else(wrong)?;
            if !first.is_ascii_digit() {
                out.push(first);
                continue;
            }
            let digits = [first, bytes.next().ok_or_else(wrong)?, bytes.next().ok_or_else(wrong)?];
            let digits = std::str::from_utf8(&digits).map_err(|_| wrong())?;
            out.push(digits.parse().map_err(|_| wrong())?);
        }
        Ok(out)
    }

    /// Writes a text of at most 255 octets.
    fn put_string(&self, out: &mut Vec<u8>) -> Result<(), String> {
        let octets = self.octets()?;
        out.push(u8::try_from(octets.len()).map_err(|_| "a text of more than 255 octets".to_owned())?);
        out.extend(octets);
        Ok(())
    }

    /// Writes a text as one string, or as several if it is too long for one.
    fn put_strings(&self, out: &mut Vec<u8>) -> Result<(), String> {
        let octets = self.octets()?;
        if octets.is_empty() {
            out.push(0);
        }
        for part in octets.chunks(255) {
            out.push(part.len() as u8);
            out.extend(part);
        }
        Ok(())
    }
}

fn numbered(word: &str, kind: &str) -> Option<u16> {
    word.strip_prefix(kind)?.parse().ok()
}

/// Reads seconds, as in `60`, or `1h30m`.
fn ttl(text: &str) -> Option<u32> {
    if !text.starts_with(|c: char| c.is_ascii_digit()) {
        return None;
    }
    let (mut total, mut number) = (0u32, 0u32);
    for c in text.chars() {
        let unit = match c.to_ascii_lowercase() {
            's' => 1,
            'm' => 60,
            'h' => 3600,
            'd' => 86_400,
            'w' => 604_800,
            c => {
                number = number.checked_mul(10)?.checked_add(c.to_digit(10)?)?;
                continue;
            }
        };
        total = total.checked_add(number.checked_mul(unit)?)?;
        number = 0;
    }
    total.checked_add(number)
}

#[cfg(test)]
#[path = "presentation_tests.rs"]
mod tests;
