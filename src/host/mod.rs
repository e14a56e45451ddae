//! What a plugin may ask of the process: metrics, HTTP endpoints, tasks, log lines, certificates, files, resolv.conf, the clock.
//!
//! One [`Host`] lives as long as the process; what one configuration adds to it goes when its site is dropped.

pub mod clock;
pub mod files;
pub mod http;
pub mod interest;
pub mod listen;
pub mod log;
pub mod metrics;
pub mod permit;
pub mod repeats;
pub mod resolv;
pub mod shared;
pub mod tasks;
pub mod tls;

/// The version of CoreDNS whose behaviour this is.
pub const COREDNS: &str = "1.15.0";

/// The process, as plugins see it.
#[derive(Default)]
pub struct Host {
    /// Counters, gauges and histograms, and their text form.
    pub metrics: metrics::Metrics,
    /// `/health`, `/ready`, `/metrics`.
    pub http: http::Http,
    /// The time, which tests may move.
    pub clock: clock::Clock,
    /// What outlives a reload because its options did not change.
    pub shared: shared::Shared,
    /// Whether the process was told to stop: it is not ready any more, but still serves.
    pub shutting_down: std::sync::atomic::AtomicBool,
}

/// The name of the host as the kernel knows it.
#[must_use]
pub fn name() -> String {
    let name = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let name = name.trim();
    if name.is_empty() { "localhost".to_owned() } else { name.to_owned() }
}
