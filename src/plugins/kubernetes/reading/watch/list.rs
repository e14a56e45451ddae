//! Lists page by page, the objects of lists and watches, and what happens when a list is complete.

use tokio::time::Instant;

use super::super::decode::Found;
use super::super::model::ObjectKey;
use super::super::source::FROM;
use super::super::store::Implausible;
use super::api::{Api, Failure};
use super::audit::Claim;
use super::event::{self, Payload};
use super::form::{Form, Page, Raw};
use super::resource::Resource;
use super::stream::{Following, Gap, Held, Stop, Stream};
use crate::host::log;

/// Objects in a page.
const PAGE: u32 = 500;
/// Bad objects that are remembered, so that each is told once.
const BAD: usize = 1000;

/// Asks for version and size of a collection.
pub(super) async fn probe(api: &Api, resource: &Resource) -> Result<Option<Claim>, Failure> {
    let (form, body) = api.fetch(&resource.probe(), resource.accepted()).await?;
    let Page { metadata, items } = form.page(&body)?;
    let here = items.len() as i64;
    let complete = metadata.r#continue.is_none_or(|token| token.is_empty());
    let count = if complete { Some(here) } else { metadata.remaining_item_count.map(|rest| here + rest) };
    let version = metadata.resource_version.and_then(|version| version.parse().ok());
    Ok(version.map(|version| Claim { version, count: count.filter(|_| resource.is_whole()) }))
}

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
                self.change(Payload::Raw(item), true).await?;
            }
            token = page.metadata.r#continue.unwrap_or_default();
            if token.is_empty() {
                return self.complete(version.unwrap_or_default()).await;
            }
        }
    }

    /// Takes in an event of a watch.
    pub(super) async fn event(&mut self, event: &[u8], form: Form, state: &mut Following) -> Result<(), Stop> {
        self.heard.now();
        let is_empty = event.trim_ascii().is_empty();
        let Some(event) = event::read(event, form, self.resource.kind, self.keep) else {
            if !is_empty {
                self.flawed(None, "an event that cannot be read");
            }
            return Ok(());
        };
        match &*event.r#type {
            "ADDED" | "MODIFIED" => {
                if &*event.r#type == "ADDED" {
                    state.added = Instant::now();
                }
                self.change(event.object, state.initial).await
            }
            "DELETED" => self.gone(event.object.raw(), state.initial).await,
            "BOOKMARK" => {
                let Some(bookmark) = event.object.raw().identify() else { return Ok(()) };
                if state.initial {
                    if bookmark.ends_initial_events {
                        state.initial = false;
                        self.complete(bookmark.version).await?;
                    }
                    return Ok(());
                }
                if let Ok(version) = bookmark.version.parse() {
                    self.compare(version, false).await?;
                }
                self.version = Some(bookmark.version);
                Ok(())
            }
            "ERROR" => Err(event.object.raw().status().into_failure(200, None).into()),
            _ => Ok(()),
        }
    }

    /// An object is new or different.
    async fn change(&mut self, object: Payload<'_>, initial: bool) -> Result<(), Stop> {
        let (found, version) = self.read(object);
        if !initial {
            self.before(&version).await?;
        }
        if let Some(found) = found {
            self.feed.found(self.resource.kind, found).await?;
        }
        if initial { Ok(()) } else { self.after(version).await }
    }

    /// An object is gone.
    async fn gone(&mut self, object: Raw<'_>, initial: bool) -> Result<(), Stop> {
        let Some(identity) = object.identify() else {
            self.flawed(None, "an object without a name is gone");
            return Ok(());
        };
        if !initial {
            self.before(&identity.version).await?;
        }
        self.bad.remove(&identity.key);
        self.feed.gone(self.resource.kind, identity.key).await?;
        if initial { Ok(()) } else { self.after(identity.version).await }
    }

    /// The watch is about to come to a version.
    async fn before(&mut self, version: &str) -> Result<(), Stop> {
        match version.parse() {
            Ok(version) if self.audit.is_awaiting() => self.compare(version, true).await,
            _ => Ok(()),
        }
    }

    /// The watch has come to a version.
    async fn after(&mut self, version: Box<str>) -> Result<(), Stop> {
        if version.is_empty() {
            return Ok(());
        }
        if let Ok(number) = version.parse() {
            self.compare(number, false).await?;
        }
        self.version = Some(version);
        Ok(())
    }

    /// Reads an object of a list or a watch, as far as it is good; with its version.
    fn read(&mut self, object: Payload<'_>) -> (Option<Found>, Box<str>) {
        let decoded = match object {
            Payload::Decoded(decoded) => Ok(decoded),
            Payload::Raw(raw) => raw.decode(self.resource.kind, self.keep).map_err(|error| (error, raw)),
        };
        match decoded {
            Ok(decoded) => {
                match decoded.flaw {
                    Some(flaw) => self.flawed(Some(key(&decoded.found)), &flaw),
                    None if self.bad.is_empty() => {}
                    None => {
                        self.bad.remove(&key(&decoded.found));
                    }
                }
                (Some(decoded.found), decoded.version)
            }
            Err((error, raw)) => {
                let identity = raw.identify().filter(|identity| !identity.key.name.is_empty());
                self.flawed(identity.as_ref().map(|identity| identity.key.clone()), &error);
                let Some(identity) = identity else { return (None, Box::default()) };
                (Some(Found::Kept(identity.key)), identity.version)
            }
        }
    }

    /// An object is not as it should be.
    fn flawed(&mut self, key: Option<ObjectKey>, flaw: &str) {
        self.counts.bad.inc();
        let go_type = self.resource.go_type;
        match key {
            Some(key) if self.bad.len() < BAD && !self.bad.contains(&key) => {
                let ObjectKey { namespace, name } = &key;
                log::warning(FROM, format_args!("{go_type} {namespace}/{name} is used only in part: {flaw}"));
                self.bad.insert(key);
            }
            Some(_) => {}
            None => {
                if let Some(held_back) = self.api.repeats.allow(&format!("{go_type} unreadable"), Instant::now()) {
                    log::warning(FROM, format_args!("{go_type}: {flaw}{held_back}"));
                }
            }
        }
    }

    /// The watch comes to a version: perhaps to the one that an audit waits for.
    pub(super) async fn compare(&mut self, version: u64, before: bool) -> Result<(), Stop> {
        if !self.audit.reached(version, before) {
            return Ok(());
        }
        let known = self.feed.count(self.resource.kind).await?;
        match self.audit.compare(known, Instant::now(), &self.api.timing) {
            Some(difference) => Err(Stop::Missed(Gap::Count(difference))),
            None => Ok(()),
        }
    }

    /// A list is complete.
    async fn complete(&mut self, version: Box<str>) -> Result<(), Stop> {
        let (kind, now) = (self.resource.kind, Instant::now());
        let overdue = self.held.is_some_and(|held| now >= held.since + self.api.timing.hold_max);
        let differing = match self.feed.end(kind, overdue).await? {
            Ok(differing) => differing,
            Err(list) if self.held.is_some_and(|held| is_like(held.list, list)) => {
                log::warning(
                    FROM,
                    format_args!("{} {} objects are gone: two lists say so", list.missing, self.resource.go_type),
                );
                self.feed.end(kind, true).await?.unwrap_or_default()
            }
            Err(list) => {
                self.held = Some(Held { since: self.held.map_or(now, |held| held.since), list });
                return Err(Stop::Held(list));
            }
        };
        self.held = None;
        self.version = Some(version);
        self.works();
        match self.gap.take() {
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

fn key(found: &Found) -> ObjectKey {
    match found {
        Found::Is(object) => object.key(),
        Found::Kept(key) | Found::Gone(key) => key.clone(),
    }
}

/// Whether two lists say the same.
fn is_like(first: Implausible, second: Implausible) -> bool {
    first.missing.abs_diff(second.missing) <= (first.missing / 10).max(20)
}
