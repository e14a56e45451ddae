//! What tests, benches and fuzz targets share: packets, a whole query without sockets, and a small cluster.

#![allow(dead_code, unreachable_pub, reason = "each of them uses its part")]

pub mod cluster;
pub mod fetched;
pub mod kept;
pub mod message;
pub mod whole;
