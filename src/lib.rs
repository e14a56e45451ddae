//! Signpost
pub mod wire;
