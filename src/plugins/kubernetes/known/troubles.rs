//! Why the data do not come, in words for operators: `/ready` and a reload that fails show them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::model::Kind;

/// Octets of a reason that are kept. What a server or a proxy says may be of any length.
const LONGEST: usize = 400;

/// What is wrong now with each kind.
#[derive(Debug, Default)]
pub struct Troubles(Mutex<BTreeMap<Kind, String>>);

impl Troubles {
    /// The data of `kind` do not come. `why` is made one line.
    pub fn set(&self, kind: Kind, why: &str) {
        let words: Vec<_> = why.split_whitespace().collect();
        let mut line = words.join(" ");
        if line.len() > LONGEST {
            line.truncate(line.floor_char_boundary(LONGEST));
            line.push_str("...");
        }
        self.lock().insert(kind, line);
    }

    /// The data of `kind` have come.
    pub fn clear(&self, kind: Kind) {
        self.lock().remove(&kind);
    }

    /// What is wrong; what is so for several kinds stands there once.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        for line in self.lock().values() {
            if !lines.contains(line) {
                lines.push(line.clone());
            }
        }
        lines
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Kind, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_and_stands_there_once() {
        let troubles = Troubles::default();
        troubles.set(Kind::Slice, "the server\n is away");
        troubles.set(Kind::Service, "no right");
        troubles.set(Kind::Namespace, "the server is away");
        assert_eq!(troubles.lines(), ["the server is away", "no right"]);
        troubles.clear(Kind::Namespace);
        troubles.clear(Kind::Service);
        assert_eq!(troubles.lines(), ["the server is away"]);
        troubles.set(Kind::Slice, &"ä".repeat(1000));
        assert_eq!(troubles.lines()[0].len(), LONGEST + 3);
    }
}
