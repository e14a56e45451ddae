//! Turns facts into text with few instructions, because every query gets a line. `write!` costs
//! several times as much and is used only for rare lines.

use std::io::Write;
use std::net::IpAddr;
use std::time::Duration;

/// A text of at most `N` octets. It appends all `N` and then truncates: copying a length known to
/// the compiler takes an instruction or two, any other length a call.
pub(super) struct Short<const N: usize = 16> {
    octets: [u8; N],
    len: usize,
}

impl<const N: usize> Short<N> {
    /// Returns `text`, or `None` if it is longer than `N`.
    pub(super) fn new(text: &[u8]) -> Option<Self> {
        (text.len() <= N).then(|| Self::of(text))
    }

    /// Returns the first `N` octets of `text`.
    pub(super) const fn of(text: &[u8]) -> Self {
        let (mut octets, mut len) = ([0; N], 0);
        while len < N && len < text.len() {
            octets[len] = text[len];
            len += 1;
        }
        Self { octets, len }
    }

    /// Whether the text is empty.
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

/// Mnemonics are a few octets, for which a loop costs less than a call.
fn write_word(out: &mut Vec<u8>, word: &str) {
    for &octet in word.as_bytes() {
        out.push(octet);
    }
}

/// Appends a mnemonic, or `prefix` and the number if there is no mnemonic.
pub(super) fn write_known(out: &mut Vec<u8>, name: Option<&str>, prefix: &str, number: u16) {
    if let Some(name) = name {
        return write_word(out, name);
    }
    write_word(out, prefix);
    write_number(out, number.into());
}

/// Appends a number in decimal.
pub(super) fn write_number(out: &mut Vec<u8>, number: usize) {
    out.extend_from_slice(itoa::Buffer::new().format(number).as_bytes());
}

/// Appends an address; IPv6 in brackets.
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

/// Each octet of an IPv4 address, followed by a dot.
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

/// Appends seconds as the shortest decimal number that is equal as a float.
pub(super) fn write_seconds(out: &mut Vec<u8>, took: Duration) {
    let nanos = took.subsec_nanos();
    if took.as_secs() > 0 || nanos == 0 {
        let _ = write!(out, "{}s", took.as_secs_f64());
        return;
    }
    // Below a second there are at most nine digits, and so few are already the shortest form.
    let (mut text, mut rest) = (*b"0.000000000", nanos);
    for digit in text[2..].iter_mut().rev() {
        *digit += (rest % 10) as u8;
        rest /= 10;
    }
    let end = text.iter().rposition(|&digit| digit != b'0').map_or(0, |last| last + 1);
    Short { octets: text, len: end }.append(out);
    out.push(b's');
}
