//! A Corefile read, and built as `-validate` builds it: no socket is opened, nothing is asked.

use std::sync::Arc;

use signpost::chain::build::{Configuration, build};
use signpost::chain::setup::Registration;
use signpost::corefile::{self, Corefile, Vocabulary};
use signpost::error::Result;
use signpost::host::Host;
use signpost::plugins::COREDNS;

/// Reads the Corefile `text`, which may name these plugins.
///
/// # Errors
/// The Corefile is not valid.
pub(crate) fn parsed(text: &str, plugins: &[Registration]) -> Result<Corefile> {
    let served: Vec<&str> = plugins.iter().map(|plugin| plugin.name).collect();
    corefile::parse(text, "Corefile", &|_: &str| None, &Vocabulary { served: &served, elsewhere: COREDNS })
}

/// Builds the Corefile `text` with these plugins, which stand in the order of the chain.
///
/// # Errors
/// The Corefile is not valid, or a plugin refuses its directive.
pub(crate) fn built(text: &str, plugins: &[Registration], host: &Arc<Host>) -> Result<Configuration> {
    build(&parsed(text, plugins)?, plugins, host, "53")
}
