//! A query that waits, until its reply has room, where each message has a request or a stream of
//! its own.

use std::rc::Rc;

use tokio::sync::Notify;

use super::connections::{Connection, arrives, has_room};
use crate::chain::{Query, Reply};
use crate::server::waiting::Place;
use crate::server::worker::Local;

/// A waiting query that has finished. It is in flight, and holds its place, until its reply has
/// room.
pub(super) struct Late {
    pub(super) query: Box<Query<'static>>,
    pub(super) reply: Option<Reply>,
    pub(super) _flight: Flight,
    pub(super) _place: Place,
}

/// A query in flight, and the octets of its reply until they have room.
pub(super) struct Flight {
    local: Rc<Local>,
    connection: Rc<Connection>,
    /// Notified when the query is no longer in flight.
    room: Rc<Notify>,
    octets: usize,
}

impl Flight {
    pub(super) fn new(local: Rc<Local>, connection: Rc<Connection>, room: Rc<Notify>) -> Self {
        connection.in_flight.set(connection.in_flight.get() + 1);
        Self { local, connection, room, octets: 0 }
    }

    /// Notes that the reply has come.
    pub(super) fn arrives(&mut self, query: &Query<'_>, reply: Option<&Reply>) {
        self.octets = arrives(&self.local, &self.connection, query, reply);
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        self.connection.in_flight.set(self.connection.in_flight.get() - 1);
        has_room(&self.local, &self.connection, self.octets);
        self.room.notify_waiters();
        self.connection.wake.notify_one();
    }
}
