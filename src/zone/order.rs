//! The canonical order of names (RFC 4034 section 6.1), on names in wire form and lower case.

use std::cmp::Ordering;

use crate::wire::name::MAX_NAME;

/// Maximum number of labels of a name.
const LABELS: usize = MAX_NAME / 2;

/// Compares two names in wire form, label by label from the right.
pub(super) fn canonical(left: &[u8], right: &[u8]) -> Ordering {
    let (mut places, mut others) = ([0; LABELS], [0; LABELS]);
    let (mut count, mut other_count) = (starts(left, &mut places), starts(right, &mut others));
    while count > 0 && other_count > 0 {
        (count, other_count) = (count - 1, other_count - 1);
        match label(left, places[count]).cmp(label(right, others[other_count])) {
            Ordering::Equal => {}
            different => return different,
        }
    }
    count.cmp(&other_count)
}

/// Notes where each label begins and returns the number of labels, without the root's.
fn starts(name: &[u8], places: &mut [u8; LABELS]) -> usize {
    let (mut at, mut count) = (0, 0);
    while name[at] != 0 {
        places[count] = at as u8;
        (at, count) = (at + 1 + usize::from(name[at]), count + 1);
    }
    count
}

fn label(name: &[u8], at: u8) -> &[u8] {
    let at = usize::from(at);
    &name[at + 1..at + 1 + usize::from(name[at])]
}

/// Returns the name without its first label, in wire form; the parent of the root is the root.
pub(super) fn parent(name: &[u8]) -> &[u8] {
    match name[0] {
        0 => name,
        len => &name[1 + usize::from(len)..],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::Name;

    #[test]
    fn the_order_of_the_rfc() {
        let names = [
            "example.",
            "a.example.",
            "yljkjljk.a.example.",
            "z.a.example.",
            "zabc.a.example.",
            "z.example.",
            r"\001.z.example.",
            "*.z.example.",
            r"\200.z.example.",
        ];
        let wire = names.map(|name| Name::from_text(name).expect("a name").wire().to_vec());
        assert!(wire.is_sorted_by(|a, b| canonical(a, b) == Ordering::Less));
        assert_eq!(canonical(&wire[3], &wire[3]), Ordering::Equal);
        assert_eq!(parent(&wire[2]), &*wire[1]);
        assert_eq!(parent(&[0]), [0]);
    }
}
