//! Datagrams: a batch is received, each query walks the chain, and the replies are sent together.
//! With more than a worker can answer, [`intake`](super::intake) says which come first.
//!
//! Queries that have to wait stay with the loop of their socket. A task of its own for each would
//! be a large and slow allocation, and a turn of the runtime. Replies that are ready at the same
//! time are sent together.

use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::AsFd;
use std::panic::AssertUnwindSafe;
use std::rc::Rc;
use std::sync::Arc;
use std::task::Poll;
use std::time::{Duration, Instant};

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::watch;
use tokio::task::yield_now;

use super::intake::Intake;
use super::sys::{self, BATCH, Inbox, Received, Transmit};
use super::waiting::Place;
use super::worker::{Closing, Local};
use crate::chain::listener::Listener;
use crate::chain::serve::{self, Responder, Waiting, write_reply};
use crate::chain::walk::note_panic;
use crate::chain::{Client, Pending, Proto, Query, Reply};
use crate::corefile::address::Transport;
use crate::host::interest::registered;
use crate::wire::write::Writer;

/// Octets of the buffer for replies that is kept after they are sent.
const GATHER: usize = 256 << 10;

/// How long a datagram that the kernel already assigned to a socket may take to appear there.
const SETTLE: Duration = Duration::from_millis(5);

/// The port of the discard protocol (RFC 863), which no host serves.
const DISCARD: u16 = 9;

//----------- The loop -------------------------------------------------------

/// Serves a socket until the door closes, and then the datagrams that have arrived.
///
/// A panic that no walk has caught costs the queries that wait here, not the socket: nothing else
/// would ever serve it.
pub(super) async fn serve(
    local: Rc<Local>,
    door: usize,
    socket: UdpSocket,
    wildcard: bool,
    closing: watch::Receiver<Closing>,
) {
    let socket = Rc::new(socket);
    let turn = || AssertUnwindSafe(serve_on(local.clone(), door, socket.clone(), wildcard, closing.clone()));
    while let Err(panic) = turn().catch_unwind().await {
        note_panic(&*panic);
    }
}

async fn serve_on(
    local: Rc<Local>,
    door: usize,
    socket: Rc<UdpSocket>,
    wildcard: bool,
    mut closing: watch::Receiver<Closing>,
) {
    let Ok(own) = socket.local_addr() else { return };
    let Ok(socket) = registered(socket, Interest::READABLE) else { return };
    // Without it, what the kernel drops is not counted.
    let _ = sys::want_losses(socket.get_ref().as_fd());
    // A turn that panicked may have left its filter.
    let _ = sys::filter(socket.get_ref().as_fd(), &[]);
    let port = Port { socket, own, wildcard };
    let (mut intake, mut outbox, mut waiting) = (Intake::default(), Outbox::default(), FuturesUnordered::new());
    let (mut is_open, mut is_settling, mut last, mut place) = (true, false, None, None);
    let settled = tokio::time::sleep(SETTLE);
    tokio::pin!(settled);
    while is_open || is_settling || intake.is_late() || !waiting.is_empty() {
        tokio::select! {
            // What was read is answered next, after what else the worker has to do.
            () = yield_now(), if intake.is_late() => {}
            readable = port.socket.readable(), if is_open && !intake.is_late() => is_open = readable.is_ok(),
            closed = closing.wait_for(Option::is_some), if is_open => {
                (is_open, last) = (false, closed.ok().and_then(|listener| listener.clone()));
                turn_away(port.socket.get_ref(), own);
                (is_settling, place) = (true, Some(local.settling.clone()));
                settled.as_mut().reset(tokio::time::Instant::now() + SETTLE);
            }
            () = &mut settled, if is_settling => is_settling = false,
            Some(finished) = waiting.next(), if !waiting.is_empty() => outbox.take(finished),
        }
        loop {
            let receive = |inbox: &mut Inbox| if is_open { port.receive(inbox) } else { port.receive_rest(inbox) };
            if intake.receive(receive, &local.habits).is_err() {
                break;
            }
            let wait = |query, place, to| waiting.push(finish(query, place, to));
            let mut desk = Desk { local: &local, port: &port, outbox: &mut outbox, wait };
            desk.answer_batch(door, last.as_ref(), &intake);
            port.filter(&mut intake);
            local.note_dropped(&mut intake);
            outbox.send(&port).await;
            if is_open {
                break;
            }
        }
        // Those that wait from now on ask, and the replies that are there leave together.
        poll_fn(|context| {
            while let Poll::Ready(Some(finished)) = waiting.poll_next_unpin(context) {
                outbox.take(finished);
            }
            Poll::Ready(())
        })
        .await;
        outbox.send(&port).await;
    }
    // Until here, the worker has counted the socket as settling.
    drop(place);
}

/// A socket and its state.
struct Port {
    /// Registered for readability only. Each sent datagram makes room for another one, and an event
    /// for that was a second wakeup for each query.
    socket: AsyncFd<Rc<UdpSocket>>,
    own: SocketAddr,
    wildcard: bool,
}

impl Port {
    fn receive(&self, inbox: &mut Inbox) -> std::io::Result<usize> {
        let count = self.socket.try_io(Interest::READABLE, |socket| inbox.receive(socket.as_fd()))?;
        if count < BATCH {
            self.is_drained();
        }
        Ok(count)
    }

    /// Sets the limits that the intake wants.
    fn filter(&self, intake: &mut Intake) {
        if let Some(filter) = intake.take_filter() {
            // If it fails, more is read.
            let _ = sys::filter(self.socket.get_ref().as_fd(), &filter);
        }
    }

    /// Receives what has arrived, even if tokio has no event for it yet: once the door is closed,
    /// no later read would find it.
    fn receive_rest(&self, inbox: &mut Inbox) -> std::io::Result<usize> {
        inbox.receive(self.socket.get_ref().as_fd())
    }

    /// Notes that a batch that was not full has emptied the socket. The next datagram wakes the
    /// loop, which saves a call to the kernel that would find none.
    fn is_drained(&self) {
        let nothing = |_: &Rc<UdpSocket>| Err::<(), _>(std::io::ErrorKind::WouldBlock.into());
        // It fails as intended, which tells tokio.
        let _ = self.socket.try_io(Interest::READABLE, nothing);
    }

    fn send(&self, batch: &[Transmit<'_>]) -> std::io::Result<usize> {
        sys::send(self.socket.get_ref().as_fd(), batch)
    }

    /// Waits until the kernel accepts more. This is rare, so the event is registered only here.
    async fn has_room(&self) -> std::io::Result<()> {
        let again = registered(self.socket.get_ref().try_clone()?, Interest::WRITABLE)?;
        again.writable().await.map(drop)
    }
}

/// What queries are answered with.
struct Desk<'a, W> {
    local: &'a Rc<Local>,
    port: &'a Port,
    outbox: &'a mut Outbox,
    /// Takes queries that have to wait.
    wait: W,
}

impl<W: FnMut(Waiting, Place, Envelope)> Desk<'_, W> {
    /// Answers a batch. `last` is the listener of a closed door.
    fn answer_batch(&mut self, door: usize, last: Option<&Arc<Listener>>, intake: &Intake) {
        let live = self.local.shared.live.load();
        let own = last.or_else(|| live.listeners.get(door)?.as_ref());
        let rest;
        let listener = match own {
            Some(own) => own,
            None => {
                // The door is about to close; or it was opened in vain, and serves for the listener
                // that would have received the datagrams without it.
                rest = live
                    .last_of(door)
                    .or_else(|| live.heir(self.port.own, |transport| transport == Transport::Dns).cloned());
                let Some(rest) = &rest else { return };
                rest
            }
        };
        let now = Instant::now();
        self.local.hear(now);
        intake.note(&self.local.habits, now);
        for datagram in intake.datagrams() {
            self.answer(listener, datagram, now);
        }
    }

    fn answer(&mut self, listener: &Arc<Listener>, datagram: Received<'_>, now: Instant) {
        let port = self.port;
        let peer = canonical(datagram.peer);
        let (octets, peer) = match &listener.proxies {
            None => (datagram.bytes, peer),
            Some(proxies) => match proxies.datagram(datagram.bytes, peer) {
                Some(found) => found,
                None => return,
            },
        };
        let local_address = SocketAddr::new(datagram.local.unwrap_or(port.own.ip()), port.own.port());
        let client = Client { peer, local: canonical(local_address), proto: Proto::Udp };
        let to = Envelope { peer: datagram.peer, source: datagram.local.filter(|_| port.wildcard) };
        serve::serve(octets, client, listener, now, &mut Arrival { desk: self, to });
    }
}

/// A datagram that is served.
struct Arrival<'a, 'd, W> {
    desk: &'a mut Desk<'d, W>,
    to: Envelope,
}

impl<W: FnMut(Waiting, Place, Envelope)> Responder for Arrival<'_, '_, W> {
    type Place = Place;

    fn put(&mut self, write: impl FnOnce(&mut Writer, &mut Vec<u8>) -> usize) {
        self.desk.outbox.put(self.to, write);
    }

    fn place(&mut self, query: &Query<'_>, pending: &Pending) -> Option<Place> {
        self.desk.local.place(query, pending)
    }

    fn wait(&mut self, waiting: Waiting, place: Place) {
        (self.desk.wait)(waiting, place, self.to);
    }
}

/// A query that had to wait, and its reply unless it was dropped.
struct Finished {
    query: Box<Query<'static>>,
    reply: Option<Reply>,
    place: Place,
    to: Envelope,
}

async fn finish(waiting: Waiting, place: Place, to: Envelope) -> Finished {
    let (query, reply) = waiting.finish().await;
    Finished { query, reply, place, to }
}

/// Returns an IPv4 client of a dual-stack socket as an IPv4 address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

/// Stops the kernel from giving the socket more datagrams, at once: later ones go to another socket
/// of ours, or are refused. A connected socket receives only from its peer, and no server uses port
/// 9 of this host. Closing the socket instead would lose what has arrived since the last read.
/// `own` is the address of the socket.
pub(super) fn turn_away(socket: &UdpSocket, own: SocketAddr) {
    let here = match own.ip() {
        IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
        own => own,
    };
    let mut nobody = own;
    nobody.set_ip(here);
    nobody.set_port(DISCARD);
    // If it fails (the address no longer exists), nothing arrives either.
    let _ = socket.connect(nobody);
}

//----------- Replies --------------------------------------------------------

/// Replies to be sent.
#[derive(Default)]
struct Outbox {
    writer: Writer,
    bytes: Vec<u8>,
    parcels: Vec<(Range<usize>, Envelope)>,
    /// The places of queries that had to wait.
    places: Vec<Place>,
}

/// Where a reply goes.
#[derive(Clone, Copy)]
struct Envelope {
    peer: SocketAddr,
    /// The address it is sent from; `None` leaves it to the kernel.
    source: Option<IpAddr>,
}

impl Outbox {
    fn put(&mut self, to: Envelope, write: impl FnOnce(&mut Writer, &mut Vec<u8>) -> usize) {
        let start = self.bytes.len();
        let len = write(&mut self.writer, &mut self.bytes);
        self.parcels.push((start..start + len, to));
    }

    /// Puts in the reply to a query that had to wait.
    fn take(&mut self, finished: Finished) {
        let Finished { query, reply, place, to } = finished;
        if let Some(reply) = reply {
            self.put(to, |writer, out| write_reply(&query, reply, writer, out));
            // The query counts as waiting until the reply is sent.
            self.places.push(place);
        }
    }

    /// Sends everything. A datagram that cannot be sent is dropped: the client will retry.
    async fn send(&mut self, port: &Port) {
        let mut done = 0;
        while done < self.parcels.len() {
            match self.send_some(port, done) {
                Ok(sent) => done += sent,
                Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                    if port.has_room().await.is_err() {
                        break;
                    }
                }
                Err(_) => done += 1,
            }
        }
        self.parcels.clear();
        self.places.clear();
        self.bytes.clear();
        self.bytes.shrink_to(GATHER);
    }

    /// Sends a batch that starts with the parcel at `done`; returns how many were sent. It is
    /// separate from the waiting, so that no task carries the batch.
    fn send_some(&self, port: &Port, done: usize) -> std::io::Result<usize> {
        let parcels = &self.parcels[done..self.parcels.len().min(done + BATCH)];
        let mut batch = [Transmit { bytes: &[], peer: port.own, source: None }; BATCH];
        for (transmit, (range, to)) in batch.iter_mut().zip(parcels) {
            *transmit = Transmit { bytes: &self.bytes[range.clone()], peer: to.peer, source: to.source };
        }
        port.send(&batch[..parcels.len()])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn waiting_for_room_leaves_the_socket_registered() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
        socket.set_nonblocking(true).expect("set");
        let own = socket.local_addr().expect("bound");
        let socket = registered(Rc::new(socket), Interest::READABLE).expect("registered");
        let port = Port { socket, own, wildcard: false };
        // The same socket is registered a second time, while it waits.
        for _ in 0..2 {
            port.has_room().await.expect("there is room");
        }
        port.send(&[Transmit { bytes: b"reply", peer: own, source: None }]).expect("sent");
        port.socket.readable().await.expect("still registered").retain_ready();
        assert_eq!(port.receive(&mut Inbox::default()).expect("received"), 1);
    }
}
