//! Labels of endpoints: made from an address, or from a Pod's name.

use std::fmt::Write as _;
use std::net::IpAddr;

use crate::wire::name::MAX_LABEL;

/// Room for a label that is made from an address.
#[derive(Default)]
pub struct LabelRoom {
    text: text::Text,
}

impl LabelRoom {
    /// The label that stands for `address`.
    pub fn dashed(&mut self, address: IpAddr) -> &str {
        self.text.clear();
        match address {
            // Nearly all are of this family, and a formatter costs several times as much.
            IpAddr::V4(v4) => {
                let mut number = itoa::Buffer::new();
                for (at, octet) in v4.octets().into_iter().enumerate() {
                    let _ = self.text.write_str(if at == 0 { "" } else { "-" });
                    let _ = self.text.write_str(number.format(octet));
                }
            }
            // The longest text has 45 octets.
            IpAddr::V6(v6) => {
                let _ = write!(self.text, "{v6}");
                self.text.replace_separators();
            }
        }
        self.text.as_str()
    }
}

/// The label for an endpoint address as it is spelled in the object, if that differs from our own
/// spelling.
#[must_use]
pub fn odd_label(spelled: &str, address: IpAddr) -> Option<Box<str>> {
    let mut label: String = spelled.chars().map(|c| if matches!(c, '.' | ':') { '-' } else { c }).collect();
    if address.is_ipv6() && label.ends_with('-') {
        label.push('0');
    }
    (label != LabelRoom::default().dashed(address)).then(|| label.into_boxed_str())
}

/// Whether a pod's name can be a label: fewer than 64 octets (the usual limit) and no dots.
#[must_use]
pub fn is_label(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_LABEL && !name.contains('.')
}

mod text {
    //! A short text without an allocation.

    const ROOM: usize = 48;

    #[derive(Clone, Copy)]
    pub(super) struct Text {
        len: usize,
        octets: [u8; ROOM],
    }

    impl Default for Text {
        fn default() -> Self {
            Self { len: 0, octets: [0; ROOM] }
        }
    }

    impl Text {
        pub(super) fn clear(&mut self) {
            self.len = 0;
        }

        pub(super) fn as_str(&self) -> &str {
            std::str::from_utf8(&self.octets[..self.len]).unwrap_or_default()
        }

        pub(super) fn replace_separators(&mut self) {
            for octet in &mut self.octets[..self.len] {
                if matches!(octet, b'.' | b':') {
                    *octet = b'-';
                }
            }
            if self.octets[..self.len].last() == Some(&b'-') {
                self.octets[self.len] = b'0';
                self.len += 1;
            }
        }
    }

    impl std::fmt::Write for Text {
        fn write_str(&mut self, text: &str) -> std::fmt::Result {
            let room = self.octets.get_mut(self.len..self.len + text.len()).ok_or(std::fmt::Error)?;
            room.copy_from_slice(text.as_bytes());
            self.len += text.len();
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_make_labels() {
        let mut room = LabelRoom::default();
        let mut label = |text: &str| room.dashed(text.parse().expect("an address")).to_owned();
        assert_eq!(label("10.244.1.5"), "10-244-1-5");
        assert_eq!(label("fd00:10:244::ab"), "fd00-10-244--ab");
        assert_eq!(label("fd00:10:244:9::"), "fd00-10-244-9--0");
        assert_eq!(label("::c0a8:1"), "--c0a8-1");
        let address = "fd00::1".parse().expect("an address");
        assert_eq!(odd_label("fd00::1", address), None);
        assert_eq!(odd_label("FD00:0::1", address).as_deref(), Some("FD00-0--1"));
    }
}
