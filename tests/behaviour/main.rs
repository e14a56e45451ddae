//! A running server as its users see it. Each module is one promise.
//!
//! - `api`: the API server is down or refuses, and what the pages and the log say
//! - `ask`: a question on the command line, and its reply as text
//! - `asker`: not a promise, but the clients that ask meanwhile
//! - `compare`: two servers, and what they answer differently
//! - `edns`: what EDNS, its options and header bits get
//! - `grpc`: Signpost and CoreDNS ask each other
//! - `listeners`: those that overlap, and each layout after each other one
//! - `log`: lines arrive, and a reader that does not read delays no query
//! - `pages`: probes and scrapes are answered whatever other clients do
//! - `panics`: a panic in a plugin costs one query
//! - `proxied`: clients behind load balancers
//! - `quic`: DNS over QUIC
//! - `start`: what prevents a start, and the messages
//! - `reload`: nothing is lost, and a failed reload changes nothing
//! - `signals`: obeyed at any moment
//! - `snapshot`: names without an API server, from the process before
//! - `stop`: SIGTERM loses nothing
//! - `streams`: TCP
//! - `unread`: what clients of streams may cost if they do not read
//! - `tls`: DNS over TLS
//! - `transports`: one message has one answer on all of them
//! - `upstreams`: what the log says of one that is down

#[path = "../kit/built.rs"]
mod built;
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
mod edns;
mod etcd;
mod grpc;
mod listeners;
mod log;
mod pages;
mod panics;
mod proxied;
mod quic;
mod reload;
mod signals;
mod snapshot;
mod start;
mod stop;
mod streams;
mod tls;
mod transports;
mod unread;
mod upstreams;
