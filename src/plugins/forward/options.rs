//! What one `forward` directive says.

use std::sync::Arc;
use std::time::Duration;

use super::health::Health;
use super::policy::Policy;
use crate::remote;
use crate::wire::name::Name;

/// What one directive says.
pub(super) struct Options {
    /// Zones whose names are forwarded.
    pub(super) from: Vec<Name>,
    /// Zones below them whose names are not.
    pub(super) except: Vec<Name>,
    pub(super) policy: Policy,
    pub(super) force_tcp: bool,
    pub(super) prefer_udp: bool,
    pub(super) health: Arc<Health>,
    pub(super) failfast: bool,
    /// Tries of one query; 0 for any number, `None` for as many as make sense.
    pub(super) max_tries: Option<usize>,
    /// How long one try may take.
    pub(super) read_timeout: Duration,
    /// Queries at a time, and the number as it is written.
    pub(super) max_concurrent: Option<(usize, String)>,
    /// RCODEs with which the other upstreams are asked.
    pub(super) failover: Vec<u16>,
    /// RCODEs with which the next `forward` is asked.
    pub(super) next: Vec<u16>,
    pub(super) next_on_nodata: bool,
    /// How upstreams are reached.
    pub(super) remote: remote::Options,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            from: Vec::new(),
            except: Vec::new(),
            policy: Policy::Random,
            force_tcp: false,
            prefer_udp: false,
            health: Arc::default(),
            failfast: false,
            max_tries: None,
            read_timeout: Duration::from_secs(2),
            max_concurrent: None,
            failover: Vec::new(),
            next: Vec::new(),
            next_on_nodata: false,
            remote: remote::Options::default(),
        }
    }
}
