//! What a worker does when more datagrams arrive than it can answer: a fair and short queue.
//!
//! The kernel's queue is neither. With a large buffer it is long, so answers come too late. When it
//! is full, the kernel drops datagrams of all clients alike, so one client that floods takes most
//! of the answers. To read a datagram costs a fraction of answering it. So a worker that finds more
//! than [`ROW`] full batches in a row, or whose kernel has dropped datagrams, reads what is there
//! into a [`Backlog`], and answers it in rounds of [`ROUND`] datagrams. Before each round it reads
//! what has arrived meanwhile. If little waits then, all of it is answered: a worker that is busy
//! all the time and yet keeps up is not late.
//!
//! A round takes the first datagram of each client, then the second of each, and so on; a client's
//! weight ([`Habits`]) says how many of its datagrams count as one. Known clients come before
//! unknown ones, so that a flood with forged addresses does not take every round. A client that
//! sends many times its share is limited in the kernel ([`filter`]).
//!
//! A burst is answered as a whole. Nothing is dropped before the worker has answered [`BURST`]
//! datagrams without having caught up, unless the kernel has dropped some. From then on it reads
//! all that arrives. What has waited for 64 rounds is dropped, and when there are too many, so are
//! those of the clients that ask for most. All limits count datagrams, not time: what a slow
//! machine answers does not depend on how slow it is.

mod backlog;
mod filter;
#[cfg(test)]
mod tests;

use std::io;
use std::net::IpAddr;
use std::time::Instant;

use self::backlog::{Backlog, ROUND, WINDOW};
use self::filter::Filter;
use super::clients::Habits;
use super::sys::{BATCH, Inbox, Received};
use crate::host::pressure::Pressure;

/// Full batches in a row that are answered as they come: some 10 ms of work.
const ROW: usize = 64;

/// A worker has caught up if no more than this waits when the socket is empty.
const LITTLE: usize = 256;

/// Datagrams that are answered in a row before any is dropped: some 20 ms of work.
const BURST: usize = 4096;

/// Datagrams that are read before a round at most, however many arrive.
const READ: usize = 1024;

/// The datagrams of a socket, in the order in which they are answered.
#[derive(Default)]
pub(super) struct Intake {
    inbox: Inbox,
    /// How many datagrams of the inbox are answered next.
    direct: usize,
    /// Full batches in a row.
    row: usize,
    /// Datagrams taken out of the backlog since the socket was last empty.
    burst: usize,
    /// The kernel has dropped datagrams since then.
    overflowed: bool,
    /// Held while datagrams have to be dropped.
    pressure: Option<Pressure>,
    backlog: Backlog,
    filter: Filter,
    dropped: Dropped,
}

/// What was dropped.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Dropped {
    /// Datagrams that the kernel had no room for, or that limits have kept out.
    pub(super) by_kernel: u64,
    /// Datagrams that were read and not answered.
    pub(super) by_share: u64,
    /// The client that asked for most at that time, if that is known.
    pub(super) heaviest: Option<IpAddr>,
}

impl Intake {
    /// Returns whether datagrams that were read wait to be answered.
    pub(super) fn is_late(&self) -> bool {
        !self.backlog.is_empty()
    }

    /// Receives the datagrams that are answered next, with `receive`, which fills the inbox and
    /// returns how many it has received.
    ///
    /// # Errors
    /// There are none.
    pub(super) fn receive(
        &mut self,
        mut receive: impl FnMut(&mut Inbox) -> io::Result<usize>,
        habits: &Habits,
    ) -> io::Result<()> {
        self.backlog.finish_round();
        self.direct = 0;
        let got = receive(&mut self.inbox);
        let is_full = matches!(got, Ok(BATCH));
        self.row = if is_full { self.row + 1 } else { 0 };
        if self.row > ROW || self.is_late() || self.inbox.dropped() > 0 {
            self.row = 0;
            self.fall_behind(got, receive, habits);
            return Ok(());
        }
        if !is_full {
            (self.burst, self.overflowed) = (0, false);
        }
        self.direct = got?;
        Ok(())
    }

    /// Reads more into the backlog, after a first batch, and chooses what is answered next.
    fn fall_behind(
        &mut self,
        mut got: io::Result<usize>,
        mut receive: impl FnMut(&mut Inbox) -> io::Result<usize>,
        habits: &Habits,
    ) {
        let (backlog, mut read, mut round) = (&mut self.backlog, 0, ROUND);
        let mut must_drop = self.overflowed || self.burst >= BURST;
        while let Ok(count) = got {
            (0..count).filter_map(|at| self.inbox.get(at)).for_each(|datagram| backlog.add(datagram, habits));
            read += count;
            if self.inbox.dropped() > 0 {
                self.dropped.by_kernel += u64::from(self.inbox.take_dropped());
                (self.overflowed, must_drop) = (true, true);
            }
            if count < BATCH && !self.filter.limits_any() && backlog.len() <= LITTLE {
                (self.burst, self.overflowed, must_drop) = (0, false, false);
                round = LITTLE;
            }
            if count < BATCH || read >= READ || backlog.is_full() && !must_drop {
                break;
            }
            if backlog.is_full() {
                self.dropped.by_share += backlog.drop_half();
            }
            got = receive(&mut self.inbox);
        }
        if must_drop {
            self.dropped.by_share += backlog.drop_old();
        }
        if self.dropped.by_share + self.dropped.by_kernel > 0 {
            self.dropped.heaviest = backlog.heaviest();
        }
        self.burst += backlog.begin_round(round);
        if backlog.is_window_over() {
            if must_drop {
                self.filter.renew(backlog.read(), WINDOW * ROUND as u64);
            }
            backlog.begin_window();
        }
        if !self.is_late() {
            self.filter.lift();
            self.pressure = None;
        } else if must_drop {
            self.pressure.get_or_insert_with(Pressure::begin);
        }
    }

    /// Notes the datagrams that are answered next at `now`, unless there are too many for all to be
    /// answered.
    pub(super) fn note(&self, habits: &Habits, now: Instant) {
        let first = || self.inbox.get(0).map(|first| first.peer.ip());
        habits.note(first, self.direct, now);
    }

    /// Returns the datagrams that are answered next.
    pub(super) fn datagrams(&self) -> impl Iterator<Item = Received<'_>> {
        (0..self.direct).filter_map(|at| self.inbox.get(at)).chain(self.backlog.chosen())
    }

    /// Returns a filter for the socket if it needs another one.
    pub(super) fn take_filter(&mut self) -> Option<Vec<libc::sock_filter>> {
        self.filter.take_program()
    }

    /// Returns what was dropped since the last call, if anything was.
    pub(super) fn take_dropped(&mut self) -> Option<Dropped> {
        if self.inbox.dropped() > 0 {
            self.overflowed = true;
            self.dropped.by_kernel += u64::from(self.inbox.take_dropped());
        }
        let Dropped { by_kernel, by_share, .. } = self.dropped;
        (by_kernel + by_share > 0).then(|| std::mem::take(&mut self.dropped))
    }
}
