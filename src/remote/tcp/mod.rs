//! Queries over TCP or TLS: connections that stay open, with many questions at a time and answers
//! in any order (RFC 7766, RFC 7858).

mod flow;
#[cfg(test)]
mod tests;

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use socket2::Type;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::{Notify, mpsc};

use self::flow::Flow;
use super::complaint::Complaint;
use super::failure::{Failure, Kind};
use super::link::{Link, Reuse};
use super::message::Sent;
use super::table::{Closer, Outcome, Table, Ticket};
use super::term::{Carrier, Connections, Term};
use super::tls;
use crate::host::permit::Permit;
use crate::wire::answer::Answer;

/// Questions on one connection before another one is opened: some servers answer them one after
/// another.
const PIPELINE: usize = 16;

/// The same over TLS, where another connection costs a handshake.
const PIPELINE_TLS: usize = 64;

/// Questions that one connection takes, at most, before another one does: many for one handshake,
/// and few enough that a busy server changes its connection within a second or two.
const QUESTIONS: u32 = 2_000;

/// The same over TLS.
const QUESTIONS_TLS: u32 = 20_000;

/// Connections to one server.
const MOST: usize = 32;

/// A query that gives up sooner than this says nothing about the connection.
const SUSPICIOUS: Duration = Duration::from_secs(1);

/// The longest that opening a connection may take, its TLS handshake included. Queries go elsewhere
/// sooner.
const CONNECT: Duration = Duration::from_secs(5);

/// Interval between checks for idle connections.
const TICK: Duration = Duration::from_millis(500);

//----------- TcpPool --------------------------------------------------------

/// The connections to one server.
pub(super) struct TcpPool {
    link: Link,
    /// Our side of TLS, if queries travel inside of it.
    tls: Option<tls::TlsClient>,
    reuse: Reuse,
    connections: Mutex<Connections<Connection>>,
    open: Arc<AtomicUsize>,
}

/// A connection as its users see it. When the last of them is gone, it ends with the last answer.
struct Connection {
    table: Arc<Table>,
    outbox: mpsc::UnboundedSender<(u16, Arc<Sent>)>,
    term: Term,
    /// Not to be used for further questions.
    retired: AtomicBool,
    flow: Arc<Flow>,
}

impl TcpPool {
    pub(super) fn new(link: Link, tls: Option<tls::TlsClient>, reuse: Reuse) -> Self {
        Self { link, tls, reuse, connections: Mutex::default(), open: Arc::default() }
    }

    /// Asks over one of the connections and waits for the answer for `patience`.
    ///
    /// A server may close an idle connection at any moment. A query that was lost with one is asked
    /// again over a new one, once.
    pub(super) async fn exchange(&self, sent: &Arc<Sent>, patience: Duration, runtime: &Handle) -> Outcome {
        let both = async {
            let suspicious = Instant::now() + SUSPICIOUS.min(patience * 3 / 4);
            let (outcome, was_open) = self.ask(sent, false, suspicious, runtime).await;
            match outcome {
                Err(Failure { kind: Kind::Closed, .. }) if was_open => {
                    self.ask(sent, true, suspicious, runtime).await.0
                }
                outcome => outcome,
            }
        };
        let outcome = tokio::time::timeout(patience, both).await;
        outcome.unwrap_or_else(|_| Err(Failure::timeout("tcp", None, self.link.peer)))
    }

    /// Asks once, over a new connection if it has to be `fresh`. If no answer has come by
    /// `suspicious`, the connection is not used again. Also returns whether it was open before.
    async fn ask(&self, sent: &Arc<Sent>, fresh: bool, suspicious: Instant, runtime: &Handle) -> (Outcome, bool) {
        let (connection, ticket, was_open) = match self.enter(sent, fresh, runtime) {
            Ok(entered) => entered,
            Err(failure) => return (Err(failure), false),
        };
        // A connection that keeps a query waiting for too long is not used again.
        let mut suspect = Suspect(Some(connection.clone()), suspicious);
        let mut ticket = ticket;
        let outcome = tokio::select! {
            outcome = &mut ticket.reply => outcome.unwrap_or_else(|_| Err(Failure::closed(self.link.peer))),
            outcome = self.overtake(connection, sent, runtime) => outcome,
        };
        suspect.0 = None;
        (outcome, was_open)
    }

    /// Asks again over another connection once this one is stalled. It may be this query's own
    /// answer that is slow, so the first answer counts. The query that made the connection stall
    /// may have moved to the same other connection; a third one is opened for this query.
    async fn overtake(&self, first: Arc<Connection>, sent: &Arc<Sent>, runtime: &Handle) -> Outcome {
        let (mut connection, mut other) = (first, None::<Ticket>);
        for is_own in [false, true] {
            tokio::select! {
                Some(answer) = answer_of(&mut other) => return Ok(answer),
                () = connection.flow.stalls() => {}
            }
            let Ok((next, ticket, _)) = self.enter(sent, is_own, runtime) else { break };
            (connection, other) = (next, Some(ticket));
        }
        match answer_of(&mut other).await {
            Some(answer) => Ok(answer),
            None => std::future::pending().await,
        }
    }

    fn enter(
        &self,
        sent: &Arc<Sent>,
        fresh: bool,
        runtime: &Handle,
    ) -> Result<(Arc<Connection>, Ticket, bool), Failure> {
        // The lock is held until there is a connection, so that many queries at once share it.
        let mut connections = self.lock();
        if !fresh
            && let Some(connection) = self.pick(&mut connections, runtime)
            && let Some(ticket) = connection.send(sent)
        {
            self.reuse.hits.inc();
            return Ok((connection, ticket, true));
        }
        let connection = self.open(runtime)?;
        connections.add(connection.clone());
        // The connection may have failed already.
        let why = || connection.table.why_closed().unwrap_or_else(|| Failure::closed(self.link.peer));
        let ticket = connection.send(sent).ok_or_else(why)?;
        Ok((connection, ticket, false))
    }

    /// Returns the connection with the fewest questions, or `None` if this question should open a
    /// new one.
    fn pick(&self, connections: &mut Connections<Connection>, runtime: &Handle) -> Option<Arc<Connection>> {
        if let Some(most) = self.link.max_idle {
            connections.keep_idle(most);
        }
        let successor = || self.open(runtime).ok();
        let least = connections.choose(Instant::now(), |connection| !connection.flow.is_stalled(), successor)?;
        let is_full = self.open.load(Ordering::Relaxed) >= MOST;
        let most = if self.tls.is_some() { PIPELINE_TLS } else { PIPELINE };
        (least.load() < most || is_full).then_some(least)
    }

    fn open(&self, runtime: &Handle) -> Result<Arc<Connection>, Failure> {
        self.reuse.misses.inc();
        let permit = Permit::take(&self.open, MOST).ok_or_else(|| Failure::other("too many connections"))?;
        let (outbox, inbox) = mpsc::unbounded_channel();
        let (table, flow) = (Arc::<Table>::default(), Arc::new(Flow::new()));
        let questions = if self.tls.is_some() { QUESTIONS_TLS } else { QUESTIONS };
        let term = Term::draw(&self.link, questions, flow.opened);
        runtime.spawn(run(self.link.clone(), self.tls.clone(), table.clone(), flow.clone(), inbox, permit));
        Ok(Arc::new(Connection { table, outbox, term, retired: AtomicBool::new(false), flow }))
    }

    fn lock(&self) -> MutexGuard<'_, Connections<Connection>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    fn send(&self, sent: &Arc<Sent>) -> Option<Ticket> {
        let ticket = self.table.enter(sent)?;
        self.term.count_down();
        self.outbox.send((ticket.id, sent.clone())).ok()?;
        Some(ticket)
    }
}

impl Carrier for Connection {
    fn term(&self) -> &Term {
        &self.term
    }

    fn is_usable(&self) -> bool {
        !self.retired.load(Ordering::Relaxed) && !self.table.is_closed()
    }

    fn is_open(&self) -> bool {
        self.flow.is_open.load(Ordering::Relaxed)
    }

    fn load(&self) -> usize {
        self.table.len()
    }

    fn retire(&self) {
        self.retired.store(true, Ordering::Relaxed);
    }
}

/// Waits for the answer that a ticket is for. Bad news is ignored: it says nothing about the other
/// connections.
async fn answer_of(ticket: &mut Option<Ticket>) -> Option<Answer> {
    let outcome = (&mut ticket.as_mut()?.reply).await;
    outcome.ok()?.ok()
}

/// A connection that a query waits for. It is retired if the query gives up, unless that is so soon
/// that it says nothing: the query may have found another answer.
struct Suspect(Option<Arc<Connection>>, Instant);

impl Drop for Suspect {
    fn drop(&mut self) {
        if let Some(connection) = self.0.as_ref().filter(|_| Instant::now() >= self.1) {
            connection.retire();
        }
    }
}

//----------- Connection -----------------------------------------------------

type Inbox = mpsc::UnboundedReceiver<(u16, Arc<Sent>)>;

/// The life of one connection: it ends when it is idle, or when the peer closes it.
async fn run(
    link: Link,
    tls: Option<tls::TlsClient>,
    table: Arc<Table>,
    flow: Arc<Flow>,
    inbox: Inbox,
    _permit: Permit,
) {
    let _closer = Closer(table.clone());
    let end = match in_time(connect(&link), &link).await {
        Err(failure) => failure,
        Ok(stream) => match tls {
            None => {
                let (reader, writer) = stream.into_split();
                carry(reader, writer, &table, &flow, inbox, &link).await
            }
            Some(tls) => match in_time(tls.handshake(stream, link.peer), &link).await {
                Err(failure) => failure,
                Ok(stream) => {
                    let (reader, writer) = tokio::io::split(stream);
                    carry(reader, writer, &table, &flow, inbox, &link).await
                }
            },
        },
    };
    table.close(&end);
}

/// Connects, with the link's own address if it has one.
pub(super) async fn connect(link: &Link) -> Result<TcpStream, Failure> {
    let connect = async {
        let socket = link.socket(Type::STREAM)?;
        socket.set_tcp_nodelay(true)?;
        TcpSocket::from_std_stream(socket.into()).connect(link.peer).await
    };
    connect.await.map_err(|error| Failure::dial("tcp", link.peer, &error))
}

/// Runs a step on the way to a connection, which may take [`CONNECT`].
pub(super) async fn in_time<T>(step: impl Future<Output = Result<T, Failure>>, link: &Link) -> Result<T, Failure> {
    let done = tokio::time::timeout(CONNECT, step).await;
    done.unwrap_or_else(|_| Err(Failure::timeout("tcp", None, link.peer)))
}

/// Carries queries and answers until the connection ends; returns why it did.
async fn carry(
    reader: impl AsyncRead + Unpin,
    writer: impl AsyncWrite + Unpin,
    table: &Table,
    flow: &Flow,
    inbox: Inbox,
    link: &Link,
) -> Failure {
    flow.is_open.store(true, Ordering::Relaxed);
    let last = Notify::new();
    let end = tokio::select! {
        end = read(reader, table, flow, link.expire, &last) => end,
        end = write(writer, inbox, &last) => end,
    };
    match end {
        Err(error) if Complaint::of(&error).is_some() => Failure::tls(link.peer, &error),
        _ => Failure::closed(link.peer),
    }
}

/// Reads messages until the peer closes, or nothing more is expected: there was no question for
/// `expire`, or the `last` one that can be asked is answered.
async fn read(
    mut reader: impl AsyncRead + Unpin,
    table: &Table,
    flow: &Flow,
    expire: Duration,
    last: &Notify,
) -> io::Result<()> {
    let mut tick = tokio::time::interval(TICK.min(expire.max(Duration::from_millis(20))));
    let (mut buffer, mut heard, mut is_last) = (Vec::with_capacity(4096), Instant::now(), false);
    loop {
        tokio::select! {
            read = reader.read_buf(&mut buffer) => {
                if read? == 0 {
                    return Ok(());
                }
                let taken = take_messages(&buffer, table);
                buffer.drain(..taken);
                flow.note(taken > 0, !buffer.is_empty());
                // An octet now and then is no sign of life.
                heard = if taken > 0 { Instant::now() } else { heard };
            },
            () = last.notified() => is_last = true,
            _ = tick.tick() => {}
        }
        if (is_last || heard.elapsed() >= expire) && table.close_if_empty() {
            return Ok(());
        }
    }
}

/// Hands over the complete messages in `buffer`. Returns the octets that they took.
fn take_messages(buffer: &[u8], table: &Table) -> usize {
    let mut at = 0;
    while let Some(len) = buffer[at..].first_chunk().map(|len| usize::from(u16::from_be_bytes(*len)))
        && let Some(message) = buffer.get(at + 2..at + 2 + len)
    {
        table.arrived(message);
        at += 2 + len;
    }
    at
}

/// Writes queries as they come, several at once if they come fast. Notifies `last` when no more can
/// come.
async fn write(mut writer: impl AsyncWrite + Unpin, mut inbox: Inbox, last: &Notify) -> io::Result<()> {
    let mut buffer = Vec::with_capacity(512);
    while let Some(first) = inbox.recv().await {
        let mut next = Some(first);
        while let Some((id, sent)) = next {
            let rest = sent.behind_id();
            buffer.extend_from_slice(&(rest.len() as u16 + 2).to_be_bytes());
            buffer.extend_from_slice(&id.to_be_bytes());
            buffer.extend_from_slice(rest);
            next = inbox.try_recv().ok();
        }
        writer.write_all(&buffer).await?;
        // TLS keeps what the system did not take at once.
        writer.flush().await?;
        buffer.clear();
    }
    // No more questions can come, but some may still wait for answers: the reader ends it.
    last.notify_one();
    std::future::pending().await
}
