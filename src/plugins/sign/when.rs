//! When a zone is signed, and for how long.

use std::path::Path;

use crate::dnssec::rrset::Validity;
use crate::wire::name::Name;
use crate::wire::types::rtype;
use crate::zone::data::Zone;
use crate::zone::read::{contents, read};

const HOUR: u64 = 60 * 60;
const DAY: u64 = 24 * HOUR;

/// Seconds before now that signatures begin, for clocks that are late, and the most that come on
/// top.
const BEFORE: (u64, u64) = (3 * HOUR, 18 * HOUR);

/// Seconds that signatures are good for, and the most that come on top.
const GOOD: (u64, u64) = (32 * DAY, 5 * DAY);

/// Seconds after their beginning that signatures are made again.
const OLD: u64 = 6 * DAY;

/// Seconds before their end that signatures are made again at the latest.
const LEFT: u64 = 7 * DAY;

/// How far the times of a zone's signatures are from those of others, in seconds.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Jitter {
    before: u64,
    after: u64,
}

impl Jitter {
    pub(super) fn random() -> Self {
        Self { before: fastrand::u64(..BEFORE.1), after: fastrand::u64(..GOOD.1) }
    }

    /// Returns when signatures that are made now are good.
    pub(super) fn validity(self, now: u64) -> Validity {
        // Times in signatures go round in 2106 (RFC 4034 section 3.1.5).
        let inception = now.saturating_sub(BEFORE.0 + self.before) as u32;
        Validity { inception, expiration: (now + GOOD.0 + self.after) as u32 }
    }
}

/// Returns why a zone has to be signed now, if so. `now` is in seconds since 1970.
pub(super) fn reason(zone: &Name, file: &Path, signed: &Path, now: u64) -> Option<String> {
    let read = match read_zone(signed, zone) {
        Ok(read) => read,
        Err(why) => return Some(why),
    };
    let modified = |path: &Path| path.metadata().and_then(|metadata| metadata.modified()).ok();
    if modified(file) > modified(signed) {
        return Some(format!("{} is newer", file.display()));
    }
    let signatures = read.records().filter(|record| {
        record.owner == zone.wire()
            && record.rtype == rtype::RRSIG
            && record.data.starts_with(&rtype::SOA.to_be_bytes())
    });
    let mut is_signed = false;
    for signature in signatures {
        is_signed = true;
        let time = |at: usize| {
            signature.data.get(at..).and_then(|rest| rest.first_chunk().copied()).map_or(0, u32::from_be_bytes)
        };
        let (expiration, inception) = (time(8), time(12));
        // Differences of serial numbers (RFC 4034 section 3.1.5).
        let (age, left) = ((now as u32).wrapping_sub(inception) as i32, expiration.wrapping_sub(now as u32) as i32);
        match () {
            () if age < 0 => return Some("the inception of its signature is in the future".to_owned()),
            () if age as u64 > OLD => return Some(format!("its signature is {} days old", age as u64 / DAY)),
            () if left < LEFT as i32 => {
                return Some(format!("its signature expires in {} hours", i64::from(left) / HOUR as i64));
            }
            () => {}
        }
    }
    (!is_signed).then(|| "its SOA record has no signature".to_owned())
}

/// Reads a zone file.
///
/// # Errors
/// It cannot be read, or has a mistake; says which.
pub(super) fn read_zone(file: &Path, zone: &Name) -> Result<Zone, String> {
    let text = contents(file).map_err(|why| format!("open {}: {why}", file.display()))?;
    let read = read(file, &text, zone, None).map_err(|mistake| mistake.to_string())?;
    read.map(|read| read.zone).ok_or_else(|| "it was not read".to_owned())
}
