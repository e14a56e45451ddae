//! What the process offers to plugins: metrics, HTTP endpoints, tasks, log lines, certificates,
//! files, resolv.conf, the clock.
//!
//! One [`Host`] lives as long as the process; what one configuration adds to it is removed when its
//! site is dropped.

pub mod clock;
pub mod files;
pub mod http;
pub mod interest;
pub mod listen;
pub mod log;
pub mod metrics;
pub mod permit;
pub mod pressure;
pub mod repeats;
pub mod resolv;
pub mod shared;
pub mod tasks;
pub mod tls;

/// The version of CoreDNS whose behaviour Signpost has.
pub const COREDNS: &str = "1.15.0";

/// The process, as plugins see it.
#[derive(Default)]
pub struct Host {
    /// Counters, gauges and histograms, and their text form.
    pub metrics: metrics::Metrics,
    /// `/health`, `/ready`, `/metrics`.
    pub http: http::Http,
    /// The clock, which tests may move.
    pub clock: clock::Clock,
    /// Values that survive a reload because their options did not change.
    pub shared: shared::Shared,
    /// Whether the process was told to stop: it is no longer ready, but still serves.
    pub shutting_down: std::sync::atomic::AtomicBool,
}

/// Returns the host name that the kernel reports.
#[must_use]
pub fn name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}
