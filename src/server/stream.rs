//! Streams: messages with their length in front, over TCP or inside of TLS, answered in whatever order the answers
//! come.

use std::cell::{Cell, RefCell};
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::rc::{Rc, Weak};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{Notify, mpsc, watch};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::sys;
use super::worker::{Closing, Local, Place};
use crate::chain::site::Listener;
use crate::chain::{Client, Outcome, Proto, Query, Reply};
use crate::error::words;
use crate::host::log;
use crate::wire::answer::recycle;
use crate::wire::request::{Gate, gate};
use crate::wire::types::rcode;
use crate::wire::write::{Writer, refusal};

/// How long a client may take from the first octet of a message to its last, or to send its first message.
const MESSAGE: Duration = Duration::from_secs(3);

/// How long a connection may be idle (RFC 7766 section 6.2.3 asks for seconds).
const IDLE: Duration = Duration::from_secs(10);

/// How long a connection may take from its first packet to where it can be accepted, when its door closes.
const ON_THEIR_WAY: Duration = Duration::from_secs(1);

/// How long a client may take to read.
const WRITE: Duration = Duration::from_secs(5);

/// Queries of one connection that may wait at once; then reading pauses.
const IN_FLIGHT: usize = 128;

/// TLS handshakes of one worker that may be under way; with more, the oldest is given up.
const HALF_OPEN: usize = 256;

/// Octets of replies that are gathered before they are written.
const GATHER: usize = 64 << 10;

//----------- Connections ----------------------------------------------------

/// The connections of one worker.
pub(super) struct Connections {
    limit: usize,
    all: RefCell<Vec<Weak<Connection>>>,
    half_open: Cell<usize>,
}

/// What others may know of a connection.
struct Connection {
    /// When something last happened: it opened, a message began or ended, a reply was ready.
    active: Cell<Instant>,
    in_flight: Cell<usize>,
    /// Its TLS handshake is not over.
    half_open: Cell<bool>,
    closing: Cell<bool>,
    wake: Notify,
}

impl Connections {
    pub(super) fn new(limit: usize) -> Self {
        Self { limit, all: RefCell::default(), half_open: Cell::new(0) }
    }

    /// Whether no connection has a query that waits.
    pub(super) fn are_quiet(&self) -> bool {
        self.all.borrow().iter().filter_map(Weak::upgrade).all(|connection| connection.in_flight.get() == 0)
    }

    /// Lets every connection end as soon as its queries are answered.
    pub(super) fn close_when_quiet(&self) {
        self.all.borrow().iter().filter_map(Weak::upgrade).for_each(|connection| connection.close());
    }

    /// Takes a new connection in; returns whether another one had to go: the one that was idle longest.
    fn add(&self) -> (Rc<Connection>, bool) {
        let mut all = self.all.borrow_mut();
        let mut evicted = false;
        if all.len() >= self.limit {
            all.retain(|connection| connection.strong_count() > 0);
        }
        if all.len() >= self.limit {
            let idle = all.iter().filter_map(Weak::upgrade).filter(|c| c.in_flight.get() == 0 && !c.closing.get());
            let oldest = idle.min_by_key(|connection| connection.active.get());
            evicted = oldest.inspect(|oldest| oldest.close()).is_some();
        }
        let connection = Rc::new(Connection {
            active: Cell::new(Instant::now()),
            in_flight: Cell::new(0),
            half_open: Cell::new(false),
            closing: Cell::new(false),
            wake: Notify::new(),
        });
        all.push(Rc::downgrade(&connection));
        (connection, evicted)
    }

    /// Notes that a handshake begins, and gives up the oldest one if there are too many.
    fn begin_handshake(&self, connection: &Connection) {
        self.half_open.set(self.half_open.get() + 1);
        connection.half_open.set(true);
        if self.half_open.get() > HALF_OPEN {
            let all = self.all.borrow();
            let half_open = all.iter().filter_map(Weak::upgrade).filter(|c| c.half_open.get() && !c.closing.get());
            half_open.min_by_key(|connection| connection.active.get()).inspect(|oldest| oldest.close());
        }
    }

    fn end_handshake(&self, connection: &Connection) {
        self.half_open.set(self.half_open.get() - 1);
        connection.half_open.set(false);
        connection.active.set(Instant::now());
    }
}

impl Connection {
    fn close(&self) {
        self.closing.set(true);
        self.wake.notify_one();
    }
}

//----------- Accepting ------------------------------------------------------

/// Out of files, most likely. A client that did not wait is its own affair.
fn tell_refused(local: &Local, error: &io::Error) {
    if !sys::is_out_of_files(error) {
        return;
    }
    if let Some(held_back) = local.shared.refused.allow("", Instant::now().into()) {
        let (why, limit) = (words(error), sys::file_limit());
        log::error("", format_args!("TCP connections cannot be accepted: {why}; {limit}{held_back}"));
    }
}

/// Accepts connections until the door closes, and those that were on their way then.
pub(super) async fn accept(local: Rc<Local>, door: usize, ear: TcpListener, mut closing: watch::Receiver<Closing>) {
    let Ok(ear) = tokio::net::TcpListener::from_std(ear) else { return };
    let closed = async move {
        let _ = closing.wait_for(Option::is_some).await;
        tokio::time::sleep(ON_THEIR_WAY).await;
    };
    tokio::pin!(closed);
    loop {
        let accepted = tokio::select! {
            biased;
            accepted = ear.accept() => accepted,
            () = &mut closed => return,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tell_refused(&local, &error);
                // Give the others time to end.
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        local.hear(Instant::now());
        let _ = stream.set_nodelay(true);
        let here = stream.local_addr().unwrap_or(peer);
        let client = Client { peer: canonical(peer), local: canonical(here), proto: Proto::Tcp };
        let (connection, evicted) = local.connections.add();
        if evicted {
            local.shared.evicted.inc();
        }
        let live = local.shared.live.load();
        let served = live.of_stream(door, client.local, None).cloned();
        let Some(listener) = served.or_else(|| live.last_of(door)) else { continue };
        let config = listener.secure.as_ref().map(|secure| secure.config());
        let session = Session::new(local.clone(), (door, listener), client, connection);
        tokio::task::spawn_local(async move {
            match config {
                None => session.run(stream).await,
                Some(config) => {
                    if let Some(stream) = session.shake_hands(config, stream).await {
                        session.run(stream).await;
                    }
                }
            }
        });
    }
}

fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

//----------- Session --------------------------------------------------------

/// One connection with its buffers.
struct Session {
    local: Rc<Local>,
    /// The door it came through, and who has served it last.
    door: (usize, Arc<Listener>),
    client: Client,
    connection: Rc<Connection>,
    input: Vec<u8>,
    output: Vec<u8>,
    writer: Writer,
    late: mpsc::UnboundedSender<Vec<u8>>,
    replies: mpsc::UnboundedReceiver<Vec<u8>>,
    /// The client will send nothing more that counts.
    half_closed: bool,
    asked_before: bool,
}

/// What a session waits for.
enum Event {
    Input(usize),
    Reply(Vec<u8>),
    Wake,
    Timeout,
}

impl Session {
    fn new(local: Rc<Local>, door: (usize, Arc<Listener>), client: Client, connection: Rc<Connection>) -> Self {
        let (late, replies) = mpsc::unbounded_channel();
        Self {
            local,
            door,
            client,
            connection,
            input: Vec::with_capacity(512),
            output: Vec::new(),
            writer: Writer::default(),
            late,
            replies,
            half_closed: false,
            asked_before: false,
        }
    }

    /// Makes a TLS stream out of a connection, or nothing if the client fails or is given up.
    async fn shake_hands(&self, config: Arc<ServerConfig>, stream: TcpStream) -> Option<TlsStream<TcpStream>> {
        let connections = &self.local.connections;
        connections.begin_handshake(&self.connection);
        let secured = tokio::select! {
            secured = timeout(MESSAGE, TlsAcceptor::from(config).accept(stream)) => secured.ok().and_then(Result::ok),
            () = self.connection.wake.notified() => None,
        };
        connections.end_handshake(&self.connection);
        if secured.is_none() {
            self.local.shared.failed_handshakes.inc();
        }
        secured
    }

    /// Serves the connection until it ends: by the client, by a limit, or because the server stops.
    async fn run(mut self, stream: impl AsyncRead + AsyncWrite + Unpin) {
        let (mut reader, mut writer) = tokio::io::split(stream);
        loop {
            while let Ok(reply) = self.replies.try_recv() {
                self.output.extend_from_slice(&reply);
            }
            if !self.output.is_empty() {
                let write = async {
                    writer.write_all(&self.output).await?;
                    // TLS keeps what the system did not take at once.
                    writer.flush().await
                };
                match timeout(WRITE, write).await {
                    Ok(Ok(())) => self.output.clear(),
                    _ => return,
                }
                self.output.shrink_to(GATHER);
            }
            if self.connection.in_flight.get() == 0 && (self.half_closed || self.connection.closing.get()) {
                let _ = timeout(WRITE, writer.shutdown()).await;
                return;
            }
            match self.next(&mut reader).await {
                Event::Input(0) => self.half_closed = true,
                Event::Input(_) => self.answer_all(),
                Event::Reply(reply) => self.output.extend_from_slice(&reply),
                Event::Wake => {}
                Event::Timeout if self.connection.in_flight.get() == 0 => return,
                // The client waits for us, not we for it; but what it left unfinished stays so.
                Event::Timeout => self.half_closed = true,
            }
        }
    }

    async fn next(&mut self, reader: &mut (impl AsyncRead + Unpin)) -> Event {
        let between = self.asked_before && self.input.is_empty();
        let deadline = self.connection.active.get() + if between { IDLE } else { MESSAGE };
        let may_read =
            !self.half_closed && !self.connection.closing.get() && self.connection.in_flight.get() < IN_FLIGHT;
        let event = tokio::select! {
            Some(reply) = self.replies.recv() => Event::Reply(reply),
            read = reader.read_buf(&mut self.input), if may_read => Event::Input(read.unwrap_or(0)),
            () = self.connection.wake.notified() => Event::Wake,
            () = tokio::time::sleep_until(deadline.into()), if may_read => Event::Timeout,
        };
        if between {
            // The first octet of a message begins its time.
            self.connection.active.set(Instant::now());
        }
        event
    }

    /// Answers every whole message that was read.
    fn answer_all(&mut self) {
        let (input, mut done) = (std::mem::take(&mut self.input), 0);
        while let Some((prefix, rest)) = input[done..].split_at_checked(2)
            && let Some(message) = rest.get(..usize::from(u16::from_be_bytes([prefix[0], prefix[1]])))
        {
            done += 2 + message.len();
            self.asked_before = true;
            self.connection.active.set(Instant::now());
            self.answer(message);
        }
        self.input = input;
        self.input.drain(..done);
    }

    fn answer(&mut self, message: &[u8]) {
        let request = match gate(message) {
            Gate::Silence => return,
            Gate::Refuse(why) => return self.put(|_, out| refusal(message, &why, out)),
            Gate::Pass(request) => request,
        };
        let live = self.local.shared.live.load_full();
        let (door, last) = &mut self.door;
        match live.of_stream(*door, self.client.local, Some(last.transport)) {
            Some(listener) if Arc::ptr_eq(listener, last) => {}
            Some(listener) => last.clone_from(listener),
            // Its address or its protocol is not served any more: this question is the last one.
            None => self.connection.close(),
        }
        let listener = last.clone();
        let mut query = Query::new(message, request, self.client, Instant::now());
        match listener.ask(&mut query) {
            Outcome::Reply(reply) => self.reply(&query, reply),
            Outcome::Drop => {}
            Outcome::Wait(pending) => match self.local.place() {
                Some(place) => {
                    let query = query.into_owned();
                    self.later(place, async move {
                        let mut query = query;
                        let reply = listener.finish(&mut query, pending).await?;
                        let mut out = Vec::new();
                        framed(&mut out, |out| write(&mut Writer::default(), &query, &reply, out));
                        Some(out)
                    });
                }
                None => self.reply(&query, Reply::failure(rcode::SERVFAIL, "too many queries are waiting")),
            },
        }
    }

    /// Lets a query wait; its reply comes to this session as a whole frame.
    fn later(&self, place: Place, reply: impl Future<Output = Option<Vec<u8>>> + 'static) {
        let (connection, late) = (self.connection.clone(), self.late.clone());
        connection.in_flight.set(connection.in_flight.get() + 1);
        tokio::task::spawn_local(async move {
            let frame = reply.await;
            connection.in_flight.set(connection.in_flight.get() - 1);
            connection.active.set(Instant::now());
            drop(place);
            // A session that is gone needs no reply; one that gets none needs to know that nothing is missing.
            let _ = late.send(frame.unwrap_or_default());
        });
    }

    fn reply(&mut self, query: &Query<'_>, reply: Reply) {
        self.put(|writer, out| write(writer, query, &reply, out));
        recycle(reply.answer);
    }

    fn put(&mut self, message: impl FnOnce(&mut Writer, &mut Vec<u8>) -> usize) {
        let writer = &mut self.writer;
        framed(&mut self.output, |out| message(writer, out));
    }
}

fn write(writer: &mut Writer, query: &Query<'_>, reply: &Reply, out: &mut Vec<u8>) -> usize {
    writer.reply(query.packet(), &query.request, reply, query.limit(), out)
}

/// Writes a message with its length in front (RFC 1035 section 4.2.2).
fn framed(out: &mut Vec<u8>, message: impl FnOnce(&mut Vec<u8>) -> usize) {
    let at = out.len();
    out.extend_from_slice(&[0, 0]);
    let len = message(out) as u16;
    out[at..at + 2].copy_from_slice(&len.to_be_bytes());
}
