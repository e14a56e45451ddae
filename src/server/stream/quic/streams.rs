//! A connection: its streams are accepted and served until the client, a limit or a server shutdown
//! ends it.

use std::cell::{Cell, RefCell};
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use quinn::VarInt;
use tokio::sync::{Notify, Semaphore};
use tokio::time::{Instant, sleep_until};

use super::super::connections::Connection;
use super::super::output::UNREAD;
use super::super::session::Session;
use super::counts::Responses;
use crate::chain::timeouts::Timeouts;
use crate::server::worker::Local;
use crate::wire::write::Writer;

/// Codes of RFC 9250 section 4.3.
pub(super) mod code {
    use quinn::VarInt;

    /// Nothing is wrong.
    pub(in super::super) const NO_ERROR: VarInt = VarInt::from_u32(0);
    /// There is no reply.
    pub(in super::super) const INTERNAL_ERROR: VarInt = VarInt::from_u32(1);
    /// The client does not keep to DNS over QUIC.
    pub(in super::super) const PROTOCOL_ERROR: VarInt = VarInt::from_u32(2);
    /// The client makes the server hold too much.
    pub(in super::super) const EXCESSIVE_LOAD: VarInt = VarInt::from_u32(4);
}

/// The state that the streams of one connection share.
pub(super) struct Streams {
    pub(super) session: RefCell<Session>,
    pub(super) local: Rc<Local>,
    pub(super) connection: Rc<Connection>,
    pub(super) responses: Responses,
    pub(super) writer: RefCell<Writer>,
    /// Octets of messages that are incomplete or unanswered.
    pub(super) input: Cell<usize>,
    /// Octets of replies that the client has not acknowledged.
    pub(super) unread: Cell<usize>,
    /// Queries that are not answered, or whose replies are unread.
    queries: Cell<usize>,
    has_asked: Cell<bool>,
    /// Whether answers wait because the client does not read; counted once until it has read all.
    paused: Cell<bool>,
    /// Notified when there is room for more replies.
    pub(super) room: Rc<Notify>,
    /// For the one long message that is received at a time.
    pub(super) long: Semaphore,
    /// Streams that were reset.
    pub(super) resets: Cell<usize>,
}

impl Streams {
    /// Serves the streams of a connection until the client, a limit or a server shutdown ends it.
    pub(super) async fn serve(session: Session, quic: quinn::Connection) {
        let this = Rc::new(Self::new(session));
        if let Some(code) = this.run(&quic).await {
            quic.close(code, b"");
        }
    }

    fn new(session: Session) -> Self {
        let (local, connection) = (session.local.clone(), session.member.connection());
        Self {
            responses: local.shared.quic.counts.of_listener(&session.last.server),
            local,
            connection,
            session: RefCell::new(session),
            writer: RefCell::default(),
            input: Cell::new(0),
            unread: Cell::new(0),
            queries: Cell::new(0),
            has_asked: Cell::new(false),
            paused: Cell::new(false),
            room: Rc::default(),
            long: Semaphore::new(1),
            resets: Cell::new(0),
        }
    }

    /// Returns the code to close the connection with, or `None` if the client has ended it.
    async fn run(self: &Rc<Self>, quic: &quinn::Connection) -> Option<VarInt> {
        let (shared, mut streams) = (&self.connection, FuturesUnordered::new());
        loop {
            self.local.connections.free(shared).await;
            self.tell();
            let (is_closing, is_quiet) = (shared.closing.get(), self.queries.get() == 0);
            match () {
                () if shared.is_given_up() => return Some(code::EXCESSIVE_LOAD),
                () if is_closing && is_quiet => return Some(code::NO_ERROR),
                () if self.local.shifts.is_over() => self.local.shifts.pause().await,
                () => {}
            }
            let deadline = self.deadline();
            tokio::select! {
                biased;
                () = shared.wake.notified() => {}
                Some(end) = streams.next(), if !streams.is_empty() => match end {
                    Ok(()) => {}
                    Err(code) => return Some(code),
                },
                stream = quic.accept_bi(), if !is_closing => match stream {
                    Ok((send, receive)) => streams.push(self.clone().query(Visit::new(self), send, receive)),
                    Err(_) => return None,
                },
                () = sleep_until(deadline), if is_quiet => return Some(code::NO_ERROR),
                _ = quic.closed() => return None,
            }
        }
    }

    /// Updates what the worker sees of this connection.
    fn tell(&self) {
        let unread = self.unread.get();
        self.paused.set(self.paused.get() && unread > 0);
        self.connection.busy.set(self.queries.get() > 0);
        self.session.borrow().member.buffers(self.input.get() + unread);
    }

    /// Returns when the connection ends if no query comes.
    fn deadline(&self) -> Instant {
        let timeouts = self.timeouts();
        let patience = if self.has_asked.get() { timeouts.idle() } else { timeouts.message() };
        self.connection.active.get() + patience
    }

    /// Returns the limits of the listener that last served the connection.
    pub(super) fn timeouts(&self) -> Timeouts {
        *self.session.borrow().timeouts()
    }

    /// Waits until there is room for one more reply and for one more waiting query, in a shift that
    /// is not over.
    pub(super) async fn may_answer(&self, most: usize) {
        loop {
            self.has_room(most).await;
            if !self.local.shifts.is_over() {
                return;
            }
            // Another stream may take the room meanwhile.
            self.breathe().await;
        }
    }

    /// Waits until the client has read enough, and until fewer than `most` queries wait.
    pub(super) async fn has_room(&self, most: usize) {
        while self.unread.get() >= UNREAD || self.connection.in_flight.get() >= most {
            if self.unread.get() >= UNREAD && !self.paused.replace(true) {
                self.local.shared.paused.inc();
            }
            self.room.notified().await;
        }
    }

    /// Lets other streams, and other clients if the shift is over, go on first.
    pub(super) async fn breathe(&self) {
        let mut is_first = true;
        let turn = |context: &mut Context<'_>| match std::mem::take(&mut is_first) {
            true => {
                // The loop above pauses.
                self.connection.wake.notify_one();
                context.waker().wake_by_ref();
                Poll::Pending
            }
            false => Poll::Ready(()),
        };
        poll_fn(turn).await;
    }
}

//----------- What a stream holds --------------------------------------------

/// A query that is not answered, or whose replies are unread.
pub(super) struct Visit {
    streams: Rc<Streams>,
    pub(super) is_done: bool,
}

impl Visit {
    pub(super) fn new(streams: &Rc<Streams>) -> Self {
        streams.queries.set(streams.queries.get() + 1);
        streams.connection.active.set(Instant::now());
        Self { streams: streams.clone(), is_done: false }
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        let Streams { queries, has_asked, connection, local, .. } = &*self.streams;
        queries.set(queries.get() - 1);
        has_asked.set(true);
        connection.active.set(Instant::now());
        connection.wake.notify_one();
        if !self.is_done {
            local.shared.quic.counts.abandoned.inc();
        }
    }
}

/// Octets that count for a connection, as long as this lives.
pub(super) struct Octets {
    streams: Rc<Streams>,
    count: fn(&Streams) -> &Cell<usize>,
    octets: usize,
}

impl Octets {
    /// Counts octets of a message that is incomplete or unanswered.
    pub(super) fn input(streams: &Rc<Streams>, octets: usize) -> Self {
        Self::new(streams, |streams| &streams.input, octets)
    }

    /// Counts octets of a reply that the client has not acknowledged.
    pub(super) fn unread(streams: &Rc<Streams>, octets: usize) -> Self {
        if streams.unread.get() == 0 {
            streams.connection.reading_since.set(Instant::now());
        }
        Self::new(streams, |streams| &streams.unread, octets)
    }

    fn new(streams: &Rc<Streams>, count: fn(&Streams) -> &Cell<usize>, octets: usize) -> Self {
        count(streams).set(count(streams).get() + octets);
        // Wakes the connection, which reports to the worker what it holds.
        streams.connection.wake.notify_one();
        Self { streams: streams.clone(), count, octets }
    }
}

impl Drop for Octets {
    fn drop(&mut self) {
        let (count, unread) = ((self.count)(&self.streams), self.streams.unread.get());
        count.set(count.get() - self.octets);
        if self.streams.unread.get() < unread {
            // The client has read something.
            self.streams.connection.reading_since.set(Instant::now());
        }
        self.streams.room.notify_waiters();
        self.streams.connection.wake.notify_one();
    }
}
