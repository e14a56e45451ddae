//! How facts become text, with few instructions: a line is made for each query, and `write!` costs several times as much.
//! It stands only where few lines come by.

use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

/// A text of at most `N` octets. All `N` are appended and then cut off: to copy a number of octets that the compiler knows
/// is an instruction or two, any other number a call.
pub(super) struct Short<const N: usize = 16> {
    octets: [u8; N],
    len: usize,
}

impl<const N: usize> Short<N> {
    /// `text`, if it is no longer than that.
    pub(super) fn new(text: &[u8]) -> Option<Self> {
        (text.len() <= N).then(|| Self::of(text))
    }

    /// The first `N` octets of `text`.
    pub(super) const fn of(text: &[u8]) -> Self {
        let (mut octets, mut len) = ([0; N], 0);
        while len < N && len < text.len() {
            octets[len] = text[len];
            len += 1;
        }
        Self { octets, len }
    }

    /// Whether there is nothing in it.
    pub(super) const fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// Appends the text.
    pub(super) fn append(&self, out: &mut Vec<u8>) {
        let end = out.len() + self.len;
        out.extend_from_slice(&self.octets);
        out.truncate(end);
    }
}

/// Mnemonics are a few octets, for which a loop is less than a call.
fn write_word(out: &mut Vec<u8>, word: &str) {
    for &octet in word.as_bytes() {
        out.push(octet);
    }
}

/// A mnemonic, or `prefix` and the number of what has none.
pub(super) fn write_known(out: &mut Vec<u8>, name: Option<&str>, prefix: &str, number: u16) {
    if let Some(name) = name {
        return write_word(out, name);
    }
    write_word(out, prefix);
    write_number(out, number.into());
}

/// A number in decimal.
pub(super) fn write_number(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// An address; IPv6 in brackets.
pub(super) fn write_address(out: &mut Vec<u8>, address: IpAddr) {
    match address.to_canonical() {
        IpAddr::V4(v4) => {
            for octet in v4.octets() {
                DOTTED[usize::from(octet)].append(out);
            }
            out.pop();
        }
        // Writing to a Vec cannot fail.
        IpAddr::V6(v6) => _ = write!(out, "[{v6}]"),
    }
}

/// Each octet of an IPv4 address with a dot behind it.
static DOTTED: [Short<4>; 256] = {
    let mut dotted = [const { Short { octets: [0; 4], len: 0 } }; 256];
    let mut number = 0;
    while number < dotted.len() {
        let (hundreds, tens, ones) =
            (b'0' + (number / 100) as u8, b'0' + (number / 10 % 10) as u8, b'0' + (number % 10) as u8);
        dotted[number] = match number {
            0..10 => Short::of(&[ones, b'.']),
            10..100 => Short::of(&[tens, ones, b'.']),
            _ => Short::of(&[hundreds, tens, ones, b'.']),
        };
        number += 1;
    }
    dotted
};

/// Seconds as the shortest decimal number that is the same as a float.
pub(super) fn write_seconds(out: &mut Vec<u8>, took: Duration) {
    let nanos = took.subsec_nanos();
    if took.as_secs() > 0 || nanos == 0 {
        let _ = write!(out, "{}s", took.as_secs_f64());
        return;
    }
    // Below a second there are nine digits at most, and so few are themselves the shortest.
    let (mut text, mut rest) = (*b"0.000000000", nanos);
    for digit in text[2..].iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    let end = text.iter().rposition(|&digit| digit != b'0').map_or(0, |last| last + 1);
    Short { octets: text, len: end }.append(out);
    out.push(b's');
}
