//! Queries over TCP: connections that stay open, with many questions at a time and answers in any order
//! (RFC 7766).

use std::io;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use socket2::Type;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpSocket, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::failure::{Failure, Kind};
use super::link::{Link, Place, Reuse};
use super::message::Sent;
use super::table::{Closer, Outcome, Table, Ticket};

/// Questions on one connection before another one is opened: some servers answer them one after another.
const PIPELINE: usize = 16;

/// Connections to one upstream.
const MOST: usize = 32;

/// How often a connection looks whether it is still needed.
const TICK: Duration = Duration::from_millis(500);

//----------- Pool -----------------------------------------------------------

/// The connections to one upstream.
pub(super) struct Pool {
    link: Link,
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
}

impl Pool {
    pub(super) fn new(link: Link, reuse: Reuse) -> Self {
        Self { link, reuse, connections: Mutex::default(), open: Arc::default() }
    }

    /// Asks over some connection and waits for the answer for `patience`.
    ///
    /// An upstream may close an idle connection at any moment: a query that was lost with one is asked again
    /// over a new one, once.
    pub(super) async fn exchange(&self, sent: &Arc<Sent>, patience: Duration, runtime: &Handle) -> Outcome {
        let both = async {
            let (outcome, was_open) = self.ask(sent, false, runtime).await;
            match outcome {
                Err(Failure { kind: Kind::Closed, .. }) if was_open => self.ask(sent, true, runtime).await.0,
                outcome => outcome,
            }
        };
        let outcome = tokio::time::timeout(patience, both).await;
        outcome.unwrap_or_else(|_| Err(Failure::timeout("tcp", None, self.link.peer)))
    }

    /// Asks once; says as well whether the connection was open before.
    async fn ask(&self, sent: &Arc<Sent>, fresh: bool, runtime: &Handle) -> (Outcome, bool) {
        let (connection, ticket, was_open) = match self.enter(sent, fresh, runtime) {
            Ok(entered) => entered,
            Err(failure) => return (Err(failure), false),
        };
        // A connection that keeps somebody waiting for too long is not used again.
        let mut suspect = Suspect(Some(connection));
        let mut ticket = ticket;
        let outcome = (&mut ticket.reply).await.unwrap_or_else(|_| Err(Failure::closed(self.link.peer)));
        suspect.0 = None;
        (outcome, was_open)
    }

    fn enter(
        &self,
        sent: &Arc<Sent>,
        fresh: bool,
        runtime: &Handle,
    ) -> Result<(Arc<Connection>, Ticket, bool), Failure> {
        if !fresh
            && let Some(connection) = self.pick()
            && let Some(ticket) = connection.send(sent)
        {
            self.reuse.hits.inc();
            return Ok((connection, ticket, true));
        }
        self.reuse.misses.inc();
        let connection = self.open(runtime)?;
        // It may have failed already.
        let why = || connection.table.why_closed().unwrap_or_else(|| Failure::closed(self.link.peer));
        let ticket = connection.send(sent).ok_or_else(why)?;
        Ok((connection, ticket, false))
    }

    /// The connection with the fewest questions, or nothing if a new one should be opened.
    fn pick(&self) -> Option<Arc<Connection>> {
        let mut connections = self.lock();
        connections.retain(|connection| connection.is_usable(&self.link));
        if let Some(most) = self.link.max_idle {
            let mut idle = 0;
            connections.retain(|connection| {
                idle += usize::from(connection.table.len() == 0);
                connection.table.len() > 0 || idle <= most
            });
        }
        let least = connections.iter().min_by_key(|connection| connection.table.len())?;
        let is_full = self.open.load(Ordering::Relaxed) >= MOST;
        (least.table.len() < PIPELINE || is_full).then(|| least.clone())
    }

    fn open(&self, runtime: &Handle) -> Result<Arc<Connection>, Failure> {
        let place = Place::take(&self.open, MOST).ok_or_else(|| Failure::other("too many connections"))?;
        let (outbox, inbox) = mpsc::unbounded_channel();
        let (table, retired) = (Arc::<Table>::default(), AtomicBool::new(false));
        runtime.spawn(run(self.link.clone(), table.clone(), inbox, place));
        let connection = Arc::new(Connection { table, outbox, opened: Instant::now(), retired });
        self.lock().push(connection.clone());
        Ok(connection)
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

    fn send(&self, sent: &Arc<Sent>) -> Option<Ticket> {
        let ticket = self.table.enter(sent)?;
        self.outbox.send((ticket.id, sent.clone())).ok()?;
        Some(ticket)
    }
}

/// A connection that somebody waits for; retired if he gives up.
struct Suspect(Option<Arc<Connection>>);

impl Drop for Suspect {
    fn drop(&mut self) {
        if let Some(connection) = &self.0 {
            connection.retired.store(true, Ordering::Relaxed);
        }
    }
}

//----------- Connection -----------------------------------------------------

/// The life of one connection: it ends when nobody needs it, or when the peer has had enough.
async fn run(link: Link, table: Arc<Table>, inbox: mpsc::UnboundedReceiver<(u16, Arc<Sent>)>, _place: Place) {
    let _closer = Closer(table.clone());
    let end = match connect(&link).await {
        Err(error) => Failure::dial("tcp", link.peer, &error),
        Ok(stream) => {
            let (reader, writer) = stream.into_split();
            tokio::select! {
                () = read(reader, &table, link.expire) => {}
                // The reader goes on for what was asked before nobody could ask any more.
                () = write(writer, inbox) => {}
            }
            Failure::closed(link.peer)
        }
    };
    table.close(&end);
}

async fn connect(link: &Link) -> io::Result<TcpStream> {
    let socket = link.socket(Type::STREAM)?;
    socket.set_tcp_nodelay(true)?;
    TcpSocket::from_std_stream(socket.into()).connect(link.peer).await
}

/// Reads messages until the peer closes, or nothing is to come any more.
async fn read(mut reader: OwnedReadHalf, table: &Table, expire: Duration) {
    let mut tick = tokio::time::interval(TICK.min(expire.max(Duration::from_millis(20))));
    let (mut buffer, mut last) = (Vec::with_capacity(4096), Instant::now());
    loop {
        tokio::select! {
            read = reader.read_buf(&mut buffer) => match read {
                Ok(0) | Err(_) => return,
                Ok(_) => {
                    let taken = take_messages(&buffer, table);
                    buffer.drain(..taken);
                    // An octet now and then is no sign of life.
                    last = if taken > 0 { Instant::now() } else { last };
                }
            },
            _ = tick.tick() => {}
        }
        if last.elapsed() >= expire && table.close_if_empty() {
            return;
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
async fn write(mut writer: OwnedWriteHalf, mut inbox: mpsc::UnboundedReceiver<(u16, Arc<Sent>)>) {
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
        if writer.write_all(&buffer).await.is_err() {
            return;
        }
        buffer.clear();
    }
    // Nobody can ask any more, but some may still wait.
    std::future::pending::<()>().await;
}
