//! How long the watches wait for what.

use std::ops::RangeInclusive;
use std::time::Duration;

/// How long things may take.
#[derive(Debug, Clone)]
pub struct Timing {
    /// Between attempts to reach a server that is not there.
    pub retry: RangeInclusive<Duration>,
    /// The most between attempts after other failures.
    pub backoff_max: Duration,
    /// How long a server counts as starting after it could not be reached.
    pub starting: Duration,
    /// For a connection to come about.
    pub connect: Duration,
    /// For an answer to begin, and between its parts.
    pub patience: Duration,
    /// For the bookmark that ends a streaming list, after its last object.
    pub bookmark: Duration,
    /// The life of one watch.
    pub watch: RangeInclusive<Duration>,
    /// Silence after which the server is asked whether it is alive; a bookmark comes every minute.
    pub silence: Duration,
    /// Between audits.
    pub sweep: RangeInclusive<Duration>,
    /// Until the audit after an outage.
    pub recheck: RangeInclusive<Duration>,
    /// For a watch to come to the version that an audit found.
    pub sweep_patience: Duration,
    /// Until a list that was not believed is read again.
    pub hold: Duration,
    /// After which a list is believed even if it keeps changing.
    pub hold_max: Duration,
    /// Lists for expired versions, beyond the first few: one in this time.
    pub relist_every: Duration,
    /// For a collection that clusters may lack to appear.
    pub missing: Duration,
    /// Between readings of credentials that are not accepted.
    pub renew: Duration,
    /// Between log lines of the same kind: at first and in the end.
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
