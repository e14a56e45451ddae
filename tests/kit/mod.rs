//! The kit of everything that asks without sockets: unit tests (as `testing::kit`), tests, benches and
//! fuzz targets. What needs a running process, or a peer of it, is `tests/support`.
//!
//! - `built`: a Corefile built into a configuration
//! - `kept`: a packet served, its reply kept
//! - `message`: packets as clients write and read them
//! - `whole`: a server that answers on the thread of its test
//! - `cluster`, `fetched`: what such a server answers from

#![allow(dead_code, unreachable_pub, reason = "each of them uses its part")]

pub mod built;
pub mod cluster;
pub mod fetched;
pub mod kept;
pub mod message;
pub mod whole;
