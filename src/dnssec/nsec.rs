//! The data of an NSEC record (RFC 4034 section 4.1).

use crate::wire::name::Name;

/// Returns the data of the NSEC record of a name that has these types, in any order; `next` is the
/// name after it.
#[must_use]
pub fn data(next: &Name, types: &[u16]) -> Vec<u8> {
    let mut types = types.to_vec();
    types.sort_unstable();
    types.dedup();
    let mut data = next.lowered().wire().to_vec();
    for window in types.chunk_by(|one, other| one >> 8 == other >> 8) {
        let mut bits = [0u8; 32];
        for rtype in window {
            bits[usize::from(rtype & 0xFF) / 8] |= 0x80 >> (rtype & 7);
        }
        let len = usize::from(window[window.len() - 1] & 0xFF) / 8 + 1;
        data.extend([(window[0] >> 8) as u8, len as u8]);
        data.extend_from_slice(&bits[..len]);
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_example_of_the_rfc() {
        // RFC 4034 section 4.3.
        let next = Name::from_text("host.example.com.").expect("a name");
        let data = data(&next, &[1234, 47, 1, 46, 15, 1]);
        let mut wanted = next.wire().to_vec();
        wanted.extend([0, 6, 0x40, 0x01, 0, 0, 0, 0x03, 4, 0x1B]);
        wanted.extend([0; 26]);
        wanted.push(0x20);
        assert_eq!(data, wanted);
    }
}
