//! All times of the watches in one place, so that tests can change them.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How long things may take.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Time between attempts to reach a server that does not accept connections.
    pub retry: RangeInclusive<Duration>,
    /// Maximum time between attempts after other failures.
    pub backoff_max: Duration,
    /// How long a server counts as starting after it could not be reached.
    pub starting: Duration,
    /// Maximum time until a connection is open.
    pub connect: Duration,
    /// Maximum time until an answer begins, and between two parts of it.
    pub patience: Duration,
    /// Maximum time from the last object of a streaming list to the bookmark that ends it.
    pub bookmark: Duration,
    /// How long one watch is asked for.
    pub watch: RangeInclusive<Duration>,
    /// A server that has sent nothing for this long is asked whether it is alive. Bookmarks come
    /// only once a minute.
    pub silence: Duration,
    /// Time between audits.
    pub sweep: RangeInclusive<Duration>,
    /// Time from the end of an outage to its audit.
    pub recheck: RangeInclusive<Duration>,
    /// Maximum time until a watch has come to the version that an audit found.
    pub sweep_patience: Duration,
    /// Time until a list that was not believed is read again.
    pub hold: Duration,
    /// A list is believed after this time even if it keeps changing.
    pub hold_max: Duration,
    /// Time between lists because of expired versions. The first few do not wait.
    pub relist_every: Duration,
    /// How long to wait for a collection that a cluster may lack, before it counts as empty.
    pub missing: Duration,
    /// Time between readings of credentials that are not accepted.
    pub renew: Duration,
    /// Time between log lines of the same kind: at first, and in the end.
    pub log_every: RangeInclusive<Duration>,
}

impl Default for Timing {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self {
            retry: Duration::from_millis(300)..=seconds(1),
            backoff_max: seconds(30),
            starting: seconds(10),
            connect: seconds(5),
            patience: seconds(15),
            bookmark: seconds(25),
            watch: seconds(300)..=seconds(600),
            silence: seconds(25),
            sweep: seconds(120)..=seconds(240),
            recheck: seconds(1)..=seconds(4),
            sweep_patience: seconds(90),
            hold: seconds(4),
            hold_max: seconds(45),
            relist_every: seconds(30),
            missing: seconds(10),
            renew: seconds(5),
            log_every: seconds(10)..=seconds(300),
        }
    }
}

/// A time of the range, drawn at random.
pub(super) fn between(range: &RangeInclusive<Duration>) -> Duration {
    *range.start() + range.end().saturating_sub(*range.start()).mul_f64(fastrand::f64())
}
