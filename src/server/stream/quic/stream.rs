//! One stream: a query is received, served as on every transport, and its replies are sent.

use std::rc::Rc;

use quinn::{ReadError, ReadExactError, RecvStream, SendStream, VarInt, WriteError};
use tokio::sync::{SemaphorePermit, oneshot};
use tokio::time::{Instant, timeout, timeout_at};

use super::super::flight::{Flight, Late};
use super::super::output::Unfinished;
use super::super::session::IN_FLIGHT;
use super::endpoint::UNACKNOWLEDGED;
use super::streams::{Octets, Streams, Visit, code};
use crate::chain::serve::{self, Responder, Waiting, write_reply};
use crate::chain::{Pending, Query, Reply};
use crate::server::waiting::Place;
use crate::wire::option::KEEPALIVE;
use crate::wire::request::{Gate, HEADER, gate};
use crate::wire::write::Writer;

/// Octets of a message that any number of streams may receive at the same time. Of longer ones a
/// connection receives one after the other: otherwise each stream could hold 64 KiB.
const SHORT: usize = 512;

/// Octets that an incomplete message counts for beside its own. What has arrived out of order
/// cannot be seen.
const UNKNOWN: usize = 4 << 10;

/// Streams of one connection that are reset at most. quinn notes each of them until the connection
/// ends.
const MOST_RESETS: usize = 1024;

/// Why a stream ends without a reply.
enum Lack {
    /// The client has given up, or the connection has ended.
    Abandoned,
    /// Too late, or the query was dropped.
    Failed,
    /// The client does not keep to the protocol.
    Broken,
    /// The client does not read.
    Slow,
}

impl Streams {
    /// Serves one stream. An error is the code to close the connection with.
    pub(super) async fn query(
        self: Rc<Self>,
        mut visit: Visit,
        mut send: SendStream,
        mut receive: RecvStream,
    ) -> Result<(), VarInt> {
        let stopped = send.stopped();
        tokio::pin!(stopped);
        let answered = tokio::select! {
            biased;
            answered = self.answer(&mut send, &mut receive) => answered,
            _ = &mut stopped => Err(Lack::Abandoned),
        };
        let answered = match answered {
            // Its octets count until the client has acknowledged them.
            Ok(unread) => {
                self.responses.replied.inc();
                let acknowledged = timeout(self.timeouts().reading(), stopped).await;
                drop(unread);
                acknowledged.map(drop).map_err(|_| Lack::Slow)
            }
            Err(lack) => Err(lack),
        };
        visit.is_done = !matches!(answered, Err(Lack::Abandoned));
        match answered {
            Ok(()) => {}
            Err(Lack::Abandoned | Lack::Failed) => {
                // Otherwise quinn would finish it, as if there had been a reply.
                if send.reset(code::INTERNAL_ERROR).is_ok() {
                    self.responses.failed.add(visit.is_done.into());
                    self.resets.set(self.resets.get() + 1);
                    if self.resets.get() > MOST_RESETS {
                        return Err(code::EXCESSIVE_LOAD);
                    }
                }
            }
            Err(Lack::Broken) => {
                self.responses.broken.inc();
                return Err(code::PROTOCOL_ERROR);
            }
            Err(Lack::Slow) => {
                self.local.shared.evicted.slow.inc();
                return Err(code::EXCESSIVE_LOAD);
            }
        }
        drop(visit);
        self.end(&mut receive, answered.is_ok()).await
    }

    /// Waits for the end of what the client sends, as long as a message may take: what quinn keeps
    /// of it meanwhile is not counted. Before that the client must not be told to stop (RFC 9250
    /// section 4.3.3), and as in CoreDNS it may leave the stream open. After a reply, more octets
    /// than those of the query are an error.
    async fn end(&self, receive: &mut RecvStream, is_complete: bool) -> Result<(), VarInt> {
        let (mut rest, end) = ([0; SHORT], Instant::now() + self.timeouts().message());
        while let Ok(Ok(Some(_))) = timeout_at(end, receive.read(&mut rest)).await {
            if is_complete {
                self.responses.broken.inc();
                return Err(code::PROTOCOL_ERROR);
            }
            if self.local.shifts.is_over() {
                self.breathe().await;
            }
        }
        Ok(())
    }

    /// Receives a query and sends its replies. Returns the octets that the client has to read.
    async fn answer(self: &Rc<Self>, send: &mut SendStream, receive: &mut RecvStream) -> Result<Octets, Lack> {
        let message = timeout(self.timeouts().message(), self.receive(receive)).await;
        let message = message.unwrap_or(Err(Lack::Failed))?;
        if is_broken(&message.octets) {
            return Err(Lack::Broken);
        }
        self.may_answer(IN_FLIGHT).await;
        let now = Instant::now();
        self.connection.active.set(now);
        let (client, listener) = {
            let mut session = self.session.borrow_mut();
            (session.client, session.listener())
        };
        let mut arrival = Arrival { streams: self, outcome: Outcome::Dropped };
        serve::serve(&message.octets, client, &listener, now.into_std(), &mut arrival);
        let outcome = arrival.outcome;
        drop(message);
        let made = match outcome {
            Outcome::Dropped => return Err(Lack::Failed),
            Outcome::Replied(made) => made,
            Outcome::Waits(late) => {
                let late = late.await.map_err(|_| Lack::Failed)?;
                self.has_room(usize::MAX).await;
                self.write(&late.query, late.reply.ok_or(Lack::Failed)?)
            }
        };
        self.send(send, made).await
    }

    /// Receives one message: its length, then its octets (RFC 9250 section 4.2).
    async fn receive(self: &Rc<Self>, stream: &mut RecvStream) -> Result<Message<'_>, Lack> {
        let _unknown = Octets::input(self, UNKNOWN);
        let mut len = [0; 2];
        stream.read_exact(&mut len).await?;
        let len = usize::from(u16::from_be_bytes(len));
        let long = if len > SHORT { self.long.acquire().await.ok() } else { None };
        let mut message = Message { octets: vec![0; len], _long: long, _held: Octets::input(self, len) };
        stream.read_exact(&mut message.octets).await?;
        Ok(message)
    }

    /// Sends the messages of a reply and the end of the stream.
    async fn send(self: &Rc<Self>, stream: &mut SendStream, made: Made) -> Result<Octets, Lack> {
        // What quinn keeps of the messages before the last. Nothing else is answered meanwhile.
        let _kept = made.others.as_ref().map(|_| Octets::unread(self, UNACKNOWLEDGED));
        let mut unread = self.put(stream, made.message).await?;
        if let Some(others) = made.others {
            while let Some(reply) = others.next() {
                unread = self.put(stream, self.write(others.query(), reply).message).await?;
                if self.local.shifts.is_over() {
                    self.breathe().await;
                }
            }
        }
        let _ = stream.finish();
        Ok(unread)
    }

    /// Hands one message over to quinn, as soon as the client has read enough of those before.
    async fn put(self: &Rc<Self>, stream: &mut SendStream, message: Vec<u8>) -> Result<Octets, Lack> {
        let unread = Octets::unread(self, message.len());
        match timeout(self.timeouts().reading(), stream.write_chunk(message.into())).await {
            Ok(Ok(())) => Ok(unread),
            Ok(Err(WriteError::Stopped(_) | WriteError::ConnectionLost(_))) => Err(Lack::Abandoned),
            Ok(Err(_)) => Err(Lack::Failed),
            Err(_) => Err(Lack::Slow),
        }
    }

    fn write(&self, query: &Query<'_>, mut reply: Reply) -> Made {
        let others = Unfinished::of(query, &mut reply);
        let message = framed(|out| write_reply(query, reply, &mut self.writer.borrow_mut(), out));
        Made { message, others }
    }
}

/// Returns a message with its length in front.
fn framed(write: impl FnOnce(&mut Vec<u8>) -> usize) -> Vec<u8> {
    let mut octets = vec![0; 2];
    let len = write(&mut octets) as u16;
    octets[..2].copy_from_slice(&len.to_be_bytes());
    octets
}

/// Returns whether a message is an error of the protocol, after which CoreDNS closes the
/// connection: one that is no query, has an id, or has the option for TCP connections.
fn is_broken(message: &[u8]) -> bool {
    let is_query = message.len() >= HEADER && message[2] & 0x80 == 0;
    let has_keepalive = || match gate(message) {
        Gate::Pass(request) => request.options(message).any(|option| option.code == KEEPALIVE),
        Gate::Notify(_) | Gate::Refuse(_) | Gate::Silence => false,
    };
    !is_query || message[..2] != [0, 0] || has_keepalive()
}

impl From<ReadExactError> for Lack {
    fn from(error: ReadExactError) -> Self {
        match error {
            ReadExactError::ReadError(ReadError::Reset(_) | ReadError::ConnectionLost(_)) => Self::Abandoned,
            ReadExactError::ReadError(_) => Self::Failed,
            ReadExactError::FinishedEarly(_) => Self::Broken,
        }
    }
}

/// The octets of a message, which count while it is incomplete or unanswered.
struct Message<'a> {
    octets: Vec<u8>,
    _long: Option<SemaphorePermit<'a>>,
    _held: Octets,
}

/// A reply that can be sent.
struct Made {
    message: Vec<u8>,
    others: Option<Unfinished>,
}

//----------- Serving --------------------------------------------------------

/// A message that is served.
struct Arrival<'a> {
    streams: &'a Rc<Streams>,
    outcome: Outcome,
}

/// The result of serving a message.
enum Outcome {
    Dropped,
    Replied(Made),
    Waits(oneshot::Receiver<Late>),
}

impl Responder for Arrival<'_> {
    type Place = Place;

    fn put(&mut self, write: impl FnOnce(&mut Writer, &mut Vec<u8>) -> usize) {
        let message = framed(|out| write(&mut self.streams.writer.borrow_mut(), out));
        self.outcome = Outcome::Replied(Made { message, others: None });
    }

    fn place(&mut self, query: &Query<'_>, pending: &Pending) -> Option<Place> {
        self.streams.local.place(query, pending)
    }

    /// Makes a query wait, in a task of its own: a client that resets its stream does not get the
    /// place back before the query is over.
    fn wait(&mut self, waiting: Waiting, place: Place) {
        let (sender, receiver) = oneshot::channel();
        let Streams { local, connection, room, .. } = &**self.streams;
        let mut flight = Flight::new(local.clone(), connection.clone(), room.clone());
        self.outcome = Outcome::Waits(receiver);
        tokio::task::spawn_local(async move {
            let (query, reply) = waiting.finish().await;
            flight.arrives(&query, reply.as_ref());
            // A stream that was reset needs no reply.
            let _ = sender.send(Late { query, reply, _flight: flight, _place: place });
        });
    }

    fn reply(&mut self, query: &Query<'_>, reply: Reply) {
        self.outcome = Outcome::Replied(self.streams.write(query, reply));
    }
}
