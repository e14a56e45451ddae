//! A running server as its users see it. Each module is one promise.
//!
//! - `api`: the API server is away or refuses, and what is said of it
//! - `asker`: no promise, but who asks meanwhile
//! - `compare`: two servers, and what they answer differently
//! - `scenarios`: Corefile, objects, questions and answers as text
//! - `listeners`: those that overlap, and each layout after each other one
//! - `log`: lines arrive, and whoever does not read them delays no query
//! - `start`: what keeps it from starting, and how it says so
//! - `reload`: nothing is lost, and a failed reload changes nothing
//! - `signals`: obeyed at any moment
//! - `stop`: SIGTERM loses nothing
//! - `streams`: TCP
//! - `tls`: the same inside of TLS
//! - `upstreams`: what is said of one that is down

#[path = "../support/mod.rs"]
mod support;
#[path = "../support/api.rs"]
#[allow(missing_docs, unreachable_pub, dead_code)]
mod support_api;
#[path = "../support/tls.rs"]
mod support_tls;

mod api;
mod asker;
mod compare;
mod listeners;
mod log;
mod reload;
mod scenarios;
mod signals;
mod start;
mod stop;
mod streams;
mod tls;
mod upstreams;
