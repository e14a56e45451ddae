//! A domain name in wire form, kept inline.

use std::fmt;
use std::hash::{Hash, Hasher};

use super::text::write_text;

/// The longest name on the wire, root label included (RFC 1035 section 2.3.4).
pub const MAX_NAME: usize = 255;

/// Maximum number of pointers in a name: one for each label. Longer chains only cost time.
const MAX_POINTERS: usize = 127;

/// The longest label (RFC 1035 section 2.3.4).
pub const MAX_LABEL: usize = 63;

//----------- Name -----------------------------------------------------------

/// A fully qualified domain name: length octets and labels, the root label last.
///
/// Inline and `Copy`, so that a query can carry one without allocating. Comparison and hashing use
/// the octets as they are; lower-case names first to compare them without regard to case
/// ([`Name::lowered`]).
#[derive(Clone, Copy)]
pub struct Name {
    len: u8,
    octets: [u8; MAX_NAME],
}

/// Why a text is not a domain name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NameError {
    /// An empty label other than the root's.
    EmptyLabel,
    /// A label of more than 63 octets.
    LongLabel,
    /// More than 255 octets in all.
    LongName,
    /// A backslash without three digits up to 255 or a character after it.
    BadEscape,
}

impl Name {
    /// The root of the tree, `.`.
    pub const ROOT: Self = Self { len: 1, octets: [0; MAX_NAME] };

    /// Reads presentation form (`a.example.` or `a.example`), with `\.` and `\DDD` escapes
    /// (RFC 1035 section 5.1). The result is always fully qualified.
    pub fn from_text(text: &str) -> Result<Self, NameError> {
        if text == "." {
            return Ok(Self::ROOT);
        }
        let (mut name, mut label) = (Self { len: 0, octets: [0; MAX_NAME] }, Label::default());
        let mut bytes = text.bytes();
        while let Some(byte) = bytes.next() {
            match byte {
                b'.' => name.push_label(label.take()?)?,
                b'\\' => label.push(unescape(&mut bytes).ok_or(NameError::BadEscape)?)?,
                _ => label.push(byte)?,
            }
        }
        if label.len > 0 {
            name.push_label(label.take()?)?;
        } else if name.len == 0 {
            return Err(NameError::EmptyLabel);
        }
        name.end().ok_or(NameError::LongName)
    }

    /// Returns the name if the octets are a whole name in wire form without compression.
    ///
    /// Returns `None` if they are not.
    #[must_use]
    pub fn from_wire(wire: &[u8]) -> Option<Self> {
        let mut at = 0;
        while *wire.get(at)? != 0 {
            let len = usize::from(wire[at]);
            if len > MAX_LABEL {
                return None;
            }
            at += 1 + len;
        }
        if at + 1 != wire.len() || wire.len() > MAX_NAME {
            return None;
        }
        let mut octets = [0; MAX_NAME];
        octets[..wire.len()].copy_from_slice(wire);
        Some(Self { len: wire.len() as u8, octets })
    }

    /// Returns the name of a question that [`gate`](super::request::gate) accepted, in lower case.
    pub(super) fn of_question(wire: &[u8]) -> Self {
        debug_assert!(Self::from_wire(wire).is_some());
        let mut name = Self { len: wire.len() as u8, octets: [0; MAX_NAME] };
        let octets = &mut name.octets[..wire.len()];
        octets.copy_from_slice(wire);
        // Length octets are at most 63, below 'A': lower-casing the whole name is safe.
        octets.make_ascii_lowercase();
        name
    }

    /// Reads a name, compressed or not, at `at` of `message`; returns it and where it ends.
    ///
    /// Pointers must lead strictly backward, so no message can cause a loop (RFC 9267 section 2).
    #[must_use]
    pub fn from_message(message: &[u8], at: usize) -> Option<(Self, usize)> {
        let mut name = Self { len: 0, octets: [0; MAX_NAME] };
        let (mut at, mut end, mut floor, mut pointers) = (at, None, at, 0);
        loop {
            match *message.get(at)? {
                0 => return Some((name.end()?, end.unwrap_or(at + 1))),
                len if len <= MAX_LABEL as u8 => {
                    let label = message.get(at + 1..at + 1 + usize::from(len))?;
                    name.push_label(label).ok()?;
                    at += 1 + label.len();
                }
                high if high & 0xC0 == 0xC0 => {
                    let target = usize::from(high & 0x3F) << 8 | usize::from(*message.get(at + 1)?);
                    end.get_or_insert(at + 2);
                    pointers += 1;
                    if target >= floor || pointers > MAX_POINTERS {
                        return None;
                    }
                    (at, floor) = (target, target);
                }
                _ => return None,
            }
        }
    }

    /// Returns the octets on the wire.
    #[must_use]
    pub fn wire(&self) -> &[u8] {
        &self.octets[..usize::from(self.len)]
    }

    /// Returns the length on the wire in octets, the root label included.
    #[must_use]
    #[allow(clippy::len_without_is_empty, reason = "no name is empty: the root has one octet")]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    /// Returns whether this is `.`.
    #[must_use]
    pub fn is_root(&self) -> bool {
        self.len == 1
    }

    /// Returns the name with ASCII letters in lower case (RFC 4343).
    #[must_use]
    pub fn lowered(mut self) -> Self {
        // Length octets are at most 63, below 'A': lower-casing the whole name is safe.
        self.octets[..usize::from(self.len)].make_ascii_lowercase();
        self
    }

    /// Returns whether this name is `zone` or lies below it. Both must be in lower case.
    #[must_use]
    pub fn is_under(&self, zone: &Self) -> bool {
        self.prefix_len(zone).is_some()
    }

    /// Returns how many octets precede `zone` if this name is `zone` or lies below it.
    #[must_use]
    pub fn prefix_len(&self, zone: &Self) -> Option<usize> {
        let at = self.len().checked_sub(zone.len())?;
        (self.wire()[at..] == *zone.wire() && self.starts_label(at)).then_some(at)
    }

    /// Returns the labels from the left, without the root's.
    pub fn labels(&self) -> impl Iterator<Item = &[u8]> + Clone {
        labels(self.wire())
    }

    /// Returns the number of labels, without the root's.
    #[must_use]
    pub fn label_count(&self) -> usize {
        self.labels().count()
    }

    /// Returns this name with `labels` put in front, or `None` if that is too long.
    #[must_use]
    pub fn below<'a>(&self, labels: impl IntoIterator<Item = &'a [u8]>) -> Option<Self> {
        let mut name = Self { len: 0, octets: [0; MAX_NAME] };
        for label in labels {
            name.push_label(label).ok()?;
        }
        for label in self.labels() {
            name.push_label(label).ok()?;
        }
        name.end()
    }

    /// Returns the name without its first label; the parent of the root is the root.
    #[must_use]
    pub fn parent(&self) -> Self {
        let skip = if self.is_root() { 0 } else { 1 + usize::from(self.octets[0]) };
        Self::from_wire(&self.wire()[skip..]).unwrap_or(Self::ROOT)
    }

    fn starts_label(&self, offset: usize) -> bool {
        let mut at = 0;
        while at < offset {
            at += 1 + usize::from(self.octets[at]);
        }
        at == offset
    }

    fn push_label(&mut self, label: &[u8]) -> Result<(), NameError> {
        let at = usize::from(self.len);
        if label.is_empty() {
            return Err(NameError::EmptyLabel);
        }
        if label.len() > MAX_LABEL {
            return Err(NameError::LongLabel);
        }
        // One octet is reserved for the root label.
        if at + 1 + label.len() + 1 > MAX_NAME {
            return Err(NameError::LongName);
        }
        self.octets[at] = label.len() as u8;
        self.octets[at + 1..at + 1 + label.len()].copy_from_slice(label);
        self.len += 1 + label.len() as u8;
        Ok(())
    }

    fn end(mut self) -> Option<Self> {
        let at = usize::from(self.len);
        if at >= MAX_NAME {
            return None;
        }
        self.octets[at] = 0;
        self.len += 1;
        Some(self)
    }
}

/// Returns the labels of a name in wire form, from the left, without the root's.
pub fn labels(wire: &[u8]) -> impl Iterator<Item = &[u8]> + Clone {
    let mut rest = wire;
    std::iter::from_fn(move || {
        let (&len, tail) = rest.split_first()?;
        if len == 0 || usize::from(len) > tail.len() {
            return None;
        }
        let (label, tail) = tail.split_at(usize::from(len));
        rest = tail;
        Some(label)
    })
}

impl PartialEq for Name {
    fn eq(&self, other: &Self) -> bool {
        self.wire() == other.wire()
    }
}

impl Eq for Name {}

impl Hash for Name {
    fn hash<H: Hasher>(&self, state: &mut H) {
        state.write(self.wire());
    }
}

impl fmt::Display for Name {
    /// Writes presentation form, fully qualified. Escapes `.`, `\` and octets that are not
    /// printable.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_text(self.wire(), f)
    }
}

impl fmt::Debug for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_text(self.wire(), f)
    }
}

//----------- Reading text ---------------------------------------------------

struct Label {
    len: usize,
    octets: [u8; MAX_LABEL],
}

impl Default for Label {
    fn default() -> Self {
        Self { len: 0, octets: [0; MAX_LABEL] }
    }
}

impl Label {
    fn push(&mut self, byte: u8) -> Result<(), NameError> {
        *self.octets.get_mut(self.len).ok_or(NameError::LongLabel)? = byte;
        self.len += 1;
        Ok(())
    }

    fn take(&mut self) -> Result<&[u8], NameError> {
        let len = std::mem::take(&mut self.len);
        if len == 0 { Err(NameError::EmptyLabel) } else { Ok(&self.octets[..len]) }
    }
}

fn unescape(bytes: &mut std::str::Bytes<'_>) -> Option<u8> {
    let first = bytes.next()?;
    if !first.is_ascii_digit() {
        return Some(first);
    }
    let mut value = u16::from(first - b'0');
    for _ in 0..2 {
        let digit = bytes.next().filter(u8::is_ascii_digit)?;
        value = value * 10 + u16::from(digit - b'0');
    }
    u8::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Name {
        Name::from_text(text).expect("a name")
    }

    #[test]
    fn text_becomes_wire_and_text_again() {
        for text in [".", "a.", "web.default.svc.cluster.local.", r"a\.b.example.", r"\000\255.example."] {
            assert_eq!(name(text).to_string(), text);
        }
        assert_eq!(name("a.example"), name("a.example."));
        assert_eq!(name("a.b").wire(), b"\x01a\x01b\x00");
    }

    #[test]
    fn invalid_names_are_refused() {
        assert_eq!(Name::from_text(""), Err(NameError::EmptyLabel));
        assert_eq!(Name::from_text("a..b"), Err(NameError::EmptyLabel));
        assert_eq!(Name::from_text(&"x".repeat(64)), Err(NameError::LongLabel));
        assert_eq!(Name::from_text(&"abcdefg.".repeat(32)), Err(NameError::LongName));
        assert_eq!(Name::from_text(r"a\25"), Err(NameError::BadEscape));
        assert_eq!(Name::from_text(r"a\256"), Err(NameError::BadEscape));
    }

    /// A message of 64 KiB has room for chains of thousands, and for thousands of names that use
    /// them.
    #[test]
    fn a_name_has_few_pointers() {
        let chain = |pointers: u8| {
            let mut message = vec![0];
            (0..pointers).for_each(|n| message.extend_from_slice(&[0xC0, (2 * n).saturating_sub(1)]));
            let last = message.len() - 2;
            Name::from_message(&message, last)
        };
        assert_eq!(chain(127), Some((Name::ROOT, 255)));
        assert_eq!(chain(128), None);
    }

    #[test]
    fn a_zone_ends_at_a_label() {
        let zone = name("cluster.local.");
        assert!(name("a.cluster.local.").is_under(&zone));
        assert!(zone.is_under(&zone));
        assert!(!name("acluster.local.").is_under(&zone));
        assert!(!name("local.").is_under(&zone));
        assert!(name("x.").is_under(&Name::ROOT));
        // The tail of a label may look like the zone's octets, length octet included.
        let mut wire = vec![9, b'a'];
        wire.extend_from_slice(&name("cluster.").wire()[..8]);
        wire.push(0);
        let odd = Name::from_wire(&wire).expect("a name");
        assert!(!odd.is_under(&name("cluster.")));
    }

    #[test]
    fn pointers_go_backward_only() {
        let message = b"\x01a\x00\x01b\xC0\x00\xC0\x03\xC0\x09";
        assert_eq!(Name::from_message(message, 3).map(|(n, end)| (n.to_string(), end)), Some(("b.a.".into(), 7)));
        assert_eq!(Name::from_message(message, 7).map(|(n, end)| (n.to_string(), end)), Some(("b.a.".into(), 9)));
        assert_eq!(Name::from_message(message, 9), None);
    }
}
