//! The requests of one connection: each brings a message, which is served as on every transport.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use http_body_util::BodyExt;
use hyper::body::{Bytes, Frame, Incoming};
use hyper::{Request, Response};
use tokio::sync::oneshot;
use tokio::time::{Instant, timeout};

use super::super::connections::Connection;
use super::super::flight::{Flight, Late};
use super::super::output::UNREAD;
use super::super::session::{IN_FLIGHT, Session};
use super::content::{Content, Unread};
use super::counts::Counted;
use super::dialect::{Asked, Dialect, LARGEST, Lack, Written};
use super::doh::fresh;
use super::exchange::{asked, label, response};
use crate::chain::serve::{self, Responder, Waiting, write_reply};
use crate::chain::timeouts::Timeouts;
use crate::chain::{Client, Pending, Query, Reply};
use crate::server::waiting::Place;
use crate::server::worker::Local;
use crate::wire::request::HEADER;
use crate::wire::write::Writer;

/// Octets of messages that may be incomplete or unanswered before no more are read.
const INPUT: usize = 2 * LARGEST;

/// Octets of the largest piece of a body (RFC 9113 section 4.2).
const FRAME: usize = 16 << 10;

//----------- Conversation ---------------------------------------------------

/// The state that the requests of one connection share.
pub(super) struct Conversation {
    session: RefCell<Session>,
    dialect: Dialect,
    local: Rc<Local>,
    client: Client,
    connection: Rc<Connection>,
    unread: Rc<Unread>,
    /// Octets of messages that are incomplete or unanswered.
    input: Cell<usize>,
    /// Bodies of which the next piece is waited for.
    awaited: Cell<usize>,
    /// Requests without a response.
    requests: Cell<usize>,
    asked_before: Cell<bool>,
    /// Whether answers wait because the client does not read; counted once until it has read all.
    paused: Cell<bool>,
    writer: RefCell<Writer>,
    counted: Counted,
}

/// Why a connection has to end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Overdue {
    /// The client does not read its replies.
    Slow,
    /// It is idle.
    Idle,
}

impl Conversation {
    pub(super) fn new(session: Session, dialect: Dialect) -> Self {
        let (local, client, connection) = (session.local.clone(), session.client, session.member.connection());
        Self {
            local,
            client,
            unread: Rc::default(),
            connection,
            dialect,
            session: RefCell::new(session),
            input: Cell::new(0),
            awaited: Cell::new(0),
            requests: Cell::new(0),
            asked_before: Cell::new(false),
            paused: Cell::new(false),
            writer: RefCell::default(),
            counted: Counted::default(),
        }
    }

    /// Returns what the connection shares with its worker.
    pub(super) fn connection(&self) -> &Connection {
        &self.connection
    }

    /// Waits until replies begin to wait for the client, or all are taken.
    pub(super) async fn has_changed(&self) {
        self.unread.changed.notified().await;
    }

    /// Returns the session after the last request.
    pub(super) fn into_session(self) -> Session {
        self.session.into_inner()
    }

    /// Returns whether the worker has to look for datagrams before this connection goes on. Work
    /// that ends while this is true is polled again in the next shift.
    pub(super) fn is_tired(&self) -> bool {
        self.local.shifts.is_over()
    }

    /// Updates what the worker sees of this connection. The carrier holds at most `keeps` unread
    /// octets.
    pub(super) fn tell(&self, keeps: usize) {
        let (unread, connection) = (self.unread.octets(), &self.connection);
        self.paused.set(self.paused.get() && unread > 0);
        if let Some(since) = self.unread.since() {
            connection.reading_since.set(since);
        }
        connection.busy.set(unread > 0 || self.requests.get() > 0);
        let sealed = if unread > 0 { keeps } else { 0 };
        self.session.borrow().member.buffers(self.input.get() + unread + sealed);
    }

    /// Notes that octets were handed to the kernel.
    pub(super) fn has_written(&self) {
        self.session.borrow().member.look_into_kernel();
    }

    /// Returns when the connection has to end if nothing happens, and why.
    pub(super) fn deadline(&self) -> Option<(Instant, Overdue)> {
        if let Some(since) = self.unread.since() {
            return Some((since + self.timeouts().reading(), Overdue::Slow));
        }
        let timeouts = self.timeouts();
        let patience = if self.asked_before.get() { timeouts.idle() } else { timeouts.message() };
        (self.requests.get() == 0).then(|| (self.connection.active.get() + patience, Overdue::Idle))
    }

    /// Returns the limits of the listener that last served the connection.
    fn timeouts(&self) -> Timeouts {
        self.session.borrow().last.timeouts
    }

    /// Counts the connection as one that is closed because its client does not read.
    pub(super) fn count_slow(&self) {
        self.local.shared.evicted.slow.inc();
    }

    //------- One request ----------------------------------------------------

    /// Answers a request.
    pub(super) fn respond(
        self: &Rc<Self>,
        request: Request<Incoming>,
    ) -> impl Future<Output = Response<Content>> + use<> {
        let (visit, asked) = (Visit::new(self), asked(self.dialect, request));
        async move {
            let mut visit = visit;
            let this = visit.conversation.clone();
            let message = match asked {
                Ok(Asked::Message(message)) => Ok(Held::new(&this, message)),
                Ok(Asked::Body(body)) => this.receive(body).await,
                Err(lack) => Err(lack),
            };
            let made = match message {
                Ok(message) => this.ask(message).await,
                Err(lack) => Err(lack),
            };
            visit.is_done = true;
            this.count(label(this.dialect, made.as_ref().map(drop).map_err(|lack| *lack)));
            response(this.dialect, made, &this.unread)
        }
    }

    /// Reads a body. As in CoreDNS, one that is too long or too slow is an invalid request.
    async fn receive(self: &Rc<Self>, mut body: Incoming) -> Result<Held, Lack> {
        let mut message = Held::new(self, Vec::new());
        let whole = async {
            loop {
                let Some(frame) = self.next_frame(&mut body, message.octets.len()).await else { break };
                if let Ok(data) = frame.ok()?.into_data() {
                    message.add(&data)?;
                }
            }
            Some(())
        };
        let whole = timeout(self.timeouts().message(), whole).await.ok().flatten();
        whole.map(|()| message).ok_or(Lack::Invalid)
    }

    /// Waits for the next piece of a body of which `read` octets are there. While the other streams
    /// have read too much, it is not even waited for: what has come counts as read.
    async fn next_frame(&self, body: &mut Incoming, read: usize) -> Option<hyper::Result<Frame<Bytes>>> {
        while self.input.get() - read + self.awaited.get() * FRAME > INPUT {
            self.unread.room.notified().await;
        }
        self.awaited.set(self.awaited.get() + 1);
        let _awaited = Awaited(self);
        body.frame().await
    }

    /// Serves the message of a body.
    async fn ask(self: &Rc<Self>, body: Held) -> Result<Written, Lack> {
        self.may_answer().await;
        let message = self.dialect.message(&body.octets)?;
        // CoreDNS refuses what other transports ignore: something has to be answered here.
        if message.len() < HEADER || message[2] & 0x80 != 0 {
            return Err(Lack::Invalid);
        }
        let now = Instant::now();
        self.connection.active.set(now);
        let listener = self.session.borrow_mut().listener();
        let mut arrival = Arrival { conversation: self, outcome: Outcome::Dropped };
        serve::serve(message, self.client, &listener, now.into_std(), &mut arrival);
        let outcome = arrival.outcome;
        drop(body);
        match outcome {
            Outcome::Refused => Err(Lack::Invalid),
            Outcome::Dropped => Err(Lack::NoReply),
            Outcome::Replied(made) => Ok(made),
            Outcome::Waits(late) => {
                let late = late.await.map_err(|_| Lack::NoReply)?;
                self.has_room(usize::MAX).await;
                self.local.connections.free(&self.connection).await;
                let reply = late.reply.ok_or(Lack::NoReply)?;
                Ok(self.write(&late.query, reply))
            }
        }
    }

    /// Waits until there is room for one more reply, in a shift that is not over.
    async fn may_answer(&self) {
        loop {
            self.has_room(IN_FLIGHT).await;
            self.local.connections.free(&self.connection).await;
            if !self.is_tired() {
                return;
            }
            // Another request may take the room meanwhile.
            yield_once().await;
        }
    }

    /// Waits until the client has read enough, and until fewer than `most` queries wait.
    async fn has_room(&self, most: usize) {
        while self.unread.octets() >= UNREAD || self.connection.in_flight.get() >= most {
            if self.unread.octets() >= UNREAD && !self.paused.replace(true) {
                self.local.shared.paused.inc();
            }
            self.unread.room.notified().await;
        }
    }

    fn write(&self, query: &Query<'_>, reply: Reply) -> Written {
        let mut made = Written { message: Vec::new(), fresh: fresh(&reply) };
        write_reply(query, reply, &mut self.writer.borrow_mut(), &mut made.message);
        made
    }

    fn count(&self, status: &'static str) {
        let counter = || self.local.shared.http.responses(self.dialect, &self.session.borrow().last.server, status);
        self.counted.count(status, counter);
    }
}

/// Lets the other requests of the connection go on first.
async fn yield_once() {
    let mut is_first = true;
    let turn = |context: &mut Context<'_>| match std::mem::take(&mut is_first) {
        true => {
            context.waker().wake_by_ref();
            Poll::Pending
        }
        false => Poll::Ready(()),
    };
    poll_fn(turn).await;
}

//----------- What a request holds -------------------------------------------

/// A request without a response.
struct Visit {
    conversation: Rc<Conversation>,
    is_done: bool,
}

impl Visit {
    fn new(conversation: &Rc<Conversation>) -> Self {
        conversation.requests.set(conversation.requests.get() + 1);
        conversation.connection.wake.notify_one();
        Self { conversation: conversation.clone(), is_done: false }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let Conversation { requests, asked_before, connection, local, dialect, .. } = &*self.conversation;
        requests.set(requests.get() - 1);
        asked_before.set(true);
        connection.active.set(Instant::now());
        connection.wake.notify_one();
        if !self.is_done {
            local.shared.http.abandoned(*dialect).inc();
        }
    }
}

/// The octets of a body, which are counted while it is incomplete or unanswered.
struct Held {
    octets: Vec<u8>,
    conversation: Rc<Conversation>,
}

impl Held {
    fn new(conversation: &Rc<Conversation>, octets: Vec<u8>) -> Self {
        conversation.input.set(conversation.input.get() + octets.len());
        Self { octets, conversation: conversation.clone() }
    }

    /// Returns `None` if the body is too long.
    fn add(&mut self, octets: &[u8]) -> Option<()> {
        if self.octets.len() + octets.len() > self.conversation.dialect.largest() {
            return None;
        }
        self.octets.extend_from_slice(octets);
        self.conversation.input.set(self.conversation.input.get() + octets.len());
        // Wakes the connection, which reports to the worker what it holds.
        self.conversation.connection.wake.notify_one();
        Some(())
    }
}

/// A body of which the next piece is waited for.
struct Awaited<'a>(&'a Conversation);

impl Drop for Awaited<'_> {
    fn drop(&mut self) {
        self.0.awaited.set(self.0.awaited.get() - 1);
        self.0.unread.room.notify_waiters();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.conversation.input.set(self.conversation.input.get() - self.octets.len());
        self.conversation.unread.room.notify_waiters();
    }
}

//----------- Serving --------------------------------------------------------

/// A message that is served.
struct Arrival<'a> {
    conversation: &'a Rc<Conversation>,
    outcome: Outcome,
}

/// The result of serving a message.
enum Outcome {
    Dropped,
    /// It is not a query.
    Refused,
    Replied(Written),
    Waits(oneshot::Receiver<Late>),
}

impl Responder for Arrival<'_> {
    type Place = Place;

    /// Only refusals come here: replies go through [`Arrival::reply`].
    fn put(&mut self, _: impl FnOnce(&mut Writer, &mut Vec<u8>) -> usize) {
        self.outcome = Outcome::Refused;
    }

    fn place(&mut self, query: &Query<'_>, pending: &Pending) -> Option<Place> {
        self.conversation.local.place(query, pending)
    }

    /// Makes a query wait, in a task of its own: a client that resets its request does not get the
    /// place back before the query is over.
    fn wait(&mut self, waiting: Waiting, place: Place) {
        let (sender, receiver) = oneshot::channel();
        let Conversation { local, connection, unread, .. } = &**self.conversation;
        let mut flight = Flight::new(local.clone(), connection.clone(), unread.room.clone());
        self.outcome = Outcome::Waits(receiver);
        tokio::task::spawn_local(async move {
            let (query, reply) = waiting.finish().await;
            flight.arrives(&query, reply.as_ref());
            // A request that was reset needs no reply.
            let _ = sender.send(Late { query, reply, _flight: flight, _place: place });
        });
    }

    fn reply(&mut self, query: &Query<'_>, reply: Reply) {
        self.outcome = Outcome::Replied(self.conversation.write(query, reply));
    }
}
