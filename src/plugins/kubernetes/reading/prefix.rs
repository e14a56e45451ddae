//! The plugin, as its log lines name it.

/// The plugin's name for the log.
pub(super) const FROM: &str = "kubernetes";
