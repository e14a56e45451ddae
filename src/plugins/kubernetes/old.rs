//! Options that older versions of CoreDNS took.

use crate::chain::options::unknown_property;
use crate::corefile::Word;

/// Returns what to know about an option that CoreDNS no longer takes; `None` for any other. Its
/// line is to be taken out.
#[must_use]
pub fn option(name: &str) -> Option<&'static str> {
    Some(match name {
        "upstream" => "names outside of the cluster are looked up through the server block itself since CoreDNS 1.5",
        "resyncperiod" => "changes are watched, and nothing is listed again and again since CoreDNS 1.5",
        "endpoints" => "`endpoint URL` names an API server",
        "cidrs" => "networks of reverse names stand among the zones: `kubernetes cluster.local 10.96.0.0/12`",
        "federation" => "federations of Kubernetes are gone",
        "transfer" => "zone transfers are the plugin *transfer*: `transfer ZONE { to ADDRESS }`, on three lines",
        _ => return None,
    })
}

/// Returns the message about an option that does not exist.
pub(super) fn unknown_option(word: &Word) -> String {
    let message = unknown_property(word);
    match option(word.as_str()) {
        Some(why) => format!("{message}\nhelp: take the line out: {why}"),
        None => message,
    }
}
