//! Zones on their way from the plugins that have them to the one that transfers them, and news of
//! their changes.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use tokio::sync::Notify;

use crate::wire::name::Name;
use crate::zone::data::ZoneRecord;
use crate::zone::live::LiveZone;
use crate::zone::outgoing::others;

//----------- What a plugin offers -------------------------------------------

/// A plugin with zones that can be transferred.
pub trait Transferable: Send + Sync + 'static {
    /// Returns the current version of the zone of exactly this name, in lower case.
    fn version(&self, zone: &Name) -> Offer;
}

/// What a plugin has of a zone.
pub enum Offer {
    /// It has no zone of this name.
    None,
    /// It has the zone, but not its data: they are not read yet, or too old.
    NotReady,
    /// A version of the zone.
    Version(Box<Version>),
}

/// One version of a zone.
pub struct Version {
    /// The serial of its SOA record.
    pub serial: u32,
    /// The SOA record.
    pub soa: TransferRecord,
    /// Collects the other records. It may take some milliseconds, and runs on a thread that may
    /// block.
    pub records: Box<dyn FnOnce() -> Records + Send>,
}

/// Records of a zone, made one by one.
pub type Records = Box<dyn Iterator<Item = TransferRecord> + Send>;

/// A record of a zone on its way into a transfer, in class IN. It has its own data, since a
/// transfer takes as long as its client reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TransferRecord {
    /// Its owner.
    pub owner: Name,
    /// Its type.
    pub rtype: u16,
    /// Its TTL in seconds.
    pub ttl: u32,
    /// Its data in wire form, without compression.
    pub data: Box<[u8]>,
}

impl Offer {
    /// Returns the offer of a plugin that serves zone data. `None` means that it has no such zone.
    #[must_use]
    pub fn of(zone: Option<&LiveZone>) -> Self {
        let Some(zone) = zone else { return Self::None };
        let Some(zone) = zone.current() else { return Self::NotReady };
        Self::Version(Box::new(Version {
            serial: zone.soa().serial,
            soa: zone.soa_record().into(),
            records: Box::new(move || Box::new(others(zone, |record| record.into()))),
        }))
    }
}

impl From<ZoneRecord<'_>> for TransferRecord {
    fn from(ZoneRecord { owner, rtype, ttl, data }: ZoneRecord<'_>) -> Self {
        Self { owner: Name::from_wire(owner).unwrap_or(Name::ROOT), rtype, ttl, data: data.into() }
    }
}

//----------- Transfers ------------------------------------------------------

/// The zones of one server block that can be transferred, in the order of the chain; set when all
/// plugins are set up.
#[derive(Default)]
pub struct Transfers(OnceLock<Vec<Arc<dyn Transferable>>>);

impl Transfers {
    /// Returns the zone of exactly this name, of the first plugin that has it.
    #[must_use]
    pub fn version(&self, zone: &Name) -> Offer {
        let mut offers = self.0.get().into_iter().flatten().map(|plugin| plugin.version(zone));
        offers.find(|offer| !matches!(offer, Offer::None)).unwrap_or(Offer::None)
    }

    pub(super) fn set(&self, offered: Vec<Arc<dyn Transferable>>) {
        // The cell is set once.
        let _ = self.0.set(offered);
    }
}

//----------- Changes --------------------------------------------------------

/// Zones of one server block that have changed since secondaries were last notified. Kept apart
/// from [`Transfers`], which holds the plugins that report changes.
#[derive(Default)]
pub struct Changes {
    zones: Mutex<BTreeSet<Box<[u8]>>>,
    news: Notify,
}

impl Changes {
    /// Notes that a zone, in lower case, has changed. A zone that changes again before it is taken
    /// counts once.
    pub fn add(&self, zone: &Name) {
        self.zones.lock().unwrap_or_else(PoisonError::into_inner).insert(zone.wire().into());
        self.news.notify_one();
    }

    /// Waits for zones that have changed, and takes them.
    pub async fn take(&self) -> Vec<Name> {
        loop {
            let changed = std::mem::take(&mut *self.zones.lock().unwrap_or_else(PoisonError::into_inner));
            if !changed.is_empty() {
                return changed.iter().filter_map(|zone| Name::from_wire(zone)).collect();
            }
            self.news.notified().await;
        }
    }
}
