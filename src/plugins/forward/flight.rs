//! Equal questions at the same time are one question upstream.
//!
//! That spares the upstream, and a forger has one question to guess instead of many
//! (CVE-2023-30464).

use std::collections::hash_map::Entry;
use std::collections::{HashMap, VecDeque};
use std::hash::BuildHasher;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use super::forwarded::Forwarded;
use super::resolved::Resolved;
use crate::remote::Sent;

/// Different questions at a time. Each costs a few KiB; the waiting table of the server is the
/// other bound.
const MOST: usize = 16_384;

/// What makes two questions one: the whole message but its id and the case of its name, what the
/// client takes, and whether it goes over a connection in any case.
#[derive(Clone, PartialEq, Eq, Hash)]
struct Key {
    sent: Arc<Sent>,
    limit: usize,
    is_tcp: bool,
}

/// Flights at a time for one question by datagram. What a client chooses, such as options and the
/// size that it takes, makes flights of their own, and a forger has to hit only one of them
/// (CVE-2023-30464). More go over connections, where nothing can be forged.
const ALIKE: usize = 16;

/// Queries that wait for one answer. More would fill the server's table of waiting queries, at the
/// cost of others.
const FOLLOWERS: usize = 2_500;

/// How long the failure to get an answer is remembered: the least that RFC 9520 section 3.2 asks
/// for, and long enough for a cache above to take over.
const FAILURE: Duration = Duration::from_secs(1);

/// The questions that are being asked.
#[derive(Default)]
pub(super) struct Flights(Mutex<Inner>);

#[derive(Default)]
struct Inner {
    open: HashMap<Key, Flight, foldhash::fast::RandomState>,
    /// How many flights by datagram are open for a question, by its hash.
    alike: HashMap<u64, usize, foldhash::fast::RandomState>,
    /// The questions that failed, in the order in which they are forgotten.
    failed: VecDeque<(Instant, Key)>,
}

enum Flight {
    /// One task asks; these wait.
    Open(Vec<oneshot::Sender<Resolved>>),
    /// No upstream answered, a moment ago.
    Failed(Resolved),
}

/// What a task that asks has to do.
pub(super) enum Part<'f> {
    /// Ask, and tell the others.
    Lead(Lead<'f>),
    /// Wait: another task asks already.
    Follow(oneshot::Receiver<Resolved>),
    /// Give up: no upstream answered a moment ago.
    Known(Resolved),
    /// Ask over a connection: too many datagrams ask the same.
    Crowded,
    /// Too many questions are open, or too many wait for this one.
    Shed,
}

/// The task that asks. If it is dropped without an answer, one of the others asks.
pub(super) struct Lead<'f> {
    flights: &'f Flights,
    /// `None` once it has landed.
    key: Option<Key>,
}

impl Flights {
    /// Joins the tasks that ask the same.
    pub(super) fn join(&self, query: &Forwarded, is_tcp: bool) -> Part<'_> {
        let key = Key { sent: query.sent.clone(), limit: query.limit, is_tcp };
        let mut inner = self.lock();
        if !inner.failed.is_empty() {
            inner.forget(Instant::now());
        }
        let is_full = inner.open.len() >= MOST;
        let Inner { open, alike, .. } = &mut *inner;
        let flight = match open.entry(key) {
            Entry::Occupied(flight) => flight.into_mut(),
            Entry::Vacant(_) if is_full => return Part::Shed,
            Entry::Vacant(place) => {
                if !is_tcp {
                    let open = alike.entry(alike.hasher().hash_one(query.sent.question())).or_default();
                    if *open >= ALIKE {
                        return Part::Crowded;
                    }
                    *open += 1;
                }
                let key = Some(place.key().clone());
                place.insert(Flight::Open(Vec::new()));
                return Part::Lead(Lead { flights: self, key });
            }
        };
        match flight {
            Flight::Failed(resolved) => Part::Known(resolved.clone()),
            Flight::Open(followers) if followers.len() >= FOLLOWERS => Part::Shed,
            Flight::Open(followers) => {
                let (sender, receiver) = oneshot::channel();
                followers.push(sender);
                Part::Follow(receiver)
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, Inner> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Inner {
    /// Ends a flight. Returns the tasks that wait for it.
    fn end(&mut self, key: &Key) -> Vec<oneshot::Sender<Resolved>> {
        let Some(Flight::Open(followers)) = self.open.remove(key) else { return Vec::new() };
        if !key.is_tcp
            && let Entry::Occupied(mut open) = self.alike.entry(self.alike.hasher().hash_one(key.sent.question()))
        {
            *open.get_mut() -= 1;
            if *open.get() == 0 {
                open.remove();
            }
        }
        followers
    }

    /// Forgets failures that are old enough.
    fn forget(&mut self, now: Instant) {
        while self.failed.front().is_some_and(|(until, _)| *until <= now)
            && let Some((_, key)) = self.failed.pop_front()
        {
            self.open.remove(&key);
        }
    }
}

impl Lead<'_> {
    /// Tells the others what came. A failure is remembered for a moment.
    pub(super) fn land(mut self, resolved: &Resolved) {
        let Some(key) = self.key.take() else { return };
        let mut inner = self.flights.lock();
        let followers = inner.end(&key);
        // Half of the places stay for questions.
        if resolved.is_failure() && inner.failed.len() < MOST / 2 {
            inner.failed.push_back((Instant::now() + FAILURE, key.clone()));
            inner.open.insert(key, Flight::Failed(resolved.clone()));
        }
        drop(inner);
        for follower in followers {
            // The task may have been dropped.
            let _ = follower.send(resolved.clone());
        }
    }
}

impl Drop for Lead<'_> {
    fn drop(&mut self) {
        // The followers hear that the question is not asked any more.
        if let Some(key) = &self.key {
            let followers = self.flights.lock().end(key);
            drop(followers);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::chain::Reply;
    use crate::wire::answer::Answer;
    use crate::wire::types::rcode;

    fn sent(name: &str) -> Forwarded {
        Forwarded::of(name, 1232)
    }

    fn answer(rcode: u16) -> Resolved {
        Reply::fetched(Arc::new(Answer::empty(rcode))).into()
    }

    #[test]
    fn one_asks_and_all_hear() {
        let flights = Flights::default();
        let Part::Lead(lead) = flights.join(&sent("a."), false) else { panic!("no other task asks") };
        let Part::Follow(mut first) = flights.join(&sent("A."), false) else { panic!("another task asks") };
        assert!(matches!(flights.join(&sent("b."), false), Part::Lead(_)));
        assert!(matches!(flights.join(&sent("a."), true), Part::Lead(_)));
        lead.land(&answer(rcode::REFUSED));
        assert!(matches!(first.try_recv(), Ok(Resolved { reply, .. }) if reply.rcode() == 5));
        assert!(matches!(flights.join(&sent("a."), false), Part::Lead(_)), "the next one asks anew");
    }

    #[test]
    fn c17_a_failure_is_remembered_for_a_moment() {
        let flights = Flights::default();
        let Part::Lead(lead) = flights.join(&sent("a."), false) else { panic!("no other task asks") };
        lead.land(&Reply::failure(2, "no answer").into());
        let Part::Known(resolved) = flights.join(&sent("A."), false) else { panic!("it failed just now") };
        assert_eq!(resolved.reply.rcode(), 2);
        assert!(matches!(flights.join(&sent("b."), false), Part::Lead(_)));
        flights.lock().forget(Instant::now() + FAILURE);
        assert!(matches!(flights.join(&sent("a."), false), Part::Lead(_)), "the next one asks anew");
    }

    #[test]
    fn c17_the_waiters_for_one_answer_leave_room_for_others() {
        let flights = Flights::default();
        let Part::Lead(_lead) = flights.join(&sent("a."), false) else { panic!("no other task asks") };
        let followers: Vec<_> = (0..FOLLOWERS).map(|_| flights.join(&sent("a."), false)).collect();
        assert!(followers.iter().all(|part| matches!(part, Part::Follow(_))));
        assert!(matches!(flights.join(&sent("a."), false), Part::Shed));
        assert!(matches!(flights.join(&sent("b."), false), Part::Lead(_)));
    }

    /// Else a client could make as many datagrams for one name as it likes, each with a size of its
    /// own, and a forger would have to guess only one of their ids.
    #[test]
    fn few_datagrams_ask_the_same() {
        let flights = Flights::default();
        let ask = |limit| flights.join(&Forwarded::of("a.", limit), false);
        let mut leads: Vec<_> = (0..ALIKE).map(|n| ask(512 + n)).collect();
        assert!(leads.iter().all(|part| matches!(part, Part::Lead(_))));
        assert!(matches!(ask(4096), Part::Crowded));
        assert!(matches!(ask(512), Part::Follow(_)), "equal questions still wait together");
        assert!(matches!(flights.join(&Forwarded::of("a.", 4096), true), Part::Lead(_)), "over a connection");
        assert!(matches!(flights.join(&Forwarded::of("b.", 4096), false), Part::Lead(_)), "another name");
        leads.pop();
        assert!(matches!(ask(4096), Part::Lead(_)));
        leads.clear();
        assert!(flights.lock().alike.is_empty());
    }

    #[test]
    fn a_waiter_takes_over_when_the_asking_task_is_dropped() {
        let flights = Flights::default();
        let lead = flights.join(&sent("a."), false);
        let Part::Follow(mut first) = flights.join(&sent("a."), false) else { panic!("another task asks") };
        drop(lead);
        assert!(matches!(first.try_recv(), Err(oneshot::error::TryRecvError::Closed)));
        assert!(matches!(flights.join(&sent("a."), false), Part::Lead(_)));
    }
}
