//! A running server as its users see it. Each module is one promise.
//!
//! - `api`: the API server is away or refuses, and what is said of it
//! - `ask`: a question on the command line, and its reply as text
//! - `asker`: no promise, but who asks meanwhile
//! - `compare`: two servers, and what they answer differently
//! - `listeners`: those that overlap, and each layout after each other one
//! - `log`: lines arrive, and whoever does not read them delays no query
//! - `pages`: probes and scrapes are answered whatever other clients do
//! - `panics`: one in a plugin costs one query
//! - `start`: what keeps it from starting, and how it says so
//! - `reload`: nothing is lost, and a failed reload changes nothing
//! - `signals`: obeyed at any moment
//! - `stop`: SIGTERM loses nothing
//! - `streams`: TCP
//! - `unread`: what clients of streams that do not read may cost
//! - `tls`: the same inside of TLS
//! - `upstreams`: what is said of one that is down

#[path = "../support/mod.rs"]
mod support;
#[path = "../support/api.rs"]
#[allow(missing_docs, unreachable_pub, dead_code)]
mod support_api;
#[path = "../support/pages.rs"]
mod support_pages;
#[path = "../support/tls.rs"]
mod support_tls;
#[path = "../support/upstream.rs"]
mod support_upstream;

mod api;
mod ask;
mod asker;
mod compare;
mod listeners;
mod log;
mod pages;
mod panics;
mod reload;
mod signals;
mod start;
mod stop;
mod streams;
mod tls;
mod unread;
mod upstreams;
