//! Why an expression is refused.

/// Maximum length of an expression in octets.
pub const MAX_LENGTH: usize = 10_000;

/// Maximum nesting of an expression. Deeper ones could exhaust a worker's stack.
pub const MAX_DEPTH: u16 = 200;

/// Why an expression is refused.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid {
    /// What is wrong, in the words of CoreDNS's expression library.
    pub message: String,
    /// Where the part that is wrong begins, in octets.
    pub at: usize,
    /// What would be right; empty if that is clear.
    pub hint: String,
}

impl Invalid {
    pub(super) fn new(at: usize, message: impl Into<String>) -> Self {
        Self { message: message.into(), at, hint: String::new() }
    }
}
