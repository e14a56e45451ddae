//! Equal questions at the same time are one question upstream.
//!
//! That spares the upstream, and whoever forges replies has one question to guess instead of many
//! (CVE-2023-30464).

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::exchange::Resolved;

/// Different questions at a time. Each costs a few KiB; the waiting table of the server is the other bound.
const MOST: usize = 16_384;

type Followers = Vec<oneshot::Sender<Resolved>>;

/// The questions that are being asked.
#[derive(Default)]
pub(super) struct Flights {
    open: Mutex<HashMap<Box<[u8]>, Followers, foldhash::fast::RandomState>>,
}

/// The part that somebody who asks has to play.
pub(super) enum Part<'f> {
    /// Ask, and tell the others.
    Lead(Lead<'f>),
    /// Somebody asks already.
    Follow(oneshot::Receiver<Resolved>),
    /// Too many questions are open.
    Shed,
}

/// Whoever asks. If he goes away without an answer, one of the others asks.
pub(super) struct Lead<'f> {
    flights: &'f Flights,
    key: Box<[u8]>,
}

impl Flights {
    /// Joins those who ask the same.
    pub(super) fn join(&self, key: &[u8]) -> Part<'_> {
        let mut open = self.lock();
        if let Some(followers) = open.get_mut(key) {
            let (sender, receiver) = oneshot::channel();
            followers.push(sender);
            return Part::Follow(receiver);
        }
        if open.len() >= MOST {
            return Part::Shed;
        }
        open.insert(key.into(), Vec::new());
        Part::Lead(Lead { flights: self, key: key.into() })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Box<[u8]>, Followers, foldhash::fast::RandomState>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lead<'_> {
    /// Tells the others what came.
    pub(super) fn land(mut self, resolved: &Resolved) {
        let followers = self.flights.lock().remove(&std::mem::take(&mut self.key)).unwrap_or_default();
        for follower in followers {
            // He may have gone away.
            let _ = follower.send(resolved.clone());
        }
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        // Without a key it has landed, and what is open under that key by now is another flight.
        if !self.key.is_empty() {
            self.flights.lock().remove(&self.key);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Reply;

    #[test]
    fn one_asks_and_all_hear() {
        let flights = Flights::default();
        let Part::Lead(lead) = flights.join(b"a") else { panic!("nobody else asks") };
        let Part::Follow(mut first) = flights.join(b"a") else { panic!("somebody asks") };
        assert!(matches!(flights.join(b"b"), Part::Lead(_)));
        lead.land(&Reply::server(5).into());
        assert!(matches!(first.try_recv(), Ok(Resolved { reply, .. }) if reply.rcode() == 5));
        assert!(matches!(flights.join(b"a"), Part::Lead(_)), "the next one asks anew");
    }

    #[test]
    fn others_hear_when_the_one_who_asked_is_gone() {
        let flights = Flights::default();
        let lead = flights.join(b"a");
        let Part::Follow(mut first) = flights.join(b"a") else { panic!("somebody asks") };
        drop(lead);
        assert!(matches!(first.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        assert!(matches!(flights.join(b"a"), Part::Lead(_)));
    }
}
