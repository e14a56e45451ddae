//! The options of an OPT: reading and writing.

/// One EDNS option (RFC 6891 section 6.1.2).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EdnsOption<'a> {
    /// Its code.
    pub code: u16,
    /// Its data, at most 65,535 octets.
    pub data: &'a [u8],
}

/// The client's subnet (RFC 7871).
const SUBNET: u16 = 8;

/// A cookie (RFC 7873).
pub const COOKIE: u16 = 10;

/// How long a connection over TCP may be idle (RFC 7828).
pub const KEEPALIVE: u16 = 11;

/// Octets that hide the length of an encrypted message (RFC 7830).
pub const PADDING: u16 = 12;

/// Options between two neighbours, which are not passed on. A subnet splits answers, and with them
/// makes forging easier (CVE-2025-5994).
const OF_NEIGHBOURS: [u16; 4] = [SUBNET, COOKIE, KEEPALIVE, PADDING];

impl EdnsOption<'_> {
    /// Returns whether the option is for the next server alone, and is not passed on.
    #[must_use]
    pub fn is_of_neighbours(&self) -> bool {
        OF_NEIGHBOURS.contains(&self.code)
    }

    /// Appends the option in OPT wire form.
    pub fn put(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.code.to_be_bytes());
        out.extend_from_slice(&(self.data.len() as u16).to_be_bytes());
        out.extend_from_slice(self.data);
    }
}

/// Reads the options of an OPT in their order. Iteration ends at the first malformed option.
#[derive(Debug, Clone)]
pub struct EdnsOptions<'a> {
    rest: &'a [u8],
}

impl<'a> EdnsOptions<'a> {
    /// Returns a reader for the data of an OPT.
    #[must_use]
    pub fn new(data: &'a [u8]) -> Self {
        Self { rest: data }
    }

    /// Returns whether all octets were read; false at the end if some are malformed.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.rest.is_empty()
    }
}

impl<'a> Iterator for EdnsOptions<'a> {
    type Item = EdnsOption<'a>;

    fn next(&mut self) -> Option<EdnsOption<'a>> {
        let (&[high, low, len_high, len_low], rest) = self.rest.split_first_chunk()?;
        let (data, rest) = rest.split_at_checked(usize::from(u16::from_be_bytes([len_high, len_low])))?;
        self.rest = rest;
        Some(EdnsOption { code: u16::from_be_bytes([high, low]), data })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_are_read_and_written() {
        let octets = b"\0\x03\0\0\0\x0A\0\x02ab";
        let mut options = EdnsOptions::new(octets);
        let mut out = Vec::new();
        options.by_ref().for_each(|option| option.put(&mut out));
        assert!(options.is_done() && out == octets, "{out:?}");
        for (len, read) in [(3, 0), (4, 1), (7, 1), (9, 1)] {
            let mut options = EdnsOptions::new(&octets[..len]);
            assert_eq!((options.by_ref().count(), options.is_done()), (read, len == 4), "{len}");
        }
    }
}
