//! The directives that ask upstreams, `forward` and `grpc`: their names, and what differs between
//! them while they are read and counted. How an upstream is chosen, and asked again, is the same.

use super::metrics::Families;
use super::options::Options;
use crate::chain::options::OptionsOf;
use crate::corefile::address::Transport;
use crate::remote::Scheme;

/// A directive that asks upstreams.
pub(super) struct Directive {
    /// Its name in the Corefile, in log lines and in errors.
    pub(super) name: &'static str,
    /// The options of its block.
    pub(super) options: &'static OptionsOf<Options>,
    /// Returns how an upstream with this scheme is asked, or `None` if it cannot be.
    pub(super) scheme: fn(Transport) -> Option<Scheme>,
    /// The schemes that an upstream may have, in words.
    pub(super) schemes: &'static str,
    /// What is counted of its upstreams.
    pub(super) families: &'static Families,
}
