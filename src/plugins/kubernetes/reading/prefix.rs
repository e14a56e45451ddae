//! The plugin, as its log lines name it.

/// What each line of the log begins with.
pub(super) const FROM: &str = "plugin/kubernetes";
