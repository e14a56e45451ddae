//! # sign — sign zone files
//!
//! Signs a zone file and writes the result to another file, which *file* or *auto* serve: DNSKEY,
//! CDS and CDNSKEY records of the keys, an NSEC record for each name, and the signatures. NSEC3 is
//! not made.
//!
//! Every 5 hours, and when the configuration starts, it checks the written file. It signs again if
//! that is missing, if the signature of its SOA began more than 6 days ago or expires in less than
//! 7 days, or if the zone file is newer. The SOA gets the time in seconds since 1970 as its serial.
//!
//! Signatures begin 3 to 21 hours ago, and are good for 32 to 37 days: each zone has a jitter of
//! its own, so that not all are signed at the same time. Each key signs everything; DNSKEY, CDS,
//! CDNSKEY, NSEC and RRSIG records in the zone file are left out.
//!
//! ## Syntax
//!
//! ```text
//! sign DBFILE [ZONES...] {
//! }
//! ```
//!
//! - **DBFILE** is the zone file, relative to *root*.
//! - **ZONES** are the zones to make from it; by default those of the server block. Each gets a
//!   file `db.ZONE.signed`.
//!
//! Mount the folder that is written to from a volume: the root file system of the image is
//! read-only.
//!
//! ## Examples
//!
//! Make a key with `dnssec-keygen -a ECDSAP256SHA256 -f KSK example.org`, sign the zone and serve
//! it:
//!
//! ```text
//! example.org {
//!     file /zones/db.example.org.signed
//!     sign /config/db.example.org {
//!         key file /keys/Kexample.org.+013+45330
//!         directory /zones
//!     }
//! }
//! ```
//!
//! ## Metrics
//!
//! - `signpost_sign_zones_total{zone,result}`: attempts to sign a zone: `signed` or `failed`

mod setup;
#[cfg(test)]
mod tests;
mod when;
mod write;
mod zone;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use self::setup::{OPTIONS, Options};
use self::when::Jitter;
use crate::chain::doc::doc_of;
use crate::chain::setup::{Registration, Setup};
use crate::dnssec::key::Key;
use crate::error::Result;
use crate::host::metrics::Family;
use crate::host::{Host, log};
use crate::wire::name::Name;

/// The registration of this plugin.
pub const PLUGIN: Registration =
    Registration { name: "sign", setup: set_up, doc: doc_of!("mod.rs"), options: &[&OPTIONS] };

static ZONES: Family = Family {
    name: "signpost_sign_zones_total",
    help: "Attempts to sign a zone: signed, or failed.",
    labels: &["zone", "result"],
};

/// The pause between two checks.
const PAUSE: Duration = Duration::from_secs(5 * 60 * 60);

fn set_up(s: &mut Setup<'_>) -> Result<()> {
    for Options { file, zones, keys, directory } in Options::read(s)? {
        let keys = Arc::new(keys);
        for zone in zones.iter() {
            let signed = directory.join(format!("db.{zone}signed"));
            let (file, keys, host) = (file.clone(), keys.clone(), s.host.clone());
            let job = Arc::new(Job { zone: *zone, file, signed, keys, jitter: Jitter::random(), host });
            s.task("sign", move || follow(job));
        }
    }
    Ok(())
}

/// One zone that is signed.
struct Job {
    zone: Name,
    /// The file that is read.
    file: PathBuf,
    /// The file that is written.
    signed: PathBuf,
    keys: Arc<Vec<Key>>,
    jitter: Jitter,
    host: Arc<Host>,
}

/// Signs a zone whenever it has to be.
async fn follow(job: Arc<Job>) {
    let mut is_first = true;
    loop {
        let (looking, said) = (job.clone(), is_first);
        // Signing a large zone takes seconds; other tasks use the runtime's threads meanwhile.
        let looked = tokio::task::spawn_blocking(move || looking.look(said)).await;
        if let Err(error) = looked {
            log::error(PLUGIN.name, format_args!("signing {} failed: {error}", job.zone));
        }
        is_first = false;
        tokio::time::sleep(PAUSE).await;
    }
}

impl Job {
    /// Signs the zone if it has to be. `said` says whether the log is told that it has not.
    fn look(&self, said: bool) {
        let now = self.host.clock.seconds_since_1970();
        let (zone, signed) = (self.zone, self.signed.display());
        let Some(why) = when::reason(&self.zone, &self.file, &self.signed, now) else {
            if said {
                log::info(
                    PLUGIN.name,
                    format_args!("Skipping signing zone \"{zone}\" in \"{signed}\": signatures are valid"),
                );
            }
            return;
        };
        log::info(PLUGIN.name, format_args!("Signing \"{zone}\" because {why}"));
        let tags = self.keys.iter().map(|key| key.tag().to_string()).collect::<Vec<_>>().join(",");
        let result = match self.sign(now) {
            Ok(()) => {
                log::info(
                    PLUGIN.name,
                    format_args!(
                        "Successfully signed zone \"{zone}\" in \"{signed}\" with key tags \"{tags}\" and {} SOA serial",
                        now as u32
                    ),
                );
                "signed"
            }
            Err(why) => {
                log::warning(PLUGIN.name, format_args!("Error signing \"{zone}\" with key tags \"{tags}\": {why}"));
                "failed"
            }
        };
        self.host.metrics.counter(&ZONES, &[&zone.to_string(), result]).inc();
    }

    fn sign(&self, now: u64) -> std::result::Result<(), String> {
        let began = SystemTime::now();
        let read = when::read_zone(&self.file, &self.zone)?;
        let records = zone::signed(&read, &self.keys, now as u32, self.jitter.validity(now))?;
        write::write(&self.signed, &records, began)
    }
}
