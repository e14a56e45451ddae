//! Signpost
pub mod chain;
pub mod corefile;
pub mod error;
pub mod host;
pub mod plugins;
#[cfg(test)]
mod testing;
pub mod wire;
