//! Packets answered in memory, without a socket.

use std::sync::Arc;
use std::time::Instant;

use signpost::chain::listener::Listener;
use signpost::chain::serve::{Responder, Waiting, serve};
use signpost::chain::{Client, Pending, Query};
use signpost::wire::write::Writer;

/// A responder without a socket: it takes one packet at a time and keeps the reply in memory.
#[derive(Default)]
pub struct Desk {
    writer: Writer,
    out: Vec<u8>,
    waiting: Option<Waiting>,
}

impl Desk {
    /// Serves a packet. Returns its reply, or `None` if there is none or it has to wait.
    pub fn ask(&mut self, packet: &[u8], client: Client, listener: &Arc<Listener>, now: Instant) -> Option<&[u8]> {
        self.out.clear();
        self.waiting = None;
        serve(packet, client, listener, now, self);
        (!self.out.is_empty()).then_some(&*self.out)
    }

    /// Serves a packet and waits for its reply. Returns `None` if there is none.
    pub async fn ask_and_wait(
        &mut self,
        packet: &[u8],
        client: Client,
        listener: &Arc<Listener>,
        now: Instant,
    ) -> Option<&[u8]> {
        self.ask(packet, client, listener, now);
        if let Some(waiting) = self.waiting.take()
            && let (query, Some(reply)) = waiting.finish().await
        {
            self.reply(&query, reply);
        }
        (!self.out.is_empty()).then_some(&*self.out)
    }
}

impl Responder for Desk {
    type Place = ();

    fn put(&mut self, write: impl FnOnce(&mut Writer, &mut Vec<u8>) -> usize) {
        write(&mut self.writer, &mut self.out);
    }

    fn place(&mut self, _: &Query<'_>, _: &Pending) -> Option<()> {
        Some(())
    }

    fn wait(&mut self, waiting: Waiting, (): ()) {
        self.waiting = Some(waiting);
    }
}
