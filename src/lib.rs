//! Signpost: a DNS server for Kubernetes clusters that takes CoreDNS's place as `kube-dns`.
//!
//! # One query, in order
//!
//! [`server`]`/udp` takes a datagram and what is live → [`chain`]`/serve` has [`wire`] read header,
//! question and OPT in place → [`chain`]`/listener` finds the server block by its longest zone →
//! the chain goes down, plugin by plugin, until one answers → the reply comes up through the same
//! seats → [`wire`] writes it behind the question, cut to what the client takes → it is sent from
//! the address that was asked.
//!
//! # Rooms
//!
//! - [`wire`]: bytes and their meaning; pure
//! - [`corefile`]: text to server blocks, every word with its line; knows no plugin
//! - [`host`]: what a plugin may ask of the process
//! - [`expr`]: expressions of a Corefile; knows no DNS
//! - `remote`: how one other DNS server is asked; knows no plugin
//! - [`dnssec`]: keys and signatures of zone data; knows no plugin
//! - [`zone`]: zone data, read from files, held and looked up; knows no plugin
//! - [`chain`]: plugins, queries, replies, sites, and how a Corefile becomes them
//! - [`server`]: sockets, workers, signals, reload, the end
//! - [`node`]: interface, rules and Corefile of a NodeLocal DNSCache
//! - [`plugins`]: one file or folder each, in one ordered list
//! - [`manual`]: the manual of a plugin, and the differences from CoreDNS as rows
//! - [`migrate`]: the Corefile of an older CoreDNS as it is written today
//! - [`ask`]: asks one server one question and prints the reply
//! - [`compare`]: asks two servers the same and prints what differs
//! - [`mod@bench`]: the load generator; uses [`wire`] and the TLS client of [`ask`]
//! - [`args`], [`error`]: the command line, and what can go wrong
//!
//! Who may use whom is drawn in ARCHITECTURE.md and held by `tests/layers.rs`.

pub mod args;
pub mod ask;
pub mod bench;
pub mod chain;
pub mod compare;
pub mod corefile;
pub mod dnssec;
pub mod error;
pub mod expr;
pub mod host;
pub mod manual;
pub mod migrate;
pub mod node;
pub mod plugins;
mod remote;
pub mod server;
// Unit tests share files with the tests outside, which name the crate.
#[cfg(test)]
extern crate self as signpost;
#[cfg(test)]
mod testing;
pub mod wire;
pub mod zone;
