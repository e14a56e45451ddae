//! An answer on its way up the chain, and cheap changes to it.

use std::borrow::Cow;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use super::answer::Answer;
use super::option::EdnsOption;
use super::request::flag;
use super::types::rcode;

/// Extended DNS errors (RFC 8914) that the server sends.
pub mod ede {
    /// The answer is older than its TTL.
    pub const STALE_ANSWER: u16 = 3;
    /// The name may exist by now, although the answer denies it.
    pub const STALE_NXDOMAIN: u16 = 19;
    /// The server does not know the name yet.
    pub const NOT_READY: u16 = 14;
    /// A policy of the operator blocks the name.
    pub const BLOCKED: u16 = 15;
    /// A policy of the operator removes records of the name.
    pub const FILTERED: u16 = 17;
    /// No upstream could be reached.
    pub const NO_REACHABLE_AUTHORITY: u16 = 22;
    /// An upstream could be reached, but the exchange failed.
    pub const NETWORK_ERROR: u16 = 23;
}

/// End of the cause for a query that no plugin answered, in CoreDNS's words.
pub const NOBODY: &str = "no next plugin found";

//----------- Reply ----------------------------------------------------------

/// What travels up the chain: a shared [`Answer`], and the changes to make when it is copied out.
#[derive(Debug, Clone)]
pub struct Reply {
    /// Everything after the question.
    pub answer: Arc<Answer>,
    /// The TTL of every record in seconds, in place of the stored ones.
    pub ttl: Option<u32>,
    /// The order of the records.
    pub order: Order,
    /// Where the answer comes from.
    pub origin: Origin,
    /// Header flags to set, whatever the answer or the query has; see [`Reply::set_flags`].
    pub set: u16,
    /// Header flags to clear, whatever the answer or the query has.
    pub cleared: u16,
    /// Rarely used parts.
    pub note: Option<Box<Note>>,
}

/// Rarely used parts of a reply, kept apart so that a [`Reply`] stays small.
#[derive(Debug, Clone, Default)]
pub struct Note {
    /// Why the query failed, for `errors`.
    pub cause: Option<Cow<'static, str>>,
    /// An extended error for the client: code and text (RFC 8914).
    pub error: Option<(u16, Cow<'static, str>)>,
    /// More EDNS options for this client, in OPT wire form.
    pub options: Vec<u8>,
    /// Values that the plugin that answered publishes for those above: label and value.
    pub published: Vec<(&'static str, Box<str>)>,
    /// Whether the message is padded, so that its length says little.
    pub(super) is_padded: bool,
    /// The messages after the first one, if the reply has several.
    more: Option<More>,
}

/// The messages of a reply after its first one, made one by one as the client reads them: a zone
/// transfer (RFC 5936 section 2.2). Dropping it ends the reply. Copies of a reply share it.
#[derive(Clone)]
pub struct More(Arc<Mutex<Box<dyn Iterator<Item = Arc<Answer>> + Send>>>);

impl More {
    /// Makes the next message, or returns `None` after the last one.
    #[must_use]
    pub fn next(&self) -> Option<Arc<Answer>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).next()
    }
}

impl fmt::Debug for More {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("More")
    }
}

/// The order in which records are written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub enum Order {
    /// As they are stored.
    #[default]
    Stored,
    /// CNAME first, then types other than addresses and MX, then addresses and MX, each shuffled
    /// with this seed.
    Shuffled(u32),
    /// The first records by index, each section for itself; the others follow in stored order.
    Given(Arc<[u16]>),
}

/// Where an answer comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// From data in memory: always current, never worth caching.
    Memory,
    /// Fetched from elsewhere: the cache may keep it.
    Fetched,
    /// An error that the server or the chain made.
    Server,
}

impl Reply {
    /// Returns an answer from memory.
    #[must_use]
    pub fn memory(answer: Arc<Answer>) -> Self {
        Self { answer, ttl: None, order: Order::Stored, origin: Origin::Memory, set: 0, cleared: 0, note: None }
    }

    /// Returns an answer that was fetched.
    #[must_use]
    pub fn fetched(answer: Arc<Answer>) -> Self {
        Self { origin: Origin::Fetched, ..Self::memory(answer) }
    }

    /// Returns an empty reply with `rcode` that no plugin made: AA is clear.
    #[must_use]
    pub fn server(rcode: u16) -> Self {
        Self { origin: Origin::Server, ..Self::memory(Arc::new(Answer::empty(rcode))) }
    }

    /// Returns an empty reply with `rcode` because of `cause`, which `errors` prints.
    #[must_use]
    pub fn failure(rcode: u16, cause: impl Into<Cow<'static, str>>) -> Self {
        Self::server(rcode).with_cause(cause)
    }

    /// Returns the same reply with the reason of a failure.
    #[must_use]
    pub fn with_cause(mut self, cause: impl Into<Cow<'static, str>>) -> Self {
        self.note_mut().cause = Some(cause.into());
        self
    }

    /// Returns the same reply with an extended error for the client (RFC 8914).
    #[must_use]
    pub fn with_error(mut self, code: u16, text: impl Into<Cow<'static, str>>) -> Self {
        self.note_mut().error = Some((code, text.into()));
        self
    }

    /// Returns the same reply with more messages after this one. A stream sends them; other
    /// transports refuse a reply of several messages.
    #[must_use]
    pub fn with_more(mut self, messages: impl Iterator<Item = Arc<Answer>> + Send + 'static) -> Self {
        self.note_mut().more = Some(More(Arc::new(Mutex::new(Box::new(messages)))));
        self
    }

    /// Takes the messages after this one, which a transport sends for itself. Returns `None` if
    /// this is the only one.
    pub fn take_more(&mut self) -> Option<More> {
        self.note.as_mut()?.more.take()
    }

    /// Returns whether there are more messages after this one.
    #[must_use]
    pub fn has_more(&self) -> bool {
        self.note.as_ref().is_some_and(|note| note.more.is_some())
    }

    /// Adds an EDNS option for a client that sent an OPT. Data of more than 64 KiB is left out.
    pub fn add_option(&mut self, code: u16, data: &[u8]) {
        if data.len() <= usize::from(u16::MAX) {
            EdnsOption { code, data }.put(&mut self.note_mut().options);
        }
    }

    /// Pads the message (RFC 7830), for a client that sent an OPT over an encrypted connection.
    pub fn pad(&mut self) {
        self.note_mut().is_padded = true;
    }

    /// Publishes a value for the plugins above.
    pub fn publish(&mut self, label: &'static str, value: impl Into<Box<str>>) {
        self.note_mut().published.push((label, value.into()));
    }

    /// Returns the value that was published under a label.
    #[must_use]
    pub fn published(&self, label: &str) -> Option<&str> {
        let published = &self.note.as_ref()?.published;
        published.iter().find(|(known, _)| *known == label).map(|(_, value)| &**value)
    }

    /// Returns the RCODE, extended bits included.
    #[must_use]
    pub fn rcode(&self) -> u16 {
        self.answer.rcode
    }

    /// Returns the header flags that the reply decides.
    #[must_use]
    pub fn flags(&self) -> u16 {
        self.answer.flags & !self.cleared | self.set
    }

    /// Returns all header flags of the message: those that the reply decides, and RD and CD of the
    /// query.
    #[must_use]
    pub fn header_flags(&self, query: u16) -> u16 {
        flag::QR | query & (flag::RD | flag::CD) & !self.cleared | self.flags()
    }

    /// Sets header flags of the message, whatever the answer or the query has.
    pub fn set_flags(&mut self, flags: u16) {
        self.set |= flags;
        self.cleared &= !flags;
    }

    /// Clears header flags of the message, whatever the answer or the query has.
    pub fn clear_flags(&mut self, flags: u16) {
        self.cleared |= flags;
        self.set &= !flags;
    }

    /// Returns whether the answer, ours or the upstream's, is truncated already.
    #[must_use]
    pub fn is_truncated(&self) -> bool {
        self.flags() & flag::TC != 0
    }

    /// Returns why the query failed, if it did.
    #[must_use]
    pub fn cause(&self) -> Option<&str> {
        self.note.as_ref()?.cause.as_deref()
    }

    /// Returns whether the reply says nothing about the name because an upstream or a plugin
    /// failed.
    ///
    /// A server that has no plugin left to ask ([`NOBODY`]), or refuses the name itself, has not
    /// failed: it resolves only its own names.
    #[must_use]
    pub fn has_failed(&self) -> bool {
        match self.rcode() {
            rcode::NOERROR | rcode::NXDOMAIN => false,
            rcode::SERVFAIL => !self.cause().is_some_and(|cause| cause.ends_with(NOBODY)),
            _ => self.origin == Origin::Fetched,
        }
    }

    fn note_mut(&mut self) -> &mut Note {
        self.note.get_or_insert_default()
    }
}
