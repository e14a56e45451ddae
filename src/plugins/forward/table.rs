//! Questions in flight on one socket, by id.

use std::collections::HashMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rand::RngExt;
use tokio::sync::oneshot;

use super::failure::Failure;
use super::message::Sent;
use crate::wire::answer::Answer;

/// Questions on one socket at a time: ids stay sparse, so that finding a free one is quick and guessing one is not.
const LIMIT: usize = 4096;

/// What is sent back to whoever asked.
pub(super) type Outcome = Result<Answer, Failure>;

//----------- Table ----------------------------------------------------------

/// The questions in flight on one socket.
#[derive(Default)]
pub(super) struct Table {
    inner: Mutex<Inner>,
    len: AtomicUsize,
}

#[derive(Default)]
struct Inner {
    waiting: HashMap<u16, Waiter, foldhash::fast::RandomState>,
    closed: bool,
}

struct Waiter {
    sent: Arc<Sent>,
    reply: oneshot::Sender<Outcome>,
}

/// A place in a table; dropping it gives the id back.
pub(super) struct Ticket {
    table: Arc<Table>,
    /// The id of the query.
    pub(super) id: u16,
    /// Where the answer will come.
    pub(super) reply: oneshot::Receiver<Outcome>,
}

impl Table {
    /// Takes a place under a random id, unless the table is closed or full.
    pub(super) fn enter(self: &Arc<Self>, sent: &Arc<Sent>) -> Option<Ticket> {
        let mut inner = self.lock();
        if inner.closed || inner.waiting.len() >= LIMIT {
            return None;
        }
        let mut random = rand::rng();
        let id = std::iter::repeat_with(|| random.random()).find(|id| !inner.waiting.contains_key(id))?;
        let (sender, reply) = oneshot::channel();
        inner.waiting.insert(id, Waiter { sent: sent.clone(), reply: sender });
        self.len.store(inner.waiting.len(), Ordering::Relaxed);
        Some(Ticket { table: self.clone(), id, reply })
    }

    /// Hands a message to whoever waits for it. Returns whether somebody did.
    pub(super) fn arrived(&self, message: &[u8]) -> bool {
        let Some(id) = message.first_chunk().map(|id| u16::from_be_bytes(*id)) else { return false };
        let Some(sent) = self.lock().waiting.get(&id).map(|waiter| waiter.sent.clone()) else { return false };
        // Read without the lock: it takes the longest.
        let Some(answer) = sent.answer(message) else { return false };
        let waiter = self.remove(id, |waiter| Arc::ptr_eq(&waiter.sent, &sent));
        // Who asked may have gone away.
        waiter.is_some_and(|waiter| waiter.reply.send(Ok(answer)).is_ok())
    }

    /// Tells everybody that there will be no answer.
    pub(super) fn fail(&self, failure: &Failure) {
        let mut inner = self.lock();
        for (_, waiter) in inner.waiting.drain() {
            let _ = waiter.reply.send(Err(failure.clone()));
        }
        self.len.store(0, Ordering::Relaxed);
    }

    /// Lets nobody in any more, and tells those who wait.
    pub(super) fn close(&self, failure: &Failure) {
        self.lock().closed = true;
        self.fail(failure);
    }

    /// Lets nobody in any more if nobody waits. Returns whether it is closed.
    pub(super) fn close_if_empty(&self) -> bool {
        let mut inner = self.lock();
        inner.closed |= inner.waiting.is_empty();
        inner.closed
    }

    /// Whether nobody is let in.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed
    }

    /// How many wait.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    fn remove(&self, id: u16, is_it: impl FnOnce(&Waiter) -> bool) -> Option<Waiter> {
        let mut inner = self.lock();
        let waiter = if is_it(inner.waiting.get(&id)?) { inner.waiting.remove(&id) } else { None };
        self.len.store(inner.waiting.len(), Ordering::Relaxed);
        waiter
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes a table however its reader ends, a panic included: nobody shall wait for what nobody reads.
pub(super) struct Closer(pub(super) Arc<Table>);

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.close(&Failure::other("the socket is closed"));
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // The id may belong to somebody else by now; then the sender there is open, since nobody dropped its receiver.
        self.reply.close();
        self.table.remove(self.id, |waiter| waiter.reply.is_closed());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::name::Name;

    fn sent(name: &str) -> Arc<Sent> {
        Arc::new(Sent::probe(&Name::from_text(name).expect("a name"), true))
    }

    fn reply(sent: &Sent, id: u16) -> Vec<u8> {
        let mut message = id.to_be_bytes().to_vec();
        message.extend_from_slice(sent.behind_id());
        message[2] |= 0x80;
        message
    }

    #[test]
    fn only_the_reply_to_the_question_counts() {
        let table = Arc::new(Table::default());
        let (a, b) = (sent("a.example."), sent("b.example."));
        let mut ticket = table.enter(&a).expect("a place");
        let id = ticket.id;
        assert!(!table.arrived(&[]) && !table.arrived(&id.to_be_bytes()));
        assert!(!table.arrived(&reply(&a, id ^ 1)), "another id");
        assert!(!table.arrived(&reply(&b, id)), "another question");
        assert!(!table.arrived(&[&id.to_be_bytes(), a.behind_id()].concat()), "no response");
        assert!(table.arrived(&reply(&a, id)));
        assert!(matches!(ticket.reply.try_recv(), Ok(Ok(_))));
        assert!(!table.arrived(&reply(&a, id)), "once");
        assert_eq!(table.len(), 0);
    }

    #[test]
    fn a_place_is_given_back_and_a_closed_table_lets_nobody_in() {
        let table = Arc::new(Table::default());
        let ticket = table.enter(&sent("a.example.")).expect("a place");
        assert!(!table.close_if_empty());
        drop(ticket);
        assert_eq!(table.len(), 0);
        assert!(table.close_if_empty() && table.enter(&sent("a.example.")).is_none());
    }
}
