//! Signpost
pub mod host;
pub mod plugins;
pub mod wire;
