//! The kit of everything that asks without sockets: unit tests (as `testing::kit`), tests, benches
//! and fuzz targets. What needs a running process, or a peer of it, is `tests/support`.
//!
//! - `built`: a Corefile built into a configuration
//! - `desk`: a packet served, its reply written in memory; `kept`: its reply kept before it is
//!   written
//! - `message`: packets as clients write and read them; `signed`: the same with signatures
//! - `whole`: a server that answers on the thread of its test
//! - `cluster`, `large`, `fetched`: what such a server answers from; `upstream`: the server that it
//!   asks

#![allow(dead_code, unreachable_pub, reason = "each of them uses its part")]

pub mod built;
pub mod cluster;
pub mod desk;
pub mod fetched;
pub mod kept;
pub mod large;
pub mod message;
pub mod signed;
pub mod upstream;
pub mod whole;
