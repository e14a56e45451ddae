//! The messages of one client before they are answered: octets as they came, each message with its
//! length in front (RFC 1035 section 4.2.2).

/// Octets of the buffer: for an idle connection, and for a client that sends many messages at once.
/// A longer message gets the room it needs.
const INPUT: (usize, usize) = (512, 4096);

/// What a connection has received and not answered.
pub(super) struct Input(Vec<u8>);

impl Input {
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(INPUT.0))
    }

    /// Returns the buffer that the next octets are read into.
    pub(super) fn buffer(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// Returns whether nothing is left, not even a part of a message.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the octets of memory that it takes beyond those of an idle connection.
    pub(super) fn held(&self) -> usize {
        self.0.capacity() - INPUT.0
    }

    /// Returns whether a whole message is there.
    pub(super) fn has_message(&self) -> bool {
        self.message_len().is_some_and(|len| self.0.len() >= len)
    }

    /// Returns how many octets to read at most.
    pub(super) fn missing(&self) -> u64 {
        (self.message_len().unwrap_or_default().max(INPUT.1) - self.0.len()) as u64
    }

    /// Makes as much room for the next read as the last one needed.
    pub(super) fn has_read(&mut self, octets: usize) {
        if octets >= INPUT.0 {
            self.0.reserve(INPUT.1.saturating_sub(self.0.len()));
        }
    }

    /// Takes all octets out, to be put back with [`Input::put_back`].
    pub(super) fn take(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.0)
    }

    /// Puts octets back, of which the first `done` are answered.
    pub(super) fn put_back(&mut self, mut octets: Vec<u8>, done: usize) {
        octets.drain(..done);
        if octets.is_empty() && done < INPUT.0 || octets.capacity() > 2 * octets.len().max(INPUT.1) {
            octets.shrink_to(INPUT.0);
        }
        self.0 = octets;
    }

    /// Returns the length of the first message with its prefix, if it is known.
    fn message_len(&self) -> Option<usize> {
        let prefix = self.0.first_chunk::<2>()?;
        Some(2 + usize::from(u16::from_be_bytes(*prefix)))
    }
}

/// Returns the message at the beginning of `octets`, if it is whole.
pub(super) fn message(octets: &[u8]) -> Option<&[u8]> {
    let (prefix, rest) = octets.split_first_chunk::<2>()?;
    rest.get(..usize::from(u16::from_be_bytes(*prefix)))
}
