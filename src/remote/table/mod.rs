//! Questions in flight on one socket, by id.
//!
//! In a table for datagrams, a question stays for a while after its query has given up: its answer
//! tells how quick the server is, and must not look like a forgery. Bad news is only a hint there,
//! since ICMP messages and replies can be forged: the query gets it, and may go on waiting.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use rand::RngExt;
use tokio::sync::oneshot;

use super::failure::Failure;
use super::message::{Read, Sent};
use super::vitals::Vitals;
use crate::wire::answer::Answer;

/// Questions on one socket at a time: ids stay sparse, so that finding a free one is quick and
/// guessing one is not.
const LIMIT: usize = 4096;

/// How long an abandoned question is remembered after it was sent.
const MEMORY: Duration = Duration::from_secs(3);

/// A question without an answer after eight times the time in which most come is lost, but not
/// before this.
const LOST: Duration = Duration::from_millis(300);

const CLOSED: &str = "the socket is closed";

/// What became of one try: the answer, or why there is none.
pub(crate) type Outcome = Result<Answer, Failure>;

//----------- Table ----------------------------------------------------------

/// The questions in flight on one socket.
#[derive(Default)]
pub(super) struct Table {
    inner: Mutex<Inner>,
    len: AtomicUsize,
    /// For datagrams: where late answers are noted.
    vitals: Option<Arc<Vitals>>,
}

#[derive(Default)]
struct Inner {
    waiting: HashMap<u16, Waiter, foldhash::fast::RandomState>,
    /// The number of the next waiter: ids are used again.
    next: u32,
    /// Set if the table takes no more questions: why.
    closed: Option<Failure>,
}

struct Waiter {
    sent: Arc<Sent>,
    number: u32,
    since: Instant,
    reply: Reply,
}

/// Whether the answer is waited for.
enum Reply {
    Wanted(oneshot::Sender<Outcome>),
    /// A hint was given, and the query does not wait again yet. Holds the answer if it was quicker.
    Hinted(Option<Box<Answer>>),
    /// The query has given up.
    Left,
    /// It has given up, and no answer is expected any more.
    Lost,
}

/// A place in a table; dropping it gives the id back.
pub(super) struct Ticket {
    table: Arc<Table>,
    /// The id of the query.
    pub(super) id: u16,
    number: u32,
    /// Where the answer will come.
    pub(super) reply: oneshot::Receiver<Outcome>,
    /// The answer has come: there is no place to give back.
    done: bool,
}

impl Table {
    /// A table for datagrams.
    pub(super) fn of_datagrams(vitals: Arc<Vitals>) -> Self {
        Self { vitals: Some(vitals), ..Self::default() }
    }

    /// Takes a place under a random id, unless the table is closed or full.
    pub(super) fn enter(self: &Arc<Self>, sent: &Arc<Sent>) -> Option<Ticket> {
        let mut inner = self.lock();
        if inner.closed.is_some() || inner.waiting.len() >= LIMIT {
            return None;
        }
        let mut random = rand::rng();
        let id = std::iter::repeat_with(|| random.random()).find(|id| !inner.waiting.contains_key(id))?;
        let (sender, reply) = oneshot::channel();
        let number = inner.next;
        inner.next = number.wrapping_add(1);
        let waiter = Waiter { sent: sent.clone(), number, since: Instant::now(), reply: Reply::Wanted(sender) };
        inner.waiting.insert(id, waiter);
        self.note_len(&inner);
        Some(Ticket { table: self.clone(), id, number, reply, done: false })
    }

    /// Hands a message to the query that waits for it. Returns whether it is a reply to a question
    /// of this table.
    pub(super) fn arrived(&self, message: &[u8]) -> bool {
        let Some(id) = message.first_chunk().map(|id| u16::from_be_bytes(*id)) else { return false };
        let Some((sent, number)) = self.lock().waiting.get(&id).map(|waiter| (waiter.sent.clone(), waiter.number))
        else {
            return false;
        };
        // Read without the lock: it takes the longest.
        match sent.read(message) {
            Read::Answer(answer) => {
                if sent.tells_of_case()
                    && let Some(vitals) = &self.vitals
                {
                    vitals.case_came(true);
                }
                self.deliver(id, number, answer);
            }
            Read::OtherCase => {
                let hint = Failure::case();
                if let Some(waiter) = self.lock().waiting.get_mut(&id).filter(|waiter| waiter.number == number) {
                    waiter.hint(&hint);
                }
                if let Some(vitals) = &self.vitals {
                    vitals.case_came(false);
                }
            }
            Read::NoReply => return false,
        }
        true
    }

    fn deliver(&self, id: u16, number: u32, answer: Answer) {
        let mut inner = self.lock();
        let Some(waiter) = inner.waiting.get_mut(&id).filter(|waiter| waiter.number == number) else { return };
        if let Reply::Hinted(early) = &mut waiter.reply {
            *early = Some(Box::new(answer));
            return;
        }
        let waiter = inner.waiting.remove(&id);
        self.note_len(&inner);
        drop(inner);
        match waiter {
            Some(Waiter { reply: Reply::Wanted(sender), .. }) => _ = sender.send(Ok(answer)),
            Some(Waiter { since, .. }) => {
                if let Some(vitals) = &self.vitals {
                    let now = Instant::now();
                    vitals.heard(now.saturating_duration_since(since), now);
                }
            }
            None => {}
        }
    }

    /// Tells all queries what may be wrong. They may go on waiting.
    pub(super) fn hint(&self, failure: &Failure) {
        self.lock().waiting.values_mut().for_each(|waiter| waiter.hint(failure));
    }

    /// Tells the query with this id that it could not be sent.
    pub(super) fn refuse(&self, id: u16, failure: Failure) {
        let mut inner = self.lock();
        let waiter = inner.waiting.remove(&id);
        self.note_len(&inner);
        drop(inner);
        if let Some(Waiter { reply: Reply::Wanted(sender), .. }) = waiter {
            // The query may have given up.
            let _ = sender.send(Err(failure));
        }
    }

    /// Tells all queries that there will be no answer.
    pub(super) fn fail(&self, failure: &Failure) {
        let mut inner = self.lock();
        for (_, waiter) in inner.waiting.drain() {
            if let Reply::Wanted(sender) = waiter.reply {
                let _ = sender.send(Err(failure.clone()));
            }
        }
        self.note_len(&inner);
    }

    /// Forgets abandoned questions that are too old.
    pub(super) fn forget(&self, now: Instant) {
        let Some(vitals) = &self.vitals else { return };
        let is_lost_after = vitals.most_come_within().map_or(MEMORY, |usual| (usual * 8).clamp(LOST, MEMORY));
        let mut inner = self.lock();
        inner.waiting.retain(|_, waiter| {
            let age = now.saturating_duration_since(waiter.since);
            if matches!(waiter.reply, Reply::Left) && age >= is_lost_after {
                vitals.lost();
                waiter.reply = Reply::Lost;
            }
            !matches!(waiter.reply, Reply::Lost) || age < MEMORY
        });
        self.note_len(&inner);
    }

    /// Takes no more questions, and tells the queries that wait.
    pub(super) fn close(&self, failure: &Failure) {
        self.lock().closed.get_or_insert_with(|| failure.clone());
        self.fail(failure);
    }

    /// Takes no more questions if none is open. Returns whether the table is closed.
    pub(super) fn close_if_empty(&self) -> bool {
        let mut inner = self.lock();
        if inner.waiting.is_empty() && inner.closed.is_none() {
            inner.closed = Some(Failure::other(CLOSED));
        }
        inner.closed.is_some()
    }

    /// Whether it takes no more questions.
    pub(super) fn is_closed(&self) -> bool {
        self.lock().closed.is_some()
    }

    /// Why it takes no more questions. Returns `None` if it does.
    pub(super) fn why_closed(&self) -> Option<Failure> {
        self.lock().closed.clone()
    }

    /// How many questions are open.
    pub(super) fn len(&self) -> usize {
        self.len.load(Ordering::Relaxed)
    }

    /// Gives back the place of a query that gives up.
    fn leave(&self, id: u16, number: u32) {
        let mut inner = self.lock();
        let Some(waiter) = inner.waiting.get_mut(&id).filter(|waiter| waiter.number == number) else { return };
        waiter.reply = Reply::Left;
        if self.vitals.is_none() {
            inner.waiting.remove(&id);
            self.note_len(&inner);
        }
    }

    fn note_len(&self, inner: &Inner) {
        self.len.store(inner.waiting.len(), Ordering::Relaxed);
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    fn hint(&mut self, failure: &Failure) {
        if !matches!(self.reply, Reply::Wanted(_)) {
            return;
        }
        if let Reply::Wanted(sender) = std::mem::replace(&mut self.reply, Reply::Hinted(None)) {
            let _ = sender.send(Err(failure.clone()));
        }
    }
}

/// Closes a table when its reader ends, even by a panic: no query may wait on a socket that is not
/// read.
pub(super) struct Closer(pub(super) Arc<Table>);

impl Drop for Closer {
    fn drop(&mut self) {
        self.0.close(&Failure::other(CLOSED));
    }
}

//----------- Ticket ---------------------------------------------------------

impl Ticket {
    /// Waits for the answer, or for bad news.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Outcome> {
        let outcome = std::task::ready!(Pin::new(&mut self.reply).poll(cx));
        self.done = matches!(outcome, Ok(Ok(_)));
        Poll::Ready(outcome.unwrap_or_else(|_| Err(Failure::other("the socket is gone"))))
    }

    /// Goes on waiting after a hint. Returns whether an answer may still come.
    pub(super) fn wait_on(&mut self) -> bool {
        let mut inner = self.table.lock();
        let Some(waiter) = inner.waiting.get_mut(&self.id).filter(|waiter| waiter.number == self.number) else {
            return false;
        };
        let (sender, reply) = oneshot::channel();
        self.reply = reply;
        match std::mem::replace(&mut waiter.reply, Reply::Left) {
            Reply::Hinted(Some(early)) => {
                inner.waiting.remove(&self.id);
                self.table.note_len(&inner);
                let _ = sender.send(Ok(*early));
            }
            _ => waiter.reply = Reply::Wanted(sender),
        }
        true
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.done {
            self.table.leave(self.id, self.number);
        }
    }
}
