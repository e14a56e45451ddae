//! Slow pages are made one at a time, and shared by all requests that wait for one.
//!
//! A page is never older than the request: making it starts after the request arrived. So at most
//! two pages are needed at a time, the one that is being made and the next one, however many
//! requests wait. Only while all places for connections are taken is the newest existing page sent
//! at once, because waiting clients would lose their places.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use hyper::body::Bytes;
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::Page;

/// Pause after a page, as a multiple of the time that it took: a client that asks all the time
/// costs at most a quarter of a core.
const REST: u32 = 3;

/// The longest pause.
const LONGEST_REST: Duration = Duration::from_millis(250);

/// While all places are taken: the oldest page that may be sent. A new one is made meanwhile.
const OLDEST: Duration = Duration::from_secs(10);
const RENEWED: Duration = Duration::from_secs(1);

/// A finished page: status code, content type and body.
pub(super) type Sheet = (u16, &'static str, Bytes);

/// Makes the page of one path.
pub(super) type Make = Arc<dyn Fn() -> Page + Send + Sync>;

/// Makes one page at a time.
pub(super) struct Press {
    pub(super) make: Make,
    /// The next page, until making it starts.
    next: Mutex<Option<watch::Receiver<Option<Sheet>>>>,
    /// Held while a page is made; says from when the next one may start.
    turn: tokio::sync::Mutex<Option<Instant>>,
    /// The newest page, and when making it started.
    last: Mutex<Option<(Instant, Sheet)>>,
}

impl Press {
    pub(super) fn new(make: Make) -> Self {
        Self { make, next: Mutex::default(), turn: tokio::sync::Mutex::default(), last: Mutex::default() }
    }

    /// Returns a page whose making starts after this call, or, with `at_once`, an existing one.
    /// Returns `None` if making it panicked.
    pub(super) async fn sheet(self: &Arc<Self>, at_once: bool) -> Option<Sheet> {
        if at_once && let Some((age, sheet)) = self.last().filter(|(age, _)| *age <= OLDEST) {
            if age > RENEWED {
                self.renew();
            }
            return Some(sheet);
        }
        let mut sheet = self.order();
        let made = sheet.wait_for(Option::is_some).await.ok()?;
        made.clone()
    }

    /// Returns the newest page and its age.
    fn last(&self) -> Option<(Duration, Sheet)> {
        let last = self.last.lock().unwrap_or_else(PoisonError::into_inner);
        last.as_ref().map(|(begun, sheet)| (begun.elapsed(), sheet.clone()))
    }

    /// Makes a page for later requests, unless one is being made.
    fn renew(self: &Arc<Self>) {
        let is_ordered = self.next.lock().unwrap_or_else(PoisonError::into_inner).is_some();
        if !is_ordered && self.turn.try_lock().is_ok() {
            let mut ordered = self.order();
            tokio::spawn(async move { ordered.wait_for(Option::is_some).await.is_ok() });
        }
    }

    fn order(self: &Arc<Self>) -> watch::Receiver<Option<Sheet>> {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(ordered) = &*next {
            return ordered.clone();
        }
        let (done, ordered) = watch::channel(None);
        // A task of its own, so that it goes on if the first client closes its connection.
        tokio::spawn(self.clone().print(done));
        next.insert(ordered).clone()
    }

    async fn print(self: Arc<Self>, done: watch::Sender<Option<Sheet>>) {
        let mut turn = self.turn.lock().await;
        if let Some(rested) = *turn {
            sleep_until(rested).await;
        }
        // Requests from here on may ask about later changes, so they need the next page.
        self.next.lock().unwrap_or_else(PoisonError::into_inner).take();
        if done.is_closed() {
            return;
        }
        let (make, begun) = (self.make.clone(), Instant::now());
        let made = tokio::task::spawn_blocking(move || make()).await;
        let ended = Instant::now();
        *turn = Some(ended + ((ended - begun) * REST).min(LONGEST_REST));
        if let Ok((status, kind, body)) = made {
            let sheet: Sheet = (status, kind, body.into());
            *self.last.lock().unwrap_or_else(PoisonError::into_inner) = Some((begun, sheet.clone()));
            done.send_replace(Some(sheet));
        }
    }
}
