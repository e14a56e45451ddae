//! Datagrams: a batch is received, each query walks the chain, and the replies are sent together.
//!
//! A query that has to wait continues in its own task; its reply is sent with those that are ready
//! at the same time.

use std::cell::RefCell;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, watch};

use super::sys::{self, BATCH, Inbox, Received, Transmit};
use super::waiting::Place;
use super::worker::{Closing, Local};
use crate::chain::listener::Listener;
use crate::chain::serve::{self, Responder, Waiting, write_reply};
use crate::chain::{Client, Pending, Proto, Query};
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
pub(super) async fn serve(
    local: Rc<Local>,
    door: usize,
    socket: UdpSocket,
    wildcard: bool,
    mut closing: watch::Receiver<Closing>,
) {
    let Ok(own) = socket.local_addr() else { return };
    let Ok(socket) = registered(socket, Interest::READABLE) else { return };
    let port = Rc::new(Port { socket, own, wildcard, outbox: RefCell::default(), news: Notify::new() });
    let (mut inbox, mut outgoing) = (Inbox::default(), Outbox::default());
    let (mut is_open, mut is_settling, mut last, mut place) = (true, false, None, None);
    let settled = tokio::time::sleep(SETTLE);
    tokio::pin!(settled);
    // Waiting queries hold the port too.
    while is_open || is_settling || Rc::strong_count(&port) > 1 {
        tokio::select! {
            readable = port.socket.readable(), if is_open => is_open = readable.is_ok(),
            closed = closing.wait_for(Option::is_some), if is_open => {
                (is_open, last) = (false, closed.ok().and_then(|listener| listener.clone()));
                port.turn_away();
                (is_settling, place) = (true, Some(local.settling.clone()));
                settled.as_mut().reset(tokio::time::Instant::now() + SETTLE);
            }
            () = &mut settled, if is_settling => is_settling = false,
            () = port.news.notified() => {}
        }
        while let Ok(count) = if is_open { port.receive(&mut inbox) } else { port.receive_rest(&mut inbox) } {
            if count < BATCH {
                port.is_drained();
            }
            answer_batch(&local, door, last.as_ref(), &port, &inbox, count);
            port.flush(&mut outgoing).await;
            if is_open {
                break;
            }
        }
        port.flush(&mut outgoing).await;
    }
    // Until here, the worker has counted the socket as settling.
    drop(place);
}

/// A socket and its state.
struct Port {
    /// Registered for readability only. Each sent datagram makes room for another one, and an event
    /// for that was a second wakeup for each query.
    socket: AsyncFd<UdpSocket>,
    own: SocketAddr,
    wildcard: bool,
    /// Replies to send next.
    outbox: RefCell<Outbox>,
    /// A waiting query has finished.
    news: Notify,
}

impl Port {
    fn receive(&self, inbox: &mut Inbox) -> std::io::Result<usize> {
        self.socket.try_io(Interest::READABLE, |socket| inbox.receive(socket.as_fd()))
    }

    /// Receives what has arrived, even if tokio has no event for it yet: once the door is closed,
    /// no later read would find it.
    fn receive_rest(&self, inbox: &mut Inbox) -> std::io::Result<usize> {
        inbox.receive(self.socket.get_ref().as_fd())
    }

    /// Stops the kernel from giving the socket more datagrams, at once: later ones go to another
    /// socket of ours, or are refused. A connected socket receives only from its peer, and no
    /// server uses port 9 of this host. Closing the socket instead would lose what has arrived
    /// since the last read.
    fn turn_away(&self) {
        let here = match self.own.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
            own => own,
        };
        let mut nobody = self.own;
        nobody.set_ip(here);
        nobody.set_port(DISCARD);
        // If it fails (the address no longer exists), nothing arrives either.
        let _ = self.socket.get_ref().connect(nobody);
    }

    /// Notes that a batch that was not full has emptied the socket. The next datagram wakes the
    /// loop, which saves a call to the kernel that would find none.
    fn is_drained(&self) {
        let nothing = |_: &UdpSocket| Err::<(), _>(std::io::ErrorKind::WouldBlock.into());
        // It fails as intended, which tells tokio.
        let _ = self.socket.try_io(Interest::READABLE, nothing);
    }

    /// Sends the gathered replies from `outgoing`, so that more can be gathered meanwhile.
    async fn flush(&self, outgoing: &mut Outbox) {
        std::mem::swap(&mut *self.outbox.borrow_mut(), outgoing);
        outgoing.send(self).await;
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

/// Answers a batch. `last` is the listener of a closed door.
fn answer_batch(
    local: &Rc<Local>,
    door: usize,
    last: Option<&Arc<Listener>>,
    port: &Rc<Port>,
    inbox: &Inbox,
    count: usize,
) {
    let live = local.shared.live.load();
    let own = last.or_else(|| live.listeners.get(door)?.as_ref());
    let rest;
    let listener = match own {
        Some(own) => own,
        None => {
            // The door is about to close; or it was opened in vain, and serves for the listener
            // that would have received the datagrams without it.
            rest = live.last_of(door).or_else(|| live.heir(port.own, Some(Transport::Dns)).cloned());
            let Some(rest) = &rest else { return };
            rest
        }
    };
    let now = Instant::now();
    local.hear(now);
    let outbox = &mut *port.outbox.borrow_mut();
    for datagram in (0..count).filter_map(|index| inbox.get(index)) {
        answer(local, listener, port, datagram, now, outbox);
    }
}

fn answer(
    local: &Rc<Local>,
    listener: &Arc<Listener>,
    port: &Rc<Port>,
    datagram: Received<'_>,
    now: Instant,
    outbox: &mut Outbox,
) {
    let local_address = SocketAddr::new(datagram.local.unwrap_or(port.own.ip()), port.own.port());
    let client = Client { peer: canonical(datagram.peer), local: canonical(local_address), proto: Proto::Udp };
    let to = Envelope { peer: datagram.peer, source: datagram.local.filter(|_| port.wildcard) };
    serve::serve(datagram.bytes, client, listener, now, &mut Arrival { local, port, outbox, to });
}

/// A datagram that is served.
struct Arrival<'a> {
    local: &'a Rc<Local>,
    port: &'a Rc<Port>,
    outbox: &'a mut Outbox,
    to: Envelope,
}

impl Responder for Arrival<'_> {
    type Place = Place;

    fn put(&mut self, write: impl FnOnce(&mut Writer, &mut Vec<u8>) -> usize) {
        self.outbox.put(self.to, write);
    }

    fn place(&mut self, query: &Query<'_>, pending: &Pending) -> Option<Place> {
        self.local.place(query, pending)
    }

    fn wait(&mut self, waiting: Waiting, place: Place) {
        let (mut end, to) = (End { port: self.port.clone(), place: Some(place) }, self.to);
        tokio::task::spawn_local(async move {
            if let (query, Some(reply)) = waiting.finish().await {
                let mut outbox = end.port.outbox.borrow_mut();
                outbox.put(to, |writer, out| write_reply(&query, reply, writer, out));
                // The query counts as waiting until the reply is sent.
                outbox.places.extend(end.place.take());
            }
        });
    }
}

/// What a waiting query holds; dropped however the query ends.
struct End {
    port: Rc<Port>,
    place: Option<Place>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.port.news.notify_one();
    }
}

/// Returns an IPv4 client of a dual-stack socket as an IPv4 address.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
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
        let socket = registered(socket, Interest::READABLE).expect("registered");
        let port = Port { socket, own, wildcard: false, outbox: RefCell::default(), news: Notify::new() };
        // The same socket is registered a second time, while it waits.
        for _ in 0..2 {
            port.has_room().await.expect("there is room");
        }
        port.send(&[Transmit { bytes: b"reply", peer: own, source: None }]).expect("sent");
        port.socket.readable().await.expect("still registered").retain_ready();
        assert_eq!(port.receive(&mut Inbox::default()).expect("received"), 1);
    }
}
