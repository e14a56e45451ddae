//! The machine of one kind: list, watch, and what to do when either stops.

use std::collections::HashSet;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use tokio::time::Instant;

use super::super::decode::Keep;
use super::super::feed::Feed;
use super::api::Api;
use super::audit::Audit;
use super::metrics::Counts;
use super::pace::{Absence, Pace, Relists};
use super::phase::{Attempt, Phase, Stop};
use super::resource::Resource;
use super::silence::Heard;
use super::timing::between;
use crate::plugins::kubernetes::known::model::ObjectKey;

/// One kind, listed and watched.
pub(super) struct Stream {
    pub(super) api: Arc<Api>,
    pub(super) resource: Arc<Resource>,
    pub(super) keep: Keep,
    pub(super) feed: Feed,
    pub(super) counts: Counts,
    /// When it last heard something.
    pub(super) heard: Arc<Heard>,
    pub(super) phase: Phase,
    /// Objects whose flaws have been told.
    pub(super) bad: HashSet<ObjectKey>,
    pub(super) audit: Audit,
    pub(super) pace: Pace,
    pub(super) relists: Relists,
    pub(super) absence: Absence,
    /// What is wrong now, as lines about it are counted.
    pub(super) failing: Option<String>,
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
            phase: Phase::FIRST,
            bad: HashSet::new(),
            pace: Pace::default(),
            relists: Relists::new(now),
            absence: Absence::default(),
            failing: None,
        }
    }

    /// Runs until the store has ended.
    pub(super) async fn run(mut self) {
        loop {
            let attempt = Attempt::of(&self.phase, self.api.pages_only.load(Ordering::Relaxed));
            let ended = match attempt {
                Attempt::Watch | Attempt::StreamingList => self.watch().await,
                Attempt::Pages => self.list_pages().await,
            };
            if let Err(stop) = ended
                && self.recover(stop, attempt).await.is_err()
            {
                return;
            }
        }
    }

    /// Watches from the version that is known, or from the beginning: then the watch begins with a
    /// list.
    async fn watch(&mut self) -> Result<(), Stop> {
        let life = between(&self.api.timing.watch);
        let url = match &self.phase {
            Phase::Watching { version } => self.resource.watch(version, life.as_secs()),
            Phase::Listing { .. } => self.resource.streaming_list(life.as_secs()),
        };
        let body = self.api.open(&url, self.resource.accepted()).await?;
        if self.phase.is_listing() {
            self.feed.begin(self.resource.kind).await?;
        }
        self.follow(body, life).await
    }

    /// The server has begun to answer.
    pub(super) fn answered(&mut self) {
        self.heard.now();
        self.absence.over();
        if self.pace.is_outage() {
            // A server that comes back may know less than it did before.
            self.audit.soon(Instant::now(), &self.api.timing);
        }
    }
}
