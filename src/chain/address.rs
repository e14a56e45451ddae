//! Where a server block is served: one address for each of its listeners.

use std::collections::BTreeMap;

use super::listener::server_label;
use crate::corefile::address::{Key, Transport};
use crate::error::Result;
use crate::host::listen::Protocol;
use crate::wire::name::Name;

/// One listener of a server block.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SiteAddress {
    /// How messages arrive.
    pub transport: Transport,
    /// The port.
    pub port: u16,
    /// The address from `bind`; empty means all addresses.
    pub host: String,
    /// The zones of the block there, lower case.
    pub zones: Vec<Name>,
}

impl SiteAddress {
    /// Returns the listener's name in metrics, for example `dns://:53`.
    #[must_use]
    pub fn server(&self) -> String {
        server_label(self.transport, &self.host, self.port)
    }
}

/// Returns the addresses to listen on: those of `bind`, or one wildcard.
pub(super) fn hosts(bind: &[String]) -> Vec<String> {
    if bind.is_empty() { vec![String::new()] } else { bind.to_vec() }
}

/// Returns what the sockets of a transport receive. TCP comes first: where any free port will do,
/// UDP gets the same one.
#[must_use]
pub fn protocols(transport: Transport) -> &'static [Protocol] {
    match transport {
        Transport::Dns => &[Protocol::Tcp, Protocol::Udp],
        Transport::Quic => &[Protocol::Udp],
        _ => &[Protocol::Tcp],
    }
}

/// Returns the host as far as it matters to sockets: `0.0.0.0`, `::` and an empty host all mean all
/// addresses of both families, as in Go.
#[must_use]
pub fn socket_host(host: &str) -> &str {
    if matches!(host, "0.0.0.0" | "::") { "" } else { host }
}

/// Returns the addresses of a block; the index of each is the `ordinal` of its site.
pub(super) fn addresses(keys: &[Key], bind: &[String]) -> Result<Vec<SiteAddress>> {
    let mut by_port: BTreeMap<(Transport, u16), Vec<Name>> = BTreeMap::new();
    for key in keys {
        // Invalid ports are refused by `check_ports`.
        let port = key.port.parse().unwrap_or(0);
        by_port.entry((key.transport, port)).or_default().push(zone_name(key)?);
    }
    let hosts = hosts(bind);
    let address = |transport, port, zones: &Vec<Name>, host: &String| SiteAddress {
        transport,
        port,
        host: host.clone(),
        zones: zones.clone(),
    };
    let addresses = by_port.iter();
    Ok(addresses
        .flat_map(|(&(transport, port), zones)| hosts.iter().map(move |h| address(transport, port, zones, h)))
        .collect())
}

/// Returns the zone of a key as a name.
pub(super) fn zone_name(key: &Key) -> Result<Name> {
    let wrong = |_| key.word.complain(format!("zone is not a valid domain name: {}", key.zone)).into();
    Name::from_text(&key.zone).map_err(wrong)
}
