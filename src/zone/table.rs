//! Zones by their names.

use std::collections::HashMap;
use std::sync::Arc;

use foldhash::fast::RandomState;

use super::live::LiveZone;
use crate::wire::name::Name;

/// Zones of different names.
#[derive(Default)]
pub struct ZoneTable {
    zones: HashMap<Box<[u8]>, Arc<LiveZone>, RandomState>,
    /// The octets of the longest name.
    longest: usize,
}

impl ZoneTable {
    /// Adds a zone, in place of another one with its name.
    pub fn insert(&mut self, zone: Arc<LiveZone>) {
        self.longest = self.longest.max(zone.origin().len());
        self.zones.insert(zone.origin().wire().into(), zone);
    }

    /// Returns the zone with this name, in lower case.
    #[must_use]
    pub fn get(&self, origin: &Name) -> Option<&Arc<LiveZone>> {
        self.zones.get(origin.wire())
    }

    /// Returns the zone with the longest name that holds `name`, which is in lower case.
    #[must_use]
    pub fn holding(&self, name: &Name) -> Option<&Arc<LiveZone>> {
        let mut rest = name.wire();
        loop {
            if rest.len() <= self.longest
                && let Some(zone) = self.zones.get(rest)
            {
                return Some(zone);
            }
            let (&len, after) = rest.split_first()?;
            if len == 0 {
                return None;
            }
            rest = &after[usize::from(len)..];
        }
    }

    /// Returns all zones, in any order.
    pub fn iter(&self) -> impl Iterator<Item = &Arc<LiveZone>> {
        self.zones.values()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::Path;

    #[test]
    fn the_longest_zone_holds_a_name() {
        let name = |text: &str| Name::from_text(text).expect("a name");
        let mut table = ZoneTable::default();
        for zone in ["org.", "example.org.", "a.example.org.", "example.org."] {
            table.insert(Arc::new(LiveZone::empty(&name(zone), Path::new("db"))));
        }
        let holding = |text: &str| table.holding(&name(text)).map(|zone| zone.origin().to_string());
        assert_eq!(holding("x.a.example.org.").as_deref(), Some("a.example.org."));
        assert_eq!(holding("example.org.").as_deref(), Some("example.org."));
        assert_eq!(holding("notexample.org.").as_deref(), Some("org."));
        assert_eq!((holding("example.net."), holding(".")), (None, None));
        assert_eq!(table.iter().count(), 3);
    }
}
