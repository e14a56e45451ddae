//! A copied zone, and the task that keeps it current.

use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use super::fetch::{Fetched, fetch};
use super::schedule::Schedule;
use crate::chain::transfer::Changes;
use crate::host::log;
use crate::host::metrics::Counter;
use crate::wire::name::Name;
use crate::zone::live::LiveZone;

/// The plugin, in log lines.
const NAME: &str = "secondary";

/// The part of a copy that outlives a reload.
pub(super) struct Copied {
    pub(super) live: Arc<LiveZone>,
    times: Mutex<Schedule>,
    /// Notified when a primary has sent NOTIFY.
    pub(super) news: Notify,
    /// Notified when the time at which the copy is too old has changed.
    confirmed: Notify,
}

/// A copy, and where it comes from.
pub(super) struct Copy {
    pub(super) copied: Arc<Copied>,
    pub(super) primaries: Vec<SocketAddr>,
    pub(super) changes: Arc<Changes>,
    /// Checks by result: current, copied, failed.
    pub(super) checks: [Counter; 3],
}

impl Copied {
    pub(super) fn new(zone: &Name) -> Self {
        let times = Mutex::new(Schedule::new(Instant::now()));
        Self {
            live: Arc::new(LiveZone::empty(zone, Path::new(""))),
            times,
            news: Notify::new(),
            confirmed: Notify::new(),
        }
    }

    /// Makes the copy too old.
    #[cfg(test)]
    pub(super) fn age(&self) {
        self.times(|times| times.expire = Some(Instant::now()));
        self.confirmed.notify_one();
    }

    fn times<T>(&self, change: impl FnOnce(&mut Schedule) -> T) -> T {
        change(&mut self.times.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Copy {
    /// Returns the zone that is served.
    pub(super) fn live(&self) -> &LiveZone {
        &self.copied.live
    }

    /// Returns whether this is the address of a primary.
    pub(super) fn is_from(&self, address: IpAddr) -> bool {
        self.primaries.iter().any(|primary| primary.ip().to_canonical() == address.to_canonical())
    }

    /// Keeps the copy current, and takes it away when it is too old, also while a primary is asked;
    /// runs until the configuration ends.
    pub(super) async fn keep(&self) {
        tokio::join!(self.renew(), self.expire());
    }

    async fn renew(&self) {
        let copied = &self.copied;
        loop {
            tokio::select! {
                () = sleep_until(copied.times(|times| times.check)) => self.check().await,
                () = copied.news.notified() => copied.times(|times| times.hurry(Instant::now())),
            }
        }
    }

    async fn expire(&self) {
        let copied = &self.copied;
        loop {
            let expire = copied.times(|times| times.expire);
            tokio::select! {
                () = sleep_until(expire.unwrap_or_else(Instant::now)), if expire.is_some() => {}
                () = copied.confirmed.notified() => {}
            }
            if copied.times(|times| times.expires(Instant::now())) {
                self.live().set(None);
                let zone = self.live().origin();
                log::error(NAME, format_args!("zone \"{zone}\" has expired: no primary has answered"));
            }
        }
    }

    /// Asks the primaries, one after the other until one answers.
    async fn check(&self) {
        let (zone, live, known) = (*self.live().origin(), self.live(), self.live().current());
        let [current, copied, failed] = &self.checks;
        for primary in &self.primaries {
            let soa = match fetch(*primary, &zone, known.as_ref()).await {
                Ok(Fetched::Current) => {
                    current.inc();
                    // It may have expired while the primary was asked.
                    live.set(known.clone());
                    known.as_ref().map(|zone| zone.soa())
                }
                Ok(Fetched::Zone(new)) => {
                    copied.inc();
                    let soa = new.soa();
                    live.set(Some(Arc::from(new)));
                    self.changes.add(&zone);
                    let serial = soa.serial;
                    log::info(NAME, format_args!("Transferred: {zone} from {primary} with {serial} SOA serial"));
                    Some(soa)
                }
                Err(why) => {
                    log::error(NAME, format_args!("Failed to transfer `{zone}' from \"{primary}\": {why}"));
                    continue;
                }
            };
            if let Some(soa) = soa {
                self.copied.times(|times| times.succeeded(Instant::now(), &soa, fastrand::f64()));
                self.copied.confirmed.notify_one();
            }
            return;
        }
        failed.inc();
        let soa = known.map(|zone| zone.soa());
        self.copied.times(|times| times.failed(Instant::now(), soa.as_ref(), fastrand::f64()));
    }
}
