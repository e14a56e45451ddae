//! All plugins, in the order of the chain.

pub mod acl;
pub mod any;
pub mod auto;
pub mod autopath;
pub mod bind;
pub mod bufsize;
pub mod cache;
pub mod cancel;
pub mod chaos;
pub mod debug;
pub mod dns64;
pub mod dnssec;
pub mod dnstap;
pub mod erratic;
pub mod errors;
pub mod etcd;
pub mod file;
pub mod forward;
pub mod geoip;
pub mod grpc_server;
pub mod header;
pub mod health;
pub mod hosts;
pub mod https;
pub mod k8s_external;
pub mod kubernetes;
pub mod loadbalance;
pub mod local;
pub mod log;
pub mod loop_detect;
pub mod metadata;
pub mod minimal;
pub mod multisocket;
pub mod nsid;
pub mod on;
pub mod pprof;
pub mod prometheus;
pub mod proxyproto;
pub mod quic;
pub mod ready;
pub mod refused;
pub mod reload;
pub mod rewrite;
pub mod root;
pub mod secondary;
pub mod shed;
pub mod sign;
pub mod template;
pub mod timeouts;
pub mod tls;
pub mod transfer;
pub mod tsig;
pub mod view;
pub mod whoami;

use std::sync::LazyLock;

use crate::chain::setup::Registration;

/// The plugins, from the top of the chain, in CoreDNS 1.15.0's order.
///
/// They are set up in this order too, so a plugin finds what those above it said about the block.
pub const ALL: &[Registration] = &[
    root::PLUGIN,       // above all that read files
    metadata::PLUGIN,   // above all that publish values
    geoip::PLUGIN,      // below metadata, which it publishes to
    cancel::PLUGIN,     // above all that wait
    proxyproto::PLUGIN, // below metadata, which it publishes to
    quic::PLUGIN,
    grpc_server::PLUGIN,
    https::PLUGIN,
    timeouts::PLUGIN,
    multisocket::PLUGIN,
    reload::PLUGIN,
    nsid::PLUGIN,    // above prometheus and log: its option is not counted
    bufsize::PLUGIN, // above log and forward: both see the lowered size
    bind::PLUGIN,    // above those that need the block's addresses: prometheus, loop
    debug::PLUGIN,
    ready::PLUGIN, // above the plugins that it asks for readiness
    health::PLUGIN,
    pprof::PLUGIN,
    shed::PLUGIN,       // below bind: its counters are for each address
    prometheus::PLUGIN, // above all that answers: counts everything
    errors::PLUGIN,     // above all that may fail
    log::PLUGIN,        // below errors, so its line comes first
    dnstap::PLUGIN,     // above all that answers: it sees every query
    local::PLUGIN,      // above all that answers or queries others: localhost is here
    dns64::PLUGIN,      // below log: its look-ups for A start at the top again
    any::PLUGIN,
    chaos::PLUGIN,
    loadbalance::PLUGIN,  // above cache: every hit gets its own order
    tsig::PLUGIN,         // above cache: the signature is checked first; above rewrite, which changes the name
    rewrite::PLUGIN,      // above autopath and cache: all below see the question's new name
    autopath::PLUGIN,     // above cache: each name that it tries may be cached
    acl::PLUGIN,          // above cache: blocked clients get no cached answers either
    cache::PLUGIN,        // above kubernetes: its TTL limits apply to cluster answers too
    header::PLUGIN,       // below cache, which keeps responses with these flags
    dnssec::PLUGIN,       // below cache, which keeps signed answers
    tls::PLUGIN,          // reads files: below root
    minimal::PLUGIN,      // below cache, as in CoreDNS: what is kept is small already
    template::PLUGIN,     // above hosts and kubernetes: what an operator blocks comes first
    transfer::PLUGIN,     // above all that have zones to transfer, which refuse AXFR themselves
    hosts::PLUGIN,        // above kubernetes and forward: an operator's own entries come first
    k8s_external::PLUGIN, // above kubernetes, which keeps the data it requests; zones may be equal
    kubernetes::PLUGIN,   // above forward: cluster names come from memory
    file::PLUGIN,         // above forward: a zone of ours has no other answers
    auto::PLUGIN,         // below file, whose zones are named one by one
    secondary::PLUGIN,    // below file and auto: a zone of both is the file's
    etcd::PLUGIN,         // above forward: its zones are its own
    loop_detect::PLUGIN,  // below kubernetes and cache, just above forward, whose queries it sees
    forward::PLUGIN,
    forward::grpc::PLUGIN, // below forward, whose zones may be within its own
    erratic::PLUGIN,       // answers everything too
    whoami::PLUGIN,        // answers everything, so nothing below it is ever asked
    on::PLUGIN,
    sign::PLUGIN, // no link of the chain: file and auto serve what it writes
    view::PLUGIN, // was asked before the chain began
];

/// All plugins, and the directives that are known and refused.
pub static KNOWN: LazyLock<Vec<Registration>> = LazyLock::new(|| refused::REFUSED.iter().chain(ALL).copied().collect());

/// The names of all plugins, sorted.
#[must_use]
pub fn names() -> Vec<&'static str> {
    let mut names: Vec<_> = ALL.iter().map(|plugin| plugin.name).collect();
    names.sort_unstable();
    names
}

/// The plugins of CoreDNS 1.15.0, in its order. Those that are not in [`ALL`] are refused by name.
#[rustfmt::skip]
pub const COREDNS: &[&str] = &[
    "root", "metadata", "geoip", "cancel", "proxyproto", "quic", "grpc_server", "https", "https3",
    "timeouts", "multisocket", "reload", "nsid", "bufsize", "bind", "debug", "trace", "ready",
    "health", "pprof", "shed", "prometheus", "errors", "log", "dnstap", "local", "dns64", "siit",
    "any", "chaos", "loadbalance", "tsig", "rewrite", "autopath", "acl", "cache", "header",
    "dnssec", "tls", "minimal", "template", "transfer", "dynupdate", "hosts", "route53", "azure",
    "clouddns", "k8s_external", "kubernetes", "file", "auto", "secondary", "etcd", "loop",
    "forward", "grpc", "erratic", "whoami", "on", "sign", "view", "nomad",
];
