//! The machine of one kind: list, watch, and what to do when either stops.

use std::collections::HashSet;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

use super::super::decode::Keep;
use super::super::feed::{Closed, Feed};
use super::super::model::ObjectKey;
use super::super::store::Implausible;
use super::api::{Api, Failure, Heard, between};
use super::audit::{Audit, Claim, Due};
use super::list::probe;
use super::metrics::Counts;
use super::pace::{Pace, Relists};
use super::reading::Reading;
use super::resource::Resource;

/// One kind, listed and watched.
pub(super) struct Stream {
    pub(super) api: Arc<Api>,
    pub(super) resource: Arc<Resource>,
    pub(super) keep: Keep,
    pub(super) feed: Feed,
    pub(super) counts: Counts,
    /// When it last heard something.
    pub(super) heard: Arc<Heard>,
    /// What the watch has come to; nothing until a list has been read.
    pub(super) version: Option<Box<str>>,
    /// Why the next list is read.
    pub(super) gap: Option<Gap>,
    /// A list that was not believed.
    pub(super) held: Option<Held>,
    /// Objects whose flaws have been told.
    pub(super) bad: HashSet<ObjectKey>,
    pub(super) audit: Audit,
    pub(super) pace: Pace,
    pub(super) relists: Relists,
    /// What it last began was a streaming list.
    pub(super) streaming: bool,
    pub(super) missing_since: Option<Instant>,
    pub(super) told_missing: bool,
    /// What is wrong now, as lines about it are counted.
    pub(super) failing: Option<String>,
}

/// Why one cannot go on.
pub(super) enum Stop {
    /// Nobody wants to know any more.
    Closed,
    /// The server did not answer as it should.
    Failed(Failure),
    /// A watch came to its end in good order.
    Ended,
    /// A streaming list did not say that it is complete.
    NoBookmark,
    /// A list was not believed.
    Held(Implausible),
    /// The watch does not tell everything.
    Missed(Gap),
}

/// What an audit found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Gap {
    /// The watch did not come to the version of the collection.
    Late,
    /// There are so many more objects in the collection (or fewer).
    Count(i64),
    /// The collection is at an older version than the watch: the server's data were restored.
    Rewound,
}

/// A list that was not believed, and when that began.
#[derive(Clone, Copy)]
pub(super) struct Held {
    pub(super) since: Instant,
    pub(super) list: Implausible,
}

impl From<Closed> for Stop {
    fn from(_: Closed) -> Self {
        Self::Closed
    }
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failed(failure)
    }
}

impl Stream {
    pub(super) fn new(api: Arc<Api>, resource: Resource, keep: Keep, feed: Feed, counts: Counts) -> Self {
        let now = Instant::now();
        Self {
            audit: Audit::new(now, &api.timing),
            api,
            resource: Arc::new(resource),
            keep,
            feed,
            counts,
            heard: Arc::new(Heard::new()),
            version: None,
            gap: None,
            held: None,
            bad: HashSet::new(),
            pace: Pace::default(),
            relists: Relists::new(now),
            streaming: false,
            missing_since: None,
            told_missing: false,
            failing: None,
        }
    }

    /// Runs until nobody wants to know any more.
    pub(super) async fn run(mut self) {
        loop {
            // A list that was not believed is read from etcd; pages are.
            let pages = self.held.is_some() || self.api.pages_only.load(Ordering::Relaxed);
            self.streaming = self.version.is_none() && !pages;
            let stopped = match self.version.clone() {
                Some(version) => self.watch(&version).await,
                None if pages => self.list_pages().await,
                None => self.list_streaming().await,
            };
            if let Err(stop) = stopped
                && self.recover(stop).await.is_err()
            {
                return;
            }
        }
    }

    async fn watch(&mut self, version: &str) -> Result<(), Stop> {
        let life = between(self.api.timing.watch);
        let reading = self.api.open(&self.resource.watch(version, life.as_secs()), self.resource.accepted()).await?;
        self.follow(reading, life, false).await
    }

    async fn list_streaming(&mut self) -> Result<(), Stop> {
        let life = between(self.api.timing.watch);
        let reading = self.api.open(&self.resource.streaming_list(life.as_secs()), self.resource.accepted()).await?;
        self.feed.begin(self.resource.kind).await?;
        self.follow(reading, life, true).await
    }

    /// Reads a watch to its end. With `initial` it begins with a list.
    async fn follow(&mut self, mut reading: Reading, life: Duration, initial: bool) -> Result<(), Stop> {
        self.answered();
        self.audit.begin(Instant::now(), &self.api.timing);
        let mut state = Following::new(initial, life);
        let form = reading.form;
        loop {
            let wake = state.wake(self);
            tokio::select! {
                event = reading.event() => match event? {
                    Some(event) => {
                        state.heard = Instant::now();
                        self.pace.succeeded();
                        if !state.initial {
                            self.works();
                        }
                        self.event(event, form, &mut state).await?;
                    }
                    None if state.heard == state.began && state.began.elapsed() < Duration::from_secs(1) => {
                        return Err(Failure::Unreachable("the watch ended as soon as it began".to_owned()).into());
                    }
                    None if state.initial => {
                        return Err(Failure::Unreachable("a list broke off".to_owned()).into());
                    }
                    None => return Err(Stop::Ended),
                },
                claim = state.claim(), if state.asking.is_some() => {
                    state.asking = None;
                    self.claimed(claim, state.asked_at).await?;
                }
                () = sleep_until(wake) => self.awake(&mut state)?,
            }
        }
    }

    /// The server has begun to answer.
    pub(super) fn answered(&mut self) {
        self.heard.now();
        self.missing_since = None;
        if self.pace.is_outage() {
            // What came back may know less than what went away.
            self.audit.soon(Instant::now(), &self.api.timing);
        }
    }

    /// What the audit's question brought; the watch was at `asked_at` then.
    async fn claimed(&mut self, claim: Result<Option<Claim>, Failure>, asked_at: Option<u64>) -> Result<(), Stop> {
        let now = Instant::now();
        let claim = match claim {
            Ok(claim) => claim,
            // A server that does not answer is not one to wait for events of.
            Err(failure @ Failure::Unreachable(_)) => return Err(failure.into()),
            Err(failure) => {
                if matches!(failure, Failure::Refused { status: 403, .. }) {
                    self.tell_audit(&failure);
                }
                None
            }
        };
        let (Some(claim), Some(asked_at), Some(here)) = (claim, asked_at, self.number()) else {
            self.audit.later(now, &self.api.timing);
            return Ok(());
        };
        if asked_at > claim.version {
            return Err(Stop::Missed(Gap::Rewound));
        }
        if here > claim.version {
            // It is ahead already: alive, but the numbers cannot be compared any more.
            self.audit.later(now, &self.api.timing);
            return Ok(());
        }
        self.audit.claimed(claim, now, &self.api.timing);
        self.compare(here, false).await
    }

    /// The version as a number (Kubernetes promises that since 1.35; it always was one).
    fn number(&self) -> Option<u64> {
        self.version.as_ref()?.parse().ok()
    }

    /// It is time for something.
    fn awake(&mut self, state: &mut Following) -> Result<(), Stop> {
        let (now, timing) = (Instant::now(), &self.api.timing);
        if now >= state.ends {
            return Err(Failure::Unreachable("the watch did not end when it should".to_owned()).into());
        }
        if state.initial {
            return if now >= state.added + timing.bookmark { Err(Stop::NoBookmark) } else { Ok(()) };
        }
        let silent = now >= state.heard + timing.silence;
        if silent {
            // It is asked once for each silence.
            state.heard = now;
        }
        match self.audit.due(now, silent) {
            Due::Ask => {
                state.asked_at = self.number();
                let (api, resource) = (self.api.clone(), self.resource.clone());
                state.asking = Some(Box::pin(async move { probe(&api, &resource).await }));
            }
            Due::Late => return Err(Stop::Missed(Gap::Late)),
            Due::Nothing => {}
        }
        Ok(())
    }
}

//----------- Following ------------------------------------------------------

/// Where the reading of one watch stands.
pub(super) struct Following {
    /// The list at its beginning is not complete yet.
    pub(super) initial: bool,
    began: Instant,
    /// When the server should have ended it by.
    ends: Instant,
    /// The last event.
    heard: Instant,
    /// The last object of the list.
    pub(super) added: Instant,
    asking: Option<Asking>,
    /// The version of the watch when it began to ask.
    asked_at: Option<u64>,
}

type Asking = Pin<Box<dyn Future<Output = Result<Option<Claim>, Failure>> + Send>>;

impl Following {
    fn new(initial: bool, life: Duration) -> Self {
        let began = Instant::now();
        let ends = began + life + Duration::from_secs(30);
        Self { initial, began, ends, heard: began, added: began, asking: None, asked_at: None }
    }

    fn wake(&self, stream: &Stream) -> Instant {
        let timing = &stream.api.timing;
        if self.initial {
            return self.ends.min(self.added + timing.bookmark);
        }
        let wake = self.ends.min(self.heard + timing.silence);
        stream.audit.wake().map_or(wake, |audit| wake.min(audit))
    }

    async fn claim(&mut self) -> Result<Option<Claim>, Failure> {
        match &mut self.asking {
            Some(asking) => asking.await,
            None => Ok(None),
        }
    }
}
