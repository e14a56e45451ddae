//! The connections of one worker: how many, which is closed when there are too many, and what they
//! hold.

use std::cell::{Cell, RefCell};
use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::Deref;
use std::os::fd::RawFd;
use std::rc::Rc;
use std::sync::atomic::Ordering;

use tokio::sync::Notify;
use tokio::task::yield_now;
use tokio::time::Instant;

use super::super::clients::client_of;
use super::super::sys;
use super::super::worker::Local;
use crate::chain::{Query, Reply};

/// TLS handshakes that one worker runs at once; beyond this, the oldest is given up.
const HALF_OPEN: usize = 256;

/// Handshakes of one worker from which on clients prove their addresses, where the protocol can.
const CROWD: usize = 32;

/// A connection that holds no more octets than this is not closed when all together hold too many.
const LITTLE: usize = 4096;

/// Limits for the connections of one worker.
#[derive(Debug, Clone, Copy)]
pub(in crate::server) struct Limits {
    /// Number of connections.
    pub(in crate::server) connections: usize,
    /// Octets that they may hold together.
    pub(in crate::server) held: usize,
}

/// The connections of one worker.
pub(in crate::server) struct Connections {
    limits: Cell<Limits>,
    /// Unordered; each connection knows its index.
    all: RefCell<Vec<Rc<Connection>>>,
    /// Number of connections that are not given up.
    count: Cell<usize>,
    half_open: Cell<usize>,
    /// Octets that all hold together, but for those that were given up.
    held: Cell<usize>,
    /// Octets of connections that were given up and have not freed them yet.
    freeing: Cell<usize>,
}

/// The shared state of one connection.
pub(super) struct Connection {
    client: Cell<IpAddr>,
    /// The number of the door it came through.
    door: usize,
    /// The socket, to ask the kernel what it holds; open while the connection is a member. Negative
    /// where connections share one, and the kernel holds nothing for each.
    socket: RawFd,
    index: Cell<usize>,
    /// When it was last active: it opened, a message began or ended, a reply was ready or was read.
    pub(super) active: Cell<Instant>,
    /// Queries whose replies are not ready, or are ready and wait for room.
    pub(super) in_flight: Cell<usize>,
    /// Complete messages are unanswered, or replies are unwritten.
    pub(super) busy: Cell<bool>,
    /// Since when the client has been reading the current replies.
    pub(super) reading_since: Cell<Instant>,
    /// Octets in our buffers, in replies that wait for room there, and in the kernel.
    buffered: Cell<usize>,
    late: Cell<usize>,
    in_kernel: Cell<usize>,
    half_open: Cell<bool>,
    pub(super) closing: Cell<bool>,
    given_up: Cell<bool>,
    /// What it held when it was given up.
    freeing: Cell<usize>,
    /// It has ended and is no longer a member.
    ended: Cell<bool>,
    pub(super) wake: Notify,
}

/// A connection's membership, which ends on drop.
pub(super) struct Member {
    local: Rc<Local>,
    connection: Rc<Connection>,
}

//----------- Connections ----------------------------------------------------

impl Connections {
    pub(in crate::server) fn new(limits: Limits) -> Self {
        Self {
            limits: Cell::new(limits),
            all: RefCell::default(),
            count: Cell::new(0),
            half_open: Cell::new(0),
            held: Cell::new(0),
            freeing: Cell::new(0),
        }
    }

    /// Reduces the number of connections to `connections` if that is below the limit.
    pub(in crate::server) fn restrict(&self, limits: Limits, connections: usize) {
        self.limits.set(Limits { connections: limits.connections.min(connections), ..limits });
    }

    /// Returns whether every query is answered and every reply written.
    pub(in crate::server) fn are_quiet(&self) -> bool {
        self.all.borrow().iter().all(|connection| connection.is_quiet() || connection.given_up.get())
    }

    /// Makes each connection, or each of a door, end as soon as its queries are answered.
    pub(in crate::server) fn close_when_quiet(&self, door: Option<usize>) {
        let all = self.all.borrow();
        all.iter().filter(|one| door.is_none_or(|door| one.door == door)).for_each(|connection| connection.close());
    }

    /// Adds a connection that came through `door`, where at most `most` are allowed. If there are
    /// too many, there or altogether, another one is given up.
    pub(super) fn join(local: &Rc<Local>, door: usize, most: Option<usize>, client: IpAddr, socket: RawFd) -> Member {
        let this = &local.connections;
        let is_full = this.is_full();
        if this.is_full_at(door, most) && this.make_room(|one| one.door == door) || is_full && this.make_room(|_| true)
        {
            local.shared.evicted.connections.inc();
        }
        let (mut all, now) = (this.all.borrow_mut(), Instant::now());
        let connection = Rc::new(Connection {
            client: Cell::new(client_of(client)),
            door,
            socket,
            index: Cell::new(all.len()),
            active: Cell::new(now),
            in_flight: Cell::new(0),
            busy: Cell::new(false),
            reading_since: Cell::new(now),
            buffered: Cell::new(0),
            late: Cell::new(0),
            in_kernel: Cell::new(0),
            half_open: Cell::new(false),
            closing: Cell::new(false),
            given_up: Cell::new(false),
            freeing: Cell::new(0),
            ended: Cell::new(false),
            wake: Notify::new(),
        });
        all.push(connection.clone());
        local.shared.open.fetch_add(connection.files(), Ordering::Relaxed);
        this.count.set(this.count.get() + 1);
        Member { local: local.clone(), connection }
    }

    /// Returns whether there are as many connections as allowed.
    fn is_full(&self) -> bool {
        self.count.get() >= self.limits.get().connections
    }

    /// Returns whether a door where at most `most` connections are allowed has as many.
    fn is_full_at(&self, door: usize, most: Option<usize>) -> bool {
        let all = self.all.borrow();
        let open = || all.iter().filter(|one| one.door == door && !one.given_up.get()).count();
        most.is_some_and(|most| open() >= most)
    }

    /// Returns whether a client has to prove its address before it gets a connection through
    /// `door`: with forged addresses, it would take the places of others.
    pub(super) fn are_scarce(&self, door: usize, most: Option<usize>) -> bool {
        self.half_open.get() >= CROWD || self.is_full() || self.is_full_at(door, most)
    }

    /// Returns whether a connection that was given up has not ended yet.
    pub(super) fn are_ending(&self) -> bool {
        self.all.borrow().len() > self.count.get()
    }

    /// Waits until those that were given up have freed what they hold, if all hold too much
    /// together: their tasks are woken, and run before this one goes on. `connection` is the one
    /// that waits.
    pub(super) async fn free(&self, connection: &Connection) {
        let is_full = || self.freeing.get() > 0 && self.held.get() + self.freeing.get() > self.limits.get().held;
        while is_full() && !connection.is_given_up() {
            yield_now().await;
        }
    }

    /// Gives up one connection of the address that has most: the one idle for longest or, if none
    /// is idle, the one inactive for longest. Only those that `counts` names count. Returns whether
    /// there was one.
    pub(super) fn make_room(&self, counts: impl Fn(&Connection) -> bool) -> bool {
        let oldest = {
            let all = self.all.borrow();
            let candidates = || all.iter().filter(|one| !one.given_up.get() && counts(one));
            let mut clients: HashMap<IpAddr, usize> = HashMap::new();
            candidates().for_each(|one| *clients.entry(one.client.get()).or_default() += 1);
            let most = clients.values().copied().max();
            let of_most = candidates().filter(|one| clients.get(&one.client.get()).copied() == most);
            of_most.min_by_key(|one| (!one.is_quiet(), one.active.get())).cloned()
        };
        oldest.inspect(|oldest| self.give_up(oldest)).is_some()
    }

    /// Ends a connection without waiting for its client.
    fn give_up(&self, connection: &Connection) {
        if !connection.given_up.replace(true) {
            connection.freeing.set(connection.held());
            self.freeing.set(self.freeing.get() + connection.held());
            self.forget(connection);
            connection.wake.notify_one();
        }
    }

    /// Removes a connection from all counts.
    fn forget(&self, connection: &Connection) {
        self.count.set(self.count.get() - 1);
        self.held.set(self.held.get() - connection.held());
        connection.buffered.take();
        connection.late.take();
        connection.in_kernel.take();
    }

    /// Notes that a connection holds `octets` in one of its three counts. If all hold too many, the
    /// connections with the slowest readers are given up. Returns how many.
    fn hold(&self, connection: &Connection, count: &Cell<usize>, octets: usize) -> u64 {
        if connection.given_up.get() || connection.ended.get() {
            return 0;
        }
        self.held.set(self.held.get() - count.get() + octets);
        count.set(octets);
        let mut given_up = 0;
        while self.held.get() > self.limits.get().held
            && let Some(slowest) = self.slowest()
        {
            // The kernel's count dates from the last write, and the client may have read since.
            let in_kernel = sys::unsent(slowest.socket).min(slowest.in_kernel.get());
            let read = slowest.in_kernel.replace(in_kernel) - in_kernel;
            self.held.set(self.held.get() - read);
            if read > 0 {
                slowest.reading_since.set(Instant::now());
            } else {
                self.give_up(&slowest);
                given_up += 1;
            }
        }
        given_up
    }

    /// Returns the connection whose client has taken longest for its current replies, of those that
    /// hold more than `LITTLE`.
    fn slowest(&self) -> Option<Rc<Connection>> {
        let all = self.all.borrow();
        let holders = all.iter().filter(|one| !one.given_up.get() && one.held() > LITTLE);
        holders.min_by_key(|one| one.reading_since.get()).cloned()
    }

    /// Returns the octets that all connections hold, those that were given up included.
    #[cfg(test)]
    pub(super) fn held(&self) -> usize {
        self.held.get() + self.freeing.get()
    }

    /// Returns the number of connections that are not given up.
    #[cfg(test)]
    pub(super) fn count(&self) -> usize {
        self.count.get()
    }
}

//----------- Connection -----------------------------------------------------

impl Connection {
    /// Makes it end as soon as its queries are answered.
    pub(super) fn close(&self) {
        self.closing.set(true);
        self.wake.notify_one();
    }

    pub(super) fn is_given_up(&self) -> bool {
        self.given_up.get()
    }

    /// Returns how many open files it needs.
    pub(super) fn files(&self) -> usize {
        usize::from(self.socket >= 0)
    }

    fn is_quiet(&self) -> bool {
        self.in_flight.get() == 0 && !self.busy.get()
    }

    fn held(&self) -> usize {
        self.buffered.get() + self.late.get() + self.in_kernel.get()
    }
}

//----------- Member ---------------------------------------------------------

impl Member {
    /// Returns another reference to the connection, for a query that waits.
    pub(super) fn connection(&self) -> Rc<Connection> {
        self.connection.clone()
    }

    /// Counts it among the connections of another client, the one behind a proxy.
    pub(super) fn belongs_to(&self, client: IpAddr) {
        self.connection.client.set(client_of(client));
    }

    /// Notes the size of its buffers.
    pub(super) fn buffers(&self, octets: usize) {
        hold(&self.local, &self.connection, &self.connection.buffered, octets);
    }

    /// Notes the octets that are unsent or unacknowledged in the kernel; returns them.
    pub(super) fn look_into_kernel(&self) -> usize {
        let octets = sys::unsent(self.connection.socket);
        hold(&self.local, &self.connection, &self.connection.in_kernel, octets);
        octets
    }

    /// Notes that a reply no longer waits for room.
    pub(super) fn takes(&self, octets: usize) {
        has_room(&self.local, &self.connection, octets);
    }

    /// Notes that a TLS handshake begins, unless that is noted. If there are too many, the oldest
    /// is given up.
    pub(super) fn begin_handshake(&self) {
        let connections = &self.local.connections;
        if self.connection.half_open.replace(true) {
            return;
        }
        connections.half_open.set(connections.half_open.get() + 1);
        if connections.half_open.get() > HALF_OPEN {
            let oldest = {
                let all = connections.all.borrow();
                let half_open = all.iter().filter(|one| one.half_open.get() && !one.given_up.get());
                half_open.min_by_key(|one| one.active.get()).cloned()
            };
            oldest.inspect(|oldest| connections.give_up(oldest));
        }
    }

    /// Notes that the handshake has ended.
    pub(super) fn end_handshake(&self) {
        let half_open = &self.local.connections.half_open;
        if self.connection.half_open.take() {
            half_open.set(half_open.get() - 1);
        }
        self.connection.active.set(Instant::now());
    }
}

/// Notes that the reply to a query has come and waits for room in the buffers of its connection.
/// Returns the octets that both take.
pub(super) fn arrives(local: &Local, connection: &Connection, query: &Query<'_>, reply: Option<&Reply>) -> usize {
    let octets = reply.map_or(0, |reply| reply.answer.memory_len()) + query.packet().len();
    hold(local, connection, &connection.late, connection.late.get() + octets);
    connection.active.set(Instant::now());
    octets
}

/// Notes that a reply of `octets` no longer waits for room.
pub(super) fn has_room(local: &Local, connection: &Connection, octets: usize) {
    hold(local, connection, &connection.late, connection.late.get().saturating_sub(octets));
}

fn hold(local: &Local, connection: &Connection, count: &Cell<usize>, octets: usize) {
    if count.get() != octets {
        let given_up = local.connections.hold(connection, count, octets);
        (0..given_up).for_each(|_| local.shared.evicted.memory.inc());
    }
}

impl Deref for Member {
    type Target = Connection;

    fn deref(&self) -> &Connection {
        &self.connection
    }
}

impl Drop for Member {
    fn drop(&mut self) {
        let connections = &self.local.connections;
        self.end_handshake();
        if !self.connection.given_up.get() {
            connections.forget(&self.connection);
        }
        connections.freeing.set(connections.freeing.get() - self.connection.freeing.take());
        self.connection.ended.set(true);
        self.local.shared.open.fetch_sub(self.connection.files(), Ordering::Relaxed);
        let (mut all, index) = (connections.all.borrow_mut(), self.connection.index.get());
        all.swap_remove(index);
        if let Some(moved) = all.get(index) {
            moved.index.set(index);
        }
    }
}
