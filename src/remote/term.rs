//! Which connection to a server takes the next question, and for how long each of them does.
//!
//! Behind a Service of Kubernetes a connection leads to the same pod for as long as it lives, and
//! one that is never idle would live for ever: all questions of a node would stay with one pod of
//! the upstream, even after more have been added. So each connection takes questions for a time and
//! up to a number, both drawn at random, so that many servers do not change at the same moment.
//! Then a successor is opened. Questions go on over the old connection until the new one is open,
//! so none waits for a handshake; the old one ends with its last answer. If no successor can be
//! opened, the old one stays in use, and another is tried a second later.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rand::RngExt;

use super::link::Link;

/// How long a connection takes questions, at most: half of this at least.
const LIFE: Duration = Duration::from_secs(30);

/// Delay between a successor that could not be opened and the next try.
const AGAIN: Duration = Duration::from_secs(1);

//----------- Term -----------------------------------------------------------

/// For how long one connection takes questions.
pub(super) struct Term {
    /// Then a successor is opened.
    ends: Instant,
    /// Then it takes no more questions, whether or not there is a successor: `max_age`.
    dies: Option<Instant>,
    /// Questions until a successor is opened.
    left: AtomicU32,
}

impl Term {
    /// A term that begins now: half of the longest that is allowed, and a random part of the other
    /// half; the same for `questions`.
    pub(super) fn draw(link: &Link, questions: u32, now: Instant) -> Self {
        let (mut random, most) = (rand::rng(), link.max_age.map_or(LIFE, |age| age.min(LIFE)));
        Self {
            ends: now + random.random_range(most / 2..=most),
            dies: link.max_age.map(|age| now + age),
            left: AtomicU32::new(random.random_range(questions / 2..=questions)),
        }
    }

    /// Counts a question.
    pub(super) fn count_down(&self) {
        let _ = self.left.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1));
    }

    fn is_over(&self, now: Instant) -> bool {
        self.left() == 0 || now >= self.ends
    }

    fn is_dead(&self, now: Instant) -> bool {
        self.dies.is_some_and(|dies| now > dies)
    }

    fn left(&self) -> u32 {
        self.left.load(Ordering::Relaxed)
    }
}

//----------- Connections ----------------------------------------------------

/// A connection that carries many questions at a time.
pub(super) trait Carrier {
    /// For how long it takes questions.
    fn term(&self) -> &Term;
    /// Whether it still takes questions, if it is its turn.
    fn is_usable(&self) -> bool;
    /// Whether its handshakes are done.
    fn is_open(&self) -> bool;
    /// Questions that are not answered yet.
    fn load(&self) -> usize;
    /// Takes no more questions, and ends with the last answer.
    fn retire(&self);
}

/// The connections to one server that take questions.
pub(super) struct Connections<C> {
    all: Vec<Arc<C>>,
    /// It takes over from the oldest whose term is over, once it is open.
    successor: Option<Arc<C>>,
    /// No successor is opened before.
    not_before: Option<Instant>,
}

impl<C> Default for Connections<C> {
    fn default() -> Self {
        Self { all: Vec::new(), successor: None, not_before: None }
    }
}

impl<C: Carrier> Connections<C> {
    /// Adds a connection that was opened for a question.
    pub(super) fn add(&mut self, connection: Arc<C>) {
        self.all.push(connection);
    }

    /// Retires all of them.
    pub(super) fn retire(&mut self) {
        self.all.drain(..).chain(self.successor.take()).for_each(|connection| connection.retire());
    }

    /// Keeps at most `most` connections without questions.
    pub(super) fn keep_idle(&mut self, most: usize) {
        let mut idle = 0;
        self.all.retain(|connection| {
            idle += usize::from(connection.load() == 0);
            connection.load() > 0 || idle <= most
        });
    }

    /// The connection that takes the next question: the one with the fewest, of several the one
    /// that has taken the fewest in its term. Those for which `is_ready` is not true are left out.
    /// `open` opens a successor when a term is over.
    pub(super) fn choose(
        &mut self,
        now: Instant,
        is_ready: impl Fn(&C) -> bool,
        open: impl FnOnce() -> Option<Arc<C>>,
    ) -> Option<Arc<C>> {
        let is_usable = |connection: &Arc<C>| connection.is_usable() && !connection.term().is_dead(now);
        self.all.retain(is_usable);
        if self.successor.as_ref().is_some_and(|successor| !is_usable(successor)) {
            self.successor = None;
            self.not_before = Some(now + AGAIN);
        }
        self.take_over(now);
        if self.successor.is_none()
            && self.not_before.is_none_or(|then| now >= then)
            && self.all.iter().any(|connection| connection.term().is_over(now))
        {
            self.successor = open();
            self.not_before = self.successor.is_none().then(|| now + AGAIN);
        }
        let ready = self.all.iter().filter(|connection| is_ready(connection));
        ready.min_by_key(|connection| (connection.load(), Reverse(connection.term().left()))).cloned()
    }

    /// Lets the successor take over if it can, or has to.
    fn take_over(&mut self, now: Instant) {
        let is_due = |successor: &mut Arc<C>| successor.is_open() || self.all.is_empty();
        let Some(successor) = self.successor.take_if(is_due) else { return };
        let over = (0..self.all.len()).filter(|&at| self.all[at].term().is_over(now));
        if let Some(oldest) = over.min_by_key(|&at| self.all[at].term().ends) {
            self.all.swap_remove(oldest).retire();
        }
        self.all.push(successor);
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize};

    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    struct Fake {
        term: Term,
        open: AtomicBool,
        broken: AtomicBool,
        load: AtomicUsize,
        retired: AtomicBool,
    }

    impl Carrier for Fake {
        fn term(&self) -> &Term {
            &self.term
        }
        fn is_usable(&self) -> bool {
            !self.retired.load(Ordering::Relaxed) && !self.broken.load(Ordering::Relaxed)
        }
        fn is_open(&self) -> bool {
            self.open.load(Ordering::Relaxed)
        }
        fn load(&self) -> usize {
            self.load.load(Ordering::Relaxed)
        }
        fn retire(&self) {
            self.retired.store(true, Ordering::Relaxed);
        }
    }

    fn link(max_age: Option<Duration>) -> Link {
        let peer = "192.0.2.1:53".parse().expect("an address");
        Link { peer, source: None, expire: SECOND, max_age, max_idle: None, random_case: false }
    }

    fn fake(link: &Link, is_open: bool, now: Instant) -> Arc<Fake> {
        Arc::new(Fake {
            term: Term::draw(link, 100, now),
            open: AtomicBool::new(is_open),
            broken: AtomicBool::default(),
            load: AtomicUsize::default(),
            retired: AtomicBool::default(),
        })
    }

    fn ask(all: &mut Connections<Fake>, now: Instant, open: impl FnOnce() -> Option<Arc<Fake>>) -> Option<Arc<Fake>> {
        let chosen = all.choose(now, |_| true, open);
        chosen.iter().for_each(|one| one.term.count_down());
        chosen
    }

    fn nothing() -> Option<Arc<Fake>> {
        panic!("none is to be opened")
    }

    #[test]
    fn a_term_ends_by_time_and_by_questions_and_is_drawn() {
        let (start, link) = (Instant::now(), link(None));
        let terms: Vec<Term> = (0..200).map(|_| Term::draw(&link, 100, start)).collect();
        assert!(terms.iter().all(|term| !term.is_over(start + LIFE / 2 - SECOND) && term.is_over(start + LIFE)));
        assert!(terms.iter().any(|term| term.is_over(start + LIFE * 3 / 4)), "not all at the same time");
        assert!(terms.iter().any(|term| !term.is_over(start + LIFE * 3 / 4)));
        for term in &terms {
            (0..49).for_each(|_| term.count_down());
            assert!(!term.is_over(start) && !term.is_dead(start + 100 * LIFE));
            (0..51).for_each(|_| term.count_down());
            assert!(term.is_over(start));
        }
    }

    #[test]
    fn max_age_ends_it_for_good_and_a_successor_is_there_by_then() {
        let (start, link) = (Instant::now(), link(Some(4 * SECOND)));
        let mut all = Connections::default();
        all.add(fake(&link, true, start));
        let second = fake(&link, false, start + 3 * SECOND);
        let mut opened = 0;
        for ms in (0..4000).step_by(50) {
            let now = start + Duration::from_millis(ms);
            assert!(
                ask(&mut all, now, || {
                    opened += 1;
                    Some(second.clone())
                })
                .is_some()
            );
        }
        assert_eq!(opened, 1);
        let late = ask(&mut all, start + 5 * SECOND, nothing).expect("the successor, open or not");
        assert!(Arc::ptr_eq(&late, &second));
    }

    #[test]
    fn the_old_one_is_used_until_the_new_one_is_open() {
        let (start, link) = (Instant::now(), link(None));
        let mut all = Connections::default();
        let (first, second) = (fake(&link, true, start), fake(&link, false, start + LIFE));
        all.add(first.clone());
        assert!(ask(&mut all, start, nothing).is_some());
        for _ in 0..10 {
            let old = ask(&mut all, start + LIFE, || Some(second.clone())).expect("the old one");
            assert!(Arc::ptr_eq(&old, &first) && !first.retired.load(Ordering::Relaxed));
        }
        second.open.store(true, Ordering::Relaxed);
        let new = ask(&mut all, start + LIFE, nothing).expect("the new one");
        assert!(Arc::ptr_eq(&new, &second) && first.retired.load(Ordering::Relaxed));
    }

    #[test]
    fn without_a_successor_the_old_one_stays_and_few_are_tried() {
        let (start, link) = (Instant::now(), link(None));
        let mut all = Connections::default();
        let first = fake(&link, true, start);
        all.add(first.clone());
        let mut tries = 0;
        for ms in (0..10_000).step_by(10) {
            let now = start + LIFE + Duration::from_millis(ms);
            let old = ask(&mut all, now, || {
                tries += 1;
                let failed = fake(&link, false, now);
                failed.broken.store(true, Ordering::Relaxed);
                Some(failed).filter(|_| tries % 2 == 0)
            });
            assert!(old.is_some_and(|old| Arc::ptr_eq(&old, &first)));
        }
        assert!((5..=11).contains(&tries), "{tries}");
    }

    #[test]
    fn several_share_the_load() {
        let (start, link) = (Instant::now(), link(None));
        let mut all = Connections::default();
        let both = [fake(&link, true, start), fake(&link, true, start)];
        both.iter().for_each(|one| all.add(one.clone()));
        let before = both.each_ref().map(|one| one.term.left());
        (0..40).for_each(|_| _ = ask(&mut all, start, nothing));
        let taken: Vec<u32> = both.iter().zip(before).map(|(one, before)| before - one.term.left()).collect();
        assert_eq!(taken.iter().sum::<u32>(), 40);
        assert!(both[0].term.left().abs_diff(both[1].term.left()) <= before[0].abs_diff(before[1]).max(1), "{taken:?}");
        both[0].load.store(1, Ordering::Relaxed);
        assert!(ask(&mut all, start, nothing).is_some_and(|one| Arc::ptr_eq(&one, &both[1])));
    }
}
