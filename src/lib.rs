//! Signpost
pub mod corefile;
pub mod error;
