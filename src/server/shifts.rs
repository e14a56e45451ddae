//! Shifts: connections take turns, and between shifts the worker looks for datagrams.
//!
//! A worker is one thread. Without shifts, every connection would finish all its work before the
//! next datagram is served. Sixty connections, each with answers of 64 KiB to make, encrypt and
//! copy, are a delay that every client of the worker notices. So the work of a connection (TLS
//! handshakes, decrypting, answering, encrypting, writing) is polled under [`Shifts::work`]: one
//! connection at a time, in order of arrival. When [`SLICE`] is used up, by one connection or by
//! many, the next shift starts after the runtime has polled the sockets once and has served the
//! datagrams that had arrived.

use std::cell::Cell;
use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;
use std::time::{Duration, Instant};

use tokio::sync::{Notify, Semaphore};
use tokio::task::yield_now;

/// Time that connections may use before the worker looks for datagrams. Work in progress is
/// finished: a slice is longer by the last message or by one write.
const SLICE: Duration = Duration::from_micros(250);

/// The shifts of one worker.
pub(super) struct Shifts {
    /// One permit, granted in the order of requests.
    order: Semaphore,
    /// Notified when the slice is used up and the permit is with [`Shifts::pace`].
    tired: Notify,
    slice: Duration,
    /// When the current shift began.
    began: Cell<Instant>,
    /// The part of the slice that earlier shifts have used.
    spent: Cell<Duration>,
    /// The current shift has more to do and pauses.
    paused: Cell<bool>,
}

impl Default for Shifts {
    fn default() -> Self {
        Self::new(SLICE)
    }
}

impl Shifts {
    /// Returns shifts with slices of this length.
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

    /// Begins a new slice each time one is used up, after the arrived datagrams are served. It runs
    /// as a task of its own while the worker lives. No other event wakes this task, so its yield
    /// always lasts until the runtime has polled the sockets.
    pub(super) async fn pace(&self) {
        loop {
            self.tired.notified().await;
            yield_now().await;
            self.spent.set(Duration::ZERO);
            self.order.add_permits(1);
        }
    }

    /// Runs `work` to completion; each poll waits for a shift.
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
                // Events that woke the task while it waited for its shift are unknown, so `work` is
                // polled.
                Poll::Pending if is_over || goes_on => {}
                Poll::Pending => woken().await,
            }
        }
    }

    /// Returns whether the slice is used up. Call it inside [`Shifts::work`].
    pub(super) fn is_over(&self) -> bool {
        self.spent.get() + self.began.get().elapsed() >= self.slice
    }

    /// Pauses until the next shift. Await it inside [`Shifts::work`].
    pub(super) async fn pause(&self) {
        self.paused.set(true);
        woken().await;
    }
}

/// Waits until the task is polled again.
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

    /// Runs `tasks` pieces of work of `steps` steps each, beside a task that is ready whenever the
    /// sockets were polled. Returns the order in which they ran: numbers for the pieces, `None` for
    /// the other task.
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

    /// With slices of zero length, each step uses one up.
    #[tokio::test]
    async fn datagrams_are_looked_for_between_any_two_slices() {
        let seen = LocalSet::new().run_until(order(Duration::ZERO, 3, 4)).await;
        let steps: Vec<_> = seen.iter().flatten().copied().collect();
        // The first task asks for its second shift before the others have started.
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

    /// Work that waits for an event is polled when the event comes, and blocks no other work.
    #[tokio::test]
    async fn waiting_work_lets_others_pass() {
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
