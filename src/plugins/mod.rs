//! All plugins, in the order of the chain.

pub mod kubernetes;

use crate::chain::setup::Registration;

/// The plugins, from the top of the chain, in CoreDNS 1.15.0's order.
pub const ALL: &[Registration] = &[kubernetes::PLUGIN];

/// Plugins that CoreDNS 1.15.0 has and Signpost does not have yet.
pub const ELSEWHERE: &[&str] = &["acl"];
