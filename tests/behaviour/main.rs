//! A running server as its users see it. Each module is one promise.
//!
//! - `compare`: two servers, and what they answer differently
//! - `scenarios`: Corefile, objects, questions and answers as text
//! - `start`: what keeps it from starting, and how it says so
//! - `reload`: nothing is lost, and a failed reload changes nothing
//! - `stop`: SIGTERM loses nothing
//! - `streams`: TCP
//! - `tls`: the same inside of TLS

#[path = "../support/mod.rs"]
mod support;
#[path = "../support/tls.rs"]
mod support_tls;

mod compare;
mod reload;
mod scenarios;
mod start;
mod stop;
mod streams;
mod tls;
