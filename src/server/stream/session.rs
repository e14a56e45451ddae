//! One connection, from its first octet to its end.

use std::cell::Cell;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::carrier::Carrier;
use super::connections::{Member, arrives};
use super::input::{Input, message};
use super::output::{Output, Unfinished};
use crate::chain::listener::Listener;
use crate::chain::serve::{self, Responder, Waiting, write_reply};
use crate::chain::timeouts::Timeouts;
use crate::chain::{Client, Pending, Query, Reply};
use crate::server::waiting::Place;
use crate::server::worker::Local;
use crate::wire::write::Writer;

/// Queries of one connection that may wait, or whose replies may wait for room, before reading
/// pauses.
pub(super) const IN_FLIGHT: usize = 128;

/// Octets that may be left to the kernel when a connection ends.
const LEFT: usize = 4096;

//----------- Session --------------------------------------------------------

/// One connection with its buffers.
pub(super) struct Session {
    pub(super) local: Rc<Local>,
    /// The number of the door it came through.
    door: usize,
    /// The listener that last served it.
    pub(super) last: Arc<Listener>,
    pub(super) client: Client,
    pub(super) member: Member,
    input: Input,
    output: Output,
    late: mpsc::UnboundedSender<Late>,
    replies: mpsc::UnboundedReceiver<Late>,
    /// The client sends nothing more that counts.
    half_closed: bool,
    /// A reply of which not all messages are written yet. No other message is answered meanwhile,
    /// so a connection makes one transfer at a time.
    unfinished: Option<Unfinished>,
    /// Messages that were answered.
    asked: u64,
    /// Reading is paused because the client does not read: counted once until everything is read.
    paused: Cell<bool>,
}

/// A waiting query that has finished. It is in flight, and holds its place, until its reply has
/// room.
struct Late {
    query: Box<Query<'static>>,
    reply: Option<Reply>,
    octets: usize,
    _place: Place,
}

/// An event that a session waits for.
enum Event {
    /// Messages can be answered.
    Work,
    Read(usize),
    Written(io::Result<usize>),
    Late(Late),
    Wake,
    Timeout,
}

/// How a connection ends.
#[derive(Debug, PartialEq, Eq)]
enum End {
    /// Everything was answered.
    Done,
    /// Without sending the rest.
    Abort,
}

impl Session {
    pub(super) fn new(local: Rc<Local>, door: usize, last: Arc<Listener>, client: Client, member: Member) -> Self {
        let (late, replies) = mpsc::unbounded_channel();
        Self {
            local,
            door,
            last,
            client,
            member,
            input: Input::new(),
            output: Output::default(),
            late,
            replies,
            half_closed: false,
            unfinished: None,
            asked: 0,
            paused: Cell::new(false),
        }
    }

    /// Waits for a handshake of TLS. Returns `None` if the client fails or is given up.
    pub(super) async fn shake_hands<S, E>(&self, shaking: impl Future<Output = Result<S, E>>) -> Option<S> {
        self.member.begin_handshake();
        let secured = tokio::select! {
            secured = timeout(self.timeouts().message(), shaking) => secured.ok().and_then(Result::ok),
            () = self.member.wake.notified() => None,
        };
        self.member.end_handshake();
        if secured.is_none() {
            self.local.shared.failed_handshakes.inc();
        }
        secured
    }

    /// Serves the connection until the client, a limit or a server shutdown ends it.
    pub(super) async fn run(mut self, stream: impl Carrier) {
        let (mut reader, mut writer) = tokio::io::split(stream);
        let end = self.serve(&mut reader, &mut writer).await;
        let mut stream = reader.unsplit(writer);
        if end == End::Abort || self.part(&mut stream).await.is_none() {
            stream.abort();
        }
    }

    /// Ends a connection after the client has received everything. Returns `None` if the client
    /// does not read the rest, which the kernel would otherwise hold and keep sending for minutes.
    pub(super) async fn part(&self, stream: &mut impl Carrier) -> Option<()> {
        let parted = async {
            stream.shutdown().await.ok()?;
            while self.member.look_into_kernel() > LEFT {
                sleep(Duration::from_millis(10)).await;
            }
            Some(())
        };
        let given_up = async {
            while !self.member.is_given_up() {
                self.member.wake.notified().await;
            }
        };
        tokio::select! {
            parted = timeout(self.timeouts().reading(), parted) => parted.ok().flatten(),
            () = given_up => None,
        }
    }

    async fn serve<S: Carrier>(
        &mut self,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut tokio::io::WriteHalf<S>,
    ) -> End {
        loop {
            self.local.connections.free(&self.member).await;
            self.go_on();
            self.take_late();
            self.answer_some();
            self.tell(S::KEEPS);
            let is_quiet = self.member.in_flight.get() == 0 && !self.is_busy();
            match () {
                () if self.member.is_given_up() => return End::Abort,
                () if is_quiet && (self.half_closed || self.member.closing.get()) => return End::Done,
                () if self.local.shifts.is_over() => self.local.shifts.pause().await,
                () => {}
            }
            match self.next(reader, writer).await {
                Event::Work | Event::Wake => {}
                Event::Read(0) => self.half_closed = true,
                Event::Read(octets) => self.input.has_read(octets),
                Event::Late(late) => self.finish(late),
                Event::Written(Err(_)) => return End::Abort,
                Event::Written(Ok(0)) if !self.output.chunk().is_empty() => return End::Abort,
                Event::Written(Ok(octets)) => {
                    let now = Instant::now();
                    self.output.has_written(octets, S::KEEPS > 0, now);
                    self.member.look_into_kernel();
                    self.member.active.set(now);
                }
                Event::Timeout
                    if self.output.since().is_some_and(|since| since.elapsed() >= self.timeouts().reading()) =>
                {
                    self.local.shared.evicted.slow.inc();
                    return End::Abort;
                }
                Event::Timeout if is_quiet => return End::Done,
                // The client waits for our replies; a message it left unfinished stays unfinished.
                Event::Timeout => self.half_closed = true,
            }
        }
    }

    async fn next<S: Carrier>(
        &mut self,
        reader: &mut (impl AsyncRead + Unpin),
        writer: &mut tokio::io::WriteHalf<S>,
    ) -> Event {
        let (has_room, may_answer, has_message) = (self.has_room(), self.may_answer(), self.input.has_message());
        let has_work = has_message && may_answer || self.unfinished.is_some() && !self.output.is_full();
        let may_read = !self.half_closed && !self.member.closing.get() && may_answer && !has_message;
        let between = self.asked > 0 && self.input.is_empty();
        let patience = if between { self.timeouts().idle() } else { self.timeouts().message() };
        let end_of_input = may_read.then(|| self.member.active.get() + patience);
        let end_of_output = self.output.since().map(|since| since + self.timeouts().reading());
        let deadline = [end_of_input, end_of_output].into_iter().flatten().min();
        let missing = self.input.missing();
        let write = poll_fn(|context| {
            let written = match self.output.chunk() {
                [] => Pin::new(&mut *writer).poll_flush(context).map_ok(|()| 0),
                chunk => Pin::new(&mut *writer).poll_write(context, chunk),
            };
            if written.is_pending() && self.output.is_full() && !self.paused.replace(true) {
                self.local.shared.paused.inc();
            }
            written
        });
        let event = tokio::select! {
            biased;
            () = self.member.wake.notified() => Event::Wake,
            written = write, if !self.output.is_done() => Event::Written(written),
            Some(late) = self.replies.recv(), if has_room => Event::Late(late),
            () = std::future::ready(()), if has_work => Event::Work,
            read = async { reader.take(missing).read_buf(self.input.buffer()).await }, if may_read => {
                Event::Read(read.unwrap_or(0))
            }
            () = async { sleep_until(deadline.unwrap_or_else(Instant::now)).await }, if deadline.is_some() => {
                Event::Timeout
            }
        };
        if between && matches!(event, Event::Read(_)) {
            // The time of a message starts with its first octet.
            self.member.active.set(Instant::now());
        }
        event
    }

    /// Returns the limits of the listener that last served the connection.
    pub(super) fn timeouts(&self) -> &Timeouts {
        &self.last.timeouts
    }

    /// Updates what others see: what the connection holds, and whether it is idle.
    fn tell(&self, keeps: usize) {
        let is_done = self.output.is_done();
        self.paused.set(self.paused.get() && !is_done);
        if let Some(since) = self.output.since() {
            self.member.reading_since.set(since);
        }
        self.member.busy.set(self.is_busy());
        let sealed = if is_done { 0 } else { keeps };
        self.member.buffers(self.input.held() + self.output.capacity() + sealed);
    }

    //------- Messages -------------------------------------------------------

    /// Returns whether messages are unanswered, or replies unwritten.
    fn is_busy(&self) -> bool {
        !self.output.is_done() || self.unfinished.is_some() || self.input.has_message()
    }

    /// Returns whether another reply may be written: the last one is complete, and few are unread.
    fn has_room(&self) -> bool {
        self.unfinished.is_none() && !self.output.is_full()
    }

    /// Returns whether one more message may be answered.
    fn may_answer(&self) -> bool {
        self.has_room() && self.member.in_flight.get() < IN_FLIGHT && !self.member.is_given_up()
    }

    /// Answers messages until the slice is over, or replies or waiting queries are too many.
    fn answer_some(&mut self) {
        if !self.input.has_message() {
            return;
        }
        let (input, mut done) = (self.input.take(), 0);
        while self.may_answer()
            && let Some(message) = message(&input[done..])
        {
            done += 2 + message.len();
            self.asked += 1;
            self.answer(message);
            if self.timeouts().queries.is_some_and(|most| self.asked >= most) {
                // The rest is neither read nor answered.
                (self.half_closed, done) = (true, input.len());
            }
            if self.local.shifts.is_over() {
                break;
            }
        }
        self.input.put_back(input, done);
    }

    fn answer(&mut self, message: &[u8]) {
        let now = Instant::now();
        self.member.active.set(now);
        let (client, listener) = (self.client, self.listener());
        serve::serve(message, client, &listener, now.into_std(), &mut Arrival { session: self, now });
    }

    /// Returns the listener that answers now.
    pub(super) fn listener(&mut self) -> Arc<Listener> {
        let live = self.local.shared.live.load();
        let last = &mut self.last;
        match live.of_stream(self.door, self.client.local, |transport| transport == last.transport) {
            Some(listener) if Arc::ptr_eq(listener, last) => {}
            Some(listener) => last.clone_from(listener),
            // Its address or its protocol is no longer served: this question is the last one.
            None => self.member.close(),
        }
        last.clone()
    }

    /// Writes a reply. Of several messages it writes the first: the others follow as there is room.
    fn put_reply(&mut self, query: &Query<'_>, mut reply: Reply, now: Instant) {
        if let Some(others) = Unfinished::of(query, &mut reply) {
            self.unfinished = Some(others);
        }
        self.output.put(now, |writer, out| write_reply(query, reply, writer, out));
    }

    /// Writes more messages of the unfinished reply while there is room, until the slice is over.
    fn go_on(&mut self) {
        while let Some(others) = &self.unfinished
            && !self.output.is_full()
            && !self.local.shifts.is_over()
        {
            let Some(reply) = others.next() else { return self.unfinished = None };
            self.output.put(Instant::now(), |writer, out| write_reply(others.query(), reply, writer, out));
        }
    }

    /// Writes late replies while there is room.
    fn take_late(&mut self) {
        while self.has_room()
            && let Ok(late) = self.replies.try_recv()
        {
            self.finish(late);
        }
    }

    fn finish(&mut self, late: Late) {
        self.member.in_flight.set(self.member.in_flight.get() - 1);
        self.member.takes(late.octets);
        if let Some(reply) = late.reply {
            self.put_reply(&late.query, reply, Instant::now());
        }
    }
}

/// A message that is served.
struct Arrival<'a> {
    session: &'a mut Session,
    now: Instant,
}

impl Responder for Arrival<'_> {
    type Place = Place;

    fn put(&mut self, write: impl FnOnce(&mut Writer, &mut Vec<u8>) -> usize) {
        self.session.output.put(self.now, write);
    }

    fn place(&mut self, query: &Query<'_>, pending: &Pending) -> Option<Place> {
        self.session.local.place(query, pending)
    }

    fn reply(&mut self, query: &Query<'_>, reply: Reply) {
        self.session.put_reply(query, reply, self.now);
    }

    /// Makes a query wait. The session gets its reply, and writes it when there is room.
    fn wait(&mut self, waiting: Waiting, place: Place) {
        let Session { local, member, late, .. } = &*self.session;
        let (local, connection, late) = (local.clone(), member.connection(), late.clone());
        connection.in_flight.set(connection.in_flight.get() + 1);
        tokio::task::spawn_local(async move {
            let (query, reply) = waiting.finish().await;
            let octets = arrives(&local, &connection, &query, reply.as_ref());
            // An ended session needs no reply. A live one is told even if there will be none.
            let _ = late.send(Late { query, reply, octets, _place: place });
        });
    }
}
