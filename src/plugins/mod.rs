//! All plugins, in the order of the chain.

pub mod acl;
pub mod any;
pub mod autopath;
pub mod bind;
pub mod bufsize;
pub mod cache;
pub mod cancel;
pub mod chaos;
pub mod debug;
pub mod dns64;
pub mod errors;
pub mod forward;
pub mod header;
pub mod health;
pub mod hosts;
pub mod k8s_external;
pub mod kubernetes;
pub mod loadbalance;
pub mod local;
pub mod log;
pub mod loop_detect;
pub mod nsid;
pub mod prometheus;
pub mod ready;
pub mod reload;
pub mod rewrite;
pub mod root;
pub mod template;
pub mod tls;
pub mod whoami;

use crate::chain::setup::Registration;

/// The plugins, from the top of the chain, in CoreDNS 1.15.0's order.
///
/// They are set up in this order too, so a plugin finds what those above it have said about the server block.
pub const ALL: &[Registration] = &[
    root::PLUGIN,   // above everybody who reads files
    cancel::PLUGIN, // above everybody who waits
    reload::PLUGIN,
    nsid::PLUGIN,    // above prometheus and log: its option is not counted
    bufsize::PLUGIN, // above log and forward: both see the lowered size
    bind::PLUGIN,    // above those who want to know where the block listens: prometheus, loop
    debug::PLUGIN,
    ready::PLUGIN, // above those who are asked whether they are ready
    health::PLUGIN,
    prometheus::PLUGIN, // above all that answers: counts everything
    errors::PLUGIN,     // above all that may fail
    log::PLUGIN,        // below errors, so its line comes first
    local::PLUGIN,      // above all that answers or asks others: localhost is here
    dns64::PLUGIN,      // below log: its look-ups for A come from the top again
    any::PLUGIN,
    chaos::PLUGIN,
    loadbalance::PLUGIN,  // above cache: every hit gets an order of its own
    rewrite::PLUGIN,      // above autopath and cache: all below know the question by its new name
    autopath::PLUGIN,     // above cache: each name that it tries may be there
    acl::PLUGIN,          // above cache: who may not ask gets nothing from there either
    cache::PLUGIN,        // above kubernetes: its TTL limits show on cluster answers too
    header::PLUGIN,       // below cache, which keeps responses with these flags
    tls::PLUGIN,          // reads files: below root
    template::PLUGIN,     // above hosts and kubernetes: what an operator blocks goes before what they know
    hosts::PLUGIN,        // above kubernetes and forward: what an operator wrote down goes before what they know
    k8s_external::PLUGIN, // above kubernetes, which keeps what this one asks for; its zones may be the same
    kubernetes::PLUGIN,   // above forward: cluster names come from memory
    loop_detect::PLUGIN,  // below kubernetes and cache, right above forward: sees what is about to be forwarded
    forward::PLUGIN,
    whoami::PLUGIN, // answers everything, so nothing below it is ever asked
];

/// Plugins that CoreDNS 1.15.0 has and Signpost does not have yet.
pub const ELSEWHERE: &[&str] = &[
    "auto",
    "azure",
    "clouddns",
    "dnssec",
    "dnstap",
    "dynupdate",
    "erratic",
    "etcd",
    "file",
    "geoip",
    "grpc",
    "grpc_server",
    "https",
    "https3",
    "metadata",
    "minimal",
    "multisocket",
    "nomad",
    "on",
    "pprof",
    "proxyproto",
    "quic",
    "route53",
    "secondary",
    "shed",
    "sign",
    "siit",
    "timeouts",
    "trace",
    "transfer",
    "tsig",
    "view",
];

#[cfg(test)]
mod tests {
    use super::*;

    /// The list in README.md is written by hand, so that it reads well.
    #[test]
    fn readme_names_each_plugin() {
        let readme = include_str!("../../README.md");
        let (_, list) = readme.split_once("**The Corefile you have.**").expect("the list");
        let (list, _) = list.split_once("with all their options").expect("its end");
        let mut named: Vec<&str> = list.split('`').skip(1).step_by(2).collect();
        let mut all: Vec<&str> = ALL.iter().map(|plugin| plugin.name).collect();
        named.sort_unstable();
        all.sort_unstable();
        assert_eq!(named, all);
    }
}
