//! Plugins.
pub mod kubernetes;
