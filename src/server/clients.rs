//! Who counts as one client, and how much each has asked for lately.
//!
//! What all clients need is shared by client: a worker's time ([`intake`](super::intake)), places
//! for waiting queries ([`waiting`](super::waiting)), connections. One host may use any address of
//! its IPv6 network, so a network counts as one client where something is held for it. A worker's
//! time is shared by address: in many clusters all Pods are in one network, and those that asked
//! before come first, whoever forges addresses. On the other hand, a node's cache or a node behind
//! SNAT asks for a hundred Pods with one address. So an address that asked for much while there was
//! enough for all may go on: its weight grows with what it asked.

use std::cell::{Cell, RefCell};
use std::hash::BuildHasher;
use std::net::IpAddr;
use std::time::{Duration, Instant};

use foldhash::fast::RandomState;

pub(super) use crate::chain::places::client_of;

/// Entries of the table. Two clients with the same entry share a weight.
const SLOTS: usize = 4096;

/// One datagram in so many is counted, for all of them.
const SAMPLE: usize = 16;

/// Time after which what was counted counts half.
const HALF_LIFE: Duration = Duration::from_secs(45);

/// Counted datagrams that add 1 to a weight: somewhat less than 100 a second.
const EACH: u32 = 4096;

/// The largest addition to a weight: a hundred Pods that ask 100 times a second each.
const MOST: u32 = 126;

/// What clients ask of one worker while it can answer all of them.
pub(super) struct Habits {
    hasher: RandomState,
    /// Datagrams by the hash of the client.
    asked: RefCell<Box<[u32; SLOTS]>>,
    /// Datagrams since one was counted.
    skipped: Cell<usize>,
    /// When the counts were last halved.
    halved: Cell<Instant>,
}

impl Habits {
    /// Returns a table without any client.
    pub(super) fn new(now: Instant) -> Self {
        Self {
            hasher: RandomState::default(),
            asked: RefCell::new(Box::new([0; SLOTS])),
            skipped: Cell::new(0),
            halved: Cell::new(now),
        }
    }

    /// Notes a batch of `count` datagrams, of which the first one came from `client`.
    pub(super) fn note(&self, client: impl FnOnce() -> Option<IpAddr>, count: usize, now: Instant) {
        let skipped = self.skipped.get() + count;
        self.skipped.set(skipped);
        if skipped >= SAMPLE
            && let Some(client) = client()
        {
            self.skipped.set(0);
            self.count(client.to_canonical(), skipped, now);
        }
    }

    fn count(&self, client: IpAddr, count: usize, now: Instant) {
        let mut asked = self.asked.borrow_mut();
        let halves = now.saturating_duration_since(self.halved.get()).as_secs() / HALF_LIFE.as_secs();
        if halves > 0 {
            asked.iter_mut().for_each(|asked| *asked = asked.checked_shr(halves as u32).unwrap_or(0));
            self.halved.set(now);
        }
        let slot = &mut asked[self.slot(client)];
        *slot = slot.saturating_add(count as u32);
    }

    /// Returns how many times the share of an unknown client this one may have. It is 1 for an
    /// unknown client, and 2 at least for a known one.
    pub(super) fn weight(&self, client: IpAddr) -> u32 {
        match self.asked.borrow()[self.slot(client)] {
            0 => 1,
            asked => 2 + (asked / EACH).min(MOST),
        }
    }

    fn slot(&self, client: IpAddr) -> usize {
        self.hasher.hash_one(client) as usize % SLOTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// Lets a client ask `rate` times a second, in batches of 10, for `seconds` from `start`.
    fn ask(habits: &Habits, client: &str, rate: usize, start: Instant, seconds: u64) -> Instant {
        for batch in 0..rate as u64 * seconds / 10 {
            let now = start + Duration::from_secs(seconds) * batch as u32 / (rate as u32 * seconds as u32 / 10);
            habits.note(|| Some(address(client)), 10, now);
        }
        start + Duration::from_secs(seconds)
    }

    #[test]
    fn a_network_is_one_client() {
        assert_eq!(client_of(address("2001:db8:0:1::a")), client_of(address("2001:db8:0:1:2:3:4:5")));
        assert_ne!(client_of(address("2001:db8:0:1::a")), client_of(address("2001:db8:0:2::a")));
        assert_ne!(client_of(address("10.0.0.1")), client_of(address("10.0.0.2")));
        assert_eq!(client_of(address("::ffff:10.0.0.1")), address("10.0.0.1"));
    }

    #[test]
    fn weight_grows_with_what_was_asked_and_fades() {
        let start = Instant::now();
        let habits = Habits::new(start);
        assert_eq!(habits.weight(address("10.0.0.1")), 1, "unknown");
        let now = ask(&habits, "10.0.0.1", 100, start, 180);
        let end = ask(&habits, "10.0.0.2", 10_000, now, 180);
        let heavy = habits.weight(address("10.0.0.2"));
        assert!((100..=2 + MOST).contains(&heavy), "a hundred Pods: {heavy}");
        assert_eq!(habits.weight(address("10.0.0.1")), 2, "known, and little for some minutes");
        let later = end + HALF_LIFE * 3;
        habits.note(|| Some(address("10.0.0.1")), SAMPLE, later);
        assert!((14..=30).contains(&habits.weight(address("10.0.0.2"))), "an eighth");
        habits.note(|| Some(address("10.0.0.1")), SAMPLE, later + HALF_LIFE * 40);
        assert_eq!(habits.weight(address("10.0.0.2")), 1, "forgotten");
    }

    #[test]
    fn a_batch_is_counted_for_one_of_its_clients_in_turn() {
        let (start, asked) = (Instant::now(), Cell::new(0));
        let habits = Habits::new(start);
        for _ in 0..SAMPLE * 10 {
            let client = || {
                asked.set(asked.get() + 1);
                Some(address("10.0.0.1"))
            };
            habits.note(client, 1, start);
        }
        assert_eq!(asked.get(), 10, "the others cost no look-up");
    }
}
