//! Datagrams: a batch is received, each query walks the chain, the replies go out together.
//!
//! A query that has to wait goes on in a task of its own; its reply goes out with those that are ready at the same time.

use std::cell::RefCell;
use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::ops::Range;
use std::os::fd::AsFd;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::sync::{Notify, watch};

use super::sys::{self, BATCH, Inbox, Received, Transmit};
use super::waiting::Place;
use super::worker::Local;
use crate::chain::site::Listener;
use crate::chain::{Client, Outcome, Pending, Proto, Query, Reply};
use crate::host::interest::registered;
use crate::wire::answer::recycle;
use crate::wire::request::{Gate, gate};
use crate::wire::types::rcode;
use crate::wire::write::{Writer, refusal};

/// Octets of replies that are gathered before they are sent.
const GATHER: usize = 256 << 10;

//----------- The loop -------------------------------------------------------

/// Serves a socket until the door closes, and then what has arrived.
pub(super) async fn serve(
    local: Rc<Local>,
    door: usize,
    socket: UdpSocket,
    wildcard: bool,
    mut closing: watch::Receiver<bool>,
) {
    let Ok(own) = socket.local_addr() else { return };
    let Ok(socket) = registered(socket, Interest::READABLE) else { return };
    let port = Rc::new(Port { socket, own, wildcard, outbox: RefCell::default(), news: Notify::new() });
    let (mut inbox, mut outgoing) = (Inbox::default(), Outbox::default());
    let mut is_open = true;
    // Whoever waits for an answer has the port as well.
    while is_open || Rc::strong_count(&port) > 1 {
        tokio::select! {
            readable = port.socket.readable(), if is_open => is_open = readable.is_ok(),
            _ = closing.wait_for(|closing| *closing), if is_open => is_open = false,
            () = port.news.notified() => {}
        }
        while let Ok(count) = if is_open { port.receive(&mut inbox) } else { port.receive_rest(&mut inbox) } {
            if count < BATCH {
                port.is_drained();
            }
            answer_batch(&local, door, &port, &inbox, count);
            port.flush(&mut outgoing).await;
            if is_open {
                break;
            }
        }
        port.flush(&mut outgoing).await;
    }
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

fn answer_batch(local: &Rc<Local>, door: usize, port: &Rc<Port>, inbox: &Inbox, count: usize) {
    let live = local.shared.live.load();
    let Some(Some(listener)) = live.listeners.get(door) else { return };
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
    let to = (datagram.peer, datagram.local.filter(|_| port.wildcard));
    let request = match gate(datagram.bytes) {
        Gate::Silence => return,
        Gate::Refuse(why) => return outbox.put(to, |_, out| refusal(datagram.bytes, &why, out)),
        Gate::Pass(request) => request,
    };
    let client = Client {
        peer: canonical(datagram.peer),
        local: canonical(SocketAddr::new(datagram.local.unwrap_or(port.own.ip()), port.own.port())),
        proto: Proto::Udp,
    };
    let mut query = Query::new(datagram.bytes, request, client, now);
    match listener.ask(&mut query) {
        Outcome::Reply(reply) => outbox.reply(to, &query, reply),
        Outcome::Drop => {}
        Outcome::Wait(pending) => match local.place(&query, &pending) {
            Some(place) => {
                let end = End { port: port.clone(), place: Some(place) };
                // In a box of its own: what is moved into a task is copied more than once.
                let query = Box::new(query.into_owned());
                tokio::task::spawn_local(finish(listener.clone(), end, query, pending, to));
            }
            None => outbox.reply(to, &query, Reply::failure(rcode::SERVFAIL, "too many queries are waiting")),
        },
    }
}

/// Goes on with a query that had to wait.
async fn finish(
    listener: Arc<Listener>,
    mut end: End,
    mut query: Box<Query<'static>>,
    pending: Pending,
    to: (SocketAddr, Option<IpAddr>),
) {
    if let Some(reply) = listener.finish(&mut query, pending).await {
        let mut outbox = end.port.outbox.borrow_mut();
        outbox.reply(to, &query, reply);
        // It counts as waiting until the reply has gone.
        outbox.places.extend(end.place.take());
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
    parcels: Vec<(Range<usize>, SocketAddr, Option<IpAddr>)>,
    /// Of the queries that had to wait.
    places: Vec<Place>,
}

impl Outbox {
    fn reply(&mut self, to: (SocketAddr, Option<IpAddr>), query: &Query<'_>, reply: Reply) {
        self.put(to, |writer, out| writer.reply(query.packet(), &query.request, &reply, query.limit(), out));
        recycle(reply.answer);
    }

    fn put(
        &mut self,
        (peer, source): (SocketAddr, Option<IpAddr>),
        write: impl FnOnce(&mut Writer, &mut Vec<u8>) -> usize,
    ) {
        let start = self.bytes.len();
        let len = write(&mut self.writer, &mut self.bytes);
        self.parcels.push((start..start + len, peer, source));
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
        for (transmit, (range, peer, source)) in batch.iter_mut().zip(parcels) {
            *transmit = Transmit { bytes: &self.bytes[range.clone()], peer: *peer, source: *source };
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
