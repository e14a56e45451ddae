//! Signpost
pub mod host;
pub mod wire;
