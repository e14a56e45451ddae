//! Shifts: connections take them one after the other, and between two shifts the worker looks for datagrams.
//!
//! A worker is one thread. Without shifts, each connection that has something to do would do all of it before a datagram
//! is served: sixty connections, each with answers of 64 KiB to make, to encrypt and to copy, are a delay that every
//! client of the worker notices. So what a connection does (TLS handshakes, decrypting, answering, encrypting, writing)
//! is polled under [`Shifts::work`]: one connection at a time, in the order in which they came. When [`SLICE`] is used
//! up, by one connection or by many, the next shift is given after the runtime has polled the sockets once and has
//! served the datagrams that had arrived.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore};
use tokio::task::yield_now;

/// Time that connections may use before datagrams are looked for. What is begun is finished: a slice is longer by the
/// last message or by one write.
const SLICE: Duration = Duration::from_micros(250);

/// The shifts of one worker.
pub(super) struct Shifts {
    /// One permit, given in the order of asking.
    order: Semaphore,
    /// The slice is used up, and the permit is with [`Shifts::pace`].
    tired: Notify,
    slice: Duration,
    /// When the present shift began.
    began: Cell<Instant>,
    /// What the shifts before it have used of the slice.
    spent: Cell<Duration>,
    /// The present shift has more to do and stops for now.
    paused: Cell<bool>,
}

impl Default for Shifts {
    fn default() -> Self {
        Self::new(SLICE)
    }
}

impl Shifts {
    /// Shifts with slices of this length.
    pub(super) fn new(slice: Duration) -> Self {
        Self {
            order: Semaphore::new(1),
            tired: Notify::new(),
            slice,
            began: Cell::new(Instant::now()),
            spent: Cell::new(Duration::ZERO),
            paused: Cell::new(false),
        }
    }

    /// Begins a new slice each time that one is used up, once the datagrams that had arrived are served. Runs as a task
    /// of its own for as long as the worker lives: no other event wakes it, so that its yield always lasts until the
    /// runtime has polled the sockets.
    pub(super) async fn pace(&self) {
        loop {
            self.tired.notified().await;
            yield_now().await;
            self.spent.set(Duration::ZERO);
            self.order.add_permits(1);
        }
    }

    /// Runs `work` to its end; each time that it is polled it has to wait for its shift.
    pub(super) async fn work<F: Future>(&self, work: F) -> F::Output {
        let mut work = pin!(work);
        loop {
            let shift = self.order.acquire().await;
            self.began.set(Instant::now());
            let polled = poll_fn(|context| Poll::Ready(work.as_mut().poll(context))).await;
            let spent = self.spent.get() + self.began.get().elapsed();
            self.spent.set(spent);
            let (is_over, goes_on) = (spent >= self.slice, self.paused.take());
            match shift {
                Ok(shift) if is_over => {
                    shift.forget();
                    self.tired.notify_one();
                }
                shift => drop(shift),
            }
            match polled {
                Poll::Ready(output) => return output,
                // What woke the task while it waited for its shift is not known, so that `work` has to look itself.
                Poll::Pending if is_over || goes_on => {}
                Poll::Pending => woken().await,
            }
        }
    }

    /// Whether the slice is used up. To be asked inside of [`Shifts::work`].
    pub(super) fn is_over(&self) -> bool {
        self.spent.get() + self.began.get().elapsed() >= self.slice
    }

    /// Stops until the next shift. To be awaited inside of [`Shifts::work`].
    pub(super) async fn pause(&self) {
        self.paused.set(true);
        woken().await;
    }
}

/// Waits until the task is polled once more.
async fn woken() {
    let mut is_first = true;
    poll_fn(|_| if std::mem::take(&mut is_first) { Poll::Pending } else { Poll::Ready(()) }).await;
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;
    use std::rc::Rc;

    use tokio::task::{LocalSet, spawn_local};

    use super::*;

    /// Runs `tasks` pieces of work of so many steps each beside something that is ready whenever the sockets were
    /// polled, and tells the order in which they ran: numbers for the pieces, `None` for the other.
    async fn order(slice: Duration, tasks: usize, steps: usize) -> Vec<Option<usize>> {
        let (shifts, seen) = (Rc::new(Shifts::new(slice)), Rc::new(RefCell::new(Vec::new())));
        let pacer = spawn_local({
            let shifts = shifts.clone();
            async move { shifts.pace().await }
        });
        let datagrams = spawn_local({
            let seen = seen.clone();
            async move {
                loop {
                    yield_now().await;
                    seen.borrow_mut().push(None);
                }
            }
        });
        let work = |number: usize| {
            let (shifts, seen) = (shifts.clone(), seen.clone());
            spawn_local(async move {
                let steps = async {
                    for _ in 0..steps {
                        seen.borrow_mut().push(Some(number));
                        if shifts.is_over() {
                            shifts.pause().await;
                        }
                    }
                };
                shifts.work(steps).await;
            })
        };
        for task in (0..tasks).map(work).collect::<Vec<_>>() {
            task.await.expect("no panic");
        }
        pacer.abort();
        datagrams.abort();
        seen.take()
    }

    /// With slices of no length at all each step uses one up.
    #[tokio::test]
    async fn datagrams_are_looked_for_between_any_two_slices() {
        let seen = LocalSet::new().run_until(order(Duration::ZERO, 3, 4)).await;
        let steps: Vec<_> = seen.iter().flatten().copied().collect();
        // The first one asks for its second shift before the others are there.
        assert_eq!(steps[1..7], [0, 1, 2, 0, 1, 2], "one after the other");
        let mut between = seen.split(Option::is_some).skip(1).take(steps.len() - 1);
        assert!(between.all(|pause| !pause.is_empty()), "{seen:?}");
    }

    #[tokio::test]
    async fn short_work_is_not_held_up() {
        let seen = LocalSet::new().run_until(order(Duration::from_secs(60), 3, 4)).await;
        let first = seen.iter().position(Option::is_none).unwrap_or(seen.len());
        assert!(seen[..first].iter().flatten().eq(&[0, 0, 0, 0, 1, 1, 1, 1, 2, 2, 2, 2]), "{seen:?}");
    }

    /// A piece that waits for something else is polled when that has come, and holds nobody up meanwhile.
    #[tokio::test]
    async fn who_waits_lets_others_pass() {
        let shifts = Rc::new(Shifts::new(Duration::from_secs(60)));
        let come = Rc::new(Notify::new());
        LocalSet::new()
            .run_until(async {
                let (waiting, coming) = (shifts.clone(), come.clone());
                let waits = spawn_local(async move { waiting.work(coming.notified()).await });
                yield_now().await;
                shifts.work(async {}).await;
                come.notify_one();
                waits.await.expect("no panic");
            })
            .await;
    }
}
