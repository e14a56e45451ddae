//! How the health of upstreams is watched: `max_fails`, `health_check`, and the transport of
//! probes.

use std::time::Duration;

use crate::remote::Way;
use crate::wire::name::Name;

/// How the health of upstreams is watched.
#[derive(Debug, Clone)]
pub(super) struct Health {
    /// Failed probes that an upstream may have before it counts as down; 0 for any number, and no
    /// probes.
    pub(super) max_fails: u32,
    /// From one probe to the next.
    pub(super) interval: Duration,
    /// Whether probes ask for recursion.
    pub(super) recursion: bool,
    /// The name that probes ask about.
    pub(super) domain: Name,
    /// How probes travel.
    pub(super) way: Way,
}

impl Default for Health {
    fn default() -> Self {
        let interval = Duration::from_millis(500);
        Self { max_fails: 2, interval, recursion: true, domain: Name::ROOT, way: Way::Udp }
    }
}
