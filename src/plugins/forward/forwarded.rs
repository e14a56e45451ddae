//! A client's query as it is forwarded: the message, and what its client can take.

use std::sync::Arc;

use crate::chain::Query;
use crate::remote::Sent;
use crate::wire::answer::Answer;

/// A query for the upstreams, and what is to be known of its client meanwhile.
pub(super) struct Forwarded {
    /// What upstreams get.
    pub(super) sent: Arc<Sent>,
    /// Octets of the largest reply that the client takes.
    pub(super) limit: usize,
    /// Whether no client waits for the answer, or the client already has an older one: the cache
    /// refreshes an entry.
    pub(super) in_background: bool,
}

impl Forwarded {
    /// The query with what the chain has changed: the question, the flags and the payload size.
    pub(super) fn new(query: &Query<'_>) -> Self {
        let (packet, request) = (query.packet(), &query.request);
        let sent = match query.is_as_asked() {
            _ if query.is_amended() => Sent::with_options(packet, request, query.question),
            true => Sent::as_received(packet, request, query.question),
            false => Sent::asked_anew(packet, request, query.question),
        };
        let in_background = query.client.is_nobody() || query.has_spare;
        Self { sent: Arc::new(sent), limit: query.limit(), in_background }
    }

    /// Whether the client takes the whole of this answer.
    pub(super) fn has_room_for(&self, answer: &Answer) -> bool {
        self.sent.reply_len(answer) <= self.limit
    }

    /// Whether the client came in a datagram, so that it can take a truncated answer and ask again
    /// over TCP.
    pub(super) fn may_come_over_tcp(&self) -> bool {
        self.limit < usize::from(u16::MAX)
    }
}

#[cfg(test)]
impl Forwarded {
    /// A question of a client that takes `limit` octets.
    pub(super) fn of(name: &str, limit: usize) -> Self {
        let name = crate::wire::name::Name::from_text(name).expect("a name");
        Self { sent: Arc::new(Sent::probe(&name, true)), limit, in_background: false }
    }
}
