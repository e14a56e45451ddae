//! The parts of a plugin's manual: the doc comment at the top of its file, and its options.

/// Returns the doc comment at the top of a file, named relative to the file with the macro call.
///
/// The text is extracted at compile time, so the program contains nothing else of the file.
macro_rules! doc_of {
    ($file:literal) => {{
        const SOURCE: &str = include_str!($file);
        const CUT: ([u8; SOURCE.len()], usize) = $crate::chain::doc::cut(SOURCE);
        const BYTES: [u8; CUT.1] = *CUT.0.first_chunk().expect("no longer than the file");
        const TEXT: &str = match std::str::from_utf8(&BYTES) {
            Ok(text) => text,
            Err(_) => panic!("the text is cut at line ends"),
        };
        TEXT
    }};
}
pub(crate) use doc_of;

/// Returns the lines of `source` that begin with `//!`, without that prefix and one space, up to
/// the first other line: a buffer, and the length of the text in it.
#[must_use]
pub(crate) const fn cut<const N: usize>(source: &str) -> ([u8; N], usize) {
    let (source, mut text, mut len, mut at) = (source.as_bytes(), [0; N], 0, 0);
    while at + 3 < source.len() && source[at] == b'/' && source[at + 1] == b'/' && source[at + 2] == b'!' {
        at += if source[at + 3] == b' ' { 4 } else { 3 };
        while at < source.len() {
            text[len] = source[at];
            (len, at) = (len + 1, at + 1);
            if text[len - 1] == b'\n' {
                break;
            }
        }
    }
    (text, len)
}

//----------- Options --------------------------------------------------------

/// An option as the manual shows it: see [`OptionOf`](super::options::OptionOf).
#[derive(Debug, Clone, Copy)]
pub struct Line {
    /// The name.
    pub name: &'static str,
    /// What follows the name.
    pub form: &'static str,
    /// What it does.
    pub about: &'static str,
}

/// A table of options, whatever type its directive fills in.
pub trait Listed: Sync {
    /// Returns the options that the manual shows.
    fn lines(&self) -> Vec<Line>;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_comment_ends_with_the_first_other_line() {
        let text = |source| {
            let (text, len) = cut::<100>(source);
            String::from_utf8(text[..len].to_vec()).expect("text")
        };
        assert_eq!(text("//! # a — b\n//!\n//!  c\n\n//! d\n"), "# a — b\n\n c\n");
        assert_eq!(text("//! a"), "a");
        assert_eq!(text("use b;\n//! c\n"), "");
        assert_eq!(
            doc_of!("doc.rs"),
            "The parts of a plugin's manual: the doc comment at the top of its file, and its options.\n"
        );
    }
}
