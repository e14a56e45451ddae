//! Names in zone files and in record data.

use crate::wire::name::Name;

/// Returns the octets of the name in wire form that begins here.
pub(super) fn name_len(data: &[u8]) -> usize {
    let mut at = 0;
    while let Some(&len) = data.get(at) {
        at += 1 + usize::from(len);
        if len == 0 {
            break;
        }
    }
    at.min(data.len())
}

/// Reads a name as a zone file has it: `@` is the origin, and a name without a dot at its end is
/// relative to the origin.
pub(super) fn name(word: &str, origin: &Name) -> Option<Name> {
    if word == "@" {
        return Some(*origin);
    }
    let name = Name::from_text(word).ok()?;
    let ends_in_dot = word.strip_suffix('.').is_some_and(|front| {
        let escapes = front.bytes().rev().take_while(|&octet| octet == b'\\').count();
        escapes % 2 == 0
    });
    if ends_in_dot { Some(name) } else { origin.below(name.labels()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_relative_to_the_origin() {
        let origin = Name::from_text("example.").expect("a name");
        let read =
            ["@", "a", "a.b.", r"a\.", r"a\\.", "."].map(|word| name(word, &origin).expect("a name").to_string());
        assert_eq!(read, ["example.", "a.example.", "a.b.", r"a\..example.", r"a\\.", "."]);
        assert!(name("a..b", &origin).is_none() && name("", &origin).is_none());
    }
}
