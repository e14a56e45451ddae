//! The one task that owns a [`Store`]: it takes in the objects of all streams, and publishes
//! answers.
//!
//! A change is published at once. Under a flood publishing may take a fifth of the time at most, so
//! that a list of 150,000 objects does not copy the growing tables a thousand times, and nothing
//! waits longer than it must.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use crate::plugins::kubernetes::known::model::{Kind, News, ObjectKey};
use crate::plugins::kubernetes::known::store::{Implausible, Store};
use crate::plugins::kubernetes::known::troubles::Troubles;

/// Events that may wait; streams wait when there are more.
const ROOM: usize = 1024;
/// After a publication the next one waits for this many times as long as it took …
const SHARE: u32 = 4;
/// … and at least this long while not everything has been read once: each time the growing tables
/// are copied, and stand in memory twice.
const FIRST: Duration = Duration::from_millis(200);

/// What streams tell.
#[derive(Debug)]
enum Event {
    /// A list begins.
    Begin(Kind),
    /// An object of a list or of a change.
    News(Kind, News),
    /// A list is complete.
    End {
        /// Of this kind.
        kind: Kind,
        /// Whether to believe it even if it is [`Implausible`].
        believe: bool,
        /// How many objects differed from what was known, once the list is published.
        verdict: oneshot::Sender<Result<u64, Implausible>>,
    },
    /// A question: how many objects are known.
    Count(Kind, oneshot::Sender<usize>),
}

/// Where streams tell what they read.
#[derive(Clone)]
pub struct Feed {
    events: mpsc::Sender<Event>,
    /// Why what they read does not come.
    pub troubles: Arc<Troubles>,
}

/// The task of the store has ended, and with it the reason to go on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Closed;

impl Feed {
    /// A list of `kind` begins.
    ///
    /// # Errors
    /// Here and below: when the task of the store has ended.
    pub async fn begin(&self, kind: Kind) -> Result<(), Closed> {
        self.send(Event::Begin(kind)).await
    }

    /// An object was read.
    pub async fn object(&self, kind: Kind, news: News) -> Result<(), Closed> {
        self.send(Event::News(kind, news)).await
    }

    /// An object was deleted.
    pub async fn gone(&self, kind: Kind, key: ObjectKey) -> Result<(), Closed> {
        self.object(kind, News::Gone(key)).await
    }

    /// A list is complete; says how many objects differed from what was known.
    pub async fn end(&self, kind: Kind, believe: bool) -> Result<Result<u64, Implausible>, Closed> {
        let (verdict, answer) = oneshot::channel();
        self.send(Event::End { kind, believe, verdict }).await?;
        answer.await.map_err(|_| Closed)
    }

    /// How many objects are known when everything told so far has been taken in.
    pub async fn count(&self, kind: Kind) -> Result<usize, Closed> {
        let (count, answer) = oneshot::channel();
        self.send(Event::Count(kind, count)).await?;
        answer.await.map_err(|_| Closed)
    }

    async fn send(&self, event: Event) -> Result<(), Closed> {
        self.events.send(event).await.map_err(|_| Closed)
    }
}

/// A feed, and the task that takes in what it is told until its last owner is gone.
pub fn feed(store: Store) -> (Feed, impl Future<Output = ()> + Send) {
    let (sender, events) = mpsc::channel(ROOM);
    let troubles = store.index().troubles.clone();
    (Feed { events: sender, troubles }, run(Intake { store, differing: BTreeMap::new(), dirty: false }, events))
}

async fn run(mut intake: Intake, mut events: mpsc::Receiver<Event>) {
    let mut batch = Vec::with_capacity(ROOM);
    let mut due = Instant::now();
    loop {
        let received = if intake.dirty {
            tokio::select! {
                received = events.recv_many(&mut batch, ROOM) => received,
                () = tokio::time::sleep_until(due) => {
                    due = intake.publish();
                    continue;
                }
            }
        } else {
            events.recv_many(&mut batch, ROOM).await
        };
        if received == 0 {
            break;
        }
        for event in batch.drain(..) {
            if let Some(next) = intake.take(event) {
                due = next;
            }
        }
        if intake.dirty && Instant::now() >= due {
            due = intake.publish();
        }
    }
}

struct Intake {
    store: Store,
    /// For each list that has begun: objects of its kind that changed since.
    differing: BTreeMap<Kind, u64>,
    dirty: bool,
}

impl Intake {
    /// Takes in an event; when it made everything public, says when to publish next.
    fn take(&mut self, event: Event) -> Option<Instant> {
        match event {
            Event::Begin(kind) => {
                self.store.begin(kind);
                self.differing.insert(kind, 0);
            }
            Event::News(kind, news) => {
                self.count_changes(kind, |store| match news {
                    News::Is(object) => store.apply(kind, object),
                    News::Kept(key) => store.touch(kind, &key),
                    News::Gone(key) => store.delete(kind, &key),
                });
            }
            Event::End { kind, believe, verdict } => {
                let result = self.count_changes(kind, |store| store.end(kind, believe));
                let result = result.map(|()| self.differing.remove(&kind).unwrap_or_default());
                // A list without objects changes nothing, but completes its kind.
                let next = self.publish();
                // The stream that asked may have ended.
                let _ = verdict.send(result);
                return Some(next);
            }
            Event::Count(kind, count) => {
                let _ = count.send(self.store.count(kind));
            }
        }
        None
    }

    fn count_changes<R>(&mut self, kind: Kind, change: impl FnOnce(&mut Store) -> R) -> R {
        let before = self.store.changes();
        let result = change(&mut self.store);
        let changes = self.store.changes() - before;
        self.dirty |= changes > 0;
        if let Some(differing) = self.differing.get_mut(&kind) {
            *differing += changes;
        }
        result
    }

    /// Publishes; says when to do it again at the earliest.
    fn publish(&mut self) -> Instant {
        let began = Instant::now();
        self.store.publish();
        self.dirty = false;
        let least = if self.store.is_synced() { Duration::ZERO } else { FIRST };
        Instant::now() + least.max(began.elapsed() * SHARE)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::plugins::kubernetes::known::index::Index;
    use crate::plugins::kubernetes::known::model::Object;

    fn namespace(name: &str) -> News {
        News::Is(Object::Namespace(name.into()))
    }

    #[tokio::test]
    async fn changes_are_published_and_lists_are_counted() {
        let index = Arc::new(Index::default());
        let (feed, task) = feed(Store::new(index.clone(), 5, &[Kind::Namespace], None));
        let task = tokio::spawn(task);
        feed.begin(Kind::Namespace).await.expect("open");
        feed.object(Kind::Namespace, namespace("a")).await.expect("open");
        feed.object(Kind::Namespace, namespace("b")).await.expect("open");
        assert_eq!(feed.end(Kind::Namespace, false).await, Ok(Ok(2)));
        assert!(index.is_synced() && index.has_namespace(b"a"));
        feed.object(Kind::Namespace, namespace("c")).await.expect("open");
        assert_eq!(feed.count(Kind::Namespace).await, Ok(3));
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(index.has_namespace(b"c"));
        feed.begin(Kind::Namespace).await.expect("open");
        for name in ["a", "c", "d"] {
            feed.object(Kind::Namespace, namespace(name)).await.expect("open");
        }
        assert_eq!(feed.end(Kind::Namespace, false).await, Ok(Ok(2)), "b is gone, d is new");
        assert!(!index.has_namespace(b"b") && index.has_namespace(b"d"));
        drop(feed);
        task.await.expect("the task ends with its last feed");
    }

    #[test]
    fn the_next_publication_waits_as_long_as_the_last_one_took() {
        let store = Store::new(Arc::new(Index::default()), 5, &[Kind::Namespace], None);
        let mut intake = Intake { store, differing: BTreeMap::new(), dirty: false };
        intake.take(Event::News(Kind::Namespace, namespace("a")));
        let began = Instant::now();
        assert!(intake.publish() >= began + FIRST, "a first list");
        intake.take(Event::Begin(Kind::Namespace));
        let (verdict, _) = oneshot::channel();
        assert!(intake.take(Event::End { kind: Kind::Namespace, believe: true, verdict }).is_some());
        intake.take(Event::News(Kind::Namespace, namespace("b")));
        let began = Instant::now();
        let due = intake.publish();
        assert!(due <= began + began.elapsed() * (1 + SHARE), "nothing but the time that was spent makes it wait");
    }
}
