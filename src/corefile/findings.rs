//! What is found while a Corefile is read: errors, warnings and notes, in the order of reading.

use std::cell::RefCell;
use std::rc::Rc;

use crate::error::Error;

/// The severity of a finding.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Severity {
    /// Nothing is wrong, but the operator may want to know.
    Note,
    /// The Corefile can be served, but a part of it probably does not have the intended effect.
    Warning,
    /// The Corefile cannot be served.
    Error,
}

/// One finding.
#[derive(Debug)]
pub struct Finding {
    /// Its severity.
    pub severity: Severity,
    /// The message, with file, line and word if one word is to blame.
    pub what: Error,
}

/// Findings that are kept for one Corefile.
pub const MOST: usize = 200;

/// The findings of one Corefile. All its readers add to them: clones share one list.
#[derive(Debug, Clone, Default)]
pub struct Findings(Rc<RefCell<Vec<Finding>>>);

impl Findings {
    /// Adds a finding that is not in the list yet: a snippet that is imported twice causes one
    /// complaint. Findings beyond [`MOST`] are left out, except for the first error.
    pub fn add(&self, severity: Severity, what: impl Into<Error>) {
        let what = what.into();
        let is_needed = severity == Severity::Error && !self.has_error();
        let mut all = self.0.borrow_mut();
        let is_known = all.iter().any(|known| known.severity == severity && known.what.parts() == what.parts());
        if is_needed || (!is_known && all.len() < MOST) {
            all.push(Finding { severity, what });
        }
    }

    /// Returns whether there is an error among them.
    #[must_use]
    pub fn has_error(&self) -> bool {
        self.0.borrow().iter().any(|finding| finding.severity == Severity::Error)
    }

    /// Returns all findings so far and empties the list.
    #[must_use]
    pub fn take(&self) -> Vec<Finding> {
        self.0.take()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_finding_counts_once_and_the_first_error_always() {
        let findings = Findings::default();
        let warn = |text: String| findings.clone().add(Severity::Warning, Error::Other(text));
        warn("same".into());
        warn("same".into());
        findings.add(Severity::Note, Error::Other("same".into()));
        assert_eq!(findings.0.borrow().len(), 2);
        (0..2 * MOST).for_each(|at| warn(at.to_string()));
        assert!(!findings.has_error());
        findings.add(Severity::Error, Error::Other("one".into()));
        findings.add(Severity::Error, Error::Other("two".into()));
        let all = findings.take();
        assert_eq!((all.len(), all[MOST].what.to_string()), (MOST + 1, "one".into()));
        assert!(findings.take().is_empty());
    }
}
