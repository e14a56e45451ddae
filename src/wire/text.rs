//! A domain name as text: presentation form, fully qualified, with the escapes of zone files
//! (RFC 1035 section 5.1).

use std::fmt;
use std::io::Write as _;

use super::name::{Name, labels};

/// Writes a name in wire form as text.
pub fn write_text(wire: &[u8], f: &mut impl fmt::Write) -> fmt::Result {
    let mut any = false;
    for label in labels(wire) {
        any = true;
        for &byte in label {
            match byte {
                _ if is_plain(byte) => f.write_char(char::from(byte))?,
                0x20..=0x7E => write!(f, "\\{}", char::from(byte))?,
                _ => write!(f, "\\{byte:03}")?,
            }
        }
        f.write_char('.')?;
    }
    if any { Ok(()) } else { f.write_char('.') }
}

/// Maximum length in octets of a name as text: each octet may be written as `\DDD`.
const MAX_TEXT: usize = 4 * 255;

/// A name as text, on the stack.
pub struct NameText {
    octets: [u8; MAX_TEXT],
    len: usize,
}

impl NameText {
    /// Returns the text of a name.
    #[must_use]
    pub fn of(name: &Name) -> Self {
        let mut text = Self { octets: [0; MAX_TEXT], len: 0 };
        // It always fits; if it did not, nothing would match the missing part.
        let _ = write_text(name.wire(), &mut text);
        text
    }

    /// Returns the text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.octets[..self.len]).unwrap_or_default()
    }
}

impl fmt::Write for NameText {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let end = self.len + text.len();
        self.octets.get_mut(self.len..end).ok_or(fmt::Error)?.copy_from_slice(text.as_bytes());
        self.len = end;
        Ok(())
    }
}

/// Appends the text of a name, for lines that are written for every query: fast if nothing needs an
/// escape.
pub fn append_text(name: &Name, out: &mut Vec<u8>) {
    let start = out.len();
    // The text is the labels as they are, with a dot in place of each length octet but the first.
    out.extend_from_slice(&name.wire()[1..]);
    let mut end = start;
    for label in name.labels() {
        if !label.iter().all(|&byte| PLAIN[usize::from(byte)]) {
            out.truncate(start);
            // Writing to a Vec cannot fail.
            let _ = write!(out, "{name}");
            return;
        }
        end += label.len();
        out[end] = b'.';
        end += 1;
    }
    if name.is_root() {
        out.push(b'.');
    }
}

/// Returns whether an octet of a label is written without an escape.
const fn is_plain(byte: u8) -> bool {
    matches!(byte, 0x21..=0x7E) && !matches!(byte, b'.' | b'\'' | b'@' | b';' | b'(' | b')' | b'"' | b'\\')
}

/// The same for each octet as a table: a look-up costs less than comparisons in lines written for
/// every query.
static PLAIN: [bool; 256] = {
    let mut plain = [false; 256];
    let mut byte = 0;
    while byte < plain.len() {
        plain[byte] = is_plain(byte as u8);
        byte += 1;
    }
    plain
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_ways_write_the_same() {
        let mut names: Vec<Vec<u8>> =
            vec![b"\0".to_vec(), b"\x03web\x07default\x03svc\0".to_vec(), b"\x01a\x01b\0".to_vec()];
        // Every octet, alone and after others.
        names.extend((0..=u8::MAX).map(|byte| vec![1, byte, 0]));
        names.extend((0..=u8::MAX).map(|byte| vec![2, b'a', b'b', 3, b'x', byte, b'y', 1, b'z', 0]));
        let mut longest = [[63; 64]; 4].concat();
        (longest[192], longest[254]) = (61, 0);
        longest.truncate(255);
        names.push(longest);
        for wire in names {
            let name = Name::from_wire(&wire).expect("a name");
            let mut out = b"before ".to_vec();
            append_text(&name, &mut out);
            assert_eq!(String::from_utf8_lossy(&out), format!("before {name}"));
        }
        assert_eq!(Name::from_wire(b"\x04\x00.~ \0").expect("a name").to_string(), r"\000\.~\ .");
    }
}
