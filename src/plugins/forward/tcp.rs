//! Queries over TCP or TLS: connections that stay open, with many questions at a time and answers in any order
//! (RFC 7766, RFC 7858).

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use socket2::Type;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::failure::{Failure, Kind};
use super::link::{Link, Place, Reuse};
use super::message::Sent;
use super::table::{Closer, Outcome, Table, Ticket};
use super::tls;
use crate::wire::answer::Answer;

/// Questions on one connection before another one is opened: some servers answer them one after another.
const PIPELINE: usize = 16;

/// The same over TLS, where another connection costs a handshake.
const PIPELINE_TLS: usize = 64;

/// Connections to one upstream.
const MOST: usize = 32;

/// How long somebody waits at least before his giving up tells something about the connection.
const SUSPICIOUS: Duration = Duration::from_secs(1);

/// How long a connection may take to come about, a TLS handshake included. Whoever waits for it goes elsewhere sooner.
const CONNECT: Duration = Duration::from_secs(5);

/// A message of which a part has come for so long holds up all that are behind it: they go elsewhere.
const STALLED: Duration = Duration::from_millis(100);

/// How often a connection looks whether it is still needed.
const TICK: Duration = Duration::from_millis(500);

//----------- Pool -----------------------------------------------------------

/// The connections to one upstream.
pub(super) struct Pool {
    link: Link,
    /// Our side of TLS, if queries travel inside of it.
    tls: Option<tls::Client>,
    reuse: Reuse,
    connections: Mutex<Vec<Arc<Connection>>>,
    open: Arc<AtomicUsize>,
}

struct Connection {
    table: Arc<Table>,
    outbox: mpsc::UnboundedSender<(u16, Arc<Sent>)>,
    opened: Instant,
    /// Not to be used for further questions.
    retired: AtomicBool,
    /// Since when a message is there in part: milliseconds from `opened`, 0 while there is none.
    partial: Arc<AtomicU64>,
}

impl Pool {
    pub(super) fn new(link: Link, tls: Option<tls::Client>, reuse: Reuse) -> Self {
        Self { link, tls, reuse, connections: Mutex::default(), open: Arc::default() }
    }

    /// Asks over some connection and waits for the answer for `patience`.
    ///
    /// An upstream may close an idle connection at any moment: a query that was lost with one is asked again
    /// over a new one, once.
    pub(super) async fn exchange(&self, sent: &Arc<Sent>, patience: Duration, runtime: &Handle) -> Outcome {
        let both = async {
            let suspicious = Instant::now() + SUSPICIOUS.min(patience * 3 / 4);
            let (outcome, was_open) = self.ask(sent, (false, suspicious), runtime).await;
            match outcome {
                Err(Failure { kind: Kind::Closed, .. }) if was_open => {
                    self.ask(sent, (true, suspicious), runtime).await.0
                }
                outcome => outcome,
            }
        };
        let outcome = tokio::time::timeout(patience, both).await;
        outcome.unwrap_or_else(|_| Err(Failure::timeout("tcp", None, self.link.peer)))
    }

    /// Asks once; says as well whether the connection was open before.
    async fn ask(&self, sent: &Arc<Sent>, (fresh, suspicious): (bool, Instant), runtime: &Handle) -> (Outcome, bool) {
        let (connection, ticket, was_open) = match self.enter(sent, fresh, runtime) {
            Ok(entered) => entered,
            Err(failure) => return (Err(failure), false),
        };
        // A connection that keeps somebody waiting for too long is not used again.
        let mut suspect = Suspect(Some(connection.clone()), suspicious);
        let mut ticket = ticket;
        let outcome = tokio::select! {
            outcome = &mut ticket.reply => outcome.unwrap_or_else(|_| Err(Failure::closed(self.link.peer))),
            outcome = self.overtake(connection, sent, runtime) => outcome,
        };
        suspect.0 = None;
        (outcome, was_open)
    }

    /// Asks again over another connection, once this one is stalled. It may be our own answer that is slow: whichever
    /// comes first counts. Whoever has made the connection stall may have come along, so that a third one is ours first.
    async fn overtake(&self, first: Arc<Connection>, sent: &Arc<Sent>, runtime: &Handle) -> Outcome {
        let (mut connection, mut other) = (first, None::<Ticket>);
        for is_own in [false, true] {
            tokio::select! {
                Some(answer) = answer_of(&mut other) => return Ok(answer),
                () = connection.stalls() => {}
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
        // Until there is one: many who come at once share it.
        let mut connections = self.lock();
        if !fresh
            && let Some(connection) = self.pick(&mut connections)
            && let Some(ticket) = connection.send(sent)
        {
            self.reuse.hits.inc();
            return Ok((connection, ticket, true));
        }
        self.reuse.misses.inc();
        let connection = self.open(runtime)?;
        connections.push(connection.clone());
        // It may have failed already.
        let why = || connection.table.why_closed().unwrap_or_else(|| Failure::closed(self.link.peer));
        let ticket = connection.send(sent).ok_or_else(why)?;
        Ok((connection, ticket, false))
    }

    /// The connection with the fewest questions, or nothing if a new one should be opened.
    fn pick(&self, connections: &mut Vec<Arc<Connection>>) -> Option<Arc<Connection>> {
        connections.retain(|connection| connection.is_usable(&self.link));
        if let Some(most) = self.link.max_idle {
            let mut idle = 0;
            connections.retain(|connection| {
                idle += usize::from(connection.table.len() == 0);
                connection.table.len() > 0 || idle <= most
            });
        }
        let flowing = || connections.iter().filter(|connection| !connection.is_stalled());
        let least = flowing().min_by_key(|connection| connection.table.len())?;
        let is_full = self.open.load(Ordering::Relaxed) >= MOST;
        let most = if self.tls.is_some() { PIPELINE_TLS } else { PIPELINE };
        (least.table.len() < most || is_full).then(|| least.clone())
    }

    fn open(&self, runtime: &Handle) -> Result<Arc<Connection>, Failure> {
        let place = Place::take(&self.open, MOST).ok_or_else(|| Failure::other("too many connections"))?;
        let (outbox, inbox) = mpsc::unbounded_channel();
        let (table, retired, opened) = (Arc::<Table>::default(), AtomicBool::new(false), Instant::now());
        let flow = Flow { opened, partial: Arc::default() };
        let partial = flow.partial.clone();
        runtime.spawn(run((self.link.clone(), self.tls.clone()), (table.clone(), flow), inbox, place));
        Ok(Arc::new(Connection { table, outbox, opened, retired, partial }))
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<Connection>>> {
        self.connections.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connection {
    fn is_usable(&self, link: &Link) -> bool {
        let is_old = link.max_age.is_some_and(|age| self.opened.elapsed() > age);
        !is_old && !self.retired.load(Ordering::Relaxed) && !self.table.is_closed()
    }

    /// Whether a message has begun to arrive a while ago, and has not ended.
    fn is_stalled(&self) -> bool {
        let now = self.opened.elapsed().as_millis() as u64;
        let since = self.partial.load(Ordering::Relaxed);
        since > 0 && now.saturating_sub(since) >= STALLED.as_millis() as u64
    }

    async fn stalls(&self) {
        while !self.is_stalled() {
            tokio::time::sleep(STALLED).await;
        }
    }

    fn send(&self, sent: &Arc<Sent>) -> Option<Ticket> {
        let ticket = self.table.enter(sent)?;
        self.outbox.send((ticket.id, sent.clone())).ok()?;
        Some(ticket)
    }
}

/// The answer that a ticket is for. Bad news from there says nothing about what is on its way elsewhere.
async fn answer_of(ticket: &mut Option<Ticket>) -> Option<Answer> {
    let outcome = (&mut ticket.as_mut()?.reply).await;
    outcome.ok()?.ok()
}

/// A connection that somebody waits for; retired if he gives up, unless that is so soon that it says nothing: he
/// may have found another answer.
struct Suspect(Option<Arc<Connection>>, Instant);

impl Drop for Suspect {
    fn drop(&mut self) {
        if let Some(connection) = self.0.as_ref().filter(|_| Instant::now() >= self.1) {
            connection.retired.store(true, Ordering::Relaxed);
        }
    }
}

//----------- Connection -----------------------------------------------------

type Inbox = mpsc::UnboundedReceiver<(u16, Arc<Sent>)>;

/// Where a connection says whether a message is there in part.
struct Flow {
    opened: Instant,
    partial: Arc<AtomicU64>,
}

impl Flow {
    /// Octets have come; `whole` if they ended a message, `rest` if they began another one.
    fn note(&self, whole: bool, rest: bool) {
        if whole || !rest {
            self.partial.store(0, Ordering::Relaxed);
        }
        if rest && self.partial.load(Ordering::Relaxed) == 0 {
            self.partial.store(self.opened.elapsed().as_millis().max(1) as u64, Ordering::Relaxed);
        }
    }
}

/// The life of one connection: it ends when nobody needs it, or when the peer has had enough.
async fn run((link, tls): (Link, Option<tls::Client>), (table, flow): (Arc<Table>, Flow), inbox: Inbox, _place: Place) {
    let _closer = Closer(table.clone());
    let end = match in_time(connect(&link), &link).await {
        Err(failure) => failure,
        Ok(stream) => match tls {
            None => carry(stream.into_split(), (&table, &flow), inbox, &link).await,
            Some(tls) => match in_time(tls.handshake(stream, link.peer), &link).await {
                Err(failure) => failure,
                Ok(stream) => carry(tokio::io::split(stream), (&table, &flow), inbox, &link).await,
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

/// A step on the way to a connection, which may take [`CONNECT`].
pub(super) async fn in_time<T>(step: impl Future<Output = Result<T, Failure>>, link: &Link) -> Result<T, Failure> {
    let done = tokio::time::timeout(CONNECT, step).await;
    done.unwrap_or_else(|_| Err(Failure::timeout("tcp", None, link.peer)))
}

/// Carries queries and answers until the connection ends; returns why it did.
async fn carry(
    (reader, writer): (impl AsyncRead + Unpin, impl AsyncWrite + Unpin),
    (table, flow): (&Table, &Flow),
    inbox: Inbox,
    link: &Link,
) -> Failure {
    let end = tokio::select! {
        end = read(reader, (table, flow), link.expire) => end,
        // The reader goes on for what was asked before nobody could ask any more.
        end = write(writer, inbox) => end,
    };
    match end {
        Err(error) if tls::Complaint::of(&error).is_some() => Failure::tls(link.peer, &error),
        _ => Failure::closed(link.peer),
    }
}

/// Reads messages until the peer closes, or nothing is to come any more.
async fn read(mut reader: impl AsyncRead + Unpin, (table, flow): (&Table, &Flow), expire: Duration) -> io::Result<()> {
    let mut tick = tokio::time::interval(TICK.min(expire.max(Duration::from_millis(20))));
    let (mut buffer, mut last) = (Vec::with_capacity(4096), Instant::now());
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
                last = if taken > 0 { Instant::now() } else { last };
            },
            _ = tick.tick() => {}
        }
        if last.elapsed() >= expire && table.close_if_empty() {
            return Ok(());
        }
    }
}

/// Hands over the whole messages in `buffer`; returns the octets that they took.
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

/// Writes queries as they come, several at once if they come fast.
async fn write(mut writer: impl AsyncWrite + Unpin, mut inbox: Inbox) -> io::Result<()> {
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
    // Nobody can ask any more, but some may still wait.
    std::future::pending().await
}
