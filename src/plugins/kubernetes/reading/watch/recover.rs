//! What to do when a list or a watch stops, and what is said of it.

use std::sync::atomic::Ordering;

use tokio::time::{Instant, sleep};

use super::super::feed::Closed;
use super::super::prefix::FROM;
use super::failure::Failure;
use super::pace::Absent;
use super::phase::{Attempt, Phase, Stop};
use super::resource::Resource;
use super::stream::Stream;
use super::timing::between;
use super::words::Words;
use crate::host::log;
use crate::plugins::kubernetes::known::store::Implausible;

impl Stream {
    /// Waits and decides what comes next.
    pub(super) async fn recover(&mut self, stop: Stop, attempt: Attempt) -> Result<(), Closed> {
        let now = Instant::now();
        match stop {
            Stop::Closed => return Err(Closed),
            Stop::Ended => {}
            Stop::NoBookmark => self.only_pages("the list did not end"),
            Stop::Held(list) => self.hold(list).await,
            Stop::Missed(gap) => {
                self.phase = Phase::Listing { gap: Some(gap), held: None };
                sleep(self.relists.wait(now, &self.api.timing)).await;
            }
            Stop::Failed(Failure::Gone(_)) => {
                self.phase.expire();
                sleep(self.relists.wait(now, &self.api.timing)).await;
            }
            Stop::Failed(Failure::Refused { status: 400 | 405 | 406 | 415 | 422, message, .. })
                if attempt == Attempt::StreamingList =>
            {
                self.only_pages(&message);
            }
            Stop::Failed(Failure::Refused { status: 404, .. }) if self.resource.is_optional() => {
                self.missing(now).await?;
            }
            Stop::Failed(failure) => {
                if matches!(failure, Failure::Unreachable(_)) {
                    self.relists.server_was_away(now);
                }
                let wait = self.pace.failed(&failure, now, &self.api.timing, fastrand::f64());
                self.tell(&failure, attempt);
                sleep(wait).await;
            }
        }
        Ok(())
    }

    fn only_pages(&self, why: &str) {
        if !self.api.pages_only.swap(true, Ordering::Relaxed) {
            log::info(FROM, format_args!("the Kubernetes API server offers no streaming lists ({why}): reading pages"));
        }
    }

    async fn hold(&self, list: Implausible) {
        let (go_type, Implausible { known, missing }) = (self.resource.go_type, list);
        log::warning(
            FROM,
            format_args!(
                "a list of {go_type} lacks {missing} of {known} known objects: reading it again before believing it"
            ),
        );
        self.counts.held.inc();
        sleep(self.api.timing.hold).await;
    }

    /// The collection does not exist. It may be that the server is only starting.
    async fn missing(&mut self, now: Instant) -> Result<(), Closed> {
        let (kind, timing) = (self.resource.kind, self.api.timing.clone());
        let absent = self.absence.lasts(now, &timing);
        if absent == Absent::Briefly {
            sleep(between(&timing.retry)).await;
            return Ok(());
        }
        self.heard.now();
        if absent == Absent::First {
            let Resource { plural, group, .. } = &*self.resource;
            log::info(FROM, format_args!("this cluster has no {plural}.{group}: multicluster zones are empty for now"));
            self.feed.begin(kind).await?;
            // Not to be believed if there were some before.
            let _ = self.feed.end(kind, false).await?;
        }
        sleep(timing.backoff_max).await;
        Ok(())
    }

    /// Says what is wrong, where `/ready` finds it and in the log.
    fn tell(&mut self, failure: &Failure, attempt: Attempt) {
        let now = Instant::now();
        let Resource { kind, plural, go_type, .. } = *self.resource;
        let words = Words::of(failure, &self.resource, attempt.verb(), &self.api.server);
        self.feed.troubles.set(kind, &words.alone());
        // All streams have the same server and the same credentials.
        let topic = match failure {
            Failure::Unreachable(_) => SERVER.to_owned(),
            Failure::Refused { status: 401, .. } => failure.class(),
            _ => format!("{plural} {}", failure.class()),
        };
        if let Some(before) = self.failing.replace(topic.clone())
            && before != topic
        {
            self.api.repeats.end(&before, now);
        }
        if let Some(held_back) = self.api.repeats.allow(&topic, now) {
            let stays = if self.phase.is_listing() { "" } else { "; what is known stays" };
            log::error(FROM, format_args!("Failed to watch {go_type}: {words}{stays}{held_back}"));
        }
    }

    /// A watch cannot be compared with the collection. It goes on, but changes that it misses are
    /// not noticed.
    pub(super) fn tell_audit(&self, failure: &Failure) {
        let words = Words::of(failure, &self.resource, Attempt::Pages.verb(), &self.api.server);
        let Resource { plural, go_type, .. } = *self.resource;
        if let Some(held_back) = self.api.repeats.allow(&format!("{plural} audit"), Instant::now()) {
            log::warning(FROM, format_args!("{go_type} is watched but cannot be compared: {words}{held_back}"));
        }
    }

    /// A list was read, or a watch tells something: what was wrong is over.
    pub(super) fn works(&mut self) {
        let Some(topic) = self.failing.take() else { return };
        self.feed.troubles.clear(self.resource.kind);
        let Some(after) = self.api.repeats.end(&topic, Instant::now()) else { return };
        let seconds = after.as_secs();
        match &*topic {
            SERVER => log::info(FROM, format_args!("{} is reached again, after {seconds}s", self.api.server.url)),
            _ => log::info(FROM, format_args!("The watch of {} works, after {seconds}s", self.resource.go_type)),
        }
    }
}

/// What lines about a server that is not reached are about.
const SERVER: &str = "server";
