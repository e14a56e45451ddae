//! What watches and lists tell: events are read, and their objects handed to the feed.

use tokio::time::Instant;

use super::super::prefix::FROM;
use super::event::{self, Payload};
use super::follow::Following;
use super::form::{Form, Raw};
use super::phase::{Gap, Phase, Stop};
use super::stream::Stream;
use crate::host::log;
use crate::plugins::kubernetes::known::model::{News, ObjectKey};

/// Bad objects that are remembered, so that each is logged once.
const BAD: usize = 1000;

impl Stream {
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
                self.change(event.object).await
            }
            "DELETED" => self.gone(event.object.raw()).await,
            "BOOKMARK" => {
                let Some(bookmark) = event.object.raw().identify() else { return Ok(()) };
                match (self.phase.is_listing(), bookmark.ends_initial_events) {
                    (true, true) => self.complete(bookmark.version).await,
                    (true, false) => Ok(()),
                    (false, _) => self.comes_to(bookmark.version).await,
                }
            }
            "ERROR" => Err(event.object.raw().status().into_failure(200, None).into()),
            _ => Ok(()),
        }
    }

    /// An object is new or different.
    pub(super) async fn change(&mut self, object: Payload<'_>) -> Result<(), Stop> {
        let (news, version) = self.read(object);
        self.before(&version).await?;
        if let Some(news) = news {
            self.feed.object(self.resource.kind, news).await?;
        }
        self.after(version).await
    }

    /// An object was deleted.
    async fn gone(&mut self, object: Raw<'_>) -> Result<(), Stop> {
        let Some(identity) = object.identify() else {
            self.flawed(None, "an object without a name is gone");
            return Ok(());
        };
        self.before(&identity.version).await?;
        self.bad.remove(&identity.key);
        self.feed.gone(self.resource.kind, identity.key).await?;
        self.after(identity.version).await
    }

    /// The watch is about to come to a version. The objects of a list stand at any.
    async fn before(&mut self, version: &str) -> Result<(), Stop> {
        if self.phase.is_listing() || !self.audit.is_awaiting() {
            return Ok(());
        }
        match version.parse() {
            Ok(version) => self.compare(version, true).await,
            Err(_) => Ok(()),
        }
    }

    /// The watch has come to the version of an object. The objects of a list stand at any.
    async fn after(&mut self, version: Box<str>) -> Result<(), Stop> {
        if self.phase.is_listing() || version.is_empty() {
            return Ok(());
        }
        self.comes_to(version).await
    }

    /// The watch has come to a version.
    async fn comes_to(&mut self, version: Box<str>) -> Result<(), Stop> {
        if let Ok(number) = version.parse() {
            self.compare(number, false).await?;
        }
        self.phase = Phase::Watching { version };
        Ok(())
    }

    /// Reads an object of a list or a watch, and its version. Invalid parts are left out.
    fn read(&mut self, object: Payload<'_>) -> (Option<News>, Box<str>) {
        let decoded = match object {
            Payload::Decoded(decoded) => Ok(decoded),
            Payload::Raw(raw) => raw.decode(self.resource.kind, self.keep).map_err(|error| (error, raw)),
        };
        match decoded {
            Ok(decoded) => {
                match decoded.flaw {
                    Some(flaw) => self.flawed(Some(decoded.news.key()), &flaw),
                    None if self.bad.is_empty() => {}
                    None => {
                        self.bad.remove(&decoded.news.key());
                    }
                }
                (Some(decoded.news), decoded.version)
            }
            Err((error, raw)) => {
                let identity = raw.identify().filter(|identity| !identity.key.name.is_empty());
                self.flawed(identity.as_ref().map(|identity| identity.key.clone()), &error);
                let Some(identity) = identity else { return (None, Box::default()) };
                (Some(News::Kept(identity.key)), identity.version)
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
}
