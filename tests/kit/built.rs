//! A Corefile built as `-validate` builds it: no socket is opened, nothing is asked.

use std::sync::Arc;

use signpost::chain::build::{Configuration, build};
use signpost::chain::setup::Registration;
use signpost::corefile::{self, Vocabulary};
use signpost::error::Result;
use signpost::host::Host;
use signpost::plugins::COREDNS;

/// Builds the Corefile `text` with these plugins, which stand in the order of the chain.
///
/// # Errors
/// The Corefile is not valid, or a plugin refuses its directive.
pub(crate) fn built(text: &str, plugins: &[Registration], host: &Arc<Host>) -> Result<Configuration> {
    let served: Vec<&str> = plugins.iter().map(|plugin| plugin.name).collect();
    let vocabulary = Vocabulary { served: &served, elsewhere: COREDNS };
    let corefile = corefile::parse(text, "Corefile", &|_: &str| None, &vocabulary)?;
    build(&corefile, plugins, host, "53")
}
