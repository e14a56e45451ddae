//! Lists page by page, and what happens when a list is complete.

use tokio::time::Instant;

use super::super::prefix::FROM;
use super::event::Payload;
use super::phase::{Gap, Held, Phase, Stop};
use super::stream::Stream;
use crate::host::log;
use crate::plugins::kubernetes::known::store::Implausible;

/// Objects in a page.
const PAGE: u32 = 500;

impl Stream {
    /// Reads a list page by page.
    pub(super) async fn list_pages(&mut self) -> Result<(), Stop> {
        let (mut token, mut version) = (String::new(), None);
        loop {
            let (form, body) = self.api.fetch(&self.resource.page(PAGE, &token), self.resource.accepted()).await?;
            let page = form.page(&body)?;
            self.answered();
            self.pace.succeeded();
            if version.is_none() {
                version = Some(page.metadata.resource_version.unwrap_or_default());
                self.feed.begin(self.resource.kind).await?;
            }
            for item in page.items {
                self.change(Payload::Raw(item)).await?;
            }
            token = page.metadata.r#continue.unwrap_or_default();
            if token.is_empty() {
                return self.complete(version.unwrap_or_default()).await;
            }
        }
    }

    /// Takes in that a list is complete: it has come to `version`.
    pub(super) async fn complete(&mut self, version: Box<str>) -> Result<(), Stop> {
        let (kind, now) = (self.resource.kind, Instant::now());
        let (gap, held) = match self.phase {
            Phase::Listing { gap, held } => (gap, held),
            Phase::Watching { .. } => (None, None),
        };
        let overdue = held.is_some_and(|held| now >= held.since + self.api.timing.hold_max);
        let differing = match self.feed.end(kind, overdue).await? {
            Ok(differing) => differing,
            Err(list) if held.is_some_and(|held| is_like(held.list, list)) => {
                log::warning(
                    FROM,
                    format_args!("{} {} objects are gone: two lists say so", list.missing, self.resource.go_type),
                );
                self.feed.end(kind, true).await?.unwrap_or_default()
            }
            Err(list) => {
                let held = Held { since: held.map_or(now, |held| held.since), list };
                self.phase = Phase::Listing { gap, held: Some(held) };
                return Err(Stop::Held(list));
            }
        };
        self.phase = Phase::Watching { version };
        self.works();
        match gap {
            Some(gap) => self.repaired(gap, differing),
            None => self.audit.later(now, &self.api.timing),
        }
        Ok(())
    }

    fn repaired(&mut self, gap: Gap, differing: u64) {
        self.audit.relisted(gap == Gap::Late, differing, Instant::now(), &self.api.timing);
        if differing == 0 {
            return;
        }
        self.counts.repaired.add(differing);
        let go_type = self.resource.go_type;
        let why = match gap {
            Gap::Late => "it fell behind without an error".to_owned(),
            Gap::Count(more) if more > 0 => format!("it knew {more} objects too few"),
            Gap::Count(more) => format!("it knew {} objects too many", -more),
            Gap::Rewound => "the API server went back to an older state".to_owned(),
        };
        log::warning(
            FROM,
            format_args!("the watch of {go_type} was repaired by a new list, {differing} objects differed: {why}"),
        );
    }
}

/// Whether two lists say the same.
fn is_like(first: Implausible, second: Implausible) -> bool {
    first.missing.abs_diff(second.missing) <= (first.missing / 10).max(20)
}
