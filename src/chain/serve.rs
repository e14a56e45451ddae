//! Serves one packet, the same for every transport: gate, query, chain, reply.
//!
//! A transport implements [`Responder`]: how messages are sent and which queries may wait.
//! [`serve`] does the rest, so no transport decides what is a query, what is refused, and what
//! happens to a query that may not wait.

use std::sync::Arc;
use std::time::Instant;

use super::listener::Listener;
use super::query::{Client, Proto, Query, Wishes};
use super::walk::{Outcome, Pending};
use crate::corefile::address::Transport;
use crate::wire::answer::recycle;
use crate::wire::option::{EdnsOption, KEEPALIVE, PADDING};
use crate::wire::reply::Reply;
use crate::wire::request::{Gate, Refusal, gate};
use crate::wire::types::rcode;
use crate::wire::write::{Writer, refusal};

/// Octets for an OPT with the time that a connection may be idle, and a few more.
const IDLE_ROOM: usize = 64;

//----------- Responder ------------------------------------------------------

/// What a transport does for the packet that is served.
pub trait Responder {
    /// A query's permission to wait.
    type Place;

    /// Sends one message to the client. `write` appends the message and returns its length in
    /// octets.
    fn put(&mut self, write: impl FnOnce(&mut Writer, &mut Vec<u8>) -> usize);

    /// Returns a place for a query that has to wait, or `None` if too many queries wait.
    fn place(&mut self, query: &Query<'_>, pending: &Pending) -> Option<Self::Place>;

    /// Waits for the query with [`Waiting::finish`], then sends its reply.
    fn wait(&mut self, waiting: Waiting, place: Self::Place);

    /// Sends the reply to a query.
    fn reply(&mut self, query: &Query<'_>, reply: Reply) {
        self.put(|writer, out| write_reply(query, reply, writer, out));
    }
}

/// A query that waits for its reply.
pub struct Waiting {
    /// Boxed, because a value that is moved into a task is copied more than once.
    query: Box<Query<'static>>,
    pending: Pending,
}

impl Waiting {
    /// Waits for the reply. Returns the query, and its reply unless it was dropped.
    pub async fn finish(mut self) -> (Box<Query<'static>>, Option<Reply>) {
        let reply = self.pending.finish(&mut self.query).await;
        (self.query, reply)
    }
}

//----------- serve ----------------------------------------------------------

/// Serves one packet that `client` has sent to `listener` at `now`.
///
/// A packet that is not a query is refused or ignored, as [`gate`] decides. A query that may not
/// wait, because too many do, is answered SERVFAIL.
pub fn serve(packet: &[u8], client: Client, listener: &Arc<Listener>, now: Instant, responder: &mut impl Responder) {
    let request = match gate(packet) {
        Gate::Silence => return,
        Gate::Refuse(why) => return responder.put(|_, out| refusal(packet, &why, out)),
        Gate::Pass(request) => request,
        Gate::Notify(request) => return notify(Query::new(packet, request, client, now), listener, responder),
    };
    let mut query = Query::new(packet, request, client, now);
    query.wishes = wishes(&query, listener);
    match listener.ask(&mut query) {
        Outcome::Reply(reply) => responder.reply(&query, reply),
        Outcome::Drop => {}
        Outcome::Wait(pending) => match responder.place(&query, &pending) {
            Some(place) => responder.wait(Waiting { query: Box::new(query.into_owned()), pending }, place),
            None => responder.reply(&query, Reply::failure(rcode::SERVFAIL, "too many queries are waiting")),
        },
    }
}

/// Returns what a client asks of its connection, as far as `listener` can give it.
fn wishes(query: &Query<'_>, listener: &Listener) -> Wishes {
    let is_stream = query.client.proto == Proto::Tcp && matches!(listener.transport, Transport::Dns | Transport::Tls);
    let mut wishes = Wishes::default();
    for EdnsOption { code, .. } in query.request.options(query.packet()) {
        match code {
            KEEPALIVE if is_stream => {
                let units = listener.timeouts.idle().as_millis() / 100;
                wishes.idle = Some(u16::try_from(units).unwrap_or(u16::MAX));
            }
            PADDING => wishes.padding = listener.secure.is_some(),
            _ => {}
        }
    }
    wishes
}

/// Answers a NOTIFY (RFC 1996). If no plugin copies such a zone, it is not implemented.
fn notify(mut query: Query<'_>, listener: &Arc<Listener>, responder: &mut impl Responder) {
    match listener.notify(&mut query) {
        Some(reply) => responder.reply(&query, reply),
        None if query.signing.is_some() => responder.reply(&query, Reply::server(rcode::NOTIMP)),
        None => {
            let why = Refusal { rcode: rcode::NOTIMP, question_end: Some(query.request.question_end()) };
            responder.put(|_, out| refusal(query.packet(), &why, out));
        }
    }
}

/// Appends the reply to a query to `out`, signed if the query was. Returns its length in octets.
///
/// A reply of several messages is refused: a transport that can send them takes the others out
/// first ([`Reply::take_more`]).
pub fn write_reply(query: &Query<'_>, reply: Reply, writer: &mut Writer, out: &mut Vec<u8>) -> usize {
    let mut reply = if reply.has_more() { Reply::server(rcode::REFUSED) } else { reply };
    // No record is left out for it.
    if let Some(idle) = query.wishes.idle
        && query.request.question_end() + reply.answer.wire_len() + IDLE_ROOM <= query.limit()
    {
        reply.add_option(KEEPALIVE, &idle.to_be_bytes());
    }
    if query.wishes.padding {
        reply.pad();
    }
    let start = out.len();
    writer.reply(query.packet(), &query.request, &reply, query.limit(), out);
    if let Some(signing) = &query.signing {
        signing.sign(out, start);
    }
    recycle(reply.answer);
    out.len() - start
}
