//! Equal questions at the same time are one question upstream.
//!
//! That spares the upstream, and whoever forges replies has one question to guess instead of many
//! (CVE-2023-30464).

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::oneshot;

use super::exchange::Resolved;
use super::message::Sent;

/// Different questions at a time. Each costs a few KiB; the waiting table of the server is the other bound.
const MOST: usize = 16_384;

/// What makes two questions one: the whole message but its id and the case of its name, and whether it goes over
/// a connection whatever happens.
type Key = (Arc<Sent>, bool);

type Followers = Vec<oneshot::Sender<Resolved>>;

/// The questions that are being asked.
#[derive(Default)]
pub(super) struct Flights {
    open: Mutex<HashMap<Key, Followers, foldhash::fast::RandomState>>,
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
    /// Nothing once it has landed.
    key: Option<Key>,
}

impl Flights {
    /// Joins those who ask the same.
    pub(super) fn join(&self, sent: &Arc<Sent>, tcp: bool) -> Part<'_> {
        let key = (sent.clone(), tcp);
        let mut open = self.lock();
        if let Some(followers) = open.get_mut(&key) {
            let (sender, receiver) = oneshot::channel();
            followers.push(sender);
            return Part::Follow(receiver);
        }
        if open.len() >= MOST {
            return Part::Shed;
        }
        open.insert(key.clone(), Vec::new());
        Part::Lead(Lead { flights: self, key: Some(key) })
    }

    fn take(&self, key: &Key) -> Followers {
        self.lock().remove(key).unwrap_or_default()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Key, Followers, foldhash::fast::RandomState>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Lead<'_> {
    /// Tells the others what came.
    pub(super) fn land(mut self, resolved: &Resolved) {
        let Some(key) = self.key.take() else { return };
        for follower in self.flights.take(&key) {
            // He may have gone away.
            let _ = follower.send(resolved.clone());
        }
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        // Those who followed hear that nobody asks any more.
        if let Some(key) = &self.key {
            drop(self.flights.take(key));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Reply;
    use crate::wire::name::Name;

    fn sent(name: &str) -> Arc<Sent> {
        Arc::new(Sent::probe(&Name::from_text(name).expect("a name"), true))
    }

    #[test]
    fn one_asks_and_all_hear() {
        let flights = Flights::default();
        let Part::Lead(lead) = flights.join(&sent("a."), false) else { panic!("nobody else asks") };
        let Part::Follow(mut first) = flights.join(&sent("A."), false) else { panic!("somebody asks") };
        assert!(matches!(flights.join(&sent("b."), false), Part::Lead(_)));
        assert!(matches!(flights.join(&sent("a."), true), Part::Lead(_)));
        lead.land(&Reply::server(5).into());
        assert!(matches!(first.try_recv(), Ok(Resolved { reply, .. }) if reply.rcode() == 5));
        assert!(matches!(flights.join(&sent("a."), false), Part::Lead(_)), "the next one asks anew");
    }

    #[test]
    fn others_hear_when_the_one_who_asked_is_gone() {
        let flights = Flights::default();
        let lead = flights.join(&sent("a."), false);
        let Part::Follow(mut first) = flights.join(&sent("a."), false) else { panic!("somebody asks") };
        drop(lead);
        assert!(matches!(first.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        assert!(matches!(flights.join(&sent("a."), false), Part::Lead(_)));
    }
}
