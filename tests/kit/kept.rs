//! One packet served without a socket, its reply kept as it comes from the chain.

use std::sync::Arc;
use std::time::Instant;

use hickory_proto::op::Message;
use signpost::chain::listener::Listener;
use signpost::chain::serve::{Responder, Waiting, serve};
use signpost::chain::{Client, Pending, Query, Reply};
use signpost::wire::write::Writer;

/// Serves a packet and waits for its reply. Returns the query as it came back and the reply before
/// it is written, or `None` if there is no reply.
///
/// # Panics
/// The packet is not a query.
pub(crate) async fn reply(packet: &[u8], client: Client, listener: &Arc<Listener>) -> Option<(Query<'static>, Reply)> {
    let mut kept = Kept::default();
    serve(packet, client, listener, Instant::now(), &mut kept);
    match kept.waiting {
        Some(waiting) => {
            let (query, reply) = waiting.finish().await;
            reply.map(|reply| (*query, reply))
        }
        None => kept.reply,
    }
}

/// Returns a reply as its client reads it.
pub(crate) fn read(packet: &[u8], query: &Query<'_>, reply: &Reply) -> Message {
    let mut out = Vec::new();
    Writer::default().reply(packet, &query.request, reply, query.limit(), &mut out);
    Message::from_vec(&out).expect("a message")
}

#[derive(Default)]
struct Kept {
    reply: Option<(Query<'static>, Reply)>,
    waiting: Option<Waiting>,
}

impl Responder for Kept {
    type Place = ();

    fn put(&mut self, _: impl FnOnce(&mut Writer, &mut Vec<u8>) -> usize) {
        panic!("not a query");
    }

    fn place(&mut self, _: &Query<'_>, _: &Pending) -> Option<()> {
        Some(())
    }

    fn wait(&mut self, waiting: Waiting, (): ()) {
        self.waiting = Some(waiting);
    }

    fn reply(&mut self, query: &Query<'_>, reply: Reply) {
        self.reply = Some((query.clone().into_owned(), reply));
    }
}
