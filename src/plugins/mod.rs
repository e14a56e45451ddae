//! All plugins, in the order of the chain.

pub mod cache;
pub mod forward;
pub mod kubernetes;

use crate::chain::setup::Registration;

/// The plugins, from the top of the chain, in CoreDNS 1.15.0's order.
pub const ALL: &[Registration] = &[cache::PLUGIN, forward::PLUGIN];

/// Plugins that CoreDNS 1.15.0 has and Signpost does not have yet.
pub const ELSEWHERE: &[&str] = &[
    "acl", "any", "auto", "autopath", "azure", "chaos", "clouddns", "dns64", "dnssec", "dnstap", "dynupdate", "erratic",
    "etcd", "file", "geoip", "grpc", "grpc_server", "header", "hosts", "https", "https3", "k8s_external", "local",
    "metadata", "minimal", "multisocket", "nomad", "on", "pprof", "proxyproto", "quic", "rewrite", "route53",
    "secondary", "shed", "sign", "siit", "template", "timeouts", "tls", "trace", "transfer", "tsig", "view",
];
