//! What all connections share: the set, its version, and the changes for the watches.

use std::collections::BTreeMap;
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use super::set::{Set, Size};

#[derive(Default)]
pub(crate) struct Counts {
    /// Complete lists that were served, by kind.
    pub(crate) lists: BTreeMap<String, u64>,
    pub(crate) requests: u64,
    /// Octets of bodies.
    pub(crate) octets: u64,
    /// Changes that were sent to a watch.
    pub(crate) events: u64,
}

pub(crate) struct State {
    pub(crate) set: Set,
    pub(crate) version: u64,
    /// Watches from earlier versions have expired.
    pub(crate) oldest: u64,
    /// Slices in the order of their changes, with the resulting versions.
    pub(crate) log: Vec<(u64, usize)>,
    /// Changes a second.
    pub(crate) rate: u64,
    pub(crate) counts: Counts,
    /// The awaited version, and when it was written to a socket.
    pub(crate) awaited: (u64, Option<Instant>),
}

pub(crate) struct Bed {
    state: Mutex<State>,
    changed: Condvar,
}

impl Bed {
    pub(crate) fn new(size: Size) -> Self {
        let set = Set::new(size);
        let counts = Counts::default();
        let state = State { set, version: 1000, oldest: 0, log: Vec::new(), rate: 0, counts, awaited: (0, None) };
        Self { state: Mutex::new(state), changed: Condvar::new() }
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a change, for `patience` at most.
    pub(crate) fn wait<'a>(&self, state: MutexGuard<'a, State>, patience: Duration) -> MutexGuard<'a, State> {
        self.changed.wait_timeout(state, patience).unwrap_or_else(PoisonError::into_inner).0
    }

    /// Replaces an endpoint of a slice; returns its new address. With `await_it`, records when a
    /// watch sends it.
    pub(crate) fn change(&self, slice: usize, await_it: bool) -> [u8; 4] {
        let mut state = self.lock();
        state.version += 1;
        let version = state.version;
        let address = state.set.change(slice, version);
        state.log.push((version, slice));
        if await_it {
            state.awaited = (version, None);
        }
        self.changed.notify_all();
        address
    }

    /// Ends every watch with 410, so that clients list again.
    pub(crate) fn expire(&self) {
        let mut state = self.lock();
        state.version += 1;
        state.oldest = state.version;
        self.changed.notify_all();
    }

    /// Changes slices one after the other, at the current rate.
    pub(crate) fn churn(&self) {
        let (mut slice, mut due) = (0, Instant::now());
        loop {
            let (rate, slices) = {
                let state = self.lock();
                (state.rate, state.set.slices.len())
            };
            if rate == 0 {
                std::thread::sleep(Duration::from_millis(5));
                due = Instant::now();
                continue;
            }
            due += Duration::from_nanos(1_000_000_000 / rate);
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            // A stride without a common divisor with the number of slices.
            slice = (slice + 2741) % slices;
            self.change(slice, false);
        }
    }
}
