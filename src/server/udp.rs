//! Datagrams: a batch is received, each query walks the chain, the replies go out together.
//!
//! A query that has to wait goes on in a task of its own; its reply goes out with those that are ready at the same time.

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

/// Octets of replies that are gathered before they are sent.
const GATHER: usize = 256 << 10;

/// How long a datagram that the kernel had for a socket already may take to be found there.
const SETTLE: Duration = Duration::from_millis(5);

/// The port of the discard protocol (RFC 863), which is served nowhere.
const DISCARD: u16 = 9;

//----------- The loop -------------------------------------------------------

/// Serves a socket until the door closes, and then what has arrived.
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
    // Whoever waits for an answer has the port as well.
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
    // Until now the worker has counted it as waiting.
    drop(place);
}

/// A socket and what is known of it.
struct Port {
    /// The kernel tells when it can be read, and nothing else: each datagram that leaves makes room for another one, and
    /// to hear of that was a second wait for each query.
    socket: AsyncFd<UdpSocket>,
    own: SocketAddr,
    wildcard: bool,
    /// Replies that go out next.
    outbox: RefCell<Outbox>,
    /// A query that had to wait has come to its end.
    news: Notify,
}

impl Port {
    fn receive(&self, inbox: &mut Inbox) -> std::io::Result<usize> {
        self.socket.try_io(Interest::READABLE, |socket| inbox.receive(socket.as_fd()))
    }

    /// What has arrived, also what tokio has not heard of yet: when the door closes nobody comes back for it.
    fn receive_rest(&self, inbox: &mut Inbox) -> std::io::Result<usize> {
        inbox.receive(self.socket.get_ref().as_fd())
    }

    /// Lets the kernel give the socket nothing more, from one datagram to the next: what follows goes to another socket of
    /// ours, or is refused. A connected socket hears only its peer, and no server has port 9 of this host. Closing the socket
    /// instead would lose what has come since it was last read.
    fn turn_away(&self) {
        let here = match self.own.ip() {
            IpAddr::V4(Ipv4Addr::UNSPECIFIED) => Ipv4Addr::LOCALHOST.into(),
            IpAddr::V6(Ipv6Addr::UNSPECIFIED) => Ipv6Addr::LOCALHOST.into(),
            own => own,
        };
        let mut nobody = self.own;
        nobody.set_ip(here);
        nobody.set_port(DISCARD);
        // Where it fails (an address that is gone), nothing comes either.
        let _ = self.socket.get_ref().connect(nobody);
    }

    /// A batch that was not full has emptied the socket: the next datagram wakes the loop, and nobody has to ask the kernel
    /// once more only to hear that there is none.
    fn is_drained(&self) {
        let nothing = |_: &UdpSocket| Err::<(), _>(std::io::ErrorKind::WouldBlock.into());
        // It fails as it was told to, which is how tokio learns of it.
        let _ = self.socket.try_io(Interest::READABLE, nothing);
    }

    /// Sends what is there, from `outgoing`, so that more can come meanwhile.
    async fn flush(&self, outgoing: &mut Outbox) {
        std::mem::swap(&mut *self.outbox.borrow_mut(), outgoing);
        outgoing.send(self).await;
    }

    fn send(&self, batch: &[Transmit<'_>]) -> std::io::Result<usize> {
        sys::send(self.socket.get_ref().as_fd(), batch)
    }

    /// Waits until the kernel takes more. That it does not is rare, so nobody listens for it before.
    async fn has_room(&self) -> std::io::Result<()> {
        let again = registered(self.socket.get_ref().try_clone()?, Interest::WRITABLE)?;
        again.writable().await.map(drop)
    }
}

/// `last` is the listener of a door that is closed.
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
            // It is to close in this moment; or it was opened in vain, and serves what has come to it for who would have got it.
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
                // It counts as waiting until the reply has gone.
                outbox.places.extend(end.place.take());
            }
        });
    }
}

/// What a query that waits holds; dropped however it ends.
struct End {
    port: Rc<Port>,
    place: Option<Place>,
}

impl Drop for End {
    fn drop(&mut self) {
        self.port.news.notify_one();
    }
}

/// An IPv4 client of a socket for both families is an IPv4 client.
fn canonical(address: SocketAddr) -> SocketAddr {
    SocketAddr::new(address.ip().to_canonical(), address.port())
}

//----------- Replies --------------------------------------------------------

/// Replies that are to be sent.
#[derive(Default)]
struct Outbox {
    writer: Writer,
    bytes: Vec<u8>,
    parcels: Vec<(Range<usize>, Envelope)>,
    /// Of the queries that had to wait.
    places: Vec<Place>,
}

/// Where a reply goes.
#[derive(Clone, Copy)]
struct Envelope {
    peer: SocketAddr,
    /// The address that it comes from; `None` leaves it to the kernel.
    source: Option<IpAddr>,
}

impl Outbox {
    fn put(&mut self, to: Envelope, write: impl FnOnce(&mut Writer, &mut Vec<u8>) -> usize) {
        let start = self.bytes.len();
        let len = write(&mut self.writer, &mut self.bytes);
        self.parcels.push((start..start + len, to));
    }

    /// Sends everything; a datagram that cannot be sent to its client is left to the client's retry.
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

    /// Sends a batch from the parcel at `done` on; returns how many went. Apart from the waiting, so that no task
    /// carries the batch.
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
    async fn whoever_must_wait_for_room_hears_of_it() {
        let socket = UdpSocket::bind("127.0.0.1:0").expect("bound");
        socket.set_nonblocking(true).expect("set");
        let own = socket.local_addr().expect("bound");
        let socket = registered(socket, Interest::READABLE).expect("registered");
        let port = Port { socket, own, wildcard: false, outbox: RefCell::default(), news: Notify::new() };
        // The same socket is registered a second time, for as long as it takes.
        for _ in 0..2 {
            port.has_room().await.expect("there is room");
        }
        port.send(&[Transmit { bytes: b"reply", peer: own, source: None }]).expect("sent");
        port.socket.readable().await.expect("still registered").retain_ready();
        assert_eq!(port.receive(&mut Inbox::default()).expect("received"), 1);
    }
}
